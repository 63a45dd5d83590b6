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
    def test_a_domain_leads_to_a_route_of_its_own_too(self):
        self.hob.deploy("behind")
        self.apply(claim("own.example.com"))
        self.apply(mapping("own.example.com", "own", kind="Route"))
        self.assertEqual(self.wait_for_condition("dm/own.example.com", "False")[1], "ResolveFailed")
        self.apply({"apiVersion": "serving.knative.dev/v1", "kind": "Route", "metadata": {"name": "own"},
                    "spec": {"traffic": [{"configurationName": "behind", "percent": 100}]}})
        self.kubectl("wait", "--for=condition=Ready", "dm/own.example.com", "--timeout=30s")
        self.hob.wait_for("the name to lead there", lambda: self.status_of("own.example.com") == 200)
        self.kubectl("delete", "route/own")
        self.hob.wait_for("the name to lead nowhere", lambda: self.status_of("own.example.com") == 404)
        self.assertEqual(self.wait_for_condition("dm/own.example.com", "False")[1], "ResolveFailed")

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


def configuration(hob, name, text, **template):
    """What service() makes, as a Configuration that says `text` on every GET /."""
    tree = service(name, hob.bundle({"say.py": SAY.replace("TEXT", text)}), ["/usr/bin/python3", "/app/say.py"], **template)
    tree["kind"] = "Configuration"
    tree["spec"].pop("traffic", None)
    return tree


def route(name, *traffic, **metadata):
    return {"apiVersion": "serving.knative.dev/v1", "kind": "Route", "metadata": {"name": name, **metadata},
            "spec": {"traffic": list(traffic)}}


SAY = """
import http.server, os
class S(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = b"TEXT"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), S).serve_forever()
"""


