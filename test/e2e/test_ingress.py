"""The data plane of the real binary: what a client and a function see of each other through hob."""
import hashlib
import json
import os
import threading
import time
import unittest

import harness
from harness import HobCase, together


class Forwarding(HobCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.hob.deploy("f")
        cls.host = f"Host: {cls.hob.host('f')}\r\n"

    def fields(self, tree, name):
        return [v for k, v in tree["fields"] if k.lower() == name.lower()]

    # routing

    def test_the_host_says_which_function(self):
        hob = self.hob
        hob.deploy("g", env={"WHO": "default"})
        hob.deploy("g", env={"WHO": "other"}, namespace="other")
        for namespace in ("default", "other"):
            env = hob.tree("g", "/look", namespace=namespace)["env"]
            self.assertEqual((env["WHO"], env["K_SERVICE"]), (namespace, "g"))
        port = hob.ingress_address.rpartition(":")[2]
        for host in ("g.other.localhost", f"g.other.localhost:{port}", "G.Other.LOCALHOST", "g.other.localhost."):
            with self.subTest(host=host), hob.wire() as w:
                w.send(f"GET /request HTTP/1.1\r\nHost: {host}\r\n\r\n")
                status, _, body = w.answer()
                self.assertEqual(status, 200, body)
                self.assertEqual(self.fields(json.loads(body), "Host"), [host])

    def test_an_unknown_host_is_404_and_the_connection_goes_on(self):
        with self.hob.wire() as w:
            w.send("GET / HTTP/1.1\r\nHost: nobody.default.localhost\r\n\r\n")
            self.problem(w.answer(), 404, "unknown-host")
            w.send(f"GET / HTTP/1.1\r\n{self.host}\r\n")
            self.assertEqual(w.answer()[::2], (200, b"ok\n"))

    # heads

    def test_the_function_gets_the_headers_of_the_runtime_contract(self):
        mine = [("X-Mine", "1"), ("x-Mine", "two,  three"), ("Cookie", "a=b; c=d"), ("Accept", "*/*"),
                ("b3", "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1"), ("X-B3-Sampled", "1")]
        with self.hob.wire() as w:
            w.send("GET /request?a=%20b&c HTTP/1.1\r\n" + self.host + "X-Forwarded-For: 203.0.113.7\r\n"
                   "Forwarded: for=203.0.113.7\r\nHob-Invocation-Id: forged\r\nConnection: x-hop, keep-alive\r\n"
                   "X-Hop: me\r\nKeep-Alive: 5\r\nTE: trailers\r\n"
                   + "".join(f"{k}: {v}\r\n" for k, v in mine) + "\r\n")
            status, headers, body = w.answer()
        tree = json.loads(body)
        self.assertEqual(status, 200)
        self.assertEqual((tree["method"], tree["path"]), ("GET", "/request?a=%20b&c"))
        self.assertEqual([tuple(f) for f in tree["fields"] if tuple(f) in mine], mine)
        self.assertEqual(self.fields(tree, "Host"), ["f.default.localhost"])
        self.assertEqual(self.fields(tree, "X-Forwarded-For"), ["203.0.113.7, 127.0.0.1"])
        self.assertEqual(self.fields(tree, "X-Forwarded-Proto"), ["http"])
        forwarded = ", ".join(self.fields(tree, "Forwarded"))
        self.assertTrue(forwarded.startswith("for=203.0.113.7, "), forwarded)
        self.assertIn("for=127.0.0.1", forwarded.rpartition(", ")[2])
        self.assertEqual(self.fields(tree, "Hob-Invocation-Id"), [headers["Hob-Invocation-Id"]])
        for hop in ("X-Hop", "Keep-Alive", "TE", "Connection"):
            self.assertEqual(self.fields(tree, hop), [], hop)

    def test_a_request_without_a_trace_begins_one(self):
        parent = self.fields(self.hob.tree("f", "/request"), "traceparent")
        self.assertRegex(parent[0], r"^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-01$")
        self.assertEqual(len(parent), 1)

    def test_every_answer_says_which_invocation_how_long_and_which_caches(self):
        hob = self.hob
        hob.deploy("cold", annotations={"initial-scale": 0})
        answers = {"warm": hob.ingress("f"), "of the function": hob.ingress("f", path="/status/418"),
                   "unknown host": hob.ingress("nobody"), "broken": hob.ingress("f", path="/nonsense"),
                   "cold": hob.ingress("cold")}
        self.assertEqual([a[0] for a in answers.values()], [200, 418, 404, 502, 200])
        hits = {"warm": True, "of the function": True, "unknown host": False, "broken": True, "cold": False}
        for what, (_, headers, _) in answers.items():
            with self.subTest(what):
                self.assertRegex(headers["Hob-Invocation-Id"], r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
                self.assertRegex(headers["Server-Timing"], r'^queue;dur=\d+\.\d{3}(, \w+;dur=\d+\.\d{3}(;desc="warm")?)*$')
                self.assertRegex(headers["Cache-Status"], r"^hob-\w+; (hit|fwd=\w+)(, hob-\w+; (hit|fwd=\w+))*$")
                self.assertEqual("hob-instance; hit" in headers["Cache-Status"], hits[what])
        self.assertEqual(len({a[1]["Hob-Invocation-Id"] for a in answers.values()}), len(answers))
        cold = answers["cold"][1]
        self.assertRegex(cold["Cache-Status"], "hob-image; (hit|fwd=miss).*hob-sandbox_pool; (hit|fwd=miss)")
        for phase in ("queue", "schedule", "image_pull", "image_unpack", "sandbox", "runtime_init", "ready", "handler"):
            self.assertIn(phase + ";dur=", cold["Server-Timing"])

    # connections

    def test_one_connection_serves_many_requests(self):
        before = self.hob.tree("f", "/state")["accepted"]
        with self.hob.wire() as w:
            for i in range(50):
                w.send(f"POST /echo HTTP/1.1\r\n{self.host}Content-Length: {len(str(i))}\r\n\r\n{i}")
                self.assertEqual(w.answer()[::2], (200, str(i).encode()))
        self.assertLessEqual(self.hob.tree("f", "/state")["accepted"] - before, 2)

    def test_pipelined_requests_are_answered_in_order(self):
        with self.hob.wire() as w:
            w.send("".join(f"POST /sink HTTP/1.1\r\n{self.host}Content-Length: {i}\r\n\r\n{'x' * i}"
                           for i in range(20)))
            self.assertEqual([w.answer()[2] for _ in range(20)], [str(i).encode() for i in range(20)])

    def test_http_1_0_is_answered_and_closed(self):
        with self.hob.wire() as w:
            w.send(f"GET /drip/3/0 HTTP/1.0\r\n{self.host}\r\n")
            status, headers = w.head()
            self.assertEqual((status, headers["Transfer-Encoding"]), (200, None))
            self.assertEqual(w.exactly(6), b"0\n1\n2\n")
            self.assertTrue(w.ended())


    # bodies

    def test_chunks_go_both_ways_at_once(self):
        with self.hob.wire() as w:
            w.send(f"POST /echo HTTP/1.1\r\n{self.host}Transfer-Encoding: chunked\r\n\r\n")
            for word in (b"one", b"two", b"three"):  # each is back before the next is sent
                w.send(b"%x;ext=1\r\n%s\r\n" % (len(word), word))
                if word == b"one":
                    self.assertEqual(w.head()[0], 200)
                self.assertEqual(w.chunk(), word)
            w.send("0\r\nX-Trailer: t\r\n\r\n")
            self.assertEqual(w.chunk(), b"")
            w.send(f"GET / HTTP/1.1\r\n{self.host}\r\n")
            self.assertEqual(w.answer()[2], b"ok\n")

    def test_an_answer_is_passed_on_as_it_comes(self):
        with self.hob.wire() as w:
            w.send(f"GET /half HTTP/1.1\r\n{self.host}\r\n")
            self.assertEqual(w.head()[0], 200)
            self.assertEqual(w.exactly(4), b"half")  # the function sends no more before we have gone

    def test_100_continue_comes_before_the_body_is_sent(self):
        with self.hob.wire() as w:
            w.send(f"POST /sink HTTP/1.1\r\n{self.host}Content-Length: 5\r\nExpect: 100-continue\r\n\r\n")
            self.assertEqual(w.head()[0], 100)
            w.send("hello")
            self.assertEqual(w.answer()[::2], (200, b"5"))

    def test_an_upgraded_connection_is_a_tunnel(self):
        with self.hob.wire() as w:
            w.send(f"GET /upgrade HTTP/1.1\r\n{self.host}Connection: Upgrade\r\nUpgrade: shout\r\n\r\nearly")
            status, headers = w.head()
            self.assertEqual((status, headers["Upgrade"], headers["Connection"]), (101, "shout", "Upgrade"))
            self.assertIn("Hob-Invocation-Id", headers)
            self.assertEqual(w.exactly(5), b"EARLY")
            block = os.urandom(1 << 20)
            sender = threading.Thread(target=w.send, args=(block,))
            sender.start()
            self.assertEqual(w.exactly(len(block)), block.upper())
            sender.join()

    # ends

    def wait_state(self, what, look):
        self.hob.wait_for(what, lambda: look(self.hob.tree("f", "/state")))

    def test_a_client_that_goes_takes_its_request_with_it(self):
        gone = self.hob.tree("f", "/state")["gone"]
        for path in ("/silent", "/half"):
            with self.hob.wire() as w:
                w.send(f"GET {path} HTTP/1.1\r\n{self.host}\r\n")
                self.hob.wait_for("it to be with the function", lambda: self.hob.instances("f")[0]["inFlight"])
        self.wait_state("the function to see its callers go", lambda s: s["gone"] == gone + 2)

    def test_what_is_no_answer_is_502(self):
        tree = self.problem(self.hob.ingress("f", path="/nonsense"), 502, "bad-answer")
        self.assertFalse(tree["retryable"])

    # what is refused

    def test_smuggling_is_answered_400_and_closed(self):
        good = f"GET /sink HTTP/1.1\r\n{self.host}\r\n"
        bodies = {
            "length and chunked": "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "two lengths": "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            "a list of lengths": "Content-Length: 1, 2\r\n\r\nab",
            "a signed length": "Content-Length: +1\r\n\r\na",
            "a length with a sign inside": "Content-Length: 1_0\r\n\r\n1234567890",
            "a length of hexadecimal": "Content-Length: 0x1\r\n\r\na",
            "a length beyond 64 bits": "Content-Length: 18446744073709551617\r\n\r\na",
            "chunked twice": "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
            "chunked not last": "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
            "chunked in disguise": "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
            "a space before the colon": "Content-Length : 1\r\n\r\na",
            "a folded field": "X-A: b\r\n Content-Length: 1\r\n\r\na",
            "a bare CR in a value": "X-A: b\rContent-Length: 1\r\n\r\na",
            "a bare LF at a line's end": "X-A: b\nContent-Length: 1\r\n\r\na",
            "a NUL in a value": "X-A: b\0c\r\n\r\n",
            "a chunk size with a sign": "Transfer-Encoding: chunked\r\n\r\n+1\r\na\r\n0\r\n\r\n",
            "a chunk size with 0x": "Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
            "a chunk size beyond 64 bits": "Transfer-Encoding: chunked\r\n\r\n10000000000000001\r\na\r\n",
            "a chunk longer than it says": "Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
            "a chunk ended by LF": "Transfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n",
        }
        vectors = {what: f"POST /sink HTTP/1.1\r\n{self.host}{rest}" for what, rest in bodies.items()}
        vectors["two hosts"] = f"GET / HTTP/1.1\r\n{self.host}Host: g.default.localhost\r\n\r\n"
        vectors["no host"] = "GET / HTTP/1.1\r\n\r\n"
        vectors["another host in the target"] = f"GET http://g.default.localhost@x/ HTTP/1.1\r\n{self.host}\r\n"
        vectors["a space in the target"] = f"GET /a b HTTP/1.1\r\n{self.host}\r\n"
        vectors["a tab in the request line"] = f"GET\t/ HTTP/1.1\r\n{self.host}\r\n"
        vectors["a control character in a name"] = f"GET / HTTP/1.1\r\n{self.host}X\x01: a\r\n\r\n"
        vectors["a first line of its own kind"] = f"GET / HTTP/1.1 \r\n{self.host}\r\n"
        codings = ("chunked in disguise",)  # RFC 9112, 6.1: a coding that is not known is 501
        served = self.hob.tree("f", "/state")["served"]
        for what, bytes_ in vectors.items():
            with self.subTest(what), self.hob.wire() as w:
                w.send((bytes_ + good).encode("latin-1"))
                status, headers, _ = w.answer()
                self.assertEqual(status, 501 if what in codings else 400)
                self.assertEqual(headers["Connection"], "close")
                self.assertTrue(w.ended(), "something came after the refusal")
        self.assertEqual(self.hob.tree("f", "/state")["served"], served + 1)

    def test_heads_beyond_their_limits_are_refused_by_name(self):
        for status, head in ((414, f"GET /{'a' * 9000} HTTP/1.1\r\n{self.host}"),
                             (431, f"GET / HTTP/1.1\r\n{self.host}X-A: {'a' * 9000}\r\n"),
                             (431, f"GET / HTTP/1.1\r\n{self.host}" + "X-A: a\r\n" * 101),
                             (505, f"GET / HTTP/2.0\r\n{self.host}")):
            with self.subTest(status=status), self.hob.wire() as w:
                w.send(head + "\r\n")
                got, headers, _ = w.answer()
                self.assertEqual((got, headers["Connection"]), (status, "close"))
                self.assertTrue(w.ended())
        self.assertEqual(self.hob.metric("hob_limit_reached_total", limit="http_fields_max"), 1)


class Bounds(HobCase):
    """Deadlines, concurrency and queues, as the manifest sets them."""

    def test_container_concurrency_1_never_overlaps(self):
        self.hob.deploy("one", containerConcurrency=1, annotations={"max-scale": 1})
        answers = together(8, lambda i: self.hob.ingress("one", path="/overlap/40"))
        self.assertEqual({(a[0], a[2]) for a in answers}, {(200, b"1")})
        self.hob.deploy("many", annotations={"max-scale": 1})  # the control: without it they do
        answers = together(8, lambda i: self.hob.ingress("many", path="/overlap/300"))
        self.assertGreater(max(int(a[2]) for a in answers), 1)

    def test_a_full_queue_is_503_at_once(self):
        hob = self.hob
        hob.deploy("full", containerConcurrency=1, annotations={"max-scale": 1, "hob.dev/queue-depth": 2})
        wires = [hob.wire() for _ in range(3)]
        for w in wires:
            w.send(f"GET /silent HTTP/1.1\r\nHost: {hob.host('full')}\r\n\r\n")
        hob.wait_for("two to wait", lambda: hob.metric("hob_requests_queued") == 2)
        answer = hob.ingress("full")
        tree = self.problem(answer, 503, "queue-full")
        self.assertTrue(tree["retryable"])
        self.assertGreaterEqual(int(answer[1]["Retry-After"]), 1)
        self.assertEqual(tree["retry_after_s"], int(answer[1]["Retry-After"]))
        wires[1].s.close()  # who goes makes room
        hob.wait_for("one to wait", lambda: hob.metric("hob_requests_queued") == 1)
        for w in wires:
            w.s.close()
        self.assertEqual(hob.ingress("full")[0], 200)

    def test_deadlines(self):
        self.hob.deploy("late", timeoutSeconds=1)
        self.hob.deploy("start", timeoutSeconds=10, responseStartTimeoutSeconds=1)

        def silent_504(name, kind):
            begin = time.monotonic()
            answer = self.hob.ingress(name, path="/silent")
            took = time.monotonic() - begin
            self.problem(answer, 504, kind)
            self.assertGreaterEqual(took, 1)

        def reset_after_the_head():
            with self.hob.wire() as w:
                w.send(f"GET /half HTTP/1.1\r\nHost: {self.hob.host('late')}\r\n\r\n")
                self.assertEqual(w.head()[0], 200)
                self.assertEqual(w.exactly(4), b"half")
                self.assertTrue(w.ended(), "text was appended to a cut answer")

        def slow_but_begun():
            status, _, body = self.hob.ingress("start", path="/drip/15/100")
            self.assertEqual((status, len(body.split())), (200, 15))

        def tunnels_have_no_response_start():
            with self.hob.wire() as w:
                w.send(f"GET /upgrade HTTP/1.1\r\nHost: {self.hob.host('start')}\r\nConnection: upgrade\r\n"
                       "Upgrade: shout\r\n\r\n")
                self.assertEqual(w.head()[0], 101)
                self.assertFalse(harness.select.select([w.s], [], [], 1.3)[0], "the tunnel was cut")
                w.send("still")
                self.assertEqual(w.exactly(5), b"STILL")
        cases = [lambda: silent_504("late", "deadline"), lambda: silent_504("start", "response-start-timeout"),
                 reset_after_the_head, slow_but_begun, tunnels_have_no_response_start]
        together(len(cases), lambda i: cases[i]())
        # The function sees its callers go, and serves on.
        self.hob.wait_for("the function to see them go", lambda: self.hob.tree("late", "/state")["gone"] == 2)

    def test_who_waited_in_vain_was_never_the_functions_work(self):
        hob = self.hob
        hob.deploy("taken", containerConcurrency=1, annotations={"max-scale": 1})
        with hob.wire() as busy:
            busy.send(f"GET /silent HTTP/1.1\r\nHost: {hob.host('taken')}\r\n\r\n")
            hob.wait_for("it to be busy", lambda: hob.metric("hob_requests_in_flight") >= 1)
            answer = hob.ingress("taken", headers={"Hob-Deadline": "300"})
        self.problem(answer, 504, "queue-timeout")
        ident = answer[1]["Hob-Invocation-Id"]
        record = hob.invocation(ident)
        self.assertNotIn("firstByteUs", record)  # of the answer, which was hob's own
        self.assertGreaterEqual(record["totalUs"], 299000)
        out = hob.hob("explain", ident)[1]
        self.assertRegex(out, r"queue +0 ms +\d{3,} ms")
        self.assertNotIn("handler", out)

    def test_a_deadline_of_the_caller_holds_too(self):
        self.hob.deploy("asked")
        answer = self.hob.ingress("asked", path="/silent", headers={"Hob-Deadline": "300"})
        self.problem(answer, 504, "deadline")
        self.assertEqual(self.hob.ingress("asked", headers={"Hob-Deadline": "soon"})[0], 400)
        self.assertEqual(self.hob.ingress("asked", headers={"Hob-Hops": "16"})[0], 508)


class Streams(HobCase):
    # What AddressSanitizer keeps of freed memory would hide what hob itself holds.
    ENV = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=4"}
    SIZE = 192 << 20

    def peak_bytes(self):
        status = harness.read_text(f"/proc/{self.hob.roles()['node']}/status")
        return int(status.split("VmHWM:")[1].split()[0]) << 10

    def test_large_bodies_pass_through_a_small_node(self):
        hob = self.hob
        hob.deploy("f")
        self.assertEqual(hob.ingress("f")[0], 200)
        before = self.peak_bytes()
        with hob.wire() as w:
            w.send(f"GET /big/{self.SIZE} HTTP/1.1\r\nHost: {hob.host('f')}\r\n\r\n")
            self.assertEqual(w.head()[0], 200)
            harness.select.select([], [], [], 0.2)  # a slow reader: all that can pile up does
            left, digest = self.SIZE, hashlib.sha256()
            while left:
                if not w.got:
                    w.more()
                digest.update(w.got)
                left -= len(w.got)
                w.got = b""
            self.assertEqual(digest.digest(), hashlib.sha256(bytes(self.SIZE)).digest())
        with hob.wire() as w:
            w.send(f"POST /sink HTTP/1.1\r\nHost: {hob.host('f')}\r\nContent-Length: {self.SIZE}\r\n\r\n")
            block = bytes(1 << 20)
            for _ in range(self.SIZE >> 20):
                w.send(block)
            self.assertEqual(w.answer()[::2], (200, str(self.SIZE).encode()))
        self.assertLess(self.peak_bytes() - before, 24 << 20)


if __name__ == "__main__":
    unittest.main()
