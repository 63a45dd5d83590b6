"""hob itself runs out: of descriptors, of disk. It says so, keeps what it acknowledged, and serves again."""

import errno
import json
import os
import resource
import signal
import socket
import subprocess
import time
import unittest

import harness
from harness import KNATIVE, Hob, service, split_address

BUILD = os.environ.get("HOB_BUILD", os.path.join(harness.ROOT, "build"))
FN = os.path.join(BUILD, "test", "fn")
DESCRIPTORS = 300
DISK = "24m"
FILL_STEP = 1 << 16


def fn_image(hob, more=0):
    """The function, with so many more bytes beside it."""
    with open(FN, "rb") as f:
        return hob.bundle({"fn": f.read()} | ({"more": os.urandom(more)} if more else {}))


class Descriptors(unittest.TestCase):
    """A hard limit of a few hundred, and more clients than that."""

    def test_more_clients_than_descriptors_cost_nobody_who_is_served(self):
        def few():
            resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))

        with Hob(preexec_fn=few, limits={"sandbox_pool": 2, "sandbox_fds": 64}) as hob:
            hob.apply(service("f", fn_image(hob), ["/app/fn"], annotations={"min-scale": 1}))
            node = hob.roles()["node"]
            with hob.wire() as before:
                self.assertEqual(self.ask(hob, before), 200)
                crowd = []
                try:
                    for _ in range(DESCRIPTORS + 100):
                        s = socket.create_connection(split_address(hob.ingress_address), timeout=harness.WAIT_S)
                        crowd.append(s)
                    # hob holds what it can, and whoever is in goes on being served.
                    held = hob.wait_for("the descriptors to be used up",
                                        lambda: len(harness.descriptors(node)) >= DESCRIPTORS - 20)
                    self.assertTrue(held)
                    for _ in range(20):
                        self.assertEqual(self.ask(hob, before), 200)
                    busy, begin = self.busy_s(node), time.monotonic()
                    time.sleep(1)  # a second of nothing to do, by the clock: that is what is measured
                    share = (self.busy_s(node) - busy) / (time.monotonic() - begin)
                    self.assertLess(share, 0.7, "the node turns round and round on accept")
                finally:
                    for s in crowd:
                        s.close()
            hob.wait_for("a new client to be served", lambda: self.new_client(hob) == 200)
            hob.apply(service("g", fn_image(hob), ["/app/fn"]))  # cold starts and the API as well
            self.assertEqual(hob.ingress("g")[0], 200)
            self.assertEqual(hob.roles()["node"], node, "the node did not live through it")

    @staticmethod
    def busy_s(pid):
        """How long its loop thread ran or waited for a processor: all of the time where it spins, whatever else
        the machine does."""
        ran_ns, waited_ns, _ = harness.read_text(f"/proc/{pid}/schedstat").split()
        return (int(ran_ns) + int(waited_ns)) / 1e9

    @staticmethod
    def ask(hob, wire):
        wire.send(f"GET / HTTP/1.1\r\nHost: {hob.host('f')}\r\n\r\n")
        status, headers = wire.head()
        wire.exactly(int(headers["Content-Length"]))
        return status

    @staticmethod
    def new_client(hob):
        try:
            return hob.ingress("f", timeout=harness.WAIT_S)[0]
        except OSError:
            return None


