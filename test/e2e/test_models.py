"""Models over HTTP, through the real node, fetcher and launcher: what the parts' own tests cannot see."""
import hashlib
import http.server
import os
import threading
import unittest

from harness import HobCase


class Origin(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, body):
        self.body, self.asked = body, []
        super().__init__(("127.0.0.1", 0), OriginHandler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def reference(self, path):
        return f"http://127.0.0.1:{self.server_port}{path}@sha256:{hashlib.sha256(self.body).hexdigest()}"

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class OriginHandler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_):
        pass


class OverHttp(HobCase):
    def test_a_model_of_two_functions_is_fetched_once(self):
        with Origin(os.urandom(3 << 20)) as origin:
            for name in ("first", "second"):
                self.hob.deploy(name, models=[("/model", origin.reference("/weights.bin"))])
                self.assertEqual(self.hob.ingress(name)[0], 200)
            self.assertEqual(origin.asked, ["/weights.bin"])

    def test_a_fetcher_that_dies_is_there_again_for_the_next_model(self):
        self.hob.kill_role("fetcher")
        self.hob.wait_for("another fetcher", lambda: "fetcher" in self.hob.roles())
        with Origin(os.urandom(1 << 20)) as origin:
            self.hob.deploy("third", models=[("/model", origin.reference("/again.bin"))])
            self.assertEqual(self.hob.ingress("third")[0], 200)
            self.assertEqual(origin.asked, ["/again.bin"])


if __name__ == "__main__":
    unittest.main()
