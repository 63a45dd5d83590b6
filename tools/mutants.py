#!/usr/bin/python3
"""mutants.py -- shows that tests can fail: plants one bug at a time and runs the test that must notice.

tools/mutants/*.toml lists the bugs. Each is one [[mutant]]:

    name   = "gateway.length-beside-chunked"      unique; the part before the dot is the file's name
    holds  = "Content-Length beside Transfer-Encoding is refused"     what hob promises
    file   = "src/net/http1.c"
    old    = '''text that stands in the file exactly once'''          spaces and line ends count as one
    new    = '''what the bug puts in its place'''
    tests  = ["unit:http1:no_stream_of_requests", "e2e:test_ingress.Forwarding.test_smuggling_..."]

Optional: `also = [{file, old, new}, ...]` for a bug in more places; `needs = "root"` for tests that skip
without it. Every test named must fail with the bug, by itself; all must pass without it. A test that hangs has failed.

Works on a copy of the working tree in build-mutants/, so nothing you edit is touched. Exits 1 unless every
bug was caught. `--check` only looks whether each bug still applies and each test still exists.
"""
import argparse
import ast
import collections
import fnmatch
import functools
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LISTS = os.path.join(ROOT, "tools", "mutants")
SCRATCH = os.path.join(ROOT, "build-mutants")
UNIT_S, E2E_S, BUILD_S = 150, 300, 900  # a test that takes longer than this hangs
LIVES = {"temporal_sim": 200}  # of a simulation, 1000 if not said: a sound one has to end well within UNIT_S
PARTS = ["artifact", "cli", "config", "crash", "evidence", "example", "gateway", "grpc", "http2",
         "manifest", "objects", "proto", "sandbox", "scaling", "sweeps"]  # each has a list
FIELDS = {"name", "holds", "file", "old", "new", "tests", "also", "needs"}
# What end-to-end tests run, apart from the binary itself.
E2E_TARGETS = ["src/cli/hob", "test/fn", "test/hostile", "test/artifact_driver", "test/grpc_echo", "src/sandbox/sandbox_probe",
               "examples/event-classifier/classifier", "examples/event-classifier/classifier-checked"]


def listed(folder=LISTS):
    """All bugs, and what is wrong with their descriptions."""
    mutants, wrong = [], []
    for name in sorted(os.listdir(folder)):
        if not name.endswith(".toml"):
            continue
        with open(os.path.join(folder, name), "rb") as f:
            rows = tomllib.load(f).get("mutant", [])
        for m in rows:
            mutants.append(m)
            who = m.get("name", f"a bug in {name}")
            missing = FIELDS - {"also", "needs"} - set(m)
            if missing or set(m) - FIELDS:
                wrong.append(f"{who}: fields missing or unknown: {sorted(missing | (set(m) - FIELDS))}")
            elif not who.startswith(name[:-5] + "."):
                wrong.append(f"{who}: is listed in {name}")
            elif not m["tests"]:
                wrong.append(f"{who}: names no test")
    for name, count in collections.Counter(m.get("name") for m in mutants).items():
        if count > 1:
            wrong.append(f"{name}: {count} bugs have this name")
    return mutants, wrong


def edits(mutant):
    return [mutant] + mutant.get("also", [])


def pattern_of(old):
    """Reindenting or wrapping code does not hide it."""
    return re.compile(r"\s+".join(re.escape(word) for word in old.split()))


def planted(root, mutant):
    """{path: text with the bug}, or why it does not apply."""
    texts = {}
    for edit in edits(mutant):
        path = os.path.join(root, edit["file"])
        if not os.path.exists(path):
            return None, f"{edit['file']} is not there"
        if edit["file"] not in texts:
            with open(path, encoding="utf-8") as f:
                texts[edit["file"]] = f.read()
        text, pattern = texts[edit["file"]], pattern_of(edit["old"])
        found = [m.span() for m in pattern.finditer(text)]
        if len(found) != 1:
            return None, f"{edit['file']} has {edit['old']!r} {len(found)} times, not once"
        begin, end = found[0]
        texts[edit["file"]] = text[:begin] + edit["new"].strip("\n") + text[end:]
        if texts[edit["file"]] == text:
            return None, f"{edit['file']}: the bug changes nothing"
    return texts, None


