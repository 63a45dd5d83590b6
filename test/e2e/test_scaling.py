"""From zero to many and back on the real binary: bursts, bounds, probes, drains, new revisions, crashes."""
import signal
import threading
import time
import unittest

from harness import PYTHON, Hob, HobCase, service, together

WINDOW = {"window": "6s"}  # Knative's shortest

# A server as people write them first: one thread, and an accept queue of five.
PLAIN = """
import http.server, os
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = os.environ["VERSION"]
    def do_GET(self):
        body = os.environ["HOSTNAME"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
http.server.HTTPServer(("", int(os.environ["PORT"])), H).serve_forever()
"""


class Watch:
    """The most instances of a service that were there at once, looked at all the while."""

    def __init__(self, hob, name):
        self.hob, self.name, self.most, self.over = hob, name, 0, threading.Event()

    def __enter__(self):
        self.thread = threading.Thread(target=self.look)
        self.thread.start()
        return self

    def look(self):
        while not self.over.wait(0.02):
            self.most = max(self.most, len(self.hob.instances(self.name)))

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


class Scaling(HobCase):
    def states(self, name):
        return sorted(i["state"] for i in self.hob.instances(name))

    def test_from_zero_to_one_and_back_to_zero(self):
        hob = self.hob
        hob.deploy("zero", annotations={**WINDOW, "initial-scale": 0})
        self.assertEqual(hob.instances("zero"), [])
        self.assertEqual(hob.condition("zero")["status"], "True")
        status, headers, _ = hob.ingress("zero")
        record = hob.invocation(headers["Hob-Invocation-Id"])
        self.assertEqual((status, record["cold"]), (200, True))
        last = time.monotonic()
        self.assertNotIn("cold", hob.invocation(hob.ingress("zero")[1]["Hob-Invocation-Id"]))
        hob.wait_for("zero", lambda: not hob.instances("zero"))
        self.assertGreaterEqual(time.monotonic() - last, 5.9)  # no earlier than the window
        active = next(c for c in hob.call("GET", "/apis/serving.knative.dev/v1/namespaces/default/revisions/zero-00001",
                                          want=200)[2]["status"]["conditions"] if c["type"] == "Active")
        self.assertEqual((active["status"], active["reason"]), ("False", "NoTraffic"))
        self.assertEqual(hob.ingress("zero")[0], 200)

    def test_concurrency_makes_many_and_max_scale_bounds_them(self):
        hob = self.hob
        hob.deploy("many", annotations={**WINDOW, "initial-scale": 0, "max-scale": 3}, containerConcurrency=1)
        with Watch(hob, "many") as watch:
            answers = together(12, lambda i: hob.ingress("many", path="/sleep/150"))
        self.assertEqual([a[0] for a in answers], [200] * 12)
        self.assertEqual(len({a[2] for a in answers}), 3)  # three have worked
        self.assertEqual(watch.most, 3)
        hob.wait_instances("many", 0)

    def test_min_scale_stays_and_initial_scale_goes(self):
        hob = self.hob
        hob.deploy("least", annotations={**WINDOW, "min-scale": 2})
        hob.deploy("first", annotations={**WINDOW, "initial-scale": 3})
        self.assertEqual(self.states("least"), ["ready"] * 2)
        stats = hob.call("GET", "/v1/services/default/first/stats", want=200)[2]
        self.assertEqual((stats["starts"], stats["startsFailed"]), (3, 0))
        hob.wait_instances("first", 0)
        self.assertEqual(self.states("least"), ["ready"] * 2)
        victim = hob.instances("least")[0]["id"]
        hob.call("DELETE", f"/v1/instances/{victim}", want=202)
        hob.wait_for("another in its place", lambda: self.states("least") == ["ready"] * 2
                     and victim not in [i["id"] for i in hob.instances("least")])

    def burst(self, name):
        with Watch(self.hob, name) as watch:
            answers = together(200, lambda i: self.hob.ingress(name, path="/sleep/20"))
        bad = [a for a in answers if a[0] != 200]
        self.assertEqual(bad, [], f"{len(bad)} of 200 were not answered")
        self.assertLessEqual(watch.most, 4)
        self.assertGreaterEqual(watch.most, 1)
        self.assertLessEqual(len({a[2] for a in answers}), 4)
        return watch.most, answers

    def test_a_burst_of_200_first_requests_is_answered(self):
        self.hob.deploy("burst", annotations={"initial-scale": 0, "max-scale": 4, "target": 10})
        most, answers = self.burst("burst")
        self.assertEqual(most, 4)
        # Whichever of the 200 came first: the first thread's may be late.
        self.assertTrue(any(self.hob.invocation(a[1]["Hob-Invocation-Id"]).get("cold") for a in answers))

    def test_a_burst_of_200_is_answered_though_the_function_accepts_five(self):
        image = self.hob.bundle({"serve.py": PLAIN})
        for name, version in (("closing", "HTTP/1.0"), ("keeping", "HTTP/1.1")):
            # Keeping: while it waits for another request on one connection, it serves no other.
            with self.subTest(version):
                self.hob.apply(service(name, image, [*PYTHON, "/app/serve.py"], env={"VERSION": version},
                                       annotations={"initial-scale": 0, "max-scale": 4}))
                self.burst(name)

    def test_a_function_of_one_thread_serves_callers_beside_an_idle_connection(self):
        image = self.hob.bundle({"serve.py": PLAIN})
        self.hob.apply(service("single", image, [*PYTHON, "/app/serve.py"], env={"VERSION": "HTTP/1.1"},
                               annotations={"max-scale": 1}, timeoutSeconds=10))
        for _ in range(5):
            self.assertEqual([a[0] for a in together(4, lambda i: self.hob.ingress("single"))], [200] * 4)

    # probes

    def test_an_http_probe_holds_requests_until_it_passes(self):
        hob = self.hob
        probe = {"httpGet": {"path": "/healthz"}}
        hob.deploy("slow", probe=probe, env={"HEALTHY_MS": "700"}, annotations={"initial-scale": 0})
        begin = time.monotonic()
        self.assertEqual(hob.ingress("slow", path="/healthz")[::2], (200, b"well"))
        self.assertGreaterEqual(time.monotonic() - begin, 0.7)

    def test_a_tcp_probe_waits_for_the_port(self):
        hob = self.hob
        hob.deploy("late", probe={"tcpSocket": {}}, env={"DELAY_MS": "500"}, annotations={"initial-scale": 0})
        begin = time.monotonic()
        self.assertEqual(hob.ingress("late")[0], 200)
        self.assertGreaterEqual(time.monotonic() - begin, 0.5)

    def test_a_probe_of_a_port_where_nobody_listens_never_passes(self):
        late = {"serving.knative.dev/progress-deadline": "8s"}
        with Hob(limits={"start_ms": 1000}) as hob:
            hob.deploy("deaf", wait=False, probe={"tcpSocket": {"port": 9999}}, annotations=late)
            hob.deploy("sick", wait=False, probe={"httpGet": {"path": "/status/500"}}, annotations=late)
            for name in ("deaf", "sick"):
                self.problem(hob.ingress(name), 503, "start-failed")
                self.assertEqual(hob.condition(name)["status"], "Unknown")  # it may still come
            for name, why in (("deaf", "nothing accepts connections"), ("sick", "500")):
                condition = hob.wait_condition(name, "False")
                self.assertIn("not ready within 1000 ms", condition["message"])
                self.assertIn(why, condition["message"])

    def test_who_waited_for_a_start_that_failed_was_cold(self):
        with Hob(limits={"start_ms": 1000, "start_backoff_ms": 60000}) as hob:
            hob.deploy("deaf", wait=False, probe={"tcpSocket": {"port": 9999}}, annotations={"initial-scale": 0})
            hob.wait_for("its route", lambda: hob.ingress("deaf")[0] == 503)
            records = hob.wait_for("its record", lambda: hob.call("GET", "/v1/invocations?service=deaf", want=200)[2]["items"])
            record = hob.invocation(records[-1]["id"])
            self.assertTrue(record["cold"])
            self.assertGreaterEqual(record["queueUs"], 1_000_000)  # it waited for that start, and for nothing else
            self.assertIn("does not start", hob.hob("explain", record["id"])[1])
            again = hob.ingress("deaf")  # within the pause
            self.problem(again, 503, "start-failed")
            self.assertFalse(hob.invocation(again[1]["Hob-Invocation-Id"]).get("cold"))

    # ends

    def test_a_drain_lets_the_request_in_flight_finish(self):
        hob = self.hob
        hob.deploy("drain")
        instance = hob.instances("drain")[0]["id"]
        answers = []
        asking = threading.Thread(target=lambda: answers.append(hob.ingress("drain", path="/sleep/800")))
        asking.start()
        hob.wait_for("it to be busy", lambda: hob.instances("drain")[0]["inFlight"] == 1)
        hob.call("DELETE", f"/v1/instances/{instance}", want=202)
        asking.join()
        self.assertEqual(answers[0][::2], (200, instance.encode()))
        hob.wait_instances("drain", 0)
        self.assertIn("told to end", hob.hob("logs", "drain")[1])  # SIGTERM came first
        other = hob.ingress("drain", path="/sleep/0")
        self.assertEqual(other[0], 200)
        self.assertNotEqual(other[2], instance.encode())

    def test_who_does_not_end_is_killed(self):
        with Hob(limits={"drain_ms": 500}) as hob:
            hob.deploy("stubborn", env={"LINGER_MS": "60000"})
            begin = time.monotonic()
            hob.call("DELETE", f"/v1/instances/{hob.instances('stubborn')[0]['id']}", want=202)
            hob.wait_instances("stubborn", 0)
            self.assertGreaterEqual(time.monotonic() - begin, 0.5)
            self.assertIn("told to end", hob.hob("logs", "stubborn")[1])

    def test_hob_itself_drains_on_sigterm(self):
        with Hob() as hob:
            hob.deploy("f")
            answers = []
            asking = threading.Thread(target=lambda: answers.append(hob.ingress("f", path="/sleep/800")))
            asking.start()
            hob.wait_for("it to be busy", lambda: hob.instances("f")[0]["inFlight"] == 1)
            self.assertEqual(hob.stop(signal.SIGTERM), 0)
            asking.join()
            self.assertEqual(answers[0][0], 200)

    def test_a_new_revision_takes_over_without_an_error(self):
        hob = self.hob
        hob.deploy("roll", env={"V": "1"}, annotations=WINDOW)
        over, statuses, versions = threading.Event(), [], []

        def load():
            with hob.wire() as w:
                while not over.is_set():
                    w.send(f"GET /look HTTP/1.1\r\nHost: {hob.host('roll')}\r\n\r\n")
                    status, _, body = w.answer()
                    statuses.append(status)
                    versions.append(body.split(b'"V": "')[1][:1])
        threads = [threading.Thread(target=load) for _ in range(4)]
        for t in threads:
            t.start()
        for version in "234":
            hob.deploy("roll", env={"V": version}, annotations=WINDOW)
            hob.wait_for(f"version {version}", lambda: versions and versions[-1] == version.encode())
        over.set()
        for t in threads:
            t.join()
        self.assertEqual(set(statuses), {200})
        hob.wait_for("only the new one", lambda: {i["revision"] for i in hob.instances("roll")} <= {"roll-00004"})

    def test_a_revision_that_cannot_run_leaves_the_old_one_serving(self):
        hob = self.hob
        hob.deploy("safe", env={"V": "1"})
        hob.deploy("safe", env={"MODE": "fail"}, wait=False)
        hob.wait_condition("safe", "False")
        self.assertEqual(hob.tree("safe", "/look")["env"]["K_REVISION"], "safe-00001")

    def test_a_crash_in_a_request_is_502_and_another_takes_its_place(self):
        hob = self.hob
        hob.deploy("crash")
        first = hob.tree("crash", "/state")["instance"]

        problem = self.problem(hob.ingress("crash", "POST", "/exit/3"), 502, "instance-died")
        self.assertIn("ended the connection without an answer", problem["detail"])
        answer = hob.ingress("crash", path="/sleep/0")
        self.assertEqual(answer[0], 200)
        self.assertNotEqual(answer[2], first.encode())
        with hob.wire() as w:  # the head has gone out already: the connection ends, nothing is made up
            w.send(f"GET /halfexit HTTP/1.1\r\nHost: {hob.host('crash')}\r\n\r\n")
            self.assertEqual(w.head()[0], 200)
            self.assertEqual(w.exactly(4), b"half")
            self.assertTrue(w.ended())
        self.assertEqual(hob.ingress("crash")[0], 200)

    def test_the_request_after_a_crash_is_never_given_to_the_one_that_crashed(self):
        hob = self.hob
        hob.deploy("after", annotations={"min-scale": 2})
        for _ in range(6):  # not idempotent, so none is sent twice
            hob.wait_instances("after", 2)
            self.assertEqual(hob.ingress("after", "POST", "/exit/3")[0], 502)
            answer = hob.ingress("after", "POST", "/echo", b"x")
            self.assertEqual(answer[0], 200, (answer, hob.log()[-3000:]))

    def test_what_may_be_repeated_survives_the_crash_of_its_instance(self):
        hob = self.hob
        hob.deploy("second", annotations={"max-scale": 1})
        first = hob.tree("second", "/state")["instance"]
        answers = {}

        def ask(method, path):
            answers[method] = hob.ingress("second", method, path)
        asks = [threading.Thread(target=ask, args=(method, "/sleep/1500")) for method in ("GET", "POST")]
        for a in asks:
            a.start()
        hob.wait_for("both", lambda: hob.metric("hob_in_flight", faas_name="default/second") == 2)
        self.assertEqual(hob.ingress("second", "POST", "/exit/3")[0], 502)
        for a in asks:
            a.join()
        self.assertEqual(answers["GET"][0], 200)
        self.problem(answers["POST"], 502, "instance-died")
        self.assertEqual(hob.metric("hob_requests_resent_total"), 1)
        record = hob.invocation(answers["GET"][1]["Hob-Invocation-Id"])
        self.assertNotEqual(record["instance"], first)


