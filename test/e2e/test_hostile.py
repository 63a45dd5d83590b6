"""Functions that mean harm, deployed like any other: what they try fails, and nobody else notices.

Each deed of test/fn/hostile.c runs twice: inside a function, where it has to fail, and outside (or with
the limit raised), where it has to work; without the second the first would say nothing.
"""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

import harness
from harness import Hob, read_text, service, split_address, stat_of

BUILD = os.environ.get("HOB_BUILD", os.path.join(harness.ROOT, "build"))
PROBE = os.path.join(BUILD, "test", "hostile")
FN = os.path.join(BUILD, "test", "fn")
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET, CLONE_NEWPID = 0x20000, 0x10000000, 0x40000000, 0x20000000
AF_ALG, AF_VSOCK, AF_PACKET, AF_NETLINK = 38, 40, 17, 16
ASAN = os.environ.get("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=1") + ":quarantine_size_mb=1"


def outside(*words, prefix=(), user=None):
    """The verdict of the same deed where nothing holds it."""
    done = subprocess.run([*prefix, PROBE, "do", *map(str, words)], stdout=subprocess.PIPE, timeout=30,
                          user=user, group=user, extra_groups=[] if user else None)
    return json.loads(done.stdout)


def jiffies(pid):
    """CPU time of a process so far, in seconds."""
    fields = read_text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid):
    return int(read_text(f"/proc/{pid}/statm").split()[1]) * 4096


