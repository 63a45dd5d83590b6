"""hob killed over and over among durable invocations: whatever it accepted has one end, which stays, and what nobody knows is said
(docs/decisions/0011)."""

import json
import os
import random
import signal
import threading
import time
import unittest

from harness import HobCase, service
from test_invocations import ASYNC, COMMAND, ENDED

ROUNDS, ROUNDS_S = 20, 60
SEED = int(os.environ.get("HOB_KILL_SEED", random.randrange(1 << 32)))

FUNCTION = """
import json, os, time, uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        time.sleep(0.05)
        body = json.dumps({"attempt": int(self.headers["Hob-Attempt"]), "mark": str(uuid.uuid4())}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_PUT = do_POST

ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


class TestKills(HobCase):
    def deploy(self, name):
        image = self.hob.bundle({"function.py": FUNCTION})
        self.hob.apply(service(name, image, COMMAND, containerConcurrency=0, annotations={
            "max-scale": 1, "hob.dev/idempotent": "PUT", "hob.dev/attempts-max": 100, "hob.dev/backoff": "10ms",
            "hob.dev/backoff-max": "100ms"}))

    def send(self, name, method, key):
        """The id, or None: hob was gone before it answered."""
        try:
            status, headers, _ = self.hob.ingress(name, method, "/", b"x", {**ASYNC, "Idempotency-Key": key})
        except OSError:
            return None
        except Exception as e:  # an answer cut short
            if type(e).__module__ != "http.client":
                raise
            return None
        told = status in (200, 202) or headers.get("Hob-Problem") == "ambiguous"
        return headers["Hob-Invocation-Id"] if told else None

    def end(self, name, ident):
        def look():
            status, _, text = self.hob.ingress(name, "GET", f"/v1/invocations/{ident}?wait=5")
            tree = json.loads(text) if status == 200 else {}
            return tree if tree.get("status") in ENDED else None
        tree = self.hob.wait_for(f"the end of {ident}", look)
        answer = self.hob.ingress(name, "GET", f"/v1/invocations/{ident}/result")
        return tree, (answer[0], answer[2] if tree["status"] == "done" else None)

    def test_what_was_accepted_has_one_end_through_kills_at_any_moment(self):
        print(f"HOB_KILL_SEED={SEED}", end=" ", flush=True)
        rng, known, sent, until = random.Random(SEED), {}, set(), time.monotonic() + ROUNDS_S
        self.deploy("killed")
        for number in range(ROUNDS):
            if time.monotonic() > until:
                break
            wanted = {f"{method}-{number}-{i}": method for i in range(3) for method in ("PUT", "POST")}
            got = {}
            sent.update(wanted)
            threads = [threading.Thread(target=lambda k=k, m=m: got.update({k: self.send("killed", m, k)}))
                       for k, m in wanted.items()]
            for t in threads:
                t.start()
            time.sleep(rng.random() * 0.3)  # any moment will do
            if number == 0:
                self.hob.kill_role("node")  # the launcher waits longer before each further one
            else:
                self.hob.restart(signal.SIGKILL)
            for t in threads:
                t.join()
            for key, method in wanted.items():  # who got no answer asks again, under the same key
                again = self.hob.wait_for(f"an answer to {key}", lambda k=key, m=method: self.send("killed", m, k))
                self.assertIn(got[key], (None, again))
                known[again] = method
        self.assertEqual(len(known), len(sent))  # each key is one invocation, none is another's
        ends = {ident: self.end("killed", ident) for ident in known}
        for ident, (tree, answer) in ends.items():
            self.assertIn(tree["status"], {"done"} if known[ident] == "PUT" else {"done", "ambiguous"}, tree)
            if tree["status"] == "done":
                self.assertEqual((answer[0], json.loads(answer[1])["attempt"]), (200, tree["attempt"]))
            else:
                self.assertEqual(answer[0], 502)
        self.hob.restart(signal.SIGKILL)
        for ident, (tree, answer) in ends.items():
            later, same = self.end("killed", ident)
            self.assertEqual((later, same), (tree, answer))

    def test_an_instance_that_dies_with_the_request_leaves_it_ambiguous_and_that_stays(self):
        from test_invocations import FUNCTION as DYING
        self.hob.apply(service("dying", self.hob.bundle({"function.py": DYING}), COMMAND, annotations={"max-scale": 1},
                               containerConcurrency=0))
        ident = self.hob.ingress("dying", "POST", "/die", b"x", ASYNC)[1]["Hob-Invocation-Id"]
        tree, _ = self.end("dying", ident)
        self.assertEqual((tree["status"], tree["attempt"]), ("ambiguous", 1))
        self.problem(self.hob.ingress("dying", "GET", f"/v1/invocations/{ident}/result"), 502, "ambiguous")
        self.hob.restart(signal.SIGKILL)
        self.assertEqual(self.end("dying", ident)[0], tree)


class TestForms(HobCase):
    LIMITS = {"invoke_request_bytes_max": 4096}

    def deploy(self, name, **annotations):
        from test_invocations import FUNCTION as TELLING
        self.hob.apply(service(name, self.hob.bundle({"function.py": TELLING}), COMMAND, containerConcurrency=0,
                               annotations={"max-scale": 1, **{f"hob.dev/{k}": v for k, v in annotations.items()}}))

    def test_a_request_that_is_too_large_to_be_kept_is_refused_and_an_ordinary_one_is_not(self):
        self.deploy("large")
        body = b"x" * 4097
        self.problem(self.hob.ingress("large", "POST", "/", body, ASYNC), 413, "too-large")
        self.problem(self.hob.ingress("large", "POST", "/", body, {"Idempotency-Key": "k"}), 413, "too-large")
        self.assertEqual(self.hob.ingress("large", "POST", "/", body)[0], 200)
        self.assertEqual(self.hob.ingress("large", "POST", "/fits", body[1:], {"Idempotency-Key": "k"})[0], 200)

    def test_an_event_is_one_invocation_in_whatever_form_it_comes(self):
        self.deploy("events", **{"durable-events": "true"})
        event = {"specversion": "1.0", "type": "t", "source": "/shop", "id": "7", "data": {"a": 1}}
        structured = (json.dumps(event).encode(), {"Content-Type": "application/cloudevents+json; charset=utf-8"})
        first = self.hob.ingress("events", "POST", "/e", *structured)
        second = self.hob.ingress("events", "POST", "/e", *structured)
        self.assertEqual((first[0], second[0], second[1]["Idempotency-Replayed"]), (200, 200, "true"))
        self.assertEqual(first[2], second[2])
        binary = {"ce-specversion": "1.0", "ce-type": "t", "ce-source": "/shop", "ce-id": "7", "Content-Type": "application/json"}
        self.problem(self.hob.ingress("events", "POST", "/e", b'{"a": 1}', binary), 422, "key-reused")  # the same event, sent otherwise
        other = self.hob.ingress("events", "POST", "/e", b'{"a": 1}', {**binary, "ce-id": "8"})
        again = self.hob.ingress("events", "POST", "/e", b'{"a": 1}', {**binary, "ce-id": "8"})
        self.assertEqual((other[0], again[1]["Idempotency-Replayed"], again[2]), (200, "true", other[2]))
        self.problem(self.hob.ingress("events", "POST", "/e", b"{", structured[1]), 400, "bad-header")
        self.assertEqual(self.hob.tree("events", "/counts")["/e"], 2)


if __name__ == "__main__":
    unittest.main()
