"""Configuration into functions: environment and files from ConfigMaps and Secrets, told with kubectl where it is there,
read by a real function in a real sandbox."""
import base64
import json
import os
import shutil
import subprocess
import tempfile
import unittest

from harness import KNATIVE, PYTHON, Hob, HobCase, service

# Answers with its environment, or with what lies below /etc/conf, /etc/own.conf and /cache.
FUNCTION = """
import base64, http.server, json, os, stat
def look(path):
    s = os.lstat(path)
    one = {"mode": stat.filemode(s.st_mode), "uid": s.st_uid}
    if stat.S_ISREG(s.st_mode):
        try:
            one["data"] = base64.b64encode(open(path, "rb").read()).decode()
        except OSError as e:
            one["error"] = str(e)
    return one
def tree(top):
    found = {}
    for folder, _, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            found[os.path.relpath(path, top)] = look(path)
    return found
def write(path):
    try:
        open(path, "a").close()
        return "written"
    except OSError as e:
        return e.strerror
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        said = {"env": dict(os.environ), "args": open("/proc/self/cmdline").read().split(chr(0)),
                "conf": tree("/etc/conf"), "own": look("/etc/own.conf") if os.path.exists("/etc/own.conf") else None,
                "writes": {p: write(p) for p in ("/etc/conf/new", "/etc/conf/color", "/etc/own.conf")},
                "mounts": open("/proc/mounts").read(), "cache": tree("/cache")}
        if os.path.isdir("/cache/in"):
            said["writes"] |= {"/cache/out/x": write("/cache/out/x"), "/cache/in/y": write("/cache/in/y")}
            said["cache"] = tree("/cache")
        body = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
http.server.HTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
"""
CORE = "/api/v1/namespaces/default"


def b64(text):
    return base64.b64encode(text.encode()).decode()


class Base(HobCase):
    image = None

    def put(self, kind, name, data, want=None, **more):
        """Creates or replaces a ConfigMap or Secret."""
        plural = kind.lower() + "s"
        tree = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "default"}, "data": data, **more}
        status, _, there = self.hob.call("GET", f"{CORE}/{plural}/{name}")
        if status == 404:
            return self.hob.call("POST", f"{CORE}/{plural}", tree, want=want or 201)
        return self.hob.call("PUT", f"{CORE}/{plural}/{name}", tree, want=want or 200)

    def function(self, name, container=None, volumes=(), mounts=(), **more):
        cls = type(self)
        if cls.image is None:
            cls.image = self.hob.bundle({"conf.py": FUNCTION})
        tree = service(name, cls.image, [*PYTHON, "/app/conf.py"], **more)
        pod = tree["spec"]["template"]["spec"]
        pod["containers"][0].update(container or {})
        if volumes:
            pod["volumes"] = list(volumes)
            pod["containers"][0]["volumeMounts"] = list(mounts)
        return tree

    def fresh(self, name):
        """What an instance says that started after this."""
        for one in self.hob.instances(name):
            self.hob.call("DELETE", f"/v1/instances/{one['id']}")
        self.hob.wait_instances(name, 0)
        return self.hob.tree(name, "/")


