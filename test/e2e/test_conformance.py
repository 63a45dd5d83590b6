"""Knative's API, line by line: what a Service may say, what is made of what it leaves out, and the words of a refusal.

Each row is one change to a manifest that is accepted. Nothing is stored: every request is a dry run."""
import copy
import unittest

from harness import KNATIVE, HobCase, service

PREFIX = 'admission webhook "validation.webhook.serving.knative.dev" denied the request: validation failed: '
POD = "spec.template.spec"
MAIN = POD + ".containers[0]"
UNSET = ("unset",)


def base():
    tree = service("f", "file:///nowhere", ["/bin/true"])
    del tree["spec"]["template"]["metadata"]
    return tree


def put(tree, path, value):
    """Sets what `path` names (a.b[0].c; a key with dots in quotes), making what is not there."""
    at, steps = tree, []
    for part in path.replace("]", "").replace("[", ".#").split(".") if '"' not in path else split_quoted(path):
        steps.append(int(part[1:]) if part.startswith("#") else part)
    for step, following in zip(steps, steps[1:]):
        empty = [] if isinstance(following, int) else {}
        if isinstance(step, int):
            while len(at) <= step:
                at.append({})
            at = at[step]
        else:
            at = at.setdefault(step, empty)
    if value is UNSET:
        del at[steps[-1]]
    elif isinstance(at, list):
        at[steps[-1]:] = [value]
    else:
        at[steps[-1]] = value


def split_quoted(path):
    before, key, after = path.split('"')
    return [p for p in before.strip(".").split(".") if p] + [key] + [p for p in after.strip(".").split(".") if p]


def get(tree, path):
    for part in path.replace("]", "").replace("[", ".#").split("."):
        tree = tree[int(part[1:])] if part.startswith("#") else tree.get(part)
        if tree is None:
            return None
    return tree


class Rows(HobCase):
    def post(self, changes):
        tree = base()
        for path, value in changes.items():
            put(tree, path, value if value is UNSET else copy.deepcopy(value))
        return self.hob.call("POST", f"{KNATIVE}/default/services?dryRun=All", tree)

    def accepted(self, changes):
        status, _, answer = self.post(changes)
        self.assertEqual(status, 201, f"{changes}: {answer}")
        return answer

    def refused(self, changes, *texts, webhook=True):
        """By Knative's webhook; or, before that, by what every object of Kubernetes must be."""
        status, _, answer = self.post(changes)
        code, reason = (400, "BadRequest") if webhook else (422, "Invalid")
        self.assertEqual(status, code, f"{changes}: {answer}")
        self.assertEqual((answer["kind"], answer["status"], answer["reason"], answer["code"]),
                         ("Status", "Failure", reason, code))
        self.assertTrue(answer["message"].startswith(PREFIX if webhook else "Service.serving.knative.dev "), answer)
        for text in texts:
            self.assertIn(text, answer["message"], changes)
        return answer["message"]


class Defaults(Rows):
    def test_what_is_left_out(self):
        tree = self.accepted({})
        for path, want in {
            f"{MAIN}.name": "user-container",
            f"{MAIN}.readinessProbe": {"tcpSocket": {"port": 0}, "successThreshold": 1},
            f"{MAIN}.resources": {},
            f"{POD}.containerConcurrency": 0,
            f"{POD}.timeoutSeconds": 300,
            f"{POD}.enableServiceLinks": False,
            f"{POD}.responseStartTimeoutSeconds": None,
            f"{POD}.idleTimeoutSeconds": None,
            "spec.traffic": [{"latestRevision": True, "percent": 100}],
        }.items():
            self.assertEqual(get(tree, path), want, path)

    def test_who_made_it(self):
        seen = self.accepted({})["metadata"]["annotations"]
        self.assertEqual(seen["serving.knative.dev/creator"], seen["serving.knative.dev/lastModifier"])

    def test_zero_seconds_mean_the_default(self):
        self.assertEqual(get(self.accepted({f"{POD}.timeoutSeconds": 0}), f"{POD}.timeoutSeconds"), 300)

    def test_the_answer_begins_in_time_unless_all_of_it_must_anyway(self):
        tree = self.accepted({f"{POD}.timeoutSeconds": 400})
        self.assertEqual(get(tree, f"{POD}.responseStartTimeoutSeconds"), 300)

    def test_a_probe_with_a_period_has_a_timeout_and_a_threshold(self):
        tree = self.accepted({f"{MAIN}.readinessProbe": {"httpGet": {"path": "/"}, "periodSeconds": 2}})
        seen = get(tree, f"{MAIN}.readinessProbe")
        self.assertEqual((seen["timeoutSeconds"], seen["failureThreshold"], seen["successThreshold"]), (1, 3, 1))

    def test_what_kn_sends_is_borne(self):
        self.accepted({"metadata.creationTimestamp": None, f"{MAIN}.name": "", f"{MAIN}.resources": {},
                       "spec.template.metadata": {"creationTimestamp": None}, "status": {}})


