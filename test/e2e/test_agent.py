"""examples/agent from start to end: hob and its worker are killed twice, and the agent still reports, each effect once.

Skipped, visibly, without Node and npm or offline. AGENT_CACHE names a folder with the packages' node_modules; otherwise they come once per build.
"""
import os
import re
import subprocess
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HOB = os.path.abspath(os.environ.get("HOB", os.path.join(ROOT, "build", "hob")))
BUILD = os.path.abspath(os.environ.get("HOB_BUILD", os.path.join(ROOT, "build-test")))
ALL_S = 900  # on a slow machine under load


class Agent(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cache = os.environ.get("AGENT_CACHE", os.path.join(BUILD, "agent"))
        done = subprocess.run(["/usr/bin/python3", "-B", os.path.join(ROOT, "examples", "agent", "run.py"), "--hob", HOB, "--cache", cache,
                               "--sources-in", "3", "--sleep-ms", "8000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=ALL_S, env=dict(os.environ, ASAN_OPTIONS="detect_leaks=0:abort_on_error=1"), check=False)
        if done.returncode == 77 or "apt-get update" in done.stderr:
            raise unittest.SkipTest(done.stderr.strip())
        cls.done = done

    def test_it_outlives_both_kills_and_leaves_nothing(self):
        self.assertEqual(0, self.done.returncode, self.done.stdout[-4000:] + self.done.stderr[-4000:])
        self.assertEqual(2, self.done.stdout.count("kill -9 of hob and of its worker"))
        self.assertIn("nothing of them is left", self.done.stdout)

    def test_the_history_tells_the_signal_the_timer_and_the_new_run(self):
        names = re.findall(r"^ +\d+ +[\d.]+ s +(\w+)", self.done.stdout, re.M)
        for name in ("WorkflowExecutionSignaled", "TimerStarted", "TimerFired", "WorkflowExecutionContinuedAsNew",
                     "WorkflowExecutionCompleted"):
            self.assertEqual(1, names.count(name), name)
        self.assertEqual(8, names.count("ActivityTaskCompleted"))

    def test_each_effect_was_made_once(self):
        self.assertEqual([("1", "1"), ("2", "1")], re.findall(r"^ +agent/(\d)/summary +(\d+) call$", self.done.stdout, re.M))


if __name__ == "__main__":
    unittest.main()
