"""Startup, liveness and readiness probes on the real binary: each kind passing, failing and recovering."""
import json
import os
import pathlib
import subprocess
import tempfile
import threading
import unittest

from harness import HobCase, service

# A gRPC server by its reference implementation on port 9000, and HTTP on $PORT to change its mind.
GRPC = """
import concurrent.futures, http.server, os, grpc
state = {"": 1, "deep": 1}
def check(request, context):
    name = request[2:].decode()
    if name not in state:
        context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
    return bytes([8, state[name]])
server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
methods = {os.environ.get("METHOD", "Check"): grpc.unary_unary_rpc_method_handler(check)}
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", methods),))
server.add_insecure_port("127.0.0.1:9000")
server.start()
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path.startswith("/deep/"):
            state["deep"] = int(self.path[6:])
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), H).serve_forever()
"""
# HTTPS on port 9443, HTTP on 9080, and what it was asked on $PORT.
SECURE = """
import http.server, json, os, ssl, threading
asked = []
class S(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/secret":
            asked.append([self.path, self.headers["X-Probe"], self.connection.version()])
        self.send_response(200)
        self.end_headers()
        if self.path == "/":
            self.wfile.write(json.dumps(asked).encode())
    def log_message(self, *args):
        pass
secure = http.server.ThreadingHTTPServer(("", 9443), S)
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain("/app/cert.pem", "/app/key.pem")
secure.socket = tls.wrap_socket(secure.socket, server_side=True)
threading.Thread(target=secure.serve_forever).start()
threading.Thread(target=http.server.ThreadingHTTPServer(("", 9080), S).serve_forever).start()
http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), S).serve_forever()
"""


def certificate():
    """One that nobody vouches for, for another name."""
    with tempfile.TemporaryDirectory() as folder:
        files = {name: os.path.join(folder, name) for name in ("cert.pem", "key.pem")}
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=elsewhere",
                        "-out", files["cert.pem"], "-keyout", files["key.pem"]], check=True, capture_output=True)
        return {name: pathlib.Path(path).read_text() for name, path in files.items()}


# A machine under load answers late: only who tests the timeout has a short one.
FAST = {"periodSeconds": 1, "timeoutSeconds": 10, "failureThreshold": 2}
HASTY = {"timeoutSeconds": 1}
ONE = {"min-scale": 1, "max-scale": 1}


def healthz(**more):
    return {"httpGet": {"path": "/healthz"}, **FAST, **more}


