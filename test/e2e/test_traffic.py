"""Who gets the requests, on the real binary: splits, tags, rollback, gradual rollouts, private services, and a new
revision under load that nobody notices."""
import collections
import json
import os
import shutil
import subprocess
import threading
import time
import unittest

from harness import KNATIVE, PYTHON, HobCase, request, service

# Says which Revision it is, and VERSION, which the tests change to make another one.
APP = """
import http.server, os
BODY = (os.environ["K_REVISION"] + " " + os.environ["VERSION"]).encode()
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)
    def log_message(self, *args):
        pass
class S(http.server.ThreadingHTTPServer):
    request_queue_size = 256
S(("", int(os.environ["PORT"])), H).serve_forever()
"""
BROKEN = "import sys; print('I do not start'); sys.exit(3)"
KUBECTL = shutil.which("kubectl")


class Load:
    """So many requests a second, each on a connection of its own; what came back is counted."""

    def __init__(self, hob, name, rps, workers=4):
        self.hob, self.name, self.pause = hob, name, workers / rps
        self.statuses, self.bodies = collections.Counter(), collections.Counter()
        self.lock, self.over = threading.Lock(), threading.Event()
        self.threads = [threading.Thread(target=self.work) for _ in range(workers)]

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def work(self):
        due = time.monotonic()
        while not self.over.is_set():
            try:
                status, _, body = self.hob.ingress(self.name)
            except OSError as e:
                status, body = repr(e), b""
            with self.lock:
                self.statuses[status] += 1
                self.bodies[body.decode()] += 1
            due += self.pause
            self.over.wait(max(0, due - time.monotonic()))

    def __exit__(self, *_):
        self.over.set()
        for t in self.threads:
            t.join()


