"""What Knative's contract says of the way to a function, and what an odd function or client does to those beside it."""
import base64
import hashlib
import os
import threading
import time
import unittest

from harness import PYTHON, HobCase, service, together

# Bytes as they are written here, whatever HTTP says of them; and a WebSocket (RFC 6455) that says everything twice.
RAW = r'''
import base64, hashlib, os, socket, threading
ANSWERS = {
    "/none": b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
    "/none-with-body": b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
    "/same": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: \"a\"\r\n\r\nhello",
    "/hints": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "/hints-without-end": b"HTTP/1.1 102 Processing\r\n\r\n" * 1000 + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "/length-and-chunked": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "/two-lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
    "/folded": b"HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 2\r\n\r\nok",
    "/switched": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nhello",
    "/bare-lf": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    "/status-999": b"HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n",
    "/second-answer": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL",
    "/bad-chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n-1\r\nok\r\n0\r\n\r\n",
    "/forged": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\nHob-Invocation-Id: forged\r\n\r\n",
    "/trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n",
    "/until-the-end": b"HTTP/1.1 200 OK\r\n\r\nall of it",
}
def web_socket(c, head):
    key = next(l.split(b": ")[1] for l in head.split(b"\r\n") if l.lower().startswith(b"sec-websocket-key:"))
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    c.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
              b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
    f = c.makefile("rb")
    while True:
        begin = f.read(2)
        if len(begin) < 2:
            return
        mask, data = f.read(4), f.read(begin[1] & 127)
        data = bytes(b ^ mask[i % 4] for i, b in enumerate(data)) * 2
        c.sendall(bytes([begin[0], len(data)]) + data)
def serve(c):
    head = b""
    while b"\r\n\r\n" not in head:
        piece = c.recv(65536)
        if not piece:
            return
        head += piece
    path = head.split(b" ")[1].decode()
    try:
        if path == "/socket":
            web_socket(c, head)
        else:
            c.sendall(ANSWERS.get(path, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
    except OSError:
        pass
    c.close()
s = socket.socket()
s.bind(("", int(os.environ["PORT"])))
s.listen(100)
while True:
    threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
'''


