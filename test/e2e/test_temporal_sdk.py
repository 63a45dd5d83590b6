"""Workflow programs as users write them, run by the official TypeScript SDK, unmodified, against `hob server start-dev`.

The programs are test/temporal/cases/*.js; run.js runs them all against one hob, in one process, and prints TAP; each of them is a test here.
The SDK comes by npm's own client, once per build folder, and is never part of the tree. It needs Node 20.3: where the system's is older, the
npm package of Node's own binary serves. Offline the tests are skipped, and say so. TEMPORAL_SDK names a folder with node_modules that is there.
"""
import os
import re
import shutil
import subprocess
import sys
import unittest

import harness

sys.path.insert(0, os.path.join(harness.ROOT, "tools"))
import npm  # noqa: E402

HERE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "temporal")
ALL_S = 1500  # for all of them together, on a slow machine under load


def names():
    found = []
    cases = os.path.join(HERE, "cases")
    for name in sorted(os.listdir(cases)):
        with open(os.path.join(cases, name), encoding="utf-8") as f:
            found += re.findall(r"^test\('([^']+)'", f.read(), re.M)
    return found + ["every history replays"]


def todo():
    """Programs that hob does not do yet; each of them must fail, or its line goes."""
    path = os.path.join(HERE, "todo.txt")
    return harness.read_text(path).splitlines() if os.path.exists(path) else []


def sdk_folder():
    """Where run.js can run: a copy of test/temporal with its node_modules, in the build folder."""
    build = os.environ.get("HOB_BUILD")
    home = os.environ.get("TEMPORAL_SDK") or os.path.join(os.path.abspath(build), "temporal-sdk")
    os.makedirs(home, exist_ok=True)
    for name in ("run.js", "activities.js", "workflows.js"):
        shutil.copy(os.path.join(HERE, name), home)
    shutil.rmtree(os.path.join(home, "cases"), ignore_errors=True)
    shutil.copytree(os.path.join(HERE, "cases"), os.path.join(home, "cases"))
    try:
        npm.install(home, os.path.join(HERE, "package.json"))
    except npm.Missing as why:
        raise unittest.SkipTest(str(why)) from None
    return home


def node(home):
    try:
        return npm.node(home)
    except npm.Missing as why:
        raise unittest.SkipTest(str(why)) from None


class Sdk(unittest.TestCase):
    results = None

    @classmethod
    def setUpClass(cls):
        home = sdk_folder()
        # What a worker does in Node costs it far more than hob; the sanitised build only looks for more.
        with open(os.path.join(home, "stderr.log"), "wb") as log: # what the SDK says of failures that are part of the programs
            run = subprocess.run([node(home), "run.js", os.environ["HOB"]], cwd=home, stdout=subprocess.PIPE, stderr=log, text=True,
                                 timeout=ALL_S, env=dict(os.environ, ASAN_OPTIONS="detect_leaks=0:abort_on_error=1"))
        cls.output = run.stdout
        cls.results = {}
        last = None
        for line in run.stdout.splitlines():
            if m := re.match(r"(not )?ok \d+ - (.*)", line):
                last = m.group(2)
                cls.results[last] = [not m.group(1)]
            elif line.startswith("#") and last:
                cls.results[last].append(line)

    def see(self, name):
        self.assertIn(name, self.results, f"it did not run:\n{self.output[-4000:]}")
        ok, *why = self.results[name]
        if name in todo():
            self.assertFalse(ok, "it passes: take it out of test/temporal/todo.txt")
            self.skipTest("not done yet (test/temporal/todo.txt)")
        self.assertTrue(ok, "\n".join(why))


for each in names():
    def test(self, name=each):
        self.see(name)
    test.__doc__ = each
    setattr(Sdk, "test_" + re.sub(r"\W+", "_", each), test)


if __name__ == "__main__":
    unittest.main()