@functools.cache
def classes_of(path):
    """{class: names of its methods} of a Python file, inherited ones too."""
    with open(path, encoding="utf-8") as f:
        nodes = [n for n in ast.parse(f.read()).body if isinstance(n, ast.ClassDef)]
    found = {}
    for node in nodes:  # a base stands before what derives from it
        found[node.name] = {n.name for n in node.body if isinstance(n, ast.FunctionDef)}
        for base in node.bases:
            found[node.name] |= found.get(getattr(base, "id", None), set())
    return found


def test_exists(root, test):
    kind, _, rest = test.partition(":")
    if kind == "e2e":
        module, _, part = rest.partition(".")
        group, _, method = part.partition(".")
        path = os.path.join(root, "test", "e2e", f"{module}.py")
        methods = classes_of(path).get(group) if os.path.exists(path) else None
        return methods is not None and (not method or method in methods)
    module, _, part = rest.partition(":")
    if kind == "corpus":
        return os.path.exists(os.path.join(root, "test", "fuzz", f"fuzz_{module}.c"))
    if kind == "sim":
        return os.path.exists(os.path.join(root, "test", "sim", f"{module}.c"))
    path = os.path.join(root, "test", "unit", f"test_{module}.c")
    if kind != "unit" or not os.path.exists(path):
        return False
    with open(path, encoding="utf-8") as f:
        return re.search(rf"^TEST\(\w*{re.escape(part)}", f.read(), re.M) is not None


def check(root=ROOT, folder=LISTS):
    """Why the list is out of date: one line each. Milliseconds; test_mutants.py asks in every test run."""
    mutants, wrong = listed(folder)
    if wrong:
        return wrong
    for m in mutants:
        _, why = planted(root, m)
        if why:
            wrong.append(f"{m['name']}: {why}")
        wrong += [f"{m['name']}: there is no test {t}" for t in m["tests"] if not test_exists(root, t)]
    return wrong


def copy_tree(to):
    """The working tree as it is, tracked and new; times are kept, so that only what changed is built."""
    names = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, check=True,
                           capture_output=True).stdout.decode().split("\0")
    wanted = {n for n in names if n and os.path.isfile(os.path.join(ROOT, n))}
    for name in wanted:
        source, target = os.path.join(ROOT, name), os.path.join(to, name)
        if os.path.exists(target):
            with open(source, "rb") as a, open(target, "rb") as b:
                if a.read() == b.read():
                    continue
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copy(source, target)  # a new time: what an earlier bug left behind is built again
    for folder, folders, files in os.walk(to):
        folders[:] = [f for f in folders if os.path.join(folder, f) != os.path.join(to, "build-test")]
        for name in files:
            path = os.path.join(folder, name)
            if os.path.relpath(path, to) not in wanted and not name.endswith(".pyc"):
                os.unlink(path)


