"""Several containers in one instance: a sidecar behind loopback, shared volumes, init containers, crashes and bombs."""
import base64
import signal
import unittest

from harness import PYTHON, Hob, HobCase, service

# Serves files of /shared, and asks the sidecar for /side/….
SERVER = """
import http.server, json, os, signal, sys, urllib.request
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith("/side"):
            try:
                with urllib.request.urlopen("http://127.0.0.1:9100" + self.path[5:]) as r:
                    body = r.read()
            except OSError as e:
                body = str(e).encode()
        elif self.path == "/about":
            body = json.dumps({"env": dict(os.environ), "pids": [p for p in os.listdir("/proc") if p.isdigit()],
                               "host": os.uname().nodename, "uid": os.getuid()}).encode()
        else:
            with open("/shared" + self.path, "rb") as f:
                body = f.read()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
print("main says hello", flush=True)
http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), H).serve_forever()
"""
SIDECAR = """
import http.server, json, os, signal, sys
def files(top):
    return {n: open(os.path.join(top, n)).read() for n in os.listdir(top) if os.path.isfile(os.path.join(top, n))
            } if os.path.isdir(top) else {}
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith("/exit/"):
            print("side ends", flush=True)
            os._exit(int(self.path[6:]))
        forks = 0
        if self.path == "/bomb":
            for _ in range(100000):
                try:
                    if os.fork() == 0:
                        signal.pause()
                except OSError:
                    break
                forks += 1
        if self.path.startswith("/write/"):
            with open("/mine/" + self.path[7:], "w") as f:
                f.write("from the side")
        body = json.dumps({"env": dict(os.environ), "host": os.uname().nodename, "forks": forks, "pid": os.getpid(),
                           "app": os.listdir("/app"), "conf": files("/conf"), "mine": files("/mine"),
                           "args": sys.argv[1:]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
print("side says hello", flush=True)
http.server.HTTPServer(("127.0.0.1", 9100), H).serve_forever()
"""
ONE = {"min-scale": 1, "max-scale": 1}
SHARED = [{"name": "work", "emptyDir": {}}]


def mounted(path):
    return [{"name": "work", "mountPath": path}]


