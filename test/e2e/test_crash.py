"""hob killed with SIGKILL, again and again, in the middle of everything: what it acknowledged is there
afterwards, and what it left behind is nothing.

HOB_CRASH_SEED repeats a run, HOB_CRASH_KILLS says how many (40).
"""

import http.client
import json
import os
import random
import signal
import threading
import time
import unittest
import zlib

import harness
from harness import KNATIVE, Hob, request, service

BUILD = os.environ.get("HOB_BUILD", os.path.join(harness.ROOT, "build"))
PROBE = os.path.join(BUILD, "test", "hostile")
SEED = int(os.environ.get("HOB_CRASH_SEED", "7"))
KILLS = int(os.environ.get("HOB_CRASH_KILLS", "40"))
BUNDLE_BYTES = 3 << 20  # long enough in the store's hands to be killed there
LOST = (OSError, http.client.HTTPException)  # the connection went with its node


class Deployer(threading.Thread):
    """Creates, replaces and deletes services of its own, and remembers what was acknowledged.

    known[name] is (least resourceVersion, value, sum of its file), or None for "deleted"; a name whose last
    call was not answered may be in either state and has its last two values in maybe[name].
    """

    def __init__(self, hob, images, seed, prefix):
        super().__init__(daemon=True)
        self.hob, self.images, self.rng, self.prefix = hob, images, random.Random(seed), prefix
        self.known, self.maybe, self.done, self.error = {}, {}, threading.Event(), None
        self.acknowledged = self.unanswered = 0
        self.image = {}

    def tree(self, name, value):
        image, _ = self.images[self.image[name]]
        return service(name, image, ["/app/probe", "serve"], env={"VALUE": value},
                       annotations={"max-scale": 1, "initial-scale": 0})

    def call(self, method, path, body=None):
        data = json.dumps(body).encode() if body is not None else None
        fields = {"Content-Type": "application/json"} if data is not None else {}
        status, _, text = request(self.hob.api_address, method, path, data, fields, timeout=20)
        return status, json.loads(text)

    def change(self, turn):
        name = f"{self.prefix}-{self.rng.randrange(6)}"
        value = f"{self.prefix}-{turn}"
        path = f"{KNATIVE}/default/services"
        before = self.known.get(name)
        delete = before is not None and self.rng.random() < 0.2
        self.maybe[name] = {before[1] if before else None, None if delete else value} | self.maybe.get(name, set())
        self.image.setdefault(name, self.rng.randrange(len(self.images)))
        try:
            status, there = self.call("GET", f"{path}/{name}")
            if delete:
                status, answer = self.call("DELETE", f"{path}/{name}")
                after = None
            elif status == 404:
                self.image[name] = self.rng.randrange(len(self.images))
                status, answer = self.call("POST", path, self.tree(name, value))
            else:
                tree = self.tree(name, value)
                tree["metadata"]["resourceVersion"] = there["metadata"]["resourceVersion"]
                status, answer = self.call("PUT", f"{path}/{name}", tree)
        except (*LOST, ValueError):
            self.unanswered += 1
            return
        if status in (200, 201, 202):
            if not delete:
                after = (int(answer["metadata"]["resourceVersion"]), value, self.images[self.image[name]][1])
            self.known[name] = after
            self.maybe.pop(name)
            self.acknowledged += 1
        elif status not in (404, 409, 429, 503):
            self.error = f"{name}: {status} {answer}"

    def run(self):
        turn = 0
        while not self.done.is_set():
            turn += 1
            self.change(turn)
            self.done.wait(0.005)  # a pace, not a wait for something


class Caller(threading.Thread):
    """Asks functions for things, cold and warm, and counts the answers. Any answer may be missing."""

    def __init__(self, hob, seed):
        super().__init__(daemon=True)
        self.hob, self.rng, self.done = hob, random.Random(seed), threading.Event()
        self.answers = {}

    def run(self):
        while not self.done.is_set():
            name = self.rng.choice(["steady", "a-0", "a-1", "a-2", "b-0", "b-1", "b-2"])
            try:
                status = self.hob.ingress(name, path="/wait?5", timeout=5)[0]
            except LOST:
                status = "lost"
            self.answers[status] = self.answers.get(status, 0) + 1
            self.done.wait(0.005)