class Configured(Base):
    LIMITS = {"start_backoff_ms": 60000}  # what is tried again is so because something changed

    def test_keys_are_variables_fixed_when_an_instance_starts(self):
        self.put("ConfigMap", "app", {"color": "blue", "1st": "x", "PORT": "99", "K_SERVICE": "no"})
        self.put("Secret", "db", {"pass": b64("s3cret value"), "user": b64("root")})
        env = [{"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "app", "key": "color"}}},
               {"name": "PASS", "valueFrom": {"secretKeyRef": {"name": "db", "key": "pass"}}},
               {"name": "MAYBE", "valueFrom": {"secretKeyRef": {"name": "db", "key": "no", "optional": True}}},
               {"name": "URL", "value": "db://$(DB_user):$(PASS)@$(color)"}]
        self.hob.apply(self.function("keys", {"env": env, "args": ["$(COLOR)", "$(PORT)"], "envFrom": [
            {"configMapRef": {"name": "app"}}, {"prefix": "DB_", "secretRef": {"name": "db"}}]}))
        said = self.hob.tree("keys", "/")
        has = said["env"]
        self.assertEqual([has[n] for n in ("COLOR", "PASS", "URL", "color", "DB_user", "PORT", "K_SERVICE")],
                         ["blue", "s3cret value", "db://root:s3cret value@blue", "blue", "root", "8080", "keys"])
        self.assertFalse({"MAYBE", "1st"} & set(has))
        self.assertEqual(said["args"][-3:-1], ["blue", "8080"])
        logs = self.hob.hob("logs", "keys")[1]
        self.assertIn("1st of ConfigMap default/app", logs)
        self.assertNotIn("s3cret", logs)

        self.put("ConfigMap", "app", {"color": "green"})
        self.assertEqual(self.hob.tree("keys", "/")["env"]["COLOR"], "blue")  # as in Kubernetes
        self.assertEqual(self.fresh("keys")["env"]["COLOR"], "green")

    def test_volumes_are_read_only_files_of_the_functions_own(self):
        self.put("ConfigMap", "files", {"color": "blue", "app.conf": "a=1\n"}, binaryData={"raw": "AP8A"})
        self.put("Secret", "key", {"tls.key": b64("key"), "tls.crt": b64("crt")})
        volumes = [{"name": "all", "projected": {"defaultMode": 0o440, "sources": [
                        {"configMap": {"name": "files"}},
                        {"secret": {"name": "key", "items": [{"key": "tls.key", "path": "tls/key", "mode": 0o400}]}},
                        {"secret": {"name": "absent", "optional": True}}]}},
                   {"name": "one", "configMap": {"name": "files"}}]
        mounts = [{"name": "all", "mountPath": "/etc/conf"},
                  {"name": "one", "mountPath": "/etc/own.conf", "subPath": "app.conf", "readOnly": False}]
        self.hob.apply(self.function("files", volumes=volumes, mounts=mounts))
        said = self.hob.tree("files", "/")
        self.assertEqual(said["conf"], {
            "color": {"mode": "-r--r-----", "uid": 65532, "data": b64("blue")},
            "app.conf": {"mode": "-r--r-----", "uid": 65532, "data": b64("a=1\n")},
            "raw": {"mode": "-r--r-----", "uid": 65532, "data": "AP8A"},
            "tls/key": {"mode": "-r--------", "uid": 65532, "data": b64("key")}})
        self.assertEqual(said["own"], {"mode": "-rw-r--r--", "uid": 65532, "data": b64("a=1\n")})
        self.assertLessEqual(set(said["writes"].values()), {"Read-only file system", "Permission denied"})
        at = {line.split()[1]: line.split() for line in said["mounts"].splitlines()}
        for path in ("/etc/conf", "/etc/own.conf"):
            self.assertEqual(at[path][2], "tmpfs")
            self.assertTrue({"ro", "nosuid", "nodev"} <= set(at[path][3].split(",")), at[path])

        self.put("ConfigMap", "files", {"color": "green"})
        self.assertEqual(self.hob.tree("files", "/")["conf"]["color"]["data"], b64("blue"))
        # another mode, and what is gone is gone, for whoever starts now
        self.put("ConfigMap", "files", {"color": "green", "app.conf": ""})
        said = self.fresh("files")
        self.assertEqual((set(said["conf"]), said["own"]["data"]), ({"color", "app.conf", "tls/key"}, ""))

    def test_one_scratch_space_may_be_in_two_places_and_read_only_in_one(self):
        self.hob.apply(self.function("scratch", volumes=[{"name": "s", "emptyDir": {"sizeLimit": "1Mi"}}, {"name": "t", "emptyDir": {}}],
                                     mounts=[{"name": "s", "mountPath": "/cache/out"}, {"name": "t", "mountPath": "/tmp/t"},
                                             {"name": "s", "mountPath": "/cache/in", "readOnly": True}]))
        said = self.hob.tree("scratch", "/")
        self.assertEqual(set(said["cache"]), {"out/x", "in/x"})
        self.assertEqual((said["writes"]["/cache/out/x"], said["writes"]["/cache/in/y"]), ("written", "Read-only file system"))

    def test_what_is_missing_is_said_and_mended_by_making_it(self):
        tree = self.function("later", {"env": [
            {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "late", "key": "k"}}}]})
        self.hob.apply(tree, wait=False)

        def reason(wanted):
            said = self.hob.condition("later", "ConfigurationsReady") or {}
            return said if wanted in said.get("message", "") else None
        said = self.hob.wait_for("the cause", lambda: reason('configmap "late" not found'))
        self.assertEqual((said["status"], said["reason"]), ("Unknown", "CreateContainerConfigError"))
        self.put("ConfigMap", "late", {"other": "x"})
        self.hob.wait_for("the key's name", lambda: reason("couldn't find key k in ConfigMap default/late"))
        self.put("ConfigMap", "late", {"k": "now"})
        self.hob.wait_ready("later")
        self.assertEqual(self.hob.tree("later", "/")["env"]["A"], "now")

        # one that was ready says it to who asks, and beside Ready
        self.hob.call("DELETE", f"{CORE}/configmaps/late", want=200)
        for one in self.hob.instances("later"):
            self.hob.call("DELETE", f"/v1/instances/{one['id']}")
        self.hob.wait_instances("later", 0)
        problem = self.hob.ingress("later")
        self.assertEqual(problem[0], 503)
        self.assertIn('configmap "late" not found', json.loads(problem[2])["detail"])
        said = self.hob.wait_condition("later", "False", "ActivationHealthy")
        self.assertEqual(said["reason"], "CreateContainerConfigError")
        self.put("ConfigMap", "late", {"k": "again"})
        self.hob.wait_for("an answer", lambda: self.hob.ingress("later")[0] == 200)
        self.assertEqual(self.hob.tree("later", "/")["env"]["A"], "again")

    def test_a_volume_that_lacks_its_secret_waits_for_it_as_a_failed_mount(self):
        self.hob.apply(self.function("mount", volumes=[{"name": "v", "secret": {"secretName": "tls"}}],
                                     mounts=[{"name": "v", "mountPath": "/etc/conf"}]), wait=False)

        def failed():
            said = self.hob.condition("mount", "ConfigurationsReady") or {}
            return said if said.get("reason") == "FailedMount" else None
        said = self.hob.wait_for("the cause", failed)
        self.assertIn('MountVolume.SetUp failed for volume "v" : secret "tls" not found', said["message"])
        self.put("Secret", "tls", {"k": b64("v")})
        self.hob.wait_ready("mount")
        self.assertEqual(self.hob.tree("mount", "/")["conf"]["k"]["data"], b64("v"))

    def test_a_secret_is_nowhere_but_in_the_store_and_in_the_function(self):
        mark = "mark-of-a-secret-5d1f"
        self.put("Secret", "quiet", {"pass": b64(mark)})
        self.hob.apply(self.function("quiet", {"env": [
            {"name": "PASS", "valueFrom": {"secretKeyRef": {"name": "quiet", "key": "pass"}}},
            {"name": "NO", "valueFrom": {"secretKeyRef": {"name": "quiet", "key": "other", "optional": True}}}]},
            volumes=[{"name": "v", "secret": {"secretName": "quiet"}}], mounts=[{"name": "v", "mountPath": "/etc/conf"}]))
        status, headers, body = self.hob.ingress("quiet")
        self.assertIn(mark, body.decode())  # the control: the function has it
        said = [self.hob.hob("describe", "quiet")[1], self.hob.hob("get", "services", "-o", "json")[1],
                self.hob.hob("explain", headers["Hob-Invocation-Id"])[1], self.hob.hob("logs", "quiet")[1], self.hob.log(),
                json.dumps(self.hob.call("GET", f"{KNATIVE}/default/revisions")[2]),
                json.dumps(self.hob.call("GET", f"{CORE}/events")[2]),
                json.dumps(self.hob.call("GET", "/v1/invocations")[2]), self.hob.call("GET", "/metrics")[2].decode()]
        for text in said:
            self.assertNotIn(mark, text)
            self.assertNotIn(b64(mark), text)
        for pid in os.listdir("/proc"):
            if pid.isdigit():
                try:
                    with open(f"/proc/{pid}/cmdline") as f:
                        self.assertNotIn(mark, f.read())
                except OSError:
                    pass
        for folder, _, names in os.walk(self.hob.data):
            for name in names:
                path = os.path.join(folder, name)
                if not os.path.isfile(path):
                    continue
                try:
                    with open(path, "rb") as f:
                        held, mode = f.read(), os.fstat(f.fileno()).st_mode & 0o777
                except FileNotFoundError:  # it went since the listing
                    continue
                if b64(mark).encode() in held:
                    self.assertIn(name, ("hob.db", "hob.db-wal"))
                    self.assertEqual(mode, 0o600, path)

    def test_an_object_of_a_mebibyte_is_taken_and_more_is_not(self):
        for kind, letter in (("ConfigMap", str), ("Secret", b64)):
            self.put(kind, "mebibyte", {"k": letter("x" * (1 << 20))})
            self.put(kind, "more", {"k": letter("x" * ((1 << 20) + 1))}, want=422)
        self.hob.apply(self.function("mebibyte", volumes=[{"name": "v", "secret": {"secretName": "mebibyte"}}],
                                     mounts=[{"name": "v", "mountPath": "/etc/conf"}]))
        self.assertEqual(self.hob.tree("mebibyte", "/")["conf"]["k"]["data"], b64("x" * (1 << 20)))

    def test_hostile_names_are_refused_where_they_come(self):
        self.put("ConfigMap", "bad", {"../../etc/passwd": "x"}, want=422)
        self.put("ConfigMap", "bad", {"..": "x"}, want=422)
        self.put("Secret", "bad", {"a/b": b64("x")}, want=422)
        for volume, mount, why in (
                ({"configMap": {"name": "files", "items": [{"key": "color", "path": "../color"}]}}, {}, "must not contain '..'"),
                ({"configMap": {"name": "files", "items": [{"key": "color", "path": "/etc/passwd"}]}}, {}, "must be a relative path"),
                ({"configMap": {"name": "files", "defaultMode": 0o1777}}, {}, "between 0 and 0777 (octal)"),
                ({"configMap": {"name": "../files"}}, {}, "RFC 1123 subdomain"),
                ({"configMap": {"name": "files"}}, {"subPath": "../../x"}, "must not contain '..'"),
                ({"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}, {}, "serviceAccountToken support is disabled")):
            tree = self.function("bad", volumes=[{"name": "v", **volume}],
                                 mounts=[{"name": "v", "mountPath": "/etc/conf", **mount}])
            status, _, said = self.hob.call("POST", f"{KNATIVE}/default/services", tree)
            self.assertEqual(status, 400, said)
            self.assertIn(why, said["message"])


@unittest.skipUnless(os.geteuid() == 0, "needs root, to be somebody else")
class AsAnOrdinaryUser(unittest.TestCase):
    def test_files_belong_to_the_function_where_only_one_user_exists(self):
        for user in (None, 1000):  # outside the map of ids, and hob by who has no map
            with Hob(user=user) as hob:
                hob.call("POST", f"{CORE}/secrets", {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"},
                                                     "data": {"k": b64("v")}}, want=201)
                tree = service("f", hob.bundle({"conf.py": FUNCTION}), [*PYTHON, "/app/conf.py"])
                pod = tree["spec"]["template"]["spec"]
                pod["volumes"] = [{"name": "v", "secret": {"secretName": "s", "defaultMode": 0o400}}]
                pod["containers"][0]["volumeMounts"] = [{"name": "v", "mountPath": "/etc/conf"}]
                if user is None:
                    pod["containers"][0]["securityContext"] = {"runAsUser": 200000, "runAsGroup": 200001}
                hob.apply(tree)
                self.assertEqual(hob.tree("f", "/")["conf"]["k"],
                                 {"mode": "-r--------", "uid": 65532 if user else 200000, "data": b64("v")})


class Bounded(Base):
    LIMITS = {"config_bytes_max": 4096, "config_files_max": 3}

    def test_more_than_an_instance_may_have_is_refused_by_the_limits_name(self):
        self.put("ConfigMap", "large", {"k": "x" * 4097})
        self.put("ConfigMap", "many", {f"k{i}": "" for i in range(4)})
        for name, limit in (("large", "config_bytes_max"), ("many", "config_files_max")):
            self.hob.apply(self.function(name, volumes=[{"name": "v", "configMap": {"name": name}}],
                                         mounts=[{"name": "v", "mountPath": "/etc/conf"}]), wait=False)

            def told():
                return limit in (self.hob.condition(name, "ConfigurationsReady") or {}).get("message", "")
            self.hob.wait_for(f"{limit} in the condition", told)
            self.put("ConfigMap", name, {"k": "x" * 4096})
            self.hob.wait_ready(name)


@unittest.skipUnless(shutil.which("kubectl"), "kubectl is not installed")
class WithKubectl(Base):
    def kubectl(self, *words, stdin=None):
        with tempfile.TemporaryDirectory() as home:
            done = subprocess.run(["kubectl", f"--server=http://{self.hob.api_address}", *words], input=stdin, text=True,
                                  capture_output=True, timeout=60, env={**os.environ, "HOME": home})
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_a_service_and_what_it_needs_come_in_one_apply_in_the_wrong_order(self):
        tree = self.function("all", {"envFrom": [{"secretRef": {"name": "cred"}}]},
                             volumes=[{"name": "v", "configMap": {"name": "conf"}}],
                             mounts=[{"name": "v", "mountPath": "/etc/conf"}])
        self.kubectl("apply", "-f", "-", stdin=json.dumps(tree))
        self.kubectl("create", "configmap", "conf", "--from-literal=color=blue")
        self.kubectl("create", "secret", "generic", "cred", "--from-literal=TOKEN=abc")
        self.kubectl("wait", "--for=condition=Ready", "ksvc/all", "--timeout=30s")
        said = self.hob.tree("all", "/")
        self.assertEqual((said["env"]["TOKEN"], said["conf"]["color"]["data"]), ("abc", b64("blue")))
        self.kubectl("patch", "configmap", "conf", "--type=merge", "-p", '{"data":{"color":"red"}}')
        self.assertEqual(self.fresh("all")["conf"]["color"]["data"], b64("red"))
        self.assertNotIn("abc", self.kubectl("describe", "ksvc", "all") + self.kubectl("describe", "secret", "cred"))


if __name__ == "__main__":
    unittest.main()
