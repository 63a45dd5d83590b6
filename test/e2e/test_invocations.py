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
import json, os, sys, threading, time, urllib.error, urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

def put(url, number, data, method="PUT"):
    # the status of a PUT of a checkpoint
    try:
        return urllib.request.urlopen(urllib.request.Request(url, data, {"Hob-Attempt": number}, method=method), timeout=30).status
    except urllib.error.HTTPError as e:
        return e.code

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
        if what == "resume" and "hob-checkpoint" not in seen["headers"]:
            put(f"{os.environ['HOB_INVOCATIONS']}/{self.headers['Hob-Invocation-Id']}/checkpoint", self.headers["Hob-Attempt"], b"halfway")
            os._exit(1)
        if what == "put":  # as it is told to, by whoever it is
            ask = json.loads(body)
            try:
                return self.reply(200, put(ask["url"], ask["attempt"], iter([ask["data"].encode()]) if ask["chunked"] else ask["data"].encode(), ask["method"]))
            except OSError as e:
                return self.reply(200, str(e))
        if what == "crowd":  # as many connections to there as it can have answered
            import socket
            all = [socket.create_connection(("127.0.0.1", 7234)) for _ in range(17)]
            return self.reply(200, all[-1].recv(100).decode())
        if what == "drop":
            self.close_connection = True
            return self.connection.shutdown(2)
        if what == "hold-then-fail" and gate.wait(60) and count == 1:
            return self.reply(500, seen)
        if what == "cookie":
            return self.reply(200, seen, Set_Cookie="a=b", X_Own="yes")
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