def ran(command, limit_s, **options):
    """(output, exit status); a command that hangs is ended with its whole session."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                          start_new_session=True, **options) as process:
        try:
            output = process.communicate(timeout=limit_s)[0]
            return output, process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return process.communicate()[0] + "\n(it hung)", -signal.SIGKILL
        except BaseException:  # interrupted: what it started goes, too
            os.killpg(process.pid, signal.SIGKILL)
            raise


class Bench:
    """A copy of the tree and its sanitised build."""

    def __init__(self, verbose):
        self.tree, self.verbose = os.path.join(SCRATCH, "tree"), verbose
        self.build = os.path.join(self.tree, "build-test")
        os.makedirs(self.tree, exist_ok=True)
        copy_tree(self.tree)
        self.env = dict(os.environ)
        if "CC" not in self.env and shutil.which("ccache"):
            self.env["CC"] = "ccache gcc"
        if not os.path.exists(os.path.join(self.build, "build.ninja")):
            self.must(["meson", "setup", self.build, "-Dfaults=true", "-Db_sanitize=address,undefined"])
        spec = importlib.util.spec_from_file_location("hob_test", os.path.join(ROOT, "tools", "test.py"))
        runner = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(runner)
        self.e2e_env = {**self.env, **runner.e2e_environment(self.build)}

    def must(self, command):
        output, status = ran(command, BUILD_S, cwd=self.tree, env=self.env)
        if status != 0:
            sys.exit(f"{' '.join(command)}:\n{output}")

    def made(self, tests):
        """Whether everything that the tests run could be built."""
        targets = set()
        for test in tests:
            kind, _, rest = test.partition(":")
            if kind == "unit":
                targets.add("test/test_" + rest.partition(":")[0])
            elif kind == "corpus":
                targets.add("test/replay_" + rest)
            elif kind == "sim":
                targets.add("test/" + rest)
            else:
                targets.update(E2E_TARGETS)
        output, status = ran(["ninja", "-j", str(os.cpu_count()), "-C", self.build, *sorted(targets)], BUILD_S,
                             cwd=self.tree, env=self.env)
        if status != 0 and self.verbose:
            print(output)
        return status == 0

    def passes(self, test):
        """True, False, or None: it was skipped."""
        kind, _, rest = test.partition(":")
        if kind == "unit":
            module, _, part = rest.partition(":")
            output, status = ran([os.path.join(self.build, "test", f"test_{module}")] + ([part] if part else []),
                                 UNIT_S, cwd=self.tree, env=self.env)
            skipped = "# SKIP" in output and not re.search(r"^ok (?!.*# SKIP)", output, re.M)
        elif kind == "corpus":
            output, status = ran([os.path.join(self.build, "test", f"replay_{rest}"),
                                  os.path.join(self.tree, "test", "fuzz", "corpus", rest)], UNIT_S, env=self.env)
            skipped = False
        elif kind == "sim":
            output, status = ran([os.path.join(self.build, "test", rest), "--count", str(LIVES.get(rest, 1000))], UNIT_S, env=self.env)
            skipped = False
        else:
            output, status = ran([sys.executable, "-B", "-m", "unittest", "-v", rest], E2E_S,
                                 cwd=os.path.join(self.tree, "test", "e2e"), env=self.e2e_env)
            skipped = status == 0 and re.search(r"^OK \(.*skipped", output, re.M) is not None
        if self.verbose:
            print(output)
        if status != 0:
            return False
        return None if skipped else True

    def write(self, texts):
        for name, text in texts.items():
            with open(os.path.join(self.tree, name), "w", encoding="utf-8") as f:
                f.write(text)

    def read(self, names):
        texts = {}
        for name in names:
            with open(os.path.join(self.tree, name), encoding="utf-8") as f:
                texts[name] = f.read()
        return texts


def verdict(bench, mutant, sound):
    """(word, what to say about it). `sound` remembers which tests pass without a bug."""
    texts, why = planted(bench.tree, mutant)
    if why:
        return "does not apply", why
    for test in mutant["tests"]:
        if test not in sound:
            if not bench.made([test]):
                return "does not build", "without the bug"
            sound[test] = bench.passes(test)
        if sound[test] is not True:
            return "cannot tell", f"{test} is {'skipped' if sound[test] is None else 'failing'} without the bug"
    clean = bench.read(texts)
    bench.write(texts)
    try:
        if not bench.made(mutant["tests"]):
            return "does not build", "with the bug"
        missed = [t for t in mutant["tests"] if bench.passes(t) is not False]
    finally:
        bench.write(clean)
    return ("NOT caught", "passes: " + ", ".join(missed)) if missed else ("caught", "")


def chosen(mutants, only):
    return [m for m in mutants if not only or any(fnmatch.fnmatch(m["name"], p) or p in m["name"] for p in only)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", help="bugs whose name contains or matches one of these")
    parser.add_argument("--check", action="store_true", help="only whether each applies and its tests exist")
    parser.add_argument("--list", action="store_true", help="name, promise and tests of each")
    parser.add_argument("--verbose", action="store_true", help="show what the builds and tests print")
    args = parser.parse_args()

    wrong = check()
    for line in wrong:
        print(line)
    mutants = chosen(listed()[0], args.only)
    if args.list:
        for m in mutants:
            print(f"{m['name']}: {m['holds']}\n    {', '.join(m['tests'])}")
    if args.check or args.list:
        sys.exit(1 if wrong else 0)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it, and so would tests
    bench, sound, count = Bench(args.verbose), {}, collections.Counter()
    for m in mutants:
        begin = time.monotonic()
        word, why = verdict(bench, m, sound)
        count[word] += 1
        print(f"{word:<15} {m['name']:<44} {time.monotonic() - begin:4.0f} s  {why or m['holds']}", flush=True)
    print(", ".join(f"{n} {word}" for word, n in sorted(count.items())) or "no bug has such a name")
    sys.exit(0 if mutants and count["caught"] == len(mutants) else 1)


if __name__ == "__main__":
    main()