class Pods(HobCase):
    LIMITS = {"container_backoff_ms": 300, "start_backoff_ms": 100}

    def containers(self, **more):
        main = {"name": "main", "image": self.hob.bundle({"main.py": SERVER}), "command": [*PYTHON, "/app/main.py"],
                "ports": [{"containerPort": 8080}], "volumeMounts": mounted("/shared")}
        side = {"name": "side", "image": self.hob.bundle({"side.py": SIDECAR}), "command": [*PYTHON, "/app/side.py"],
                "readinessProbe": {"tcpSocket": {"port": 9100}, "periodSeconds": 1, "timeoutSeconds": 10},
                "volumeMounts": mounted("/mine"), **more}
        return [side, main]

    def pod(self, name, containers, inits=(), annotations=None, wait=True, volumes=SHARED):
        tree = service(name, "file:///unused", annotations=annotations or ONE)
        spec = tree["spec"]["template"]["spec"]
        spec["containers"] = containers
        spec["volumes"] = list(volumes)
        if inits:
            spec["initContainers"] = list(inits)
        return self.hob.apply(tree, wait)

    def shell(self, name, script):
        return {"name": name, "image": self.hob.bundle({"nothing": "x"}), "command": ["/bin/sh", "-c", script],
                "volumeMounts": mounted("/prepared")}

    def members(self, name):
        found = self.hob.instances(name)
        return {c["name"]: c for c in found[0].get("containers", [])} if len(found) == 1 else {}

    def test_a_sidecar_is_reached_over_loopback_and_shares_volumes_and_nothing_else(self):
        hob = self.hob
        self.pod("beside", self.containers())
        side, main = hob.tree("beside", "/side/look"), hob.tree("beside", "/about")
        self.assertEqual(side["host"], main["host"])
        self.assertNotIn("PORT", side["env"])
        self.assertEqual(main["env"]["PORT"], "8080")
        self.assertEqual(side["env"]["K_SERVICE"], "beside")
        self.assertEqual(side["app"], ["side.py"])
        self.assertEqual(len(main["pids"]), 1, "it sees only itself")
        hob.tree("beside", "/side/write/note")
        self.assertEqual(hob.ingress("beside", path="/note")[2], b"from the side")
        log = hob.hob("logs", "beside", "--all-containers")[1]
        instance = hob.instances("beside")[0]["id"]
        self.assertIn(f" {instance}/side side says hello\n", log)
        self.assertIn(f" {instance}/main main says hello\n", log)
        self.assertNotIn("side says", hob.hob("logs", "beside")[1])
        self.assertIn("main says", hob.hob("logs", "beside")[1])
        self.assertIn("side says", hob.hob("logs", "beside", "-c", "side")[1])
        status, _, said = hob.hob("logs", "beside", "-c", "nope")
        self.assertEqual(status, 3)
        self.assertRegex(said, "no container 'nope'; there are: .*side")

    def core(self, kind, name, data):
        tree = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "default"}, "data": data}
        plural = f"/api/v1/namespaces/default/{kind.lower()}s"
        status, _, _ = self.hob.call("GET", f"{plural}/{name}")
        self.hob.call(*(("POST", plural) if status == 404 else ("PUT", f"{plural}/{name}")), tree)

    def test_each_container_gets_the_configuration_that_it_names_and_no_other(self):
        hob = self.hob
        self.core("ConfigMap", "conf", {"color": "blue", "level": "3"})
        self.core("Secret", "keys", {"token": base64.b64encode(b"s3cret").decode()})
        setup = self.shell("setup", 'echo "$COLOR $(cat /keys/token) $#" >/prepared/seen')
        setup["env"] = [{"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "conf", "key": "color"}}}]
        setup["volumeMounts"] = [*mounted("/prepared"), {"name": "keys", "mountPath": "/keys"}]
        side, main = self.containers(envFrom=[{"prefix": "C_", "configMapRef": {"name": "conf"}}], args=["$(C_level)"])
        side["volumeMounts"] = [*mounted("/mine"), {"name": "both", "mountPath": "/conf"}]
        main["env"] = [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}}]
        volumes = [*SHARED, {"name": "keys", "secret": {"secretName": "keys", "defaultMode": 0o400}},
                   {"name": "both", "projected": {"sources": [{"configMap": {"name": "conf", "items": [
                       {"key": "level", "path": "level"}]}}, {"secret": {"name": "keys"}}]}}]
        self.pod("configured", [side, main], [setup], volumes=volumes)
        said, served = hob.tree("configured", "/side/look"), hob.tree("configured", "/about")
        self.assertEqual(said["mine"], {"seen": "blue s3cret 0\n"})
        self.assertEqual(said["conf"], {"level": "3", "token": "s3cret"})
        self.assertEqual((said["env"]["C_color"], said["args"]), ("blue", ["3"]))
        self.assertEqual(served["env"]["TOKEN"], "s3cret")
        self.assertFalse({"TOKEN", "COLOR"} & said["env"].keys() or {"C_color", "COLOR"} & served["env"].keys())

        # One that is started again gets what is so by then, as in Kubernetes; the rest of the instance stays.
        self.core("ConfigMap", "conf", {"color": "green", "level": "4"})
        hob.ingress("configured", path="/side/exit/3")
        hob.wait_for("the sidecar to be back", lambda: self.members("configured")["side"]["restarts"] == 1
                     and self.members("configured")["side"]["state"] == "ready")
        again = hob.tree("configured", "/side/look")
        self.assertEqual((again["env"]["C_color"], again["conf"]["level"], again["args"]), ("green", "4", ["4"]))
        self.assertEqual(again["mine"], {"seen": "blue s3cret 0\n"})

    def test_what_an_init_container_lacks_is_said_in_the_condition_and_mended_by_making_it(self):
        hob = self.hob
        setup = self.shell("setup", "cp /keys/token /prepared/token")
        setup["volumeMounts"] = [*mounted("/prepared"), {"name": "keys", "mountPath": "/keys"}]
        self.pod("lacking", self.containers(), [setup], wait=False,
                 volumes=[*SHARED, {"name": "keys", "secret": {"secretName": "later"}}])

        def told():
            status, _, tree = hob.call("GET", "/apis/serving.knative.dev/v1/namespaces/default/revisions/lacking-00001")
            return status == 200 and next((c for c in tree.get("status", {}).get("conditions", [])
                                           if c.get("reason") == "FailedMount"), None)
        self.assertIn('secret "later" not found', hob.wait_for("the condition to say so", told)["message"])
        self.core("Secret", "later", {"token": base64.b64encode(b"now").decode()})
        hob.wait_ready("lacking")
        self.assertEqual(hob.ingress("lacking", path="/token")[2], b"now")

    def test_images_of_sidecars_are_fetched_while_init_containers_still_run(self):
        hob = self.hob
        self.pod("ahead", self.containers(), [self.shell("setup", "sleep 1000")], wait=False)

        def pinned():
            status, _, tree = hob.call("GET", "/apis/serving.knative.dev/v1/namespaces/default/revisions/ahead-00001")
            return status == 200 and {one["name"] for one in tree["status"].get("containerStatuses", [])}
        hob.wait_for("the sidecar's image", lambda: pinned() == {"side", "main"})
        self.assertEqual(self.members("ahead")["setup"]["state"], "starting")
        self.assertEqual(self.members("ahead")["side"]["state"], "waiting")
        hob.delete("ahead")

    def test_a_cold_start_names_each_container_and_still_accounts_for_all(self):
        hob = self.hob
        inits = [self.shell("first", "sleep 0.4"), self.shell("second", "sleep 0.2")]
        self.pod("told", self.containers(), inits, annotations={"initial-scale": 0})
        _, headers, _ = hob.ingress("told", path="/about")
        invocation = {k.lower(): v for k, v in headers.items()}["hob-invocation-id"]
        status, _, record = hob.call("GET", f"/v1/invocations/{invocation}")
        self.assertEqual(status, 200)
        start = record["start"]
        beside = {c["name"]: c for c in start["containers"]}
        self.assertEqual([c["name"] for c in start["containers"]], ["first", "second", "side"])
        self.assertTrue(beside["first"]["init"] and beside["second"]["init"] and "init" not in beside["side"])
        self.assertEqual({c["outcome"] for c in beside.values()}, {"done"})
        ends = {n: c.get("startUs", 0) + c["durationUs"] for n, c in beside.items()}
        self.assertGreaterEqual(beside["first"]["durationUs"], 400000)
        self.assertGreaterEqual(beside["second"]["durationUs"], 200000)
        self.assertEqual(beside["second"]["startUs"], ends["first"], "one after the other, nothing between")
        sandbox = next(p for p in start["phases"] if p["name"] == "sandbox")
        self.assertGreaterEqual(sandbox["startUs"], ends["second"], "the sandbox's time is its own")
        self.assertGreaterEqual(beside["side"]["startUs"], ends["second"])
        self.assertGreaterEqual(record["coveragePermille"], 990)
        drawn = hob.hob("explain", invocation)[1]
        for row in ("init first", "init second", "sidecar side"):
            self.assertRegex(drawn, rf"(?m)^{row} ")
        self.assertIn("waited for init first to end", " ".join(drawn.split()))

    def test_what_the_images_of_all_containers_became_is_in_the_status_and_stays_after_a_restart(self):
        hob = self.hob
        setup = self.shell("setup", "cat /app/nothing >/prepared/was")
        side, main = self.containers()
        self.pod("pinned", [side, main], [setup])

        def status():
            path = "/apis/serving.knative.dev/v1/namespaces/default/revisions/pinned-00001"
            return hob.call("GET", path, want=200)[2]["status"]
        before = hob.wait_for("all digests", lambda: len((s := status()).get("containerStatuses", [])) == 2
                              and "initContainerStatuses" in s and s)
        names = [[one["name"] for one in before[key]] for key in ("containerStatuses", "initContainerStatuses")]
        self.assertEqual(names, [["side", "main"], ["setup"]])
        digests = [one["imageDigest"] for one in before["containerStatuses"] + before["initContainerStatuses"]]
        self.assertEqual(len({d for d in digests if d.startswith("sha256:")}), 3)
        self.assertNotIn("modelStatuses", before)

        for image, name in ((side["image"], "more"), (setup["image"], "nothing")):
            with open(f"{image.removeprefix('file://')}/{name}", "w") as f:
                f.write("changed")
        hob.restart()
        hob.wait_for("the pod to be back", lambda: hob.ingress("pinned", path="/was")[2] == b"x")
        self.assertEqual(hob.tree("pinned", "/side/look")["app"], ["side.py"])
        after = status()
        self.assertEqual([after[key] for key in ("containerStatuses", "initContainerStatuses")],
                         [before[key] for key in ("containerStatuses", "initContainerStatuses")])

    def test_init_containers_run_in_order_before_the_others(self):
        hob = self.hob
        inits = [self.shell("first", "sleep 0.3; echo one >/prepared/list"),
                 self.shell("second", "echo two >>/prepared/list")]
        self.pod("prepared", self.containers(), inits)
        self.assertEqual(hob.ingress("prepared", path="/list")[2], b"one\ntwo\n")
        self.assertEqual([(c["state"], c["part"]) for c in self.members("prepared").values()],
                         [("completed", "init container"), ("completed", "init container"), ("ready", "sidecar")])

    def test_a_failed_init_container_is_told_with_its_code_and_last_words_and_nothing_serves(self):
        hob = self.hob
        inits = [self.shell("setup", "echo no such table; exit 7")]
        self.pod("unprepared", self.containers(), inits, wait=False)

        def told():
            status, _, tree = hob.call("GET", "/apis/serving.knative.dev/v1/namespaces/default/revisions/unprepared-00001")
            return status == 200 and next((c for c in tree.get("status", {}).get("conditions", [])
                         if "init container setup: exited" in c.get("message", "")), None)
        condition = hob.wait_for("the condition to say so", told)
        self.assertEqual((condition["type"], condition["reason"]), ("ContainerHealthy", "ExitCode7"))
        self.assertIn("Container failed with: init container setup: exited with status 7", condition["message"])
        self.assertIn("no such table", condition["message"])
        status, _, problem = hob.ingress("unprepared", path="/x")
        self.assertEqual(status, 503)
        self.assertIn("does not start: runtime_init: init container setup: exited with status 7", str(problem))
        self.assertNotIn("main says", hob.hob("logs", "unprepared", "--all-containers")[1])
        self.assertRegex(hob.hob("logs", "unprepared")[2], r"--all-containers, or -c NAME, those of: \S+ \(init\)")
        self.assertNotEqual(hob.ingress("unprepared", path="/x")[0], 200)

    def test_a_sidecar_that_crashes_from_the_first_is_told_in_a_phase_that_is_one(self):
        side, main = self.containers()
        side["command"] = ["/bin/sh", "-c", "exit 4"]
        self.pod("crashes", [side, main], wait=False)
        path = "/apis/serving.knative.dev/v1/namespaces/default/revisions/crashes-00001"

        def told():
            status, _, tree = self.hob.call("GET", path)
            return status == 200 and next((c["message"] for c in tree.get("status", {}).get("conditions", [])
                                           if "sidecar side: exited with status 4" in c.get("message", "")), None)
        said = self.hob.wait_for("the condition to say so", told)
        self.assertIn(": runtime_init for ", said)

    def test_a_sidecar_that_ends_is_started_again_and_the_instance_stays(self):
        hob = self.hob
        self.pod("returns", self.containers())
        instance, before = hob.instances("returns")[0]["id"], hob.tree("returns", "/side/look")["pid"]
        for times in (1, 2):
            hob.ingress("returns", path="/side/exit/3")
            hob.wait_for("it to be back", lambda: self.members("returns")["side"]["restarts"] == times and
                         self.members("returns")["side"]["state"] == "ready")
            self.assertEqual(hob.tree("returns", "/side/look")["host"], instance)
        self.assertEqual([i["id"] for i in hob.instances("returns")], [instance])
        self.assertTrue(before)
        log = hob.hob("logs", "returns", "-c", "side")[1]
        self.assertIn("hob: exited with status 3; it is started again", log)
        self.assertIn("hob: exited with status 3; back-off 300 ms restarting failed container", log)

    def test_ps_and_describe_show_each_container(self):
        hob = self.hob
        self.pod("shown", self.containers(), [self.shell("setup", "true")])
        shown = hob.hob("ps", "shown")[1]
        self.assertRegex(shown, r"init container setup +completed")
        self.assertRegex(shown, r"sidecar side +ready")
        text = hob.hob("describe", "shown")[1]
        self.assertRegex(text, r"init +setup, file://")
        self.assertRegex(text, r"serves +main, file://")
        self.assertRegex(text, r"sidecar +side, file://")

    def test_a_sidecar_cannot_take_the_instance_with_it(self):
        hob = self.hob
        self.pod("bombed", self.containers())
        self.assertGreater(hob.tree("bombed", "/side/bomb")["forks"], 10)
        self.assertEqual(hob.ingress("bombed", path="/about")[0], 200)
        self.assertLess(hob.tree("bombed", "/side/look")["pid"], 10)

    def test_what_serves_ends_the_instance_and_nothing_is_left(self):
        hob = self.hob
        self.pod("ends", self.containers(), annotations={"window": "6s"})
        hob.tree("ends", "/side/look")
        hob.wait_instances("ends", 0)
        self.assertEqual(hob.tree("ends", "/side/look")["forks"], 0)  # and again from zero
        hob.delete("ends")
        hob.wait_instances("ends", 0)


class Killed(HobCase):
    """A pod whose hob, or node, is killed."""
    containers, pod, members = Pods.containers, Pods.pod, Pods.members

    def test_a_node_that_is_killed_takes_the_pod_with_it_and_another_serves(self):
        hob = self.hob
        self.pod("orphan", self.containers())
        before = hob.tree("orphan", "/side/look")["host"]
        hob.kill_role("node")
        hob.wait_for("the next node", hob.is_ready)
        after = hob.wait_for("the pod to be back", lambda: hob.ingress("orphan", path="/side/look")[0] == 200 and
                             hob.tree("orphan", "/side/look")["host"])
        self.assertNotEqual(before, after)

    def test_nothing_outlives_a_launcher_that_is_killed(self):
        with Hob() as hob:
            self.hob, kept = hob, self.hob
            try:
                self.pod("killed", self.containers())
                hob.tree("killed", "/side/look")
            finally:
                self.hob = kept
            hob.restart(signal.SIGKILL)
            hob.wait_for("the pod to be back", lambda: hob.ingress("killed", path="/side/look")[0] == 200)
        # leaving the block ends it in order and fails if anything of either life is left


if __name__ == "__main__":
    unittest.main()