class TestApi(Case):
    """The API's pages (docs/reference/http-api.md): what is there, what is not, what can be done about it."""

    def api(self, method, path, want, body=None, **headers):
        return self.hob.call(method, path, body, headers=headers, want=want)[2]

    def listed(self, query):
        """All pages of a list, two at a time."""
        found, after = [], ""
        while True:
            page = self.api("GET", f"/v1/invocations?durable=true&limit=2&{query}{after}", 200)
            self.assertLessEqual(len(page["invocations"]), 2)
            found += page["invocations"]
            if "next" not in page:
                return found
            after = "&after=" + page["next"]

    def test_by_id_or_by_key_it_is_there_or_definitely_not(self):
        self.deploy("asked")
        ident = self.accept("asked", "/made", **{"Idempotency-Key": "key-1"})
        tree = self.ended(ident)
        self.assertEqual((tree["id"], tree["status"], tree["key"], tree["answer_status"]), (ident, "done", "key-1", 201))
        by_key = "/v1/invocations?namespace=default&service=asked&key="
        self.assertEqual(self.api("GET", by_key + "key-1", 200), tree)
        for path in (by_key + "key-2", by_key.replace("asked", "other") + "key-1", f"/v1/invocations/{uuid.uuid4()}/result"):
            self.assertEqual(self.api("GET", path, 404)["title"], "never accepted")
        self.api("GET", f"/v1/invocations/{uuid.uuid4()}", 404)
        for path in ("/v1/invocations?key=x", by_key, f"/v1/invocations/{ident}?wait=soon", "/v1/invocations/nonsense/result"):
            self.api("GET", path, 400)
        record = self.hob.wait_for("the attempt's record", lambda: (lambda a: a[2] if a[0] == 200 else None)(
            self.hob.call("GET", f"/v1/invocations/{tree['attempts'][0]['record']}")))
        self.assertEqual((record["id"], record["service"]), (tree["attempts"][0]["record"], "asked"))

    def test_explain_draws_its_last_attempt(self):
        self.deploy("explained")
        ident = self.accept("explained")
        self.ended(ident)
        record = self.look(ident)["attempts"][0]["record"]
        self.hob.wait_for("the record", lambda: self.hob.call("GET", f"/v1/invocations/{record}")[0] == 200)
        code, out, err = self.hob.hob("explain", ident, "-o", "json")
        self.assertEqual(code, 0, err)
        self.assertEqual(json.loads(out)["id"], record)

    def test_its_answer_is_given_as_it_was_and_does_nothing_to_a_browser(self):
        self.deploy("answers")
        ident = self.accept("answers", "/cookie")
        self.ended(ident)
        status, headers, body = self.hob.call("GET", f"/v1/invocations/{ident}/result")
        self.assertEqual((status, headers["X-Own"], headers["Hob-Answer-Status"], body["path"]), (200, "yes", "200", "/cookie"))
        self.assertNotIn("Set-Cookie", headers)
        self.assertIn("sandbox", headers["Content-Security-Policy"])
        held = self.accept("answers", "/hold")
        self.assertEqual(self.api("GET", f"/v1/invocations/{held}/result", 409)["title"], "it has not ended")
        self.assertEqual(self.api("GET", f"/v1/invocations/{held}?wait=0.1", 200)["status"], "running")
        waits = []
        t = threading.Thread(target=lambda: waits.append(self.hob.call("GET", f"/v1/invocations/{held}/result?wait=60")))
        t.start()
        try:
            self.hob.wait_for("the waiting client", lambda: self.hob.metric("hob_durable_invocations_waiters") == 1)
        finally:
            self.hob.ingress("answers", "GET", "/open")
            t.join()
        self.assertEqual((waits[0][0], waits[0][2]["path"]), (200, "/hold"))

    def test_lists_are_of_what_is_asked_for_page_by_page(self):
        self.deploy("lists")
        self.deploy("lists-too")
        done = {self.accept("lists", f"/n/{i}") for i in range(5)}
        failed = self.accept("lists", "/fail")
        other = self.accept("lists-too")
        for ident in (*done, failed, other):
            self.ended(ident)
        self.assertEqual({i["id"] for i in self.listed("service=lists&status=done")}, done)
        self.assertEqual([i["id"] for i in self.listed("service=lists&status=failed,dead")], [failed])
        self.assertEqual({i["id"] for i in self.listed("namespace=default&service=lists")}, done | {failed})
        self.assertEqual([i["id"] for i in self.listed("service=lists-too")], [other])
        self.assertEqual(self.listed("namespace=elsewhere"), [])
        row = self.listed("service=lists&status=failed")[0]
        self.assertEqual((row["status"], row["path"], row["answer_status"], row["attempt"]), ("failed", "/fail", 500, 1))
        for query in ("status=gone", "durable=true&after=00", "status=done&limit=0"):
            self.api("GET", f"/v1/invocations?{query}", 400)

    def test_cancelled_before_its_attempt_and_while_it_is_under_way(self):
        self.deploy("cancels")
        running = self.accept("cancels", "/hold/1")
        self.hob.wait_for("the attempt", lambda: self.look(running)["status"] == "running")
        self.assertTrue(self.api("DELETE", f"/v1/invocations/{running}", 202)["cancel_asked"])
        tree = self.ended(running)
        self.assertEqual(tree["status"], "ambiguous", tree)  # not declared safe: the function may have done it
        tree = self.api("DELETE", f"/v1/invocations/{running}", 200)  # somebody decided
        self.assertEqual(tree["status"], "cancelled")
        self.hob.ingress("cancels", "GET", "/open")
        self.deploy("never-begun", idempotent="true", backoff="60s", attempts_max=9)
        waits = self.accept("never-begun", "/fail")
        self.hob.wait_for("the backoff", lambda: (lambda t: t["status"] == "accepted" and t["attempt"] == 1)(self.look(waits)))
        self.assertEqual(self.api("DELETE", f"/v1/invocations/{waits}", 200)["status"], "cancelled")
        self.assertEqual(self.api("GET", f"/v1/invocations/{waits}/result", 409)["title"], "it ended without an answer")
        self.assertEqual(self.hob.tree("never-begun", "/counts")["/fail"], 1)
        done = self.accept("cancels", "/")
        self.ended(done)
        self.api("DELETE", f"/v1/invocations/{done}", 409)
        self.api("DELETE", f"/v1/invocations/{uuid.uuid4()}", 404)

    def test_what_failed_is_driven_again_and_what_is_done_is_not(self):
        self.deploy("redrives")
        ident = self.accept("redrives", "/later")
        self.assertEqual(self.ended(ident)["status"], "failed")
        for attempt in (2, 3):
            tree = self.api("POST", f"/v1/invocations/{ident}/redrive", 202)
            self.assertEqual((tree["status"], tree["redrives"]), ("accepted", attempt - 1))
            tree = self.ended(ident)
            self.assertEqual((tree["attempt"], tree["status"]), (attempt, "failed" if attempt == 2 else "done"))
        self.api("POST", f"/v1/invocations/{ident}/redrive", 409)
        self.api("POST", f"/v1/invocations/{uuid.uuid4()}/redrive", 404)
        self.api("GET", f"/v1/invocations/{ident}/redrive", 405)

    def test_a_checkpoint_goes_to_the_next_attempt_and_only_the_one_under_way_leaves_any(self):
        self.deploy("points")
        ident = self.accept("points", "/hold-then-fail")
        self.hob.wait_for("the attempt", lambda: self.look(ident)["status"] == "running")
        path = f"/v1/invocations/{ident}/checkpoint"
        tree = self.api("PUT", path, 200, b"halfway", **{"Hob-Attempt": "1"})
        self.assertEqual((tree["checkpoint_size"], tree["checkpoint_attempt"]), (7, 1))
        self.api("PUT", path, 409, b"older", **{"Hob-Attempt": "2"})
        self.api("PUT", path, 413, b"x" * 8193, **{"Hob-Attempt": "1"})
        self.api("PUT", path, 400, b"x")
        self.hob.ingress("points", "GET", "/open")
        self.assertEqual(self.ended(ident)["status"], "failed")
        self.api("PUT", path, 409, b"late", **{"Hob-Attempt": "1"})
        self.api("POST", f"/v1/invocations/{ident}/redrive", 202)
        self.ended(ident)
        seen = self.hob.call("GET", f"/v1/invocations/{ident}/result")[2]
        self.assertEqual(seen["headers"]["hob-checkpoint"], "aGFsZndheQ==")


