"""The n-th operation of one process of the real binary fails, for every n (os/fault.h): a clear error or none, nothing
left behind, no leak (the sanitizer's exit status would say so), and the next try works."""
import http.client
import os
import re
import subprocess
import tempfile
import unittest

import harness
import test_cli
from harness import Hob, service

SWEEP_MAX = 400  # a sweep that never ends is a bug too
FN = os.path.join(os.environ.get("HOB_BUILD", os.path.join(harness.ROOT, "build")), "test", "fn")
# What the documented exit codes leave for an operation that failed here or on the way (docs/reference/cli.md).
CLIENT_CODES = {1, 6, 7}


def built_with_faults():
    done = subprocess.run([harness.BINARY, "completion", "bash"], env={**os.environ, "HOB_FAULT": "client:1"},
                          capture_output=True, timeout=60)
    return b"fault: " in done.stderr


def complaints(text):
    """What is said apart from the fault itself."""
    return [line for line in text.splitlines() if line and not line.startswith("fault: ")]


@unittest.skipUnless(built_with_faults(), "this build has no faults to inject")
class Client(unittest.TestCase):
    """Every command, against a server that does as it is told."""

    def run_with(self, n, args, stdin, env):
        done = subprocess.run([harness.BINARY, *args], input=stdin, capture_output=True, timeout=60,
                              env={**env, "HOB_FAULT": f"client:{n}"})
        return done.returncode, done.stdout, done.stderr.decode()

    def sweep(self, *args, stdin=b"", peeks=False):
        """`peeks`: what could not be had is left out of the answer, so success is right, too."""
        fake = test_cli.Fake()
        try:
            env = {k: v for k, v in os.environ.items() if not k.startswith("HOB")}
            env |= {"HOB_SERVER": fake.api_at, "LC_ALL": "C.UTF-8"}
            fake.put("default", {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "spec": {},
                                 "metadata": {"name": "greeter"}})
            right = self.run_with(0, args, stdin, env)
            self.assertEqual(right[0], 0, right)
            for n in range(1, SWEEP_MAX):
                code, out, err = self.run_with(n, args, stdin, env)
                if "fault: " not in err:
                    self.assertEqual(code, 0, err)
                    return n - 1
                where = f"{args} {n}: {err}"
                self.assertNotIn("Sanitizer", err, where)
                if code == 0:
                    self.assertTrue(peeks, where)
                    continue
                self.assertIn(code, CLIENT_CODES, where)
                self.assertRegex("\n".join(complaints(err)), r"(?m)^hob( [a-z]+)?: \S.*", where)
            self.fail("the sweep never ended")
        finally:
            fake.close()

    def test_commands_that_look(self):
        for args, peeks in ((["get"], False), (["get", "greeter", "-o", "yaml"], False), (["ps"], False),
                            (["describe", "greeter"], True), (["explain"], True), (["models"], False),
                            (["limits"], False), (["version"], True), (["logs", "greeter"], False)):
            with self.subTest(args[0]):
                self.assertGreater(self.sweep(*args, peeks=peeks), 3)

    def test_commands_that_change(self):
        manifest = (test_cli.MANIFEST % ("greeter", "a")).encode()
        with tempfile.TemporaryDirectory() as folder:
            for name in ("a.yaml", "b.yaml"):
                with open(os.path.join(folder, name), "wb") as f:
                    f.write(manifest)
            for args, stdin in ((["apply", "-f", "-"], manifest), (["apply", "-f", folder], b""),
                                (["deploy", "greeter", "--image", "file:///srv/g"], b""),
                                (["delete", "greeter", "--ignore-not-found"], b""),
                                (["models", "rm", "ab"], b"")):
                with self.subTest(args[0]):
                    self.assertGreater(self.sweep(*args, stdin=stdin), 3)

    def test_a_call(self):
        with tempfile.NamedTemporaryFile() as body:
            body.write(b"x" * 100000)
            body.flush()
            self.assertGreater(self.sweep("invoke", "greeter", "-d", "@" + body.name), 5)
        self.assertGreater(self.sweep("invoke", "greeter"), 3)

    def test_what_prints_and_asks_nobody(self):
        for args in (["completion", "bash"], ["help"], ["deploy", "g", "--image", "file:///srv/g", "--dry-run"]):
            with self.subTest(args[0]):
                self.assertGreater(self.sweep(*args), 0)


def works(deed):
    """One connection may be what the fault cost, or one change: refused for now (429, 503), by name."""
    try:
        return deed()
    except (OSError, http.client.HTTPException):
        return False
    except AssertionError as e:
        if re.search(r": (429|503), not ", str(e)):
            return False
        raise


@unittest.skipUnless(built_with_faults(), "this build has no faults to inject")
class Serve(unittest.TestCase):
    """hob serve comes up, or says why not and leaves nothing; then it comes up on the same folder."""

    def once(self, role, n):
        """(where it failed or None, whether it came up)."""
        hob = Hob(limits={"sandbox_pool": 1, "start_backoff_ms": 20}, env={"HOB_FAULT": f"{role}:{n}"})
        try:
            with open(FN, "rb") as f:
                image = hob.bundle({"fn": f.read()})
            tree = service("f", image, ["/app/fn"], annotations={"min-scale": 0, "initial-scale": 0})
            came_up = True
            try:
                hob.start()
            except AssertionError:
                came_up = False
                code = hob.process.wait(harness.STOP_S)
                self.assertNotIn(code, (0, -6), hob.log())
                self.assertRegex(hob.log(), r"(?m)^hob serve: \S.*|error=\"")
                hob.process = None
            if came_up:  # who came up, serves; one operation on the way may have been the one that failed
                hob.wait_for("it to be ready", hob.is_ready)
                hob.wait_for("it to take a service", lambda: works(lambda: hob.get_service("f") or hob.apply(tree, wait=False)))
                hob.wait_for("an answer", lambda: works(lambda: hob.ingress("f")[0] == 200))
                hob.stop()
            log = hob.log()
            self.assertNotIn("Sanitizer", log)
            self.assertNotIn("runtime error", log)
            found = re.search(r"fault: (.*)", log)
            hob.assert_nothing_left()
            hob.env.pop("HOB_FAULT")
            hob.start()
            hob.wait_for("it to be ready", hob.is_ready)
            self.assertEqual(hob.stop(), 0)
            return found and found.group(1), came_up
        finally:
            hob.discard()

    def sweep(self, role, first, most, step):
        seen, up, n = [], 0, first
        for _ in range(most):
            where, came_up = self.once(role, n)
            if where is None:
                break
            seen.append(where)
            up += came_up
            n += step
        return seen, up

    @unittest.skipUnless(os.geteuid() == 0, "an ordinary user's hob has other operations")
    def test_the_launcher(self):
        seen, up = self.sweep("launcher", 2, 14, 7)  # the second asks what hob may do
        self.assertGreater(len(seen), 10)
        self.assertLess(up, len(seen))

    def test_the_node(self):
        seen, _ = self.sweep("node", 2, 6, 10)  # while it opens what it needs
        self.assertEqual(len(seen), 6)
        _, up = self.sweep("node", 62, 5, 21)  # and when it serves
        self.assertGreater(up, 3)

    def test_the_durable_core(self):
        """Its own operations, wherever they stand among the others."""
        for where, tried_again in (("durable host", False), ("durable start", False), ("durable load", True),
                                   ("grpc listen", True)):
            with self.subTest(where):
                self.assertEqual(self.once("node", where), (where, tried_again))


if __name__ == "__main__":
    unittest.main()
