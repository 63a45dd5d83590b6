"""HTTP/2 in the data plane: clients and functions of either version in all four pairs, with curl, python3-h2
and h2load as peers; one connection per instance; what happens when either side goes away; floods."""
import json
import os
import shutil
import socket
import subprocess
import threading
import unittest

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions

from harness import ROOT, WAIT_S, HobCase, service, split_address, together

SYSTEM_PYTHON = "/usr/bin/python3"


def h2c_service(hob, name, file, **spec):
    """A service whose port speaks HTTP/2, with a function of test/fn."""
    with open(os.path.join(ROOT, "test", "fn", file), "rb") as f:
        image = hob.bundle({"fn.py": f.read()})
    tree = service(name, image, [SYSTEM_PYTHON, "/app/fn.py"], **spec)
    tree["spec"]["template"]["spec"]["containers"][0]["ports"] = [{"name": "h2c", "containerPort": 8080}]
    return tree


class Client:
    """One HTTP/2 connection of the test's own."""

    def __init__(self, address):
        self.s = socket.create_connection(split_address(address), timeout=WAIT_S)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.answers, self.goaway, self.ended = {}, None, False
        self.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.s.close()

    def flush(self):
        self.s.sendall(self.h2.data_to_send())

    def ask(self, host, path="/", method="GET", body=None, end=True, **fields):
        ident = self.h2.get_next_available_stream_id()
        self.answers[ident] = {"headers": None, "body": b"", "trailers": None, "over": False, "reset": None}
        self.h2.send_headers(ident, [(":method", method), (":scheme", "http"), (":authority", host), (":path", path),
                                     *((k.replace("_", "-"), v) for k, v in fields.items())],
                             end_stream=end and body is None)
        if body is not None:
            self.h2.send_data(ident, body, end_stream=end)
        self.flush()
        return ident

    def more(self):
        try:
            data = self.s.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            self.ended = True
            return
        for event in self.h2.receive_data(data):
            answer = self.answers.get(getattr(event, "stream_id", None))
            if isinstance(event, h2.events.ResponseReceived):
                answer["headers"] = dict(event.headers)
            elif isinstance(event, h2.events.DataReceived):
                answer["body"] += event.data
                if answer.get("reads", True):
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.TrailersReceived):
                answer["trailers"] = dict(event.headers)
            elif isinstance(event, h2.events.StreamEnded):
                answer["over"] = True
            elif isinstance(event, h2.events.StreamReset) and answer:
                answer["over"], answer["reset"] = True, event.error_code
            elif isinstance(event, h2.events.ConnectionTerminated):
                self.goaway = (event.error_code, event.additional_data)
        self.flush()

    def until(self, met):
        while not met() and not self.ended:
            self.more()
        return met()

    def answer(self, ident):
        answer = self.answers[ident]
        self.until(lambda: answer["over"])
        return answer

    def get(self, host, path="/", **more):
        return self.answer(self.ask(host, path, **more))


