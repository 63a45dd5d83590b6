"""The manifest and the API of the real binary, as Knative's users meet them: curl, YAML, kubectl."""
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import unittest

import harness
from harness import KNATIVE, PYTHON, Hob, HobCase, service

SERVICES = f"{KNATIVE}/default/services"
DENIED = 'admission webhook "validation.webhook.serving.knative.dev" denied the request: validation failed: '
STRICT = 'strict decoding error: '
POD = "spec.template.spec"
CONTAINER = POD + ".containers[0]"


def put(tree, path, value):
    """Sets what a dotted path names; [0] in it is a list's first."""
    *way, last = path.replace("[0]", ".0").split(".")
    for step in way:
        tree = tree[int(step)] if isinstance(tree, list) else tree.setdefault(step, {})
    tree[last] = value


class Objects(HobCase):
    def manifest(self, name, **spec):
        return service(name, self.hob.probe(), [*PYTHON, "/app/probe.py"], **spec)

    def post(self, tree, query="", **more):
        return self.hob.call("POST", SERVICES + query, tree, **more)

    def refused(self, answer, status, reason):
        got, _, tree = answer
        self.assertEqual((got, tree["kind"], tree["status"], tree["reason"], tree["code"]),
                         (status, "Status", "Failure", reason, status), tree)
        return tree["message"]

    # life of an object

    def test_create_get_list_replace_delete(self):
        hob = self.hob
        status, _, made = self.post(self.manifest("life", annotations={"initial-scale": 0}))
        self.assertEqual((status, made["kind"], made["metadata"]["generation"]), (201, "Service", 1))
        spec = made["spec"]["template"]["spec"]
        self.assertEqual((spec["containerConcurrency"], spec["timeoutSeconds"]), (0, 300))  # Knative's defaults
        self.assertEqual(spec["containers"][0]["name"], "user-container")
        self.assertEqual(made["metadata"]["annotations"]["serving.knative.dev/creator"],
                         made["metadata"]["annotations"]["serving.knative.dev/lastModifier"])
        self.assertEqual(self.refused(self.post(self.manifest("life")), 409, "AlreadyExists"),
                         'services.serving.knative.dev "life" already exists')

        ready = hob.wait_ready("life")
        self.assertEqual(ready["metadata"]["uid"], made["metadata"]["uid"])
        self.assertEqual({c["type"]: c["status"] for c in ready["status"]["conditions"]},
                         {"Ready": "True", "ConfigurationsReady": "True", "RoutesReady": "True"})
        self.assertEqual((ready["status"]["latestCreatedRevisionName"], ready["status"]["latestReadyRevisionName"]),
                         ("life-00001", "life-00001"))
        port = hob.ingress_address.rpartition(":")[2]
        self.assertEqual(ready["status"]["url"], f"http://life.default.localhost:{port}")

        put(ready, POD + ".timeoutSeconds", 20)
        status, _, replaced = hob.call("PUT", f"{SERVICES}/life", ready)
        self.assertEqual((status, replaced["metadata"]["generation"]), (200, 2))
        self.assertGreater(int(replaced["metadata"]["resourceVersion"]), int(ready["metadata"]["resourceVersion"]))
        self.assertEqual(hob.wait_ready("life")["status"]["latestReadyRevisionName"], "life-00002")
        message = self.refused(hob.call("PUT", f"{SERVICES}/life", ready), 409, "Conflict")
        self.assertIn('Operation cannot be fulfilled on services.serving.knative.dev "life"', message)
        _, _, revision = hob.call("GET", f"{KNATIVE}/default/revisions/life-00002", want=200)
        self.assertEqual(revision["spec"]["timeoutSeconds"], 20)

        again = hob.get_service("life")  # only its labels change: no new Revision
        again["metadata"]["labels"] = {"team": "a"}
        status, _, labelled = hob.call("PUT", f"{SERVICES}/life", again)
        self.assertEqual((status, labelled["metadata"]["generation"]), (200, 2))

        listed = hob.call("GET", f"{SERVICES}", want=200)[2]
        self.assertEqual(listed["kind"], "ServiceList")
        self.assertIn("life", [i["metadata"]["name"] for i in listed["items"]])
        one = hob.call("GET", f"{SERVICES}?fieldSelector=metadata.name%3Dlife", want=200)[2]
        self.assertEqual([i["metadata"]["name"] for i in one["items"]], ["life"])
        other = hob.call("GET", f"{KNATIVE}/other/services", want=200)[2]
        self.assertEqual(other["items"], [])

        self.assertEqual(hob.ingress("life")[0], 200)
        status, _, gone = hob.call("DELETE", f"{SERVICES}/life")
        self.assertEqual((status, gone["status"], gone["details"]["uid"]), (200, "Success", made["metadata"]["uid"]))
        self.assertEqual(self.refused(hob.call("GET", f"{SERVICES}/life"), 404, "NotFound"),
                         'services.serving.knative.dev "life" not found')
        self.refused(hob.call("DELETE", f"{SERVICES}/life"), 404, "NotFound")
        self.assertEqual(hob.ingress("life")[0], 404)
        hob.wait_instances("life", 0)
        self.refused(hob.call("GET", f"{KNATIVE}/default/revisions/life-00001"), 404, "NotFound")

    def test_yaml_and_json_are_the_same(self):
        text = f"""
# a comment
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {{name: yaml}}
spec:
  template:
    metadata:
      annotations: {{autoscaling.knative.dev/max-scale: "3"}}
    spec:
      containers:
      - image: {self.hob.probe()}
        command: [{", ".join(PYTHON)}, /app/probe.py]
        env:
        - name: TEXT
          value: |
            two
            lines
"""
        status, _, made = self.post(text.encode(), headers={"Content-Type": "application/yaml"})
        self.assertEqual(status, 201, made)
        self.hob.wait_ready("yaml")
        self.assertEqual(self.hob.tree("yaml", "/look")["env"]["TEXT"], "two\nlines\n")
        self.refused(self.post(b"a: [", headers={"Content-Type": "application/yaml"}), 400, "BadRequest")
        self.refused(self.post(b'{"a":', headers={"Content-Type": "application/json"}), 400, "BadRequest")
        self.refused(self.post(b"<a/>", headers={"Content-Type": "text/xml"}), 415, "UnsupportedMediaType")

    def test_a_dry_run_is_checked_and_not_kept(self):
        status, _, made = self.post(self.manifest("dry"), "?dryRun=All")
        self.assertEqual((status, made["metadata"]["name"]), (201, "dry"))
        self.assertIsNone(self.hob.get_service("dry"))
        wrong = self.manifest("dry", containerConcurrency=-1)
        self.refused(self.post(wrong, "?dryRun=All"), 400, "BadRequest")

    def test_what_is_wrong_is_refused_with_its_path_in_knatives_words(self):
        cases = [
            (CONTAINER + ".colour", "red", STRICT + f'unknown field "{CONTAINER}.colour"'),
            ("spec.templates", {}, STRICT + 'unknown field "spec.templates" (did you mean "template"?)'),
            (POD + ".containerConcurrency", -1, DENIED + f"expected 0 <= -1 <= 1000: {POD}.containerConcurrency"),
            (POD + ".containerConcurrency", 1001, DENIED + f"expected 0 <= 1001 <= 1000: {POD}.containerConcurrency"),
            (POD + ".timeoutSeconds", 601, DENIED + f"expected 0 <= 601 <= 600: {POD}.timeoutSeconds"),
            (CONTAINER + ".env", [{"name": "PORT", "value": "1"}],
             DENIED + f'"PORT" is a reserved environment variable: {CONTAINER}.env[0].name'),
            (CONTAINER + ".lifecycle", {}, DENIED + f"must not set the field(s): {CONTAINER}.lifecycle"),
            (CONTAINER + ".image", "", DENIED + f"missing field(s): {CONTAINER}.image"),
            (CONTAINER + ".image", "file:///a/../b", DENIED + f"Failed to parse image reference: {CONTAINER}.image\n"
             'image: "file:///a/../b", error: want file:/// and a path without empty, . or .. steps'),
            (POD + ".containers", [], DENIED + f"missing field(s): {POD}.containers"),
            ("metadata.annotations", {"autoscaling.knative.dev/min-scale": "1"},
             DENIED + 'invalid key name "autoscaling.knative.dev/min-scale": metadata.annotations\n'
             'autoscaling annotations must be put under "spec.template.metadata.annotations" to work'),
            ("spec.template.metadata.annotations", {"autoscaling.knative.dev/window": "1s"},
             DENIED + "expected 6s <= 1s <= 1h0m0s: "
             "spec.template.metadata.annotations.autoscaling.knative.dev/window"),
            ("spec.template.metadata.annotations",
             {"autoscaling.knative.dev/min-scale": "3", "autoscaling.knative.dev/max-scale": "2"},
             DENIED + "max-scale=2 is less than min-scale=3: "
             "spec.template.metadata.annotations.autoscaling.knative.dev/max-scale, "
             "spec.template.metadata.annotations.autoscaling.knative.dev/min-scale"),
            ("spec.traffic", [{"percent": 50, "latestRevision": True}],
             DENIED + "Traffic targets sum to 50, want 100: spec.traffic"),
            (CONTAINER + ".readinessProbe", {"httpGet": {}, "tcpSocket": {}},
             DENIED + f"expected exactly one, got both: {CONTAINER}.readinessProbe.httpGet, "
             f"{CONTAINER}.readinessProbe.tcpSocket"),
            (CONTAINER + ".securityContext", {"runAsUser": -1},
             DENIED + f"expected 0 <= -1 <= 2147483647: {CONTAINER}.securityContext.runAsUser"),
        ]
        for path, value, message in cases:
            with self.subTest(path=path, value=value):
                tree = self.manifest("wrong")
                put(tree, path, value)
                self.assertTrue(self.refused(self.post(tree), 400, "BadRequest").endswith(message))
        tree = self.manifest("wrong")
        put(tree, POD + ".timeoutSeconds", "5")
        self.assertIn(f"{POD}.timeoutSeconds in body must be of type integer", self.refused(self.post(tree), 422, "Invalid"))
        put(tree, POD + ".timeoutSeconds", 5)
        put(tree, "metadata.name", "Wrong_Name")
        self.assertIn("metadata.name: Invalid value", self.refused(self.post(tree), 422, "Invalid"))
        self.assertIsNone(self.hob.get_service("wrong"))

    # what cannot run

    def why(self, name, reason, message, image=None, command=None, **spec):
        """Deploys it, and wants this said by the Revision, the Service and a request."""
        hob = self.hob
        hob.apply(service(name, image or hob.probe(), command or [*PYTHON, "/app/probe.py"], **spec), wait=False)
        ready = hob.wait_condition(name, "False")
        self.assertEqual(ready["reason"], "RevisionFailed")
        self.assertIn(message, ready["message"])
        _, _, revision = hob.call("GET", f"{KNATIVE}/default/revisions/{name}-00001", want=200)
        own = next(c for c in revision["status"]["conditions"] if c["type"] == "Ready")
        self.assertEqual((own["status"], own["reason"]), ("False", reason))
        self.assertIn(message, own["message"])
        self.assertRegex(hob.hob("describe", name)[1], rf"newest revision, {name}-00001\n[^$]*Ready +False +\S+ +{reason} ")
        answer = hob.ingress(name)
        problem = self.problem(answer, 503, "start-failed")
        self.assertIn(message, problem["detail"])
        self.assertGreaterEqual(int(answer[1]["Retry-After"]), 1)

    def test_what_cannot_run_says_why(self):
        folder, zeros = self.hob.files, "0" * 64
        probe = f"{self.hob.probe()}/probe.py"
        self.why("no-command", "ContainerCannotRun", "command /app/nothing: No such file or directory",
                 command=["/app/nothing"])
        for mode, name, text in ((0o644, "no-chmod", "/app/run is not executable: chmod +x it and deploy again"),
                                 (0o755, "no-shell", "/app/run is there, but its interpreter /none is missing")):
            image = self.hob.bundle({"run": "#!/none\n"})
            os.chmod(image.removeprefix("file://") + "/run", mode)
            self.why(name, "ContainerCannotRun", text, image=image, command=["/app/run"])
        self.why("no-folder", "ContainerMissing", "No such file or directory", image=f"file://{folder}/nothing")
        self.why("outside", "ContainerMissing", f"not beneath a --file-root; move it there, or start hob serve with one more: there is {self.hob.roots[0]}",
                 image="file:///etc")
        os.symlink("/etc", folder + "/link")
        self.why("linked", "ContainerMissing", "leads out of its --file-root", image=f"file://{folder}/link")
        self.why("wrong-image", "ContainerMissing", f"expected sha256:{zeros}, got sha256:",
                 image=f"{self.hob.probe()}@sha256:{zeros}")
        self.why("exits", "ExitCode7", "exited with status 7 before it was ready", env={"MODE": "fail"})
        self.why("wrong-model", "ModelMissing", f"expected sha256:{zeros}, got sha256:",
                 models=[("/model", f"{probe}@sha256:{zeros}")])
        self.why("no-model", "ModelMissing", "No such file or directory",
                 models=[("/model", f"file://{folder}/nothing@sha256:{zeros}")])
        # An import that nobody wants any more is stopped on its own thread: what it had goes, not at once.
        self.hob.wait_for("half-written files to go", lambda: not os.listdir(f"{self.hob.data}/store/ingest"))
        held = [i["digest"] for i in self.hob.call("GET", "/v1/models", want=200)[2]["items"]
                if i["state"] == "present"]
        self.assertNotIn(f"sha256:{zeros}", held)

    def test_a_first_start_that_hangs_says_where_while_it_hangs_and_when_it_is_late(self):
        hob = self.hob
        deaf = hob.bundle({"run": "#!/bin/sh\nexec sleep 600\n"})
        words = r"instance deaf-00001-\w{5}: runtime_init for \d s: nothing accepts connections on port 8080 yet"
        status, _, told = hob.hob("deploy", "deaf", "--image", deaf, "--cmd", "/app/run", "--timeout", "9s")
        self.assertEqual(status, 7)
        self.assertEqual(len(re.findall(words, told)), 2, told)  # once while it waits, once when it gives up
        for kind, name in (("services", "deaf"), ("configurations", "deaf"), ("revisions", "deaf-00001")):
            _, _, tree = hob.call("GET", f"{KNATIVE}/default/{kind}/{name}", want=200)
            ready = next(c for c in tree["status"]["conditions"] if c["type"] == "Ready")
            self.assertEqual((ready["status"], ready["reason"]), ("Unknown", "Deploying"))
            self.assertRegex(ready["message"], words)
        page = hob.hob("describe", "deaf")[1]
        self.assertRegex(page, "ContainerHealthy +Unknown.*Deploying +" + words)  # the Revision's own
        hob.apply(service("deaf-late", deaf, ["/app/run"], annotations={"serving.knative.dev/progress-deadline": "3s"}), wait=False)
        late = hob.wait_condition("deaf-late", "False")
        self.assertRegex(late["message"], r"Initial scale was never achieved: instance deaf-late-00001-\w{5}: "
                                          r"runtime_init for \d s: nothing accepts connections on port 8080 yet")

    def test_what_could_not_run_can_be_mended(self):
        self.why("mended", "ExitCode7", "exited with status 7", env={"MODE": "fail"})
        self.hob.deploy("mended")
        self.assertEqual(self.hob.ingress("mended")[0], 200)

    # what runs

    def test_what_was_deployed_runs_until_the_next_deploy(self):
        hob = self.hob
        image = hob.bundle({"run": "#!/bin/sh\nexec /usr/bin/python3 -I -S /app/probe.py\n",
                            "probe.py": open(harness.ROOT + "/test/fn/probe.py").read(), "word": "first"})
        hob.apply(service("pinned", image, annotations={"window": "6s"}))
        self.assertEqual(hob.ingress("pinned", path="/file/app/word")[2], b"first")
        _, _, revision = hob.call("GET", f"{KNATIVE}/default/revisions/pinned-00001", want=200)
        digest = revision["status"]["containerStatuses"][0]["imageDigest"]
        self.assertRegex(digest, "^sha256:[0-9a-f]{64}$")
        with open(image.removeprefix("file://") + "/word", "w") as f:
            f.write("second")
        for instance in hob.instances("pinned"):
            hob.call("DELETE", f"/v1/instances/{instance['id']}", want=202)
        hob.wait_instances("pinned", 0)
        self.assertEqual(hob.ingress("pinned", path="/file/app/word")[2], b"first")  # a new instance, the old bytes
        hob.apply(service("pinned", image, env={"NEW": "1"}))
        self.assertEqual(hob.ingress("pinned", path="/file/app/word")[2], b"second")
        _, _, revision = hob.call("GET", f"{KNATIVE}/default/revisions/pinned-00002", want=200)
        self.assertNotEqual(revision["status"]["containerStatuses"][0]["imageDigest"], digest)

    def test_models_are_mounted_read_only_and_kept_once(self):
        hob = self.hob
        weights = os.urandom(3 << 20)
        digest = hashlib.sha256(weights).hexdigest()
        os.makedirs(hob.files + "/models", exist_ok=True)
        with open(hob.files + "/models/weights.bin", "wb") as f:
            f.write(weights)
        reference = f"file://{hob.files}/models/weights.bin@sha256:{digest}"
        for name in ("model-a", "model-b"):
            hob.deploy(name, models=[("/model", reference)])
            seen = hob.tree(name, "/look")
            self.assertEqual((seen["model"], seen["writes"]["/model"]), (["weights.bin"], "Read-only file system"))
        os.unlink(hob.files + "/models/weights.bin")  # what is in the store needs no origin
        hob.deploy("model-c", models=[("/model", reference)])
        _, body = hob.ingress("model-c", path="/digest/model/weights.bin")[1:]
        self.assertEqual(body.decode(), digest)
        rows = [i for i in hob.call("GET", "/v1/models", want=200)[2]["items"] if i["digest"] == f"sha256:{digest}"]
        self.assertEqual([(r["kind"], r["state"], r["sizeBytes"], r["originBytes"]) for r in rows],
                         [("model", "present", len(weights), len(weights))])

    def test_a_misspelled_annotation_is_warned_of_by_the_command_line_too(self):
        hob = self.hob
        tree = service("warned", hob.bundle({"nothing": "x"}), annotations={"max-scal": "4", "initial-scale": "1"})
        status, out, told = hob.hob("apply", "--no-wait", "-f", "-", stdin=json.dumps(tree))
        self.assertEqual((status, out), (0, "service.serving.knative.dev/warned created\n"))
        self.assertIn("Warning: no annotation has this name", told)
        self.assertIn('did you mean "autoscaling.knative.dev/max-scale"?', told)
        self.assertIn("metadata.annotations.autoscaling.knative.dev/max-scal", told)
        tree["metadata"]["name"] = "warned-quietly"
        self.assertEqual(hob.hob("apply", "-q", "--no-wait", "-f", "-", stdin=json.dumps(tree))[2], "")


