"""Workers are functions: Services bound to a task queue start for its tasks and go when it is quiet."""
import os
import signal
import sys
import time
import unittest

try:
    import grpc
except ImportError:
    grpc = None

from harness import ROOT, HobCase, service

sys.path.insert(0, os.path.join(ROOT, "test", "fn"))
if grpc:
    from temporal_wire import ENDED, Temporal, message

PATIENCE_S = 120
SYSTEM_PYTHON = "/usr/bin/python3"


@unittest.skipUnless(grpc, "python3-grpcio is not installed")
class Workers(HobCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.image = None

    def setUp(self):
        self.temporal = Temporal(self.hob.temporal_address)
        self.addCleanup(self.temporal.close)

    def worker(self, name, queue, **annotations):
        if not self.image:
            files = {}
            for file in ("worker_fn.py", "temporal_wire.py"):
                with open(os.path.join(ROOT, "test", "fn", file), "rb") as f:
                    files[file] = f.read()
            type(self).image = self.hob.bundle(files)
        self.addCleanup(self.forget, name)
        return service(name, self.image, [SYSTEM_PYTHON, "/app/worker_fn.py"],
                       annotations={"hob.dev/task-queue": queue, "window": "6s", **annotations})

    def forget(self, name):
        self.hob.call("DELETE", f"/apis/serving.knative.dev/v1/namespaces/default/services/{name}")

    def deploy(self, name, queue, zero=True, **annotations):
        self.hob.apply(self.worker(name, queue, **annotations))
        if zero:
            self.hob.wait_instances(name, 0, PATIENCE_S)

    def output(self, name):
        return self.hob.hob("logs", name)[1]

    def ended(self, workflow):
        kind, result = self.temporal.result(workflow, PATIENCE_S)
        self.assertEqual(kind, ENDED, f"{workflow} ended with event {kind}")
        return result.decode()

    def test_a_worker_starts_from_zero_for_a_task_and_goes_when_its_queue_is_quiet(self):
        self.deploy("greeter", "greetings")
        self.temporal.start("w1", "echo", "greetings", b"hello")
        host, attempt, said = self.ended("w1").split()
        self.assertEqual((attempt, said), ("1", "hello"))
        self.assertTrue(host.startswith("greeter-00001-"), host)
        self.hob.wait_instances("greeter", 0, PATIENCE_S)

    def test_a_worker_that_dies_with_an_activity_is_followed_by_another_that_does_it_again(self):
        self.deploy("mortal", "dangers")
        self.temporal.start("die", "die", "dangers", b"x")
        host, attempt, _ = self.ended("die").split()
        self.assertEqual(attempt, "2", "the first attempt died with its worker")
        died = [line for line in self.hob.log().splitlines() if "instance.died" in line and "mortal-00001-" in line]
        self.assertEqual(len(died), 1, died)
        self.assertNotIn(host, died[0])

    def test_a_worker_at_work_is_not_idle_however_long_its_task_takes(self):
        self.deploy("patient", "long")
        self.temporal.start("slow", "nap", "long", b"20")
        first = self.hob.wait_for("an instance", lambda: self.hob.instances("patient"), PATIENCE_S)[0]["id"]
        host, attempt, _ = self.ended("slow").split()
        self.assertEqual((host, attempt), (first, "1"))

    def test_a_worker_that_is_to_go_ends_its_task_first(self):
        self.deploy("leaver", "farewells")
        self.temporal.start("bye", "nap", "farewells", b"3")
        self.hob.wait_for("the activity to begin", lambda: "activity nap 1" in self.output("leaver"), PATIENCE_S)
        self.hob.delete("leaver")
        host, attempt, _ = self.ended("bye").split()
        self.assertEqual(attempt, "1")
        self.hob.wait_for("it to end", lambda: not self.hob.instances("leaver"), PATIENCE_S)

    def test_two_services_on_one_queue_share_it(self):
        self.deploy("left", "shared")
        self.deploy("right", "shared")
        for i in range(3):
            self.temporal.start(f"shared-{i}", "echo", "shared", b"x")
        for i in range(3):
            self.assertIn(self.ended(f"shared-{i}").split("-")[0], ("left", "right"))
        self.hob.wait_instances("left", 0, PATIENCE_S)
        self.hob.wait_instances("right", 0, PATIENCE_S)

    def test_a_worker_may_speak_only_of_its_own_namespace(self):
        self.deploy("nosy", "questions")
        self.temporal.start("ask", "ask", "questions", b"other")
        self.assertIn("PERMISSION_DENIED this instance works for namespace default", self.ended("ask"))

    def test_a_worker_without_port_takes_no_requests(self):
        self.deploy("mute", "silence")
        status, _, body = self.hob.ingress("mute")
        self.assertEqual(status, 503)
        self.assertIn(b"mute-00001 works on task queue silence and has no port", body)

    def test_workflows_outlive_a_kill_of_hob_and_of_every_worker(self):
        self.deploy("survivor", "survival", zero=False)
        for i in range(4):
            self.temporal.start(f"survive-{i}", "slow", "survival", b"1")
        self.temporal.start("survive-sleep", "sleep", "survival", b"8")
        self.hob.restart(signal.SIGKILL)
        self.temporal.close()
        self.temporal = Temporal(self.hob.temporal_address)
        for i in range(4):
            self.assertTrue(self.ended(f"survive-{i}").endswith(" 1"))
        self.assertTrue(self.ended("survive-sleep").startswith("survivor-"))


if __name__ == "__main__":
    unittest.main()