class Overload(HobCase):
    LIMITS = {"overload_ms": 200, "overload_wait_ms": 50}

    def test_more_than_a_function_can_do_is_refused_at_once_until_nobody_waits(self):
        hob = self.hob
        hob.deploy("much", containerConcurrency=1, annotations={"min-scale": 1, "max-scale": 1})
        for _ in range(10):  # so that it is known how long one takes
            self.assertEqual(hob.ingress("much", path="/sleep/50")[0], 200)
        answers, asks = [], []
        for _ in range(300):  # some 200 a second, whatever becomes of them; it does 20
            ask = threading.Thread(target=lambda: answers.append(hob.ingress("much", path="/sleep/50")))
            ask.start()
            asks.append(ask)
            time.sleep(0.005)
        for ask in asks:
            ask.join()
        refused = [a for a in answers if a[0] != 200]
        self.assertGreater(len(refused), 30)
        self.assertGreater(len(answers) - len(refused), 10)
        for answer in refused:
            self.problem(answer, 429, "overloaded")
            self.assertEqual(answer[1]["Retry-After"], "1")
        self.assertEqual(hob.metric("hob_refusals_total", problem="overloaded"), len(refused))
        for _ in range(5):
            self.assertEqual(hob.ingress("much", path="/sleep/50")[0], 200)
        self.assertIn("node.overload.begins revision=much-00001", hob.log())
        self.assertIn("node.overload.ends revision=much-00001", hob.log())

    def test_who_says_how_long_it_waits_is_not_kept_for_longer_than_it_takes_to_know(self):
        hob = self.hob
        hob.deploy("said", containerConcurrency=1, annotations={"min-scale": 1, "max-scale": 1})
        for _ in range(10):
            self.assertEqual(hob.ingress("said", path="/sleep/200")[0], 200)
        first = threading.Thread(target=hob.ingress, args=("said", "GET", "/sleep/3000"))
        first.start()
        hob.wait_for("it", lambda: hob.metric("hob_in_flight", faas_name="default/said") == 1)
        answer = hob.ingress("said", path="/sleep/200", headers={"Hob-Deadline": "100"})
        self.problem(answer, 503, "no-time-left")
        first.join()


if __name__ == "__main__":
    unittest.main()
