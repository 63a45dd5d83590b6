"""A day's work in a minute, and then again: what hob holds afterwards is what it held before.

The binary without sanitizers (HOB_PLAIN, or build-plain/src/cli/hob) is measured, as the sanitizers keep what was
freed. One round is warm and cold requests, failures, clients that leave, deploys and deletes; the first
rounds warm up every pool and cache, and what the last rounds add has to be nothing.
"""

import http.client
import os
import socket
import struct
import time
import unittest

import harness
from harness import Hob, read_text, request, service

ROOT = harness.ROOT
BUILD = os.environ.get("HOB_BUILD", os.path.join(ROOT, "build"))
PLAIN = os.environ.get("HOB_PLAIN", os.path.join(ROOT, "build-plain", "src", "cli", "hob"))
FN = os.path.join(BUILD, "test", "fn")
WARM_ROUNDS, ROUNDS = 6, 16
WARM_REQUESTS, COLD_STARTS, DEPLOYS, FAILURES, LEAVERS = 400, 12, 8, 4, 12
RESIDENT_SLOP = 1 << 20  # a page of records, an arena's rounding; a leak of 100 bytes a request is more


def resident(pid):
    """Private memory: what is mapped from files comes and goes with the page cache."""
    return sum(int(line.split()[1]) << 10 for line in read_text(f"/proc/{pid}/smaps_rollup").splitlines()
               if line.startswith(("Private_Dirty:", "Swap:")))


class Held:
    """What one hob holds at this moment, by name."""

    def __init__(self, hob):
        node, launcher = hob.roles()["node"], hob.process.pid
        group = harness.group_name(hob.data)
        self.counts = {
            "descriptors of the node": len(harness.descriptors(node)),
            "descriptors of the launcher": len(harness.descriptors(launcher)),
            "processes": len(harness.descendants(launcher)),
            "threads of the node": len(os.listdir(f"/proc/{node}/task")),
            "cgroups": sum(group in folder for folder, _, _ in os.walk("/sys/fs/cgroup")),
            "mounts of the launcher": len(read_text(f"/proc/{launcher}/mountinfo").splitlines()),
            "mounts of the node": len(read_text(f"/proc/{node}/mountinfo").splitlines()),
            "files of the store": sum(len(files) + len(folders)
                                      for _, folders, files in os.walk(os.path.join(hob.data, "store"))),
            "files of the data folder": len(os.listdir(hob.data)),
        }
        self.resident = {"node": resident(node), "launcher": resident(launcher)}
        self.pids = node, launcher


def is_plain(path):
    """Whether it is there, and keeps nothing of what it frees."""
    try:
        with open(path, "rb") as f:
            return b"__asan_init" not in f.read()
    except OSError:
        return False