class Way(HobCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.image = cls.hob.bundle({"raw.py": RAW})
        cls.make("raw")
        cls.host = f"Host: {cls.hob.host('raw')}\r\n"

    @classmethod
    def make(cls, name, **spec):
        cls.hob.apply(service(name, cls.image, [*PYTHON, "/app/raw.py"], **spec))

    def ask(self, wire, path, fields="", method="GET"):
        wire.send(f"{method} {path} HTTP/1.1\r\n{self.host}{fields}\r\n")

    # probes of the network

    def test_a_probe_of_the_way_starts_nothing_and_is_no_invocation(self):
        """Knative's own probes are answered by whatever is in the path, with the hash of what it was programmed with."""
        hob = self.hob
        self.make("asleep", annotations={"initial-scale": 0})
        before = hob.metric("hob_requests_in_flight")
        answer = hob.ingress("asleep", headers={"K-Network-Probe": "probe", "K-Network-Hash": "0a1b2c"})
        self.assertEqual((answer[0], answer[1]["K-Network-Hash"], answer[2]), (200, "0a1b2c", b""))
        for word in ("queue", "activator"):
            answer = hob.ingress("asleep", headers={"K-Network-Probe": word})
            self.assertEqual((answer[0], answer[2].decode(), answer[1].get("K-Network-Hash")), (200, word, None))
            self.assertIsNone(answer[1].get("Hob-Invocation-Id"))
        self.problem(hob.ingress("asleep", headers={"K-Network-Probe": "probe"}), 400, "bad-header")
        self.problem(hob.ingress("asleep", headers={"K-Network-Probe": ""}), 400, "bad-header")
        self.problem(hob.ingress("asleep", headers={"K-Network-Probe": "other"}), 400, "bad-header")
        self.problem(hob.ingress("nobody", headers={"K-Network-Probe": "queue"}), 404, "unknown-host")
        self.assertEqual(hob.instances("asleep"), [])
        self.assertEqual(hob.metric("hob_requests_in_flight"), before)
        self.assertEqual(hob.ingress("asleep")[2], b"ok")  # the control: this is what starts one
        self.assertEqual(len(hob.instances("asleep")), 1)

    # silence

    def test_silence_has_its_own_time_and_an_answer_that_goes_on_has_all_of_the_services(self):
        hob = self.hob
        hob.deploy("idle", idleTimeoutSeconds=2, timeoutSeconds=60)

        def before_the_head():
            begin = time.monotonic()
            self.problem(hob.ingress("idle", path="/silent"), 504, "idle-timeout")
            self.assertGreaterEqual(time.monotonic() - begin, 2)

        def after_it():
            with hob.wire() as w:
                w.send(f"GET /half HTTP/1.1\r\nHost: {hob.host('idle')}\r\n\r\n")
                self.assertEqual(w.head()[0], 200)
                begin = time.monotonic()
                self.assertEqual(w.exactly(4), b"half")
                self.assertTrue(w.ended(), "text was appended to a cut answer")
                self.assertGreaterEqual(time.monotonic() - begin, 1.5)

        def never_so_long():
            begin = time.monotonic()
            status, _, body = hob.ingress("idle", path="/drip/30/100")
            self.assertEqual((status, len(body.split())), (200, 30))
            self.assertGreater(time.monotonic() - begin, 2)
        cases = [before_the_head, after_it, never_so_long]
        together(len(cases), lambda i: cases[i]())
        hob.wait_for("the function to see them go", lambda: hob.tree("idle", "/state")["gone"] == 2)

    # the end of an instance

    def test_an_instance_ends_with_its_last_request_and_not_before(self):
        """Knative's goes on until it had no new request for 30 seconds, and is billed for them."""
        hob = self.hob
        hob.deploy("ends", annotations={"max-scale": 1})
        instance = hob.instances("ends")[0]["id"]
        answers, answered = [], []

        def ask(path):
            answers.append(hob.ingress("ends", path=path)[::2])
            answered.append(time.monotonic())
        asking = [threading.Thread(target=ask, args=(f"/sleep/{ms}",)) for ms in (500, 2500)]
        for t in asking:
            t.start()
        hob.wait_for("both to run", lambda: hob.instances("ends")[0]["inFlight"] == 2)
        hob.call("DELETE", f"/v1/instances/{instance}", want=202)
        hob.wait_for("the first to be answered", lambda: answers)
        self.assertTrue(any(i["id"] == instance for i in hob.instances("ends")) or len(answers) == 2)
        for t in asking:
            t.join()
        self.assertEqual(answers, [(200, instance.encode())] * 2)
        hob.wait_for("it to be gone", lambda: all(i["id"] != instance for i in hob.instances("ends")))
        self.assertLess(time.monotonic() - max(answered), 20)

    # WebSockets

    def say(self, wire, text):
        mask = os.urandom(4)
        wire.send(b"\x81" + bytes([0x80 | len(text)]) + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(text)))

    def test_a_web_socket_outlives_the_services_timers_and_ends_with_its_client(self):
        """Knative cuts it when the time to begin an answer is over (its issue 16169)."""
        hob = self.hob
        self.make("talk", timeoutSeconds=2, responseStartTimeoutSeconds=1)
        key = base64.b64encode(os.urandom(16)).decode()
        want = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
        with hob.wire() as w:
            w.send(f"GET /socket HTTP/1.1\r\nHost: {hob.host('talk')}\r\nConnection: keep-alive, Upgrade\r\n"
                   f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n")
            status, headers = w.head()
            self.assertEqual((status, headers["Sec-WebSocket-Accept"]), (101, want))
            over = threading.Event()
            for text in (b"first", b"second", b"third"):
                self.say(w, text)
                self.assertEqual(w.exactly(2 + 2 * len(text)), bytes([0x81, 2 * len(text)]) + text * 2)
                over.wait(1.2)  # all together longer than either timer
            self.assertEqual(hob.instances("talk")[0]["inFlight"], 1)
        hob.wait_for("it to be over", lambda: hob.instances("talk")[0]["inFlight"] == 0)

    # answers

    def test_answers_without_content_are_told_apart_from_those_with_it(self):
        with self.hob.wire() as w:
            for method, path, status, length, body in (
                    ("GET", "/none", 204, None, b""), ("GET", "/same", 304, "5", b""), ("HEAD", "/ok", 200, "2", b""),
                    ("HEAD", "/until-the-end", 200, None, b""), ("GET", "/until-the-end", 200, None, b"all of it"),
                    ("GET", "/second-answer", 200, "2", b"ok"), ("GET", "/ok", 200, "2", b"ok")):
                with self.subTest(path=path, method=method):
                    self.ask(w, path, method=method)
                    got, headers = w.head()
                    self.assertEqual(got, status)
                    if path != "/none":  # a length of nothing is no harm there
                        self.assertEqual(headers["Content-Length"], length)
                    content = b"" if method == "HEAD" or status != 200 else \
                        w.exactly(int(length)) if length else b"".join(iter(w.chunk, b""))
                    self.assertEqual(content, body)

    def test_interim_answers_pass_and_a_flood_of_them_does_not(self):
        with self.hob.wire() as w:
            self.ask(w, "/hints")
            status, headers = w.head()
            self.assertEqual((status, headers["Link"]), (103, "</a>"))
            self.assertEqual(w.answer()[::2], (200, b"ok"))
            self.ask(w, "/hints-without-end")
            count = 0
            while True:
                status, headers = w.head()
                if status != 102:
                    break
                count += 1
            self.assertEqual((status, headers["Hob-Problem"], count), (502, "bad-answer", 64))
            w.exactly(int(headers["Content-Length"]))
            self.ask(w, "/ok")
            self.assertEqual(w.answer()[::2], (200, b"ok"))

    def test_an_answer_that_two_could_read_differently_is_502_and_the_next_is_its_own(self):
        with self.hob.wire() as w:
            for path in ("/none-with-body", "/length-and-chunked", "/two-lengths", "/folded", "/switched", "/bare-lf",
                         "/status-999"):
                with self.subTest(path):
                    self.ask(w, path)
                    self.problem(w.answer(), 502, "bad-answer")
                    self.ask(w, "/ok")
                    self.assertEqual(w.answer()[::2], (200, b"ok"))

    def test_an_answer_that_breaks_after_its_head_is_reset_and_nothing_is_appended(self):
        with self.hob.wire() as w:  # the control: one that does not break
            self.ask(w, "/trailers")
            self.assertEqual(w.head()[0], 200)
            self.assertEqual(w.until(b"\r\n\r\n"), b"2\r\nok\r\n0\r\nX-Sum: 1")
        for path in ("/bad-chunk", "/forged"):
            with self.subTest(path), self.hob.wire() as w:
                self.ask(w, path)
                self.assertEqual(w.head()[0], 200)
                with self.assertRaises((ConnectionResetError, EOFError)):
                    w.until(b"0\r\n\r\n")
                self.assertEqual(w.got, b"2\r\nok\r\n")


if __name__ == "__main__":
    unittest.main()