class Containers(Rows):
    def test_one_at_least(self):
        self.refused({f"{POD}.containers": []}, "missing field(s): spec.template.spec.containers")

    def test_the_name_of_the_proxy_is_taken(self):
        self.refused({f"{MAIN}.name": "queue-proxy"}, "queue-proxy", f"{MAIN}.name")

    def test_the_image_is_a_reference(self):
        self.refused({f"{MAIN}.image": UNSET}, f"missing field(s): {MAIN}.image")
        self.refused({f"{MAIN}.image": "UPPER CASE"}, f"{MAIN}.image")

    def test_ports(self):
        port = f"{MAIN}.ports"
        for name in ("", "http1", "h2c"):
            self.accepted({port: [{"name": name, "containerPort": 9000}]})
        self.refused({port: [{"name": "grpc", "containerPort": 9000}]}, "Port name grpc is not allowed",
                     "Name must be empty, or one of: 'h2c', 'http1'", port)
        self.refused({port: [{"containerPort": 1}, {"containerPort": 2}]}, "more than one container port is set")
        self.refused({port: [{"containerPort": 80, "protocol": "UDP"}]}, "invalid value: UDP", f"{port}.protocol")
        self.refused({port: [{"containerPort": 80, "hostPort": 80}]}, "must not set the field(s)", "hostPort")
        self.refused({port: [{"containerPort": 80, "hostIP": "127.0.0.1"}]}, "must not set the field(s)", "hostIP")
        self.refused({port: [{"containerPort": 65536}]}, "expected 0 <= 65536 <= 65535", "containerPort")
        for taken in (8012, 8013, 8022, 9090, 9091, 8008):
            self.refused({port: [{"containerPort": taken}]}, f"{taken}", "containerPort")

    def test_environment(self):
        for name in ("PORT", "K_SERVICE", "K_CONFIGURATION", "K_REVISION"):
            self.refused({f"{MAIN}.env": [{"name": name, "value": "x"}]}, f'"{name}" is a reserved environment variable',
                         f"{MAIN}.env")
        self.refused({f"{MAIN}.env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]},
                     "fieldRef")
        ref = {"configMapKeyRef": {"name": "c", "key": "k"}}
        self.accepted({f"{MAIN}.env": [{"name": "A", "valueFrom": ref}]})
        self.accepted({f"{MAIN}.envFrom": [{"prefix": "P_", "secretRef": {"name": "b", "optional": True}}]})
        self.refused({f"{MAIN}.envFrom": [{}]}, "expected exactly one, got neither", f"{MAIN}.envFrom[0].configMapRef")
        both = {"configMapRef": {"name": "a"}, "secretRef": {"name": "b"}}
        self.refused({f"{MAIN}.envFrom": [both]}, "expected exactly one, got both")
        self.refused({f"{MAIN}.env": [{"value": "x"}]}, "missing field(s)", f"{MAIN}.env[0].name")

    def test_what_a_container_may_never_have(self):
        for field, value in {"lifecycle": {"preStop": {"exec": {"command": ["x"]}}}, "stdin": True, "stdinOnce": True,
                             "tty": True, "volumeDevices": [{"name": "x", "devicePath": "/x"}]}.items():
            self.refused({f"{MAIN}.{field}": value}, "must not set the field(s)", f"{MAIN}.{field}")

    def test_its_security(self):
        security = f"{MAIN}.securityContext"
        self.accepted({security: {"runAsUser": 1000, "runAsNonRoot": True, "readOnlyRootFilesystem": True,
                                  "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}})
        self.refused({security: {"runAsUser": -10}}, "expected 0 <= -10 <= 2147483647", f"{security}.runAsUser")
        self.refused({security: {"runAsGroup": -10}}, "expected 0 <= -10 <= 2147483647", f"{security}.runAsGroup")
        self.refused({security: {"privileged": True}}, f"{security}.privileged")
        self.refused({security: {"procMount": "Unmasked"}}, "must not set the field(s)", f"{security}.procMount")
        self.refused({security: {"seLinuxOptions": {"level": "x"}}}, "must not set the field(s)")
        self.refused({security: {"capabilities": {"add": ["NET_ADMIN"]}}}, "capabilities")

    def test_resources(self):
        self.accepted({f"{MAIN}.resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "100m"}}})
        self.refused({f"{MAIN}.resources": {"limits": {"memory": "much"}}}, f"{MAIN}.resources", webhook=False)


class Probes(Rows):
    def test_exactly_one_way(self):
        probe = f"{MAIN}.readinessProbe"
        both = {"httpGet": {"path": "/"}, "tcpSocket": {"port": 0}}
        self.refused({probe: both}, "expected exactly one, got both", f"{probe}.httpGet", f"{probe}.tcpSocket")
        for handler in ({"httpGet": {"path": "/h"}}, {"tcpSocket": {}}, {"exec": {"command": ["/x"]}}, {"grpc": {}}):
            for kind in ("readinessProbe", "livenessProbe", "startupProbe"):
                self.accepted({f"{MAIN}.{kind}": handler})

    def test_numbers(self):
        probe = f"{MAIN}.readinessProbe"
        for field in ("timeoutSeconds", "failureThreshold"):
            self.refused({probe: {"tcpSocket": {}, "periodSeconds": 0, field: 2}}, f"{probe}.{field}")
        self.refused({probe: {"tcpSocket": {}, "periodSeconds": -1}}, f"{probe}.periodSeconds")
        self.refused({probe: {"tcpSocket": {}, "initialDelaySeconds": -1}}, f"{probe}.initialDelaySeconds")
        self.refused({probe: {"tcpSocket": {}, "periodSeconds": 1, "failureThreshold": -1}},
                     f"{probe}.failureThreshold")
        self.refused({probe: {"tcpSocket": {}, "periodSeconds": 1, "timeoutSeconds": -1}}, f"{probe}.timeoutSeconds")


class Volumes(Rows):
    def volume(self, source, mount=None, **more):
        return {f"{POD}.volumes": [{"name": "v", **source}],
                f"{MAIN}.volumeMounts": [{"name": "v", "mountPath": "/v", **(mount or {})}], **more}

    def test_each_is_mounted_once(self):
        self.refused({f"{POD}.volumes": [{"name": "v", "emptyDir": {}}]}, 'volume with name "v" not mounted',
                     f"{POD}.volumes[0].name")
        self.refused({f"{MAIN}.volumeMounts": [{"name": "none", "mountPath": "/v"}]},
                     "volumeMount has no matching volume", f"{MAIN}.volumeMounts[0].name")
        twice = [{"name": "v", "emptyDir": {}}, {"name": "v", "emptyDir": {}}]
        self.refused({**self.volume({"emptyDir": {}}), f"{POD}.volumes": twice}, 'duplicate volume name "v"')

    def test_where(self):
        self.accepted(self.volume({"emptyDir": {}}))
        for path in ("/", "/dev", "/dev/log"):
            self.refused(self.volume({"emptyDir": {}}, {"mountPath": path}), "mountPath")
        self.refused(self.volume({"emptyDir": {}}, {"mountPath": "not/absolute"}), "mountPath")
        mounts = [{"name": "v", "mountPath": "/v"}, {"name": "v", "mountPath": "/v/"}]
        self.refused({f"{POD}.volumes": [{"name": "v", "emptyDir": {}}], f"{MAIN}.volumeMounts": mounts}, "mountPath")
        self.refused(self.volume({"emptyDir": {}}, {"mountPropagation": "Bidirectional"}), "mountPropagation")

    def test_what_is_read_only(self):
        for source in ({"image": {"reference": "file:///nowhere"}}, {"configMap": {"name": "c"}},
                       {"secret": {"secretName": "s"}}, {"projected": {"sources": [{"configMap": {"name": "c"}}]}}):
            tree = self.accepted(self.volume(source))
            self.assertIs(get(tree, f"{MAIN}.volumeMounts[0].readOnly"), True, source)
        self.assertIsNone(get(self.accepted(self.volume({"emptyDir": {}})), f"{MAIN}.volumeMounts[0].readOnly"))

    def test_sources(self):
        self.refused(self.volume({}), "expected exactly one, got neither")
        self.refused(self.volume({"configMap": {"name": "c"}, "secret": {"secretName": "s"}}),
                     "expected exactly one, got both")
        for source in ({"hostPath": {"path": "/"}}, {"persistentVolumeClaim": {"claimName": "c"}},
                       {"nfs": {"server": "s", "path": "/"}}):
            self.refused(self.volume(source), next(iter(source)))
        for name, source in (("serviceAccountToken", {"path": "token"}), ("downwardAPI", {"items": [
                {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]})):
            self.refused(self.volume({"projected": {"sources": [{name: source}]}}), f"{name} support is disabled",
                         f"{POD}.volumes[0].projected.sources[0].{name}")


class Pod(Rows):
    def test_numbers(self):
        for field, wrong, low, high in (("containerConcurrency", 1001, 0, 1000), ("containerConcurrency", -1, 0, 1000),
                                        ("timeoutSeconds", 601, 0, 600), ("timeoutSeconds", -1, 0, 600)):
            self.refused({f"{POD}.{field}": wrong}, f"expected {low} <= {wrong} <= {high}", f"{POD}.{field}")

    def test_what_is_off_in_knative_is_refused_by_name(self):
        for field, value in {
            "affinity": {"nodeAffinity": {}}, "tolerations": [{"key": "k", "operator": "Exists"}],
            "topologySpreadConstraints": [{"maxSkew": 1}], "nodeSelector": {"a": "b"},
            "hostAliases": [{"ip": "127.0.0.1", "hostnames": ["x"]}], "runtimeClassName": "gvisor",
            "dnsPolicy": "Default", "dnsConfig": {"nameservers": ["127.0.0.1"]}, "shareProcessNamespace": True,
            "hostIPC": True, "hostPID": True, "hostNetwork": True, "priorityClassName": "high", "schedulerName": "mine",
            "restartPolicy": "Never", "terminationGracePeriodSeconds": 5, "activeDeadlineSeconds": 5, "nodeName": "n",
            "hostname": "h", "subdomain": "s", "readinessGates": [{"conditionType": "x"}],
        }.items():
            with self.subTest(field=field):
                self.refused({f"{POD}.{field}": value}, "must not set the field(s)", f"{POD}.{field}")

    def test_service_accounts(self):
        self.accepted({f"{POD}.serviceAccountName": "robot"})
        self.refused({f"{POD}.serviceAccountName": "Not A Name"}, f"{POD}.serviceAccountName")
        self.refused({f"{POD}.automountServiceAccountToken": True}, f"{POD}.automountServiceAccountToken")

    def test_progress_deadline(self):
        key = 'spec.template.metadata.annotations."serving.knative.dev/progress-deadline"'
        self.accepted({key: "30s"})
        for wrong in ("0s", "-1s", "1.5s", "soon"):
            self.refused({key: wrong}, "progress-deadline")


class Traffic(Rows):
    def test_targets(self):
        self.refused({"spec.traffic": [{"latestRevision": True, "percent": 99}]}, "Traffic targets sum to 99, want 100",
                     "spec.traffic")
        self.refused({"spec.traffic": [{"latestRevision": True, "percent": 101}]}, "expected 0 <= 101 <= 100",
                     "spec.traffic[0].percent")
        twice = [{"latestRevision": True, "percent": 50, "tag": "a"}, {"latestRevision": True, "percent": 50, "tag": "a"}]
        self.refused({"spec.traffic": twice}, 'Multiple definitions for "a"', "spec.traffic[0].tag, spec.traffic[1].tag")
        self.refused({"spec.traffic": [{"latestRevision": True, "percent": 100, "tag": "Not-dns"}]}, "spec.traffic[0].tag")
        self.accepted({"spec.traffic": [{"latestRevision": True, "percent": 100, "tag": "x" * 61}]})  # and "-f": 63
        self.refused({"spec.traffic": [{"latestRevision": True, "percent": 100, "tag": "x" * 62}]},
                     "no part of a host name is longer than 63 bytes", "spec.traffic[0].tag")
        self.refused({"spec.traffic": [{"configurationName": "f", "percent": 100}]}, "must not set the field(s)",
                     "spec.traffic[0].configurationName")
        self.refused({"spec.traffic": [{"revisionName": "f-00001", "latestRevision": True, "percent": 100}]},
                     "spec.traffic[0].latestRevision")
        self.refused({"spec.traffic": [{"latestRevision": True, "percent": 100, "url": "http://x"}]},
                     "must not set the field(s)", "spec.traffic[0].url")


class Names(Rows):
    def test_of_a_service(self):
        for wrong in ("UPPER", "under_score"):
            self.refused({"metadata.name": wrong}, "metadata.name", "RFC 1123", webhook=False)
        for wrong in ("1digit", "x" * 64, "with.dot"):
            self.refused({"metadata.name": wrong}, "metadata.name", "DNS 1035")

    def test_of_a_revision(self):
        self.accepted({"spec.template.metadata": {"name": "f-mine"}})
        self.refused({"spec.template.metadata": {"name": "mine"}}, "spec.template.metadata.name")

    def test_annotations_of_the_autoscaler_belong_to_the_template(self):
        self.refused({'metadata.annotations."autoscaling.knative.dev/min-scale"': "1"},
                     'autoscaling annotations must be put under "spec.template.metadata.annotations" to work')

    def test_who_made_it_stays(self):
        key = 'metadata.annotations."serving.knative.dev/creator"'
        made = self.accepted({key: "me"})["metadata"]["annotations"]
        self.assertNotEqual(made["serving.knative.dev/creator"], "me")


class Autoscaling(Rows):
    def one(self, key, value):
        return {f'spec.template.metadata.annotations."autoscaling.knative.dev/{key}"': value}

    def test_ranges(self):
        for key, right, wrong in (
                ("class", ["kpa.autoscaling.knative.dev", "mine.example.com"], ["x.knative.dev"]),
                ("metric", ["concurrency", "rps"], ["cpu"]),
                ("target", ["0.01", "100"], ["0", "-1", "much"]),
                ("target-utilization-percentage", ["1", "100"], ["0", "101"]),
                ("window", ["6s", "1h"], ["5s", "61m", "6.5s", "x"]),
                ("panic-window-percentage", ["1", "100"], ["0.5", "101"]),
                ("panic-threshold-percentage", ["110", "1000"], ["109", "1001"]),
                ("target-burst-capacity", ["-1", "0", "300"], ["-2", "x"]),
                ("min-scale", ["0", "3"], ["-1", "x"]), ("max-scale", ["0", "3"], ["-1", "x"]),
                ("initial-scale", ["0", "1"], ["-1", "x"]), ("activation-scale", ["2"], ["1", "0"]),
                ("scale-down-delay", ["0s", "1h"], ["61m", "-1s", "1.5s"]),
                ("scale-to-zero-pod-retention-period", ["0s", "1h"], ["61m", "-1s"]),
                ("metric-aggregation-algorithm", ["linear", "weighted-exponential"], ["median"])):
            for value in right:
                with self.subTest(key=key, accepted=value):
                    self.accepted(self.one(key, value))
            for value in wrong:
                with self.subTest(key=key, refused=value):
                    self.refused(self.one(key, value), f"autoscaling.knative.dev/{key}")

    def test_the_old_names_mean_the_same(self):
        self.accepted(self.one("minScale", "1"))
        self.refused(self.one("minScale", "x"), "autoscaling.knative.dev/minScale")

    def test_min_is_not_above_max(self):
        self.refused({**self.one("min-scale", "3"), **self.one("max-scale", "2")}, "max-scale=2 is less than min-scale=3")


class Objects(HobCase):
    """What a Service becomes: the labels, annotations and status that tools read."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        tree = cls.hob.spec("f")
        tree["metadata"] |= {"labels": {"team": "a"}, "annotations": {"note": "b"}}
        tree["spec"]["template"]["metadata"]["labels"] = {"tier": "c"}
        cls.service = cls.hob.apply(tree)

    def get(self, plural, name="f", want=200):
        return self.hob.call("GET", f"{KNATIVE}/default/{plural}/{name}", want=want)[2]

    def conditions(self, tree):
        return {c["type"]: c["status"] for c in tree["status"]["conditions"]}

    def test_a_service_says_where_it_is_and_what_serves(self):
        status, port = self.service["status"], self.hob.ingress_address.rsplit(":", 1)[1]
        self.assertEqual(status["url"], f"http://f.default.localhost:{port}")
        self.assertEqual(status["address"]["url"], "http://f.default.svc.cluster.local")
        self.assertEqual((status["latestCreatedRevisionName"], status["latestReadyRevisionName"]),
                         ("f-00001", "f-00001"))
        self.assertEqual(status["traffic"], [{"latestRevision": True, "percent": 100, "revisionName": "f-00001"}])
        self.assertEqual(self.conditions(self.service),
                         {"ConfigurationsReady": "True", "RoutesReady": "True", "Ready": "True"})
        for condition in status["conditions"]:
            self.assertRegex(condition["lastTransitionTime"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")

    def test_a_configuration(self):
        tree = self.get("configurations")
        self.assertEqual(self.conditions(tree), {"Ready": "True"})
        self.assertEqual((tree["status"]["latestCreatedRevisionName"], tree["status"]["latestReadyRevisionName"]),
                         ("f-00001", "f-00001"))
        self.assertEqual(tree["status"]["observedGeneration"], tree["metadata"]["generation"])
        self.owned(tree)

    def test_a_route(self):
        tree = self.get("routes")
        seen = self.conditions(tree)
        self.assertEqual({k: seen.get(k) for k in ("AllTrafficAssigned", "IngressReady", "Ready")},
                         {"AllTrafficAssigned": "True", "IngressReady": "True", "Ready": "True"})
        self.assertEqual(tree["status"]["url"], self.service["status"]["url"])
        self.owned(tree)

    def owned(self, tree):
        self.assertEqual(tree["metadata"]["labels"]["serving.knative.dev/service"], "f")
        self.assertEqual(tree["metadata"]["labels"]["team"], "a")
        self.assertEqual(tree["metadata"]["annotations"]["note"], "b")
        for who in ("creator", "lastModifier"):
            self.assertEqual(tree["metadata"]["annotations"][f"serving.knative.dev/{who}"],
                             self.service["metadata"]["annotations"][f"serving.knative.dev/{who}"])
        self.owner(tree, "Service", self.service["metadata"]["uid"])

    def owner(self, tree, kind, uid):
        (owner,) = tree["metadata"]["ownerReferences"]
        self.assertEqual({k: owner.get(k) for k in ("apiVersion", "kind", "name", "uid", "controller")},
                         {"apiVersion": "serving.knative.dev/v1", "kind": kind, "name": "f", "uid": uid,
                          "controller": True})

    def test_a_revision(self):
        tree, configuration = self.get("revisions", "f-00001"), self.get("configurations")
        labels = tree["metadata"]["labels"]
        self.assertEqual({k: labels.get(f"serving.knative.dev/{k}") for k in (
            "configuration", "service", "configurationGeneration", "configurationUID", "serviceUID", "routingState")}, {
            "configuration": "f", "service": "f", "configurationGeneration": "1",
            "configurationUID": configuration["metadata"]["uid"], "serviceUID": self.service["metadata"]["uid"],
            "routingState": "active"})
        self.assertEqual(labels["tier"], "c")
        self.assertNotIn("team", labels)
        annotations = tree["metadata"]["annotations"]
        self.assertEqual(annotations["serving.knative.dev/routes"], "f")
        self.assertIn("serving.knative.dev/routingStateModified", annotations)
        self.assertIn("serving.knative.dev/creator", annotations)
        self.owner(tree, "Configuration", configuration["metadata"]["uid"])
        seen = self.conditions(tree)
        self.assertEqual({k: seen.get(k) for k in ("ResourcesAvailable", "ContainerHealthy", "Ready")},
                         {"ResourcesAvailable": "True", "ContainerHealthy": "True", "Ready": "True"})
        (container,) = tree["status"]["containerStatuses"]
        self.assertEqual(container["name"], "user-container")
        self.assertRegex(container["imageDigest"], "sha256:[0-9a-f]{64}$")
        self.assertIn("actualReplicas", tree["status"])
        self.assertIn("desiredReplicas", tree["status"])

    def test_a_revision_is_made_by_nobody_and_changed_by_nobody(self):
        tree = self.get("revisions", "f-00001")
        tree["spec"]["timeoutSeconds"] = 17
        status, _, answer = self.hob.call("PUT", f"{KNATIVE}/default/revisions/f-00001", tree)
        self.assertGreaterEqual(status, 400)
        self.assertEqual(answer["kind"], "Status")
        tree["metadata"] = {"name": "f-mine"}
        status, _, _ = self.hob.call("POST", f"{KNATIVE}/default/revisions", tree)
        self.assertIn(status, (403, 405))

    def test_the_core_service_of_the_same_name(self):
        tree = self.hob.call("GET", "/api/v1/namespaces/default/services/f", want=200)[2]
        labels = tree["metadata"]["labels"]
        self.assertEqual((labels["serving.knative.dev/service"], labels["serving.knative.dev/route"]), ("f", "f"))
        self.assertEqual(tree["metadata"]["annotations"]["note"], "b")

    def test_generations_count_changes_of_the_spec_only(self):
        tree = self.hob.apply(self.hob.spec("g"))
        self.assertEqual(tree["metadata"]["generation"], 1)
        patch = {"Content-Type": "application/merge-patch+json"}
        path = f"{KNATIVE}/default/services/g"
        tree = self.hob.call("PATCH", path, {"metadata": {"labels": {"x": "y"}}}, patch, want=200)[2]
        self.assertEqual(tree["metadata"]["generation"], 1)
        self.hob.wait_for("the label to be copied",
                          lambda: self.get("routes", "g")["metadata"].get("labels", {}).get("x") == "y")
        self.hob.call("PATCH", path, {"metadata": {"labels": {"x": None}}}, patch, want=200)
        self.hob.wait_for("the label to go",
                          lambda: "x" not in self.get("configurations", "g")["metadata"].get("labels", {}))
        names = [r["metadata"]["name"] for r in self.hob.call("GET", f"{KNATIVE}/default/revisions")[2]["items"]]
        self.assertNotIn("g-00002", names)
        tree = self.hob.call("PATCH", path, {"spec": {"template": {"metadata": {"labels": {"new": "1"}}}}}, patch,
                             want=200)[2]
        self.assertEqual(tree["metadata"]["generation"], 2)
        self.hob.wait_ready("g")
        self.assertEqual(self.hob.get_service("g")["status"]["latestReadyRevisionName"], "g-00002")

    def test_who_made_it_cannot_be_changed(self):
        tree = self.get("services")
        tree["metadata"]["annotations"]["serving.knative.dev/creator"] = "somebody-else"
        status, _, answer = self.hob.call("PUT", f"{KNATIVE}/default/services/f", tree)
        self.assertEqual(status, 400, answer)
        self.assertIn("metadata.annotations.serving.knative.dev/creator", answer["message"])

    def test_a_name_of_ones_own_is_of_one_template(self):
        tree = self.hob.spec("own")
        tree["spec"]["template"]["metadata"]["name"] = "own-first"
        self.hob.apply(tree)
        tree["spec"]["template"]["spec"]["timeoutSeconds"] = 17
        tree["metadata"]["resourceVersion"] = self.get("services", "own")["metadata"]["resourceVersion"]
        status, _, answer = self.hob.call("PUT", f"{KNATIVE}/default/services/own", tree)
        self.assertEqual(status, 400, answer)
        self.assertIn("Saw the following changes without a name change (-old +new)", answer["message"])
        self.assertIn("spec.template.metadata.name", answer["message"])

    def test_discovery(self):
        seen = {r["name"]: r for r in
                self.hob.call("GET", "/apis/serving.knative.dev/v1", want=200)[2]["resources"]}
        for plural, kind, short in (("services", "Service", {"ksvc", "kservice"}), ("routes", "Route", {"rt"}),
                                    ("configurations", "Configuration", {"config", "cfg"}),
                                    ("revisions", "Revision", {"rev"})):
            self.assertEqual(seen[plural]["kind"], kind)
            self.assertTrue(short <= set(seen[plural]["shortNames"]), seen[plural])
            self.assertTrue({"all", "knative", "serving"} <= set(seen[plural]["categories"]), seen[plural])
            self.assertTrue({"get", "list", "watch"} <= set(seen[plural]["verbs"]))
            self.assertIn(f"{plural}/status", seen)
        self.assertNotIn("create", seen["revisions"]["verbs"])

    def test_the_status_is_a_resource_of_its_own_that_only_hob_writes(self):
        for plural, name in (("services", "f"), ("configurations", "f"), ("routes", "f"), ("revisions", "f-00001")):
            self.assertEqual(self.get(plural, f"{name}/status")["status"], self.get(plural, name)["status"])
            status, fields, _ = self.hob.call("PUT", f"{KNATIVE}/default/{plural}/{name}/status", {})
            self.assertEqual((status, fields["Allow"]), (405, "GET, HEAD"))
        self.get("services", "f/scale", want=404)
        self.get("services", "none/status", want=404)

    def test_printer_columns(self):
        table = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
        for plural, columns in (("services", "Name URL LatestCreated LatestReady Ready Reason"),
                                ("configurations", "Name LatestCreated LatestReady Ready Reason"),
                                ("revisions", "Name Config_Name Generation Ready Reason Actual_Replicas Desired_Replicas"),
                                ("routes", "Name URL Ready Reason")):
            tree = self.hob.call("GET", f"{KNATIVE}/default/{plural}", headers=table, want=200)[2]
            self.assertEqual([c["name"].replace(" ", "_") for c in tree["columnDefinitions"]
                              if c.get("priority", 0) == 0 and c["name"] != "Age"], columns.split(), plural)

    def test_who_owns_goes_and_takes_what_it_owns(self):
        self.hob.apply(self.hob.spec("gone"))
        answer = self.hob.call("DELETE", f"{KNATIVE}/default/services/gone", {"propagationPolicy": "Foreground"},
                               want=200)[2]
        self.assertTrue(answer["kind"] == "Status" or answer["metadata"]["name"] == "gone")
        for plural, name in (("services", "gone"), ("configurations", "gone"), ("routes", "gone"),
                             ("revisions", "gone-00001")):
            self.hob.wait_for(f"{plural} {name} to go",
                              lambda: self.hob.call("GET", f"{KNATIVE}/default/{plural}/{name}")[0] == 404)
        self.assertEqual(self.hob.call("GET", "/api/v1/namespaces/default/services/gone")[0], 404)


if __name__ == "__main__":
    unittest.main()
