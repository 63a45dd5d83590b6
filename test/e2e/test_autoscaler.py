"""The autoscaler on the real binary: panic, delay, rates of requests, activation-scale, retention, and what is said of it.

What each number must be is compared with a model in test/model; here the load is real, so only what holds
at any speed of the machine is asserted. Where Knative would fail a test, the test says so.
"""
import math
import threading
import time
import unittest

from harness import PYTHON, HobCase, service, together

NS = "/apis/serving.knative.dev/v1/namespaces/default"
SHORT = {"window": "6s", "target-utilization-percentage": 100}

# Serves until a moment, and cannot start after it.
UNTIL = """
import http.server, os, sys, time
if time.time() > float(os.environ["UNTIL"]):
    sys.exit("the time is over")
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *args):
        pass
http.server.HTTPServer(("", int(os.environ["PORT"])), H).serve_forever()
"""


class Load:
    """So many requests at once, each followed by the next, until it is over."""

    def __init__(self, hob, name, at_once, path):
        self.hob, self.name, self.path, self.over = hob, name, path, threading.Event()
        self.statuses = []
        self.threads = [threading.Thread(target=self.ask) for _ in range(at_once)]

    def ask(self):
        while not self.over.is_set():
            self.statuses.append(self.hob.ingress(self.name, path=self.path)[0])

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for t in self.threads:
            t.join()


