"""Callbacks: who asked for it is told that a durable invocation ended -- signed, again until somebody has it, also by the next
process. The receiver here checks the signature by itself, as a program of somebody else would.
"""

import base64
import hashlib
import hmac
import json
import queue
import signal
import threading
import time
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from harness import HobCase, WAIT_S, service
from test_invocations import ASYNC, COMMAND, ENDED, FUNCTION

KEY = b"a secret of thirty-two bytes or so"


class Receiver:
    """Takes callbacks; answers what was put into `answers`, then 204. While `held` is set it answers none."""

    def __init__(self):
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                fields = {k.lower(): v for k, v in self.headers.items()}
                receiver.came.put((self.path, fields, body, time.time()))
                receiver.go.wait(WAIT_S)
                try:
                    status = receiver.answers.get_nowait()
                except queue.Empty:
                    status = 204
                try:
                    self.send_response(status)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                except OSError:
                    pass  # hob was killed meanwhile

        self.came, self.answers, self.go = queue.Queue(), queue.Queue(), threading.Event()
        self.go.set()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        self.host = f"127.0.0.1:{self.server.server_port}"

    def url(self, path="/"):
        return f"http://{self.host}{path}"

    def next(self):
        return self.came.get(timeout=WAIT_S)

    def close(self):
        self.go.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class TestCallbacks(HobCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.image = cls.hob.bundle({"function.py": FUNCTION})
        cls.hob.call("POST", "/api/v1/namespaces/default/secrets",
                     {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hooks"},
                      "data": {"signing": base64.b64encode(b"whsec_" + base64.b64encode(KEY)).decode()}}, want=201)

    def setUp(self):
        self.receiver = Receiver()
        self.addCleanup(self.receiver.close)

    def deploy(self, name, want=None, **annotations):
        marked = {f"hob.dev/{k.replace('_', '-')}": v for k, v in annotations.items()}
        tree = service(name, self.image, COMMAND, annotations={"max-scale": 1, **marked}, containerConcurrency=0)
        if want:
            return self.hob.call("POST", "/apis/serving.knative.dev/v1/namespaces/default/services", tree, want=want)[2]
        return self.hob.apply(tree)

    def accept(self, name, path="/", **fields):
        status, headers, body = self.hob.ingress(name, "POST", path, b"x", {**ASYNC, **fields})
        self.assertEqual(status, 202, body)
        return headers["Hob-Invocation-Id"]

    def told(self, name, ident):
        """The invocation, once nobody is to be told any more."""
        def look():
            tree = json.loads(self.hob.ingress(name, "GET", f"/v1/invocations/{ident}?wait=5")[2])
            return tree if tree["status"] in ENDED and tree["callback"]["done"] else None
        return self.hob.wait_for(f"the callback of {ident}", look)

    def check_signature(self, fields, body, came):
        signed = f"{fields['webhook-id']}.{fields['webhook-timestamp']}.".encode() + body
        want = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
        self.assertEqual(fields["webhook-signature"], f"v1,{want}")
        self.assertLess(abs(came - int(fields["webhook-timestamp"])), 60)

    def test_an_end_is_told_signed_and_again_after_a_no(self):
        self.deploy("told", callback=self.receiver.url("/hook?a=b"), callback_secret="hooks/signing")
        self.receiver.answers.put(500)
        ident = self.accept("told", "/made")
        first, second = self.receiver.next(), self.receiver.next()
        for path, fields, body, came in (first, second):
            event = json.loads(body)
            self.assertEqual((path, fields["content-type"].split(";")[0]), ("/hook?a=b", "application/cloudevents+json"))
            self.assertEqual((event["id"], event["type"], event["subject"]), (f"{ident}.0", "dev.hob.invocation.done", ident))
            self.assertEqual((event["data"]["answer_status"], event["data"]["service"]), (201, "told"))
            self.assertEqual(fields["webhook-id"], f"{ident}.0")
            self.check_signature(fields, body, came)
        self.assertEqual(first[2], second[2])
        tree = self.told("told", ident)
        self.assertEqual((tree["callback"]["tries"], tree["callback"]["url"]), (2, self.receiver.url("/hook?a=b")))
        self.assertNotIn("why", tree["callback"])
        self.assertTrue(self.receiver.came.empty())

    def test_a_client_names_whom_to_tell_where_the_service_lets_it(self):
        self.deploy("named", callback="http://127.0.0.1:1/never", callback_hosts=f"hooks.example.org, {self.receiver.host}")
        ident = self.accept("named", "/made", **{"Hob-Callback": self.receiver.url("/mine")})
        path, fields, body, _ = self.receiver.next()
        self.assertEqual((path, json.loads(body)["subject"]), ("/mine", ident))
        self.assertNotIn("webhook-signature", fields)  # there is no secret: it does not pretend
        self.told("named", ident)
        seen = json.loads(self.hob.ingress("named", "GET", f"/v1/invocations/{ident}/result")[2])
        self.assertNotIn("hob-callback", seen["headers"])

    def test_what_may_not_be_named_is_refused_before_anything_is_kept(self):
        self.deploy("strict", callback_hosts="hooks.example.org")
        self.deploy("closed")
        for name, fields in (("strict", {**ASYNC, "Hob-Callback": self.receiver.url()}),
                             ("strict", {**ASYNC, "Hob-Callback": "http://user:word@hooks.example.org/"}),
                             ("strict", {**ASYNC, "Hob-Callback": "ftp://hooks.example.org/"}),
                             ("strict", {"Hob-Callback": "http://hooks.example.org/"}),
                             ("closed", {**ASYNC, "Hob-Callback": self.receiver.url()})):
            self.problem(self.hob.ingress(name, "POST", "/", b"x", fields), 400, "bad-header")
        self.assertNotIn("/", self.hob.tree("strict", "/counts"))

    def test_annotations_that_name_nobody_are_refused(self):
        for bad in ({"callback": "hooks.example.org"}, {"callback": "ftp://a/"}, {"callback_hosts": " , "},
                    {"callback_hosts": "*x"}, {"callback_secret": "hooks"}, {"callback_secret": "a/b/c"}):
            message = self.deploy("bad", want=400, **bad)["message"]
            self.assertIn("hob.dev/" + next(iter(bad)).replace("_", "-"), message)

    def test_without_the_secret_nothing_is_sent_unsigned(self):
        self.deploy("secret", callback=self.receiver.url(), callback_secret="nobody/key")
        ident = self.accept("secret")

        def look():
            tree = json.loads(self.hob.ingress("secret", "GET", f"/v1/invocations/{ident}?wait=5")[2])
            return tree if tree.get("callback", {}).get("tries") else None
        tree = self.hob.wait_for("a try", look)
        self.assertIn("Secret default/nobody", tree["callback"]["why"])
        self.assertTrue(self.receiver.came.empty())

    def test_who_is_gone_is_not_told_again(self):
        self.deploy("gone", callback=self.receiver.url())
        self.receiver.answers.put(410)
        tree = self.told("gone", self.accept("gone"))
        self.assertEqual(tree["callback"]["tries"], 1)
        self.assertIn("410", tree["callback"]["why"])

    def test_what_hob_was_killed_over_is_told_again_under_the_same_id(self):
        self.deploy("killed", callback=self.receiver.url(), callback_secret="hooks/signing")
        self.receiver.go.clear()
        ident = self.accept("killed")
        first = self.receiver.next()
        self.hob.restart(signal.SIGKILL)
        second = self.receiver.next()
        self.receiver.go.set()
        self.assertEqual([f[1]["webhook-id"] for f in (first, second)], [f"{ident}.0"] * 2)
        self.check_signature(*second[1:])
        self.assertTrue(self.told("killed", ident)["callback"]["done"])


if __name__ == "__main__":
    unittest.main()
