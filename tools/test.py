#!/usr/bin/python3
"""test.py -- builds the sanitised tree, runs every test in it, and counts.

Unit, fuzz-corpus and simulation tests run through meson (TAP); end-to-end tests are Python's
unittest over the real binary; a second one, as it is released, is built for those that measure memory (HOB_PLAIN
names another). The last line is "N passed, N failed[, N skipped]". No test run at all
is a failure.

With --again (TEST_AGAIN=1) what failed is run once more, alone: what passes then counts as passed and is named UNSTABLE in the
last lines, so that a machine's hiccup does not hide what a change broke, and nobody overlooks the test that needs mending.
"""
import argparse
import os
import re
import subprocess
import sys
import time
import unittest
import xml.etree.ElementTree as xml

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PLAIN = "build-plain"


class Tally:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.names = []
        self.unstable = []


def build(folder, *targets):
    begin = time.monotonic()
    done = subprocess.run(["ninja", "-C", folder, *targets], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, cwd=ROOT)
    if done.returncode != 0:
        print("\n".join(line for line in done.stdout.splitlines() if "Winvalid-pch" not in line))
        print("the build failed")
        sys.exit(1)
    print(f"{folder} built in {time.monotonic() - begin:.0f} s")


def build_plain():
    """The binary as it is released: what it frees is free, and nothing makes an operation fail."""
    if "HOB_PLAIN" in os.environ:
        return
    if not os.path.exists(os.path.join(ROOT, PLAIN, "build.ninja")):
        subprocess.run(["meson", "setup", PLAIN, "-Dbuildtype=release", "-Dwerror=false"], cwd=ROOT, check=True,
                       stdout=subprocess.DEVNULL)
    build(PLAIN, "src/cli/hob")
    os.environ["HOB_PLAIN"] = os.path.join(ROOT, PLAIN, "src", "cli", "hob")


def read_cases(log):
    """Meson writes what a test said as it came: control characters, which XML has no form for, go first."""
    with open(log, encoding="utf-8", errors="replace") as f:
        text = re.sub("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "?", f.read())
    return xml.fromstring(text.encode()).iter("testcase")


def meson_once(folder, only):
    log = os.path.join(ROOT, folder, "meson-logs", "testlog.junit.xml")
    if os.path.exists(log):
        os.unlink(log)
    command = ["meson", "test", "-C", folder, "--no-rebuild", "--print-errorlogs",
               "--no-suite", "e2e"] + only  # those run below, through unittest, and would run twice
    subprocess.run(command, cwd=ROOT)
    return list(read_cases(log)) if os.path.exists(log) else []


def failed(case):
    return case.find("failure") is not None or case.find("error") is not None


def case_name(case):
    return f"{case.get('classname', '')}.{case.get('name')}"


def run_meson(folder, tally, only, again):
    cases = meson_once(folder, only)
    if not cases:
        print("meson ran no test")
        tally.failed += 1
        return
    passes = set()
    if again and any(failed(c) for c in cases):  # by program: "hob.hob:unit / PROGRAM" holds its cases
        programs = sorted({c.get("classname", "").rsplit(" / ", 1)[-1] for c in cases if failed(c)})
        passes = {case_name(c) for c in meson_once(folder, programs) if not failed(c)}
    for case in cases:
        name = case_name(case)
        if failed(case) and name in passes:
            tally.unstable.append(name)
            tally.passed += 1
        elif failed(case):
            tally.failed += 1
            tally.names.append(name)
        elif case.find("skipped") is not None:
            tally.skipped += 1
        else:
            tally.passed += 1


def e2e_environment(folder):
    """What end-to-end tests are told about the build in this folder."""
    example = os.path.join(folder, "examples", "event-classifier")
    told = {"HOB": os.path.join(folder, "src", "cli", "hob"), "HOB_BUILD": folder}
    for name, value in (("CLASSIFIER", os.path.join(example, "classifier")),
                        ("CLASSIFIER_CHECKED", os.path.join(example, "classifier-checked")),
                        ("ARTIFACT_DRIVER", os.path.join(folder, "test", "artifact_driver")),
                        ("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=1")):
        told[name] = os.environ.get(name, value)
    return told


def passes_alone(case):
    print(f"again, alone: {case}")
    try:
        alone = unittest.defaultTestLoader.loadTestsFromName(case.id())
    except (AttributeError, ImportError):
        return False
    return unittest.TextTestRunner(verbosity=2, stream=sys.stdout).run(alone).wasSuccessful()


def run_e2e(folder, tally, only, again):
    for name, value in e2e_environment(os.path.join(ROOT, folder)).items():
        os.environ[name] = value
    where = os.path.join(ROOT, "test", "e2e")
    sys.path.insert(0, where)
    suite = unittest.TestSuite()
    for name in only or sorted(n[:-3] for n in os.listdir(where)
                               if n.startswith("test_") and n.endswith(".py")):
        suite.addTests(unittest.defaultTestLoader.loadTestsFromName(name))
    result = unittest.TextTestRunner(verbosity=2, stream=sys.stdout).run(suite)
    broken = [case for case, _ in result.failures + result.errors]
    if again:
        tally.unstable += [str(case) for case in broken if passes_alone(case)]
        broken = [case for case in broken if str(case) not in tally.unstable]
    bad = len(broken) + len(result.unexpectedSuccesses)
    tally.failed += bad
    tally.skipped += len(result.skipped)
    # A class that is skipped, or fails, before its tests begin is one line and none of the tests that ran.
    ran = [case for case in broken + [c for c, _ in result.skipped] if isinstance(case, unittest.TestCase)]
    tally.passed += result.testsRun - len(ran) - len(result.unexpectedSuccesses)
    tally.names += [str(case) for case in broken]
    for case, why in result.skipped:
        print(f"skipped: {case}: {why}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build-test")
    parser.add_argument("--unit", nargs="*", help="only these meson tests; no end-to-end tests")
    parser.add_argument("--e2e", nargs="*", help="only these end-to-end modules; no meson tests")
    parser.add_argument("--again", action="store_true", default=os.environ.get("TEST_AGAIN") == "1",
                        help="run what failed once more, alone")
    args = parser.parse_args()
    tally = Tally()
    build(args.build)
    if args.e2e is None:
        run_meson(args.build, tally, args.unit or [], args.again)
    if args.unit is None:
        if not args.e2e or any(name.startswith(("test_leaks", "test_at_rest")) for name in args.e2e):
            build_plain()
        run_e2e(args.build, tally, args.e2e or [], args.again)
    if tally.passed + tally.failed == 0:
        print("no test ran: that is a failure")
        tally.failed = 1
    for name in tally.unstable:
        print(f"UNSTABLE {name}: failed once, passed alone; it needs mending")
    for name in tally.names:
        print(f"FAILED {name}")
    skipped = f", {tally.skipped} skipped" if tally.skipped else ""
    print(f"{tally.passed} passed, {tally.failed} failed{skipped}")
    sys.exit(1 if tally.failed else 0)


if __name__ == "__main__":
    main()