class Traffic(HobCase):
    def spec(self, name, version, traffic=None, code=APP, **more):
        if not hasattr(self.hob, "apps"):
            self.hob.apps = {}
        if code not in self.hob.apps:
            self.hob.apps[code] = self.hob.bundle({"app.py": code})
        tree = service(name, self.hob.apps[code], [*PYTHON, "/app/app.py"], env={"VERSION": version}, **more)
        if traffic:
            tree["spec"]["traffic"] = traffic
        return tree

    def deploy(self, name, version, traffic=None, wait=True, **more):
        return self.hob.apply(self.spec(name, version, traffic, **more), wait)

    def patch(self, name, tree, want=200):
        return self.hob.call("PATCH", f"{KNATIVE}/default/services/{name}", tree,
                             {"Content-Type": "application/merge-patch+json"}, want=want)[2]

    def traffic(self, name, *targets):
        self.patch(name, {"spec": {"traffic": list(targets)}})

    def get(self, plural, name):
        return self.hob.call("GET", f"{KNATIVE}/default/{plural}/{name}", want=200)[2]

    def seen(self, host, count=200, **headers):
        counted = collections.Counter()
        for _ in range(count):
            status, _, body = request(self.hob.ingress_address, "GET", "/", headers={"Host": host, **headers})
            counted[body.decode().split()[0] if status == 200 else status] += 1
        return counted

    def test_a_split_gives_each_its_share_and_tags_lead_where_they_say(self):
        self.deploy("split", "one")
        self.deploy("split", "two")
        self.traffic("split", {"revisionName": "split-00001", "percent": 50, "tag": "old"},
                     {"latestRevision": True, "percent": 50}, {"latestRevision": True, "percent": 0, "tag": "new"})
        tree = self.hob.wait_ready("split")
        urls = {t["tag"]: t["url"] for t in tree["status"]["traffic"] if "tag" in t}
        port = self.hob.ingress_address.split(":")[1]
        self.assertEqual(urls, {tag: f"http://{tag}-split.default.localhost:{port}" for tag in ("old", "new")})
        shares = self.seen("split.default.localhost")
        self.assertEqual(sum(shares.values()), 200)
        for name in ("split-00001", "split-00002"):
            self.assertGreater(shares[name], 50, shares)  # Knative's own suite: each at least a quarter
        for tag, name in (("old", "split-00001"), ("new", "split-00002")):
            self.assertEqual(self.seen(f"{tag}-split.default.localhost", 20), {name: 20})
            self.assertEqual(self.seen("split.default.localhost", 20, **{"Knative-Serving-Tag": tag}), {name: 20})
        self.assertEqual(self.seen("gone-split.default.localhost", 1), {404: 1})
        self.assertIn(" split-00001 50%, split-00002 50% ", self.hob.hob("get", "split")[1])
        page = self.hob.hob("describe", "split")[1]
        for row in (rf" 50%  +split-00001 +old +{urls['old']}", r" 50%  +split-00002 \(latest\)",
                    rf" 0%  +split-00002 \(latest\) +new +{urls['new']}"):
            self.assertRegex(page, row)
        self.traffic("split", {"revisionName": "split-00001", "percent": 100})  # the tags go, and this is a rollback
        self.hob.wait_ready("split")
        self.assertEqual(self.seen("split.default.localhost", 40), {"split-00001": 40})
        self.assertIn(" split-00001 ", self.hob.hob("get", "split")[1])  # who has the traffic, not who came last
        self.assertNotIn("split-00002", self.hob.hob("get", "split")[1])
        self.assertRegex(self.hob.hob("describe", "split")[1], r"(?m)^revision +split-00001$")
        self.assertEqual(self.seen("old-split.default.localhost", 1), {404: 1})

    def test_a_wrong_target_moves_nothing_and_is_said(self):
        self.deploy("wrong", "one")
        self.traffic("wrong", {"revisionName": "wrong-00009", "percent": 100})
        condition = self.hob.wait_condition("wrong", "False", "RoutesReady")
        self.assertEqual(condition["reason"], "RevisionMissing")
        self.assertEqual(condition["message"], 'Revision "wrong-00009" referenced in traffic not found.')
        self.assertEqual(self.seen("wrong.default.localhost", 5), {"wrong-00001": 5})
        refused = self.patch("wrong", {"spec": {"traffic": [{"latestRevision": True, "percent": 60}]}}, want=400)
        self.assertIn("Traffic targets sum to 60, want 100: spec.traffic", refused["message"])

    def test_a_tag_whose_host_is_the_name_of_another_is_said_and_gets_it_back(self):
        self.deploy("blue-shop", "one")
        self.deploy("shop", "one", [{"latestRevision": True, "percent": 100, "tag": "blue"}], wait=False)
        condition = self.hob.wait_condition("shop", "False", "RoutesReady")
        self.assertEqual((condition["reason"], condition["message"]),
                         ("NotOwned", 'There is an existing placeholder Service "blue-shop" that we do not own.'))
        self.assertEqual(self.hob.condition("blue-shop")["status"], "True")
        self.assertEqual(self.seen("blue-shop.default.localhost", 5), {"blue-shop-00001": 5})
        self.assertEqual(self.seen("shop.default.localhost", 5), {"shop-00001": 5})
        self.hob.delete("blue-shop")
        self.hob.wait_condition("shop", "True", "RoutesReady")
        self.assertEqual(self.seen("blue-shop.default.localhost", 5), {"shop-00001": 5})
        self.deploy("blue-shop", "two")  # who comes later with that name has it, too
        self.hob.wait_condition("shop", "False", "RoutesReady")
        self.assertEqual(self.seen("blue-shop.default.localhost", 5), {"blue-shop-00001": 5})

    def test_a_pinned_service_stays_where_it_is_when_something_new_comes(self):
        self.deploy("pinned", "one", [{"revisionName": "pinned-00001", "percent": 100}], wait=False)
        self.hob.wait_ready("pinned")
        self.deploy("pinned", "two", [{"revisionName": "pinned-00001", "percent": 100}])
        self.assertEqual(self.hob.get_service("pinned")["status"]["latestReadyRevisionName"], "pinned-00002")
        self.assertEqual(self.seen("pinned.default.localhost", 20), {"pinned-00001": 20})
        states = {n: self.hob.wait_for(f"the state of {n}", lambda n=n: self.get("revisions", n)["metadata"]["labels"]
                                       .get("serving.knative.dev/routingState") == s)
                  for n, s in (("pinned-00001", "active"), ("pinned-00002", "reserve"))}
        self.assertTrue(all(states.values()))
        self.hob.restart()  # what was decided holds, and the one that is not named is not started
        self.assertEqual(self.seen("pinned.default.localhost", 20), {"pinned-00001": 20})
        self.assertEqual({i["revision"] for i in self.hob.instances("pinned")}, {"pinned-00001"})

    def test_configuration_and_route_follow_their_service(self):
        tree = self.spec("parts", "one")
        tree["metadata"]["labels"] = {"team": "a"}
        self.hob.apply(tree)
        owner = self.hob.get_service("parts")["metadata"]["uid"]
        for plural in ("configurations", "routes"):
            part = self.hob.wait_for(f"{plural} to be ready", lambda p=plural: self.ready_part(p, "parts"))
            self.assertEqual(part["metadata"]["ownerReferences"][0]["uid"], owner)
            self.assertEqual(part["metadata"]["labels"], {"team": "a", "serving.knative.dev/service": "parts"})
        configuration = self.get("configurations", "parts")
        revision = self.get("revisions", "parts-00001")
        self.assertEqual(revision["metadata"]["ownerReferences"][0]["uid"], configuration["metadata"]["uid"])
        self.patch("parts", {"metadata": {"labels": {"team": None}}})
        self.hob.wait_for("the label to be gone", lambda: "team" not in self.get("routes", "parts")["metadata"]["labels"])
        self.assertEqual(self.get("configurations", "parts")["metadata"]["generation"], 1)
        self.hob.delete("parts")
        for plural in ("configurations", "routes"):
            self.hob.wait_for(f"{plural} to be gone",
                              lambda p=plural: self.hob.call("GET", f"{KNATIVE}/default/{p}/parts")[0] == 404)

    def ready_part(self, plural, name):
        part = self.get(plural, name)
        ready = [c["status"] for c in part.get("status", {}).get("conditions", []) if c["type"] == "Ready"]
        return part if ready == ["True"] else None

    def test_a_gradual_rollout_goes_step_by_step_and_says_so(self):
        self.deploy("slow", "one")
        self.patch("slow", {"metadata": {"annotations": {"serving.knative.dev/rollout-duration": "15s"}}})
        self.patch("slow", {"spec": {"template": {"metadata": {"annotations": {"example.dev/turn": "two"}}}}})
        self.hob.wait_for("the rollout to begin", lambda: (self.hob.condition("slow", "RoutesReady") or {})
                          .get("reason") == "RolloutInProgress")
        begun = time.monotonic()
        early = self.seen("slow.default.localhost", 30)
        self.assertGreater(early["slow-00001"], early["slow-00002"], early)
        self.hob.wait_ready("slow", deadline=120)
        self.assertGreater(time.monotonic() - begun, 2)
        self.assertEqual(self.seen("slow.default.localhost", 40), {"slow-00002": 40})

    def test_a_private_service_has_no_public_name(self):
        tree = self.spec("private", "one")
        tree["metadata"]["labels"] = {"networking.knative.dev/visibility": "cluster-local"}
        status = self.hob.apply(tree)["status"]
        self.assertEqual(status["url"], "http://private.default.svc.cluster.local")
        self.assertEqual(self.seen("private.default.localhost", 1), {404: 1})
        self.assertEqual(self.seen("private.default.svc.cluster.local", 1), {"private-00001": 1})

    def test_a_broken_revision_never_gets_a_request(self):
        self.deploy("broken", "one")
        with Load(self.hob, "broken", 50, workers=2) as load:
            self.deploy("broken", "two", wait=False, code=BROKEN)
            self.hob.wait_condition("broken", "False", "ConfigurationsReady")
        self.assertEqual(set(load.statuses), {200}, load.statuses)
        self.assertEqual(set(load.bodies), {"broken-00001 one"})
        self.deploy("broken", "three")
        self.assertEqual(self.seen("broken.default.localhost", 5), {"broken-00003": 5})

    def test_new_revisions_under_load_lose_no_request(self):
        self.deploy("rolling", "one", annotations={"min-scale": 1})
        with Load(self.hob, "rolling", 200) as load:
            for version in ("two", "three"):
                before = sum(load.statuses.values())
                self.deploy("rolling", version, annotations={"min-scale": 1})
                self.hob.wait_for("requests on the newest", lambda v=version: any(b.endswith(v) for b in load.bodies))
                self.hob.wait_for("more requests", lambda n=before: sum(load.statuses.values()) > n + 100)
        self.assertEqual(set(load.statuses), {200}, load.statuses)
        self.assertEqual(set(load.bodies), {f"rolling-{i:05} {v}" for i, v in ((1, "one"), (2, "two"), (3, "three"))})
        self.hob.wait_for("the old ones to be gone",
                          lambda: {i["revision"] for i in self.hob.instances("rolling")} == {"rolling-00003"})

    @unittest.skipUnless(KUBECTL, "kubectl is not installed")
    def test_kubectl_lists_what_routes_the_requests(self):
        self.deploy("listed", "one")

        def kubectl(*words):
            done = subprocess.run([KUBECTL, f"--server=http://{self.hob.api_address}", *words], text=True,
                                  capture_output=True, env={**os.environ, "HOME": self.hob.files}, timeout=60)
            self.assertEqual(done.returncode, 0, done.stderr)
            return done.stdout
        route = json.loads(kubectl("get", "rt", "listed", "-o", "json"))
        self.assertEqual(route["status"]["traffic"][0]["revisionName"], "listed-00001")
        table = kubectl("get", "configurations.serving.knative.dev").splitlines()
        self.assertIn("LATESTREADY", table[0])
        self.assertTrue(any(line.split()[:3] == ["listed", "listed-00001", "listed-00001"] for line in table[1:]), table)


if __name__ == "__main__":
    unittest.main()
