"""Downloads end to end: the artifact room and its real fetcher process against a local origin that cuts,
lies, stalls, refuses and counts what it gave. ARTIFACT_DRIVER names the driver (test/e2e/artifact_driver.c).

Nothing sleeps for luck: the driver runs to its end, or is killed after a random number of bytes.
"""

import ctypes
import fcntl
import hashlib
import http.server
import json
import os
import random
import shutil
import signal
import socket
import socketserver
import ssl
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

DRIVER = os.environ["ARTIFACT_DRIVER"]
RUN_S = 60
SEED = int(os.environ.get("SEED", "1"))
KILLS = int(os.environ.get("KILLS", "40"))


class Origin(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """Serves self.files; self.behave(request number, path) may say how to misbehave."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host="127.0.0.1", port=0):
        self.host = f"[{host}]" if ":" in host else host
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), Handler)
        self.files, self.requests, self.sent, self.lock = {}, [], 0, threading.Lock()
        self.connections = 0
        self.behave = lambda n, path: {}
        self.release = threading.Event()  # ends every stall
        self.thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def get_request(self):
        self.connections += 1
        return super().get_request()

    def handle_error(self, request, address):
        pass  # a client that was killed is what these tests are about

    def close(self):
        self.release.set()
        self.shutdown()
        self.server_close()

    def url(self, path, digest=None):
        if digest is None:
            digest = hashlib.sha256(self.files[path]).hexdigest()
        return f"http://{self.host}:{self.server_port}{path}@sha256:{digest}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def count(self, data):
        self.wfile.write(data)
        with self.server.lock:
            self.server.sent += len(data)

    def do_GET(self):
        server = self.server
        with server.lock:
            n = len(server.requests)
            server.requests.append((self.path, dict(self.headers)))
        b = server.behave(n, self.path)
        data = server.files.get(self.path)
        self.close_connection = b.get("close", True)
        if "raw" in b:
            self.wfile.write(b["raw"])
            return
        if b.get("stall_before"):
            server.release.wait(RUN_S)
            return
        if "location" in b:
            self.send_response(302)
            self.send_header("Location", b["location"])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if "status" in b or data is None:
            self.send_response(b.get("status", 404))
            for name, value in b.get("headers", {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", "4")
            self.end_headers()
            self.count(b"sry\n")
            return
        self.body(b, data)

    def body(self, b, data):
        start, wanted = 0, self.headers.get("Range")
        etag = b.get("etag", '"v1"')
        if wanted and not b.get("ignore_range") and self.headers.get("If-Range", etag) == etag:
            start = int(wanted.split("=")[1].split("-")[0])
        if start > 0:
            claim = start + b.get("lie", 0)
            self.send_response(206)
            self.send_header("Content-Range", b.get("range", f"bytes {claim}-{len(data) - 1}/{len(data)}"))
        else:
            self.send_response(200)
        if etag:
            self.send_header("ETag", etag)
        for name, value in b.get("headers", {}).items():
            self.send_header(name, value)
        if b.get("size", "said") == "said":
            self.send_header("Content-Length", str(len(data) - start + b.get("more", 0)))
        self.end_headers()
        end = min(len(data), start + b.get("cut", len(data)))
        for at in range(start, end, 65536):
            self.count(data[at:min(end, at + 65536)])
        if b.get("stall"):
            self.wfile.flush()
            self.server.release.wait(RUN_S)


CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
PUBLIC, INSIDE, LINK_LOCAL = "11.22.33.44", "10.11.12.13", "169.254.169.254"
CLONE_NEWNS, CLONE_NEWNET, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 0x40000000, 4096, 16384, 1 << 18
SIOCSIFADDR, SIOCSIFFLAGS, IFF_UP = 0x8916, 0x8914, 1


class InNetwork:
    """A network of its own for one thread and the threads and processes it makes: the loopback device has the
    addresses above, so a "public" host can be had here. Names resolve by a private /etc/hosts; files: others
    that lie over the host's."""

    def __init__(self, names, files=None):
        self.names, self.files, self.error = names, files or {}, None
        self.libc = ctypes.CDLL(None, use_errno=True)

    def __enter__(self):
        self.hosts = tempfile.NamedTemporaryFile("w", prefix="hob-hosts-")
        self.hosts.write("".join(f"{address} {name}\n" for name, address in self.names.items()))
        self.hosts.flush()
        os.chmod(self.hosts.name, 0o644)
        return self

    def __exit__(self, *_):
        self.hosts.close()

    def check(self, result, what):
        if result != 0:
            raise OSError(ctypes.get_errno(), what)

    def set_up(self):
        self.check(self.libc.unshare(CLONE_NEWNS | CLONE_NEWNET), "unshare")
        self.check(self.libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "private mounts")
        for over, path in {"/etc/hosts": self.hosts.name, **self.files}.items():
            self.check(self.libc.mount(path.encode(), over.encode(), None, MS_BIND, None), over)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))
            for i, address in enumerate((PUBLIC, INSIDE, LINK_LOCAL)):
                fcntl.ioctl(s, SIOCSIFADDR, struct.pack("16sHH4s8x", f"lo:{i}".encode(), socket.AF_INET, 0,
                                                        socket.inet_aton(address)))

    def run(self, what):
        def inside():
            try:
                self.set_up()
                what()
            except BaseException as e:  # noqa: B902 -- raised below, in the test's own thread
                self.error = e
        thread = threading.Thread(target=inside)
        thread.start()
        thread.join()
        if self.error:
            raise self.error


