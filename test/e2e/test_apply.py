"""`hob apply` where the manifest is the same and the world is not: the real binary, a real function."""

import json
import os
import unittest

from harness import KNATIVE, Hob

RUN = """#!/usr/bin/python3
import http.server, os


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{word}")

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), Answer).serve_forever()
"""


class Folders(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.hob = Hob().__enter__()
        cls.addClassCleanup(cls.hob.__exit__, None, None, None)

    def manifest(self, name, image):
        path = os.path.join(self.hob.folder, f"{name}.json")
        with open(path, "w", encoding="utf-8") as f:
            json.dump({"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": name},
                       "spec": {"template": {"spec": {"containers": [{"image": image}]}}}}, f)
        return path

    def write(self, image, text):
        path = os.path.join(image[len("file://"):], "run")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, 0o755)

    def apply(self, path, *words):
        status, said, remarks = self.hob.hob("apply", "-f", path, *words, timeout=90)
        self.assertEqual(status, 0, remarks)
        return said.split()[-1], remarks

    def answer(self, name):
        return self.hob.ingress(name)[2].decode()

    def revisions(self, name):
        items = self.hob.call("GET", f"{KNATIVE}/default/revisions", want=200)[2]["items"]
        return sorted(one["metadata"]["name"] for one in items
                      if one["metadata"]["labels"]["serving.knative.dev/service"] == name)

    def test_a_changed_folder_is_a_new_revision_and_an_unchanged_one_is_none(self):
        image = self.hob.bundle({"run": RUN.replace("{word}", "one")})
        path = self.manifest("greeter", image)
        self.assertEqual(self.apply(path)[0], "created")
        self.assertEqual(self.apply(path), ("unchanged", ""))
        self.write(image, RUN.replace("{word}", "two"))
        self.assertEqual(self.answer("greeter"), "one")  # what was deployed stays what it is
        verb, remarks = self.apply(path)
        self.assertEqual(verb, "configured")
        self.assertIn(f"{image} is not what greeter-00001 runs: a new revision", remarks)
        self.assertEqual(self.answer("greeter"), "two")
        for _ in range(2):
            self.assertEqual(self.apply(path), ("unchanged", ""))
        self.assertEqual(self.revisions("greeter"), ["greeter-00001", "greeter-00002"])
        listed = self.hob.hob("get", "revisions")[1].splitlines()
        digests = {line.split()[0]: line.split()[4] for line in listed if line.startswith("greeter-")}
        self.assertRegex(" ".join(digests.values()), "^[0-9a-f]{12} [0-9a-f]{12}$")
        self.assertEqual(len(set(digests.values())), 2, listed)  # the two copies can be told apart
        self.write(image, RUN.replace("{word}", "one"))
        self.assertEqual(self.apply(path)[0], "configured")
        self.assertEqual(self.answer("greeter"), "one")

    def test_redeploy_makes_a_revision_of_what_is_the_same(self):
        path = self.manifest("again", self.hob.bundle({"run": RUN.replace("{word}", "one")}))
        self.apply(path)
        self.assertEqual(self.apply(path, "--redeploy")[0], "configured")
        self.assertEqual(self.apply(path), ("unchanged", ""))
        self.assertEqual(self.revisions("again"), ["again-00001", "again-00002"])

    def test_a_folder_that_could_not_start_is_tried_again_once_it_was_mended(self):
        image = self.hob.bundle({"run": "#!/nonexistent/interpreter\n"})
        path = self.manifest("mended", image)
        status, _, remarks = self.hob.hob("apply", "-f", path, timeout=90)
        self.assertNotEqual(status, 0, remarks)
        self.write(image, RUN.replace("{word}", "mended"))
        self.assertEqual(self.apply(path)[0], "configured")
        self.assertEqual(self.answer("mended"), "mended")

    def test_a_folder_that_went_away_is_said_and_what_runs_stays(self):
        image = self.hob.bundle({"run": RUN.replace("{word}", "here")})
        path = self.manifest("gone", image)
        self.apply(path)
        folder = image[len("file://"):]
        os.rename(folder, folder + "-elsewhere")
        verb, remarks = self.apply(path)
        self.assertEqual(verb, "unchanged")
        self.assertIn(f"whether {image} changed could not be looked at: ", remarks)
        self.assertEqual(self.answer("gone"), "here")

    def test_a_digest_is_told_of_files_only(self):
        def ask(query):
            status, _, body = self.hob.call("POST", f"/v1/resolve?{query}")[:3]
            return status, body
        for query in ("", "reference=https://127.0.0.1/x", "reference=file:///x@sha256:" + "0" * 64,
                      "reference=file:///x&kind=volume"):
            status, answer = ask(query)
            self.assertEqual(status, 400, answer)
        self.assertEqual(ask("reference=file:///etc")[0], 403)


if __name__ == "__main__":
    unittest.main()
