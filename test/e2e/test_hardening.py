"""What hob keeps to itself: asked of the real binary, from outside."""

import fcntl
import os
import re
import signal
import subprocess
import tempfile
import unittest

from harness import BINARY, KNATIVE, Hob, descriptors, read_text, service

NODE_UID = 268369920


def status_of(pid, field):
    for line in read_text(f"/proc/{pid}/status").splitlines():
        if line.startswith(field + ":"):
            return line.split()[1]
    return ""


class Page(unittest.TestCase):
    """A web page in the operator's browser can connect to the API: it must not get in."""

    def test_a_foreign_page_deploys_nothing(self):
        with Hob() as hob:
            tree = service("stolen", image=hob.bundle({"run": "#!/bin/sh\n"}))
            for headers in ({"Host": "evil.example:8081"},
                            {"Host": "evil.example:8081", "Origin": "http://evil.example:8081"},
                            {"Origin": "http://evil.example"}, {"Origin": "null"}):
                status, _, answer = hob.call("POST", f"{KNATIVE}/default/services", tree, headers)
                self.assertEqual(status, 403, f"{headers}: {answer}")
                status, _, answer = hob.call("GET", "/v1/limits", headers=headers)
                self.assertEqual(status, 403, f"{headers}: {answer}")
            self.assertIsNone(hob.get_service("stolen"))
            port = hob.api_address.rpartition(":")[2]
            for host in (f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}"):
                hob.call("GET", "/v1/limits", headers={"Host": host}, want=200)
                hob.call("GET", "/v1/limits", headers={"Host": host, "Origin": f"http://{host}"}, want=200)


class Node(unittest.TestCase):
    """The node parses what comes from outside: it holds nothing of the operator's."""

    def test_the_node_inherits_neither_secrets_nor_descriptors(self):
        secret = tempfile.TemporaryFile()
        high = fcntl.fcntl(secret.fileno(), fcntl.F_DUPFD, 60)  # no number that hob itself uses
        inode = os.fstat(secret.fileno()).st_ino
        real = subprocess.Popen

        def leaking(*args, pass_fds=(), **more):
            return real(*args, pass_fds=[*pass_fds, high], **more)

        subprocess.Popen = leaking
        try:
            with Hob(env={"CLOUD_TOKEN": "operator-secret"}) as hob:
                pid = hob.roles()["node"]
                # assertTrue: a failure must not print what else is in there
                self.assertTrue("CLOUD_TOKEN=" in read_text(f"/proc/{hob.process.pid}/environ"))
                self.assertTrue("CLOUD_TOKEN" not in read_text(f"/proc/{pid}/environ"))
                self.assertIn(inode, descriptors(hob.process.pid).values())
                self.assertNotIn(inode, descriptors(pid).values())
        finally:
            subprocess.Popen = real
            os.close(high)
            secret.close()

    def test_the_node_is_filtered_and_has_no_terminal(self):
        with Hob() as hob:
            pid = hob.roles()["node"]
            self.assertEqual(status_of(pid, "Seccomp"), "2")
            self.assertEqual(status_of(pid, "NoNewPrivs"), "1")
            self.assertEqual(int(status_of(pid, "CapEff"), 16), 0)
            self.assertEqual(os.getsid(pid), pid)
            self.assertEqual(os.readlink(f"/proc/{pid}/fd/0"), "/dev/null")

    @unittest.skipUnless(os.geteuid() == 0, "an ordinary user cannot mount a /proc of the host's processes")
    def test_the_node_sees_no_other_process(self):
        look = ("import os, sys; os.chroot(f'/proc/{sys.argv[1]}/root'); "
                "os.setgid(%d); os.setuid(%d); print(*(p for p in os.listdir('/proc') if not p.isdigit()), "
                "os.path.exists('/proc/1'), os.path.exists('/proc/' + sys.argv[1]))" % (NODE_UID, NODE_UID))
        with Hob() as hob:
            pid = str(hob.roles()["node"])
            seen = subprocess.run(["/usr/bin/python3", "-c", look, pid], capture_output=True, text=True,
                                  timeout=30, check=True).stdout.split()
            self.assertEqual(sorted(seen), ["False", "True", "self", "thread-self"])

    def test_the_fetcher_is_one(self):
        with Hob() as hob:
            pid = hob.wait_for("a fetcher", lambda: hob.roles().get("fetcher"))
            self.assertEqual(status_of(pid, "Seccomp"), "2")
            hob.apply(service("f", image=hob.bundle({"run": "#!/bin/sh\n"})), wait=False)
            self.assertEqual(hob.roles().get("fetcher"), pid)
            self.assertNotIn("role=fetcher status", hob.log())  # it stays

    def test_a_role_left_in_the_environment_means_nothing(self):
        for role in ("node", "fetcher", "x"):
            with Hob(env={"HOB_ROLE": role}) as hob:
                hob.wait_for("it to serve", hob.is_ready)


