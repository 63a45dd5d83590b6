"""Schedules of hob.dev/v1: a Service is called when its time has come, once for each time, also over kill -9."""
import json
import shutil
import signal
import subprocess
import unittest

from harness import HobCase, service
from test_invocations import COMMAND, FUNCTION

PAGE = "/apis/hob.dev/v1/namespaces/default/schedules"


class Schedules(HobCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.image = cls.hob.bundle({"function.py": FUNCTION})

    def deploy(self, name, **annotations):
        marked = {f"hob.dev/{k.replace('_', '-')}": v for k, v in annotations.items()}
        self.hob.apply(service(name, self.image, COMMAND, annotations={"min-scale": 1, "max-scale": 1, **marked},
                               containerConcurrency=0))

    def schedule(self, name, want=201, **spec):
        tree = {"apiVersion": "hob.dev/v1", "kind": "Schedule", "metadata": {"name": name}, "spec": spec}
        return self.hob.call("POST", PAGE, tree, want=want)[2]

    def get(self, name):
        return self.hob.call("GET", f"{PAGE}/{name}", want=200)[2]

    def patch(self, name, **tree):
        return self.hob.call("PATCH", f"{PAGE}/{name}", json.dumps(tree).encode(),
                             {"Content-Type": "application/merge-patch+json"}, want=200)[2]

    def drop(self, name):
        self.hob.call("DELETE", f"{PAGE}/{name}", want=200)

    def status(self, name, look):
        """The status, once it is as wanted."""
        return self.hob.wait_for(f"the status of {name}", lambda: (lambda s: s if look(s) else None)(self.get(name).get("status", {})))

    def look(self, name, ident):
        return json.loads(self.hob.ingress(name, "GET", f"/v1/invocations/{ident}")[2])

    def test_what_it_says_is_what_is_called(self):
        self.deploy("ticked")
        self.schedule("each-second", schedule="@every 1s", service="ticked", method="PUT", path="/tick?a=b", body='{"x": 1}',
                      headers={"X-Mine": "1"})
        status = self.status("each-second", lambda s: s.get("actions", 0) >= 3 and s.get("lastStatus") == "done")
        self.assertEqual((status["missed"], status["skipped"], status["observedGeneration"]), (0, 0, 1))
        told = self.look("ticked", status["lastInvocation"])
        self.assertEqual((told["status"], told["method"], told["path"]), ("done", "PUT", "/tick"))
        self.assertRegex(told["key"], r"^schedule/[0-9a-f-]{36}/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        seen = json.loads(self.hob.ingress("ticked", "GET", f"/v1/invocations/{told['id']}/result")[2])
        self.assertEqual((seen["body"], seen["path"], seen["headers"]["x-mine"], seen["headers"]["content-type"]),
                         ('{"x": 1}', "/tick?a=b", "1", "application/json"))
        self.assertEqual((seen["headers"]["hob-schedule"], seen["headers"]["hob-scheduled-time"]), ("each-second", told["key"][-20:]))
        self.drop("each-second")
        count = self.hob.tree("ticked", "/counts")["/tick?a=b"]
        self.assertLessEqual(self.hob.tree("ticked", "/counts")["/tick?a=b"], count + 1)

    def test_one_that_still_runs_is_not_doubled(self):
        self.deploy("slow")
        self.schedule("skips", schedule="@every 1s", service="slow", path="/hold")
        try:
            status = self.status("skips", lambda s: s.get("skipped", 0) >= 2)
            self.assertEqual((status["active"], status["actions"]), (1, 1))
            self.assertEqual(self.hob.tree("slow", "/counts")["/hold"], 1)
        finally:
            self.hob.ingress("slow", "GET", "/open")
        self.status("skips", lambda s: s.get("actions", 0) >= 2)
        self.drop("skips")

    def test_the_one_before_makes_room_where_it_says_so(self):
        self.deploy("yields")
        self.schedule("cancels", schedule="@every 1s", service="yields", path="/hold", overlap="CancelOther")
        try:
            first = self.status("cancels", lambda s: s.get("lastInvocation"))["lastInvocation"]
            self.status("cancels", lambda s: s.get("actions", 0) >= 2)
            told = self.hob.wait_for("its end", lambda: (lambda t: t if t.get("ended_at") else None)(self.look("yields", first)))
            self.assertEqual((told["status"], told["why"]), ("ambiguous", "it was cancelled while the function had it"))
        finally:
            self.hob.ingress("yields", "GET", "/open")
        self.drop("cancels")

    def test_suspended_and_triggered(self):
        self.deploy("paused")
        self.schedule("rests", schedule="@every 1s", service="paused", path="/rests", suspend=True)
        status = self.status("rests", lambda s: s.get("observedGeneration") == 1)
        self.assertNotIn("nextScheduleTime", status)
        self.patch("rests", metadata={"annotations": {"hob.dev/trigger": "one"}})
        self.status("rests", lambda s: s.get("lastStatus") == "done")
        self.assertEqual(self.hob.tree("paused", "/counts")["/rests"], 1)
        self.patch("rests", spec={"suspend": False})
        self.status("rests", lambda s: s.get("actions", 0) >= 3)
        self.assertIn("nextScheduleTime", self.get("rests")["status"])
        self.drop("rests")

    def test_what_cannot_be_is_refused_by_name(self):
        for field, spec in (("spec.schedule", {"schedule": "61 * * * *"}), ("spec.schedule", {}), ("spec.service", {"service": ""}),
                            ("spec.timeZone", {"timeZone": "Mars/Olympus"}), ("spec.overlap", {"overlap": "Twice"}),
                            ("spec.path", {"path": "none"}), ("spec.headers", {"headers": {"Host": "x"}}),
                            ("spec.method", {"method": "A B"}), ("spec.every", {"every": "1s"})):
            with self.subTest(field):
                whole = {"schedule": "@hourly", "service": "x", **spec}
                if not spec:
                    del whole["schedule"]
                status, _, tree = self.hob.call("POST", PAGE, {"apiVersion": "hob.dev/v1", "kind": "Schedule",
                                                               "metadata": {"name": "wrong"}, "spec": whole})
                self.assertIn(status, (400, 422), tree)
                self.assertIn(field.split(".")[1], tree["message"])

    def test_a_service_that_comes_later_is_called_then(self):
        self.schedule("early", schedule="@every 1s", service="later", path="/late")
        status = self.status("early", lambda s: s.get("lastInvocation"))
        self.assertEqual(status["active"], 1)
        self.deploy("later")
        self.status("early", lambda s: s.get("lastStatus") == "done")
        self.assertEqual(self.look("later", status["lastInvocation"])["status"], "done")
        self.drop("early")

    @unittest.skipUnless(shutil.which("kubectl"), "kubectl is not installed")
    def test_kubectl_shows_them(self):
        self.schedule("nightly", schedule="0 3 * * *", timeZone="Europe/Paris", service="report")
        done = subprocess.run(["kubectl", f"--server=http://{self.hob.api_address}", "get", "schedules", "-o", "wide"],
                              capture_output=True, text=True, timeout=60, check=True)
        head, row = done.stdout.splitlines()[0].split(), next(l for l in done.stdout.splitlines() if l.startswith("nightly"))
        self.assertEqual(head[:3], ["NAME", "SCHEDULE", "TIMEZONE"])
        self.assertIn("0 3 * * *", row)
        self.assertIn("Europe/Paris", row)
        self.drop("nightly")

    def test_each_time_has_one_invocation_whatever_is_killed(self):
        self.deploy("survives", idempotent="true", backoff="10ms")
        self.schedule("endless", schedule="@every 1s", service="survives", path="/tick", overlap="AllowAll")
        seen = {}
        for _ in range(5):
            before = self.get("endless").get("status", {}).get("actions", 0)
            status = self.status("endless", lambda s, n=before: s.get("actions", 0) >= n + 2 and s.get("lastInvocation"))
            told = self.look("survives", status["lastInvocation"])
            self.assertEqual(seen.setdefault(told["key"], told["id"]), told["id"])
            self.hob.restart(signal.SIGKILL)
            self.hob.wait_ready("survives")
            self.hob.wait_for("it is known still", lambda i=told["id"]: self.look("survives", i).get("status") == "done")
        status = self.get("endless")["status"]
        self.assertEqual(status["missed"], 0)  # an hour of catching up
        self.drop("endless")


if __name__ == "__main__":
    unittest.main()
