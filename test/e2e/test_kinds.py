"""`hob apply`, `get` and `delete` with every kind that the API serves: the real binary, both ends."""

import json
import os
import unittest

from harness import Hob

CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "words"}, "data": {"greeting": "hello"}}
SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "stringData": {"a": "b"}}
SPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}


class Kinds(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.hob = Hob().__enter__()
        cls.addClassCleanup(cls.hob.__exit__, None, None, None)

    def folder(self, name, **files):
        folder = os.path.join(self.hob.folder, name)
        os.makedirs(folder)
        for file, tree in files.items():
            with open(os.path.join(folder, file + ".json"), "w", encoding="utf-8") as f:
                json.dump(tree, f)
        return folder

    def run_hob(self, *words, expect=0, **more):
        status, out, self.err = self.hob.hob(*words, timeout=90, **more)
        self.assertEqual(status, expect, out + self.err)
        return out

    def verbs(self, out):
        return [line.split()[1] for line in out.splitlines()]

    def test_a_folder_of_every_kind_is_created_unchanged_configured_and_deleted(self):
        inside = lambda tree: tree | {"metadata": tree["metadata"] | {"namespace": "shop"}}
        service = inside(self.hob.spec("till"))
        service["spec"]["template"]["spec"]["containers"][0].setdefault("env", []).append(
            {"name": "GREETING", "valueFrom": {"configMapKeyRef": {"name": "words", "key": "greeting"}}})
        config = inside(self.hob.spec("desk")) | {"kind": "Configuration"}
        route = {"apiVersion": "serving.knative.dev/v1", "kind": "Route", "metadata": {"name": "way", "namespace": "shop"},
                 "spec": {"traffic": [{"configurationName": "desk", "percent": 100}]}}
        claim = {"apiVersion": "networking.internal.knative.dev/v1alpha1", "kind": "ClusterDomainClaim",
                 "metadata": {"name": "shop.example.com"}, "spec": {"namespace": "shop"}}
        domain = {"apiVersion": "serving.knative.dev/v1beta1", "kind": "DomainMapping",
                  "metadata": {"name": "shop.example.com", "namespace": "shop"},
                  "spec": {"ref": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "till"}}}
        # The names of the files are the wrong order.
        folder = self.folder("mix", a=domain, b=route, c=config, d=service, e=inside(CONFIG), f=inside(SECRET), g=claim,
                             h=SPACE)
        names = ["namespace/shop", "clusterdomainclaim.networking.internal.knative.dev/shop.example.com",
                 "configmap/words", "secret/key", "service.serving.knative.dev/till",
                 "configuration.serving.knative.dev/desk", "route.serving.knative.dev/way",
                 "domainmapping.serving.knative.dev/shop.example.com"]
        self.assertEqual(self.run_hob("apply", "-f", folder).splitlines(), [f"{name} created" for name in names])
        self.assertEqual(self.verbs(self.run_hob("apply", "-f", folder)), ["unchanged"] * 8)
        with open(os.path.join(folder, "e.json"), "w", encoding="utf-8") as f:
            json.dump(inside(CONFIG) | {"data": {"greeting": "good day"}}, f)
        self.assertEqual(self.verbs(self.run_hob("apply", "-f", folder)),
                         ["unchanged"] * 2 + ["configured"] + ["unchanged"] * 5)
        for word, name in (("cm", "words"), ("secret", "key"), ("cfg", "desk"), ("rt", "way"), ("ns", "shop"),
                           ("dm", "shop.example.com"), ("cdc", "shop.example.com"), ("ksvc", "till")):
            self.assertRegex(self.run_hob("get", word, "-n", "shop"), rf"(?m)^{name} ")
        self.assertRegex(self.run_hob("get", "dm", "-A"), r"(?s)^NAMESPACE +NAME +URL +READY.*\nshop +shop.example.com")
        self.run_hob("delete", "-f", folder)
        self.assertIn("no configmaps", self.run_hob("get", "cm", "-n", "shop") + self.err)
        self.run_hob("delete", "-f", folder, expect=3)
        self.run_hob("delete", "-f", folder, "--ignore-not-found")

    def test_one_object_is_shown_by_its_kind_in_every_format(self):
        self.run_hob("apply", "-f", "-", stdin=json.dumps(CONFIG))
        self.assertRegex(self.run_hob("get", "cm", "words"), r"^NAME +DATA +AGE\nwords +1 +\d+[sm]\S*\n$")
        self.assertEqual(json.loads(self.run_hob("get", "cm/words", "-o", "json"))["data"], CONFIG["data"])
        self.assertIn("greeting: hello", self.run_hob("get", "configmap", "words", "-o", "yaml"))
        self.assertIn("configmap/words\n", self.run_hob("get", "cm", "-o", "name"))
        self.run_hob("get", "cm/nope", expect=3)
        self.run_hob("delete", "cm", "words", expect=3)
        self.assertIn("hob delete cm/NAME", self.err)
        self.assertEqual(self.run_hob("delete", "cm/words"), "configmap/words deleted\n")
        self.run_hob("get", "cm/words", expect=3)

    def test_a_dry_run_says_what_the_server_says_and_changes_nothing(self):
        good, typo = self.hob.spec("dry"), self.hob.spec("dry")
        typo["spec"]["template"]["spec"]["containerConcurency"] = 3
        self.run_hob("apply", "--dry-run", "-f", "-", stdin=json.dumps(typo), expect=1)
        self.assertIn("containerConcurency", self.err)
        self.assertEqual(self.run_hob("apply", "--dry-run", "-f", "-", stdin=json.dumps(good)),
                         "service.serving.knative.dev/dry created (server dry run)\n")
        self.run_hob("get", "dry", expect=3)

    def test_a_kind_that_is_not_served_stops_all_before_anything_is_done(self):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}
        first = CONFIG | {"metadata": {"name": "first"}}
        self.run_hob("apply", "-f", self.folder("pods", a=first, b=pod), expect=1)
        self.assertIn("v1 Pod: no kind that can be deployed", self.err)
        self.run_hob("get", "cm/first", expect=3)


if __name__ == "__main__":
    unittest.main()