class Crash(unittest.TestCase):
    user = None

    def setUp(self):
        print(f"HOB_CRASH_SEED={SEED} HOB_CRASH_KILLS={KILLS} ", end="", flush=True)
        self.rng = random.Random(SEED)

    def images(self, hob):
        with open(PROBE, "rb") as f:
            probe = f.read()
        found = []
        for _ in range(8):
            data = self.rng.randbytes(BUNDLE_BYTES)
            found.append((hob.bundle({"probe": probe, "data": data}), zlib.adler32(data)))
        return found

    def kill_one(self, hob):
        """Somebody, now; the launcher takes everything with it, and is started again."""
        role = self.rng.choice(["node", "node", "fetcher", "launcher"])
        if role == "fetcher" and "fetcher" not in hob.roles():
            role = "launcher"
        if role == "launcher":
            self.assertEqual(hob.restart(signal.SIGKILL), -signal.SIGKILL)
            return role
        sockets = hob.api_address, hob.ingress_address
        if role in hob.roles():
            try:
                hob.kill_role(role)
            except AssertionError as why:
                if "ended by itself" not in str(why):
                    raise
        self.assertEqual((hob.api_address, hob.ingress_address), sockets)
        return role

    def check_objects(self, hob, deployers):
        """Everything acknowledged is there, nothing deleted is, and what runs is whole."""
        hob.wait_for("hob to be ready", hob.is_ready)
        for d in deployers:
            for name in d.known | d.maybe:
                tree = hob.get_service(name)
                value = tree and tree["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"]
                if name in d.maybe:
                    self.assertIn(value, d.maybe[name], name)
                    continue
                known = d.known[name]
                self.assertEqual(value, known and known[1], name)
                if known:
                    self.assertGreaterEqual(int(tree["metadata"]["resourceVersion"]), known[0], name)

    def check_service(self, hob, deployers):
        for d in deployers:
            for name, known in d.known.items():
                if known and name not in d.maybe:
                    hob.wait_ready(name)
                    status, _, body = hob.ingress(name, path="/sum?/app/data")
                    self.assertEqual(status, 200, body)
                    self.assertEqual(json.loads(body)["number"], known[2], f"{name}: not the whole bundle")

    def check_store(self, hob):
        left = os.listdir(os.path.join(hob.data, "store", "ingest"))
        self.assertEqual(left, [], "half-written artifacts")

    def test_sigkill_at_any_moment_loses_nothing_and_leaves_nothing(self):
        with Hob(user=self.user, limits={"start_backoff_ms": 10}) as hob:
            images = self.images(hob)
            hob.apply(service("steady", images[0][0], ["/app/probe", "serve"]))
            deployers = [Deployer(hob, images, SEED + i, prefix) for i, prefix in enumerate("ab")]
            callers = [Caller(hob, SEED + 10 + i) for i in range(2)]
            threads = deployers + callers
            for t in threads:
                t.start()
            kills, begin = {}, time.monotonic()
            try:
                for i in range(KILLS):
                    role = self.kill_one(hob)
                    kills[role] = kills.get(role, 0) + 1
                    if self.rng.random() < 0.7:  # else: while it still starts
                        hob.wait_for("hob to be ready again", hob.is_ready)
                    time.sleep(self.rng.random() * 0.3)  # any moment
                    if time.monotonic() - begin > 50:
                        break
                hob.wait_for("hob to be ready again", hob.is_ready)
            finally:
                for t in threads:
                    t.done.set()
                for t in threads:
                    t.join(30)
            print(f"{kills} acknowledged={sum(d.acknowledged for d in deployers)} "
                  f"unanswered={sum(d.unanswered for d in deployers)} answers="
                  f"{ {k: sum(c.answers.get(k, 0) for c in callers) for k in set().union(*(c.answers for c in callers))} } ",
                  end="", flush=True)
            self.assertFalse(any(t.is_alive() for t in threads))
            for d in deployers:
                self.assertIsNone(d.error)
                self.assertGreater(d.acknowledged, KILLS // 4)
            self.assertGreater(sum(c.answers.get(200, 0) for c in callers), KILLS // 4)
            self.check_objects(hob, deployers)
            hob.restart()
            self.check_objects(hob, deployers)
            self.check_service(hob, deployers)
            self.check_store(hob)
            self.assertEqual(hob.ingress("steady", path="/wait?0")[0], 200)
        # leaving the block has asserted that no process, mount or cgroup is left

    def test_a_request_waits_while_the_node_is_started_again(self):
        """The launcher keeps the sockets: who calls while there is no node is answered by the next."""
        with Hob(user=self.user) as hob:
            image, _ = self.images(hob)[0]
            hob.apply(service("steady", image, ["/app/probe", "serve"]))
            for _ in range(3):
                node = hob.kill_role("node")
                self.assertEqual(hob.ingress("steady", path="/wait?0")[0], 200)
                self.assertNotEqual(hob.roles()["node"], node)

    def test_a_killed_launcher_takes_everything_with_it(self):
        with Hob(user=self.user) as hob:
            image, _ = self.images(hob)[0]
            hob.apply(service("steady", image, ["/app/probe", "serve"], annotations={"min-scale": 2}))
            hob.wait_instances("steady", 2)
            self.assertEqual(hob.stop(signal.SIGKILL), -signal.SIGKILL)
            hob.wait_for("the end of all its processes",
                         lambda: not [x for x in hob.left() if x.startswith("process")])
            hob.start()  # what cgroups it left are swept here
            self.assertEqual(hob.ingress("steady", path="/wait?0")[0], 200)


def user_namespaces():
    try:
        with open("/proc/sys/user/max_user_namespaces", encoding="ascii") as f:
            return int(f.read()) > 0
    except OSError:
        return False


@unittest.skipUnless(user_namespaces(), "user namespaces are off here")
class CrashAsOrdinaryUser(Crash):
    user = 65534 if os.geteuid() == 0 else None


if __name__ == "__main__":
    unittest.main()
