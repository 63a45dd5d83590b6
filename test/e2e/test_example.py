"""The event classifier as processes of their own: what it learns, that both implementations say the
same, and that nothing sent to them brings them down.

CLASSIFIER and CLASSIFIER_CHECKED name the C builds (static; with the build's sanitizers).
"""

import ctypes
import http.client
import json
import os
import random
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import zlib

import harness

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
EXAMPLE = os.path.join(ROOT, "examples", "event-classifier")
PYTHON = "/usr/bin/python3"
HANDLER = [PYTHON, "-I", "-S", os.path.join(EXAMPLE, "python", "handler.py")]
STATIC = os.environ.get("CLASSIFIER", os.path.join(ROOT, "build", "classifier"))
CHECKED = os.environ.get("CLASSIFIER_CHECKED", STATIC)
SUBSET = 3
DEADLINE_S = 30
LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1  # a test run that is cut leaves no function behind


class Trained:
    """One training on a third of the packages, made once for all tests."""

    folder, said, error = None, "", ""

    @classmethod
    def train(cls, folder, *args):
        return subprocess.run([PYTHON, os.path.join(EXAMPLE, "train.py"), "--out", folder, *args],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              check=False)

    @classmethod
    def get(cls):
        if cls.folder is None:
            cls.folder = tempfile.TemporaryDirectory(prefix="hob-example-")
            done = cls.train(cls.folder.name, "--sources-in", str(SUBSET))
            cls.said, cls.error = done.stdout, done.stderr if done.returncode else ""
        if "apt-get update" in cls.error:
            raise unittest.SkipTest(cls.error.strip())
        if cls.error:
            raise AssertionError(cls.error)
        return cls.folder.name

    @classmethod
    def model(cls):
        return os.path.join(cls.get(), "model.bin")

    @classmethod
    def records(cls):
        with open(os.path.join(cls.get(), "held-out.jsonl"), encoding="utf-8") as f:
            return [json.loads(line) for line in f]


def tearDownModule():
    if Trained.folder:
        Trained.folder.cleanup()


class Reference:
    """The scorer once more, straight from the README's description, sharing no code with it."""

    def __init__(self, path):
        with open(path, "rb") as f:
            self.data = f.read()
        magic, _, _, self.buckets, classes, self.stride, size = struct.unpack_from("<8s6I", self.data)
        assert magic == b"evclass\0"
        self.labels = self.data[64:64 + size].decode().split("\n")
        assert len(self.labels) == classes

    @staticmethod
    def words(text):
        kept = bytearray()
        for byte in text.lower() if text.isascii() else bytes(
                b + 32 if 65 <= b <= 90 else b for b in text):
            kept.append(byte if chr(byte).isalnum() or byte >= 128 or byte in b"+#" else 0x20)
        return [w for w in bytes(kept).split(b" ") if w]

    def answer(self, ident, text):
        text = text.encode()
        words = self.words(text)
        hashed = [b"bias"] + words
        # A pair is hashed over its second word, going on from " " after the first word's hash.
        crcs = [zlib.crc32(h) for h in hashed]
        before = zlib.crc32(b"^")
        for word in words:
            crcs.append(zlib.crc32(b" " + word, before))
            before = zlib.crc32(word)
        crcs.append(zlib.crc32(b" $", before))
        if b" - " in text and (name := self.words(text[:text.index(b" - ")])):
            crcs += [zlib.crc32(b"@" + word) for word in name]
            crcs += [zlib.crc32(b"<" + name[0][:4]), zlib.crc32(b">" + name[-1])]
        scores = [0] * len(self.labels)
        for crc in crcs:
            at = 4096 + crc % self.buckets * self.stride * 2
            for i, w in enumerate(struct.unpack_from(f"<{len(scores)}h", self.data, at)):
                scores[i] += w
        order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:3]
        return {"id": ident, "section": self.labels[order[0]],
                "top": [{"section": self.labels[i], "score": scores[i]} for i in order]}