class Probes(HobCase):
    def log_of(self, name):
        return self.hob.hob("logs", name)[1]

    def only(self, name):
        """Its one instance, once there is one that is ready."""
        def look():
            found = [i for i in self.hob.instances(name) if i["state"] == "ready"]
            return found[0] if len(found) == 1 else None
        return self.hob.wait_for(f"one ready instance of {name}", look)

    def revision_condition(self, name, kind):
        tree = self.hob.call("GET", f"/apis/serving.knative.dev/v1/namespaces/default/revisions/{name}-00001", want=200)
        return next(c for c in tree[2]["status"]["conditions"] if c["type"] == kind)

    # readiness

    def test_an_instance_that_turns_not_ready_gets_no_new_requests_and_returns(self):
        hob = self.hob
        hob.deploy("turns", probe=healthz(), annotations=ONE)
        instance = self.only("turns")["id"]
        running, waiting = [], []
        first = threading.Thread(target=lambda: running.append(hob.ingress("turns", path="/sleep/6000")))
        first.start()
        hob.wait_for("it to be busy", lambda: hob.instances("turns")[0]["inFlight"] == 1)
        self.assertEqual(hob.ingress("turns", path="/sicken/4000")[0], 200)
        hob.wait_for("it to be taken out", lambda: self.revision_condition("turns", "Active")["status"] == "Unknown")
        active = self.revision_condition("turns", "Active")
        self.assertEqual((active["reason"], active["message"]),
                         ("Queued", "Requests to the target are being buffered as resources are provisioned."))
        self.assertEqual(hob.condition("turns")["status"], "True")  # Ready says that it could run
        self.assertEqual([i["state"] for i in hob.instances("turns")], ["not-ready"])
        second = threading.Thread(target=lambda: waiting.append(hob.ingress("turns", path="/healthz")))
        second.start()
        first.join()
        second.join()
        self.assertEqual(running[0][::2], (200, instance.encode()))  # what ran went on
        self.assertEqual(waiting[0][::2], (200, b"well"))  # what came waited until it was well again
        self.assertEqual(self.only("turns")["id"], instance)
        text = self.log_of("turns")
        self.assertIn("hob: Readiness probe failed: HTTP probe failed with statuscode: 503; it gets no new requests", text)
        self.assertIn("hob: Readiness probe passed; it gets requests again", text)
        self.assertIn("instance.not_ready", hob.log())

    def test_what_a_probe_asks_is_what_was_declared(self):
        hob = self.hob
        probe = {"httpGet": {"path": "/healthz?deep=1", "host": "inside.example", "httpHeaders": [
            {"name": "X-Probe", "value": "of mine"}]}}
        hob.deploy("asks", probe=probe, annotations=ONE)
        asked = hob.tree("asks", "/lastprobe")
        self.assertEqual(asked["path"], "/healthz?deep=1")
        fields = {k.lower(): v for k, v in asked["fields"]}
        self.assertEqual(fields["host"], "inside.example")
        self.assertEqual(fields["x-probe"], "of mine")
        self.assertTrue(fields["user-agent"].startswith("kube-probe/"))
        probe["httpGet"] = {"path": "/healthz", "httpHeaders": [
            {"name": "Host", "value": "other"}, {"name": "user-agent", "value": "me"}]}
        hob.deploy("asks", probe=probe, annotations=ONE)
        hob.wait_for("the new one", lambda: hob.tree("asks", "/lastprobe")["path"] == "/healthz")
        fields = [(k.lower(), v) for k, v in hob.tree("asks", "/lastprobe")["fields"]]
        self.assertEqual([v for k, v in fields if k in ("host", "user-agent")], ["other", "me"])

    def test_redirects_are_followed_inside_and_pass_outside(self):
        hob = self.hob
        for name, path in (("inside", "/redirect/healthz"), ("outside", "/redirect//example.invalid/x")):
            hob.deploy(name, probe={"httpGet": {"path": path}}, annotations={"initial-scale": 0},
                       env={"HEALTHY_MS": "600"})
        self.assertEqual(hob.ingress("inside", path="/healthz")[::2], (200, b"well"))
        self.assertEqual(hob.ingress("outside", path="/healthz")[::2], (503, b"not yet"))  # it was ready before
        hob.deploy("circle", wait=False, startup={"httpGet": {"path": "/redirect/circle"}, **FAST},
                   annotations={"serving.knative.dev/progress-deadline": "3s"})
        self.assertIn("Startup probe failed: stopped after 10 redirects", hob.wait_condition("circle", "False")["message"])

    # liveness

    def test_a_failed_liveness_probe_replaces_the_instance(self):
        hob = self.hob
        hob.deploy("live", liveness=healthz(), annotations=ONE)
        old, running = self.only("live")["id"], []
        caller = threading.Thread(target=lambda: running.append(hob.ingress("live", path="/sleep/600000")))
        caller.start()
        hob.wait_for("it to be busy", lambda: hob.instances("live")[0]["inFlight"] == 1)
        self.assertEqual(hob.ingress("live", path="/sicken")[0], 200)
        hob.wait_for("another", lambda: self.only("live")["id"] != old)
        self.assertEqual(hob.ingress("live", path="/healthz")[::2], (200, b"well"))
        caller.join()
        self.assertEqual(running[0][0], 502)  # what ran on it is told why, and so is its record
        why = "the function ended the connection without an answer: Liveness probe failed: " \
              "HTTP probe failed with statuscode: 503"
        self.assertEqual(json.loads(running[0][2])["detail"], why)
        self.assertEqual(hob.invocation(running[0][1]["Hob-Invocation-Id"])["error"], why)
        text = self.log_of("live")
        self.assertIn("hob: Liveness probe failed: HTTP probe failed with statuscode: 503; the instance is replaced", text)
        self.assertIn("told to end", text)  # SIGTERM came first
        self.assertIn("instance.given_up", hob.log())

    def test_an_instance_that_answers_nothing_any_more_is_replaced(self):
        hob = self.hob
        hob.deploy("stuck", liveness=healthz(**HASTY), annotations=ONE)
        old = self.only("stuck")["id"]
        self.assertEqual(hob.ingress("stuck", path="/hush")[0], 200)
        hob.wait_for("another", lambda: self.only("stuck")["id"] != old)
        self.assertIn("Liveness probe failed: no answer within 1000 ms", self.log_of("stuck"))

    # startup

    def test_the_startup_probe_gives_a_slow_one_its_time(self):
        hob = self.hob
        # Without the startup probe liveness would end it after two seconds.
        hob.deploy("patient", startup=healthz(failureThreshold=30), liveness=healthz(failureThreshold=1),
                   env={"HEALTHY_MS": "3500"}, annotations=ONE)
        self.assertEqual(hob.ingress("patient", path="/healthz")[::2], (200, b"well"))
        self.assertNotIn("probe failed", self.log_of("patient"))

    def test_a_start_that_fails_its_startup_probe_says_so(self):
        hob = self.hob
        hob.deploy("never", wait=False, startup=healthz(), env={"HEALTHY_MS": "600000"},
                   annotations={"serving.knative.dev/progress-deadline": "4s"})
        condition = hob.wait_condition("never", "False")
        self.assertIn("Startup probe failed: HTTP probe failed with statuscode: 503", condition["message"])
        self.assertIn("hob: Startup probe failed", self.log_of("never"))
        healthy = self.revision_condition("never", "ContainerHealthy")
        self.assertEqual((healthy["status"], healthy["reason"]), ("False", "NotReady"))

    # commands

    @staticmethod
    def script(text, **more):
        return {"exec": {"command": ["sh", "-c", text]}, **FAST, **more}

    def test_a_command_decides_that_an_instance_has_started(self):
        hob = self.hob
        tries = self.script("echo x >> /tmp/tries; [ $(wc -l < /tmp/tries) -ge 3 ]", failureThreshold=9)
        hob.deploy("third", startup=tries, annotations=ONE)
        self.assertEqual(hob.ingress("third", path="/file/tmp/tries")[::2], (200, b"x\nx\nx\n"))
        hob.deploy("soon", probe={"exec": {"command": ["sh", "-c", "echo x >> /tmp/tries; [ $(wc -l < /tmp/tries) -ge 5 ]"]}},
                   annotations=ONE)  # period 0: until it passes, and then no more
        self.assertEqual(hob.ingress("soon", path="/file/tmp/tries")[::2], (200, b"x\n" * 5))

    def test_a_command_ends_an_instance_and_its_words_are_kept(self):
        hob = self.hob
        hob.deploy("judged", liveness=self.script("[ ! -e /tmp/bad ] || { echo it is; echo bad; exit 7; }"), annotations=ONE)
        old = self.only("judged")["id"]
        self.assertEqual(hob.ingress("judged", path="/touch/tmp/bad")[0], 200)
        hob.wait_for("another", lambda: self.only("judged")["id"] != old)
        self.assertIn("hob: Liveness probe failed: command exited with status 7: it is bad; the instance is replaced",
                      self.log_of("judged"))

    def test_a_command_that_does_not_end_in_time_fails(self):
        hob = self.hob
        late = {"serving.knative.dev/progress-deadline": "4s"}
        hob.deploy("hangs", wait=False, annotations=late,
                   startup=self.script("echo so far; setsid sleep 100 & sleep 100", **HASTY))
        hob.deploy("missing", wait=False, startup={"exec": {"command": ["/no/such/thing"]}, **FAST}, annotations=late)
        self.assertIn("Startup probe failed: command timed out after 1000 ms: so far",
                      hob.wait_condition("hangs", "False")["message"])
        self.assertIn("command exited with status 127: command /no/such/thing: No such file or directory",
                      hob.wait_condition("missing", "False")["message"])

    # gRPC

    def deploy_grpc(self, name, wait=True, **spec):
        return self.hob.apply(service(name, self.hob.bundle({"serve.py": GRPC}), ["/usr/bin/python3", "/app/serve.py"],
                                      annotations={**ONE, **spec.pop("annotations", {})}, **spec), wait)

    def test_a_grpc_health_service_decides(self):
        hob = self.hob
        deep = {"grpc": {"port": 9000, "service": "deep"}, **FAST}
        self.deploy_grpc("rpc", startup={"grpc": {"port": 9000}, **FAST, "failureThreshold": 30}, probe=deep)
        instance = self.only("rpc")["id"]
        self.assertEqual(hob.ingress("rpc", path="/deep/2")[0], 200)
        hob.wait_for("it to be taken out", lambda: self.revision_condition("rpc", "Active")["status"] == "Unknown")
        self.assertIn('hob: Readiness probe failed: service unhealthy (responded with "NOT_SERVING")', self.log_of("rpc"))
        self.assertEqual([i["id"] for i in hob.instances("rpc")], [instance])
        self.deploy_grpc("rpc-live", startup={"grpc": {"port": 9000}, **FAST, "failureThreshold": 30}, liveness=deep)
        old = self.only("rpc-live")["id"]
        self.assertEqual(hob.ingress("rpc-live", path="/deep/3")[0], 200)
        hob.wait_for("another", lambda: self.only("rpc-live")["id"] != old)
        self.assertIn('Liveness probe failed: service unhealthy (responded with "SERVICE_UNKNOWN")', self.log_of("rpc-live"))

    def test_what_a_grpc_probe_does_not_get_is_said(self):
        late = {"serving.knative.dev/progress-deadline": "10s"}
        self.deploy_grpc("rpc-none", wait=False, annotations=late, env={"METHOD": "Other"},
                         startup={"grpc": {"port": 9000}, **FAST, "failureThreshold": 4})
        self.deploy_grpc("rpc-http", wait=False, annotations=late, startup={"grpc": {}, **FAST, "failureThreshold": 4})
        self.assertIn("server doesn't implement the grpc health protocol",
                      self.hob.wait_condition("rpc-none", "False")["message"])
        self.assertIn("health rpc probe failed", self.hob.wait_condition("rpc-http", "False")["message"])

    # TLS

    def test_an_https_probe_asks_over_tls_whoever_answers(self):
        hob = self.hob
        secure = {"httpGet": {"port": 9443, "scheme": "HTTPS", "path": "/secret", "httpHeaders": [
            {"name": "X-Probe", "value": "mine"}]}, **FAST, "failureThreshold": 30}
        bundle = hob.bundle({"serve.py": SECURE, **certificate()})
        hob.apply(service("secure", bundle, ["/usr/bin/python3", "/app/serve.py"], annotations=ONE, startup=secure))
        self.only("secure")
        asked = json.loads(hob.ingress("secure")[2])
        self.assertEqual(asked[0], ["/secret", "mine", "TLSv1.3"])
        late = {**ONE, "serving.knative.dev/progress-deadline": "10s"}
        for name, scheme, port, why in (("plain-on-tls", "HTTP", 9443, "the connection"),
                                        ("tls-on-plain", "HTTPS", 9080, "tls: handshake: ")):
            probe = {"httpGet": {"port": port, "scheme": scheme}, **FAST, "failureThreshold": 2}
            hob.apply(service(name, bundle, ["/usr/bin/python3", "/app/serve.py"], annotations=late, startup=probe),
                      False)
            self.assertIn(why, hob.wait_condition(name, "False")["message"])

    # the start-up budget

    def test_a_missed_start_up_budget_is_a_condition_that_names_the_phase(self):
        hob = self.hob
        budget = {"hob.dev/start-budget": "600ms", "initial-scale": 1, "window": "6s"}
        hob.deploy("slowly", env={"DELAY_MS": "1500"}, annotations=budget)
        kept = {"hob.dev/start-budget": "60s", "initial-scale": 1}
        hob.deploy("quickly", annotations=kept)
        missed = hob.wait_condition("slowly", "False", "StartBudgetMet")
        self.assertEqual((missed["reason"], missed["severity"]), ("StartBudgetMissed", "Warning"))
        self.assertRegex(missed["message"], r"^the 99th percentile of the recent starts is \d+ ms, the budget 600 ms; "
                         r"most of it, \d{4,} ms, went into runtime_init$")
        self.assertEqual(hob.condition("slowly")["status"], "True")  # late, and it runs
        self.assertIsNone(hob.condition("quickly", "StartBudgetMet"))
        stats = hob.call("GET", "/v1/services/default/slowly/stats", want=200)[2]["budget"]
        self.assertEqual((stats["verdict"], stats["phase"]), ("missed", "runtime_init"))

    # refusals

    def test_what_cannot_be_done_is_refused_by_name(self):
        hob = self.hob
        where = "spec.template.spec.containers[0].livenessProbe"
        for probe, text in (
                ({"httpGet": {"scheme": "FTP"}}, f"invalid value: FTP: {where}.httpGet.scheme"),
                ({"tcpSocket": {"host": "example.com"}}, f"invalid value: example.com: {where}.tcpSocket.host"),
                ({"exec": {"command": ["x" * 9000]}}, f"expected 1 <= 9001 <= 8192: {where}.exec.command"),
                ({"tcpSocket": {}, "successThreshold": 2}, f"invalid value: 2: {where}.successThreshold")):
            with self.subTest(probe):
                tree = hob.spec("refused", liveness=probe)
                status, _, answer = hob.call("POST", "/apis/serving.knative.dev/v1/namespaces/default/services", tree)
                self.assertEqual(status, 400)
                self.assertIn(text, answer["message"])


if __name__ == "__main__":
    unittest.main()
