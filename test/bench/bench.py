#!/usr/bin/python3
"""bench.py -- hob's figures, each against a floor or a peer measured interleaved in the same run.

Prints a table and writes a list of {name, unit, min, p50, p99, against, ratio, reach, holds}. A peer
that is not installed is said, not skipped in silence. Nothing here is a test: figures are read, not
asserted. Standard library only.
"""

import argparse
import hashlib
import http.server
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "test", "e2e"))
import bench_durable  # noqa: E402
import harness  # noqa: E402

ROWS = []


def percentile(values, p):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * p / 100))]


def row(name, unit, values, against, ratio, reach, holds, note=""):
    """values: what was measured of hob. ratio: the figure that `reach` is about."""
    r = {"name": name, "unit": unit, "min": round(min(values), 3), "p50": round(percentile(values, 50), 3),
         "p99": round(percentile(values, 99), 3), "against": against, "ratio": round(ratio, 3),
         "reach": reach, "holds": bool(holds)}
    if note:
        r["note"] = note
    ROWS.append(r)
    print(f"{'ok ' if holds else 'NO '} {name:<34} {r['p50']:>10} {unit:<5} against {against:<44} "
          f"{r['ratio']:>7}  reach {reach}", flush=True)
    if note:
        print(f"    {note}", flush=True)


def missing(name, what):
    ROWS.append({"name": name, "missing": what, "holds": False})
    print(f"--  {name:<34} not measured: {what} is not installed", flush=True)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Stopwatch:
    """bench_cold, one number per line asked for."""

    def __init__(self, tools, *argv, env=None):
        self.process = subprocess.Popen([os.path.join(tools, "bench_cold"), *argv], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env)

    def once(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline() or -1)

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def function_service(hob, tools, name, **annotations):
    with open(os.path.join(tools, "fn"), "rb") as f:
        image = hob.bundle({"fn": f.read()})
    spec = annotations.pop("spec", {})
    return harness.service(name, image, command=["/app/fn"], annotations=annotations, **spec)


def to_zero(hob, name):
    for item in hob.instances(name):
        hob.call("DELETE", f"/v1/instances/{item['id']}")
    hob.wait_for("zero instances", lambda: not hob.instances(name))


def pool_full(hob, size=4):
    def look():
        ready = wanted = 0
        text = hob.call("GET", "/metrics")[2]
        text = text.decode() if isinstance(text, bytes) else text
        for line in text.splitlines():
            if line.startswith("hob_sandbox_pool_ready "):
                ready = float(line.split()[1])
            elif line.startswith("hob_sandbox_pool_wanted "):
                wanted = float(line.split()[1])
        return ready >= max(size, wanted)
    hob.wait_for("a full pool", look)


# ---- cold start ------------------------------------------------------------------------------------


def peer_bwrap(tools, port):
    if not shutil.which("bwrap"):
        return None
    return ["bwrap", "--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try",
            "--die-with-parent", "--ro-bind", "/usr", "/usr", "--symlink", "usr/lib", "/lib", "--symlink",
            "usr/lib64", "/lib64", "--symlink", "usr/bin", "/bin", "--proc", "/proc", "--dev", "/dev",
            "--tmpfs", "/tmp", "--ro-bind", tools, "/app", "--setenv", "PORT", str(port), "--", "/app/fn"]