class Artifact(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="hob-artifact-")
        self.store = os.path.join(self.dir, "store")
        self.origin = Origin()

    def tearDown(self):
        self.origin.close()
        subprocess.run(["chmod", "-R", "u+w", self.dir], check=True)
        shutil.rmtree(self.dir)

    def put(self, size, seed=1, path="/m.bin"):
        self.origin.files[path] = random.Random(seed).randbytes(size)
        return self.origin.url(path)

    def start(self, *args, env=None, **options):
        return subprocess.Popen([DRIVER, self.store, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True, env={**os.environ, **(env or {})}, **options)

    def drive(self, *args, env=None, **options):
        """Runs the driver to its end: (events, exit code)."""
        with self.start(*args, env=env, **options) as p:
            try:
                out, err = p.communicate(timeout=RUN_S)
            except subprocess.TimeoutExpired:
                p.kill()
                out, err = p.communicate()
                self.fail(f"the driver hangs: {out} {err}")
        self.assertIn(p.returncode, (0, 1), err)
        self.assertEqual("", err)
        return [json.loads(line) for line in out.splitlines()], p.returncode

    def one(self, events, name):
        found = [e for e in events if e["event"] == name]
        self.assertEqual(1, len(found), events)
        return found[0]

    def blob(self, url):
        return os.path.join(self.store, "blobs/sha256", url.rsplit(":", 1)[1])

    def assert_stored(self, url, path="/m.bin"):
        with open(self.blob(url), "rb") as f:
            self.assertTrue(self.origin.files[path] == f.read(), "stored bytes differ")
        self.assertEqual(0o444, stat.S_IMODE(os.stat(self.blob(url)).st_mode))

    def assert_nothing_left(self):
        self.assertEqual([], os.listdir(os.path.join(self.store, "ingest")))
        self.assertEqual([], os.listdir(os.path.join(self.store, "blobs/sha256")))

    def fails(self, url, *args, **options):
        events, code = self.drive(*args, url, **options)
        self.assertEqual(1, code)
        failed = self.one(events, "failed")
        self.assertFalse(os.path.exists(self.blob(url)))
        return failed, self.one(events, "totals")

    # ---- the ordinary way ----

    def test_64_uses_cost_the_origin_one_file(self):
        url = self.put(20_000_000)
        events, code = self.drive("--uses", "64", url)
        self.assertEqual((0, 64), (code, sum(e["event"] == "verified" for e in events)))
        self.assertEqual((20_000_000, 1), (self.origin.sent, len(self.origin.requests)))
        self.assert_stored(url)
        headers = self.origin.requests[0][1]
        self.assertEqual("identity", headers["Accept-Encoding"])
        self.assertTrue(headers["User-Agent"].startswith("hob/"))
        self.assertFalse({"Authorization", "Cookie", "Range"} & set(headers))

    def test_an_empty_file_and_one_of_unknown_size(self):
        for path, size, behave in (("/empty", 0, {}), ("/chunks", 3_000_000, {"size": "unsaid"})):
            url = self.put(size, path=path)
            self.origin.behave = lambda n, p, b=behave: b
            _, code = self.drive(url)
            self.assertEqual(0, code, path)
            self.assert_stored(url, path)

    def test_names_are_resolved_inside_the_box(self):
        """By a thread, from /etc/hosts. (curl knows `localhost` without asking: it proves nothing.)"""
        url = self.put(1000)
        with open("/etc/hosts", encoding="utf-8") as f:
            lines = [line.split("#")[0].split() for line in f]
        names = [name for line in lines if line and line[0] in ("127.0.0.1", "::1") for name in line[1:]
                 if not name.endswith("localhost")]
        if not names:
            self.skipTest("/etc/hosts has no other name for this machine")
        host = socket.getaddrinfo(names[0], None, type=socket.SOCK_STREAM)[0][4][0]
        if host != "127.0.0.1":
            self.origin.close()
            data, self.origin = self.origin.files, Origin(host)
            self.origin.files = data
        _, code = self.drive(self.origin.url("/m.bin").replace(f"[{host}]", names[0]).replace(host, names[0]))
        self.assertEqual(0, code)
        self.assert_stored(url)

    def test_a_second_run_asks_nobody(self):
        url = self.put(5_000_000)
        self.drive(url)
        self.origin.close()
        events, code = self.drive(url)
        self.assertEqual(0, code)
        verified = self.one(events, "verified")
        self.assertTrue(verified["was_present"])
        self.assertEqual(5_000_000, verified["verified"])

    # ---- cut, and resumed ----

    def test_a_cut_is_resumed_with_range_and_if_range(self):
        url = self.put(9_000_000)
        self.origin.behave = lambda n, p: {"cut": 4_000_000} if n == 0 else {}
        events, code = self.drive(url)
        self.assertEqual(0, code, events)
        self.assert_stored(url)
        self.assertEqual(2, len(self.origin.requests))
        second = self.origin.requests[1][1]
        begin = int(second["Range"][len("bytes="):-1])
        self.assertTrue(0 < begin <= 4_000_000)
        self.assertEqual('"v1"', second["If-Range"])
        self.assertEqual(9_000_000, self.one(events, "totals")["origin_bytes"])
        self.assertEqual(1, self.one(events, "totals")["resumes"])

    def test_without_a_strong_validator_the_digest_guards_the_pieces(self):
        url = self.put(3_000_000)
        self.origin.behave = lambda n, p: {"cut": 1_000_000 if n == 0 else 3_000_000, "etag": 'W/"v1"'}
        _, code = self.drive(url)
        self.assertEqual(0, code)
        self.assertNotIn("If-Range", self.origin.requests[1][1])
        self.assertIn("Range", self.origin.requests[1][1])
        self.assert_stored(url)

    def test_an_origin_that_ignores_ranges_begins_again(self):
        url = self.put(3_000_000)
        self.origin.behave = lambda n, p: {"cut": 1_000_000} if n == 0 else {"ignore_range": True}
        _, code = self.drive(url)
        self.assertEqual(0, code)
        self.assert_stored(url)

    def test_a_lie_about_the_range_is_refused(self):
        for lie in ({"lie": -1}, {"lie": 1}, {"range": "bytes */3000000"}, {"range": "lines 1-2/3"}):
            url = self.put(3_000_000)
            self.origin.requests.clear()
            self.origin.behave = lambda n, p, b=lie: {"cut": 1_000_000} if n == 0 else b
            failed, _ = self.fails(url)
            self.assertFalse(failed["retryable"])
            self.assertEqual(2, len(self.origin.requests))
            self.assert_nothing_left()

    def test_a_stalled_origin_is_cut_and_resumed(self):
        url = self.put(3_000_000)
        self.origin.behave = lambda n, p: {"cut": 1_000_000, "stall": True} if n == 0 else {}
        _, code = self.drive(url, env={"DRIVER_STALL_MS": "1000"})
        self.assertEqual(0, code)
        self.assertEqual("bytes=1000000-", self.origin.requests[1][1]["Range"])
        self.assert_stored(url)

    def test_a_killed_fetcher_costs_a_resume_and_nothing_else(self):
        url = self.put(30_000_000)
        self.origin.behave = lambda n, p: {"cut": 20_000_000, "stall": True} if n == 0 else {}
        events, code = self.drive("--restart-fetcher", url)
        self.assertEqual((0, 2), (code, sum(e["event"] == "fetcher" for e in events)))
        self.assertIn("Range", self.origin.requests[1][1])
        self.assert_stored(url)

    # ---- refused ----

    def test_errors_of_the_origin(self):
        for status, retryable, asked in ((404, False, 1), (403, False, 1), (410, False, 1), (500, True, 3),
                                         (503, True, 3), (429, True, 3)):
            url = self.put(1000)
            self.origin.requests.clear()
            self.origin.behave = lambda n, p, s=status: {"status": s}
            failed, totals = self.fails(url, "--limit", "fetch_attempts_max=3")
            self.assertEqual((retryable, asked), (failed["retryable"], len(self.origin.requests)), status)
            self.assertIn(str(status), failed["error"])
            self.assertEqual(0, totals["origin_bytes"])
            self.assert_nothing_left()

    def test_retry_after_is_honoured(self):
        url = self.put(1000)
        times = []

        def behave(n, path):
            times.append(time.monotonic())
            return {"status": 503, "headers": {"Retry-After": "1"}} if n == 0 else {}

        self.origin.behave = behave
        _, code = self.drive(url)
        self.assertEqual(0, code)
        self.assertGreaterEqual(times[1] - times[0], 1.0)  # a lower bound: never early

    def test_a_dead_origin_is_retryable_and_says_so(self):
        url = self.put(1000)
        self.origin.close()
        failed, _ = self.fails(url, "--limit", "fetch_attempts_max=2")
        self.assertTrue(failed["retryable"])
        self.assertIn("2 times", failed["error"])

    def test_a_wrong_file_is_removed_and_named(self):
        self.put(2_000_000)
        wrong = "0" * 64
        failed, _ = self.fails(self.origin.url("/m.bin", wrong))
        self.assertFalse(failed["retryable"])
        self.assertIn(wrong, failed["error"])
        self.assertIn(hashlib.sha256(self.origin.files["/m.bin"]).hexdigest(), failed["error"])
        self.assertIn("2000000", failed["error"])
        self.assert_nothing_left()

    def test_bodies_that_are_not_the_file(self):
        for answer in ({"headers": {"Content-Encoding": "gzip"}}, {"raw": b"<html>no protocol at all</html>"},
                       {"raw": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"}):
            url = self.put(2000)
            self.origin.behave = lambda n, p, b=answer: b
            self.fails(url, "--limit", "fetch_attempts_max=2")
            self.assertEqual([], os.listdir(os.path.join(self.store, "blobs/sha256")))

    # ---- redirects ----

    def test_redirects_are_followed_counted_and_bounded(self):
        url = self.put(1000)
        other = Origin()
        try:
            other.files = self.origin.files
            elsewhere = f"http://127.0.0.1:{other.server_port}/m.bin"
            self.origin.behave = lambda n, p: {"location": elsewhere}
            _, code = self.drive(url)
            self.assertEqual((0, 1), (code, len(other.requests)))
        finally:
            other.close()
        shutil.rmtree(self.store)
        self.origin.requests.clear()
        self.origin.behave = lambda n, p: {"location": f"/again{n}"}
        failed, _ = self.fails(url, env={"DRIVER_REDIRECTS": "3"})
        self.assertFalse(failed["retryable"])
        self.assertEqual(4, len(self.origin.requests))

    def test_a_redirect_to_another_protocol_is_refused(self):
        secret = os.path.join(self.dir, "secret")
        data = b"x" * 1000
        with open(secret, "wb") as f:
            f.write(data)
        self.origin.files["/m.bin"] = data
        for target in (f"file://{secret}", f"ftp://127.0.0.1:{self.origin.server_port}/m.bin",
                       f"gopher://127.0.0.1:{self.origin.server_port}/_x", f"dict://127.0.0.1:{self.origin.server_port}/d"):
            self.origin.requests.clear()
            self.origin.behave = lambda n, p, t=target: {"location": t}
            failed, _ = self.fails(self.origin.url("/m.bin"))
            self.assertFalse(failed["retryable"], failed)
            self.assertEqual(1, len(self.origin.requests))

    def certificate(self, address):
        """The path of a new one, signed by itself; its key is beside it."""
        if not shutil.which("openssl"):
            self.skipTest("openssl makes the certificate")
        cert = os.path.join(self.dir, "cert")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
                        f"/CN={address}", "-addext", f"subjectAltName=IP:{address}", "-keyout", cert + ".key",
                        "-out", cert], check=True, stderr=subprocess.DEVNULL)
        return cert

    def test_a_certificate_nobody_vouches_for_is_refused(self):
        url = self.put(1000).replace("http://", "https://")
        cert = self.certificate("127.0.0.1")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, cert + ".key")
        self.origin.socket = context.wrap_socket(self.origin.socket, server_side=True)
        failed, _ = self.fails(url)
        self.assertFalse(failed["retryable"])
        self.assertIn("certificate", failed["error"])
        self.assertEqual([], self.origin.requests)

    @unittest.skipUnless(os.geteuid() == 0, "needs root: it makes a network with public addresses")
    def test_redirects_never_lead_inwards(self):
        """By address, by a name that says one, and over a connection that is there already."""
        self.cert = self.certificate(PUBLIC)
        names = {"inside.test": INSIDE, "localhost": "127.0.0.1", "two.test": PUBLIC}
        with InNetwork(names, {CERTIFICATES: self.cert}) as network:
            network.run(self.redirects)

    def redirects(self):
        data = random.Random(5).randbytes(1000)
        public, inside = Origin(PUBLIC), Origin(INSIDE)
        here, mapped = Origin("127.0.0.1"), Origin("::1")
        others = (inside, here, mapped)
        try:
            for origin in (public, *others):
                origin.files = {"/m.bin": data}
            public_url = f"http://{PUBLIC}:{public.server_port}/m.bin"
            targets = [f"http://127.0.0.1:{here.server_port}/m.bin", f"http://localhost:{here.server_port}/m.bin",
                       f"http://[::1]:{mapped.server_port}/m.bin", f"http://[::ffff:127.0.0.1]:{here.server_port}/m.bin",
                       f"http://0.0.0.0:{here.server_port}/m.bin", f"http://2130706433:{here.server_port}/m.bin",
                       f"http://{INSIDE}:{inside.server_port}/m.bin", f"http://inside.test:{inside.server_port}/m.bin",
                       f"http://{LINK_LOCAL}:{inside.server_port}/m.bin"]
            everything = {"DRIVER_ORIGINS": "0.0.0.0/0,::/0"}  # so that it is the redirect that is refused
            for target in targets:
                with self.subTest(target=target):
                    public.behave = lambda n, p, t=target: {"location": t}
                    failed, _ = self.fails(public.url("/m.bin"), env=everything)
                    self.assertRegex(failed["error"], "redirected from a public to a [a-z-]* address")
                    self.assertFalse(failed["retryable"])
                    self.assertEqual(0, sum(o.connections for o in others))  # not even connected to
            # Two steps: what went through a public origin may not come back in.
            here.behave = lambda n, p: {"location": public_url} if n == 0 else {}
            public.behave = lambda n, p: {"location": targets[0]}
            failed, _ = self.fails(here.url("/m.bin"), env=everything)
            self.assertIn("redirected from a public", failed["error"])
            self.assertEqual(1, len(here.requests))
            # The control: the same redirects are followed where they do not lead inwards.
            here.requests.clear()
            here.behave = lambda n, p: {"location": public_url} if n == 0 else {}
            public.behave = lambda n, p: {}
            _, code = self.drive(here.url("/m.bin"))
            self.assertEqual((0, 1), (code, len(here.requests)))
            shutil.rmtree(self.store)
            public.requests.clear()
            public.behave = lambda n, p: {"location": f"http://two.test:{public.server_port}/m.bin"} if n == 0 else {}
            _, code = self.drive(public.url("/m.bin"))
            self.assertEqual((0, 2), (code, len(public.requests)))
            shutil.rmtree(self.store)
            self.kept_connection(public, here)
            self.downwards(public)
        finally:
            for origin in (public, *others):
                origin.close()

    def kept_connection(self, public, here):
        """The operator allows models from this machine, and one was just fetched: its connection is still open."""
        here.requests.clear()
        here.files["/first.bin"] = b"first"
        here.behave = lambda n, p: {"close": False}
        public.behave = lambda n, p: {"location": f"http://127.0.0.1:{here.server_port}/m.bin"}
        events, code = self.drive("--limit", "fetch_concurrent_max=1", here.url("/first.bin"), public.url("/m.bin"))
        self.assertEqual(1, code)
        self.assertEqual(["present", "verified", "failed"],
                         [e["event"] for e in events if e["event"] in ("present", "verified", "failed")])
        self.assertIn("redirected from a public", self.one(events, "failed")["error"])
        self.assertEqual(["/first.bin"], [path for path, _ in here.requests])

    def downwards(self, public):
        """From http to https, and from there back to http."""
        secure = Origin(PUBLIC)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.cert + ".key")
        secure.socket = context.wrap_socket(secure.socket, server_side=True)
        try:
            secure.files = public.files
            public.requests.clear()
            public.behave = lambda n, p: {"location": f"https://{PUBLIC}:{secure.server_port}/m.bin"} if n == 0 else {}
            self.assertEqual(0, self.drive(public.url("/m.bin"))[1])  # the control: its certificate is good
            shutil.rmtree(self.store)
            for start, expected in ((public, "redirected from https to http"), (secure, "http")):
                public.requests.clear()
                secure.requests.clear()
                secure.behave = lambda n, p: {"location": f"http://{PUBLIC}:{public.server_port}/m.bin"}
                url = start.url("/m.bin").replace("http:", "https:" if start is secure else "http:")
                failed, _ = self.fails(url)
                self.assertIn(expected, failed["error"])
                self.assertFalse(failed["retryable"])
                self.assertEqual((int(start is public), 1), (len(public.requests), len(secure.requests)))
        finally:
            secure.close()

    @unittest.skipUnless(os.geteuid() == 0, "needs root: it makes a network with public addresses")
    def test_models_come_from_where_the_operator_says(self):
        with InNetwork({"inside.test": INSIDE}) as network:
            network.run(self.allowed)

    def allowed(self):
        for address, policy, allowed in ((PUBLIC, "public", True), (PUBLIC, "loopback", False),
                                         ("127.0.0.1", "public", False), ("127.0.0.1", None, True),
                                         (INSIDE, "public", False), (INSIDE, None, True),
                                         (INSIDE, f"public,{INSIDE}", True), (INSIDE, "public,10.99.0.0/16", False),
                                         (LINK_LOCAL, None, False), (LINK_LOCAL, "link-local", True)):
            origin = Origin(address)
            try:
                origin.files["/m.bin"] = b"model"
                url = origin.url("/m.bin")
                if address == INSIDE:
                    url = url.replace(INSIDE, "inside.test")
                with self.subTest(address=address, policy=policy):
                    env = {"DRIVER_ORIGINS": policy} if policy else {}
                    if allowed:
                        self.assertEqual(0, self.drive(url, env=env)[1])
                        shutil.rmtree(self.store)
                    else:
                        failed, _ = self.fails(url, env=env)
                        self.assertIn("--model-origins", failed["error"])
                        self.assertFalse(failed["retryable"])
                        self.assertEqual([], origin.requests)
            finally:
                origin.close()

    # ---- room ----

    def test_no_room_is_known_before_the_first_byte(self):
        url = self.put(8_000_000)
        failed, totals = self.fails(url, "--limit", "store_bytes_max=7999999")
        self.assertEqual("EXHAUSTED", failed["code"].replace("RESOURCE_", ""))
        self.assertFalse(failed["retryable"])
        self.assertEqual((0, 1), (totals["origin_bytes"], totals["disk_refusals"]))
        self.assert_nothing_left()

    def test_a_slow_disk_holds_the_origin_back(self):
        """Nobody reads the pipe: the fetcher must pause, not buffer."""
        url = self.put(64_000_000)
        p = self.start(url)
        try:
            self.wait_for(lambda: self.origin.sent > 0, "the first byte")
            p.send_signal(signal.SIGSTOP)  # the node, not the fetcher
            last = -1
            while last != self.origin.sent:  # until the origin is held back
                last = self.origin.sent
                time.sleep(0.3)
            held_back = self.origin.sent < 64_000_000
            with open(f"/proc/{p.pid}/task/{p.pid}/children") as f:
                fetcher = int(f.read().split()[0])
            with open(f"/proc/{fetcher}/status") as f:
                resident = next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))
        finally:
            p.send_signal(signal.SIGCONT)
        out, err = p.communicate(timeout=RUN_S)
        self.assertEqual(0, p.returncode, out + err)
        self.assertTrue(held_back)
        self.assertLess(resident, 200_000)
        self.assert_stored(url)

    def wait_for(self, look, what):
        deadline = time.monotonic() + RUN_S
        while not look():
            self.assertLess(time.monotonic(), deadline, what)
            time.sleep(0.002)

    # ---- killed at any moment ----

    def test_kill_9_at_any_moment_never_shows_a_wrong_file(self):
        rng = random.Random(SEED)
        url = self.put(24_000_000)
        digest = url.rsplit(":", 1)[1]
        # Cut into slices, so that there is time to be killed in each of them.
        self.origin.behave = lambda n, p: {"cut": 6_000_000, "stall": n % 3 == 2}
        resumed = done = 0
        for i in range(KILLS):
            before = self.origin.sent
            target = before + rng.randrange(0, 8_000_000)
            p = self.start(url)
            late = time.monotonic() + rng.random()
            while p.poll() is None and self.origin.sent < target and time.monotonic() < late:
                time.sleep(rng.random() * 0.003)
            p.kill()
            p.communicate()
            blobs = [b for b in os.listdir(os.path.join(self.store, "blobs/sha256")) if len(b) == 64] \
                if os.path.isdir(os.path.join(self.store, "blobs/sha256")) else []
            self.assertIn(blobs, ([], [digest]))
            if blobs:
                self.assert_stored(url)
                done += 1
                for name in (digest, digest + ".leaves"):  # and once more from the beginning
                    if os.path.exists(os.path.join(self.store, "blobs/sha256", name)):
                        os.unlink(os.path.join(self.store, "blobs/sha256", name))
        resumed = sum("Range" in headers for _, headers in self.origin.requests)
        self.origin.behave = lambda n, p: {}
        self.origin.release.set()
        events, code = self.drive(url)
        self.assertEqual(0, code, events)
        self.assert_stored(url)
        self.assertEqual([], os.listdir(os.path.join(self.store, "ingest")))
        self.assertGreater(resumed, 0)
        print(f"# seed {SEED}: {KILLS} kills, {done} complete in between, {resumed} resumed", file=sys.stderr)

    def test_kill_9_during_an_import_leaves_no_half_bundle(self):
        rng = random.Random(SEED)
        source = os.path.join(self.dir, "source")
        os.mkdir(source)
        for i in range(200):
            with open(os.path.join(source, f"f{i}"), "wb") as f:
                f.write(rng.randbytes(20_000))
        bundles = os.path.join(self.store, "bundles")
        events, code = self.drive("--kind", "bundle", f"file://{source}")
        self.assertEqual(0, code, events)
        digest = self.one(events, "present")["digest"].split(":")[1]
        complete = 0
        for i in range(KILLS // 2):
            if os.path.isdir(bundles):
                subprocess.run(["chmod", "-R", "u+w", bundles], check=True)
                shutil.rmtree(bundles)
            p = self.start("--kind", "bundle", f"file://{source}")
            late = time.monotonic() + rng.random() * 0.15
            while p.poll() is None and time.monotonic() < late:
                time.sleep(rng.random() * 0.003)
            p.kill()
            p.communicate()
            folder = os.path.join(bundles, f"sha256-{digest}")
            names = os.listdir(bundles) if os.path.isdir(bundles) else []
            self.assertLessEqual({n for n in names if "." not in n}, {f"sha256-{digest}"})
            if os.path.isdir(folder):
                complete += 1
                self.assertEqual(200, len(os.listdir(folder)))
                self.assertTrue(os.path.exists(folder + ".manifest"))
        events, code = self.drive("--kind", "bundle", f"file://{source}@sha256:{digest}")
        self.assertEqual(0, code, events)
        self.assertEqual([], os.listdir(os.path.join(self.store, "ingest")))
        print(f"# {KILLS // 2} kills, {complete} complete", file=sys.stderr)

    # ---- rot ----

    def test_a_flipped_bit_on_disk_is_found_and_the_file_fetched_again(self):
        url = self.put(9_000_000)
        self.drive(url)
        os.chmod(self.blob(url), 0o600)
        with open(self.blob(url), "r+b") as f:
            f.seek(5_000_000)
            byte = f.read(1)
            f.seek(5_000_000)
            f.write(bytes([byte[0] ^ 4]))
            f.flush()
            os.fsync(f.fileno())
            os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        failed, totals = self.fails(url)
        self.assertTrue(failed["retryable"])
        self.assertIn("damaged", failed["error"])
        self.assertEqual(1, totals["verify_failures"])
        _, code = self.drive(url)
        self.assertEqual(0, code)
        self.assert_stored(url)

    # ---- the box ----

    def test_the_fetchers_box(self):
        def probes(mode):
            out = subprocess.run([DRIVER, "--probe", mode], stdout=subprocess.PIPE, text=True, timeout=RUN_S).stdout
            return dict(line.split(" ", 1) for line in out.splitlines())

        free, boxed = probes("free"), probes("boxed")
        needed = {"read-etc", "tcp-socket", "map-memory", "thread"}
        denied = {"read-proc", "write-tmp", "listen", "unix-socket", "make-code", "fork", "exec", "signal-parent",
                  "prctl", "umask"}
        if os.geteuid() == 0:
            denied |= {"raw-socket", "read-root"}
        self.assertEqual({name: "done" for name in needed}, {name: boxed[name] for name in needed})
        for name in denied:
            self.assertEqual("done", free[name], name)  # the probe itself works
            self.assertIn(boxed[name], ("EPERM", "EACCES"), name)
        if os.path.exists("/tmp/hob-probe"):
            os.unlink("/tmp/hob-probe")

    def test_without_libcurl_the_package_is_named(self):
        """The loader is pointed at something that is no library."""
        broken = os.path.join(self.dir, "lib")
        os.mkdir(broken)
        with open(os.path.join(broken, "libcurl.so.4"), "wb") as f:
            f.write(b"not a library")
        p = subprocess.run([DRIVER, "--fetcher", "0"], input="a download\n", stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, text=True, timeout=RUN_S,
                           env={**os.environ, "LD_LIBRARY_PATH": broken})
        self.assertEqual(1, p.returncode)
        self.assertIn("libcurl4", p.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=1)