class TestOwnCheckpoint(Case):
    """hob.dev/checkpoints: what has the attempt keeps how far it came, from inside its sandbox."""
    BASE = "http://127.0.0.1:7234/v1/invocations"

    def put(self, name, ident, attempt=1, data="x", url=None, method="PUT", chunked=False):
        ask = {"url": url or f"{self.BASE}/{ident}/checkpoint", "attempt": str(attempt), "data": data, "method": method, "chunked": chunked}
        status, _, body = self.hob.ingress(name, "POST", "/put", json.dumps(ask).encode())
        self.assertEqual(status, 200, body)
        return json.loads(body)

    def held(self, name):
        ident = self.accept(name, "/hold-then-fail")
        self.hob.wait_for("the attempt", lambda: self.hob.tree(name, "/counts").get("/hold-then-fail"))
        return ident

    def test_what_dies_goes_on_from_its_checkpoint(self):
        self.deploy("resumes", checkpoints="true", idempotent="true", backoff="1ms")
        ident = self.accept("resumes", "/resume")
        tree = self.ended(ident, "resumes")
        self.assertEqual((tree["status"], tree["attempt"], tree["checkpoint_attempt"]), ("done", 2, 1))
        seen = json.loads(self.hob.ingress("resumes", "GET", f"/v1/invocations/{ident}/result")[2])
        self.assertEqual(seen["headers"]["hob-checkpoint"], "aGFsZndheQ==")

    def test_only_its_own_attempt_and_only_while_it_has_it(self):
        self.deploy("owner", checkpoints="true", idempotent="true", backoff="1ms")
        self.deploy("thief", checkpoints="true")
        ident = self.held("owner")
        self.assertEqual(self.put("owner", ident), 204)
        own = self.held("thief")
        for attempt in (1, 2):
            self.assertEqual(self.put("thief", ident, attempt, "stolen"), 403)
        self.assertEqual(self.put("thief", own), 204)
        self.assertEqual(self.put("owner", ident, 2), 403)
        self.assertEqual(self.put("owner", uuid.uuid4()), 403)
        self.assertEqual(self.put("owner", ident, "one"), 400)
        self.assertEqual(self.put("owner", ident, data="x" * 8193), 413)
        self.assertEqual(self.put("owner", ident, data="x" * 200000), 413)
        self.assertEqual(self.hob.metric("hob_limit_reached_total", limit="invoke_checkpoint_bytes_max"), 2)
        self.assertEqual(self.put("owner", ident, chunked=True), 411)
        self.assertEqual(self.put("owner", ident, method="POST"), 405)
        for url in (f"{self.BASE}/{ident}", f"{self.BASE}/{ident}/result", "http://127.0.0.1:7234/metrics"):
            self.assertEqual(self.put("owner", ident, url=url, method="GET"), 404)
        self.assertEqual((self.look(ident)["checkpoint_size"], self.look(ident)["checkpoint_attempt"]), (1, 1))
        self.hob.ingress("owner", "GET", "/open")
        self.assertEqual(self.ended(ident)["attempt"], 2)
        for attempt in (1, 2):
            self.assertEqual(self.put("owner", ident, attempt), 403)
        self.hob.ingress("thief", "GET", "/open")
        self.ended(own)

    def test_an_older_attempt_says_nothing_any_more(self):
        self.deploy("older", checkpoints="true", idempotent="true", backoff="1ms")
        ident = self.accept("older", "/later")  # three attempts, on one instance
        self.assertEqual(self.ended(ident)["attempt"], 3)
        held = self.accept("older", "/hold")
        self.hob.wait_for("the attempt", lambda: self.hob.tree("older", "/counts").get("/hold"))
        self.assertEqual([self.put("older", held, n) for n in (0, 1, 2)], [400, 204, 403])
        self.hob.ingress("older", "GET", "/open")
        self.ended(held)

    def test_it_has_few_connections_and_is_not_there_unasked(self):
        self.deploy("crowds", checkpoints="true")
        self.deploy("unasked")
        before = self.hob.metric("hob_limit_reached_total", limit="invoke_checkpoint_connections_max") or 0
        self.assertIn("503", self.hob.tree("crowds", "/crowd"))
        self.assertEqual(self.hob.metric("hob_limit_reached_total", limit="invoke_checkpoint_connections_max"), before + 1)
        self.assertIn("refused", str(self.put("unasked", uuid.uuid4())))

    def test_a_template_that_cannot_have_it_is_refused(self):
        from harness import service
        for spec, annotations, named in (({"ports": [{"containerPort": 7234}]}, {}, "containerPort"),
                                         ({}, {"hob.dev/task-queue": "q"}, "hob.dev/checkpoints")):
            tree = service("impossible", self.image, COMMAND, annotations={"hob.dev/checkpoints": "true", **annotations})
            tree["spec"]["template"]["spec"]["containers"][0].update(spec)
            answer = self.hob.call("POST", "/apis/serving.knative.dev/v1/namespaces/default/services",
                                   json.dumps(tree).encode(), {"Content-Type": "application/json"})
            self.assertGreaterEqual(answer[0], 400)
            self.assertIn(named, json.dumps(answer[2]))


