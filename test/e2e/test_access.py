"""Who may use the API: asked of the real binary, started as an operator would (docs/decisions/0006)."""

import base64
import contextlib
import errno
import http.client
import http.server
import json
import os
import re
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import tempfile
import threading
import unittest

try:
    import grpc
except ImportError:
    grpc = None

from harness import BINARY, KNATIVE, Hob, request, service
from temporal_client import MISSING as TEMPORAL_MISSING, Client, Schema

KUBECTL = shutil.which("kubectl")
NOBODY, GROUP = 65534, 54321
ROOT_ONLY = unittest.skipUnless(os.geteuid() == 0, "only root can be other users")
# Connects to a unix socket as somebody else; says what came of it.
CONNECT = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); print('in')"


def token_of(hob):
    with open(hob.token_file, encoding="ascii") as f:
        return f.read().strip()


def as_user(path, user, group):
    return subprocess.run(["/usr/bin/python3", "-I", "-c", CONNECT, path], user=user, group=group, extra_groups=[],
                          capture_output=True, text=True, timeout=30)


@contextlib.contextmanager
def tls_front(hob):
    """Something that speaks TLS in front of the API, as an operator's proxy does: (its address, its certificate)."""
    cert, key = (os.path.join(hob.folder, name) for name in ("front.pem", "front.key"))
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=front",
                    "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True, timeout=60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    host, port = hob.api_address.rsplit(":", 1)

    class Front(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):  # pylint: disable=invalid-name
            behind = http.client.HTTPConnection(host, int(port), timeout=30)
            behind.request("GET", self.path, headers=dict(self.headers))
            answer = behind.getresponse()
            body = answer.read()
            behind.close()
            self.send_response(answer.status)
            for name in ("Content-Type",):
                self.send_header(name, answer.headers[name])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):  # pylint: disable=arguments-differ
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Front) as front:
        front.daemon_threads = True
        front.socket = context.wrap_socket(front.socket, server_side=True)
        thread = threading.Thread(target=front.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{front.server_address[1]}", cert
        finally:
            front.shutdown()
            thread.join()


def refuses(path):
    with socket.socket(socket.AF_UNIX) as s:
        return s.connect_ex(path) == errno.ECONNREFUSED


class Doors(unittest.TestCase):
    """One hob that asks for the token, and how it is met."""

    @classmethod
    def setUpClass(cls):
        cls.hob = Hob(secure=True).__enter__()
        cls.token = token_of(cls.hob)

    @classmethod
    def tearDownClass(cls):
        cls.hob.__exit__(None, None, None)

    def status(self, path, credentials=None, method="GET", body=None):
        headers = {"Authorization": credentials} if credentials else {}
        return request(self.hob.api_address, method, path, body, headers)[0]

    def test_tcp_without_the_token_is_only_told_whether_hob_is_well(self):
        for path in ("/healthz", "/livez", "/readyz", "/version"):
            self.assertEqual(self.status(path), 200, path)
        tree = service("stolen", image="file:///x")
        for method, path in (("GET", "/metrics"), ("GET", "/v1/limits"), ("GET", "/v1/token"), ("GET", "/apis"),
                             ("GET", f"{KNATIVE}/default/services"), ("POST", f"{KNATIVE}/default/services"),
                             ("DELETE", f"{KNATIVE}/default/services/x"), ("GET", "/nothing")):
            status, headers, answer = self.hob.call(method, path, tree if method == "POST" else None)
            self.assertEqual((status, answer["kind"], answer["reason"]), (401, "Status", "Unauthorized"), path)
            self.assertIn("Bearer", headers["WWW-Authenticate"])
            for way in ("HOB_TOKEN", "hob serve --api-group", "hob kubeconfig"):
                self.assertIn(way, answer["message"])
            self.assertNotIn(self.token, str(answer))
        listed = self.hob.call("GET", f"{KNATIVE}/default/services",
                               headers={"Authorization": f"Bearer {self.token}"}, want=200)[2]
        self.assertEqual(listed["items"], [])

    def test_the_token_opens_as_bearer_and_as_basic_and_nothing_else_does(self):
        def basic(text):
            return "Basic " + base64.b64encode(text.encode()).decode()
        for credentials in (f"Bearer {self.token}", basic(f"hob:{self.token}")):
            self.assertEqual(self.status("/v1/limits", credentials), 200, credentials[:9])
        for credentials in (f"Bearer {self.token[:-1]}", f"Bearer {self.token}0", "Bearer ", self.token,
                            basic(f"hob:{self.token[1:]}"), basic(f"root:{self.token}"), "Bearer " + "0" * 64):
            self.assertEqual(self.status("/v1/limits", credentials), 401)
        refused = self.hob.call("GET", "/metrics", headers={"Authorization": f"Bearer {self.token}"})[2].decode()
        self.assertGreater(int(re.search(r"^hob_api_refused_total (\d+)", refused, re.M)[1]), 6)

    def test_the_file_is_its_owners_alone(self):
        self.assertEqual(stat.S_IMODE(os.stat(self.hob.token_file).st_mode), 0o600)
        self.assertRegex(self.token, r"^[0-9a-f]{64}$")
        self.assertNotIn(self.token, self.hob.log())

    @ROOT_ONLY
    def test_another_user_gets_through_neither_door(self):
        self.assertEqual(stat.S_IMODE(os.stat(self.hob.socket).st_mode), 0o600)
        os.chmod(self.hob.folder, 0o755)  # so that it is the socket that refuses
        self.assertEqual(as_user(self.hob.socket, 0, 0).stdout, "in\n")  # the control
        refused = as_user(self.hob.socket, NOBODY, NOBODY)
        self.assertIn("PermissionError", refused.stderr)
        done = subprocess.run([self.hob.reachable(BINARY), "get", "services"], user=NOBODY, group=NOBODY, extra_groups=[],
                              env={**self.hob.env, "HOB_SERVER": self.hob.api_address}, capture_output=True, text=True,
                              timeout=30)
        self.assertEqual(done.returncode, 4, done.stderr)
        self.assertIn("asks for a token", done.stderr)

    def test_commands_use_the_socket_and_who_changed_what_is_logged(self):
        image = self.hob.bundle({"run": "#!/bin/sh\n"})
        code, _, errors = self.hob.hob("deploy", "mine", "--image", image, "--no-wait")
        self.assertEqual(code, 0, errors)
        self.assertIn(f"unix:{self.hob.socket}", self.hob.hob("version")[1])
        path = f"{KNATIVE}/default/services/mine"
        self.hob.call("DELETE", path, headers={"Authorization": f"Bearer {self.token}"}, want=200)
        self.assertRegex(self.hob.log(), rf'api\.change user=uid:0 method=\w+ path="{KNATIVE}')
        self.assertIn(f'api.change user=token method=DELETE path="{path}"', self.hob.log())

    def test_a_command_without_the_socket_needs_the_token(self):
        env = {**self.hob.env, "HOB_SERVER": self.hob.api_address, "HOB_RUNTIME_DIR": "/nonexistent"}

        def run(**more):
            return subprocess.run([BINARY, "limits", "-o", "json"], env={**env, **more}, capture_output=True, text=True,
                                  timeout=30)
        self.assertEqual((run().returncode, run(HOB_TOKEN="0" * 64).returncode), (4, 4))
        self.assertEqual(run(HOB_TOKEN=self.token).returncode, 0)

    def test_a_socket_that_comes_while_we_ask_is_found(self):
        """A hob that begins listens on TCP a moment before its socket is there."""
        folder, asked = tempfile.mkdtemp(dir=self.hob.folder), []
        tcp, local = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX)
        self.addCleanup(tcp.close)
        self.addCleanup(local.close)
        port = tcp.getsockname()[1]

        def answer(listening, head, body, first=lambda: None):
            """False: somebody only looked whether one listens."""
            listening.settimeout(30)
            peer, _ = listening.accept()
            with peer:
                if not peer.recv(65536):
                    return False
                asked.append(listening.family.name)
                first()
                peer.sendall(head + b"\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
            return True

        def begin():
            local.bind(os.path.join(folder, f"api-{port}.sock"))
            local.listen()

        def serve():
            answer(tcp, b"HTTP/1.1 401 Unauthorized", b"{}", begin)
            while not answer(local, b"HTTP/1.1 200 OK\r\nContent-Type: application/json", b'{"items": []}'):
                pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        env = {**self.hob.env, "HOB_SERVER": f"127.0.0.1:{port}", "HOB_RUNTIME_DIR": folder}
        done = subprocess.run([BINARY, "get", "-o", "json"], env=env, capture_output=True, text=True, timeout=30)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(asked, ["AF_INET", "AF_UNIX"])
        thread.join(30)

    @unittest.skipUnless(KUBECTL, "kubectl is not installed")
    def test_kubectl_gets_in_with_the_printed_configuration_only(self):
        code, text, errors = self.hob.hob("kubeconfig")
        self.assertEqual(code, 0, errors)
        config = os.path.join(self.hob.folder, "kubeconfig")
        with open(config, "w", encoding="utf-8") as f:
            f.write(text)
        home = {**os.environ, "HOME": self.hob.folder}

        def kubectl(*words):
            return subprocess.run([KUBECTL, *words, "get", "--raw", "/apis"], env=home, capture_output=True, text=True,
                                  timeout=60)
        done = kubectl(f"--kubeconfig={config}")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("serving.knative.dev", done.stdout)
        refused = kubectl(f"--server=http://{self.hob.api_address}")
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("this address asks for a token", refused.stderr)

    @unittest.skipUnless(KUBECTL and shutil.which("openssl"), "kubectl or openssl is not installed")
    def test_behind_tls_the_token_is_the_users_and_kubectl_shows_it_nowhere(self):
        with tls_front(self.hob) as (address, ca):
            code, text, errors = self.hob.hob("kubeconfig", "--address", f"https://{address}", "--ca", ca)
            self.assertEqual(code, 0, errors)
            config = os.path.join(self.hob.folder, "kubeconfig-tls")
            with open(config, "w", encoding="utf-8") as f:
                f.write(text)

            def kubectl(*words):
                return subprocess.run([KUBECTL, f"--kubeconfig={config}", *words], capture_output=True, text=True,
                                      env={**os.environ, "HOME": self.hob.folder}, timeout=60)
            done = kubectl("get", "--raw", "/apis")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("serving.knative.dev", done.stdout)
            for words in (("cluster-info",), ("config", "view"), ("get", "--raw", "/apis", "-v=6")):
                shown = kubectl(*words)
                self.assertEqual(shown.returncode, 0, shown.stderr)
                self.assertIn(address, shown.stdout + shown.stderr)
                self.assertNotIn(self.token, shown.stdout + shown.stderr, words)
        code, _, errors = self.hob.hob("kubeconfig", "--address", "https://127.0.0.1:1", "--ca", "/nonexistent.pem")
        self.assertEqual(code, 3, errors)
        self.assertIn("--ca /nonexistent.pem: No such file", errors)


class Room(unittest.TestCase):
    """What one who asks may take from the others."""

    PATH = f"{KNATIVE}/default/services"

    def setUp(self):
        self.hob = Hob(secure=True).__enter__()
        self.addCleanup(self.hob.__exit__, None, None, None)
        self.token = f"Authorization: Bearer {token_of(self.hob)}\r\n"

    def begin(self, text):
        """A connection that sent this much of a request, and stays."""
        host, port = self.hob.api_address.rsplit(":", 1)
        s = socket.create_connection((host, int(port)), timeout=30)
        self.addCleanup(s.close)
        s.sendall(text.replace("HOST", f"Host: {self.hob.api_address}").encode())
        return s

    def post(self, tree):
        body = json.dumps(tree).encode()
        headers = dict([self.token.strip().split(": ")])
        return request(self.hob.api_address, "POST", self.PATH, body, headers)[0]

    def post_locally(self, tree):
        connection = http.client.HTTPConnection("localhost", timeout=30)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(self.hob.socket)
        try:
            connection.request("POST", self.PATH, json.dumps(tree).encode())
            return connection.getresponse().status
        finally:
            connection.close()

    def deploy(self):
        code, _, errors = self.hob.hob("deploy", "room", "--image", "file:///nowhere", "--no-wait")
        self.assertEqual(code, 0, errors)

    def test_bodies_that_are_only_announced_take_no_room_from_anyone(self):
        """Announced: more than api_bodies_bytes_max, without the token and with it."""
        head, length = f"POST {self.PATH} HTTP/1.1\r\nHOST\r\n", "Content-Length: 3000000\r\n\r\n"
        for s in [self.begin(head + length) for _ in range(30)]:
            with s.makefile("rb") as f:  # answered, though no byte of the body came
                answer = f.read()
            self.assertTrue(answer.startswith(b"HTTP/1.1 401 "), answer)
            self.assertIn(b"Connection: close\r\n", answer)
        for _ in range(30):
            self.begin(head + self.token + length + "{")
        self.assertEqual(self.post({"kind": "Nothing"}), 400)
        self.deploy()

    def test_the_network_may_fill_its_own_room_and_not_the_sockets(self):
        head = f"POST {self.PATH} HTTP/1.1\r\nHOST\r\n{self.token}Content-Length: 3000000\r\n\r\n"

        def fill():
            try:
                self.begin(head + " " * 2999999)
            except OSError:
                pass  # refused before it was all sent

        large = {"kind": "Nothing", "padding": "x" * 2990000}

        def is_full():
            return self.post(large) == 503

        def heard_while_full():
            fill()
            full = is_full()
            self.assertEqual(self.post_locally(large), 400)
            return full and is_full()
        for _ in range(22):
            fill()
        self.hob.wait_for("the network's room to be full while the socket is heard", heard_while_full)

    def test_two_answers_to_who_asks_are_none(self):
        own = f"Origin: http://{self.hob.api_address}\r\n"
        for fields, want in ((self.token, b"200"), (self.token * 2, b"400"), (self.token + own, b"200"),
                             (self.token + own + "origin: http://evil.example\r\n", b"400")):
            s = self.begin(f"GET /v1/limits HTTP/1.1\r\nHOST\r\n{fields}Connection: close\r\n\r\n")
            with s.makefile("rb") as f:
                answer = f.read()
            self.assertEqual(answer.split(b" ", 2)[1], want, answer[:200])


class Starts(unittest.TestCase):
    """What flags, folders and ends of life do to the doors."""

    def test_insecure_is_said_aloud_and_gives_no_token_away(self):
        with Hob() as hob:
            self.assertEqual(request(hob.api_address, "GET", "/v1/limits")[0], 200)
            self.assertIn("api.open", hob.log())
            self.assertEqual(hob.call("GET", "/v1/token", want=200)[2], {"needed": False})
            self.assertIn(f"server: http://{hob.api_address}\n", hob.hob("kubeconfig")[1])
            hob.call("DELETE", f"{KNATIVE}/default/services/x")
            self.assertIn("api.change user=anyone method=DELETE", hob.log())

    def test_the_token_stays_and_a_lost_one_is_replaced(self):
        with Hob(secure=True) as hob:
            first = token_of(hob)
            hob.kill_role("node")
            hob.wait_for("a new node", hob.is_ready)
            self.assertEqual(token_of(hob), first)
            hob.restart()
            self.assertEqual(token_of(hob), first)
            hob.stop()
            os.unlink(hob.token_file)
            hob.start()
            self.assertNotEqual(token_of(hob), first)
            for token, want in ((first, 401), (token_of(hob), 200)):
                hob.call("GET", "/v1/limits", headers={"Authorization": f"Bearer {token}"}, want=want)

    def test_the_socket_goes_with_its_hob_and_a_dead_ones_with_the_next(self):
        with Hob(secure=True) as hob:
            first = hob.socket
            hob.stop(signal.SIGKILL)
            self.assertTrue(os.path.exists(first))  # nobody was left to remove it
            hob.wait_for("the node to follow its launcher", lambda: refuses(first))
            alive = socket.socket(socket.AF_UNIX)
            other = os.path.join(os.path.dirname(first), "api-1.sock")
            alive.bind(other)
            alive.listen()
            hob.start()
            self.assertEqual(sorted(os.listdir(os.path.dirname(first))),
                             sorted({"api-1.sock", os.path.basename(hob.socket)}))
            self.assertEqual(hob.hob("limits", "-o", "json")[0], 0)
            hob.stop()
            self.assertEqual(os.listdir(os.path.dirname(first)), ["api-1.sock"])
            alive.close()
            hob.start()
            self.assertEqual(os.listdir(os.path.dirname(first)), [os.path.basename(hob.socket)])

    @ROOT_ONLY
    def test_a_group_may_be_let_in(self):
        with Hob("--api-group", str(GROUP), secure=True) as hob:
            os.chmod(hob.folder, 0o755)
            about = os.stat(hob.socket)
            self.assertEqual((stat.S_IMODE(about.st_mode), about.st_gid), (0o660, GROUP))
            self.assertEqual(as_user(hob.socket, NOBODY, GROUP).stdout, "in\n")
            self.assertIn("PermissionError", as_user(hob.socket, NOBODY, NOBODY).stderr)

    @ROOT_ONLY
    def test_a_folder_of_somebody_else_is_trusted_by_neither_side(self):
        with Hob(secure=True) as hob:
            run = os.path.dirname(hob.socket)
            self.assertIn("unix:", hob.hob("version")[1])  # the control
            for break_it, mend in ((lambda: os.chown(run, NOBODY, NOBODY), lambda: os.chown(run, 0, 0)),
                                   (lambda: os.chmod(run, 0o777), lambda: os.chmod(run, 0o755))):
                break_it()
                self.assertNotIn("unix:", hob.hob("version")[1])
                refused = self.refused("--data", os.path.join(hob.folder, "more"), env=hob.env)
                self.assertIn("only this user writes to", refused)
                mend()

    @unittest.skipIf(TEMPORAL_MISSING, TEMPORAL_MISSING)
    def test_temporal_beyond_this_machine_asks_for_the_token(self):
        asked = Schema()

        def call(address, *credentials):
            client = Client(asked, address)
            with client:
                return client.raw("GetSystemInfo", b"", metadata=[("authorization", c) for c in credentials])

        for flags, needed in ((("--insecure", "--listen-temporal", "0.0.0.0:0"), True), (("--temporal-token",), True),
                              (("--insecure", "--listen-temporal", "0.0.0.0:0", "--api-insecure"), False), ((), False)):
            with self.subTest(flags=flags), Hob(*flags, secure=True) as hob:
                address = "127.0.0.1:" + hob.temporal_address.rsplit(":", 1)[1]
                code, text = call(address)
                if not needed:
                    self.assertEqual(code, grpc.StatusCode.OK, text)
                    continue
                self.assertEqual(code, grpc.StatusCode.UNAUTHENTICATED, text)
                self.assertIn("asks for a token", text)
                token = token_of(hob)
                code, text = call(address, "Bearer " + "x" * len(token))
                self.assertEqual(code, grpc.StatusCode.UNAUTHENTICATED, text)
                self.assertIn("not this hob's", text)
                code, text = call(address, "Bearer " + token)
                self.assertEqual(code, grpc.StatusCode.OK, text)

    def refused(self, *flags, env=None):
        done = subprocess.run([BINARY, "serve", "--listen-api", "127.0.0.1:0", "--listen-ingress", "127.0.0.1:0", "--listen-temporal", "127.0.0.1:0", *flags],
                              env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
        self.assertNotEqual(done.returncode, 0)
        return done.stderr

    def test_what_would_not_be_safe_does_not_start(self):
        with tempfile.TemporaryDirectory() as folder:
            env = {**os.environ, "HOB_RUNTIME_DIR": folder}
            data = os.path.join(folder, "data")
            for flag in ("--listen-api", "--listen-ingress", "--listen-temporal"):
                self.assertIn("say --insecure", self.refused("--data", data, flag, "0.0.0.0:0", "--api-insecure", env=env))
            self.assertIn("no group is called", self.refused("--data", data, "--api-group", "no-such-group", env=env))
            self.assertIn("too long", self.refused("--data", data, env={**env, "HOB_RUNTIME_DIR": "/tmp/" + "x" * 120}))
            self.assertIn("did you mean --api-group", self.refused("--api-grup", "x", env=env))

    def test_a_token_that_others_read_stops_hob(self):
        hob = Hob(secure=True)
        try:
            hob.start()
            hob.stop()
            os.chmod(hob.token_file, 0o644)
            with self.assertRaises(AssertionError):
                hob.start()
            self.assertIn("others may read it (mode 644)", hob.log())
        finally:
            hob.discard()

    @ROOT_ONLY
    def test_roots_hob_reads_no_folder_that_nobody_named(self):
        with Hob(secure=True, roots=()) as hob:
            self.assertIn("no_file_root", hob.log())
            image = hob.bundle({"run": "#!/bin/sh\n"})
            self.assertEqual(hob.hob("deploy", "x", "--image", image, "--no-wait")[0], 0)
            told = hob.wait_for("the reason", lambda: "--file-root" in (text := hob.hob("get", "services", "-o", "json")[1]) and text)
            self.assertIn("hob was started without --file-root", told)


if __name__ == "__main__":
    unittest.main()
