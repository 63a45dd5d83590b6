#!/usr/bin/python3
"""The whole story of one function in a minute: trained, deployed, scaled from zero, explained.

Starts a hob of its own on free ports with a data folder of its own, deploys the event classifier
in Python and then in C, sends held-out records through the ingress, draws the cold starts, waits for the
scale to zero, and shows what the second cold start no longer pays. Leaves nothing running, and
looks whether that is true. Standard library only.
"""

import argparse
import ctypes
import hashlib
import http.client
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
MODEL = os.path.join(HERE, "model")
PYTHON = "/usr/bin/python3"
READY_S, ZERO_S, STOP_S, RECORD_S = 30, 60, 30, 10
PR_SET_CHILD_SUBREAPER = 36
BRIGHT = sys.stdout.isatty() and "NO_COLOR" not in os.environ


class Trouble(Exception):
    pass


def title(text):
    print(f"\n\x1b[1m{text}\x1b[0m" if BRIGHT else f"\n{text}", flush=True)


def line(what, value):
    print(f"  {what:<26}{value}", flush=True)


def ms(us):
    return f"{us / 1000:.2f} ms" if abs(us) < 100_000 else f"{us / 1000:.0f} ms"


def digest_of(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


# ---- what is deployed ----------------------------------------------------------------------------


def trained_model():
    """Path and digest of the weights; trains them unless these very scripts did so before."""
    with_what = "\n".join(digest_of(os.path.join(HERE, p)) for p in ("train.py", "python/handler.py"))
    stamp, path = os.path.join(MODEL, "trained-with"), os.path.join(MODEL, "model.bin")
    digest = os.path.join(MODEL, "model.sha256")
    try:
        with open(stamp, encoding="ascii") as s, open(digest, encoding="ascii") as d:
            if s.read() == with_what and d.read().split()[0] == digest_of(path):
                return path, digest_of(path)
    except OSError:
        pass
    title("Training on the packages that apt knows (once, about half a minute)")
    done = subprocess.run([PYTHON, os.path.join(HERE, "train.py"), "--out", MODEL], check=False)
    if done.returncode != 0:
        raise Trouble("there is no model to deploy")
    with open(stamp, "w", encoding="ascii") as s:
        s.write(with_what)
    return path, digest_of(path)


def held_out(count):
    with open(os.path.join(MODEL, "held-out.jsonl"), encoding="utf-8") as f:
        return [json.loads(next(f)) for _ in range(count)]


def stage_python(folder):
    """Python's bundle, compiled ahead: that halves the time until it can answer."""
    python = os.path.join(folder, "python")
    os.mkdir(python)
    shutil.copy(os.path.join(HERE, "python", "handler.py"), python)
    compile_it = ("import py_compile, sys; py_compile.compile(sys.argv[1], cfile=sys.argv[1] + 'c', "
                  "dfile='/app/handler.py', doraise=True, "
                  "invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)")
    subprocess.run([PYTHON, "-c", compile_it, os.path.join(python, "handler.py")], check=True)
    return python


def stage(folder, classifier):
    """The two bundles."""
    python, c = stage_python(folder), os.path.join(folder, "c")
    os.mkdir(c)
    shutil.copy(classifier, os.path.join(c, "classifier"))
    return {"service.yaml.in": python, "service-c.yaml.in": c}


def manifest(folder, template, bundle, model, digest):
    with open(os.path.join(HERE, template), encoding="utf-8") as f:
        text = f.read()
    for name, value in (("@BUNDLE@", bundle), ("@MODEL@", model), ("@SHA256@", digest)):
        text = text.replace(name, value)
    path = os.path.join(folder, template.removesuffix(".in"))
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return path


# ---- hob -----------------------------------------------------------------------------------------


class Hob:
    """`hob serve` with everything of its own; ended, whatever happens, by stop()."""

    def __init__(self, binary, folder, roots, temporal="none"):
        self.binary, self.log = binary, os.path.join(folder, "hob.log")
        reading, ready = os.pipe()
        command = [binary, "serve", "--listen-ingress", "127.0.0.1:0", "--listen-api", "127.0.0.1:0", "--listen-temporal", temporal,
                   "--data", os.path.join(folder, "data"), "--ready-fd", str(ready)]
        for root in roots:
            command += ["--file-root", root]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, pass_fds=[ready], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log)
        os.close(ready)
        try:
            told = self.read_line(reading)
            self.ingress, self.api, self.temporal = told["ingress"], told["api"], told.get("temporal")
            with open(told["token_file"], encoding="ascii") as f:
                self.token = f.read().strip()
        except BaseException:
            self.process.terminate()
            self.process.wait()
            self.show_log()
            raise
        finally:
            os.close(reading)

    @staticmethod
    def read_line(fd):
        got, deadline = b"", time.monotonic() + READY_S
        while not got.endswith(b"\n"):
            if not select.select([fd], [], [], max(0, deadline - time.monotonic()))[0]:
                raise Trouble(f"hob serve was not ready after {READY_S} s")
            piece = os.read(fd, 4096)
            if not piece:
                raise Trouble("hob serve ended before it served")
            got += piece
        return json.loads(got)

    def show_log(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            sys.stderr.write("".join(["\nthe end of hob's log:\n"] + log.readlines()[-30:]))

    def get(self, path):
        """The answer as a tree, or None for 404."""
        connection = http.client.HTTPConnection(self.api, timeout=10)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {self.token}"})
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise Trouble(f"GET {path}: {answer.status} {body.decode(errors='replace')}")
        return json.loads(body)

    def command(self, *words):
        sys.stdout.flush()
        env = {**os.environ, "HOB_SERVER": self.api, "HOB_INGRESS": self.ingress}
        if subprocess.run([self.binary, *words], env=env, check=False).returncode != 0:
            raise Trouble(f"hob {' '.join(words)} did not succeed")

    def wait_for(self, what, seconds, look):
        deadline = time.monotonic() + seconds
        while not (found := look()):
            if self.process.poll() is not None:
                raise Trouble(f"hob ended ({self.process.returncode}) while waiting for {what}")
            if time.monotonic() > deadline:
                raise Trouble(f"waited {seconds} s for {what}")
            time.sleep(0.02)
        return found

    def record(self, ident):
        """Records are written behind the answer, so one may have to wait a moment."""
        return self.wait_for(f"the record of {ident}", RECORD_S,
                             lambda: self.get(f"/v1/invocations/{ident}"))

    def wait_for_zero(self, service):
        begin = time.monotonic()
        self.wait_for(f"{service} to scale to zero", ZERO_S, lambda: not any(
            i["service"] == service for i in self.get("/v1/instances")["items"]))
        return time.monotonic() - begin

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Trouble(f"hob did not end within {STOP_S} s of SIGTERM") from None
        if self.process.returncode != 0:
            raise Trouble(f"hob serve ended with {self.process.returncode}")


class Caller:
    """One kept-alive connection to the ingress."""

    def __init__(self, hob, service):
        self.connection = http.client.HTTPConnection(hob.ingress, timeout=60)
        self.host = f"{service}.default.localhost"

    def ask(self, record):
        """(the section answered, microseconds, invocation id)"""
        body = json.dumps({"id": record["id"], "text": record["text"]})
        begin = time.perf_counter()
        self.connection.request("POST", "/", body, {"Host": self.host,
                                                    "Content-Type": "application/json"})
        answer = self.connection.getresponse()
        text = answer.read()
        took = (time.perf_counter() - begin) * 1e6
        if answer.status != 200:
            raise Trouble(f"{self.host}: {answer.status} {text.decode(errors='replace')}")
        return json.loads(text)["section"], took, answer.headers["Hob-Invocation-Id"]

    def close(self):
        self.connection.close()


# ---- what is shown -------------------------------------------------------------------------------


def phase_text(phase):
    if phase is None:
        return "-"
    if phase["outcome"] == "warm":
        return "warm"
    text = ms(phase.get("durationUs", 0))
    return text if phase["outcome"] == "done" else f"{text} ({phase['outcome']})"


def side_by_side(first, second):
    """The phases of two cold starts, and the caches they found warm."""
    a, b = ({p["name"]: p for p in r.get("start", {}).get("phases", [])} for r in (first, second))
    print(f"  {'':<26}{'first':>14}{'second':>14}")
    for name in list(a) + [n for n in b if n not in a]:
        print(f"  {name:<26}{phase_text(a.get(name)):>14}{phase_text(b.get(name)):>14}")
    a, b = (r.get("start", {}).get("caches", {}) for r in (first, second))
    for name in a:
        if a[name] != b.get(name):
            print(f"  cache: {name:<19}{a[name]:>14}{b.get(name, '-'):>14}")
    waited = [ms(r.get("firstByteUs", 0)) for r in (first, second)]
    print(f"  {'arrival to first byte':<26}{waited[0]:>14}{waited[1]:>14}")
    accounted = [f"{r.get('coveragePermille', 0) / 10:.1f} %" for r in (first, second)]
    print(f"  {'accounted for by phases':<26}{accounted[0]:>14}{accounted[1]:>14}", flush=True)


def tour(hob, service, path, records):
    title(f"{service}: deployed, at zero")
    hob.command("apply", "-f", path)
    hob.wait_for_zero(service)

    title(f"{service}: {len(records)} held-out records, the first one from zero")
    caller = Caller(hob, service)
    answers = [caller.ask(record) for record in records]
    caller.close()
    right = sum(answer[0] == record["section"] for answer, record in zip(answers, records))
    majority, most = Counter(r["section"] for r in records).most_common(1)[0]
    warm = sorted(took for _, took, _ in answers[1:])
    line("right", f"{right / len(records):.1%}  (always saying '{majority}': {most / len(records):.1%})")
    line("first answer, from zero", ms(answers[0][1]))
    line("then, warm", f"p50 {ms(warm[len(warm) // 2])}, p99 {ms(warm[len(warm) * 99 // 100])}")

    title(f"{service}: where the cold start went (hob explain)")
    first = hob.record(answers[0][2])
    if not first.get("cold"):
        raise Trouble("the first request was not recorded as cold")
    hob.command("explain", answers[0][2])

    title(f"{service}: back to zero, and from zero again")
    line("at zero again after", f"{hob.wait_for_zero(service):.1f} s")
    caller = Caller(hob, service)
    _, took, ident = caller.ask(records[0])
    caller.close()
    line("first answer, from zero", ms(took))
    side_by_side(first, hob.record(ident))
    return {"accuracy": right / len(records), "first cold": answers[0][1], "second cold": took,
            "warm p50": warm[len(warm) // 2], "warm p99": warm[len(warm) * 99 // 100]}


def compare(python, c):
    title("The same function twice")
    print(f"  {'':<26}{'Python':>14}{'C':>14}")
    print(f"  {'right':<26}{python['accuracy']:>14.1%}{c['accuracy']:>14.1%}")
    for what in ("first cold", "second cold", "warm p50", "warm p99"):
        print(f"  {what:<26}{ms(python[what]):>14}{ms(c[what]):>14}")


# ---- nothing stays -------------------------------------------------------------------------------


def group_name(data):
    """How hob calls its cgroups: after its data folder (src/sandbox/launcher.c, FNV-1a)."""
    value = 0xcbf29ce484222325
    for byte in os.path.realpath(data).encode():
        value = (value ^ byte) * 0x100000001b3 & 0xffffffffffffffff
    return f"hob-{value:016x}"


def left_behind(folder):
    """What the hob that used this folder left on this machine, as its heir can see it."""
    group = group_name(os.path.join(folder, "data"))
    for where, _, _ in os.walk("/sys/fs/cgroup"):
        if group in where:
            yield f"cgroup {where}"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as f:
        for mount in f:
            if folder in mount:
                yield f"mount {mount.strip()}"
    # Orphans of hob became our children; all others of ours were waited for.
    with open("/proc/thread-self/children", encoding="ascii") as f:
        for child in f.read().split():
            yield f"process {child}"


def main():
    args = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    args.add_argument("--hob", default=os.path.join(ROOT, "build", "hob"))
    args.add_argument("--classifier", help="the C program (beside hob by default)")
    args.add_argument("--records", type=int, default=300)
    args = args.parse_args()
    classifier = args.classifier or os.path.join(os.path.dirname(os.path.abspath(args.hob)), "examples",
                                                 "event-classifier", "classifier")
    # What hob leaves behind when it dies becomes our child, and is seen.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("event-classifier: ended by SIGTERM"))
    try:
        model, digest = trained_model()
        with tempfile.TemporaryDirectory(prefix="hob-example-") as folder:
            bundles = stage(folder, classifier)
            hob = Hob(args.hob, folder, [folder, MODEL])
            try:
                results = [tour(hob, service,
                                manifest(folder, template, bundles[template], model, digest),
                                held_out(args.records))
                           for service, template in (("event-classifier", "service.yaml.in"),
                                                     ("event-classifier-c", "service-c.yaml.in"))]
            except BaseException:
                hob.show_log()
                raise
            finally:
                hob.stop()
            compare(*results)
            if left := list(left_behind(folder)):
                raise Trouble("left behind: " + "; ".join(left))
        title("hob has ended; no process, mount or cgroup of it is left")
    except (Trouble, OSError, subprocess.CalledProcessError, KeyboardInterrupt) as why:
        sys.exit(f"event-classifier: {why or 'interrupted'}")


if __name__ == "__main__":
    main()
