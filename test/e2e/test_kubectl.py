"""Real kubectl, old and new, against the real binary. Every kubectl found is driven through the same story: the one on
the PATH, and those that HOB_KUBECTL names (joined by colons). kn is not to be had as a package; its traffic is
replayed as it was recorded."""

import http.client
import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import unittest

from harness import KNATIVE, PYTHON, HobCase, request, service

KUBECTLS = [path for path in [shutil.which("kubectl"), *os.environ.get("HOB_KUBECTL", "").split(":")] if path]


class Tool:
    def __init__(self, path, hob):
        self.path, self.hob = path, hob
        self.env = {**os.environ, "HOME": tempfile.mkdtemp(prefix="kubectl-", dir=hob.folder)}
        said = self("version", "--client", "-o", "json")
        self.minor = int(json.loads(said)["clientVersion"]["minor"].rstrip("+"))

    def __call__(self, *words, stdin=None, want=0, env=None):
        done = subprocess.run([self.path, f"--server=http://{self.hob.api_address}", *words], input=stdin, text=True,
                              capture_output=True, timeout=60, env={**self.env, **(env or {})})
        if done.returncode != want:
            raise AssertionError(f"kubectl {self.path} {words}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout + done.stderr


NUMBERS = itertools.count()  # what one test leaves when it fails is in no other's way


@unittest.skipUnless(KUBECTLS, "kubectl is not installed")
class Kubectl(HobCase):
    def each(self):
        for path in KUBECTLS:
            yield Tool(path, self.hob), f"k{next(NUMBERS)}"  # which one failed is in its message

    def deploy(self, tool, name):
        tree = service(name, self.hob.probe(), [*PYTHON, "/app/probe.py"])
        self.assertIn(f"{name} created", tool("apply", "-f", "-", stdin=json.dumps(tree)))
        self.assertIn("condition met", tool("wait", "--for=condition=Ready", f"ksvc/{name}", "--timeout=30s"))
        return tree

    def test_patch_label_annotate_and_edit(self):
        for tool, name in self.each():
            self.deploy(tool, name)
            read = lambda path: tool("get", "ksvc", name, "-o", f"jsonpath={{{path}}}")
            tool("label", "ksvc", name, "team=a")
            tool("annotate", "ksvc", name, "note=hello")
            self.assertEqual((read(".metadata.labels.team"), read(".metadata.annotations.note")), ("a", "hello"))
            self.assertIn(name, tool("get", "ksvc", "-l", "team in (a,b)"))
            self.assertIn("No resources found", tool("get", "ksvc", "-l", "team notin (a),team"))
            tool("patch", "ksvc", name, "--type=merge", "-p", '{"metadata":{"labels":{"team":"b"}}}')
            tool("patch", "ksvc", name, "--type=json", "-p",
                 '[{"op":"test","path":"/metadata/labels/team","value":"b"},{"op":"add","path":"/metadata/labels/two","value":"2"}]')
            self.assertEqual((read(".metadata.labels.team"), read(".metadata.labels.two")), ("b", "2"))
            said = tool("patch", "ksvc", name, "--type=json", "-p",
                        '[{"op":"test","path":"/metadata/labels/team","value":"x"}]', want=1)
            self.assertIn("The request is invalid", said)
            if tool.minor >= 27:  # the old one keeps the reason to itself
                self.assertIn("testing value /metadata/labels/team failed", said)
            editor = os.path.join(self.hob.folder, f"edit-{name}")
            with open(editor, "w") as f:
                f.write("#!/bin/sh\nexec sed -i 's/team: b/team: c/' \"$1\"\n")
            os.chmod(editor, 0o755)
            self.assertIn("edited", tool("edit", "ksvc", name, env={"EDITOR": editor, "KUBE_EDITOR": editor}))
            self.assertEqual(read(".metadata.labels.team"), "c")
            self.assertIn("deleted", tool("delete", "ksvc", name))

    def test_server_side_apply_says_whose_a_field_is(self):
        for tool, name in self.each():
            tree = service(name, self.hob.probe(), [*PYTHON, "/app/probe.py"])
            tool("apply", "--server-side", "--field-manager=ann", "-f", "-", stdin=json.dumps(tree))
            tree["spec"]["template"]["spec"]["timeoutSeconds"] = 33
            tool("apply", "--server-side", "--field-manager=ann", "-f", "-", stdin=json.dumps(tree))
            tree["spec"]["template"]["spec"]["timeoutSeconds"] = 44
            said = tool("apply", "--server-side", "--field-manager=bob", "-f", "-", stdin=json.dumps(tree), want=1)
            self.assertIn('conflict with "ann"', said)
            self.assertIn(".spec.template.spec.timeoutSeconds", said)
            tool("apply", "--server-side", "--field-manager=bob", "--force-conflicts", "-f", "-", stdin=json.dumps(tree))
            self.assertEqual(tool("get", "ksvc", name, "-o", "jsonpath={.spec.template.spec.timeoutSeconds}"), "44")
            tool("delete", "ksvc", name)

    def test_a_watch_shows_rows_as_they_change(self):
        for tool, name in self.each():
            with subprocess.Popen([tool.path, f"--server=http://{self.hob.api_address}", "get", "ksvc", "-w"],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=tool.env) as watch:
                rows, ready = [], threading.Event()

                def read():
                    for line in watch.stdout:
                        rows.append(line.split())
                        if name in line and "True" in line:
                            ready.set()

                reader = threading.Thread(target=read)
                reader.start()
                try:
                    self.deploy(tool, name)
                    self.assertTrue(ready.wait(30), rows)
                finally:
                    watch.kill()
                    reader.join(10)
            self.assertEqual(rows[0], ["NAME", "URL", "LATESTCREATED", "LATESTREADY", "READY", "REASON"])
            self.assertGreater(len([row for row in rows if row[:1] == [name]]), 1)
            tool("delete", "ksvc", name)

    def test_describe_tells_the_events(self):
        for tool, name in self.each():
            self.deploy(tool, name)
            self.hob.wait_for("the event", lambda: "Revision becomes ready upon all resources being ready" in
                              tool("describe", "rev", f"{name}-00001"))
            self.assertRegex(tool("get", "events"), rf"revision/{name}-00001")
            self.assertIn(f"{name}-00001", tool("get", "rev"))
            self.assertIn("ExternalName", tool("get", "svc", name))
            tool("delete", "ksvc", name)

    def test_config_maps_secrets_and_namespaces(self):
        for tool, name in self.each():
            tool("create", "namespace", name)
            tool("-n", name, "create", "configmap", "c", "--from-literal=a=1")
            tool("-n", name, "create", "secret", "generic", "s", "--from-literal=p=word")
            self.assertEqual(tool("-n", name, "get", "secret", "s", "-o", "jsonpath={.data.p}"), "d29yZA==")
            self.assertRegex(tool("-n", name, "get", "cm"), r"NAME +DATA +AGE\nc +1 ")
            self.assertIn("a:\n----\n1", tool("-n", name, "describe", "cm", "c"))
            self.assertIn("deleted", tool("delete", "namespace", name))  # waits until it is gone
            self.assertIn("not found", tool("get", "namespace", name, want=1))
            self.assertIn("No resources found", tool("-n", name, "get", "cm"))

    def test_diff_shows_what_an_apply_would_change(self):
        for tool, name in self.each():
            tree = self.deploy(tool, name)
            tree["spec"]["template"]["spec"]["timeoutSeconds"] = 77
            self.assertRegex(tool("diff", "-f", "-", stdin=json.dumps(tree), want=1), r"\+ +timeoutSeconds: 77")
            self.assertEqual(tool("get", "ksvc", name, "-o", "jsonpath={.spec.template.spec.timeoutSeconds}"), "300")
            tool("delete", "ksvc", name)

    def test_explain_reads_the_tables(self):
        for tool, _ in self.each():
            said = tool("explain", "ksvc.spec.template.spec.containerConcurrency")
            self.assertIn("requests that an instance may have", said)
            self.assertIn("stringData", tool("explain", "secret"))
            self.assertIn("not to be set, as in Knative", tool("explain", "ksvc.spec.template.spec.affinity"))


class Lasting(HobCase):
    def ask(self, method, path, body=None, kind="application/json"):
        status, _, text = request(self.hob.api_address, method, path, body and json.dumps(body), {"Content-Type": kind})
        return status, json.loads(text)

    def test_objects_and_an_unfinished_deletion_outlive_a_crash_and_old_versions_are_gone(self):
        core = "/api/v1/namespaces"
        config = lambda name: {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}}
        self.assertEqual(self.ask("POST", f"{core}/default/configmaps", config("kept"))[0], 201)
        for i in range(40):
            self.assertEqual(self.ask("POST", f"{core}/gone/configmaps", config(f"c{i}"))[0], 201)
        before = self.ask("GET", f"{core}/default/configmaps/kept")[1]
        status, marked = self.ask("DELETE", f"{core}/gone")
        self.assertEqual((status, marked["status"]["phase"]), (200, "Terminating"))
        self.hob.restart(signal.SIGKILL)
        self.assertEqual(self.ask("GET", f"{core}/default/configmaps/kept")[1], before)
        self.hob.wait_for("the end of the namespace", lambda: self.ask("GET", f"{core}/gone")[0] == 404)
        self.assertEqual(self.ask("GET", "/api/v1/configmaps?fieldSelector=metadata.namespace%3Dgone")[1]["items"], [])
        version = before["metadata"]["resourceVersion"]
        status, said = self.ask("GET", f"{core}/default/configmaps?watch=true&resourceVersion={version}")
        self.assertEqual((status, said["reason"]), (410, "Expired"))


