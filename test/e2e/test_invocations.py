"""Durable invocations (docs/decisions/0011): accepted means that it has an end, which can be asked for -- also after hob was
killed in the middle of it, and never twice where nobody said that it may be.
"""

import json
import threading
import unittest
import uuid

from harness import HobCase, together

ASYNC = {"Prefer": "respond-async"}
ENDED = {"done", "failed", "cancelled", "dead", "ambiguous"}

# Tells what it was called with; waits, fails and dies as its path says. GET /open lets go what waits under /hold.
FUNCTION = """
import json, os, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

lock, counts, gate = threading.Lock(), {}, threading.Event()

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, status, tree, **fields):
        body = json.dumps(tree).encode()
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with lock:
            count = counts[self.path] = counts.get(self.path, 0) + 1
        seen = {"path": self.path, "method": self.command, "count": count, "body": body.decode(),
                "headers": {k.lower(): v for k, v in self.headers.items()}}
        what = self.path.split("?")[0].split("/")[1]
        if what == "counts":
            return self.reply(200, counts)
        if what == "open":
            gate.set()
        if what == "close":
            gate.clear()
        if what == "hold":
            gate.wait(60)
        if what == "die":
            os._exit(1)
        if what == "drop":
            self.close_connection = True
            return self.connection.shutdown(2)
        if what == "fail":
            return self.reply(500, seen)
        if what == "later" and count < 3:
            return self.reply(503, seen, Retry_After="0")
        if what == "large":
            return self.reply(200, "x" * 3000000)
        self.reply(201 if what == "made" else 200, seen, X_Own="yes")

    do_POST = do_PUT = do_DELETE = do_HEAD = do_GET

ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
COMMAND = ["/usr/bin/python3", "-I", "-S", "/app/function.py"]


class Case(HobCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.image = cls.hob.bundle({"function.py": FUNCTION})

    def deploy(self, name, **annotations):
        from harness import service
        marked = {f"hob.dev/{k.replace('_', '-')}": v for k, v in annotations.items()}
        self.hob.apply(service(name, self.image, COMMAND, annotations={"max-scale": 1, **marked}, containerConcurrency=0))

    def accept(self, name, path="/", body=b"x", method="POST", **fields):
        """The id of an accepted invocation."""
        status, headers, answer = self.hob.ingress(name, method, path, body, {**ASYNC, **fields})
        self.assertEqual(status, 202, answer)
        ident = headers["Hob-Invocation-Id"]
        self.assertEqual(headers["Location"], f"/v1/invocations/{ident}")
        self.assertEqual(json.loads(answer)["id"], ident)
        return ident

    def look(self, ident, want=200, query=""):
        return self.hob.call("GET", f"/v1/invocations/{ident}{query}", want=want)[2]

    def ended(self, ident, name=None):
        """What it is, once it has ended; asked for through the function's own host where a name is given."""
        def ask():
            if name:
                status, _, text = self.hob.ingress(name, "GET", f"/v1/invocations/{ident}?wait=5")
                tree = json.loads(text)
                self.assertEqual(status, 200, tree)
            else:
                tree = self.look(ident, query="?wait=5")
            return tree if tree["status"] in ENDED else None
        return self.hob.wait_for(f"the end of {ident}", ask)


class TestAsync(Case):
    def test_what_is_accepted_is_done_and_its_answer_is_kept(self):
        self.deploy("plain")
        ident = self.accept("plain", "/made?a=b", b"some content", **{"Content-Type": "text/x", "X-Mine": "1"})
        tree = self.ended(ident, "plain")
        self.assertEqual((tree["status"], tree["attempt"], tree["answer_status"], tree["service"], tree["namespace"]),
                         ("done", 1, 201, "plain", "default"))
        self.assertEqual((tree["method"], tree["path"]), ("POST", "/made"))
        status, headers, body = self.hob.ingress("plain", "GET", f"/v1/invocations/{ident}/result")
        seen = json.loads(body)
        self.assertEqual((status, headers["X-Own"], headers["Hob-Invocation-Id"]), (201, "yes", ident))
        self.assertEqual((seen["body"], seen["path"], seen["headers"]["x-mine"], seen["headers"]["content-type"]),
                         ("some content", "/made?a=b", "1", "text/x"))
        self.assertEqual((seen["headers"]["hob-invocation-id"], seen["headers"]["hob-attempt"]), (ident, "1"))
        self.assertNotIn("prefer", seen["headers"])

    def test_a_wait_that_is_long_enough_gets_the_answer_itself(self):
        self.deploy("waits")
        status, headers, body = self.hob.ingress("waits", "POST", "/made", b"x", {"Prefer": "respond-async, wait=30"})
        self.assertEqual((status, headers["Preference-Applied"]), (201, "respond-async, wait=30.000"))
        self.assertEqual(json.loads(body)["count"], 1)
        held = self.hob.ingress("waits", "POST", "/hold", b"x", {"Prefer": "respond-async, wait=0.2"})
        self.assertEqual(held[0], 202)
        self.assertEqual(json.loads(held[2])["status"], "running")
        self.hob.ingress("waits", "GET", "/open")
        self.assertEqual(self.ended(held[1]["Hob-Invocation-Id"], "waits")["status"], "done")

    def test_another_functions_invocation_is_not_told(self):
        self.deploy("mine")
        self.deploy("other")
        ident = self.accept("mine")
        self.ended(ident, "mine")
        status, _, body = self.hob.ingress("other", "GET", f"/v1/invocations/{ident}")
        self.assertEqual(json.loads(body)["path"], f"/v1/invocations/{ident}")  # a page of that function's own

    def test_a_large_answer_comes_whole(self):
        self.deploy("large")
        ident = self.accept("large", "/large")
        self.ended(ident, "large")
        self.assertEqual(json.loads(self.hob.ingress("large", "GET", f"/v1/invocations/{ident}/result")[2]), "x" * 3000000)