class Routes(ObjectsCase):
    def configured(self, name, text):
        self.apply(configuration(self.hob, name, text))
        self.wait_for_condition(f"cfg/{name}", "True")

    def said(self, host, count=1):
        return {self.ask(host)[2].decode() for _ in range(count)}

    def test_a_configuration_makes_revisions_and_a_route_leads_to_them(self):
        self.configured("alone", "one")
        self.assertNotIn("alone", self.kubectl("get", "ksvc"))
        self.assertEqual(self.status_of(self.hob.host("alone")), 404)
        rev = json.loads(self.kubectl("get", "rev", "alone-00001", "-o", "json"))
        labels = rev["metadata"]["labels"]
        self.assertEqual(labels["serving.knative.dev/configuration"], "alone")
        self.assertNotIn("serving.knative.dev/service", labels)
        self.assertEqual([(o["kind"], o["name"]) for o in rev["metadata"]["ownerReferences"]], [("Configuration", "alone")])
        self.assertEqual(rev["metadata"]["ownerReferences"][0]["uid"], self.read("cfg/alone", ".metadata.uid"))
        self.apply(route("way", {"configurationName": "alone", "percent": 100}))
        self.kubectl("wait", "--for=condition=Ready", "rt/way", "--timeout=30s")
        self.assertEqual(self.said(self.hob.host("way")), {"one"})
        beside = json.loads(self.kubectl("get", "svc", "way", "-o", "json"))  # the core Service, as beside a Service's Route
        self.assertEqual(beside["metadata"]["labels"], {"serving.knative.dev/route": "way"})
        self.assertEqual((beside["metadata"]["ownerReferences"][0]["kind"], beside["metadata"]["ownerReferences"][0]["uid"]),
                         ("Route", self.read("rt/way", ".metadata.uid")))
        self.assertIn("way ", self.kubectl("get", "svc"))
        self.hob.wait_for("its revision to say so", lambda: "active" == self.read(
            "rev/alone-00001", ".metadata.labels.serving\\.knative\\.dev/routingState"))
        self.assertEqual(self.read("rev/alone-00001", ".metadata.annotations.serving\\.knative\\.dev/routes"), "way")
        self.apply(configuration(self.hob, "alone", "two"))
        self.hob.wait_for("the new one", lambda: self.said(self.hob.host("way")) == {"two"})
        self.assertEqual(self.read("cfg/alone", ".status.latestReadyRevisionName"), "alone-00002")
        self.assertEqual(self.read("rt/way", ".status.traffic[0].revisionName"), "alone-00002")
        self.hob.restart()
        self.assertEqual(self.said(self.hob.host("way")), {"two"})
        self.kubectl("delete", "rt/way")
        self.hob.wait_for("the name to go", lambda: self.status_of(self.hob.host("way")) == 404)
        self.kubectl("delete", "cfg/alone")
        self.hob.wait_for("its revisions to go", lambda: "alone" not in self.kubectl("get", "rev"))

    def test_each_configuration_of_a_route_rolls_out_gradually_also_after_a_restart(self):
        for name in ("left", "right"):
            self.configured(name, name)
        self.apply(route("both", {"configurationName": "left", "percent": 10}, {"configurationName": "right", "percent": 90},
                         annotations={"serving.knative.dev/rollout-duration": "30m"}))
        self.kubectl("wait", "--for=condition=Ready", "rt/both", "--timeout=30s")
        self.apply(configuration(self.hob, "right", "right-2"))
        self.hob.wait_for("the rollout", lambda: self.read("rt/both", ".status.traffic[1].revisionName") == "right-00002")
        for _ in range(2):
            reasons = self.read("rt/both", '.status.conditions[?(@.type=="Ready")].reason')
            self.assertEqual(reasons, "RolloutInProgress")
            self.assertIn("right", self.said(self.hob.host("both"), 20))  # 89 in 100 are of the old one still
            self.assertEqual(self.read("rt/both", ".status.traffic[1].revisionName"), "right-00002")
            self.hob.restart()
            self.hob.wait_for("it to serve", lambda: self.status_of(self.hob.host("both")) == 200)
        for what in ("rt/both", "cfg/left", "cfg/right"):
            self.kubectl("delete", what)

    def test_a_route_splits_among_configurations_and_revisions_of_anybody(self):
        self.configured("red", "red")
        self.configured("blue", "blue")
        self.hob.deploy("owned")
        self.apply(route("mix", {"configurationName": "red", "percent": 50},
                         {"configurationName": "blue", "percent": 50, "tag": "sea"},
                         {"revisionName": "owned-00001", "percent": 0, "tag": "other"}))
        self.wait_for_condition("rt/mix", "True")
        self.assertEqual(self.said(self.hob.host("mix"), 40), {"red", "blue"})
        self.assertEqual(self.said(self.hob.host("sea-mix"), 5), {"blue"})
        self.assertEqual(self.status_of(self.hob.host("other-mix")), 200)
        traffic = json.loads(self.kubectl("get", "rt", "mix", "-o", "json"))["status"]["traffic"]
        self.assertEqual([t["revisionName"] for t in traffic], ["red-00001", "blue-00001", "owned-00001"])
        self.assertIn("sea-mix.default", traffic[1]["url"])
        self.kubectl("delete", "cfg/red")
        self.assertEqual(self.wait_for_condition("rt/mix", "False"),
                         ("False", "ConfigurationMissing", 'Configuration "red" referenced in traffic not found.'))
        self.assertEqual(self.said(self.hob.host("mix"), 5), {"blue"})  # what is left still serves
        self.kubectl("delete", "rt/mix")  # what it named still runs, for its own Service
        self.hob.wait_for("the name to go", lambda: self.status_of(self.hob.host("other-mix")) == 404)
        self.assertEqual(self.status_of(self.hob.host("owned")), 200)

    def test_what_is_not_there_is_a_condition_in_knatives_words(self):
        self.apply(route("lost", {"configurationName": "nowhere", "percent": 100}))
        self.assertEqual(self.wait_for_condition("rt/lost", "False", "AllTrafficAssigned"),
                         ("False", "ConfigurationMissing", 'Configuration "nowhere" referenced in traffic not found.'))
        self.apply(route("lost", {"revisionName": "nowhere-00001", "percent": 100}))
        self.hob.wait_for("the other reason", lambda: self.condition_of("rt/lost")[1:] == (
            "RevisionMissing", 'Revision "nowhere-00001" referenced in traffic not found.'))
        self.assertEqual(self.status_of(self.hob.host("lost")), 404)

    def test_what_is_a_services_is_changed_through_the_service(self):
        self.hob.deploy("whole")
        for what in ("rt/whole", "cfg/whole"):
            self.assertIn('it belongs to Service "whole" and follows it', self.kubectl("delete", what, want=1))
            self.assertIn('it belongs to Service "whole"', self.kubectl("label", what, "a=b", want=1))
        self.assertIn("belongs to", self.apply(route("whole", {"configurationName": "whole", "percent": 100}), want=1))
        self.assertEqual(self.status_of(self.hob.host("whole")), 200)
        self.apply(route("taken", {"revisionName": "whole-00001", "percent": 100}))
        tree = self.hob.spec("taken")
        self.assertIn('There is an existing Route "taken" that we do not own.', self.apply(tree, want=1))
        self.configured("mine", "x")
        self.assertIn('There is an existing Configuration "mine" that we do not own.', self.apply(self.hob.spec("mine"), want=1))
        names = self.kubectl("get", "rt", "-o", "name").split()
        self.assertEqual([n for n in names if n.split("/")[1] in ("whole", "taken")],
                         ["route.serving.knative.dev/taken", "route.serving.knative.dev/whole"])

    def test_a_private_route_is_reached_from_here_only(self):
        self.configured("quiet", "hush")
        self.apply(route("hidden", {"configurationName": "quiet", "percent": 100},
                         labels={"networking.knative.dev/visibility": "cluster-local"}))
        self.wait_for_condition("rt/hidden", "True")
        self.assertEqual(self.status_of(self.hob.host("hidden")), 404)
        self.assertEqual(self.said("hidden.default.svc.cluster.local"), {"hush"})
        self.assertEqual(self.read("rt/hidden", ".status.url"), "http://hidden.default.svc.cluster.local")

    def test_what_a_route_or_configuration_may_not_say_is_refused(self):
        odd = configuration(self.hob, "odd", "x")
        odd["spec"]["traffic"] = [{"percent": 100, "latestRevision": True}]
        for tree, text in (
                (route("odd", {"percent": 100}), "expected exactly one, got neither: spec.traffic[0].configurationName, spec.traffic[0].revisionName"),
                (route("odd", {"percent": 100, "configurationName": "a", "revisionName": "b"}), "expected exactly one, got both"),
                (route("odd", {"percent": 90, "configurationName": "a"}), "Traffic targets sum to 90, want 100"),
                (route("odd"), "Traffic targets sum to 0, want 100"),
                (route("odd", {"percent": 100, "configurationName": "a"}, annotations={"autoscaling.knative.dev/min-scale": "1"}),
                 "autoscaling annotations must be put under"),
                (odd, 'unknown field "spec.traffic"')):
            with self.subTest(text):
                self.assertIn(text, self.kubectl("create", "--validate=false", "-f", "-", stdin=json.dumps(tree), want=1)
                              if "unknown" not in text else self.hob.call(
                                  "POST", "/apis/serving.knative.dev/v1/namespaces/default/configurations", tree)[2]["message"])


