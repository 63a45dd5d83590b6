"""gRPC through hob, with grpcio as client and as function."""
import threading
import unittest

import grpc

from harness import WAIT_S, HobCase
from test_http2 import h2c_service

raw = {"request_serializer": None, "response_deserializer": None}


class GRPC(HobCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.hob.apply(h2c_service(cls.hob, "g", "grpc_fn.py", annotations={"max-scale": 1}))
        cls.hob.deploy("h1")

    def channel(self, name="g"):
        channel = grpc.insecure_channel(self.hob.ingress_address,
                                        options=[("grpc.default_authority", self.hob.host(name)),
                                                 ("grpc.enable_retries", 0)])
        self.addCleanup(channel.close)
        return channel

    def one(self, method, message=b"", name="g", timeout=WAIT_S, **more):
        return self.channel(name).unary_unary(f"/t.Echo/{method}", **raw)(message, timeout=timeout, **more)

    def fails(self, *words, **more):
        with self.assertRaises(grpc.RpcError) as caught:
            self.one(*words, **more)
        return caught.exception

    def test_a_unary_call_and_its_metadata(self):
        call = self.channel().unary_unary("/t.Echo/One", **raw)
        answer, told = call.with_call(b"hi" * 50_000, timeout=60)
        self.assertEqual(answer, b"hi" * 50_000)
        head = dict(told.initial_metadata())
        record = self.hob.invocation(head["hob-invocation-id"])
        self.assertEqual((record["service"], record["status"], record["path"]), ("g", 200, "/t.Echo/One"))
        left = int(dict(told.trailing_metadata())["x-left"])
        self.assertTrue(0 < left <= 61_000, left)  # the deadline came along

    def test_the_services_own_timeout_is_a_deadline_where_the_caller_has_none(self):
        _, told = self.channel().unary_unary("/t.Echo/One", **raw).with_call(b"")
        self.assertTrue(0 < int(dict(told.trailing_metadata())["x-left"]) <= 301_000)

    def test_messages_stream_both_ways_one_by_one(self):
        sent, turn = [], threading.Semaphore(1)

        def messages():
            for i in range(10):
                turn.acquire(timeout=WAIT_S)
                sent.append(i)
                yield str(i).encode()

        got = []
        for message in self.channel().stream_stream("/t.Echo/Each", **raw)(messages(), timeout=WAIT_S):
            got.append(int(message))
            self.assertEqual(len(got), len(sent))  # it was here before the next was sent
            turn.release()
        self.assertEqual(got, list(range(10)))

    def test_what_the_function_says_comes_through(self):
        error = self.fails("Fail")
        self.assertEqual((error.code(), error.details()), (grpc.StatusCode.NOT_FOUND, "no such thing"))
        self.assertEqual(self.fails("Nothing").code(), grpc.StatusCode.UNIMPLEMENTED)

    def test_hobs_own_refusals_are_in_grpcs_words(self):
        error = self.fails("One", name="nobody")
        self.assertEqual(error.code(), grpc.StatusCode.UNIMPLEMENTED)
        self.assertIn("no function is served under the host", error.details())
        self.assertEqual(dict(error.trailing_metadata())["hob-problem"], "unknown-host")
        error = self.fails("One", metadata=(("hob-deadline", "soon"),))
        self.assertEqual(error.code(), grpc.StatusCode.INVALID_ARGUMENT)

    def test_a_function_that_dies_is_unavailable(self):
        error = self.fails("One", name="h1", metadata=(("x", "y"),))  # answers gRPC with what is none
        self.assertNotEqual(error.code(), grpc.StatusCode.OK)
        self.hob.deploy("dies")
        error = self.channel("dies").unary_unary("/exit/3", **raw)
        with self.assertRaises(grpc.RpcError) as caught:
            error(b"", timeout=WAIT_S)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)

    def test_a_deadline_passes_here_even_if_nobody_else_looks(self):
        # The client's own clock is kept out: the deadline is hob's header, which grpcio does not know.
        error = self.fails("Slow", b"5000", timeout=None, metadata=(("hob-deadline", "300"),))
        self.assertEqual(error.code(), grpc.StatusCode.DEADLINE_EXCEEDED)

    def test_a_stream_that_ran_out_of_time_is_reset(self):
        call = self.channel().unary_stream("/t.Echo/Stuck", **raw)(b"", metadata=(("hob-deadline", "500"),))
        self.assertEqual(next(call), b"first")
        with self.assertRaises(grpc.RpcError) as caught:
            next(call)
        self.assertIn(caught.exception.code(), (grpc.StatusCode.INTERNAL, grpc.StatusCode.DEADLINE_EXCEEDED))

    def test_a_call_that_is_cancelled_is_cancelled_at_the_function(self):
        before = int(self.one("Count"))
        call = self.channel().unary_stream("/t.Echo/Stuck", **raw)(b"")
        self.assertEqual(next(call), b"first")
        call.cancel()
        self.hob.wait_for("the cancellation", lambda: int(self.one("Count")) > before)

    def test_a_call_may_wait_for_a_cold_start(self):
        self.hob.apply(h2c_service(self.hob, "cold", "grpc_fn.py", annotations={"initial-scale": 0}), wait=True)
        self.assertEqual(self.hob.instances("cold"), [])
        self.assertEqual(self.one("One", b"x", name="cold"), b"x")


if __name__ == "__main__":
    unittest.main()