class TestKeys(Case):
    def test_the_first_runs_and_the_others_get_its_answer(self):
        self.deploy("keyed")
        fields = {"Idempotency-Key": '"' + str(uuid.uuid4()) + '"'}
        first = self.hob.ingress("keyed", "POST", "/made", b"x", fields)
        self.assertEqual(first[0], 201)
        self.assertNotIn("Idempotency-Replayed", first[1])
        second = self.hob.ingress("keyed", "POST", "/made", b"x", {"Idempotency-Key": fields["Idempotency-Key"].strip('"')})
        self.assertEqual((second[0], second[1]["Idempotency-Replayed"], second[2]), (201, "true", first[2]))
        self.assertEqual(second[1]["Hob-Invocation-Id"], first[1]["Hob-Invocation-Id"])
        for body, path in ((b"y", "/made"), (b"x", "/other")):
            self.problem(self.hob.ingress("keyed", "POST", path, body, fields), 422, "key-reused")
        self.assertEqual(self.hob.tree("keyed", "/counts")["/made"], 1)

    def test_many_at_once_run_once(self):
        self.deploy("race")
        fields = {"Idempotency-Key": "all-the-same"}
        answers = together(8, lambda i: self.hob.ingress("race", "POST", "/", b"x", fields))
        self.assertEqual({a[0] for a in answers} - {200, 409}, set())
        self.assertIn(200, {a[0] for a in answers})
        self.assertEqual(self.hob.tree("race", "/counts")["/"], 1)

    def test_while_it_runs_the_key_is_taken(self):
        self.deploy("busy")
        fields = {"Idempotency-Key": "busy"}
        first = []
        t = threading.Thread(target=lambda: first.append(self.hob.ingress("busy", "POST", "/hold", b"x", fields)))
        t.start()
        try:
            self.hob.wait_for("the attempt", lambda: self.hob.tree("busy", "/counts").get("/hold"))
            self.problem(self.hob.ingress("busy", "POST", "/hold", b"x", fields), 409, "in-flight")
            self.problem(self.hob.ingress("busy", "POST", "/hold", b"x", {**fields, "Prefer": "wait=0.2"}), 409, "in-flight")
        finally:
            self.hob.ingress("busy", "GET", "/open")
            t.join()
        self.assertEqual(first[0][0], 200)
        late = self.hob.ingress("busy", "POST", "/hold", b"x", {**fields, "Prefer": "wait=10"})
        self.assertEqual((late[0], late[1]["Idempotency-Replayed"], late[2]), (200, "true", first[0][2]))

    def test_keys_that_are_none_are_refused(self):
        self.deploy("strict")
        for key in ("", '""', "a b", "x" * 256, "\u00e9".encode().decode("latin-1")):
            self.problem(self.hob.ingress("strict", "POST", "/", b"x", {"Idempotency-Key": key}), 400, "bad-header")
        self.problem(self.hob.ingress("strict", "POST", "/", b"x", {"Prefer": "wait=soon"}), 400, "bad-header")

    def test_what_nobody_knows_the_end_of_is_said_and_not_repeated_whatever_its_method(self):
        self.deploy("unsure")
        for method in ("GET", "POST"):
            fields = {"Idempotency-Key": method}
            for _ in range(2):
                self.problem(self.hob.ingress("unsure", method, f"/drop/{method}", b"x", fields), 502, "ambiguous")
            self.assertEqual(self.hob.tree("unsure", "/counts")[f"/drop/{method}"], 1)

    def test_what_may_be_repeated_is_until_there_is_an_answer(self):
        self.deploy("repeats", idempotent="POST, PUT", backoff="10ms", attempts_max=4)
        later = self.hob.ingress("repeats", "POST", "/later", b"x", {"Idempotency-Key": "later"})
        self.assertEqual((later[0], json.loads(later[2])["headers"]["hob-attempt"]), (200, "3"))
        dead = self.hob.ingress("repeats", "POST", "/fail", b"x", {"Idempotency-Key": "dead"})
        self.assertEqual((dead[0], json.loads(dead[2])["headers"]["hob-attempt"]), (500, "4"))
        tree = self.ended(dead[1]["Hob-Invocation-Id"], "repeats")
        self.assertEqual((tree["status"], tree["attempt"], tree["answer_status"]), ("dead", 4, 500))
        once = self.hob.ingress("repeats", "DELETE", "/fail/once", b"x", {"Idempotency-Key": "once"})
        self.assertEqual((once[0], self.hob.tree("repeats", "/counts")["/fail/once"]), (500, 1))

    def test_an_answer_that_says_no_is_an_answer(self):
        self.deploy("failing")
        fields = {"Idempotency-Key": "no"}
        first, second = (self.hob.ingress("failing", "POST", "/fail", b"x", fields) for _ in range(2))
        self.assertEqual((first[0], second[0], second[2]), (500, 500, first[2]))
        self.assertEqual(self.hob.tree("failing", "/counts")["/fail"], 1)


if __name__ == "__main__":
    unittest.main()