class Autoscaler(HobCase):
    def autoscaler(self, name):
        return self.hob.call("GET", f"/v1/services/default/{name}/stats", want=200)[2]["autoscaler"]

    def ready(self, name):
        return sum(i["state"] == "ready" for i in self.hob.instances(name))

    def active(self, name):
        status = self.hob.call("GET", f"{NS}/revisions/{name}-00001", want=200)[2]["status"]
        found = next(c for c in status["conditions"] if c["type"] == "Active")
        return found["status"], found.get("reason"), status["desiredReplicas"], status["actualReplicas"]

    def test_load_panics_and_the_delay_holds_what_it_made(self):
        hob, name = self.hob, "panic"
        hob.deploy(name, annotations={**SHORT, "target": 2, "scale-down-delay": "10s"})
        with Load(hob, name, 8, "/sleep/200") as load:
            # containerConcurrency is 0: nobody waits, so only a tick can know.
            hob.wait_for("four instances", lambda: self.ready(name) >= 4)
            said = self.autoscaler(name)
            self.assertEqual((said["panicking"], said["metric"], said["activity"]), (True, "concurrency", "active"))
            self.assertGreaterEqual(said["wanted"], 4)
            self.assertEqual(hob.metric("hob_autoscaler_panic", faas_name=f"default/{name}"), 1)
            self.assertGreater(hob.metric("hob_autoscaler_load", faas_name=f"default/{name}", window="panic"), 4)
            self.assertEqual(hob.metric("hob_autoscaler_target", faas_name=f"default/{name}"), 2)
            for command in ("describe", "explain"):
                words = [command, name] + (["--last"] if command == "explain" else [])
                code, out, _ = hob.hob(*words)
                self.assertEqual(code, 0)
                self.assertIn("instances wanted:", " ".join(out.split()))
        ended = time.monotonic()
        self.assertEqual(set(load.statuses), {200})
        most = self.ready(name)
        while time.monotonic() - ended < 9:
            self.assertGreaterEqual(self.ready(name), most)
            time.sleep(0.2)
        hob.wait_instances(name, 0, 60)
        self.assertGreaterEqual(time.monotonic() - ended, 16)  # the panic's window, and then the delay
        self.assertEqual(self.active(name)[:2], ("False", "NoTraffic"))

    def test_requests_per_second(self):
        hob, name = self.hob, "rate"
        hob.deploy(name, annotations={**SHORT, "metric": "rps", "target": 5})
        with Load(hob, name, 1, "/sleep/20") as load:  # one at once: by concurrency it would never be more than one
            hob.wait_for("more than one", lambda: self.ready(name) >= 2)
            said = self.autoscaler(name)
            self.assertEqual(said["metric"], "rps")
            self.assertGreater(max(said["stable"], said["panic"]), 5)
        self.assertEqual(set(load.statuses), {200})

    def test_from_zero_with_activation_scale(self):
        hob, name = self.hob, "activate"
        hob.deploy(name, annotations={**SHORT, "initial-scale": 0, "activation-scale": 3})
        self.assertEqual(self.active(name), ("False", "NoTraffic", 0, 0))
        answers = together(1, lambda i: hob.ingress(name, path="/sleep/100"))
        self.assertEqual(answers[0][0], 200)
        hob.wait_for("three", lambda: self.ready(name) == 3)
        hob.wait_for("Active to be told", lambda: self.active(name)[0] == "True")
        hob.wait_instances(name, 0, 60)

    def test_the_last_one_is_retained(self):
        hob, name = self.hob, "retain"
        hob.deploy(name, annotations={**SHORT, "scale-to-zero-pod-retention-period": "6s"})
        self.assertEqual(hob.ingress(name)[0], 200)
        last = time.monotonic()
        hob.wait_for("no traffic", lambda: self.active(name)[:2] == ("False", "NoTraffic"))
        inactive = time.monotonic()
        self.assertGreaterEqual(inactive - last, 5.9)
        self.assertEqual(len(hob.instances(name)), 1)
        self.assertEqual(self.active(name)[2:], (0, 1))
        self.assertEqual(self.autoscaler(name)["reason"], "retention")
        hob.wait_instances(name, 0, 60)
        self.assertGreaterEqual(time.monotonic() - last, 12)

    def test_scaling_down_cuts_nothing_that_is_in_flight(self):
        """Knative removes any pod; a request on it is cut when its grace is over, and in between it may answer 502."""
        hob, name = self.hob, "calm"
        hob.deploy(name, containerConcurrency=1,
                   annotations={**SHORT, "target": 1, "panic-threshold-percentage": 1000})
        with Load(hob, name, 4, "/sleep/150") as load:
            hob.wait_for("four instances", lambda: self.ready(name) >= 4)
        before = {i["id"] for i in hob.instances(name)}
        answers = []
        asking = [threading.Thread(target=lambda: answers.append(hob.ingress(name, path="/sleep/25000", timeout=90)))
                  for _ in range(2)]
        for t in asking:
            t.start()
        hob.wait_for("both to run", lambda: sum(i["inFlight"] for i in hob.instances(name)) == 2)
        busy = {i["id"] for i in hob.instances(name) if i["inFlight"]}
        hob.wait_for("the idle ones to go", lambda: len(hob.instances(name)) == 2, 23)
        self.assertEqual({i["id"] for i in hob.instances(name)}, busy)
        self.assertLess(busy, before)
        for t in asking:
            t.join()
        self.assertEqual([a[0] for a in answers], [200, 200])
        self.assertEqual({a[2].decode() for a in answers}, busy)
        self.assertEqual(set(load.statuses), {200})

    def test_a_start_from_zero_that_fails_is_a_condition(self):
        """Knative's Service stays Ready and says nothing (its issue 11717)."""
        hob, name = self.hob, "later"
        image = hob.bundle({"serve.py": UNTIL})
        until = time.time() + 8
        hob.apply(service(name, image, [*PYTHON, "/app/serve.py"], env={"UNTIL": str(until)}, annotations=SHORT))
        self.assertIsNone(hob.condition(name, "ActivationHealthy"))
        self.assertEqual(hob.ingress(name)[0], 200)
        hob.wait_instances(name, 0, 60)
        hob.wait_for("its time to be over", lambda: time.time() > until)
        self.problem(hob.ingress(name), 503, "start-failed")
        found = hob.wait_condition(name, "False", "ActivationHealthy")
        self.assertEqual(found["reason"], "ExitCode1")
        self.assertEqual(hob.condition(name)["status"], "True")

    def test_the_numbers_agree_with_each_other(self):
        hob, name = self.hob, "sums"
        hob.deploy(name, annotations={**SHORT, "target": 3, "panic-threshold-percentage": 1000, "target-burst-capacity": 10})
        with Load(hob, name, 5, "/sleep/100"):
            def agree():  # of a tick with two ready, both windows full
                said = self.autoscaler(name)
                return said["reason"] == "stable" and said["desired"] == 2 == math.ceil(said["stable"] / 3) and \
                    said["excessBurstCapacity"] == math.floor(2 * 3 - 10 - said["panic"]) and said
            said = hob.wait_for("a tick whose numbers agree", agree)
            self.assertEqual((said["ready"], said["wanted"]), (2, 2))
            self.assertAlmostEqual(said["panic"], 5, delta=1.5)
            self.assertFalse(said["panicking"])


if __name__ == "__main__":
    unittest.main()