@unittest.skipUnless(os.geteuid() == 0, "only root could give folders away")
class Folders(unittest.TestCase):
    """hob serve as root makes the data folder the node's: only ever one that is hob's."""

    def refused(self, data, why):
        done = subprocess.run([BINARY, "serve", "--data", data, "--listen-api", "127.0.0.1:0",
                               "--listen-ingress", "127.0.0.1:0", "--listen-temporal", "none"],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(why, done.stderr)

    def test_a_folder_of_somebody_else_is_not_taken(self):
        with tempfile.TemporaryDirectory() as folder:
            victim = os.path.join(folder, "victim")
            os.mkdir(victim)
            open(os.path.join(victim, "precious"), "w").close()
            os.symlink(victim, os.path.join(folder, "link"))
            for data in (victim, os.path.join(folder, "link")):
                self.refused(data, "not empty")
                self.assertEqual(os.stat(victim).st_uid, 0)

    def test_a_store_that_a_node_replaced_with_a_link_is_not_followed(self):
        with tempfile.TemporaryDirectory() as folder:
            victim, data = os.path.join(folder, "victim"), os.path.join(folder, "data")
            os.mkdir(victim)
            os.mkdir(data, 0o700)
            os.chown(data, NODE_UID, NODE_UID)
            os.symlink(victim, os.path.join(data, "store"))
            self.refused(data, "store")
            self.assertEqual(os.stat(victim).st_uid, 0)

    def test_what_hob_keeps_is_no_image(self):
        with Hob("--file-root", tempfile.gettempdir()) as hob:
            os.symlink(hob.data, os.path.join(hob.files, "alias"))
            for n, (image, why) in enumerate([(hob.data, "own data folder"), (hob.folder, "own data folder"),
                                              (f"{hob.data}/store", "own data folder"),
                                              (f"{hob.files}/alias", "leads out of its --file-root")]):
                hob.apply(service(f"s{n}", image=f"file://{image}"), wait=False)
                told = hob.wait_condition(f"s{n}", "False")
                self.assertIn(why, told["message"])
            hob.apply(service("model", image=hob.bundle({"run": "#!/bin/sh\n"}), command=["/app/run"],
                              models=[("/m", f"file://{hob.data}/hob.db")]), wait=False)
            self.assertIn("own data folder", hob.wait_condition("model", "False")["message"])

    def test_a_second_life_takes_its_own_folder(self):
        with Hob() as hob:
            self.assertEqual(os.stat(hob.data).st_uid, NODE_UID)
            self.assertEqual(hob.restart(signal.SIGTERM), 0)
            ended = re.findall(r"(\w+) launcher\.child\.ended role=(\w+) status=(\d+)", hob.log())
            self.assertIn(("info", "node", "0"), ended)
            self.assertEqual([one for one in ended if one[0] != "info"], [])  # they were asked to
            hob.wait_for("its second life", hob.is_ready)


if __name__ == "__main__":
    unittest.main()