class TestFewMayWait(Case):
    LIMITS = {"api_watchers_max": 1}

    def test_who_would_wait_beside_as_many_as_may_is_told_to_come_again(self):
        self.deploy("awaited")
        ident = self.accept("awaited", "/hold")
        waits = []
        t = threading.Thread(target=lambda: waits.append(self.hob.call("GET", f"/v1/invocations/{ident}?wait=60")))
        t.start()
        try:
            self.hob.wait_for("the first that waits", lambda: self.hob.metric("hob_durable_invocations_waiters") == 1)
            status, headers, body = self.hob.call("GET", f"/v1/invocations/{ident}?wait=60")
            self.assertEqual((status, headers["Retry-After"], body["status"]), (429, "1", 429))
            self.assertIn("api_watchers_max", body["detail"])
            self.assertEqual(self.hob.metric("hob_limit_reached_total", limit="api_watchers_max"), 1)
            self.assertEqual(self.look(ident)["status"], "running")  # who does not wait is answered
        finally:
            self.hob.ingress("awaited", "GET", "/open")
            t.join()
        self.assertEqual((waits[0][0], waits[0][2]["status"]), (200, "done"))
        self.assertEqual(self.look(ident, query="?wait=60")["status"], "done")  # there is room again


class TestHTTP2(Case):
    """The same over HTTP/2: what asks for it is written down, and keys mean what they mean."""

    def setUp(self):
        from test_http2 import Client
        self.client = Client(self.hob.ingress_address)
        self.addCleanup(self.client.s.close)

    def post(self, name, path, body=b"x", **fields):
        answer = self.client.get(self.hob.host(name), path, method="POST", body=body, **fields)
        return int(answer["headers"][":status"]), answer["headers"], json.loads(answer["body"])

    def test_respond_async_is_accepted_and_its_answer_is_kept(self):
        self.deploy("two")
        status, headers, tree = self.post("two", "/made", b"content", prefer="respond-async")
        self.assertEqual((status, headers["location"], headers["preference-applied"]),
                         (202, f"/v1/invocations/{tree['id']}", "respond-async"))
        self.assertEqual(self.ended(tree["id"])["status"], "done")
        answer = self.client.get(self.hob.host("two"), f"/v1/invocations/{tree['id']}/result")
        seen = json.loads(answer["body"])
        self.assertEqual((answer["headers"][":status"], seen["body"], seen["path"]), ("201", "content", "/made"))
        self.assertEqual(self.post("two", "/made", prefer="respond-async, wait=30")[0], 201)

    def test_a_key_is_replayed_refused_and_taken_as_over_the_other_version(self):
        self.deploy("keys-two")
        first = self.post("keys-two", "/made", idempotency_key="k1")
        self.assertEqual((first[0], first[1].get("idempotency-replayed")), (201, None))
        again = self.post("keys-two", "/made", idempotency_key="k1")
        self.assertEqual((again[0], again[1]["idempotency-replayed"], again[2]), (201, "true", first[2]))
        older = self.hob.ingress("keys-two", "POST", "/made", b"x", {"Idempotency-Key": "k1"})
        self.assertEqual((older[0], older[1]["Idempotency-Replayed"], json.loads(older[2])), (201, "true", first[2]))
        other = self.post("keys-two", "/made", b"y", idempotency_key="k1")
        self.assertEqual((other[0], other[2]["type"]), (422, "urn:hob:problem:key-reused"))
        held = self.client.ask(self.hob.host("keys-two"), "/hold", method="POST", body=b"x", idempotency_key="k2")
        self.hob.wait_for("the attempt", lambda: self.hob.tree("keys-two", "/counts").get("/hold"))
        taken = self.post("keys-two", "/hold", idempotency_key="k2")
        self.assertEqual((taken[0], taken[2]["type"]), (409, "urn:hob:problem:in-flight"))
        self.hob.ingress("keys-two", "GET", "/open")
        self.assertEqual(self.client.answer(held)["headers"][":status"], "200")
        self.assertEqual(self.hob.tree("keys-two", "/counts")["/hold"], 1)


if __name__ == "__main__":
    unittest.main()