class Lasting(unittest.TestCase):
    def test_the_node_ends_in_order_while_a_deleted_service_still_drains(self):
        with Hob(limits={"drain_ms": 500}) as hob:
            hob.deploy("busy", timeoutSeconds=60)
            with hob.wire() as wire:
                wire.send(f"GET /sleep/60000 HTTP/1.1\r\nHost: {hob.host('busy')}\r\n\r\n")
                hob.wait_for("the request to run", lambda: hob.metric("hob_requests_in_flight") == 1)
                hob.delete("busy")
                self.assertEqual(hob.stop(), 0)  # its instance, and the lease on its image, are still there

    def test_what_get_printed_is_applied_again_after_a_delete(self):
        with Hob() as hob:
            hob.deploy("again")
            code, text, why = hob.hob("get", "again", "-o", "yaml")
            self.assertEqual(code, 0, why)
            self.assertIn("resourceVersion", text)
            hob.delete("again")
            code, out, why = hob.hob("apply", "-f", "-", stdin=text)
            self.assertEqual((code, out), (0, "service.serving.knative.dev/again created\n"), why)
            self.assertEqual(hob.ingress("again")[0], 200)
            self.assertIn("did you mean 'again'?", hob.hob("invoke", "agin")[2])

    def test_objects_survive_a_restart_and_a_kill(self):
        with Hob() as hob:
            kept = hob.deploy("kept", env={"WHO": "me"}, annotations={"initial-scale": 0})
            path = f"{SERVICES.rsplit('/', 1)[0]}/revisions/kept-00001"
            made = hob.call("GET", path, want=200)[2]["metadata"]
            for number in (signal.SIGTERM, signal.SIGKILL):
                status, _, _ = hob.call("POST", SERVICES, service(f"before-{int(number)}", hob.probe(),
                                                                 [*PYTHON, "/app/probe.py"]))
                self.assertEqual(status, 201)  # acknowledged: from now on it is there
                self.assertEqual(hob.restart(number), 0 if number == signal.SIGTERM else -number)
                again = hob.wait_ready("kept")
                for field in ("uid", "generation", "creationTimestamp"):
                    self.assertEqual(again["metadata"][field], kept["metadata"][field])
                self.assertEqual(again["spec"], kept["spec"])
                revision = hob.call("GET", path, want=200)[2]["metadata"]
                self.assertEqual((revision["uid"], revision["creationTimestamp"]),
                                 (made["uid"], made["creationTimestamp"]))
                self.assertEqual(hob.tree("kept", "/look")["env"]["WHO"], "me")
                hob.wait_ready(f"before-{int(number)}")
                self.assertEqual(hob.ingress(f"before-{int(number)}")[0], 200)
            hob.delete("kept")
            hob.restart(signal.SIGKILL)
            self.assertIsNone(hob.get_service("kept"))

    def test_told_to_end_at_once_it_ends_in_order_though_it_still_reads(self):
        with Hob() as hob:  # what is durable is read behind the start: now and then the end comes first
            for _ in range(25):
                self.assertEqual(hob.restart(signal.SIGTERM), 0)
            self.assertNotIn("durable.failed", hob.log())


