"""Models over HTTP, through the real node, fetcher and launcher: what the parts' own tests cannot see."""
import hashlib
import http.server
import os
import subprocess
import threading
import unittest

import harness
from harness import KNATIVE, PYTHON, Hob, HobCase, read_text, service


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


class BeforeTheFirst(unittest.TestCase):
    def test_a_fetcher_without_a_download_carries_no_libcurl(self):
        with Hob() as hob:
            fetcher = hob.wait_for("a fetcher", lambda: hob.roles().get("fetcher"))
            hob.deploy("plain")
            self.assertEqual(hob.ingress("plain")[0], 200)
            self.assertFalse("libcurl" in read_text(f"/proc/{fetcher}/maps"))
            with Origin(os.urandom(1 << 20)) as origin:
                hob.deploy("f", models=[("/model", origin.reference("/w.bin"))])
                self.assertEqual(hob.ingress("f")[0], 200)
            self.assertEqual(hob.roles().get("fetcher"), fetcher)
            self.assertTrue("libcurl" in read_text(f"/proc/{fetcher}/maps"))


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


def write_model(hob, name, size):
    """(reference without a digest, digest) of a new file of random bytes."""
    weights = os.urandom(size)
    os.makedirs(hob.files + "/models", exist_ok=True)
    with open(f"{hob.files}/models/{name}", "wb") as f:
        f.write(weights)
    return f"file://{hob.files}/models/{name}", f"sha256:{hashlib.sha256(weights).hexdigest()}"


def to_zero(hob, name):
    for instance in hob.instances(name):
        hob.call("DELETE", f"/v1/instances/{instance['id']}", want=202)
    hob.wait_instances(name, 0)


class Resolved(HobCase):
    def digest_of(self, name):
        return self.hob.ingress(name, path="/digest/model/w.bin")[2].decode()

    def test_a_revision_runs_the_model_that_it_was_deployed_with(self):
        hob = self.hob
        reference, first = write_model(hob, "w.bin", 1 << 20)
        hob.deploy("kept", models=[("/model", reference)])
        status = hob.call("GET", f"{KNATIVE}/default/revisions/kept-00001", want=200)[2]["status"]
        self.assertEqual(status["modelStatuses"], [{"name": "model-0", "imageDigest": first}])
        _, second = write_model(hob, "w.bin", 1 << 20)
        to_zero(hob, "kept")
        self.assertEqual("sha256:" + self.digest_of("kept"), first)  # a new instance, the old bytes
        hob.restart()
        self.assertEqual("sha256:" + self.digest_of("kept"), first)
        hob.deploy("kept", models=[("/model", reference)], env={"NEW": "1"})  # a new revision, the new ones
        self.assertEqual("sha256:" + self.digest_of("kept"), second)


class Origins(HobCase):
    FLAGS = ("--model-origins=public,10.99.0.0/16",)

    def test_where_models_may_come_from_is_said_by_the_operator(self):
        with Origin(b"weights") as origin:
            self.hob.apply(service("inward", self.hob.probe(), [*PYTHON, "/app/probe.py"],
                                   models=[("/model", origin.reference("/m.bin"))]), wait=False)
            message = self.hob.wait_condition("inward", "False")["message"]
            self.assertIn("127.0.0.1 is a loopback address, and this hob takes no models from there", message)
            self.assertEqual(origin.asked, [])

    def test_a_list_that_is_none_is_an_error_at_the_start(self):
        done = subprocess.run([harness.BINARY, "serve", "--model-origins", "public,everywhere"], capture_output=True,
                              text=True, timeout=harness.WAIT_S)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("'everywhere' is neither public", done.stderr)


class Needed(unittest.TestCase):
    SIZE = 2 << 20

    def stored(self, hob):
        items = hob.call("GET", "/v1/models", want=200)[2]["items"]
        return {i["digest"]: i["pins"] for i in items if i["kind"] == "model" and i["state"] == "present"}

    def test_pressure_takes_nothing_that_a_deployed_revision_needs(self):
        limit = {"store_bytes_max": 3 * self.SIZE + self.SIZE // 2, "store_free_bytes_min": 0}
        with Hob(limits=limit) as hob:
            digests = {}
            for name in ("old", "oldpinned", "gone"):
                reference, digests[name] = write_model(hob, name, self.SIZE)
                pin = "@" + digests[name] if name == "oldpinned" else ""
                hob.deploy(name, models=[("/model", reference + pin)])
                to_zero(hob, name)
            hob.restart()  # nothing runs now, and who needs what is known all the same
            needed = {digests[name]: 1 for name in ("old", "oldpinned")}
            self.assertEqual(self.stored(hob), needed | {digests["gone"]: 1})
            hob.delete("gone")
            self.assertEqual(self.stored(hob), needed | {digests["gone"]: 0})
            reference, digests["new"] = write_model(hob, "new", self.SIZE)
            hob.deploy("new", models=[("/model", reference)])  # the newest was the only one to go
            self.assertEqual(self.stored(hob), needed | {digests["new"]: 1})
            code, out, err = hob.hob("models")
            self.assertEqual(code, 0, err)
            header, *rows = out.splitlines()
            at = header.index("REVISIONS")
            self.assertEqual([row[at:at + len("REVISIONS")].strip() for row in rows if digests["old"] in row], ["1"])

            reference, _ = write_model(hob, "more", self.SIZE)
            hob.apply(service("more", hob.probe(), [*PYTHON, "/app/probe.py"], models=[("/model", reference)]),
                      wait=False)
            self.assertIn("all that is stored is needed", hob.wait_condition("more", "False")["message"])
            code, _, err = hob.hob("models", "rm", digests["oldpinned"])
            self.assertNotEqual(code, 0)
            self.assertIn("1 revisions", err)
            os.unlink(f"{hob.files}/models/old")  # there is no other copy
            self.assertEqual(hob.ingress("old")[0], 200)
            hob.delete("oldpinned")
            hob.wait_for("room for the model", lambda: hob.ingress("more")[0] == 200)
            self.assertNotIn(digests["oldpinned"], self.stored(hob))


if __name__ == "__main__":
    unittest.main()