def peer_crun(tools, port, folder):
    """crun, in a view of the host without the hybrid hierarchy it refuses; shares the network, as
    bwrap above: otherwise nobody could ask it anything."""
    if not shutil.which("crun"):
        return None
    root = os.path.join(folder, "rootfs")
    os.makedirs(os.path.join(root, "app"), exist_ok=True)
    for name in ("proc", "dev", "tmp", "usr"):
        os.makedirs(os.path.join(root, name), exist_ok=True)
    shutil.copy(os.path.join(tools, "fn"), os.path.join(root, "app", "fn"))
    mounts = [{"destination": "/proc", "type": "proc", "source": "proc"},
              {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
              {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev"]},
              {"destination": "/usr", "type": "bind", "source": "/usr", "options": ["rbind", "ro"]}]
    config = {"ociVersion": "1.0.0", "root": {"path": root, "readonly": True},
              "process": {"args": ["/app/fn"], "cwd": "/", "env": [f"PORT={port}"], "user": {"uid": 65532, "gid": 65532},
                          "noNewPrivileges": True},
              "mounts": mounts, "hostname": "fn",
              "linux": {"namespaces": [{"type": t} for t in ("pid", "mount", "ipc", "uts", "cgroup")]}}
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(config, f)
    run = (f"umount /sys/fs/cgroup/unified 2>/dev/null; id=hobbench$$; "
           f"exec crun --cgroup-manager=disabled --root {folder}/state run --bundle {folder} $id")
    return ["unshare", "-m", "sh", "-c", run]


def cold(tools, hob_flags, count=120):
    with harness.Hob(*hob_flags) as hob, tempfile.TemporaryDirectory(prefix="hob-bench-") as folder:
        hob.apply(function_service(hob, tools, "fn"))
        host = "fn.default.localhost"
        port = free_port()
        bwrap, crun = peer_bwrap(tools, port), peer_crun(tools, port, folder)
        watches = {"hob": Stopwatch(tools, "request", hob.ingress_address.rpartition(":")[2], host, "/"),
                   "process": Stopwatch(tools, "process", str(port), os.path.join(tools, "fn"))}
        if bwrap:
            watches["bwrap"] = Stopwatch(tools, "process", str(port), *bwrap)
        if crun:
            watches["crun"] = Stopwatch(tools, "process", str(port), *crun)
        took = {name: [] for name in watches}
        for n in range(count):
            for name, watch in watches.items():
                if name in ("bwrap", "crun") and n % 4:
                    continue
                if name == "hob":
                    to_zero(hob, "fn")
                    pool_full(hob)
                time.sleep(0.02)  # both begin on a quiet machine
                us = watch.once()
                if us > 0:
                    took[name].append(us)
        for watch in watches.values():
            watch.close()
        records = hob.call("GET", "/v1/invocations?service=fn&cold=true&limit=1000")[2]["items"]
    ours, floor = took["hob"], took["process"]
    ratio = percentile(ours, 50) / percentile(floor, 50)
    row("cold start, static C, isolated", "us", ours,
        f"fork+exec of the same: {percentile(floor, 50)} us", ratio, "<= 2.0", ratio <= 2,
        f"{len(ours)} starts; floor min {min(floor)} p50 {percentile(floor, 50)} p99 {percentile(floor, 99)}; "
        f"ratio of minima {min(ours) / min(floor):.2f}")
    for peer, why in (("bwrap", "its network is shared, hob's is not"),
                      ("crun", "its network is shared and it sets no limits, hob does")):
        if not took.get(peer):
            missing(f"cold start against {peer}", peer)
            continue
        p50 = percentile(took[peer], 50)
        row(f"cold start against {peer}", "us", ours, f"{peer} starting it: {p50} us",
            percentile(ours, 50) / p50, "< 1.0", percentile(ours, 50) < p50, why)
    covered = [r["coveragePermille"] / 10 for r in records if r.get("coveragePermille")]
    row("cold start accounted by phases", "%", covered, "wall clock, arrival to first byte",
        percentile(covered, 1) / 100, ">= 0.99", percentile(covered, 1) >= 99, "ratio: the lowest of 100")


# ---- warm ------------------------------------------------------------------------------------------


NGINX = """worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{ access_log off; keepalive_requests 100000000; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
uwsgi_temp_path {folder}; scgi_temp_path {folder};
upstream f {{ server 127.0.0.1:{function}; keepalive 128; }}
server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://f; proxy_http_version 1.1;
proxy_set_header Connection ""; proxy_set_header Host $host; }} }} }}
"""


def wrk(port, host, seconds):
    """(requests/s, p50 us) of wrk -c64."""
    out = subprocess.run(["wrk", "-t1", "-c64", f"-d{seconds}s", "--latency", "-H", f"Host: {host}",
                          f"http://127.0.0.1:{port}/"], capture_output=True, text=True).stdout
    rate = float(next(line.split()[1] for line in out.splitlines() if line.startswith("Requests/sec")))
    text = next(line.split()[1] for line in out.splitlines() if line.strip().startswith("50%"))
    p50 = float(text.rstrip("mus")) * (1000 if text.endswith("ms") else 1 if text.endswith("us") else 1e6)
    bad = [line.strip() for line in out.splitlines() if "Non-2xx" in line or "Socket errors" in line]
    if bad:
        print(f"    wrk says: {bad}")
    return rate, p50


def one_by_one(port, host, count=2000):
    """p50 of a request on one kept-alive connection, microseconds."""
    s = socket.create_connection(("127.0.0.1", port))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    ask = f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    took = []
    for _ in range(count):
        begin = time.perf_counter_ns()
        s.sendall(ask)
        s.recv(65536)
        took.append((time.perf_counter_ns() - begin) / 1000)
    s.close()
    return percentile(took, 50)


def warm(tools, hob_flags, rounds=4, seconds=4):
    for tool in ("nginx", "wrk"):
        if not shutil.which(tool):
            missing("warm request", tool)
            return
    with harness.Hob(*hob_flags) as hob, tempfile.TemporaryDirectory(prefix="hob-bench-") as folder:
        hob.apply(function_service(hob, tools, "fn", **{"min-scale": 1, "max-scale": 1}))
        function, port = free_port(), free_port()
        with open(os.path.join(folder, "nginx.conf"), "w") as f:
            f.write(NGINX.format(folder=folder, function=function, port=port))
        direct = subprocess.Popen([os.path.join(tools, "fn"), str(function)])
        nginx = subprocess.Popen(["nginx", "-c", os.path.join(folder, "nginx.conf"), "-p", folder],
                                 stderr=subprocess.DEVNULL)
        try:
            ingress = int(hob.ingress_address.rpartition(":")[2])
            host = "fn.default.localhost"
            for p in (function, port, ingress):
                hob.wait_for(f"port {p}", lambda p=p: listening(p))
            ours, theirs, direct_p50, ours_p50, nginx_p50 = [], [], [], [], []
            for _ in range(rounds):
                ours.append(wrk(ingress, host, seconds))
                theirs.append(wrk(port, host, seconds))
                direct_p50.append(one_by_one(function, host))
                ours_p50.append(one_by_one(ingress, host))
                nginx_p50.append(one_by_one(port, host))
        finally:
            nginx.terminate()
            direct.terminate()
            nginx.wait()
            direct.wait()
    a, b = [r for r, _ in ours], [r for r, _ in theirs]
    ratio = statistics.median(a) / statistics.median(b)
    row("warm requests, wrk -c64", "1/s", a, f"nginx proxy_pass, one worker: {statistics.median(b):.0f}/s", ratio,
        ">= 0.7", ratio >= 0.7)
    added = statistics.median(ours_p50) - statistics.median(direct_p50)
    row("added to a warm request, p50", "us", [x - y for x, y in zip(ours_p50, direct_p50)],
        f"asked directly: {statistics.median(direct_p50):.0f} us; nginx adds "
        f"{statistics.median(nginx_p50) - statistics.median(direct_p50):.0f}",
        added / 150, "<= 150 us (ratio 1)", added <= 150, "one request at a time on one connection")


def listening(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


# ---- models ----------------------------------------------------------------------------------------


class Origin(http.server.ThreadingHTTPServer):
    """Serves one file and counts what it sent."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, path):
        self.path, self.sent, self.asked, self.lock = path, 0, 0, threading.Lock()
        super().__init__(("127.0.0.1", 0), OriginHandler)


class OriginHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        size = os.path.getsize(self.server.path)
        with self.server.lock:
            self.server.asked += 1
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", '"weights"')
        self.end_headers()
        with open(self.server.path, "rb") as f:
            while piece := f.read(1 << 20):
                self.wfile.write(piece)
                with self.server.lock:
                    self.server.sent += len(piece)

    def log_message(self, *_):
        pass


def random_file(path, size):
    digest = hashlib.sha256()
    with open(path, "wb") as f:
        for _ in range(size >> 20):
            piece = os.urandom(1 << 20)
            f.write(piece)
            digest.update(piece)
    return digest.hexdigest()


def storm(tools, hob_flags, size=200 << 20, count=64):
    with tempfile.TemporaryDirectory(prefix="hob-bench-") as folder:
        path = os.path.join(folder, "weights.bin")
        digest = random_file(path, size)
        origin = Origin(path)
        threading.Thread(target=origin.serve_forever, daemon=True).start()
        reference = f"http://127.0.0.1:{origin.server_port}/weights.bin@sha256:{digest}"
        with harness.Hob(*hob_flags, limits={"starts_max": count}) as hob:
            tree = function_service(hob, tools, "fn", **{"initial-scale": 0, "max-scale": count})
            spec = tree["spec"]["template"]["spec"]
            spec["containerConcurrency"] = 1
            spec["volumes"] = [{"name": "m", "image": {"reference": reference}}]
            spec["containers"][0]["volumeMounts"] = [{"name": "m", "mountPath": "/model"}]
            hob.apply(tree, wait=False)
            hob.wait_for("the route", lambda: hob.get_service("fn"))
            statuses, begin = [], time.monotonic()

            def ask():
                statuses.append(harness.request(hob.ingress_address, "GET", "/sleep/500",
                                                headers={"Host": "fn.default.localhost"}, timeout=120)[0])
            threads = [threading.Thread(target=ask) for _ in range(count)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            took = time.monotonic() - begin
            starts = len(hob.instances("fn"))
        origin.shutdown()
        origin.server_close()
    ratio = origin.sent / size
    row("64 cold starts of a 200 MB model", "MB", [origin.sent / (1 << 20)], "one download: 200 MB", ratio, "1.00",
        ratio == 1.0 and statuses == [200] * count,
        f"{statuses.count(200)} of {count} answered by {starts} instances in {took:.1f} s; origin asked {origin.asked}x")


def model(tools, hob_flags):
    with tempfile.TemporaryDirectory(prefix="hob-bench-", dir=os.path.join(ROOT, "build")) as folder:
        done = subprocess.run([os.path.join(tools, "bench_model_load"), folder, "512", "11"], capture_output=True,
                              text=True)
    try:
        got = json.loads(done.stdout)
    except ValueError:
        print(f"--  cold model load: {done.stdout[-300:]} {done.stderr[-300:]}")
        return
    ratio = got["ratio_p50"]
    row("cold model load, verified", "ms", [got["min"] * 1000, got["p50"] * 1000],
        f"{got['bytes'] >> 20} MiB at the best O_DIRECT read: {got['against_p50'] * 1000:.0f} ms", ratio, "<= 1.3", ratio <= 1.3)


# ---- idle ------------------------------------------------------------------------------------------


def cpu_and_rss(pid):
    fields = harness.read_text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    rss = next(int(line.split()[1]) for line in harness.read_text(f"/proc/{pid}/status").splitlines()
               if line.startswith("VmRSS"))
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), rss / 1024


def ready_sandboxes(hob, pids):
    """(how many lie ready, MB of their own): what is private to their processes."""
    kb = 0
    for pid in harness.descendants(hob.process.pid):
        if pid not in pids:
            text = harness.read_text(f"/proc/{pid}/smaps_rollup")
            kb += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Private_"))
    return hob.metric("hob_sandbox_pool_ready"), kb / 1024


def idle(tools, hob_flags, count=1000, seconds=10):
    with harness.Hob(*hob_flags) as hob:
        tree = function_service(hob, tools, "fn", **{"initial-scale": 0})
        for n in range(count):
            tree["metadata"]["name"] = f"fn-{n}"
            hob.apply(tree, wait=False)
        pids = {"launcher": hob.process.pid, **hob.roles()}
        time.sleep(1)
        before = {role: cpu_and_rss(pid) for role, pid in pids.items()}
        time.sleep(seconds)
        after = {role: cpu_and_rss(pid) for role, pid in pids.items()}
        sandboxes, private = ready_sandboxes(hob, set(pids.values()))
    cpu = sum(after[r][0] - before[r][0] for r in pids) / seconds * 100
    rss = sum(after[r][1] for r in pids) + private
    parts = ", ".join(f"{role} {after[role][1]:.1f}" for role in pids) + f", {sandboxes:.0f} sandboxes ready {private:.1f}"
    row("1,000 functions at zero, memory", "MB", [rss], "40 MB", rss / 40, "<= 1.0", rss <= 40, parts)
    row("1,000 functions at zero, CPU", "%", [cpu], f"one core over {seconds} s", cpu / 100, "0 (<= 0.001)", cpu <= 0.1)


# ---- Knative's own benchmarks ----------------------------------------------------------------------
# The same loads and the same function (it answers after 100 ms), in an open loop: see bench_rate.c.


class Load:
    """bench_rate: begins at once; result() waits for it."""

    def __init__(self, tools, port, host, path, *steps, deadline_ms=0):
        self.process = subprocess.Popen([os.path.join(tools, "bench_rate"), str(port), host, path, str(deadline_ms),
                                         *steps], stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()

    def result(self):
        out = self.process.communicate()[0]
        if self.process.returncode != 0:
            raise RuntimeError("bench_rate ended with " + str(self.process.returncode))
        return json.loads(out)


def load(tools, port, host, path, *steps, deadline_ms=0):
    return Load(tools, port, host, path, *steps, deadline_ms=deadline_ms).result()


def ingress_port(hob):
    return int(hob.ingress_address.rpartition(":")[2])


def unanswered(got):
    return got["sent"] - got["ok_ms"]["count"]


def rate(tools, hob_flags, rounds=3, seconds=8):
    with harness.Hob(*hob_flags) as hob:
        hob.apply(function_service(hob, tools, "fn", **{"min-scale": 5, "max-scale": 5}))
        hob.wait_instances("fn", 5)
        port = free_port()
        direct = subprocess.Popen([os.path.join(tools, "fn"), str(port)])
        try:
            hob.wait_for("the function", lambda: listening(port))
            ours, theirs, bad = [], [], 0
            for _ in range(rounds):
                got = load(tools, ingress_port(hob), "fn.default.localhost", "/wait/100", f"1000:{seconds}")
                bad += unanswered(got)
                ours.append(got["ok_ms"]["p95"])
                theirs.append(load(tools, port, "fn", "/wait/100", f"1000:{seconds}")["ok_ms"]["p95"])
        finally:
            direct.terminate()
            direct.wait()
    added = statistics.median(ours) - statistics.median(theirs)
    row("1,000 rps, latency added, p95", "ms", [a - b for a, b in zip(ours, theirs)],
        f"asked directly: {statistics.median(theirs):.2f} ms", added, "<= 1 ms", added <= 1 and bad == 0,
        f"p95 {statistics.median(ours):.2f} ms; {bad} not answered 200")


def ramp(tools, hob_flags, seconds=10):
    with harness.Hob(*hob_flags) as hob:
        hob.apply(function_service(hob, tools, "fn", **{"initial-scale": 1, "max-scale": 20}))
        to_zero(hob, "fn")
        pool_full(hob)
        got = load(tools, ingress_port(hob), "fn.default.localhost", "/wait/100", f"1000:{seconds}", f"2000:{seconds}",
                   f"3000:{seconds}")
        instances = len(hob.instances("fn"))
    ms = got["ok_ms"]
    row("from zero, 1k -> 2k -> 3k rps, p95", "ms", [ms["min"], ms["p50"], ms["p95"], ms["max"]],
        "the function's own 100 ms", ms["p95"], "p95 <= 103, max <= 500, none lost",
        ms["p95"] <= 103 and ms["max"] <= 500 and unanswered(got) == 0,
        f"p95 {ms['p95']:.2f} max {ms['max']:.0f} ms; {got['sent']} sent, {unanswered(got)} not answered 200; "
        f"{instances} instances at the end")


def rollout(tools, hob_flags, seconds=20):
    with harness.Hob(*hob_flags) as hob:
        tree = function_service(hob, tools, "fn", **{"min-scale": 3, "max-scale": 10})
        hob.apply(tree)
        hob.wait_instances("fn", 3)
        running = Load(tools, ingress_port(hob), "fn.default.localhost", "/wait/100", f"1000:{seconds}")
        time.sleep(seconds / 4)
        tree["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "NEW", "value": "1"}]
        hob.apply(tree)
        after = hob.get_service("fn")["status"]["latestReadyRevisionName"]
        got = running.result()
    ms = got["ok_ms"]
    spread = [sum(s) for s in got["by_second"]]
    row("new revision at 1,000 rps, p95", "ms", [ms["min"], ms["p50"], ms["p95"], ms["max"]],
        "the function's own 100 ms", ms["p95"], "p95 <= 103, no error, rate +-1 %",
        ms["p95"] <= 103 and unanswered(got) == 0 and after.endswith("-00002") and
        all(abs(n - 1000) <= 10 for n in spread),
        f"p95 {ms['p95']:.2f} max {ms['max']:.0f} ms; {unanswered(got)} of {got['sent']} not answered 200; ready: {after}")


def pool_forgets(hob, most=16):
    """Until the last burst is forgotten, and the pool is as it is for functions that were never called."""
    hob.wait_for("a pool that forgot", lambda: hob.metric("hob_sandbox_pool_wanted") <= most)


def bursts(tools, hob_flags, counts, rounds, forgets=False):
    """p95 of the answers to that many first requests, each to a service of its own at zero; and how many were lost."""
    with harness.Hob(*hob_flags) as hob:
        tree = function_service(hob, tools, "fn", **{"initial-scale": 0})
        for n in range(max(counts)):
            tree["metadata"]["name"] = f"fn-{n}"
            hob.apply(tree, wait=False)
        hob.wait_for("the last one", lambda: hob.get_service(f"fn-{max(counts) - 1}"))
        took, bad = {count: [] for count in counts}, 0
        load(tools, ingress_port(hob), "fn-%d.default.localhost", "/", f"burst:{max(counts)}")  # its image is there now
        for _ in range(rounds):
            for count in counts:
                for item in hob.call("GET", "/v1/instances", want=200)[2]["items"]:
                    hob.call("DELETE", f"/v1/instances/{item['id']}")
                hob.wait_for("zero", lambda: not hob.call("GET", "/v1/instances", want=200)[2]["items"])
                if forgets:
                    pool_forgets(hob)
                pool_full(hob)
                got = load(tools, ingress_port(hob), "fn-%d.default.localhost", "/", f"burst:{count}")
                bad += unanswered(got)
                took[count].append(got["ok_ms"].get("p95", 1e9))
    return took, bad


def zero(tools, hob_flags, rounds=7):
    """The pool is as large as the last burst (sandbox_pool_max at most); what the first burst of its size pays is measured
    when the last one is forgotten: with as many ready as hob makes for functions that were never called."""
    reach = {1: 10, 5: 20, 25: 60, 100: 250}
    took, bad = bursts(tools, hob_flags, list(reach), rounds)
    first, first_bad = bursts(tools, [*hob_flags, "--limit", "sandbox_pool_keep_s=1"], [25, 100], rounds, forgets=True)
    for count, ms in reach.items():
        p95 = statistics.median(took[count])
        row(f"{count} services from zero at once, p95", "ms", took[count], "each a cold start, isolated, C", p95 / ms,
            f"<= {ms} ms (ratio 1)", p95 <= ms and bad == 0)
    for count, values in first.items():
        p95 = statistics.median(values)
        row(f"{count} at once, never so many before, p95", "ms", values, "the same, a pool of 16 for 100 functions", p95 / reach[count],
            f"<= {reach[count]} ms (ratio 1)", p95 <= reach[count] and first_bad == 0)


def ready(tools, hob_flags, count=30):
    with harness.Hob(*hob_flags) as hob:
        tree = function_service(hob, tools, "fn")
        took = []
        for n in range(count):
            tree["metadata"]["name"] = f"fn-{n}"
            begin = time.perf_counter()
            hob.apply(tree)
            took.append((time.perf_counter() - begin) * 1000)
            hob.delete(f"fn-{n}")
    p95 = percentile(took, 95)
    row("a new service to Ready, p95", "ms", took, "Knative: 25 s", p95 / 100, "<= 100 ms (ratio 1)", p95 <= 100,
        f"p95 {p95:.1f} ms, from the POST until a GET says Ready=True; an instance ran and passed its probe")


def overload(tools, hob_flags, seconds=10):
    limit = 40  # requests at once on two instances: 400 a second
    with harness.Hob(*hob_flags) as hob:
        hob.apply(function_service(hob, tools, "fn", **{"min-scale": 2, "max-scale": 2},
                                   spec={"containerConcurrency": limit // 2}))
        hob.wait_instances("fn", 2)
        full, calm = limit * 10, limit * 5
        got = load(tools, ingress_port(hob), "fn.default.localhost", "/wait/100", f"{full * 1.1}:5", f"{calm}:3",
                   f"{full * 10}:{seconds}", f"{calm}:12", deadline_ms=1000)
    by = got["by_second"]
    peak = max(s[0] for s in by[1:4])
    during = statistics.median(s[0] for s in by[9:8 + seconds - 1])
    after = by[8 + seconds:]
    back = next((i for i in range(len(after)) if all(s[0] >= calm * 0.99 for s in after[i:])), 99)
    refused = got["refused_ms"]
    row("10x overload, answers in time", "1/s", [s[0] for s in by[9:8 + seconds - 1]], f"peak without it: {peak}/s",
        during / peak, ">= 0.9, refused within 10 ms, normal <= 10 s after",
        during >= 0.9 * peak and refused.get("p95", 0) <= 10 and back <= 10,
        f"refusals p50 {refused.get('p50', 0):.1f} p95 {refused.get('p95', 0):.1f} ms; every answer again after {back} s; "
        f"statuses {got['status']}, {got['broken']} broken, {got['lost']} lost")


BENCHES = {"cold": cold, "warm": warm, "storm": storm, "model": model, "idle": idle, "rate": rate, "ramp": ramp,
           "rollout": rollout, "zero": zero, "ready": ready, "overload": overload,
           **bench_durable.benches(row, missing, percentile)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hob", default=os.path.join(ROOT, "build", "hob"))
    parser.add_argument("--tools", default=os.path.join(ROOT, "build", "test"))
    parser.add_argument("--out", default=os.path.join(ROOT, "build", "bench.json"))
    parser.add_argument("--flag", action="append", default=[], help="passed to hob serve")
    parser.add_argument("names", nargs="*", help=f"of {', '.join(BENCHES)}")
    args = parser.parse_args()
    for name in args.names:
        if name not in BENCHES:
            parser.error(f"no benchmark is called {name}; there are {', '.join(BENCHES)}")
    harness.BINARY = os.path.abspath(args.hob)
    for name in args.names or BENCHES:
        BENCHES[name](os.path.abspath(args.tools), args.flag)
    with open(args.out, "w") as f:
        json.dump(ROWS, f, indent=1)
    print(f"written to {args.out}: {sum(r['holds'] for r in ROWS)} of {len(ROWS)} hold")


if __name__ == "__main__":
    main()