@unittest.skipUnless(os.geteuid() == 0, "needs root: the limits are cgroups'")
class Hostile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.hob = Hob(env={"ASAN_OPTIONS": ASAN}, limits={"drain_ms": 300, "sandbox_pool": 2})
        cls.hob.__enter__()
        try:
            cls.images = {}
            for name, path in (("probe", PROBE), ("fn", FN)):
                with open(path, "rb") as f:
                    cls.images[name] = cls.hob.bundle({name: f.read()})
            cls.hob.apply(service("victim", cls.images["fn"], ["/app/fn"], annotations={"min-scale": 1}))
            cls.deploy("hostile")
            cls.node = cls.hob.roles()["node"]
        except BaseException:
            cls.hob.__exit__(*sys.exc_info())
            raise

    @classmethod
    def tearDownClass(cls):
        cls.hob.__exit__(None, None, None)

    def tearDown(self):
        """After every deed: the same hob, the same node, and the other function answers."""
        self.assertEqual(self.hob.roles().get("node"), self.node, "the node did not live through it")
        self.assertEqual(self.hob.ingress("victim")[0], 200)

    @classmethod
    def deploy(cls, name, command=("/app/probe", "serve"), limits=None, annotations=None, **more):
        limits = {"memory": "64Mi", "cpu": "500m", **(limits or {})}
        annotations = {"max-scale": 1, **(annotations or {})}
        return cls.hob.apply(service(name, cls.images["probe"], list(command), limits=limits,
                                     annotations=annotations, **more))

    def inside(self, deed, *args, name="hostile", timeout=30):
        status, _, body = self.hob.ingress(name, "GET", f"/{deed}?" + "&".join(map(str, args)), timeout=timeout)
        self.assertEqual(status, 200, body)
        return json.loads(body)

    def refused(self, deed, *args, control=None, **outside_how):
        """Outside it works, inside it does not."""
        with self.subTest(deed=deed, args=args):
            free = outside(deed, *(control or args), **outside_how)
            self.assertTrue(free["worked"], f"the probe itself does not work: {free}")
            caught = self.inside(deed, *args)
            self.assertFalse(caught["worked"], f"not contained: {caught}")

    def new_instance(self, name="hostile"):
        """Whatever the deed left goes with its instance."""
        for item in self.hob.instances(name):
            self.hob.call("DELETE", f"/v1/instances/{item['id']}")
        self.hob.wait_instances(name, 0)

    # ---- more than its share

    def test_processes_are_counted(self):
        outer = outside("fork", 300)
        self.assertEqual((outer["worked"], outer["number"]), (True, 300))
        inner = self.inside("fork", 300)
        self.assertFalse(inner["worked"])
        self.assertEqual(inner["errno"], "EAGAIN")
        self.assertLess(inner["number"], 256)
        self.assertGreater(inner["number"], 100)

    def test_a_fork_bomb_harms_only_itself(self):
        """Everything forks for a second. The other function answers meanwhile; then nothing is left."""
        with self.hob.wire().s as s:
            s.sendall(f"GET /bomb HTTP/1.1\r\nHost: {self.hob.host('hostile')}\r\n\r\n".encode())
            until, answered = time.monotonic() + 1, 0
            while time.monotonic() < until:
                self.assertEqual(self.hob.ingress("victim")[0], 200)
                answered += 1
            self.assertGreater(answered, 3)
        self.new_instance()
        self.assertEqual([p for p in harness.descendants(self.hob.process.pid)
                          if "/app/probe" in harness.command_of(p)], [])
        self.assertEqual(self.inside("wait", 0)["worked"], True)

    def test_memory_beyond_the_limit_ends_the_function_alone(self):
        self.assertTrue(self.inside("memory", 32)["worked"])
        victim = self.hob.instances("victim")[0]["id"]
        gone = self.hob.instances("hostile")[0]["id"]
        status, headers, body = self.hob.ingress("hostile", "GET", "/memory?200")
        self.assertIn(status, (502, 503), body)
        self.assertIn("json", headers["Content-Type"])
        self.hob.wait_for("the killed instance to go",
                          lambda: gone not in [i["id"] for i in self.hob.instances("hostile")])
        self.assertEqual(self.hob.instances("victim")[0]["id"], victim)
        self.assertTrue(self.inside("wait", 0)["worked"])  # a new instance
        self.deploy("roomy", limits={"memory": "256Mi"})
        self.assertTrue(self.inside("memory", 200, name="roomy")["worked"], "the probe itself does not work")
        self.hob.delete("roomy")

    def test_disks_are_finite(self):
        self.deploy("filler", limits={"ephemeral-storage": "4Mi", "memory": "128Mi"}, scratch=[("/cache", "2Mi")])
        for folder, most in (("/tmp", 4), ("/cache", 2), ("/dev/shm", 4)):
            with self.subTest(folder=folder):
                full = self.inside("fill", folder, 64, name="filler")
                self.assertEqual((full["worked"], full["errno"]), (False, "ENOSPC"))
                self.assertLessEqual(full["number"], most << 20)
                self.assertGreater(full["number"], 0)
        for folder in ("/", "/app", "/usr", "/etc", "/proc", "/sys", "/run", "/var"):
            self.assertFalse(self.inside("fill", folder, 1, name="filler")["worked"], folder)
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(outside("fill", folder, 16)["number"], 16 << 20)
        self.deploy("filler", limits={"ephemeral-storage": "24Mi", "memory": "128Mi"})
        self.assertTrue(self.inside("fill", "/tmp", 16, name="filler")["worked"], "the probe does not work")
        self.hob.delete("filler")

    def test_files_are_finite_too(self):
        inner = self.inside("inodes", "/tmp", 100000)
        self.assertEqual((inner["worked"], inner["errno"]), (False, "ENOSPC"))
        with tempfile.TemporaryDirectory() as folder:
            outer = outside("inodes", folder, inner["number"] + 1000)
            self.assertTrue(outer["worked"], outer)

    def test_descriptors_are_finite(self):
        inner = self.inside("descriptors", 5000, "raise")
        self.assertEqual((inner["worked"], inner["errno"]), (False, "EMFILE"))
        self.assertLessEqual(inner["number"], 1024)
        self.assertTrue(outside("descriptors", 5000, "raise")["worked"])

    def test_a_log_flood_waits_and_costs_nobody(self):
        """Beyond log_rate_bytes_s the flooding function waits; the node keeps a bounded tail."""
        before = resident(self.node)
        with self.hob.wire().s as s:
            s.sendall(f"GET /flood?2000 HTTP/1.1\r\nHost: {self.hob.host('hostile')}\r\n\r\n".encode())
            slowest, until = 0, time.monotonic() + 2
            while time.monotonic() < until:
                begin = time.monotonic()
                self.assertEqual(self.hob.ingress("victim")[0], 200)
                slowest = max(slowest, time.monotonic() - begin)
            answer = http.client.HTTPResponse(s)
            answer.begin()
            taken = json.loads(answer.read())["number"]
        self.assertLess(taken, 6 << 20)
        self.assertGreater(taken, 1 << 20)
        self.assertLess(slowest, 2)
        self.assertLess(resident(self.node) - before, 32 << 20)
        _, _, text = self.hob.call("GET", "/v1/services/default/hostile/logs?tail=100000", want=200)
        self.assertLess(len(text), 1 << 20)
        with Hob(env={"ASAN_OPTIONS": ASAN}, limits={"log_rate_bytes_s": 1 << 30}) as free:
            with open(PROBE, "rb") as f:
                free.apply(service("loud", free.bundle({"probe": f.read()}), ["/app/probe", "serve"]))
            loud = json.loads(free.ingress("loud", path="/flood?2000")[2])["number"]
        self.assertGreater(loud, 2 * taken, "the probe itself does not flood")

    def test_cpu_beyond_the_limit_is_not_given(self):
        self.deploy("burner", limits={"cpu": "100m"})
        slow = self.inside("burn", 1500, 2, name="burner")["number"]
        self.assertLess(slow, 300)
        self.deploy("burner", limits={"cpu": "2"})
        fast = self.inside("burn", 1500, 2, name="burner")["number"]
        self.hob.delete("burner")
        self.assertGreater(fast, slow * 1.5, "the probe itself does not burn")

    # ---- more than its rights

    def test_no_privilege_to_be_had(self):
        self.refused("setuid")
        self.refused("chroot")
        self.refused("mount", "/tmp", prefix=["unshare", "-m", "--propagation", "private"])
        self.refused("mknod", "/tmp")
        for flag in (CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWNET, CLONE_NEWPID):
            self.refused("unshare", flag)
            self.refused("clone", flag)
            self.refused("clone3", flag)
        self.refused("setns")

    def test_a_set_uid_file_gives_nothing(self):
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)
            copy = shutil.copy(PROBE, os.path.join(folder, "suid"))
            os.chmod(copy, 0o4755)
            # A program outside, as an ordinary user, becomes root by it.
            plain = shutil.copy(PROBE, os.path.join(folder, "plain"))
            done = subprocess.run([plain, "do", "suid", copy], stdout=subprocess.PIPE, user=65534, group=65534,
                                  extra_groups=[])
            self.assertTrue(json.loads(done.stdout)["worked"], "the probe itself does not work")
        folder = self.hob.bundle({"probe": b"", "suid": b""}).removeprefix("file://")
        for name, mode in (("probe", 0o755), ("suid", 0o4755)):
            shutil.copy(PROBE, os.path.join(folder, name))
            os.chmod(os.path.join(folder, name), mode)
        self.hob.apply(service("suid", f"file://{folder}", ["/app/probe", "serve"]), wait=False)
        condition = self.hob.wait_condition("suid", "False")
        self.assertIn("set-user-ID", condition["message"])
        self.hob.delete("suid")
        self.refused("suidmount", "/usr")
        for path in ("/app", "/tmp", "/dev/shm"):
            self.assertFalse(self.inside("suidmount", path)["worked"], path)

    def test_kernel_doors_are_closed(self):
        for deed in ("keyctl", "bpf", "iouring", "userfault"):
            self.refused(deed)
        self.refused("handle", "/tmp")

    def test_the_host_kernel_cannot_be_written_to(self):
        for path in ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sys/vm/drop_caches",
                     "/sys/power/state"):
            if os.path.exists(path):
                self.refused("openw", path)

    def test_its_own_limits_cannot_be_raised(self):
        own = [path for path in ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory.max",
                                 "/sys/fs/cgroup/pids/pids.max", "/sys/fs/cgroup/pids.max")
               if self.inside("open", path)["worked"]]
        for path in own:  # it may look, in its own view
            self.assertFalse(self.inside("openw", path)["worked"], path)
        for folder in ("/sys/fs/cgroup", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids", "/sys/fs/cgroup/unified"):
            self.assertFalse(self.inside("mkdir", f"{folder}/deeper")["worked"], folder)
        # Those of the function that is never stopped: a group of the pool may go while it is looked at.
        steady = [pid for pid in harness.descendants(self.hob.process.pid) if harness.command_of(pid) == "/app/fn"]
        own = {line.split(":", 2)[2] for line in read_text(f"/proc/{steady[0]}/cgroup").splitlines()}
        own = {path for path in own if harness.group_name(self.hob.data) in path}
        groups = [folder for folder, _, files in os.walk("/sys/fs/cgroup")
                  if "cgroup.procs" in files and any(folder.endswith(path) for path in own)]
        self.assertTrue(groups)
        for folder in groups[:4]:
            self.refused("openw", f"{folder}/cgroup.procs")
            self.refused("mkdir", f"{folder}/torture-deeper")

    # ---- other people's things

    def test_the_hosts_files_are_not_there(self):
        data = self.hob.data
        self.refused("open", "/etc/shadow")
        self.refused("list", data)
        self.refused("list", self.hob.files)
        self.refused("open", self.hob.log_path)
        self.refused("open", f"/proc/{self.node}/environ")
        self.assertFalse(self.inside("open", "/proc/1/environ")["worked"])
        stored = [os.path.join(folder, name) for folder, _, names in os.walk(data) for name in names]
        bundles = [path for path in stored if path.endswith("/fn")]
        databases = [path for path in stored if path.endswith(".db")]
        self.assertTrue(bundles and databases, stored)
        for path in bundles[:1] + databases[:1]:
            self.refused("open", path)
            self.refused("open", "/.hob/store/" + path.partition("/store/")[2], control=[path])
            self.refused("open", "/app/../.hob/" + os.path.basename(path), control=[path])
        for link in ("root", "cwd"):
            self.refused("list", f"/proc/{self.node}/{link}/")

    def test_other_processes_cannot_be_traced_or_read(self):
        sleeper = subprocess.Popen(["sleep", "60"])
        try:
            self.refused("ptrace", sleeper.pid)
            self.refused("vmread")  # not even its own kind
            for deed in ("ptrace", "vmread"):
                self.assertFalse(self.inside(deed, self.node)["worked"])
                self.assertFalse(self.inside(deed, 1)["worked"])
            self.refused("kill", sleeper.pid, 0)
            self.assertFalse(self.inside("kill", self.node, signal.SIGKILL)["worked"])
            self.assertIsNone(sleeper.poll())
        finally:
            sleeper.kill()
            sleeper.wait()

    def test_killing_everybody_kills_only_itself(self):
        control = outside("killall", prefix=["unshare", "-p", "--fork", "--kill-child", "--"])
        self.assertTrue(control["worked"], "the probe itself does not work")
        victim = self.hob.instances("victim")[0]["id"]
        old = self.hob.instances("hostile") or [self.inside("wait", 0)] and self.hob.instances("hostile")
        self.assertIn(self.hob.ingress("hostile", path="/killall")[0], (200, 502, 503))
        self.hob.wait_for("the instance that killed itself to go",
                          lambda: old[0]["id"] not in [i["id"] for i in self.hob.instances("hostile")])
        self.assertEqual(self.hob.instances("victim")[0]["id"], victim)
        self.assertTrue(self.inside("wait", 0)["worked"])

    # ---- the way out

    def test_nobody_can_be_dialled(self):
        for address in (self.hob.api_address, self.hob.ingress_address):
            self.refused("dial", split_address(address)[1])
        with socket.socket(socket.AF_UNIX) as s:
            name = f"hob-e2e-{os.getpid()}"
            s.bind(f"\0{name}")
            s.listen()
            self.refused("abstract", name)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.bind(("127.0.0.1", 0))
            s.settimeout(harness.WAIT_S)
            port = s.getsockname()[1]
            self.inside("udp", port, "127.0.0.1", "inside")
            outside("udp", port, "127.0.0.1", "outside")
            self.assertEqual(s.recv(100), b"outside")  # and nothing before it

    def test_only_ordinary_sockets_are_given(self):
        self.refused("socket", socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        self.refused("socket", AF_PACKET, socket.SOCK_RAW, 0)
        self.refused("socket", AF_VSOCK, socket.SOCK_STREAM, 0)
        self.refused("socket", AF_NETLINK, socket.SOCK_RAW, 9)  # audit
        self.refused("socket", AF_NETLINK, socket.SOCK_RAW, 12)  # netfilter
        self.assertFalse(self.inside("socket", AF_ALG, socket.SOCK_SEQPACKET, 0)["worked"])
        self.assertTrue(self.inside("socket", socket.AF_INET, socket.SOCK_STREAM, 0)["worked"])

    # ---- bad manners

    def test_a_huge_head_is_refused(self):
        self.assertEqual(self.hob.ingress("hostile", path="/bighead?4000")[0], 200)
        status, headers, _ = self.hob.ingress("hostile", path="/bighead?4000000")
        self.assertEqual((status, headers["Content-Type"]), (502, "application/problem+json"))

    def test_a_head_that_never_ends_is_given_up(self):
        self.deploy("drip", responseStartTimeoutSeconds=1, timeoutSeconds=1)
        self.assertEqual(self.hob.ingress("drip", path="/driphead?100")[0], 200)
        begin = time.monotonic()
        status, _, body = self.hob.ingress("drip", path="/driphead?120000", timeout=100)
        self.assertEqual(status, 504, body)
        self.assertLess(time.monotonic() - begin, 60)
        self.hob.delete("drip")

    def test_closing_its_output_changes_nothing(self):
        self.deploy("silent", env={"CLOSE_OUTPUT": "1"})
        self.assertTrue(self.inside("wait", 0, name="silent")["worked"])
        begin = jiffies(self.node)
        self.assertTrue(self.inside("wait", 1000, name="silent")["worked"])
        self.assertLess(jiffies(self.node) - begin, 0.5, "the node turns round and round on a closed pipe")
        self.hob.delete("silent")

    def daemons(self, name):
        return [pid for pid in harness.descendants(self.hob.process.pid)
                if read_text(f"/proc/{pid}/comm").strip() == name and stat_of(pid)[1] != "Z"]

    def test_a_daemon_dies_with_its_instance(self):
        name = "hob-e2e-daemon"
        self.inside("daemon", name)
        self.hob.wait_for("the daemon", lambda: self.daemons(name))  # the control: it got away, and lives
        self.new_instance()
        self.hob.wait_for("the daemon's end", lambda: not self.daemons(name))

    def test_an_ignored_sigterm_is_followed_by_sigkill(self):
        self.deploy("stubborn", env={"IGNORE_TERM": "1"}, timeoutSeconds=1)
        self.deploy("polite", timeoutSeconds=1)
        for name in ("stubborn", "polite"):
            self.inside("wait", 0, name=name)
            begin = time.monotonic()
            self.new_instance(name)
            took = time.monotonic() - begin
            if name == "stubborn":
                self.assertGreater(took, 0.25, "it was not given its grace")
            self.assertLess(took, harness.WAIT_S)
            self.hob.delete(name)


if __name__ == "__main__":
    unittest.main()
