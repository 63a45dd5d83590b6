"""The Knative runtime contract, seen from inside a function, and the limits it runs under."""
import hashlib
import re
import unittest

from harness import PYTHON, HobCase, service

MIB = 1 << 20


class Contract(HobCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        tree = service("look", cls.hob.probe(), PYTHON, ["/app/probe.py", "two words", "$(MINE)-$(NONE)", "$$(MINE)"],
                       env={"MINE": "me", "BOTH": "$(MINE)+$(MINE)", "EMPTY": ""},
                       limits={"memory": "100Mi", "cpu": "500m", "ephemeral-storage": "8Mi"},
                       models=[("/model", cls.model())], scratch=[("/scratch", "2Mi")])
        cls.hob.apply(tree)
        cls.seen = cls.hob.tree("look", "/look")

    @classmethod
    def model(cls):
        folder = cls.hob.bundle({"weights.bin": b"weights"})
        return f"{folder}/weights.bin@sha256:{hashlib.sha256(b'weights').hexdigest()}"

    # environment

    def test_environment_and_arguments(self):
        env = self.seen["env"]
        instance = self.hob.instances("look")[0]["id"]
        want = {"PORT": "8080", "K_SERVICE": "look", "K_CONFIGURATION": "look", "K_REVISION": "look-00001",
                "HOSTNAME": instance, "HOME": "/tmp", "MINE": "me", "BOTH": "me+me", "EMPTY": ""}
        self.assertEqual({k: env.get(k) for k in want}, want)
        self.assertEqual(set(env) - set(want) - {"PATH", "HOB_PHASES_FD", "LC_CTYPE"}, set())
        self.assertEqual(self.seen["argv"], ["/app/probe.py", "two words", "me-$(NONE)", "$(MINE)"])
        self.assertEqual((self.seen["cwd"], self.seen["hostname"]), ("/app", instance))

    def test_the_port_that_the_manifest_names(self):
        tree = service("port", self.hob.probe(), [*PYTHON, "/app/probe.py"])
        container = tree["spec"]["template"]["spec"]["containers"][0]
        container["ports"] = [{"containerPort": 9000, "name": "http1"}]
        container["workingDir"] = "/tmp"
        self.hob.apply(tree)
        seen = self.hob.tree("port", "/look")
        self.assertEqual((seen["env"]["PORT"], seen["cwd"]), ("9000", "/tmp"))

    # who and where

    def test_identity(self):
        self.assertEqual((self.seen["ids"], self.seen["groups"]), ([65532] * 4, []))
        self.assertEqual({k: v for k, v in self.seen["status"].items() if k.startswith("Cap")},
                         {k: "0" * 16 for k in ("CapEff", "CapPrm", "CapBnd")})
        self.assertEqual((self.seen["status"]["NoNewPrivs"], self.seen["status"]["Seccomp"]), ("1", "2"))
        for uid in (1000, 0, 70000):
            with self.subTest(uid=uid):
                tree = service(f"uid-{uid}", self.hob.probe(), [*PYTHON, "/app/probe.py"])
                tree["spec"]["template"]["spec"]["containers"][0]["securityContext"] = {"runAsUser": uid}
                self.hob.apply(tree)
                self.assertEqual(self.hob.tree(f"uid-{uid}", "/look")["ids"][:2], [uid, uid])

    def test_processes_and_network_are_its_own(self):
        self.assertEqual(self.seen["interfaces"], ["lo"])
        self.assertEqual(self.seen["dial"], "Network is unreachable")
        self.assertEqual(self.seen["pids"], [self.seen["pid"]])

    def test_files(self):
        writes = self.seen["writes"]
        for place in ("", "/usr", "/app", "/etc", "/dev", "/sys/fs/cgroup", "/model"):
            self.assertEqual(writes[place], "Read-only file system", place or "/")
        self.assertIn(writes["/proc/sys"], ("Read-only file system", "No such file or directory"))
        for place in ("/tmp", "/scratch"):
            self.assertIsNone(writes[place], place)
        self.assertEqual(self.seen["tmp"], "drwxrwxrwt")
        self.assertEqual(self.seen["model"], ["weights.bin"])
        self.assertRegex(self.seen["resolv"], "^-rw.r..r..$")
        self.assertIn(self.seen["hostname"], self.seen["etc"]["hosts"])
        self.assertEqual(self.seen["etc"]["hostname"].strip(), self.seen["hostname"])
        self.assertIn(":65532:", self.seen["etc"]["passwd"])
        mounts = [line.split() for line in self.seen["mounts"].splitlines()]
        self.assertEqual([m[2] for m in mounts if m[1] == "/proc/sys"], ["proc"])
        self.assertTrue(all("ro" in m[3].split(",") for m in mounts if m[1] in ("/", "/usr", "/proc/sys")))

    def test_devices_and_standard_streams(self):
        dev = self.seen["dev"]
        self.assertEqual(self.seen["stdin"], "eof")
        self.assertIsNotNone(self.seen["tty"])
        self.assertEqual(dev["console"], {"error": "No such file or directory"})
        links = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1",
                 "stderr": "/proc/self/fd/2"}
        self.assertEqual({n: dev[n].get("to") for n in links}, links)
        for name in ("full", "null", "random", "urandom", "zero"):
            self.assertEqual(dev[name], {"read": True, "write": True, "type": "c"}, name)
        for name in ("stdin", "stdout", "stderr", "ptmx"):
            self.assertEqual((dev[name]["read"], dev[name]["write"]), (True, True), name)
        self.assertIn("tty", dev)
        for number in ("0", "1", "2"):
            self.assertTrue(self.seen["fds"][number]["write"], number)
        self.assertEqual(self.seen["opens"], {n: None for n in self.seen["opens"]})

    def test_of_the_hosts_folders_only_the_store_is_named_and_only_by_what_is_mounted_from_it(self):
        text = self.hob.ingress("look", path="/file/proc/self/mountinfo")[2].decode()
        named = {line.split()[4]: line.split()[3] for line in text.splitlines() if self.hob.folder in line}
        self.assertEqual(sorted(named), ["/app", "/model/weights.bin"])  # SECURITY.md says so
        for place, root in named.items():
            self.assertIn("/data/store/", root, place)

    # limits

    def test_cgroups_say_the_limits(self):
        kinds = {m.split()[1]: m.split()[2] for m in self.seen["mounts"].splitlines()}
        self.assertIn("/sys/fs/cgroup", kinds)
        v2 = kinds["/sys/fs/cgroup"] == "cgroup2"

        def number(path):
            return self.hob.ingress("look", path="/file/sys/fs/cgroup/" + path)[2].decode().split()
        self.assertEqual(number("memory.max" if v2 else "memory/memory.limit_in_bytes"), [str(100 * MIB)])
        if v2:
            quota, period = number("cpu.max")
            self.assertGreater(int(number("cpu.weight")[0]), 0)
        else:
            quota, period = number("cpu/cpu.cfs_quota_us")[0], number("cpu/cpu.cfs_period_us")[0]
            self.assertEqual(number("cpu/cpu.shares"), ["512"])
        self.assertEqual(int(quota) * 2, int(period))
        for path, kind in kinds.items():
            if path.startswith("/sys/fs/cgroup"):
                self.assertIn(kind, ("tmpfs", "cgroup", "cgroup2"))

    def test_ephemeral_storage_is_a_hard_limit(self):
        full = "No space left on device"
        self.assertEqual(self.hob.tree("look", "/fill/scratch/20"), [2 * MIB, full])
        written, why = self.hob.tree("look", "/fill/tmp/20")
        self.assertEqual(why, full)
        self.assertLessEqual(written, 6 * MIB)  # the scratch volume has its share
        self.assertGreater(written, 5 * MIB)
        self.assertEqual(self.hob.tree("look", "/fill/tmp/1"), [MIB, None])  # what is deleted is free again

    def test_over_its_memory_is_no_200_and_a_new_start(self):
        hob = self.hob
        hob.deploy("greedy", limits={"memory": "64Mi"})
        first = hob.tree("greedy", "/state")["instance"]
        self.assertEqual(hob.ingress("greedy", path="/eat/8")[0], 200)  # the control
        self.problem(hob.ingress("greedy", "POST", "/eat/200"), 502, "instance-died")
        hob.wait_for("another", lambda: hob.ingress("greedy")[0] == 200)
        self.assertNotEqual(hob.tree("greedy", "/state")["instance"], first)
        self.assertRegex(hob.log(), rf"instance.died instance={first} .*oom=yes")

    def test_what_it_prints_is_its_log(self):
        hob = self.hob
        hob.deploy("says")
        hob.ingress("says", path="/print/a-line-of-mine")
        instance = hob.instances("says")[0]["id"]
        line = next(line for line in hob.hob("logs", "says")[1].splitlines() if "a-line-of-mine" in line)
        self.assertTrue(re.match(rf"\d{{4}}-\d\d-\d\dT[\d:.]+Z {instance} a-line-of-mine$", line), line)

    def test_the_log_of_one_revision_is_that_of_its_instances(self):
        hob = self.hob
        for word in ("older", "newer"):
            hob.deploy("spoke", env={"WORD": word})
            hob.ingress("spoke", path=f"/print/{word}-line")
            self.assertIn(f"{word}-line", hob.hob("logs", "spoke")[1])
        for revision, has, has_not in (("spoke-00001", "older", "newer"), ("spoke-00002", "newer", "older")):
            status, out, errors = hob.hob("logs", "spoke", "--revision", revision, "--tail", "1000", "--plain")
            self.assertEqual((status, f"{has}-line\n" in out, f"{has_not}-line" in out), (0, True, False), out + errors)
        self.assertEqual(hob.hob("logs", "spoke", "--revision", "spoke-00002", "--tail", "1", "--plain")[1], "newer-line\n")
        self.assertEqual(hob.hob("logs", "spoke", "--revision", "spoke-0000")[1], "")


if __name__ == "__main__":
    unittest.main()