class HTTP2(HobCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.hob.apply(h2c_service(cls.hob, "h2", "h2_fn.py"))
        cls.hob.deploy("h1")

    def client(self):
        client = Client(self.hob.ingress_address)
        self.addCleanup(client.s.close)
        return client

    def seen(self, name="h2"):
        return self.hob.tree(name, "/seen")

    def fresh(self, name, **spec):
        self.hob.apply(h2c_service(self.hob, name, "h2_fn.py", annotations={"max-scale": 1}, **spec))
        self.addCleanup(self.hob.delete, name)
        return self.hob.host(name)

    # the four pairs

    def curl(self, *words):
        return subprocess.run(["curl", "-sS", "--max-time", str(WAIT_S), *words], capture_output=True, timeout=WAIT_S + 5)

    def test_either_client_gets_the_bytes_back_from_either_function(self):
        path = os.path.join(self.hob.folder, "body")
        body = os.urandom(700_001)
        with open(path, "wb") as f:
            f.write(body)
        for version in ("--http2-prior-knowledge", "--http1.1"):
            for name in ("h1", "h2"):
                for length in ([], ["-H", "Transfer-Encoding: chunked"]) if version == "--http1.1" else ([],):
                    with self.subTest(version=version, function=name, length=length):
                        got = self.curl(version, *length, "-H", f"Host: {self.hob.host(name)}", "-H", "Expect:",
                                        "--data-binary", f"@{path}", f"http://{self.hob.ingress_address}/echo")
                        self.assertEqual(got.returncode, 0, got.stderr)
                        self.assertTrue(got.stdout == body, f"{len(got.stdout)} bytes came back")

    def test_every_stream_is_an_invocation_with_its_own_evidence(self):
        client = self.client()
        idents = [client.ask(self.hob.host(name), path) for name, path in
                  (("h2", "/seen"), ("h1", "/"), ("h2", "/seen"))]
        answers = [client.answer(i) for i in idents]
        self.assertEqual([a["headers"][":status"] for a in answers], ["200"] * 3)
        ids = {a["headers"]["hob-invocation-id"] for a in answers}
        self.assertEqual(len(ids), 3)
        for a in answers:
            self.assertIn("handler;dur=", a["headers"]["server-timing"])
        record = self.hob.invocation(answers[0]["headers"]["hob-invocation-id"])
        self.assertEqual((record["service"], record["status"], record["outcome"]), ("h2", 200, "ok"))
        came = dict(json.loads(answers[0]["body"])["headers"])
        self.assertEqual((came[":authority"], came["te"]), (self.hob.host("h2"), "trailers"))
        self.assertEqual(came["hob-invocation-id"], answers[0]["headers"]["hob-invocation-id"])
        self.assertIn("for=127.0.0.1", came["forwarded"])

    def test_trailers_go_both_ways(self):
        client = self.client()
        ident = client.ask(self.hob.host("h2"), "/echo", "POST", b"12345", end=False)
        client.h2.send_headers(ident, [("x-sent", "yes")], end_stream=True)
        client.flush()
        answer = client.answer(ident)
        self.assertEqual((answer["body"], answer["trailers"]), (b"12345", {"x-size": "5", "x-sent": "yes"}))

    def test_both_directions_flow_at_once(self):
        client = self.client()
        ident = client.ask(self.hob.host("h2"), "/echo", "POST", end=False)
        for i in range(5):
            piece = f"piece {i};".encode()
            client.h2.send_data(ident, piece)
            client.flush()
            self.assertTrue(client.until(lambda: client.answers[ident]["body"].endswith(piece)))
        client.h2.end_stream(ident)
        client.flush()
        self.assertEqual(client.answer(ident)["trailers"]["x-size"], str(5 * len(piece)))

    def test_refusals_are_the_same_as_on_the_other_version(self):
        client = self.client()
        answer = client.get(self.hob.host("nobody"))
        self.assertEqual(answer["headers"][":status"], "404")
        self.problem((404, {"Content-Type": answer["headers"]["content-type"],
                            "Hob-Invocation-Id": answer["headers"]["hob-invocation-id"]}, answer["body"]),
                     404, "unknown-host")
        answer = client.get(self.hob.host("h2"), hob_deadline="0")
        self.assertEqual((answer["headers"][":status"], json.loads(answer["body"])["type"]),
                         ("504", "urn:hob:problem:deadline"))
        self.assertEqual(client.get(self.hob.host("h1"))["headers"][":status"], "200")  # the connection goes on

    # time and leaving

    def test_a_stream_that_ran_out_of_time_is_reset_and_nothing_is_appended(self):
        client = self.client()
        answer = client.get(self.hob.host("h2"), "/half", hob_deadline="300")
        self.assertEqual(answer["body"], b"half")
        self.assertIsNotNone(answer["reset"])
        late = client.get(self.hob.host("h2"), "/hang", hob_deadline="300")
        self.assertEqual(late["headers"][":status"], "504")

    def test_a_stream_the_client_resets_is_cancelled_at_the_function(self):
        host, client = self.fresh("cancel"), self.client()
        ident = client.ask(host, "/hang")
        self.hob.wait_for("the call", lambda: self.seen("cancel")["running"] == 2)
        client.h2.reset_stream(ident, h2.errors.ErrorCodes.CANCEL)
        client.flush()
        self.hob.wait_for("its end", lambda: self.seen("cancel")["cancelled"] == 1)
        self.assertEqual(client.get(host, "/seen")["headers"][":status"], "200")

    def test_a_client_that_hangs_up_takes_all_its_streams_along(self):
        host = self.fresh("hangup")
        with Client(self.hob.ingress_address) as client:
            for _ in range(5):
                client.ask(host, "/hang")
            self.hob.wait_for("the calls", lambda: self.seen("hangup")["running"] == 6)
        self.hob.wait_for("their ends", lambda: self.seen("hangup")["cancelled"] == 5)

    # the function's side

    def test_one_connection_carries_all_requests_of_an_instance(self):
        self.fresh("mux")
        before = self.seen("mux")["connections"]
        together(20, lambda _: self.hob.ingress("mux", path="/wait/200"))
        after = self.seen("mux")
        self.assertEqual(after["connections"], before)
        self.assertGreaterEqual(after["most"], 10)

    def test_a_function_that_takes_few_streams_gets_few_and_all_are_answered(self):
        self.fresh("few", env={"MAX_STREAMS": "3"})
        self.seen("few")
        answers = together(12, lambda _: self.hob.ingress("few", path="/wait/50"))
        self.assertEqual({a[0] for a in answers}, {200})
        self.assertLessEqual(self.seen("few")["most"], 3)

    def test_what_the_function_refused_is_sent_once_more_and_what_it_began_is_not(self):
        self.fresh("again")
        status, _, body = self.hob.ingress("again", "POST", "/refuse", b"not idempotent")
        self.assertEqual((status, body), (200, b"taken"))
        self.assertEqual(self.seen("again")["refused"], 2)
        self.problem(self.hob.ingress("again", "POST", "/drop", b"x"), 502, "instance-died")
        self.assertEqual(self.seen("again")["dropped"], 1)

    def test_requests_after_a_goaway_go_over_a_new_connection(self):
        self.fresh("away")
        for _ in range(3):
            before = self.seen("away")["connections"]
            self.hob.ingress("away", path="/goaway")
            after = self.seen("away")
            self.assertGreater(after["connections"], before)

    def test_an_answer_the_function_cuts_is_cut_for_the_client(self):
        client = self.client()
        answer = client.get(self.hob.host("h2"), "/reset")
        self.assertEqual(answer["headers"][":status"], "200")
        self.assertIsNotNone(answer["reset"])
        with self.hob.wire() as wire:  # HTTP/1.1: no last chunk
            wire.send(f"GET /reset HTTP/1.1\r\nHost: {self.hob.host('h2')}\r\n\r\n")
            wire.head()
            self.assertRaises((EOFError, ConnectionResetError), lambda: [wire.chunk(), wire.chunk()])

    def test_a_function_that_floods_is_cut_off_and_others_are_not(self):
        self.fresh("flooder")
        before = self.hob.metric("hob_limit_reached_total", limit="h2_controls_max") or 0
        self.assertEqual(self.hob.ingress("flooder", "POST", "/flood")[0], 502)
        self.assertGreater(self.hob.metric("hob_limit_reached_total", limit="h2_controls_max"), before)
        self.assertEqual(self.hob.ingress("h2", path="/seen")[0], 200)

    # many

    @unittest.skipUnless(shutil.which("h2load"), "h2load (nghttp2-client) is missing")
    def test_h2load_gets_every_answer(self):
        got = subprocess.run(["h2load", "-n2000", "-c4", "-m20", "-t1", f"--header=:authority: {self.hob.host('h1')}",
                              f"http://{self.hob.ingress_address}/"], capture_output=True, text=True, timeout=120)
        self.assertIn("2000 succeeded, 0 failed, 0 errored, 0 timeout", got.stdout, got.stdout + got.stderr)

    # abuse

    def flood(self, frames, limit):
        before = self.hob.metric("hob_limit_reached_total", limit=limit) or 0
        client = self.client()
        client.ask(self.hob.host("h1"))
        try:
            for data in frames(client):
                client.s.sendall(data)
        except OSError:
            pass  # it may be closed while we still write
        client.s.settimeout(WAIT_S)
        while not client.ended and not client.goaway:
            try:
                client.more()
            except (h2.exceptions.ProtocolError, KeyError, OSError):
                client.ended = True
        self.assertGreater(self.hob.metric("hob_limit_reached_total", limit=limit) or 0, before)
        if client.goaway:
            self.assertEqual(client.goaway, (h2.errors.ErrorCodes.ENHANCE_YOUR_CALM, limit.encode()))
        self.assertEqual(self.hob.ingress("h1")[0], 200)

    def test_rapid_reset_is_ended_with_the_limits_name(self):
        def frames(client):
            for _ in range(400):
                ident = client.ask(self.hob.host("h1"), "/")
                client.h2.reset_stream(ident, h2.errors.ErrorCodes.CANCEL)
                yield client.h2.data_to_send()
        self.flood(frames, "h2_resets_max")

    def test_a_ping_flood_is_ended_with_the_limits_name(self):
        def frames(_):
            yield b"".join(b"\0\0\x08\x06\0\0\0\0\0" + i.to_bytes(8, "big") for i in range(100))
        self.flood(frames, "h2_controls_max")

    def test_a_settings_flood_is_ended_with_the_limits_name(self):
        def frames(_):
            yield b"\0\0\0\x04\0\0\0\0\0" * 100
        self.flood(frames, "h2_controls_max")

    def test_a_continuation_flood_is_ended_with_the_limits_name(self):
        def frames(_):
            yield b"\0\0\x01\x01\x01\0\0\0\x03\x82" + b"\0\0\x01\x09\0\0\0\0\x03\x84" * 50
        self.flood(frames, "h2_continuations_max")

    def test_a_header_bomb_is_ended_with_the_limits_name(self):
        def frames(_):
            block = b"\x82\x84\x86\x40\x01x\x7f\x81\x01" + b"v" * 256 + b"\xbe" * 2000
            yield len(block).to_bytes(3, "big") + b"\x01\x05\0\0\0\x03" + block
        self.flood(frames, "h2_head_list_bytes_max")


class Slow(HobCase):
    LIMITS = {"http_head_ms": 300, "http_idle_ms": 400, "http_body_rate_bytes_s": 65536}

    def test_who_is_slow_with_a_head_or_has_nothing_to_ask_is_let_go(self):
        hob = self.hob
        with socket.create_connection(split_address(hob.ingress_address), timeout=WAIT_S) as s:
            s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0" + b"\0\0\x01\x01\0\0\0\0\x01\x82")
            while s.recv(65536):
                pass
        self.assertGreater(hob.metric("hob_limit_reached_total", limit="http_head_ms"), 0)
        with Client(hob.ingress_address) as client:
            client.until(lambda: client.ended)
            self.assertEqual(client.goaway[0], h2.errors.ErrorCodes.NO_ERROR)
        self.assertGreater(hob.metric("hob_limit_reached_total", limit="http_idle_ms"), 0)

    def test_a_window_of_one_byte_does_not_hold_an_answer_for_ever(self):
        hob = self.hob
        hob.deploy("h1")
        with Client(hob.ingress_address) as client:
            client.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 1})
            client.flush()
            ident = client.ask(hob.host("h1"), "/echo", "POST", b"x" * 16_000)
            client.answers[ident]["reads"] = False
            answer = client.answer(ident)
            self.assertIsNotNone(answer["reset"])
            self.assertEqual(answer["body"], b"x")
        self.assertGreater(hob.metric("hob_limit_reached_total", limit="http_body_rate_bytes_s"), 0)


if __name__ == "__main__":
    unittest.main()