@unittest.skipUnless(is_plain(PLAIN), f"no binary without sanitizers at {PLAIN} (HOB_PLAIN)")
class Leaks(unittest.TestCase):
    def setUp(self):
        self.hob = self.enterContext(Hob(binary=PLAIN, limits={
            "sandbox_pool": 2, "sandbox_pool_max": 2, "drain_ms": 2000, "records_max": 2000, "log_ring_bytes": 65536, "watch_events_max": 200, "events_max": 50,
            "start_backoff_ms": 10}))
        with open(FN, "rb") as f:
            self.image = self.hob.bundle({"fn": f.read()})
        self.hob.apply(service("steady", self.image, ["/app/fn"]))

    def warm(self):
        """Many requests on few connections, and some with bodies."""
        connection = http.client.HTTPConnection(self.hob.ingress_address, timeout=30)
        headers = {"Host": self.hob.host("steady")}
        for i in range(WARM_REQUESTS):
            body = b"x" * (i * 37 % 20000)
            connection.request("POST" if i % 3 == 0 else "GET", "/echo" if i % 3 == 0 else "/",
                               body if i % 3 == 0 else None, headers)
            answer = connection.getresponse()
            self.assertEqual((answer.status, answer.read()), (200, body if i % 3 == 0 else b"ok\n"))
        connection.close()
        for path in ("/v1/invocations?limit=50", "/v1/instances", "/metrics", "/v1/services/default/steady/stats",
                     "/v1/services/default/steady/logs?tail=10", f"{harness.KNATIVE}/default/services"):
            self.assertEqual(request(self.hob.api_address, "GET", path)[0], 200, path)

    def cold(self):
        """To zero and back: an instance is stopped by name, the next request starts one."""
        for _ in range(COLD_STARTS):
            for item in self.hob.instances("steady"):
                self.hob.call("DELETE", f"/v1/instances/{item['id']}")
            status, _, body = self.hob.ingress("steady")
            self.assertEqual(status, 200, body)

    def leave(self):
        """Clients that go away: before the answer, in their own body, with a reset."""
        for i in range(LEAVERS):
            s = self.hob.wire().s
            if i % 3 == 0:
                s.sendall(f"GET /sleep/20 HTTP/1.1\r\nHost: {self.hob.host('steady')}\r\n\r\n".encode())
            elif i % 3 == 1:
                s.sendall(f"POST /echo HTTP/1.1\r\nHost: {self.hob.host('steady')}\r\n"
                          "Content-Length: 100000\r\n\r\nbegin".encode())
            else:
                s.sendall(b"GET / HTTP/1.1\r\nHo")
            if i % 2:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.close()
        with self.hob.wire().s as s:  # a stream of the log, cut
            s.close()
        log = http.client.HTTPConnection(self.hob.api_address, timeout=30)
        log.request("GET", "/v1/services/default/steady/logs?follow=true")
        log.getresponse()
        log.close()

    def deploy(self):
        """The same few names, made and unmade: what they leave is bounded by their number."""
        for i in range(DEPLOYS):
            name = f"passing-{i % 4}"
            self.hob.apply(service(name, self.image, ["/app/fn"], env={"TURN": str(i)}))
            self.assertEqual(self.hob.ingress(name)[0], 200)
            self.hob.delete(name)

    def failures(self):
        """Starts that cannot work, objects that are refused, functions that end in the middle."""
        for i in range(FAILURES):
            name = f"failing-{i}"
            self.hob.apply(service(name, self.image, ["/app/nothing"]), wait=False)
            self.hob.wait_condition(name, "False")
            self.hob.delete(name)
            bad = service("Bad_Name", self.image)
            status = self.hob.call("POST", f"{harness.KNATIVE}/default/services", bad)[0]
            self.assertIn(status, (400, 422))
            self.assertEqual(self.hob.ingress("nobody")[0], 404)
        gone = self.hob.instances("steady")[0]["id"]
        # A POST, as a GET on a kept connection that ends is tried once more, on the next instance.
        self.assertEqual(self.hob.ingress("steady", "POST", "/exit/3")[0], 502)
        self.hob.wait_for("its end", lambda: gone not in [i["id"] for i in self.hob.instances("steady")])

    def turn(self):
        self.warm()
        self.cold()
        self.leave()
        self.deploy()
        self.failures()
        # The same rest each time: one instance of steady, the pool full, nothing on its way out.
        status, _, body = self.hob.ingress("steady")
        self.assertEqual(status, 200, body + self.hob.log()[-2000:].encode())
        self.hob.wait_for("one instance", lambda: [i["service"] for i in self.hob.instances()] == ["steady"])

    def rest(self, wanted=None):
        """The counts when they no longer move (or are those wanted): the kernel takes a moment for the dead."""
        last, since = Held(self.hob), time.monotonic()
        begin = since
        while time.monotonic() - begin < 15:
            if wanted is not None and last.counts == wanted:
                return last
            time.sleep(0.05)
            now = Held(self.hob)
            if now.counts != last.counts:
                since = time.monotonic()
            last = now
            if wanted is None and time.monotonic() - since > 1:
                break
        return last

    def test_a_day_of_work_is_not_held_on_to(self):
        for _ in range(WARM_ROUNDS):
            self.turn()
        before = self.rest()
        half = None
        for i in range(ROUNDS):
            self.turn()
            if i == ROUNDS // 2 - 1:
                half = self.rest(before.counts)
        after = self.rest(before.counts)
        growth = {name: (before.resident[name], half.resident[name], after.resident[name])
                  for name in before.resident}
        print(f"{ROUNDS} rounds; private bytes {growth} ", end="", flush=True)
        self.assertEqual(after.pids, before.pids, "somebody was started again")
        self.assertEqual(after.counts, before.counts)
        for name, (first, _, last) in growth.items():
            self.assertLess(last - first, RESIDENT_SLOP, f"the {name} grows: {growth}")


if __name__ == "__main__":
    unittest.main()
