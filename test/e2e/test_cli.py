"""The command line as a person or a script meets it: the real binary against a small fake API.

The fake keeps real state (create, replace, conflict, delete), so a wrong verb or body shows. Every
exit status of cli/exits.h is caused here. HOB names the binary.
"""
import http.server
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import unittest
import urllib.parse

HOB = os.environ["HOB"]
KNATIVE = "/apis/serving.knative.dev/v1"
RECORD = {
    "id": "0198f3a2-7c21-7d00-8000-00c0ffee0001", "namespace": "default", "service": "greeter",
    "revision": "greeter-00001", "instance": "greeter-00001-abcde", "method": "GET", "path": "/",
    "status": 200, "outcome": "ok", "arrivalUnixMs": 1795431845123, "arrivalMonotonicUs": 1000,
    "dispatchUs": 9000, "firstByteUs": 10000, "totalUs": 10100, "cold": True, "queueUs": 100,
    "coveragePermille": 999, "start": {
        "id": "greeter-00001-abcde", "beginMonotonicUs": 1100, "caches": {"sandbox_pool": "miss"},
        "phases": [{"name": "sandbox", "outcome": "done", "startUs": 0, "durationUs": 8000}]}}


class Fake:
    """One API and one ingress, on one port each."""

    def __init__(self):
        self.services, self.version, self.requests = {}, 100, []
        self.never_ready = self.broken = self.cut = None
        self.memory = {"memoryBytes": 1048576}  # not there where it cannot be measured
        self.races = 0  # changes by somebody else between a look and the change after it
        self.lag = 0  # looks at a service before its status is about what was last asked for
        self.function = (200, {"Content-Type": "text/plain"}, b"hello\n")
        self.invoked = threading.Event()
        self.following = threading.Event()
        self.stream_over = threading.Event()  # the log that is followed was ended by the server
        self.polled = threading.Event()  # somebody looked at a service that exists
        self.release = threading.Event()
        fake = self

        class Api(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def handle_one(self):
                size = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(size)
                fake.requests.append((self.command, self.path, body))
                if fake.cut == self.command:
                    self.close_connection = True
                    return
                fake.api(self, body)

            do_GET = do_POST = do_PUT = do_DELETE = handle_one

        class Ingress(Api):
            def handle_one(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                fake.call = {"method": self.command, "path": self.path, "body": body,
                             "host": self.headers["Host"], "headers": self.headers}
                fake.invoked.set()
                if fake.function is None:
                    fake.release.wait(60)
                    self.close_connection = True
                    return
                status, headers, answer = fake.function
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST = do_PUT = handle_one

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, request, client_address):
                if not isinstance(sys.exc_info()[1], ConnectionError):  # a killed hob leaves
                    super().handle_error(request, client_address)

        self.servers = [Server(("127.0.0.1", 0), one) for one in (Api, Ingress)]
        for one in self.servers:
            one.daemon_threads = True
            threading.Thread(target=one.serve_forever, args=(0.01,), daemon=True).start()
        self.api_at, self.ingress_at = ["127.0.0.1:%d" % s.server_address[1] for s in self.servers]

    def close(self):
        self.release.set()
        for one in self.servers:
            one.shutdown()
            one.server_close()

    # ---- objects ----

    def status_of(self, service):
        ready = "Unknown" if self.never_ready else "False" if self.broken else "True"
        one = {"type": "Ready", "status": ready, "lastTransitionTime": "2026-11-23T11:00:00Z"}
        if self.broken:
            one.update(reason="ModelFailed", message=self.broken)
        name = service["metadata"]["name"]
        return {"observedGeneration": service["metadata"]["generation"], "conditions": [one],
                "url": "http://%s.default.localhost:8080" % name,
                "latestReadyRevisionName": name + "-00001"}

    def put(self, ns, service):
        old = self.services.get((ns, service["metadata"]["name"]))
        meta = service["metadata"]
        if old and meta.get("resourceVersion") != old["metadata"]["resourceVersion"]:
            return None
        if old and old["spec"] == service["spec"]:
            return old
        self.version += 1
        meta.update(namespace=ns, resourceVersion=str(self.version),
                    generation=(old["metadata"]["generation"] if old else 0) + 1,
                    creationTimestamp="2026-11-23T11:00:00Z")
        service["status"] = self.status_of(service)
        self.services[ns, meta["name"]] = service
        return service

    def seen(self, service):
        if not self.lag:
            return service
        self.lag -= 1
        old = {"type": "Ready", "status": "False", "reason": "OfTheOld", "message": "generation"}
        return service | {"status": {"conditions": [old], "observedGeneration":
                                     service["metadata"]["generation"] - 1}}

    def api(self, h, body):
        def answer(status, value, kind="application/json"):
            data = value if isinstance(value, bytes) else json.dumps(value).encode()
            h.send_response(status)
            h.send_header("Content-Type", kind)
            h.send_header("Content-Length", str(len(data)))
            h.end_headers()
            h.wfile.write(data)

        def refuse(status, reason, message):
            answer(status, {"kind": "Status", "reason": reason, "message": message, "code": status})

        url = urllib.parse.urlsplit(h.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        part = [urllib.parse.unquote(p) for p in url.path.split("/")]
        if url.path == "/version":
            return answer(200, {"version": "9.9.9", "ingress": self.ingress_at,
                                "node": {"uptime_s": 61}})
        if url.path == "/readyz":
            return answer(200, b"ok", "text/plain")
        if url.path == KNATIVE + "/services":
            return answer(200, {"items": list(self.services.values())})
        if url.path.startswith(KNATIVE + "/namespaces/"):
            ns, kind, name = part[5], part[6], part[7] if len(part) > 7 else None
            if kind == "revisions":
                return answer(200, {"items": [{"apiVersion": "serving.knative.dev/v1",
                    "kind": "Revision", "metadata": {"name": "greeter-00001", "namespace": ns,
                    "labels": {"serving.knative.dev/service": "greeter",
                               "serving.knative.dev/configurationGeneration": "1"}}}]})
            if name == "forbidden":
                return refuse(403, "Forbidden", "not for you")
            if name == "overloaded":
                return refuse(429, "TooManyRequests", "slow down")
            if h.command == "POST":
                service = json.loads(body)
                if "resourceVersion" in service["metadata"]:
                    return refuse(400, "BadRequest",
                                  "resourceVersion should not be set on objects to be created")
                self.created = json.loads(body)
                if service["metadata"]["name"] == "twolines":
                    return refuse(400, "BadRequest", "image: registries are no\nuse a folder\x1b[2J")
                if service["metadata"]["name"] == "refused":
                    return refuse(422, "Invalid", "spec.template: must not be so")
                return answer(201, self.put(ns, service))
            if name is None:
                return answer(200, {"apiVersion": "serving.knative.dev/v1", "kind": "ServiceList",
                                    "items": [s for (n, _), s in sorted(self.services.items())
                                              if n == ns]})
            if (ns, name) not in self.services:
                return refuse(404, "NotFound", 'services "%s" not found' % name)
            if h.command == "DELETE":
                del self.services[ns, name]
                return answer(200, {"kind": "Status", "status": "Success"})
            if h.command == "PUT":
                if name == "raced":
                    self.races = 1
                if self.races:
                    self.races -= 1
                    self.version += 1
                    self.services[ns, name]["metadata"]["resourceVersion"] = str(self.version)
                done = self.put(ns, json.loads(body))
                if done is None:
                    return refuse(409, "Conflict", "the object has been modified")
                return answer(200, self.seen(done))
            self.polled.set()
            return answer(200, self.seen(self.services[ns, name]))
        if url.path.startswith("/v1/invocations/"):
            if part[3] == RECORD["id"]:
                return answer(200, RECORD)
            return refuse(404, "NotFound", "no such invocation")
        if url.path == "/v1/invocations":
            wanted = query.get("service") in (None, "greeter")
            return answer(200, {"items": [RECORD] if wanted else []})
        if url.path == "/v1/instances":
            return answer(200, {"items": [{"id": "greeter-00001-abcde", "namespace": "default",
                "service": "greeter", "revision": "greeter-00001", "state": "ready", "inFlight": 2,
                "ageSeconds": 70, "cpuUs": 1500, "requests": 7, **self.memory,
                "containers": [{"part": "sidecar", "name": "side", "state": "ready", "restarts": 1}]}]})
        if url.path == "/v1/models":
            return answer(200, {"items": [
                {"digest": "sha256:" + d * 32, "kind": "model", "reference": "file:///m.bin",
                 "state": "stored", "sizeBytes": 1048576, "haveBytes": 1048576,
                 "residentPermille": 500, "users": 0} for d in ("aa", "ab")]})
        if url.path.startswith("/v1/models/") and h.command == "DELETE":
            return answer(200, {})
        if url.path == "/v1/limits":
            return answer(200, {"items": [{"name": "starts_max", "value": 2, "default": 16,
                "unit": "", "help": "cold starts at once", "reached": 3}, {"name": "queue_wait_ms",
                "value": 5, "default": 5, "unit": "ms", "help": "wait", "reached": 0}]})
        if url.path.endswith("/stats"):
            return answer(200, {"invocations": 10, "cold": 1, "starts": 1, "ready": {"count": 1,
                "p50Us": 8000, "p99Us": 8000}, "phases": [{"name": "sandbox", "count": 1,
                "p50Us": 8000, "p99Us": 8000, "failures": 0}],
                "budget": {"verdict": "missed", "budgetMs": 5, "percentile": 99}})
        if url.path.endswith("/logs"):
            lines = (b"2026-11-23T11:00:00.123Z greeter-00001-abcde hello \x1b[2Jworld\n"
                     b"2026-11-23T11:00:01.123Z greeter-00001-abcde no end of line")
            if query.get("follow") != "true":
                return answer(200, lines, "text/plain")
            h.send_response(200)
            h.send_header("Transfer-Encoding", "chunked")
            h.end_headers()
            h.wfile.write(b"%x\r\n%s\r\n" % (len(lines) + 1, lines + b"\n"))
            h.wfile.flush()
            self.following.set()
            self.release.wait(60)
            self.stream_over.set()
            h.close_connection = True
            return None
        return refuse(404, "NotFound", "no route " + h.path)


MANIFEST = """apiVersion: serving.knative.dev/v1
kind: Service
metadata:
  name: %s
spec:
  template:
    spec:
      containers:
      - image: file:///srv/%s
"""


class Cli(unittest.TestCase):
    def setUp(self):
        self.fake = Fake()
        self.addCleanup(self.fake.close)
        unheard = socket.socket()  # bound and not listening: whoever connects is refused
        self.addCleanup(unheard.close)
        unheard.bind(("127.0.0.1", 0))
        self.nobody = "127.0.0.1:%d" % unheard.getsockname()[1]
        self.dir = tempfile.mkdtemp(prefix="hob-cli-")
        self.addCleanup(shutil.rmtree, self.dir)

    def env(self, **more):
        env = {k: v for k, v in os.environ.items()
               if not k.startswith("HOB") and k not in ("NO_COLOR", "COLUMNS", "LC_ALL", "TERM")}
        return env | {"HOB_SERVER": self.fake.api_at, "LC_ALL": "C.UTF-8", "TERM": "xterm"} | more

    def hob(self, *args, stdin=b"", expect=0, **env):
        done = subprocess.run([HOB, *args], input=stdin, capture_output=True, timeout=60,
                              env=self.env(**env))
        self.assertEqual(done.returncode, expect, (args, done.stdout, done.stderr))
        self.err = done.stderr.decode()
        return done.stdout.decode()

    def file(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, "w") as f:
            f.write(text)
        return path

    def deploy(self, name="greeter", *more):
        return self.hob("deploy", name, "--image", "file:///srv/g", *more)

    def test_apply_creates_then_changes_nothing_then_configures(self):
        path = self.file("a.yaml", MANIFEST % ("greeter", "a"))
        self.assertEqual(self.hob("apply", "-f", path),
                         "service.serving.knative.dev/greeter created\n")
        self.assertIn(("default", "greeter"), self.fake.services)
        self.assertIn("unchanged", self.hob("apply", "-f", path))
        path = self.file("a.yaml", MANIFEST % ("greeter", "b"))
        self.assertIn("configured", self.hob("apply", "-f", path))
        self.assertEqual(self.fake.services["default", "greeter"]["spec"]["template"]["spec"]
                         ["containers"][0]["image"], "file:///srv/b")

    def test_apply_takes_several_documents_folders_and_stdin(self):
        two = MANIFEST % ("one", "a") + "---\n" + MANIFEST % ("two", "a")
        out = self.hob("apply", "-f", "-", stdin=two.encode())
        self.assertEqual([line.split()[0].split("/")[1] for line in out.splitlines()], ["one", "two"])
        self.file("b.yaml", MANIFEST % ("four", "a"))
        self.file("a.json", json.dumps({"kind": "List", "items": [
            {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": "three"},
             "spec": {}}]}))
        self.file("notes.txt", "no manifest")
        out = self.hob("apply", "-n", "other", "-f", self.dir)
        self.assertRegex(out, "(?s)three created.*four created")
        self.assertIn(("other", "three"), self.fake.services)

    def test_what_get_printed_applies_again_after_a_delete(self):
        self.deploy()
        path = self.file("kept.yaml", self.hob("get", "greeter", "-o", "yaml"))
        with open(path) as f:
            self.assertIn("resourceVersion", f.read())
        self.hob("delete", "greeter")
        self.assertIn("created", self.hob("apply", "-f", path))
        self.assertEqual(sorted(self.fake.created), ["apiVersion", "kind", "metadata", "spec"])
        self.assertEqual(self.fake.created["metadata"], {"name": "greeter", "namespace": "default"})
        self.assertIn("unchanged", self.hob("apply", "-f", self.file(
            "now.yaml", self.hob("get", "greeter", "-o", "yaml"))))

    def test_lines_of_a_refusal_stay_lines(self):
        self.hob("deploy", "twolines", "--image", "file:///srv/g", expect=1)
        self.assertEqual(self.err.splitlines()[1:], ["  use a folder?[2J"])
        self.assertTrue(self.err.splitlines()[0].endswith("image: registries are no"), self.err)
        self.fake.broken = "first line\nsecond\x1b[2J"
        self.hob("deploy", "greeter", "--image", "file:///srv/g", expect=1)
        self.assertIn("first line\n  second?[2J\n", self.err)
        self.assertRegex(self.hob("describe", "greeter"), r"first line\n {4,}second\?\[2J\n")

    def test_deploy_takes_paths_that_exist(self):
        os.makedirs(os.path.join(self.dir, "try", "greeter"))
        model = self.file("try/w.bin", "w")

        def built(image, *more):
            done = subprocess.run([HOB, "deploy", "u", "--dry-run", "-o", "json", "-i", image, *more],
                                  cwd=self.dir, env=self.env(), capture_output=True, timeout=60)
            self.assertEqual(done.returncode, 0, done.stderr)
            spec = json.loads(done.stdout)["spec"]["template"]["spec"]
            return [spec["containers"][0]["image"]] + [v["image"]["reference"]
                                                       for v in spec.get("volumes", [])]
        folder, pin = "file://" + os.path.join(self.dir, "try/greeter"), "@sha256:" + "ab" * 32
        self.assertEqual(built("try/greeter"), [folder])
        self.assertEqual(built("./try/greeter"), [folder])
        self.assertEqual(built("no/greeter:v1"), ["no/greeter:v1"])
        self.assertEqual(
            built(folder, "-m", "try/w.bin:/model", "-m", "./try/w.bin" + pin + ":/m", "-m",
                  "no/w:/n", "-m", "https://h.example/w" + pin + ":/o"),
            [folder, "file://" + model, "file://" + model + pin, "no/w",
             "https://h.example/w" + pin])
        self.hob("deploy", "u", "-i", folder, "-m", "./nothing.bin:/model", "--dry-run", expect=3)
        self.assertIn("--model: ./nothing.bin: No such file", self.err)

    def test_apply_says_what_is_wrong_and_where(self):
        self.hob("apply", expect=2)
        self.assertIn("-f", self.err)
        self.hob("apply", "-f", "/nonexistent.yaml", expect=3)
        self.assertIn("/nonexistent.yaml", self.err)
        self.hob("apply", "-f", self.file("bad.yaml", "a: [1\n"), expect=1)
        self.assertRegex(self.err, r"bad\.yaml.*line")
        self.hob("apply", "-f", "-", stdin=b"kind: Pod\napiVersion: v1\n", expect=1)
        self.assertRegex(self.err, "v1 Pod: no kind .*ConfigMap.*DomainMapping")
        self.hob("apply", "-f", "-", stdin=b"", expect=1)
        self.hob("apply", "-f", "-", stdin=(MANIFEST % ("refused", "a")).encode(), expect=1)
        self.assertIn("spec.template: must not be so", self.err)

    def test_what_was_done_before_a_failure_is_said(self):
        both = MANIFEST % ("one", "a") + "---\n" + MANIFEST % ("refused", "a")
        done = subprocess.run([HOB, "apply", "-f", "-"], input=both.encode(), capture_output=True,
                              env=self.env(), timeout=60)
        self.assertEqual((done.returncode, done.stdout),
                         (1, b"service.serving.knative.dev/one created\n"))

    def test_apply_waits_and_tells_failure_from_lateness(self):
        self.fake.broken = "its hash is not the pinned one"
        self.hob("apply", "-f", "-", stdin=(MANIFEST % ("greeter", "a")).encode(), expect=1)
        self.assertIn("ModelFailed: its hash is not the pinned one", self.err)
        self.fake.broken, self.fake.never_ready = None, True
        self.hob("deploy", "late", "--image", "file:///x", "--timeout", "100ms", expect=7)
        self.assertIn("hob describe late", self.err)
        self.hob("deploy", "later", "--image", "file:///x", "--no-wait")

    def test_what_was_said_about_the_last_generation_is_not_believed(self):
        self.deploy()
        self.fake.lag = 4  # a look, the change, and two looks after it
        self.hob("deploy", "greeter", "--image", "file:///new")
        self.assertEqual(self.fake.lag, 0)

    def test_a_change_in_between_is_a_conflict(self):
        self.deploy("raced")
        self.hob("deploy", "raced", "--image", "file:///other", expect=5)
        self.assertIn("modified", self.err)

    def test_what_the_server_changed_meanwhile_is_looked_at_again(self):
        self.deploy()
        self.fake.races = 4
        self.assertIn("configured", self.deploy("greeter", "--memory", "64Mi"))
        self.assertEqual(self.fake.races, 0)
        kept = self.hob("get", "greeter", "-o", "json")
        self.deploy("greeter", "--memory", "65Mi")
        puts = len([one for one in self.fake.requests if one[0] == "PUT"])
        self.hob("apply", "-f", "-", stdin=kept.encode(), expect=5)  # it names the version that it is about
        self.assertEqual(len([one for one in self.fake.requests if one[0] == "PUT"]), puts + 1)

    def test_a_dry_run_asks_the_server(self):
        path = self.file("a.yaml", MANIFEST % ("greeter", "a"))
        self.assertEqual(self.hob("apply", "-f", path, "--dry-run"),
                         "service.serving.knative.dev/greeter created (server dry run)\n")
        self.assertEqual(self.fake.requests[-1][:2], ("POST", KNATIVE + "/namespaces/default/services?dryRun=All"))

    def test_a_cut_answer_to_a_change_is_ambiguous_and_to_a_look_is_not(self):
        self.fake.cut = "POST"
        self.hob("deploy", "greeter", "--image", "file:///x", expect=7)
        self.assertIn("it may have been done", self.err)
        self.fake.cut = "GET"
        self.hob("get", expect=1)

    def test_deploy_prints_the_manifest_that_apply_takes(self):
        os.mkdir(os.path.join(self.dir, "fn"))
        manifest = self.hob("deploy", "greeter", "--image", os.path.join(self.dir, "fn"), "--min-scale",
                            "1", "-e", "A=yes", "--model", "file:///m.bin:/model", "--dry-run")
        self.assertEqual(self.fake.requests, [])
        self.hob("apply", "-f", "-", stdin=manifest.encode())
        template = self.fake.services["default", "greeter"]["spec"]["template"]
        container = template["spec"]["containers"][0]
        self.assertEqual(container["image"], "file://" + os.path.realpath(self.dir) + "/fn")
        self.assertEqual(container["env"], [{"name": "A", "value": "yes"}])
        self.assertEqual(template["metadata"]["annotations"]["autoscaling.knative.dev/min-scale"], "1")
        self.hob("deploy", "greeter", expect=2)
        self.hob("deploy", "greeter", "--image", "./nowhere", expect=3)
        self.hob("deploy", "greeter", "--image", "x", "-e", "A", expect=2)
        self.hob("deploy", "greeter", "--image", "x", "--memory", "64MB", expect=2)
        self.assertIn("--memory: '64MB' is no size; did you mean 64M or 64Mi?", self.err)
        self.hob("deploy", "greeter", "--image", "x", "--cpu", "half", expect=2)

    def test_get_in_every_format(self):
        self.assertEqual(self.hob("get"), "")
        self.assertIn("no services in namespace default", self.err)
        self.hob("get", "-q")
        self.assertEqual(self.err, "")
        self.deploy()
        self.deploy("other", "-n", "elsewhere")
        lines = self.hob("get").splitlines()
        self.assertEqual(lines[0].split(), ["NAME", "READY", "URL", "REVISION", "AGE", "REASON"])
        self.assertRegex(lines[1], r"^greeter +True +http://greeter\.default")
        self.assertIn("2026-11-23T11:00:00Z", lines[1])  # not a terminal: the time itself
        self.assertEqual(len(lines), 2)
        self.assertIn("elsewhere", self.hob("get", "-A"))
        self.assertIn("file:///srv/g", self.hob("get", "-o", "wide"))
        self.assertEqual(self.hob("get", "-o", "name"), "service.serving.knative.dev/greeter\n")
        self.assertEqual(json.loads(self.hob("get", "--json"))["items"][0]["metadata"]["name"],
                         "greeter")
        self.assertEqual(json.loads(self.hob("get", "greeter", "-o", "json"))["kind"], "Service")
        self.assertEqual(json.loads(self.hob("get", "-o", "jsonl"))["metadata"]["name"], "greeter")
        self.assertIn("name: greeter", self.hob("get", "service/greeter", "-o", "yaml"))
        self.assertRegex(self.hob("get", "revisions"), r"greeter-00001 +greeter +1")

    def test_names_that_do_not_exist_get_the_nearest(self):
        self.deploy()
        self.fake.function = (404, {"Content-Type": "application/problem+json"},
                              b'{"type": "urn:hob:problem:unknown-host", "detail": "no function"}')
        for command in ("get", "describe", "delete", "logs", "invoke", "ps"):
            self.hob(command, "greter", expect=3)
            self.assertIn("did you mean 'greeter'?", self.err, command)
        self.hob("delete", "greter", "--ignore-not-found")
        self.hob("ps", "-A", "greter", expect=3)
        self.assertIn("did you mean 'greeter'?", self.err)
        self.hob("invoke", "greeter", expect=3)  # it is there, so the server's word stands
        self.assertIn("greeter: no function (404)", self.err)

    def test_denied_and_throttled(self):
        self.hob("describe", "forbidden", expect=4)
        self.assertIn("not for you", self.err)
        self.hob("describe", "overloaded", expect=6)

    def test_describe(self):
        self.deploy("greeter", "--model", "file:///m.bin:/model", "--memory", "64Mi")
        page = self.hob("describe", "greeter")
        for part in ("default/greeter", "http://greeter.default.localhost:8080", "True",
                     "file:///m.bin at /model", "memory 64Mi", "10, 1 of them cold (10.0 %)",
                     "1, with 2 requests in flight and 1.00 MiB of memory", "0..any instances", "missed: p99 of the starts never is ready", "hob explain " + RECORD["id"], "sandbox"):
            self.assertIn(part, page)
        self.assertEqual(json.loads(self.hob("describe", "greeter", "-o", "json"))["stats"]["cold"], 1)
        self.fake.memory = {}
        self.assertIn("memory that cannot be measured here", self.hob("describe", "greeter"))
        self.assertRegex(self.hob("ps"), r"side +ready, 1 restart\s")

    def test_a_taken_port_leaves_no_folder_behind(self):
        data = os.path.join(self.dir, "new-data")
        for taken in ("--listen-api", "--listen-ingress", "--listen-temporal"):
            free = {"--listen-api": "127.0.0.1:0", "--listen-ingress": "127.0.0.1:0", "--listen-temporal": "127.0.0.1:0"}
            words = [w for pair in (free | {taken: self.fake.api_at}).items() for w in pair]
            self.hob("serve", *words, "--data", data, expect=1, HOB_RUNTIME_DIR=os.path.join(self.dir, "run"))
            self.assertIn("Address already in use", self.err)
            self.assertFalse(os.path.exists(data))

    def test_delete(self):
        self.deploy()
        self.assertEqual(self.hob("delete", "service.serving.knative.dev/greeter"),
                         "service.serving.knative.dev/greeter deleted\n")
        self.assertEqual(self.fake.services, {})

    def test_invoke_sends_what_it_was_given(self):
        self.assertEqual(self.hob("invoke", "greeter"), "hello\n")
        self.assertEqual((self.fake.call["method"], self.fake.call["host"]),
                         ("GET", "greeter.default.localhost"))
        self.hob("invoke", "greeter", "-n", "ns", "-d", '{"a":1}', "-H", "X-Key: v", "--path", "/p?q=1")
        call = self.fake.call
        self.assertEqual((call["method"], call["path"], call["body"], call["host"]),
                         ("POST", "/p?q=1", b'{"a":1}', "greeter.ns.localhost"))
        self.assertEqual((call["headers"]["X-Key"], call["headers"]["Content-Type"]),
                         ("v", "application/json"))
        path = self.file("body", "from a file")
        self.hob("invoke", "greeter", "-X", "PUT", "-d", "@" + path)
        self.assertEqual((self.fake.call["method"], self.fake.call["body"]), ("PUT", b"from a file"))
        self.hob("invoke", "greeter", "-d", "-", stdin=b"\0\xff")
        self.assertEqual(self.fake.call["body"], b"\0\xff")
        self.assertRegex(self.hob("invoke", "greeter", "-i"), r"(?s)^HTTP/1.1 200 .*\r\n\r\nhello\n$")
        self.hob("invoke", "greeter", "--repeat", "3")
        self.assertIn("3 calls, 0 failed; p50", self.err)
        self.hob("invoke", "greeter", HOB_INGRESS=self.nobody, expect=1)

    def test_invoke_refuses_what_would_smuggle(self):
        for bad in (["--path", "/a b"], ["--path", "nope"], ["--path", "/a\r\nX: 1"], ["-X", "GE T"],
                    ["-H", "X: 1\r\nY: 2"], ["-H", "no colon"], ["-H", "sp ace: 1"]):
            self.hob("invoke", "greeter", *bad, expect=2)
        self.hob("invoke", "greeter\r\nX: 1", expect=2)
        self.assertFalse(self.fake.invoked.is_set())

    def test_invoke_says_whose_failure_it_was(self):
        def problem(status, name, **more):
            body = {"type": "urn:hob:problem:" + name, "status": status, "title": "t",
                    "detail": "detail of " + name, **more}
            return (status, {"Content-Type": "application/problem+json",
                             "Hob-Invocation-Id": RECORD["id"]}, json.dumps(body).encode())
        self.fake.function = (500, {}, b"its own error")
        self.assertEqual(self.hob("invoke", "greeter", expect=8), "its own error")
        self.fake.function = (404, {}, b"not here")
        self.assertEqual(self.hob("invoke", "greeter"), "not here")
        own = json.dumps({"type": "about:blank", "detail": "x"}).encode()
        self.fake.function = (503, {"Content-Type": "application/problem+json"}, own)
        self.assertEqual(self.hob("invoke", "greeter", expect=8), own.decode())
        self.fake.function = problem(503, "queue-full", retry_after_s=2)
        self.assertEqual(self.hob("invoke", "greeter", expect=6), "")
        self.assertRegex(self.err, "(?s)detail of queue-full.*again in 2 s.*explain " + RECORD["id"])
        self.fake.function = problem(429, "overloaded")
        self.hob("invoke", "greeter", expect=6)
        self.fake.function = problem(504, "deadline")
        self.hob("invoke", "greeter", expect=7)
        self.assertIn("may have run", self.err)
        self.fake.function = problem(404, "unknown-host")
        self.hob("invoke", "nobody", expect=3)
        self.fake.function = problem(503, "start-failed")
        self.hob("invoke", "greeter", expect=6)

    def test_invoke_without_an_answer_is_ambiguous(self):
        self.fake.function = None
        self.hob("invoke", "greeter", "--timeout", "200ms", expect=7)
        self.assertIn("may have run", self.err)

    def test_invoke_shows_where_the_time_went(self):
        self.fake.function = (200, {"Server-Timing": "queue;dur=0.2, handler;dur=12.5",
                                    "Cache-Status": "hob-image; hit",
                                    "Hob-Invocation-Id": RECORD["id"]}, b"x")
        self.assertEqual(self.hob("invoke", "greeter", "-v"), "x")
        self.assertRegex(self.err, r"(?s)handler +12\.5 ms.*hob-image; hit.*hob explain " + RECORD["id"])

    def test_logs(self):
        self.deploy()
        out = self.hob("logs", "greeter", "--tail", "5", "--instance", "i")
        self.assertIn("tail=5&instance=i", self.fake.requests[-1][1])
        self.assertEqual(out.splitlines()[1],
                         "2026-11-23T11:00:01.123Z greeter-00001-abcde no end of line")
        self.assertIn("\x1b[2J", out)  # a file gets the bytes
        self.assertTrue(self.hob("logs", "greeter", "--plain").startswith("hello "))

    def test_logs_follow_until_interrupted(self):
        self.deploy()
        p = subprocess.Popen([HOB, "logs", "greeter", "-f"], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, env=self.env())
        try:
            self.assertIn(b"hello", p.stdout.readline())  # comes while the stream is open
            self.assertIn(b"no end", p.stdout.readline())
            self.assertFalse(self.fake.stream_over.is_set(), "it came only when the stream was over")
            p.send_signal(signal.SIGINT)
            self.assertEqual(p.wait(60), -signal.SIGINT)  # what a shell shows as 130
        finally:
            p.kill()
            p.communicate()
        self.assertTrue(self.fake.following.wait(60))
        self.fake.following.clear()
        shell = subprocess.Popen(["sh", "-c", '"$0" logs greeter -f; echo "status $?"', HOB],
                                 stdout=subprocess.PIPE, env=self.env())
        try:
            self.assertTrue(self.fake.following.wait(60))
            with open("/proc/%d/task/%d/children" % (shell.pid, shell.pid)) as f:
                os.kill(int(f.read()), signal.SIGINT)
            self.assertIn(b"status 130", shell.communicate(timeout=60)[0])
        finally:
            shell.kill()
            shell.communicate()

    def test_an_ignored_interrupt_stays_ignored(self):
        """A shell ignores SIGINT for what it runs in the background; hob must not ask for it back."""
        self.deploy()
        p = subprocess.Popen([HOB, "logs", "greeter", "-f"], stdout=subprocess.PIPE, env=self.env(),
                             preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
        try:
            self.assertIn(b"hello", p.stdout.readline())
            p.send_signal(signal.SIGINT)
            self.fake.release.set()  # the server ends the stream in the middle of its framing
            self.assertEqual(p.wait(60), 1)
        finally:
            p.kill()
            p.communicate()

    def test_an_interrupted_wait_says_that_the_work_goes_on(self):
        self.fake.never_ready = True
        p = subprocess.Popen([HOB, "deploy", "greeter", "--image", "file:///x"], env=self.env(),
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            self.assertTrue(self.fake.polled.wait(60))
            p.send_signal(signal.SIGINT)
            err = p.communicate(timeout=60)[1]
            self.assertEqual(p.returncode, -signal.SIGINT)
            self.assertIn(b"goes on becoming ready", err)
        finally:
            p.kill()
            p.wait()

    def test_ps(self):
        lines = self.hob("ps").splitlines()
        self.assertRegex(lines[1], r"^greeter-00001-abcde +ready +2 +7 +70s +1\.00 MiB +1\.50 ms$")
        self.hob("ps", "other", expect=3)
        self.deploy("other")
        self.assertEqual(self.hob("ps", "other"), "")
        self.assertIn("what zero looks like", self.err)
        self.assertEqual(self.hob("ps", "-A", "other"), "")
        self.assertEqual(json.loads(self.hob("ps", "-o", "jsonl"))["requests"], 7)

    def test_explain(self):
        page = self.hob("explain", RECORD["id"])
        self.assertRegex(page, r"sandbox +0\.10 ms +8\.00 ms")
        self.assertIn("no sandbox was ready", page)
        self.assertIn("█", page)
        self.assertEqual(self.hob("explain"), page)
        self.assertEqual(self.hob("explain", "greeter"), page)
        self.assertTrue(self.hob("explain", "--ascii").isascii())
        self.assertTrue(self.hob("explain", LC_ALL="C").isascii())
        self.assertEqual(json.loads(self.hob("explain", "-o", "json")), RECORD)
        self.hob("explain", "0198f3a2-7c21-7d00-8000-00c0ffee9999", expect=3)
        self.assertIn("records_max", self.err)
        self.deploy("quiet")
        self.hob("explain", "quiet", expect=3)
        self.assertIn("no cold start is on record", self.err)
        self.hob("explain", "quie", expect=3)
        self.assertIn("did you mean 'quiet'?", self.err)

    def test_models(self):
        self.assertRegex(self.hob("models"), r"sha256:(aa){32} +model +stored +1\.00 MiB +50\.0 %")
        self.assertIn("removed", self.hob("models", "rm", "ab"))
        self.assertEqual(self.fake.requests[-1][:2], ("DELETE", "/v1/models/sha256%3A" + "ab" * 32))
        self.hob("models", "rm", "a", expect=1)
        self.assertIn("several digests", self.err)
        self.hob("models", "rm", "ff", expect=3)
        self.hob("models", "rm", expect=2)
        self.hob("models", "what", expect=2)

    def test_limits_with_and_without_a_server(self):
        self.assertRegex(self.hob("limits"), r"starts_max +2 \* +3 +cold starts")
        self.assertNotIn("queue_wait_ms", self.hob("limits", "--reached"))
        self.hob("limits", "start_max", expect=3)
        self.assertIn("did you mean 'starts_max'?", self.err)
        out = self.hob("limits", "-o", "json", HOB_SERVER=self.nobody)
        self.assertIn("as built", self.err)
        self.assertGreater(len(json.loads(out)["items"]), 40)

    def test_version_and_doctor(self):
        self.assertRegex(self.hob("version"), r"(?s)client +\S+.*server +9\.9\.9 at .*up 61s")
        self.assertEqual(json.loads(self.hob("version", "-o", "json"))["server"]["version"], "9.9.9")
        self.assertEqual(self.hob("--version"), self.hob("version"))
        self.hob("version", HOB_SERVER=self.nobody)
        checks = json.loads(subprocess.run([HOB, "doctor", "-o", "json"], capture_output=True,
                                           env=self.env(), timeout=60).stdout)["checks"]
        self.assertIn(("ready", "ok"), [(c["name"], c["state"]) for c in checks])
        self.hob("doctor", HOB_SERVER=self.nobody, expect=1)

    def test_nobody_there_says_how_to_start(self):
        self.hob("get", "-s", self.nobody, expect=1)
        self.assertIn("hob serve", self.err)

    def test_usage(self):
        self.hob(expect=2)
        self.assertIn("commands", self.err)
        for args, hint in ((["gte"], "did you mean 'get'?"), (["get", "--ouput", "x"], "--output"),
                           (["get", "-o", "jsn"], "did you mean 'json'?"), (["describe"], "missing"),
                           (["describe", "a", "b"], "one word too many"), (["delete"], "missing")):
            self.assertEqual(self.hob(*args, expect=2), "")
            self.assertIn(hint, self.err)
        self.assertEqual(self.fake.requests, [])

    def test_help_is_data_and_short(self):
        overview = self.hob("-h")
        self.assertEqual(self.hob("help"), overview)
        for name in re.findall(r"^  ([a-z]+) +\S", overview.split("commands")[1].split("options of")[0],
                               re.M):
            if name == "serve":
                continue  # parses for itself
            page = self.hob(name, "--help")
            self.assertLessEqual(len(page.splitlines()), 50, name)
            self.assertEqual(self.hob("help", name), page)
            self.assertEqual(page.splitlines()[2], "examples", name)

    def test_a_full_disk_is_not_success(self):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([HOB, "limits"], stdout=full, stderr=subprocess.PIPE, env=self.env(),
                                  timeout=60)
        self.assertEqual(done.returncode, 6)
        self.assertIn(b"stdout: No space left on device", done.stderr)

    def test_a_closed_pipe_is_quiet(self):
        reader, writer = os.pipe()
        os.close(reader)
        try:
            done = subprocess.run([HOB, "limits"], stdout=writer, stderr=subprocess.PIPE,
                                  env=self.env(), timeout=60)
        finally:
            os.close(writer)
        self.assertEqual((done.returncode, done.stderr), (-signal.SIGPIPE, b""))

    def on_a_terminal(self, *args, **env):
        main, side = pty.openpty()
        p = subprocess.Popen([HOB, *args], stdin=side, stdout=side, stderr=side, env=self.env(**env))
        os.close(side)
        out = b""
        try:
            while select.select([main], [], [], 60)[0]:
                try:
                    piece = os.read(main, 65536)
                except OSError:  # how Linux says that the other side is closed
                    break
                out += piece
                if not piece:
                    break
            self.assertEqual(p.wait(60), 0)
        finally:
            p.kill()
            p.wait()
            os.close(main)
        return out.decode()

    def test_a_terminal_gets_colour_and_human_times(self):
        self.deploy()
        page = self.on_a_terminal("get")
        self.assertIn("\x1b[32mTrue", page)
        self.assertNotIn("2026-11-23T", page)
        self.assertNotIn("\x1b[", self.on_a_terminal("get", NO_COLOR="1"))
        logs = self.on_a_terminal("logs", "greeter")
        self.assertNotIn("\x1b[2J", logs)  # a function does not clear its operator's screen
        self.assertIn("?[2Jworld", logs)
        self.assertNotIn("\x1b[", self.hob("get"))
        self.assertIn("\x1b[", self.hob("get", "--color", "always"))

    def test_progress_is_for_terminals_and_leaves_nothing_behind(self):
        self.deploy()
        self.fake.lag = 9  # more polls than fit into the quiet time
        page = self.on_a_terminal("deploy", "greeter", "--image", "file:///x")
        self.assertIn("greeter: OfTheOld: generation", page)
        self.assertRegex(page, r"\r\x1b\[Kservice\.serving\.knative\.dev/greeter configured")
        self.fake.lag = 9
        self.hob("deploy", "greeter", "--image", "file:///y")
        self.assertEqual(self.err, "")

    def test_completion(self):
        self.deploy()
        self.deploy("other", "-n", "elsewhere")
        def words(*args):
            return [line.split("\t")[0] for line in self.hob("__complete", "--", *args).splitlines()]
        self.assertEqual(words("invoke", "gr"), ["greeter"])
        self.assertEqual(words("-n", "elsewhere", "invoke", ""), ["other"])
        self.assertIn("greeter", words("explain", "g"))
        self.assertIn(RECORD["id"], words("explain", "0"))
        self.assertIn("sha256:" + "aa" * 32, words("models", "rm", "sha256:a"))
        self.assertEqual(self.hob("__complete", "--", "invoke", "", HOB_SERVER=self.nobody), "")
        self.assertEqual(self.err, "")
        for shell in ("bash", "zsh", "fish"):
            script = self.hob("completion", shell)
            path = self.file("completion." + shell, script)
            if shutil.which(shell):
                subprocess.run([shell, "-n", path], check=True, timeout=60)
        self.hob("completion", "tcsh", expect=2)

    def test_bash_completes(self):
        self.deploy()
        script = """
            source <(%s completion bash)
            COMP_WORDS=(%s invoke gr); COMP_CWORD=2; _hob; printf '%%s\\n' "${COMPREPLY[@]}"
            COMP_WORDS=(%s get -o ''); COMP_CWORD=3; _hob; printf '%%s\\n' "${COMPREPLY[@]}"
            cd %s; touch some.yaml
            COMP_WORDS=(%s apply -f so); COMP_CWORD=3; _hob; printf '%%s\\n' "${COMPREPLY[@]}"
        """ % (HOB, HOB, HOB, self.dir, HOB)
        out = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, env=self.env(),
                             timeout=60)
        self.assertEqual(out.stdout.decode().split(),
                         ["greeter", "table", "wide", "json", "jsonl", "yaml", "name", "some.yaml"],
                         out.stderr)

    @unittest.skipUnless(shutil.which("zsh"), "zsh is not installed")
    def test_zsh_completes(self):
        self.deploy()
        script = """
            autoload -Uz compinit; compinit -u -d %s
            source <(%s completion zsh)
            print -l -- "$_comps[hob]"
            _describe() { print -l -- "${(@P)2}" }
            _files() { print files }
            words=(%s invoke gr); CURRENT=3; _hob
            words=(%s desc); CURRENT=2; _hob
            words=(%s apply -f so); CURRENT=4; _hob
            true
        """ % (os.path.join(self.dir, "zcompdump"), HOB, HOB, HOB, HOB)
        done = subprocess.run(["zsh", "-f", "-c", script], capture_output=True, text=True, env=self.env(), timeout=60)
        self.assertEqual(done.stdout.splitlines(),
                         ["_hob", "greeter", "describe:one service: state, conditions, limits, figures", "files"],
                         done.stderr)

    @unittest.skipUnless(shutil.which("fish"), "fish is not installed")
    def test_fish_completes(self):
        self.deploy()
        script = """
            cd %s; touch some.yaml
            %s completion fish | source
            complete -C "%s invoke gr"; complete -C "%s get -o j"; complete -C "%s apply -f so"
        """ % (self.dir, HOB, "hob", "hob", "hob")
        env = {**self.env(), "PATH": os.path.dirname(HOB) + ":" + os.environ["PATH"], "HOME": self.dir}
        done = subprocess.run(["fish", "-N", "-c", script], capture_output=True, text=True, env=env, timeout=60)
        self.assertEqual(done.stdout.split(), ["greeter", "json", "jsonl", "some.yaml"], done.stderr)

    def test_what_is_installed_is_the_program_its_page_and_completions_and_goes_again(self):
        root, tool = os.path.join(self.dir, "root"), os.path.join(os.path.dirname(__file__), "..", "..", "tools", "install.sh")

        def files():
            return sorted(os.path.relpath(os.path.join(at, name), root) for at, _, names in os.walk(root) for name in names)

        for _ in range(2):  # over itself too
            subprocess.run([tool, "install", HOB, "/usr", root], check=True, timeout=60)
        self.assertEqual(files(), ["usr/bin/hob", "usr/share/bash-completion/completions/hob",
                                   "usr/share/fish/vendor_completions.d/hob.fish", "usr/share/man/man1/hob.1",
                                   "usr/share/zsh/site-functions/_hob"])
        self.assertTrue(os.access(os.path.join(root, "usr/bin/hob"), os.X_OK))
        with open(os.path.join(root, "usr/share/man/man1/hob.1"), encoding="utf-8") as f:
            page = f.read()
        for name in re.findall(r"^## (hob [a-z]+)$", self.hob("__docs", "cli"), re.M):
            self.assertRegex(page, rf"(?m)^\.SS {name}\b")
        if shutil.which("man"):
            shown = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", os.path.join(root, "usr/share/man/man1/hob.1")],
                                   capture_output=True, text=True, timeout=60,
                                   env={**os.environ, "MANWIDTH": "100", "LC_ALL": "C.UTF-8", "MANPAGER": "cat"})
            self.assertEqual((shown.returncode, shown.stderr), (0, ""))
            self.assertIn("hob apply -f manifests/ --timeout 5m", shown.stdout)  # as it can be pasted
        subprocess.run([tool, "uninstall", HOB, "/usr", root], check=True, timeout=60)
        self.assertEqual(files(), [])

    def test_the_reference_page_is_current(self):
        docs = os.path.join(os.path.dirname(__file__), "..", "..", "docs", "reference")
        with open(os.path.join(docs, "cli.md")) as f:
            self.assertEqual(f.read(), self.hob("__docs", "cli"),
                             "run: hob __docs cli > docs/reference/cli.md")
        with open(os.path.join(docs, "..", "..", "src", "base", "limits.h")) as f:
            names = re.findall(r"^    X\((\w+),", f.read(), re.M)
        page = self.hob("__docs", "limits")
        self.assertGreater(len(names), 40)
        self.assertEqual([name for name in names if "`%s`" % name not in page], [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