class Function:
    """One implementation as a process, on a port that nobody else is given."""

    def __init__(self, command, model, check=True):
        self.reserved, self.port = harness.reserve_port()
        phases, told = os.pipe()
        self.process = subprocess.Popen(
            command, pass_fds=[told], stderr=subprocess.PIPE,
            preexec_fn=lambda: LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
            env={"PORT": str(self.port), "MODEL": model, "HOB_PHASES_FD": str(told)})
        os.close(told)
        up = self.wait_until_it_accepts() if check else False
        self.phases = os.read(phases, 4096).decode() if up else ""
        os.close(phases)
        if check and not up:
            self.process.kill()
            self.reserved.close()
            raise AssertionError(f"{command} does not come up: {self.process.communicate()[1].decode()}")

    def wait_until_it_accepts(self):
        deadline = time.monotonic() + DEADLINE_S
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                self.connect().close()
                return True
            except ConnectionRefusedError:
                time.sleep(0.001)
        return False

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE_S)

    def raw(self, data):
        """Everything that comes back for these bytes on a connection of their own."""
        with self.connect() as s:
            try:
                s.sendall(data)
                s.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # refused and closed before all was sent: the answer still counts
            got = b""
            while True:
                try:
                    piece = s.recv(65536)
                except ConnectionResetError:
                    return got
                if not piece:
                    return got
                got += piece

    def post(self, body, kind="application/json", **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        fields = {"Content-Type": kind, **{k.replace("_", "-"): v for k, v in headers.items()}}
        connection.request("POST", "/", body, fields)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, answer.headers, body

    def stop(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            _, errors = self.process.communicate(timeout=DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise
        finally:
            self.reserved.close()
        return self.process.returncode, errors.decode()


class Training(unittest.TestCase):
    def test_the_same_lists_give_the_same_bytes_and_a_digest_of_them(self):
        first = Trained.get()
        with tempfile.TemporaryDirectory(prefix="hob-example-") as second:
            done = Trained.train(second, "--sources-in", str(SUBSET))
            self.assertEqual(done.returncode, 0, done.stderr)
            for name in ("model.bin", "held-out.jsonl", "model.sha256"):
                with open(os.path.join(first, name), "rb") as a, \
                        open(os.path.join(second, name), "rb") as b:
                    self.assertTrue(a.read() == b.read(), name)
        check = subprocess.run(["sha256sum", "--quiet", "-c", "model.sha256"], cwd=first, check=False)
        self.assertEqual(check.returncode, 0)

    def test_it_is_far_better_than_the_majority(self):
        Trained.get()
        words = Trained.said.split()
        accuracy, majority = float(words[1]), float(words[-1])
        self.assertGreater(accuracy, 0.6)
        self.assertGreater(accuracy, 3 * majority)

    def test_held_out_records_are_of_sources_that_were_not_learned(self):
        dump = "".join(
            f"Package: lib{source}{kind}\nSource: {source}\nSection: {section}\n"
            f"Description: {source} for testing\n\n"
            for source in map(str, range(200))
            for kind, section in (("1", "libs"), ("-dev", "contrib/libdevel")))
        with tempfile.TemporaryDirectory(prefix="hob-example-") as folder:
            path = os.path.join(folder, "dump")
            with open(path, "w", encoding="utf-8") as f:
                f.write(dump)
            done = Trained.train(folder, "--from", path)
            self.assertEqual(done.returncode, 0, done.stderr)
            with open(os.path.join(folder, "held-out.jsonl"), encoding="utf-8") as f:
                held = [json.loads(line) for line in f]
        self.assertEqual({r["section"] for r in held}, {"libs", "libdevel"})
        names = {r["id"] for r in held}
        self.assertTrue(0 < len(names) < 400)
        for source in map(str, range(200)):
            self.assertEqual(f"lib{source}1" in names, f"lib{source}-dev" in names)

    def test_nothing_of_a_held_out_record_is_learned(self):
        """With other words and another section in the held-out records only, the weights are the same to the byte."""
        def dump(changed):
            return "".join(f"Package: p{n}\nSource: p{n}\nSection: {('games', 'net')[n % 2 ^ (f'p{n}' in changed)]}\n"
                           f"Description: {'altogether different' if f'p{n}' in changed else f'word{n} and more'}\n\n"
                           for n in range(200))

        def trained(text):
            with tempfile.TemporaryDirectory(prefix="hob-example-") as folder:
                path = os.path.join(folder, "dump")
                with open(path, "w", encoding="utf-8") as f:
                    f.write(text)
                done = Trained.train(folder, "--from", path)
                self.assertEqual(done.returncode, 0, done.stderr)
                with open(os.path.join(folder, "model.bin"), "rb") as f, \
                        open(os.path.join(folder, "held-out.jsonl"), encoding="utf-8") as held:
                    return f.read(), {json.loads(line)["id"] for line in held}

        weights, held = trained(dump(set()))
        self.assertTrue(held)
        self.assertTrue(weights == trained(dump(held))[0])
        learned = {f"p{n}" for n in range(200)} - held
        self.assertFalse(weights == trained(dump(set(sorted(learned)[:3])))[0], "the control: what is learned counts")

    def test_empty_lists_are_said_to_be_empty(self):
        with tempfile.TemporaryDirectory(prefix="hob-example-") as folder:
            done = Trained.train(folder, "--from", "/dev/null")
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("apt-get update", done.stderr)
            self.assertEqual(os.listdir(folder), [])


AWKWARD = ["x", " - ", "a - b - c", "-", "++ C# c++ - C++", "Größe ÄÖÜ - 日本語 フォント", "\x00\x01 - \x7f",
           "name - ", "  -  - ", "\t\r\n", "é", "\U0001f600 - emoji", "w " * 8000, "x" * 16384,
           'quote " and \\ back / slash \b\f\n\r\t \x1f \x7f', "ALL CAPS - SHOUTED"]


MUCH = json.dumps([{"id": f"{i:0250}", "text": "t"} for i in range(1024)]).encode()
MUCH = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(MUCH), MUCH)


def stuff(s):
    """Sends MUCH again and again without reading, until neither side's buffers take any more.

    Returns how many were begun, and what is missing of the last one.
    """
    s.setblocking(False)
    sent = blocked = 0
    while blocked < 50:
        try:
            sent += s.send(MUCH[sent % len(MUCH):])
            blocked = 0
        except BlockingIOError:
            blocked += 1
            select.select([], [s], [], 0.01)
    count = -(-sent // len(MUCH))
    return count, MUCH[len(MUCH) - (count * len(MUCH) - sent):]


def exchange(s, rest, size=None):
    """Sends the rest while reading so many bytes, or to the end."""
    got, deadline = b"", time.monotonic() + DEADLINE_S
    while size is None or len(got) < size:
        reading, writing, _ = select.select([s], [s] if rest else [], [], max(0, deadline - time.monotonic()))
        if not reading and not writing:
            raise AssertionError(f"{len(got)} of {size} bytes came")
        if writing:
            rest = rest[s.send(rest):]
        if reading:
            piece = s.recv(1 << 20)
            if not piece and size is None:
                return got
            if not piece:
                raise AssertionError(f"the end came after {len(got)} of {size} bytes")
            got += piece
    return got


class BothImplementations(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        model = Trained.model()
        cls.python = Function(HANDLER, model)
        cls.c = Function([CHECKED], model)

    @classmethod
    def tearDownClass(cls):
        for function in (cls.python, cls.c):
            code, errors = function.stop()
            assert (code, errors) == (0, ""), (code, errors)

    def same(self, body, kind="application/json", **headers):
        a, b = (f.post(body, kind, **headers) for f in (self.python, self.c))
        self.assertEqual(a[0], b[0], (body[:200], a[2], b[2]))
        self.assertEqual(a[2], b[2], body[:200])
        self.assertEqual(a[1].items(), b[1].items())
        return a[0], a[1], json.loads(a[2])

    def test_they_agree_with_the_reference_on_1000_held_out_records(self):
        reference = Reference(Trained.model())
        records = Trained.records()[:1000]
        self.assertEqual(len(records), 1000)
        right = 0
        for record in records:
            event = {"id": record["id"], "text": record["text"]}
            status, _, answer = self.same(json.dumps(event))
            self.assertEqual(status, 200)
            self.assertEqual(answer, reference.answer(record["id"], record["text"]))
            right += answer["section"] == record["section"]
        self.assertGreater(right / len(records), 0.6)

    def test_they_agree_on_awkward_text_however_it_is_written(self):
        reference = Reference(Trained.model())
        for ascii_only in (True, False):
            events = [{"id": text[:60], "text": text} for text in AWKWARD]
            status, _, answers = self.same(json.dumps(events, ensure_ascii=ascii_only).encode())
            self.assertEqual(status, 200)
            self.assertEqual(answers, [reference.answer(e["id"], e["text"]) for e in events])

    def test_a_batch_is_answered_in_order_and_an_empty_one_is_empty(self):
        events = [{"id": f"e{i}", "text": f"word{i}"} for i in range(1024)]
        status, _, answers = self.same(json.dumps(events))
        self.assertEqual((status, [a["id"] for a in answers]), (200, [e["id"] for e in events]))
        self.assertEqual(self.same("[]")[::2], (200, []))
        status, _, problem = self.same(json.dumps(events + [events[0]]))
        self.assertEqual((status, problem["detail"]), (400, "batch of more than 1024 events"))

    def test_cloud_events_come_back_as_cloud_events(self):
        event = {"specversion": "1.0", "id": "7", "source": "/apt", "type": "package",
                 "data": {"text": "libfoo-dev - foo library (development files)"}}
        status, headers, answer = self.same(json.dumps(event), "application/cloudevents+json; charset=utf-8")
        self.assertEqual((status, headers["Content-Type"]), (200, "application/cloudevents+json"))
        self.assertEqual((answer["specversion"], answer["id"], answer["data"]["section"]),
                         ("1.0", "7", "libdevel"))
        status, _, answers = self.same(json.dumps([event, event]), "application/cloudevents-batch+json")
        self.assertEqual((status, answers), (200, [answer, answer]))
        status, headers, plain = self.same(json.dumps(event["data"]), ce_specversion="1.0", ce_id="7",
                                           ce_source="/apt", ce_type="package")
        self.assertEqual((status, headers["ce-id"], headers["ce-specversion"]), (200, "7", "1.0"))
        self.assertEqual(plain, answer["data"])

    def test_what_cannot_be_read_is_refused_with_a_reason(self):
        text = "application/json"
        cloud, batch = "application/cloudevents+json", "application/cloudevents-batch+json"
        deep = "[" * 65 + "]" * 65
        for body, kind, detail in (
                ("", text, "body is not JSON"),
                ("{", text, "body is not JSON"),
                ('{"id":"a","text":"b"}x', text, "body is not JSON"),
                ('{"id":"a","text":"b",}', text, "body is not JSON"),
                ("{'id':'a'}", text, "body is not JSON"),
                ('{"id":"a","text":"b\n"}', text, "body is not JSON"),
                ('{"id":"a","text":"b\x1f"}', text, "body is not JSON"),
                ('{"id":"a","text":"\\x41"}', text, "body is not JSON"),
                ('{"id":"a","text":"b","n":1.}', text, "body is not JSON"),
                ('{"id":"a","text":"b","n":1e+}', text, "body is not JSON"),
                ('{"id":"a","text":"b","n":-}', text, "body is not JSON"),
                ('{"id":"a","text":"b","n":+1}', text, "body is not JSON"),
                ('{"id":"a","text":"b","n":.5}', text, "body is not JSON"),
                ('{"id":"a","text":"b","n":01}', text, "body is not JSON"),
                ('{"id":"a","text":"b","n":NaN}', text, "body is not JSON"),
                ('{"id":"a","text":"b","n":-Infinity}', text, "body is not JSON"),
                ("\ufeff[]", text, "body is not JSON"),
                (b'{"id":"a","text":"\xff"}', text, "body is not UTF-8"),
                (b'{"id":"a","text":"\xc0\xaf"}', text, "body is not UTF-8"),
                (b'{"id":"a","text":"\xed\xa0\x80"}', text, "body is not UTF-8"),
                (deep, text, "body is nested too deeply"),
                ("[" * 100000, text, "body is nested too deeply"),
                ('{"a":' * 5000, text, "body is nested too deeply"),
                ("[" + "[" * 63 + "]" * 63 + "]", text, "event 0: not an object"),
                ("7", text, "event: not an object"),
                ("[{}]", text, "event 0: id is not a string, or empty"),
                ('{"id":7,"text":"b"}', text, "event: id is not a string, or empty"),
                ('{"id":"a","text":""}', text, "event: text is not a string, or empty"),
                ('{"id":"a","text":"b","text":[]}', text, "event: text is not a string, or empty"),
                ('{"id":"a","text":"\\ud800"}', text, "event: text holds half a surrogate pair"),
                ('{"id":"a","text":"\\udc00\\ud800"}', text, "event: text holds half a surrogate pair"),
                ('{"id":"' + "a" * 257 + '","text":"b"}', text, "event: id is longer than 256 bytes"),
                ('{"id":"a","text":"' + "ä" * 8193 + '"}', text,
                 "event: text is longer than 16384 bytes"),
                ('{"id":"a","text":"b"}', cloud, "event: specversion is not 1.0"),
                ('{"id":"a","specversion":"1.0","source":"s","type":"t","data":"b"}', cloud,
                 "event: data is not an object"),
                ("{}", batch, "body is not an array"),
                ('[{"id":"a","specversion":"1.0","source":"s"}]', batch,
                 "event 0: type is not a string, or empty")):
            with self.subTest(body=body[:60]):
                body = body if isinstance(body, bytes) else body.encode()
                status, headers, problem = self.same(body, kind)
                self.assertEqual((status, problem["detail"]), (400, detail))
                self.assertEqual(headers["Content-Type"], "application/problem+json")
        self.assertEqual(self.same("{}", "text/plain")[0], 415)
        self.assertEqual(self.same("{}", ce_specversion="0.3", ce_id="a")[0], 400)

    def test_good_things_that_look_odd_are_taken(self):
        for body in (' \r\n\t{ "id" : "a" , "text" : "b" }\n', '{"\\u0069d":"a","te\\u0078t":"b"}',
                     '{"id":"x","id":"a","text":"","text":"b"}',
                     '{"id":"a","text":"b","n":[1e400,-0.5E+2,0,1' + "0" * 5000 + ',true,null,{"":{}}]}',
                     '{"id":"a","text":"b","half":"\\ud800","text2":"\\ud83d\\ude00"}'):
            status, _, answer = self.same(body.encode())
            self.assertEqual((status, answer["id"]), (200, "a"), body[:80])

    RAW = b"POST / HTTP/1.1\r\nHost: x\r\n%s\r\n%s"
    EVENT = b'{"id":"a","text":"game"}'

    def raw_same(self, data):
        a, b = self.python.raw(data), self.c.raw(data)
        self.assertEqual(a, b, data[:300])
        return a

    def test_bodies_come_whole_chunked_and_in_pieces(self):
        length = b"Content-Length: %d\r\n" % len(self.EVENT)
        chunked = b"5;x=y\r\n" + self.EVENT[:5] + b"\r\n13 \r\n" + self.EVENT[5:] + b"\r\n0\r\nA: b\r\n\r\n"
        whole = self.RAW % (length, self.EVENT)
        parts = self.RAW % (b"Transfer-Encoding: chunked\r\n", chunked)
        one = self.raw_same(whole)
        self.assertTrue(one.startswith(b"HTTP/1.1 200 OK\r\n"))
        self.assertEqual(self.raw_same(parts), one)
        self.assertEqual(self.raw_same(whole + parts + b"\r\n" + whole), one * 3)
        for function in (self.python, self.c):
            with function.connect() as s:
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for i in range(len(parts)):
                    s.sendall(parts[i:i + 1])
                    if i % 16 == 0:  # until it was taken: each read sees a piece
                        while select.select([], [s], [], DEADLINE_S)[1] == []:
                            pass
                self.assertEqual(s.recv(65536), one)

    def test_requests_that_are_wrong_end_their_connection_only(self):
        huge = b"Content-Length: 1048577\r\n"
        for fields, body, status in (
                (huge, b"", 413), (b"Content-Length: 99999999999999999999\r\n", b"", 413),
                (b"Content-Length: -1\r\n", b"", 400), (b"Content-Length: \r\n", b"", 400),
                (b"Content-Length: 2\r\nContent-Length: 2\r\n", b"{}", 400),
                (b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", b"{}", 400),
                (b"Transfer-Encoding: gzip\r\n", b"", 501),
                (b"Transfer-Encoding: chunked\r\n", b"x\r\n", 400),
                (b"Transfer-Encoding: chunked\r\n", b"-1\r\n", 400),
                (b"Transfer-Encoding: chunked\r\n", b"fffffffff\r\n", 400),
                (b"Transfer-Encoding: chunked\r\n", b"100001\r\n", 413),
                (b"Transfer-Encoding: chunked\r\n", b"2\r\n{}xx", 400),
                (b"Transfer-Encoding: chunked\r\n", b"1;" + b"x" * 300, 400),
                (b" folded: x\r\n", b"", 400), (b"no colon\r\n", b"", 400), (b"a b: c\r\n", b"", 400),
                (b"a: \x01\r\n", b"", 400), (b"a: " + b"x" * 20000 + b"\r\n", b"", 431)):
            with self.subTest(fields=fields[:60], body=body[:20]):
                self.assertIn(b"HTTP/1.1 %d " % status, self.raw_same(self.RAW % (fields, body))[:13])
        for line, status in ((b"GET / HTTP/1.1", 405), (b"POST /x HTTP/1.1", 404), (b"POST /", 400),
                             (b"POST  / HTTP/1.1", 400), (b"POST / HTTP/2.0", 505),
                             (b"GET /healthz?x HTTP/1.1", 200), (b"HEAD /healthz HTTP/1.0", 200)):
            with self.subTest(line=line):
                got = self.raw_same(line + b"\r\nHost: x\r\n\r\n")
                self.assertIn(b"HTTP/1.1 %d " % status, got[:13])
        self.assertEqual(self.raw_same(b""), b"")

    def test_mutated_requests_are_answered_alike(self):
        """2,000 requests with bytes turned, cut, doubled: the same answers, under the sanitizers."""
        rng = random.Random(20)
        seeds = [self.RAW % (b"Content-Length: %d\r\nContent-Type: application/json\r\n" % len(body), body)
                 for body in (self.EVENT, b'[{"id":"\\ud83d\\ude00","text":"a - \\u00e9\\n"},{"id":"b","text":"c"}]')]
        seeds.append(self.RAW % (b"Transfer-Encoding: chunked\r\n",
                                 b"5\r\n" + self.EVENT[:5] + b"\r\n13\r\n" + self.EVENT[5:] + b"\r\n0\r\n\r\n"))
        seeds.append(self.RAW % (b"ce-id: 1\r\nce-specversion: 1.0\r\nContent-Length: 15\r\n",
                                 b'{"text":"game"}'))
        interesting = b'\x00\t\r\n "\\/{}[]:,0159aefuxAF-+.;zzzzzz      \x7f\x80\xc3\xed\xf0\xff'
        statuses = {}
        for _ in range(2000):
            data = bytearray(rng.choice(seeds))
            body_at = data.index(b"\r\n\r\n") + 4
            for _ in range(rng.randint(1, 2)):
                at = rng.randrange(rng.choice((0, body_at)), len(data))
                choice = rng.randrange(4)
                if choice == 0:
                    data[at] = rng.choice(interesting)
                elif choice == 1:
                    data[at:at] = bytes([rng.choice(interesting)])
                elif choice == 2:
                    del data[at]
                else:
                    data[at:at] = data[at:at + rng.randint(1, 20)]
                body_at = min(body_at, len(data) - 1)
            if rng.random() < 0.5:  # let it get past the length, to the JSON
                head, _, body = bytes(data).partition(b"\r\n\r\n")
                data = re.sub(rb"(?<=Content-Length: )\d+", b"%d" % len(body), head) \
                    + b"\r\n\r\n" + body
            got = self.raw_same(bytes(data))
            status = got[9:12].decode()
            statuses[status] = statuses.get(status, 0) + 1
        self.assertGreater(statuses.get("200", 0), 100, statuses)
        self.assertGreater(statuses.get("400", 0), 100, statuses)

    def test_a_client_that_reads_late_holds_up_nobody_and_loses_nothing(self):
        for function in (self.python, self.c):
            one = function.raw(MUCH)
            with function.connect() as late:
                count, rest = stuff(late)
                self.assertGreater(count, 1)
                self.assertEqual(function.post(self.EVENT)[0], 200)
                self.assertTrue(exchange(late, rest, count * len(one)) == one * count)

    def test_an_answer_outlives_what_was_still_being_sent(self):
        request = self.RAW % (b"Content-Length: 4000000\r\n", b"x" * 4000000)
        for function in (self.python, self.c):
            with function.connect() as s:  # and no reset anywhere
                s.sendall(request)
                s.shutdown(socket.SHUT_WR)
                self.assertIn(b"413 Content Too Large", s.recv(65536)[:40])
                self.assertEqual(s.recv(65536), b"")

    def test_more_connections_than_it_takes_wait_their_turn(self):
        for function in (self.python, self.c):
            held = [function.connect() for _ in range(300)]
            try:
                for s in held[:256]:
                    s.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                    self.assertTrue(s.recv(4096).endswith(b"ok\n"))
                late = held[299]
                late.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                for s in held[:60]:
                    s.close()
                self.assertTrue(late.recv(4096).endswith(b"ok\n"))
            finally:
                for s in held:
                    s.close()


class Life(unittest.TestCase):
    def each(self):
        return [(command, Trained.model()) for command in (HANDLER, [STATIC], [CHECKED])]

    def test_it_reports_the_loading_of_its_model(self):
        for command, model in self.each():
            function = Function(command, model)
            function.stop()
            size = os.path.getsize(model)
            self.assertEqual(function.phases, f"model_load begin\nmodel_load end bytes={size}\n")

    def test_weights_that_are_not_weights_are_refused(self):
        with open(Trained.model(), "rb") as f:
            good = f.read()
        for name, data in (("empty", b""), ("short", good[:-1]), ("magic", b"x" + good[1:]),
                           ("version", good[:8] + b"\2" + good[9:]),
                           ("no classes", good[:20] + bytes(4) + good[24:]),
                           ("more classes than columns", good[:20] + b"\xff\xff\0\0" + good[24:]),
                           ("buckets", good[:16] + b"\3\0\0\0" + good[20:]),
                           ("label", good[:64] + b'"' + good[65:])):
            with tempfile.NamedTemporaryFile(prefix="hob-example-") as f:
                f.write(data)
                f.flush()
                for command, _ in self.each():
                    function = Function(command, f.name, check=False)
                    _, errors = function.process.communicate(timeout=DEADLINE_S)
                    function.reserved.close()
                    self.assertEqual(function.process.returncode, 1, (name, command))
                    self.assertTrue(errors.startswith(b"event-classifier: "), (name, errors))

    def test_sigterm_answers_what_has_begun_and_ends(self):
        head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 24\r\n\r\n"
        body = b'{"id":"a","text":"game"}'
        for command, model in self.each():
            function = Function(command, model)
            try:
                # Idle is the last, so that its end tells that draining has looked at all.
                begun, sent, silent, idle = (function.connect() for _ in range(4))
                idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                self.assertTrue(idle.recv(4096).endswith(b"ok\n"))
                begun.sendall(head + body[:10])
                sent.sendall(head + body)
                function.process.send_signal(signal.SIGTERM)
                self.assertEqual(idle.recv(4096), b"")
                silent.sendall(head + body)
                self.assertIn(b"200 OK", silent.recv(65536))
                self.assertIn(b"200 OK", sent.recv(65536))
                self.assertIsNone(function.process.poll())
                begun.sendall(body[10:])
                answer = begun.recv(65536)
                self.assertIn(b"200 OK", answer)
                self.assertIn(b"Connection: close\r\n", answer)
                for s in (idle, begun, sent, silent):
                    s.close()
            finally:
                code, errors = function.stop(0)
            self.assertEqual((code, errors), (0, ""))

    def test_sigterm_lets_a_slow_reader_have_its_answers(self):
        for command, model in self.each():
            function = Function(command, model)
            try:
                one = function.raw(MUCH)
                last = one.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
                with function.connect() as late, function.connect() as idle:
                    stuff(late)
                    idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                    self.assertTrue(idle.recv(4096).endswith(b"ok\n"))
                    function.process.send_signal(signal.SIGTERM)
                    self.assertEqual(idle.recv(4096), b"")  # now it drains
                    got = exchange(late, b"")
                self.assertTrue(got.endswith(last))
                whole = len(got) - len(last)
                self.assertTrue(whole >= len(one) and got[:whole] == one * (whole // len(one)))
            finally:
                code, errors = function.stop(0)
            self.assertEqual((code, errors), (0, ""))

    def test_nothing_under_test_is_dynamically_linked(self):
        with open(STATIC, "rb") as f:
            head = f.read(64)
            kind, at, count = (struct.unpack_from(form, head, where)[0]
                               for form, where in (("<H", 16), ("<Q", 32), ("<H", 56)))
            f.seek(at)
            types = [struct.unpack_from("<I", f.read(56))[0] for _ in range(count)]
        self.assertIn(kind, (2, 3))
        self.assertNotIn(3, types, "PT_INTERP: needs a loader")


if __name__ == "__main__":
    sys.exit(unittest.main())
