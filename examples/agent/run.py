#!/usr/bin/python3
"""A long-running agent that outlives kill -9: of hob and of its worker, twice.

Builds the agent, starts a hob of its own with the event classifier and a summariser, and a worker; kills hob and the
worker while the agent waits for a human, and again while it sleeps; then shows its report and its history, and that
each call of the summariser was made once. Leaves nothing running.
"""

import argparse
import collections
import ctypes
import http.client
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
WAIT_S, ONE_S = 120, 60
ID = "agent"


def classifier_example():
    spec = importlib.util.spec_from_file_location("classifier_example", os.path.join(HERE, "..", "event-classifier", "run.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


sys.path.insert(0, os.path.join(ROOT, "tools"))
import npm  # noqa: E402

demo = classifier_example()
Trouble, title, line = demo.Trouble, demo.title, demo.line


class Unavailable(Trouble):
    """What this machine lacks; exit status 77, as a test that is skipped."""


def build(cache):
    """The agent's JavaScript, with its packages, in a folder that is kept between runs; the Node that runs it."""
    os.makedirs(cache, exist_ok=True)
    shutil.rmtree(os.path.join(cache, "src"), ignore_errors=True)
    shutil.rmtree(os.path.join(cache, "dist"), ignore_errors=True)
    shutil.copytree(os.path.join(HERE, "src"), os.path.join(cache, "src"))
    shutil.copy(os.path.join(HERE, "tsconfig.json"), cache)
    try:
        npm.install(cache, os.path.join(HERE, "package.json"))
        node = npm.node(cache)
    except npm.Missing as why:
        raise Unavailable(str(why)) from None
    if subprocess.run([node, os.path.join("node_modules", "typescript", "bin", "tsc"), "-p", "."], cwd=cache, check=False).returncode != 0:
        raise Trouble("the agent does not compile")
    return node


class Stage:
    """hob and a worker, which can be killed and started again on the same data."""

    def __init__(self, binary, folder, roots, cache, node):
        self.binary, self.folder, self.roots, self.cache, self.node = binary, folder, roots, cache, node
        self.hob = self.worker = None
        self.worker_log = os.path.join(folder, "worker.log")

    def start(self):
        self.hob = demo.Hob(self.binary, self.folder, self.roots, temporal="127.0.0.1:0")
        self.env = {**os.environ, "TEMPORAL_ADDRESS": self.hob.temporal, "AGENT_INGRESS": self.hob.ingress}
        with open(self.worker_log, "ab") as log:
            self.worker = subprocess.Popen([self.node, "dist/worker.js"], cwd=self.cache, env=self.env, stdin=subprocess.DEVNULL,
                                           stdout=log, stderr=log)

    def kill(self):
        for process in (self.worker, self.hob.process):
            process.kill()
            process.wait()
        self.bury()

    @staticmethod
    def bury():
        """What hob had started dies with it, and is our child by then. Both processes of ours were waited for before."""
        deadline = time.monotonic() + ONE_S
        while time.monotonic() < deadline:
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    time.sleep(0.02)
            except ChildProcessError:
                return
        raise Trouble(f"something that hob had started still ran {ONE_S} s after hob was killed")

    def stop(self):
        if self.worker and self.worker.poll() is None:
            self.worker.terminate()
            try:
                self.worker.wait(ONE_S)
            except subprocess.TimeoutExpired:
                self.worker.kill()
                self.worker.wait()
        if self.hob and self.hob.process.returncode is None:
            self.hob.stop()

    def ask(self, *words, patient=False):
        """The driver's answer; None when it had none and the caller will ask again."""
        done = subprocess.run([self.node, "dist/driver.js", *words], cwd=self.cache, env=self.env, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=WAIT_S, check=False)
        if done.returncode == 0:
            return json.loads(done.stdout)
        if patient:
            return None
        raise Trouble(f"driver {words[0]}: {done.stderr.strip()}")

    def wait_for_step(self, step):
        self.hob.wait_for(f"the agent to be {step}", WAIT_S,
                          lambda: (self.ask("state", ID, patient=True) or {}).get("step") == step)

    def calls(self):
        connection = http.client.HTTPConnection(self.hob.ingress, timeout=ONE_S)
        try:
            connection.request("GET", "/calls", headers={"Host": "summariser.default.localhost"})
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise Trouble(f"summariser: {answer.status} {body.decode(errors='replace')}")
        return collections.Counter(json.loads(body))


def show_history(runs):
    for number, run in enumerate(runs, 1):
        title(f"run {number}: {run['status'].lower()}")
        begin = run["events"][0]["at"]
        for e in run["events"]:
            more = e.get("activity") or (f"attempt {e['attempt']}" if e.get("attempt") else "")
            print(f"  {e['id']:>3}  {(e['at'] - begin) / 1000:>8.3f} s  {e['name']:<34}{more}", flush=True)


def story(stage, goal, manifests):
    stage.start()
    for path in manifests:
        stage.hob.command("apply", "-f", path)
    title("The agent starts")
    stage.ask("start", ID, json.dumps(goal))
    seen = collections.Counter()
    for step in ("waiting for approval", "sleeping"):
        stage.wait_for_step(step)
        seen += stage.calls()  # the instance that counted dies with its hob
        title(f"The agent is {step}: kill -9 of hob and of its worker")
        stage.kill()
        stage.start()
        if step == "waiting for approval":
            line("asked again", stage.hob.wait_for("the agent's answer", WAIT_S, lambda: stage.ask("state", ID, patient=True)))
            stage.ask("approve", ID, "a human")
    report = stage.ask("result", ID)
    seen += stage.calls()
    runs = stage.ask("history", ID)
    show_history(runs)
    title("The report")
    print(json.dumps(report, indent=2), flush=True)
    check(goal, report, seen, runs)


def check(goal, report, seen, runs):
    title("Each side effect")
    for key, times in sorted(seen.items()):
        line(key, f"{times} call" + ("" if times == 1 else "s"))
    items = len(goal["items"])
    expected = {f"{ID}/{n}/summary": 1 for n in range(1, -(-items // goal["perRun"]) + 1)}
    if seen != expected:
        raise Trouble(f"the summariser was called so: {dict(seen)}, and not so: {expected}")
    if report["classified"] != items or report["approvals"] != ["a human"] or report["runs"] != len(expected):
        raise Trouble("the report does not tell the whole story")
    done = sum(e["name"] == "ActivityTaskCompleted" for r in runs for e in r["events"])
    if len(runs) != len(expected) or done != items + len(expected):
        raise Trouble(f"{len(runs)} runs with {done} completed activities; expected {len(expected)} with {items + len(expected)}")


def main():
    args = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    args.add_argument("--hob", default=os.path.join(ROOT, "build", "hob"))
    args.add_argument("--cache", default=os.path.join(ROOT, "build", "agent"), help="where the packages and the built agent are kept")
    args.add_argument("--sources-in", type=int, help="train the classifier on one source package in N, just for this run (tests)")
    args.add_argument("--sleep-ms", type=int, default=5000)
    args = args.parse_args()
    ctypes.CDLL(None).prctl(demo.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("agent: ended by SIGTERM"))
    try:
        args.node = build(args.cache)
        with tempfile.TemporaryDirectory(prefix="hob-agent-") as folder:
            if args.sources_in:
                demo.MODEL = os.path.join(folder, "model")
                subprocess.run([demo.PYTHON, os.path.join(ROOT, "examples", "event-classifier", "train.py"), "--out", demo.MODEL,
                                "--sources-in", str(args.sources_in)], check=True)
                model = os.path.join(demo.MODEL, "model.bin")
                digest = demo.digest_of(model)
            else:
                model, digest = demo.trained_model()
            tell(args, folder, model, digest)
            if left := list(demo.left_behind(folder)):
                raise Trouble("left behind: " + "; ".join(left))
        title("hob and the worker have ended; nothing of them is left")
    except Unavailable as why:
        print(f"agent: {why}", file=sys.stderr)
        sys.exit(77)
    except (Trouble, OSError, subprocess.SubprocessError, KeyboardInterrupt) as why:
        sys.exit(f"agent: {why or 'interrupted'}")


def tell(args, folder, model, digest):
    classifier = os.path.join(folder, "classifier")
    os.mkdir(classifier)
    python = demo.stage_python(classifier)
    summariser = os.path.join(folder, "summariser")
    shutil.copytree(os.path.join(HERE, "summariser"), summariser)
    manifests = [demo.manifest(folder, "service.yaml.in", python, model, digest)]
    with open(os.path.join(HERE, "service.yaml.in"), encoding="utf-8") as f:
        text = f.read().replace("@BUNDLE@", summariser)
    manifests.append(os.path.join(folder, "summariser.yaml"))
    with open(manifests[1], "w", encoding="utf-8") as f:
        f.write(text)
    goal = {"items": [{"id": r["id"], "text": r["text"]} for r in demo.held_out(6)], "perRun": 3, "sleepMs": args.sleep_ms}
    stage = Stage(os.path.abspath(args.hob), folder, [folder, demo.MODEL], args.cache, args.node)
    try:
        story(stage, goal, manifests)
    except BaseException:
        if stage.hob:
            stage.hob.show_log()
        raise
    finally:
        stage.stop()


if __name__ == "__main__":
    main()