class Kn(HobCase):
    """kn service create --wait and delete --wait, request by request."""

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection(self.hob.api_address, timeout=30)
        try:
            connection.request(method, path, body and json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def watch(self, version):
        connection = http.client.HTTPConnection(self.hob.api_address, timeout=30)
        connection.request("GET", f"{KNATIVE}/default/services?fieldSelector=metadata.name%3Dk1&resourceVersion="
                                  f"{version}&timeoutSeconds=630&watch=true")
        return connection, connection.getresponse()

    def test_create_waits_for_modified_events_and_delete_for_the_replayed_end(self):
        path = f"{KNATIVE}/default/services"
        self.assertEqual(self.ask("GET", f"{path}/k1")[0], 404)
        tree = service("k1", self.hob.probe(), [*PYTHON, "/app/probe.py"])
        tree["metadata"]["creationTimestamp"] = None
        tree["spec"]["template"]["metadata"] = {**tree["spec"]["template"].get("metadata", {}), "creationTimestamp": None}
        tree["spec"]["template"]["spec"]["containers"][0].update({"name": "", "resources": {}})
        tree["status"] = {}
        self.assertEqual(self.ask("POST", path, tree)[0], 201)
        version = self.ask("GET", f"{path}/k1")[1]["metadata"]["resourceVersion"]
        connection, stream = self.watch(version)
        for line in stream:
            event = json.loads(line)
            self.assertEqual(event["type"], "MODIFIED")
            status = event["object"].get("status", {})
            ready = [c["status"] for c in status.get("conditions", []) if c["type"] == "Ready"]
            if ready == ["True"] and status["observedGeneration"] == event["object"]["metadata"]["generation"]:
                break
        connection.close()
        old = self.ask("GET", f"{path}/k1")[1]["metadata"]["resourceVersion"]
        self.assertEqual(self.ask("DELETE", f"{path}/k1", {"propagationPolicy": "Foreground"})[0], 200)
        connection, stream = self.watch(old)  # too late, as when its request is the slower one
        types = []
        while "DELETED" not in types:
            types.append(json.loads(stream.readline())["type"])
        connection.close()


if __name__ == "__main__":
    unittest.main()
