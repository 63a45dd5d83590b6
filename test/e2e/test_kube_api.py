"""What Kubernetes' own clients rely on and kubectl does not show: versions of lists, metadata alone, addresses that are
not there. Requests as client-go, a garbage collector or a hostile person would send them."""

import json
import unittest

from harness import KNATIVE, HobCase, request

CORE = "/api/v1/namespaces/default/configmaps"
PARTIAL = "application/json;as=PartialObjectMetadata%s;v=v1;g=meta.k8s.io"


def config(name, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


class Api(HobCase):
    def ask(self, method, path, body=None, headers=None):
        status, fields, text = request(self.hob.api_address, method, path, body and json.dumps(body),
                                       {"Content-Type": "application/json", **(headers or {})})
        return status, fields, text

    def get(self, path, want=200, headers=None):
        status, _, text = self.ask("GET", path, headers=headers)
        self.assertEqual(status, want, text)
        return json.loads(text)

    def events(self, path, headers=None):
        status, _, text = self.ask("GET", path, headers=headers)
        self.assertEqual(status, 200, text)
        return [json.loads(line) for line in text.splitlines()]


class Versions(Api):
    def make(self, name):
        return json.loads(self.ask("POST", CORE, config(name, a="1"))[2])["metadata"]["resourceVersion"]

    def test_a_list_is_exactly_of_its_version_or_not_given(self):
        self.make("v1")
        version = self.get(CORE)["metadata"]["resourceVersion"]
        self.assertEqual(self.hob.call("POST", f"{KNATIVE}/default/services", self.hob.spec("other"))[0], 201)
        exact = f"{CORE}?resourceVersion={version}&resourceVersionMatch=Exact"
        self.get(exact)  # something changed since, but no ConfigMap
        self.make("v2")
        self.assertEqual(self.get(exact, want=410)["reason"], "Expired")
        newer = self.get(f"{CORE}?resourceVersion={version}&resourceVersionMatch=NotOlderThan")
        self.assertIn("v2", [item["metadata"]["name"] for item in newer["items"]])

    def test_a_version_that_is_not_yet_is_said_and_never_waited_through(self):
        now = int(self.get(CORE)["metadata"]["resourceVersion"])
        status, fields, text = self.ask("GET", f"{CORE}?resourceVersion={now + 1000}")
        said = json.loads(text)
        self.assertEqual((status, said["reason"], fields["Retry-After"]), (504, "Timeout", "1"))
        self.assertEqual(said["details"]["causes"][0]["reason"], "ResourceVersionTooLarge")
        # A watch would be silent until that version, and its client would believe that nothing happens.
        said = self.get(f"{CORE}?watch=true&timeoutSeconds=1&resourceVersion={now + 1000}", want=410)
        self.assertEqual(said["reason"], "Expired")

    def test_parameters_that_contradict_each_other_are_refused(self):
        for query, status in (("resourceVersion=abc", 400), ("resourceVersionMatch=Exact", 422),
                              ("resourceVersion=1&resourceVersionMatch=Older", 422),
                              ("resourceVersion=0&resourceVersionMatch=Exact", 422),
                              ("watch=1&timeoutSeconds=1&resourceVersion=abc", 400)):
            self.get(f"{CORE}?{query}", want=status)

    def test_watch_is_read_as_kubernetes_reads_it(self):
        for word in ("watch", "watch=", "watch=1", "watch=yes", "watch=TRUE"):
            self.assertEqual([e["type"] for e in self.events(f"{CORE}?{word}&timeoutSeconds=1&fieldSelector=metadata.name%3Dno")],
                             [], word)
        for word in ("watch=0", "watch=false", "watch=False"):
            self.assertEqual(self.get(f"{CORE}?{word}&timeoutSeconds=1")["kind"], "ConfigMapList", word)


class Apply(Api):
    def test_an_object_that_was_read_is_nothing_to_apply(self):
        tree = json.loads(self.ask("POST", CORE, config("read", a="1"))[2])
        self.assertTrue(tree["metadata"]["managedFields"])
        status, _, text = self.ask("PATCH", f"{CORE}/read?fieldManager=me", tree, {"Content-Type": "application/apply-patch+yaml"})
        self.assertEqual((status, json.loads(text)["message"]), (400, "metadata.managedFields must be nil"))
        del tree["metadata"]["managedFields"]
        status, _, text = self.ask("PATCH", f"{CORE}/read?fieldManager=me", tree, {"Content-Type": "application/apply-patch+yaml"})
        self.assertEqual(status, 200, text)


class Delete(Api):
    def test_who_wants_to_keep_what_belongs_to_it_is_told_before_it_is_gone(self):
        self.hob.deploy("kept")
        path = f"{KNATIVE}/default/services/kept"
        for options in ({"propagationPolicy": "Orphan"}, {"orphanDependents": True}):
            status, _, text = self.ask("DELETE", path, options)
            self.assertEqual(status, 400, text)
            self.assertIn("Orphan is not supported: what belongs to a Service goes with it", json.loads(text)["message"])
        self.assertEqual(self.ask("DELETE", f"{KNATIVE}/default/services?propagationPolicy=Orphan")[0], 400)
        self.get(f"{KNATIVE}/default/revisions/kept-00001")
        self.ask("POST", CORE, config("alone", a="1"))
        self.assertEqual(self.ask("DELETE", f"{CORE}/alone", {"propagationPolicy": "Orphan"})[0], 200)  # it owns nothing
        self.assertEqual(self.ask("DELETE", path, {"propagationPolicy": "Foreground"})[0], 200)


class Metadata(Api):
    def test_finalizers_are_left_out_and_that_is_said(self):
        service, plain = self.hob.spec("final"), config("final", a="1")
        for tree, path in ((service, f"{KNATIVE}/default/services"), (plain, CORE)):
            tree["metadata"]["finalizers"] = ["example.com/hold"]
            status, fields, text = self.ask("POST", path, tree)
            self.assertEqual(status, 201, text)
            self.assertIn("hob runs no finalizers", fields["Warning"])
            self.assertNotIn("finalizers", json.loads(text)["metadata"])
            status, fields, text = self.ask("PUT", f"{path}/final", json.loads(text))
            self.assertEqual((status, "finalizers" in fields.get("Warning", "")), (200, False), text)
            self.assertEqual(self.ask("DELETE", f"{path}/final")[0], 200)
            self.get(f"{path}/final", want=404)


class Partial(Api):
    def test_metadata_alone_in_a_list_of_one_and_as_it_changes(self):
        self.ask("POST", CORE, config("p", secret="word"))
        one = self.get(f"{CORE}/p", headers={"Accept": PARTIAL % ""})
        self.assertEqual((one["kind"], one["apiVersion"], one["metadata"]["name"]),
                         ("PartialObjectMetadata", "meta.k8s.io/v1", "p"))
        self.assertNotIn("data", one)
        some = self.get(f"{CORE}?limit=1&labelSelector=!none", headers={"Accept": PARTIAL % "List"})
        self.assertEqual((some["kind"], some["apiVersion"], len(some["items"])),
                         ("PartialObjectMetadataList", "meta.k8s.io/v1", 1))
        self.assertEqual(set(some["items"][0]), {"kind", "apiVersion", "metadata"})
        seen = self.events(f"{CORE}?watch=true&timeoutSeconds=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
                           "&allowWatchBookmarks=true", headers={"Accept": PARTIAL % ""})
        self.assertEqual({e["object"]["kind"] for e in seen}, {"PartialObjectMetadata"})
        self.assertIn("p", [e["object"]["metadata"].get("name") for e in seen])
        self.assertEqual(seen[-1]["type"], "BOOKMARK")
        self.assertNotIn("word", json.dumps(seen))


class Addresses(Api):
    def test_what_is_not_there_is_not_found_whatever_is_done_to_it(self):
        services = f"{KNATIVE}/default/services"
        for path in (f"{services}/f/scale", f"{services}/f/scale/more", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
                     "/api/v1/namespaces/default/pods", "/apis/apps/v1/namespaces/default/deployments", "/api/v1/nodes/n"):
            for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
                status, _, text = self.ask(method, path, {} if method != "GET" else None)
                self.assertEqual((status, json.loads(text)["reason"]), (404, "NotFound"), (method, path))
        for path in ("/api", "/apis/", "/apis/serving.knative.dev", "/apis/serving.knative.dev/v1", "/openapi/v3"):
            status, fields, _ = self.ask("POST", path, {})
            self.assertEqual((status, fields["Allow"]), (405, "GET, HEAD"), path)


class Kn(Api):
    """kn service update --env, --tag and --traffic, request by request, as it was recorded."""

    def test_an_update_reads_revisions_and_replaces_or_hears_of_a_conflict(self):
        self.hob.deploy("k")
        path, revisions = f"{KNATIVE}/default/services/k", f"{KNATIVE}/default/revisions"
        read = self.get(path)
        latest = read["status"]["latestCreatedRevisionName"]
        self.assertEqual(self.get(f"{revisions}/{latest}")["metadata"]["labels"]["serving.knative.dev/service"], "k")
        read["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "A", "value": "1"}]
        read["spec"]["template"]["metadata"] = {"creationTimestamp": None, "annotations": {
            "client.knative.dev/updateTimestamp": "2026-01-01T00:00:00Z", "client.knative.dev/user-image": "probe"}}
        status, _, text = self.ask("PUT", path, read)
        self.assertEqual(status, 200, text)
        second = self.hob.wait_for("the second", lambda: (n := self.get(path)["status"]["latestReadyRevisionName"]) != latest and n)
        read["spec"]["traffic"] = [{"revisionName": latest, "percent": 100}]  # somebody who read it before that
        status, _, text = self.ask("PUT", path, read)
        said = json.loads(text)
        self.assertEqual((status, said["reason"], said["details"]["name"]), (409, "Conflict", "k"))
        mine = self.get(f"{revisions}?labelSelector=serving.knative.dev%2Fservice%3Dk")["items"]
        self.assertEqual({r["metadata"]["name"] for r in mine}, {latest, second})
        read = self.get(path)
        read["spec"]["traffic"] = [{"revisionName": latest, "percent": 30, "tag": "old", "latestRevision": False},
                                   {"latestRevision": True, "percent": 70}]
        self.assertEqual(self.ask("PUT", path, read)[0], 200)
        traffic = self.hob.wait_for("the tag", lambda: (t := self.get(path)["status"]["traffic"])[0].get("tag") and t)
        self.assertEqual([(t["revisionName"], t["percent"]) for t in traffic], [(latest, 30), (second, 70)])
        self.assertRegex(traffic[0]["url"], r"^http://old-k\.default\.")


if __name__ == "__main__":
    unittest.main()