class Cluster(ObjectsCase):
    def config(self, name, want=0, **data):
        data = {key.replace("_", "-"): value for key, value in data.items()}
        return self.apply({"apiVersion": "v1", "kind": "ConfigMap",
                           "metadata": {"name": name, "namespace": "knative-serving"}, "data": data}, want)

    def refused(self, name, **spec):
        return self.apply(self.hob.spec(name, **spec), want=1)

    def test_resources_of_the_cluster_hold_for_who_does_not_say(self):
        self.config("config-defaults", revision_cpu_request="300m", revision_cpu_limit="1500m", revision_memory_limit="300Mi")
        self.hob.deploy("sized")
        self.hob.deploy("own-size", limits={"cpu": "700m"})
        read = lambda name, path: self.read(f"ksvc/{name}", f".spec.template.spec.containers[0].resources.{path}")
        self.assertEqual((read("sized", "requests.cpu"), read("sized", "limits.cpu"), read("sized", "limits.memory")),
                         ("300m", "1500m", "300Mi"))
        self.assertEqual((read("own-size", "requests.cpu"), read("own-size", "limits.cpu")), ("300m", "700m"))
        self.assertIn("must be less than or equal to", self.refused("small", limits={"cpu": "200m"}))
        self.kubectl("-n", "knative-serving", "delete", "configmap", "config-defaults")
        self.hob.deploy("unsized")
        self.assertEqual(read("unsized", "limits.cpu"), "")

    def test_features_are_switched_off_by_name(self):
        def tree(**spec):
            made = self.hob.spec("featured")
            made["spec"]["template"]["spec"].update(spec)
            return made
        inits = tree(initContainers=[{"name": "i", "image": self.hob.probe(), "command": ["/bin/true"]}])
        scratch = tree(volumes=[{"name": "v", "emptyDir": {}}])
        scratch["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = [{"name": "v", "mountPath": "/v"}]
        self.kubectl("apply", "--dry-run=server", "-f", "-", stdin=json.dumps(inits))
        self.config("config-features", **{"kubernetes.podspec-init-containers": "Disabled",
                                          "kubernetes.podspec-volumes-emptydir": "Disabled"})
        self.assertIn("pod spec support for init-containers is off, but found 1 init containers", self.apply(inits, 1))
        self.assertIn("EmptyDir volume support is disabled, but found EmptyDir volume v", self.apply(scratch, 1))
        said = self.config("config-features", 1, **{"kubernetes.podspec-affinity": "enabled"})
        self.assertIn("invalid value: enabled: data.kubernetes.podspec-affinity", said)
        self.kubectl("-n", "knative-serving", "delete", "configmap", "config-features")

    def test_defaults_of_the_cluster_hold_for_who_does_not_say(self):
        self.config("config-defaults", revision_timeout_seconds="60", max_revision_timeout_seconds="90",
                    container_concurrency="7", container_concurrency_max_limit="9")
        self.hob.deploy("defaulted")
        read = lambda path: self.read("ksvc/defaulted", f".spec.template.spec.{path}")
        self.assertEqual((read("timeoutSeconds"), read("containerConcurrency")), ("60", "7"))
        self.assertIn("expected 0 <= 10 <= 9", self.refused("much", containerConcurrency=10))
        tree = self.hob.spec("long")
        tree["spec"]["template"]["spec"]["timeoutSeconds"] = 91
        self.assertIn("expected 0 <= 91 <= 90", self.apply(tree, want=1))
        self.assertIn("revision-timeout-seconds (91) cannot be greater than max-revision-timeout-seconds (90)",
                      self.config("config-defaults", 1, revision_timeout_seconds="91", max_revision_timeout_seconds="90"))
        self.hob.restart()
        self.assertIn("expected 0 <= 10 <= 9", self.refused("much", containerConcurrency=10))
        self.kubectl("-n", "knative-serving", "delete", "configmap", "config-defaults")
        self.hob.deploy("plain")
        self.assertEqual(self.read("ksvc/plain", ".spec.template.spec.timeoutSeconds"), "300")

    def test_the_autoscaler_of_the_cluster(self):
        self.assertIn("stable-window = 2s, must be in [6s; 1h0m0s] range", self.config("config-autoscaler", 1, stable_window="2s"))
        self.config("config-autoscaler", min_scale="2", max_scale_limit="3", allow_zero_initial_scale="false")
        self.hob.deploy("two")
        self.hob.wait_instances("two", 2)
        self.assertIn("expected 1 <= 4 <= 3", self.refused("four", annotations={"max-scale": 4}))
        self.assertIn("max-scale=0 (unlimited), must be less than 3", self.refused("any", annotations={"max-scale": 0}))
        self.assertIn("invalid value: 0", self.refused("none", annotations={"initial-scale": 0}))
        self.kubectl("-n", "knative-serving", "delete", "configmap", "config-autoscaler")
        self.hob.deploy("four", annotations={"max-scale": 4})

    def test_the_autoscaler_of_the_cluster_rules_what_runs_already(self):
        self.hob.deploy("old")
        self.hob.deploy("own", annotations={"min-scale": 1, "window": "1h"})
        revision = self.hob.get_service("old")["status"]["latestReadyRevisionName"]
        self.config("config-autoscaler", min_scale="2")
        self.hob.wait_instances("old", 2)
        self.assertIn("to 2 instances", self.hob.wait_for("the event", lambda: (
            said := self.kubectl("describe", "rev", revision)) and "to 2 instances" in said and said))
        self.config("config-autoscaler", stable_window="6s", scale_to_zero_pod_retention_period="0s")
        self.hob.wait_instances("old", 0)  # within 30 s, and not a minute after its last request
        self.assertEqual(len(self.hob.instances("own")), 1)
        self.assertEqual(self.status_of(self.hob.host("old")), 200)
        self.assertEqual(self.hob.get_service("old")["status"]["latestCreatedRevisionName"], revision)
        self.kubectl("-n", "knative-serving", "delete", "configmap", "config-autoscaler")

    def test_what_of_knatives_settings_has_no_effect_is_said(self):
        said = self.config("config-domain", **{"example.com": ""})
        self.assertIn("Warning: hob does not read config-domain: it is kept, and has no effect", said)
        said = self.apply({"apiVersion": "v1", "kind": "ConfigMap", "data": {
            "_example": "x", "multi-container": "Enabled", "new-feature": "Enabled"},
            "metadata": {"name": "config-features", "namespace": "knative-serving"}})
        self.assertIn("Warning: hob does not read this key: it has no effect: data.new-feature", said)
        self.assertNotIn("_example", said)
        self.assertNotIn("data.multi-container", said)
        self.assertNotIn("Warning", self.apply({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "1"},
                                                "metadata": {"name": "config-domain", "namespace": "default"}}))
        self.kubectl("-n", "knative-serving", "delete", "configmap", "config-domain", "config-features")

    def test_revisions_that_nobody_sends_to_are_collected_as_config_gc_says(self):
        for n in range(4):
            self.hob.deploy("many", annotations={"initial-scale": 1}, env={"N": str(n)})
        names = lambda: self.kubectl("get", "rev", "-o", "name").split()
        mine = lambda: [n for n in names() if "/many-" in n]
        self.assertEqual(len(mine()), 4)
        self.config("config-gc", retain_since_create_time="0s", retain_since_last_active_time="0s",
                    min_non_active_revisions="1")
        self.hob.wait_for("two to go", lambda: [n[-5:] for n in mine()] == ["00003", "00004"])
        self.assertIn("exceeds max-non-active-revisions(1)", self.config(
            "config-gc", 1, min_non_active_revisions="2", max_non_active_revisions="1"))
        self.config("config-gc", retain_since_create_time="disabled", retain_since_last_active_time="disabled",
                    min_non_active_revisions="0", max_non_active_revisions="0")
        self.hob.wait_for("all but the latest to go", lambda: [n[-5:] for n in mine()] == ["00004"])
        self.assertEqual(self.status_of(self.hob.host("many")), 200)


class Room(ObjectsCase):
    LIMITS = {"instances_max": 8}

    def test_a_min_scale_that_does_not_fit_beside_the_others_is_refused(self):
        self.hob.deploy("first", annotations={"min-scale": 5})
        self.hob.wait_instances("first", 5)
        said = self.apply(self.hob.spec("second", annotations={"min-scale": 4}), want=1)
        self.assertIn("min-scale=4 does not fit: the min-scale of other services takes 5 of the 8 instances that this "
                      "node has room for", said)
        self.hob.deploy("second", annotations={"min-scale": 3})
        self.assertIn("does not fit", self.apply(self.hob.spec("first", annotations={"min-scale": 6}), want=1))
        self.kubectl("label", "ksvc", "first", "team=a")  # promises nothing new
        self.hob.restart()
        self.assertIn("takes 5 of the 8", self.apply(self.hob.spec("second", annotations={"min-scale": 4}), want=1))
        self.hob.delete("first")
        self.hob.deploy("second", annotations={"min-scale": 5})  # while the new ones start, the old three stay


if __name__ == "__main__":
    unittest.main()
