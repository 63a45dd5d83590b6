"""bench_durable.py -- the figures of the durable core: hob's own load driver (temporal_load) is client and worker.

Used by bench.py, which gives it what writes rows. Peers come by npm's own client into a folder of their own and are
never part of the tree; where they cannot be had, the row says so.
"""

import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
import unittest
import urllib.request

import harness  # test/e2e, on the path that bench.py set
import test_temporal_sdk as sdk_home

RESTATE = {"server": "@restatedev/restate-server-linux-x64@1.7.12", "sdk": "@restatedev/restate-sdk@1.17.2"}
STEP_JS = """
if (!Promise.withResolvers)
  Promise.withResolvers = function () { let resolve, reject; const promise = new this((a, b) => { resolve = a; reject = b; });
                                        return { promise, resolve, reject }; };
const restate = require('@restatedev/restate-sdk');
const load = restate.service({ name: 'load', handlers: {
  step: async (ctx, name) => ctx.run('step', () => `hello, ${name}`) } });
restate.endpoint().bind(load).listen(Number(process.argv[2]));
"""
POST_LUA = """wrk.method = "POST"; wrk.body = '"hob"'; wrk.headers["Content-Type"] = "application/json" """


class DevServer:
    """hob server start-dev in a folder that lives as long as the block."""

    def __init__(self, *flags):
        self.flags, self.folder = flags, tempfile.mkdtemp(prefix="hob-bench-")
        os.chmod(self.folder, 0o755)
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.end(signal.SIGTERM)
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self):
        holders = [harness.reserve_port() for _ in range(2)]
        (self.port, self.api) = (port for _, port in holders)
        for holder, _ in holders:
            holder.close()
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self.process = subprocess.Popen(
                [harness.BINARY, "server", "start-dev", "--port", str(self.port), "--metrics-port", str(self.api), "--headless",
                 "--log-level", "warn", "--db-filename", os.path.join(self.folder, "db"), *self.flags], stdout=log, stderr=log)

    def end(self, how):
        """With SIGKILL: of every process, as when the machine loses power, but that what was written stays."""
        below = harness.descendants(self.process.pid) if how == signal.SIGKILL else []
        self.process.send_signal(how)
        for pid in below:
            try:
                os.kill(pid, how)
            except ProcessLookupError:
                pass
        self.process.wait(harness.STOP_S)
        deadline = time.monotonic() + harness.STOP_S
        while any(harness.stat_of(pid) and harness.stat_of(pid)[1] != "Z" for pid in below):
            if time.monotonic() > deadline:
                raise AssertionError("killed processes of hob are still there")
            time.sleep(harness.LOOK_S)

    def rss_mb(self):
        total = 0
        for pid in (self.process.pid, *harness.descendants(self.process.pid)):
            text = harness.read_text(f"/proc/{pid}/smaps_rollup")
            total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
        return total / 1024

    def counters(self):
        with open(os.path.join(self.folder, "db.hob", "api-token"), encoding="ascii") as f:
            token = f.read().strip()
        ask = urllib.request.Request(f"http://127.0.0.1:{self.api}/metrics", headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(ask, timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        return {line.split()[0]: float(line.split()[1]) for line in lines if line.startswith(("hob_journal_", "hob_durable_"))}


def drive(tools, mode, port, max_s=120, **options):
    words = [f"{name}={value}" for name, value in options.items()]
    run = subprocess.run([os.path.join(tools, "temporal_load"), mode, f"port={port}", f"max_s={max_s}", *words],
                         stdout=subprocess.PIPE, text=True, timeout=max_s + 60)
    got = json.loads(run.stdout or "{}")
    if not got or got.get("failed") or got.get("done", 0) < got.get("count", 0):
        raise SystemExit(f"temporal_load {mode} did not do all of it (exit {run.returncode}): {got}")
    return got


def serving(tools, server):
    drive(tools, "run", server.port, 60, count=20, flight=1, polls=2, wait_s=30)


class Sdk:
    """The official SDK beside whatever plays Temporal at `port`: sdk_load.js, until the block ends."""

    def __init__(self, home, port):
        self.process = subprocess.Popen([sdk_home.node(home), os.path.join(os.path.dirname(os.path.abspath(__file__)), "sdk_load.js"),
                                         f"127.0.0.1:{port}"], cwd=home, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True)

    def __enter__(self):
        self.line()
        return self

    def line(self):
        """The SDK and its native half log as they like; what is not ours is passed over."""
        for text in self.process.stdout:
            if text.startswith("["):
                return json.loads(text)
            if text == "ready\n":
                return None
        raise SystemExit("the SDK's process ended; run sdk_load.js by hand to see why")

    def took_us(self, count):
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        return self.line()

    def __exit__(self, *_):
        self.process.kill() # a worker may wait for its polls for a minute
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Stub:
    """temporal_stub, until the block ends."""

    def __init__(self, tools):
        self.process = subprocess.Popen([os.path.join(tools, "temporal_stub")], stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        self.port = int(self.process.stdout.readline().split()[1])
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)
        self.process.stdout.close()


class Restate:
    """One node of Restate, one service of one step. None of it where npm or the platform has none."""

    def __init__(self, folder):
        self.folder, self.children = folder, []

    def install(self):
        """None, or what is missing."""
        for tool in ("npm", "node", "wrk"):
            if not shutil.which(tool):
                return tool
        if platform.machine() != "x86_64":
            return "Restate for this machine"
        os.makedirs(self.folder, exist_ok=True)
        stamp = os.path.join(self.folder, "installed")
        if harness.read_text(stamp) != json.dumps(RESTATE):
            done = subprocess.run(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--silent", "--prefix",
                                   self.folder, *RESTATE.values()], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600)
            if done.returncode != 0:
                return "Restate (npm could not fetch it)"
            with open(stamp, "w", encoding="ascii") as f:
                json.dump(RESTATE, f)
        for name, text in (("step.js", STEP_JS), ("post.lua", POST_LUA)):
            with open(os.path.join(self.folder, name), "w", encoding="ascii") as f:
                f.write(text)
        return None

    def __enter__(self):
        self.data = tempfile.mkdtemp(prefix="hob-bench-restate-")
        holders = [harness.reserve_port() for _ in range(4)]
        self.ingress, admin, node, sdk = (port for _, port in holders)
        for holder, _ in holders:
            holder.close()
        binary = os.path.join(self.folder, "node_modules", *RESTATE["server"].rsplit("@", 1)[0].split("/"), "bin", "restate-server")
        env = dict(os.environ, RESTATE_DISABLE_TELEMETRY="true", RESTATE_INGRESS__BIND_PORT=str(self.ingress),
                   RESTATE_ADMIN__BIND_PORT=str(admin), RESTATE_BIND_PORT=str(node), RUST_LOG="error")
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": self.folder}
        self.children = [
            subprocess.Popen([binary, "--listen-mode", "tcp", "--bind-ip", "127.0.0.1", "--base-dir", self.data, "--node-name", "n1"],
                             env=env, **quiet),
            subprocess.Popen(["node", "step.js", str(sdk)], **quiet)]
        try:
            self.until("a deployment", f"http://127.0.0.1:{admin}/deployments", {"uri": f"http://127.0.0.1:{sdk}"})
            self.until("a call", f"http://127.0.0.1:{self.ingress}/load/step", "hob")
        except BaseException:
            self.__exit__()
            raise
        return self

    def until(self, what, url, body):
        deadline = time.monotonic() + 60
        while True:
            ask = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
            try:
                with urllib.request.urlopen(ask, timeout=30) as answer:
                    return answer.read()
            except OSError as e:
                if time.monotonic() > deadline:
                    raise SystemExit(f"Restate does not take {what}: {e}") from e
                time.sleep(0.1)

    def calls(self, flight, seconds):
        out = subprocess.run(["wrk", "-t1", f"-c{flight}", f"-d{seconds}s", "-s", os.path.join(self.folder, "post.lua"),
                              f"http://127.0.0.1:{self.ingress}/load/step"], capture_output=True, text=True).stdout
        if "Non-2xx" in out:
            raise SystemExit(f"Restate refused calls: {out}")
        return float(next(line.split()[1] for line in out.splitlines() if line.startswith("Requests/sec")))

    def __exit__(self, *_):
        for child in self.children:
            child.terminate()
        for child in self.children:
            child.wait(30)
        shutil.rmtree(self.data, ignore_errors=True)


def benches(row, missing, percentile):
    """{name: function}: as those of bench.py."""

    def workflows(tools, _flags, rounds=5, seconds=5, flight=100):
        peer = Restate(os.environ.get("HOB_BENCH_NPM") or os.path.join(os.path.dirname(tools), "bench-npm"))
        why, ours, theirs, whole = peer.install(), [], [], []
        with DevServer() as server:
            serving(tools, server)
            count = max(500, int(drive(tools, "run", server.port, count=1000, flight=flight)["per_s"] * seconds))
            for n in range(rounds):
                got = drive(tools, "run", server.port, count=count, flight=flight)
                ours.append(got["per_s"])
                whole.append(got["whole_us"])
                if not why:
                    with peer:
                        peer.calls(flight, 2)
                        theirs.append(peer.calls(flight, seconds))
        note = (f"a workflow p50 {statistics.median(w['p50'] for w in whole) / 1000:.1f} p99 "
                f"{statistics.median(w['p99'] for w in whole) / 1000:.1f} ms, {flight} in flight; every commit on disk")
        if why:
            missing("workflows/s against Restate", why)
            row("workflows of one activity", "1/s", ours, "nothing: no peer here", 0, ">= 3.0", False, note)
            return
        ratio = statistics.median(ours) / statistics.median(theirs)
        row("workflows of one activity", "1/s", ours, f"Restate 1.7, calls of one step: {statistics.median(theirs):.0f}/s", ratio,
            ">= 3.0", ratio >= 3, note)

    def start_rate(tools, _flags, rounds=3, seconds=10, per_s=300):
        with DevServer() as server:
            serving(tools, server)
            got = [drive(tools, "rate", server.port, per_s=per_s, seconds=seconds)["start_us"] for _ in range(rounds)]
        p50, p99 = (statistics.median(g[p] for g in got) / 1000 for p in ("p50", "p99"))
        row(f"StartWorkflow at {per_s}/s, p50", "ms", [g["p50"] / 1000 for g in got], "Temporal Cloud: 20 ms", p50 / 5,
            "<= 5 ms (ratio 1)", p50 <= 5, "from when it was due; each workflow then runs its activity")
        row(f"StartWorkflow at {per_s}/s, p99", "ms", [g["p99"] / 1000 for g in got], "Temporal Cloud: 78 ms", p99 / 20,
            "<= 20 ms (ratio 1)", p99 <= 20)

    def writes(tools, _flags, rounds=3, flight=100):
        rows, syncs, size = [], [], []
        with DevServer() as server:
            serving(tools, server)
            for _ in range(rounds):
                before = server.counters()
                drive(tools, "run", server.port, count=3000, flight=flight)
                after = server.counters()
                did = {name: after[name] - before[name] for name in after}
                commits = did["hob_journal_commits_total"]
                rows.append(did["hob_journal_rows_written_total"] / commits)
                syncs.append(did["hob_journal_transactions_total"] / commits)
                size.append(did["hob_journal_written_bytes_total"] / commits)
        note = f"{statistics.median(size):.0f} bytes of state and history each"
        row("rows per state transition", "", rows, "Temporal on SQL: 8 to 14 statements", max(rows) / 3, "<= 3 (ratio 1)",
            max(rows) <= 3, note)
        row("fsyncs per state transition", "", syncs, f"{flight} workflows in flight", max(syncs), "< 1", max(syncs) < 1)

    def accepts(tools, _flags, rounds=9):
        with tempfile.TemporaryDirectory(prefix="hob-bench-") as folder:
            out = subprocess.run([os.path.join(tools, "raw_commit"), folder, str(rounds)], stdout=subprocess.PIPE, text=True,
                                 check=True, timeout=300).stdout
        got = {r["outstanding"]: r for r in map(json.loads, out.splitlines())}[64]
        row("durable accepts, 64 outstanding", "1/s", [got["journal_per_s"]], f"raw SQLite, same rows: {got['raw_per_s']}/s",
            got["ratio"], ">= 0.5", got["ratio"] >= 0.5, f"medians of {rounds} interleaved rounds; the journal, without HTTP")

    def open1m(tools, _flags):
        count = int(os.environ.get("HOB_BENCH_OPEN", "1000000"))
        with DevServer() as server:
            serving(tools, server)
            got = drive(tools, "open", server.port, 5400, count=count, flight=200, polls=250, id="open")
            before, took = server.rss_mb(), []
            for n in range(3):
                server.end(signal.SIGKILL)
                server.start()
                run = subprocess.run([os.path.join(tools, "temporal_load"), "probe", f"port={server.port}", f"id=open-{count // 2}",
                                      "max_s=300"], stdout=subprocess.PIPE, text=True, check=True, timeout=400)
                took.append(json.loads(run.stdout)["ms"] / 1000)
            drive(tools, "run", server.port, count=100, flight=10)
            after = server.rss_mb()
        top = max(before, after)
        row(f"{count} open workflows, memory", "MB", [before, after], "each with a timer of an hour", top / 1024,
            "<= 1 GB (ratio 1)", top <= 1024, f"all processes of hob (Pss), before and after a restart; opened at {got['per_s']:.0f}/s")
        row(f"{count} open workflows, restart", "s", took, "kill -9, start, and one of them is described", max(took) / 10,
            "<= 10 s (ratio 1)", max(took) <= 10)

    def sdk(tools, _flags, rounds=7, count=60):
        npm = os.environ.get("HOB_BENCH_NPM") or os.path.join(os.path.dirname(tools), "bench-npm")
        os.environ.setdefault("TEMPORAL_SDK", os.path.join(npm, "temporal-sdk"))
        try:
            home = sdk_home.sdk_folder()
            sdk_home.node(home)
        except unittest.SkipTest as e:
            missing("the TypeScript SDK, one workflow at a time", str(e))
            return
        ours, theirs = [], []
        with DevServer() as server, Stub(tools) as stub:
            serving(tools, server)
            with Sdk(home, server.port) as on_hob, Sdk(home, stub.port) as on_stub:
                for warm in (on_hob, on_stub):
                    warm.took_us(2 * count) # until its just-in-time compiler has seen it all
                for n in range(rounds):
                    for at, into in ((on_hob, ours), (on_stub, theirs))[::1 if n % 2 == 0 else -1]:
                        into.append(statistics.median(at.took_us(count)) / 1000)
        ratio = statistics.median(ours) / statistics.median(theirs)
        row("TypeScript SDK, one at a time, p50", "ms", ours, f"on a stub without durability: {statistics.median(theirs):.1f} ms", ratio,
            "<= 1.15", ratio <= 1.15, f"one activity, the SDK's own options; medians of {rounds} interleaved rounds of {count}")

    return {"workflows": workflows, "start_rate": start_rate, "writes": writes, "accepts": accepts, "open1m": open1m, "sdk": sdk}