@unittest.skipUnless(os.geteuid() == 0, "needs root: it mounts a small disk")
class Disk(unittest.TestCase):
    """The data folder on a tmpfs of a few MB of its own, filled up by somebody else."""

    def setUp(self):
        self.hob = Hob(limits={"store_free_bytes_min": 1 << 20})
        os.mkdir(self.hob.data)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "hob-e2e-disk", self.hob.data])
        if done.returncode != 0:
            self.hob.discard()
            self.skipTest("mounting a tmpfs is not allowed here")
        self.addCleanup(self.hob.discard)
        self.addCleanup(subprocess.run, ["umount", "-l", self.hob.data])
        self.filler = os.path.join(self.hob.data, "filler")

    def fill(self):
        with open(self.filler, "wb", buffering=0) as f:
            while True:
                try:
                    f.write(b"x" * FILL_STEP)
                except OSError as e:
                    self.assertEqual(e.errno, errno.ENOSPC)
                    return

    def create(self, name, image):
        status, _, answer = self.hob.call("POST", f"{KNATIVE}/default/services",
                                          service(name, image, ["/app/fn"], env={"FILL": "x" * 20000}))
        return status, answer

    def test_a_full_disk_loses_nothing_and_is_said(self):
        hob = self.hob
        hob.start()
        image = fn_image(hob)
        hob.apply(service("before", image, ["/app/fn"]))
        acknowledged, refused = ["before"], []
        self.fill()
        for i in range(60):  # the log of the database has a little room left
            status, answer = self.create(f"n-{i}", image)
            (acknowledged if status == 201 else refused).append(f"n-{i}")
            if status != 201:
                self.assertGreaterEqual(status, 500, answer)
                self.assertEqual(answer["kind"], "Status", answer)
                self.assertRegex(json.dumps(answer), "(?i)full|space|disk|store")
                if len(refused) == 3:
                    break
        self.assertTrue(refused, "the disk was full, and nothing was refused")
        hob.wait_for("/readyz to say that nothing can be deployed", lambda: not hob.is_ready())
        # What runs goes on, and can be read.
        self.assertEqual(hob.ingress("before")[0], 200)
        for name in acknowledged:
            self.assertIsNotNone(hob.get_service(name), name)
        # What needs room is refused with a reason.
        other = fn_image(hob, 1 << 20)
        if (condition := self.try_other(other)) is not None:
            self.assertRegex(condition["message"], "(?i)space|disk|room|full")
        # Killed with its disk full, it starts again or says why; nothing acknowledged is gone.
        self.assertEqual(hob.stop(signal.SIGKILL), -signal.SIGKILL)
        os.unlink(self.filler)
        hob.start()
        for name in acknowledged:
            self.assertIsNotNone(hob.get_service(name), name)
        for name in refused:
            self.assertIsNone(hob.get_service(name), f"{name} was refused, and is there")
        self.assertEqual(hob.ingress("before")[0], 200)
        self.assertEqual(self.create("after", image)[0], 201)
        hob.wait_ready("after")
        self.assertTrue(hob.is_ready())
        self.assertEqual(hob.ingress("after")[0], 200)
        self.assertEqual(hob.stop(), 0)

    def try_other(self, image):
        """The condition of a service whose bundle does not fit, or None if even the object did not."""
        status, answer = self.create("other", image)
        if status != 201:
            return None
        condition = self.hob.wait_condition("other", "False")
        self.hob.call("DELETE", f"{KNATIVE}/default/services/other")
        return condition

    def test_service_comes_back_without_a_restart(self):
        hob = self.hob
        hob.start()
        image = fn_image(hob)
        hob.apply(service("before", image, ["/app/fn"]))
        node = hob.roles()["node"]
        self.fill()
        self.assertTrue(any(self.create(f"n-{i}", image)[0] != 201 for i in range(60)))
        os.unlink(self.filler)
        hob.wait_for("the store to be written again", lambda: self.create("again", image)[0] in (201, 409))
        hob.wait_ready("again")
        self.assertEqual(hob.ingress("again")[0], 200)
        self.assertEqual(hob.roles()["node"], node)
        self.assertEqual(hob.stop(), 0)

    def test_a_bundle_that_does_not_fit_is_a_clear_condition(self):
        hob = self.hob
        hob.start()
        image = fn_image(hob, 40 << 20)
        hob.apply(service("big", image, ["/app/fn"]), wait=False)
        condition = hob.wait_condition("big", "False")
        self.assertIn("store_free_bytes_min", condition["message"])  # known before a byte was written
        self.assertEqual(os.listdir(os.path.join(hob.data, "store", "ingest")), [])
        hob.delete("big")
        hob.apply(service("small", fn_image(hob), ["/app/fn"]))
        self.assertEqual(hob.ingress("small")[0], 200)
        self.assertEqual(hob.stop(), 0)


if __name__ == "__main__":
    unittest.main()
