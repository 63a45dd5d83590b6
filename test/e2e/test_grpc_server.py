"""hob's gRPC server, spoken to by the gRPC library itself (grpcio), over real connections."""
import os
import queue
import subprocess
import threading
import unittest

try:
    import grpc
except ImportError:
    grpc = None

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("HOB_BUILD") or os.path.join(ROOT, "build-test")
PATIENCE_S = 60


class Echo:
    def __init__(self):
        self.process = subprocess.Popen([os.path.join(BUILD, "test", "grpc_echo")], stdout=subprocess.PIPE, text=True)
        self.lines = queue.Queue()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        self.port = int(self.line().split()[1])

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.strip())

    def line(self):
        return self.lines.get(timeout=PATIENCE_S)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stdout.close()


@unittest.skipUnless(grpc, "python3-grpcio is not installed")
class GrpcServer(unittest.TestCase):
    def setUp(self):
        self.echo = Echo()
        self.addCleanup(self.echo.close)
        self.channel = self.connect()

    def connect(self, **options):
        channel = grpc.insecure_channel(f"127.0.0.1:{self.echo.port}", options=list(
            {"grpc.max_receive_message_length": 128 << 20, "grpc.max_send_message_length": 128 << 20,
             "grpc.use_local_subchannel_pool": 1, **options}.items()))
        self.addCleanup(channel.close)
        return channel

    def call(self, method, message, channel=None, **how):
        return (channel or self.channel).unary_unary(f"/t.T/{method}")(message, timeout=how.pop("timeout", PATIENCE_S), **how)

    def start(self, method, message=b"", channel=None, **how):
        return (channel or self.channel).unary_unary(f"/t.T/{method}").future(message, **how)

    def refused(self, *args, **how):
        with self.assertRaises(grpc.RpcError) as caught:
            self.call(*args, **how)
        return caught.exception

    def test_messages_of_all_sizes_come_back(self):
        for size in (0, 1, 16379, 65531, 262139, 262144, 1 << 20, 4 << 20):
            with self.subTest(size):
                message = os.urandom(size)
                self.assertEqual(message, self.call("Echo", message))
        self.assertEqual(b"x" * (40 << 20), self.call("Large", str(40 << 20).encode()))

    def test_packed_requests_are_unpacked(self):
        for size in (1, 1000, 4 << 20):
            message = b"abc" * (size // 3) + b"d"
            self.assertEqual(message[:4 << 20], self.call("Echo", message[:4 << 20], compression=grpc.Compression.Gzip))
        e = self.refused("Echo", b"x", compression=grpc.Compression.Deflate)
        self.assertEqual(grpc.StatusCode.UNIMPLEMENTED, e.code())

    def test_a_message_that_is_too_large_is_refused_in_known_words(self):
        for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
            e = self.refused("Echo", b"\0" * (4 << 20) + b"x", compression=compression)
            self.assertEqual(grpc.StatusCode.RESOURCE_EXHAUSTED, e.code())
            self.assertIn("grpc: received message larger than max", e.details())

    def test_a_refusal_has_its_text_and_details(self):
        e = self.refused("Refuse", b"\x08\x05\x12\x00")
        self.assertEqual(grpc.StatusCode.NOT_FOUND, e.code())
        self.assertEqual("no such thing: 100% grüß", e.details())
        self.assertIn(("grpc-status-details-bin", b"\x08\x05\x12\x00"), [tuple(m) for m in e.trailing_metadata()])
        self.assertEqual(grpc.StatusCode.UNIMPLEMENTED, self.refused("Other", b"").code())

    def test_a_stream_of_messages_is_unimplemented(self):
        call = self.channel.stream_unary("/t.T/Echo")
        with self.assertRaises(grpc.RpcError) as caught:
            call(iter([b"a", b"b"]), timeout=PATIENCE_S)
        self.assertEqual(grpc.StatusCode.UNIMPLEMENTED, caught.exception.code())

    def test_a_deadline_and_a_cancel_end_a_call_that_waits(self):
        self.call("Echo", b"")  # connected
        e = self.refused("Hold", b"", timeout=5, metadata=[("client-name", "temporal-test")])
        self.assertEqual(grpc.StatusCode.DEADLINE_EXCEEDED, e.code())
        self.assertEqual("held 1 timed temporal-test", self.echo.line())
        self.assertEqual("cancelled, 0 left", self.echo.line())
        call = self.start("Hold")
        self.assertEqual("held 1 untimed -", self.echo.line())
        call.cancel()
        self.assertEqual("cancelled, 0 left", self.echo.line())
        other = self.connect()
        waits = self.start("Hold", channel=other)  # one that nobody refers to is cancelled by the library
        self.assertEqual("held 1 untimed -", self.echo.line())
        other.close()
        self.assertTrue(waits.cancelled() or waits.exception(PATIENCE_S))
        self.assertEqual("cancelled, 0 left", self.echo.line())

    def test_hundreds_of_calls_wait_on_one_connection_and_the_server_stops_when_they_are_answered(self):
        calls = [self.start("Hold", timeout=PATIENCE_S) for _ in range(300)]
        for i in range(300):
            self.assertEqual(f"held {i + 1} timed -", self.echo.line())
        self.assertEqual(b"meanwhile", self.call("Echo", b"meanwhile"))
        self.echo.process.terminate()
        self.assertEqual([b"shut"] * 300, [c.result(timeout=PATIENCE_S) for c in calls])
        self.assertEqual("stopped", self.echo.line())
        self.assertEqual(0, self.echo.process.wait(PATIENCE_S))

    def test_keep_alive_pings_are_welcome(self):
        channel = self.connect(**{"grpc.keepalive_time_ms": 1000, "grpc.keepalive_timeout_ms": 20000,
                                  "grpc.keepalive_permit_without_calls": 1, "grpc.http2.max_pings_without_data": 0})
        call = self.start("Hold", channel=channel)
        self.assertEqual("held 1 untimed -", self.echo.line())
        with self.assertRaises(grpc.FutureTimeoutError):
            call.result(timeout=4)  # so long nothing happens
        self.assertEqual(b"still here", self.call("Echo", b"still here", channel=channel))
        call.cancel()
        self.assertEqual("cancelled, 0 left", self.echo.line())
        self.assertTrue(self.echo.lines.empty())


if __name__ == "__main__":
    unittest.main()