KUBECTL = shutil.which("kubectl")


@unittest.skipUnless(KUBECTL, "kubectl is not installed")
class Kubectl(HobCase):
    def kubectl(self, *words, stdin=None, want=0):
        done = subprocess.run([KUBECTL, f"--server=http://{self.hob.api_address}", *words], input=stdin, text=True,
                              capture_output=True, timeout=60, env={**os.environ, "HOME": self.hob.folder})
        self.assertEqual(done.returncode, want, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def test_apply_wait_get_change_delete(self):
        tree = service("k", self.hob.probe(), [*PYTHON, "/app/probe.py"])
        self.assertIn("k created", self.kubectl("apply", "-f", "-", stdin=json.dumps(tree)))
        self.assertIn("condition met", self.kubectl("wait", "--for=condition=Ready", "ksvc/k", "--timeout=30s"))
        header, row = self.kubectl("get", "ksvc").splitlines()[:2]
        self.assertEqual(header.split(), ["NAME", "URL", "LATESTCREATED", "LATESTREADY", "READY", "REASON"])
        self.assertEqual(row.split()[0::2][:2] + row.split()[4:5], ["k", "k-00001", "True"])
        before = self.hob.get_service("k")
        # kubectl compares lists whole, sees the defaults inside and says "configured"; it changes nothing.
        self.assertRegex(self.kubectl("apply", "-f", "-", stdin=json.dumps(tree)), "k (configured|unchanged)")
        self.assertEqual(self.hob.get_service("k"), before)
        put(tree, POD + ".timeoutSeconds", 33)
        self.assertIn("k configured", self.kubectl("apply", "-f", "-", stdin=json.dumps(tree)))
        self.assertEqual(self.kubectl("get", "ksvc", "k", "-o", "jsonpath={.spec.template.spec.timeoutSeconds}"), "33")
        put(tree, POD + ".timeoutSeconds", 601)
        self.assertIn("expected 0 <= 601 <= 600", self.kubectl("apply", "-f", "-", stdin=json.dumps(tree), want=1))
        self.assertIn("deleted", self.kubectl("delete", "ksvc", "k"))
        self.assertIn("not found", self.kubectl("get", "ksvc", "k", want=1))


if __name__ == "__main__":
    unittest.main()
