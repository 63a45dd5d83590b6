"""Knative's objects beside the Service, through real kubectl: DomainMapping, ClusterDomainClaim."""
import json
import unittest

from harness import PYTHON, HobCase, request, service
from test_kubectl import KUBECTLS, Tool

CLAIM = {"apiVersion": "networking.internal.knative.dev/v1alpha1", "kind": "ClusterDomainClaim"}


def mapping(domain, to, kind="Service"):
    return {"apiVersion": "serving.knative.dev/v1beta1", "kind": "DomainMapping", "metadata": {"name": domain},
            "spec": {"ref": {"apiVersion": "serving.knative.dev/v1", "kind": kind, "name": to}}}


def claim(domain, namespace="default"):
    return {**CLAIM, "metadata": {"name": domain}, "spec": {"namespace": namespace}}


class ObjectsCase(HobCase):
    """A hob, kubectl, and short ways to say what is meant."""

    @classmethod
    def setUpClass(cls):
        if not KUBECTLS:
            raise unittest.SkipTest("kubectl is not installed")
        super().setUpClass()
        cls.kubectl = Tool(KUBECTLS[0], cls.hob)

    def apply(self, tree, want=0):
        return self.kubectl("apply", "-f", "-", stdin=json.dumps(tree), want=want)

    def read(self, what, path, namespace="default"):
        return self.kubectl("-n", namespace, "get", what, "-o", f"jsonpath={{{path}}}")

    def condition_of(self, what, kind="Ready", namespace="default"):
        """(status, reason, message)"""
        tree = json.loads(self.kubectl("-n", namespace, "get", what, "-o", "json"))
        found = [c for c in tree.get("status", {}).get("conditions", []) if c["type"] == kind]
        return (found[0]["status"], found[0].get("reason", ""), found[0].get("message", "")) if found else ("", "", "")

    def wait_for_condition(self, what, status, kind="Ready", namespace="default"):
        self.hob.wait_for(f"{kind}={status} of {what}", lambda: self.condition_of(what, kind, namespace)[0] == status)
        return self.condition_of(what, kind, namespace)

    def ask(self, host, headers=None):
        return request(self.hob.ingress_address, "GET", "/", headers={"Host": host, **(headers or {})})

    def status_of(self, host):
        return self.ask(host)[0]


class Domains(ObjectsCase):
    def test_a_claimed_domain_leads_to_its_service(self):
        self.hob.deploy("shop")
        self.assertEqual(self.status_of("shop.example.com"), 404)
        self.apply(mapping("shop.example.com", "shop"))
        self.assertEqual(self.wait_for_condition("dm/shop.example.com", "False"),
                         ("False", "DomainClaimFailed", 'no ClusterDomainClaim found for domain "shop.example.com"'))
        self.assertEqual(self.condition_of("dm/shop.example.com", "ReferenceResolved")[0], "True")
        self.assertEqual(self.status_of("shop.example.com"), 404)
        self.apply(claim("shop.example.com", "elsewhere"))
        self.hob.wait_for("another's claim to be seen", lambda: self.condition_of("dm/shop.example.com")[1:] == (
            "DomainAlreadyClaimed", "The domain name is already in use by another DomainMapping"))
        self.apply(claim("shop.example.com"))
        self.kubectl("wait", "--for=condition=Ready", "dm/shop.example.com", "--timeout=30s")
        self.assertEqual(self.status_of("shop.example.com"), 200)
        port = self.hob.ingress_address.rsplit(":", 1)[1]
        self.assertEqual(self.read("dm/shop.example.com", ".status.url"), f"http://shop.example.com:{port}")
        self.assertIn(f"http://shop.example.com:{port}   True", self.kubectl("get", "domainmappings"))
        self.hob.restart()
        self.assertEqual(self.status_of("shop.example.com"), 200)  # it is as it was
        self.kubectl("delete", "dm/shop.example.com")
        self.hob.wait_for("the name to go", lambda: self.status_of("shop.example.com") == 404)
        self.assertEqual(self.status_of(self.hob.host("shop")), 200)

    def test_a_mapping_may_come_before_its_service_and_stays_after_it(self):
        self.apply(claim("early.example.com"))
        self.apply(mapping("early.example.com", "early"))
        self.assertEqual(self.wait_for_condition("dm/early.example.com", "False"), (
            "False", "ResolveFailed",
            'failed to get object default/early: services.serving.knative.dev "early" not found'))
        self.hob.deploy("early")
        self.wait_for_condition("dm/early.example.com", "True")
        self.assertEqual(self.status_of("early.example.com"), 200)
        self.hob.delete("early")
        self.wait_for_condition("dm/early.example.com", "False")
        self.assertEqual(self.status_of("early.example.com"), 404)

    def test_a_private_service_gets_no_public_name(self):
        self.apply(claim("secret.example.com"))
        self.hob.deploy("inner")
        self.kubectl("label", "ksvc", "inner", "networking.knative.dev/visibility=cluster-local")
        self.apply(mapping("secret.example.com", "inner"))
        status, reason, message = self.wait_for_condition("dm/secret.example.com", "False")
        self.assertEqual((status, reason), ("False", "ResolveFailed"))
        self.assertIn('Service "inner" is cluster-local: a domain would make it public', message)
        self.assertEqual(self.status_of("secret.example.com"), 404)
        self.kubectl("label", "ksvc", "inner", "networking.knative.dev/visibility-")
        self.wait_for_condition("dm/secret.example.com", "True")
        self.assertEqual(self.status_of("secret.example.com"), 200)
        self.kubectl("label", "ksvc", "inner", "networking.knative.dev/visibility=cluster-local")
        self.wait_for_condition("dm/secret.example.com", "False")
        self.hob.wait_for("the name to go", lambda: self.status_of("secret.example.com") == 404)

    def test_claims_are_made_when_the_cluster_says_so(self):
        self.hob.deploy("auto")
        config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "config-network", "namespace": "knative-serving"},
                  "data": {"autocreate-cluster-domain-claims": "true"}}
        self.apply(config)
        self.apply(mapping("auto.example.com", "auto"))
        self.wait_for_condition("dm/auto.example.com", "True")
        self.assertEqual(self.read("cdc/auto.example.com", ".spec.namespace"), "default")
        self.kubectl("delete", "dm/auto.example.com")
        self.hob.wait_for("its claim to go", lambda: "auto" not in self.kubectl("get", "cdc"))
        self.kubectl("-n", "knative-serving", "delete", "configmap", "config-network")

    def test_what_a_mapping_may_not_be_is_refused_in_words(self):
        for tree, text in (
                (mapping("x.default.svc.cluster.local", "shop"),
                 'invalid name "x.default.svc.cluster.local": must not be a subdomain of cluster local domain "cluster.local": metadata.name'),
                (mapping("x.default.localhost", "shop"), 'must not be a subdomain of default domain "localhost"'),
                (mapping("short", "shop"), "should be a domain with at least two segments separated by dots"),
                (mapping("x.example.com", "shop", "Deployment"), "invalid value: Deployment: spec.ref.kind"),
                ({**mapping("x.example.com", "shop"), "spec": {"ref": {"kind": "Service"}}}, "missing field(s): spec.ref.name"),
                ({**mapping("x.example.com", "shop"), "spec": {"ref": {"kind": "Service", "name": "shop", "namespace": "other"}}},
                 "invalid value: other: spec.ref.namespace"),
                ({**CLAIM, "metadata": {"name": "x.example.com"}}, "missing field(s): spec.namespace")):
            with self.subTest(text):
                self.assertIn(text, self.apply(tree, want=1))


if __name__ == "__main__":
    unittest.main()
