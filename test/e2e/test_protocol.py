"""A port's name and what is behind it do not fit: who asks is told which name would. Real servers of both kinds."""
import json
import unittest

from harness import HobCase, PYTHON, service
from test_http2 import h2c_service

WEB = """import http.server, os


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    do_POST = do_GET


http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), Answer).serve_forever()
"""
# What a server does that knows nothing of HTTP/2 and is strict: a whole HTTP/1.1 refusal, or no word at all.
STRICT = """import os, socket, threading


def serve(c):
    c.recv(4096)
    c.sendall(os.environ.get("WORD", "").encode())
    c.close()


s = socket.create_server(("", int(os.environ["PORT"])))
while True:
    threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
"""
NAME_IT = "it answered in HTTP/2: name the container's port h2c"
UNNAME_IT = "the container's port is named h2c, and the server there does not speak HTTP/2"


class Names(HobCase):
    def problem_of(self, name, method):
        status, headers, body = self.hob.ingress(name, method)
        self.assertEqual(status, 502, body)
        self.assertIn("problem+json", headers["Content-Type"])
        return json.loads(body)["detail"], headers["Hob-Invocation-Id"]

    def image(self, text):
        return self.hob.bundle({"f.py": text})

    def test_a_server_of_http_2_behind_a_port_without_a_name(self):
        tree = h2c_service(self.hob, "unnamed", "h2_fn.py")
        del tree["spec"]["template"]["spec"]["containers"][0]["ports"]
        self.hob.apply(tree)
        for method in ("GET", "POST"):
            detail, ident = self.problem_of("unnamed", method)
            self.assertEqual(detail, NAME_IT)
        self.assertEqual(self.hob.invocation(ident)["error"], NAME_IT)

    def test_a_grpc_server_behind_a_port_without_a_name(self):
        tree = h2c_service(self.hob, "grpc", "grpc_fn.py")
        del tree["spec"]["template"]["spec"]["containers"][0]["ports"]
        self.hob.apply(tree)
        self.assertEqual(self.problem_of("grpc", "POST")[0], NAME_IT)

    def test_a_web_server_behind_a_port_that_is_named_h2c(self):
        for name, text, env in (("web", WEB, {}), ("mute", STRICT, {}),
                                ("strict", STRICT, {"WORD": "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"})):
            tree = service(name, self.image(text), [*PYTHON, "/app/f.py"], env=env)
            tree["spec"]["template"]["spec"]["containers"][0]["ports"] = [{"name": "h2c", "containerPort": 8080}]
            self.hob.apply(tree)
            for method in ("GET", "POST"):
                with self.subTest(name=name, method=method):
                    self.assertIn(UNNAME_IT, self.problem_of(name, method)[0])

    def test_a_function_that_speaks_http_2_and_drops_is_told_nothing_of_names(self):
        self.hob.apply(h2c_service(self.hob, "drops", "h2_fn.py", env={"DROPS": "1000"}))
        status, _, body = self.hob.ingress("drops", "POST", "/drop")
        self.assertEqual(status, 502)
        self.assertNotIn(b"named h2c", body)

    def test_an_http_probe_says_it_too(self):
        tree = h2c_service(self.hob, "probed", "h2_fn.py", probe={"httpGet": {"path": "/seen"}},
                           annotations={"serving.knative.dev/progress-deadline": "600s"})
        del tree["spec"]["template"]["spec"]["containers"][0]["ports"]
        self.hob.apply(tree, wait=False)
        self.hob.wait_for("the condition to say why",
                          lambda: NAME_IT in (self.hob.condition("probed") or {}).get("message", ""))


if __name__ == "__main__":
    unittest.main()
