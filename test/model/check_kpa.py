#!/usr/bin/python3
"""Drives src/scale (through kpa_trace) and the model in kpa.py with the same random traces, and compares every
decision; then what must hold whatever both think. A trace that was ever interesting lies in corpus/.

    check_kpa.py TOOL [--seeds N] [--from SEED] [--print SEED]
"""
import argparse
import os
import random
import subprocess
import sys

from kpa import MICRO, NAMES, Kpa

HERE = os.path.dirname(os.path.abspath(__file__))


def settings(r):
    cc = r.choice([0, 0, 1, 2, 10, 100])
    metric = int(r.random() < 0.2)
    total = r.choice([cc or 100, 1, 2.5, 10, 100]) if not metric else r.choice([200, 10, 1.5])
    window = r.choice([6, 6, 10, 30, 60, 60, 61, 120])
    c = dict(metric=metric, aggregation=int(r.random() < 0.25), total=int(total * MICRO), window=window,
             target=max(10000, int(total * r.choice([70, 70, 100, 1, 33.3]) * 10000)),
             panic_window=max(1, int(window * r.choice([10, 10, 1, 50, 100]) / 100 + 0.5)),
             threshold=r.choice([200, 200, 110, 1000]) * 10000,
             up=r.choice([1000, 1000, 2, 1.1, 10]) * 1000 * 1000 // 1, down=r.choice([2, 2, 1.5, 10]) * 1000 * 1000 // 1,
             burst=r.choice([211 * MICRO, 0, -1, 10 * MICRO, int(1.5 * MICRO)]), room=cc, queued=int(r.random() < 0.4),
             delay=r.choice([0, 0, 1, 2, 5, 15, 60]) * MICRO, retention=r.choice([0, 0, 5, 90]) * MICRO,
             grace=r.choice([30, 30, 0, 6]) * MICRO, deadline=r.choice([630, 60, 35]) * MICRO,
             to_zero=int(r.random() < 0.9), ready=r.choice([0, 0, 0, 1, 2, 3]))
    c["up"], c["down"] = int(c["up"]), int(c["down"])
    c["min"] = r.choice([0, 0, 0, 1, 2, 5])
    c["max"] = max(c["min"], 1, r.choice([1000, 1000, 1, 3, 10]), c["ready"])
    c["initial"] = r.choice([1, 1, 0, 3, 12])
    c["activation"] = r.choice([0, 0, 2, 5])
    if c["activation"]:
        c["activation"] = min(max(c["activation"], c["min"]), c["max"])
    return c


def trace(seed):
    """The lines of a random life: what is ready follows what the model wants, with delays and failures."""
    r = random.Random(seed)
    c = settings(r)
    model = Kpa(**c)
    lines, events = ["new " + " ".join(f"{k}={v}" for k, v in c.items())], []
    us, level, ready, reachable, tick_us = r.randrange(3 * MICRO), 0, c["ready"], 1, 0
    scale = r.choice([1, 3, 30, 300])
    broken = r.random() < 0.2

    def emit(line):
        lines.append(line)
        said = model.event(line)
        if said is not None:
            events.append((line, said))

    emit(f"measure {us} {int(ready > 0)}")
    emit(f"reconcile {us} {ready} {reachable}")
    tick_us = us + 2 * MICRO
    for _ in range(r.randrange(20, 120)):
        step = r.choice([0, 1, 999, 50000, 400000, MICRO, MICRO, 2 * MICRO, 5 * MICRO])
        if r.random() < 0.04:
            step = r.choice([c["window"], c["window"] + 1, 2 * c["window"], 97]) * MICRO
        then = us + step
        if r.random() < 0.2:
            then = -(-then // MICRO) * MICRO  # the very beginning of a second
        while tick_us <= then and r.random() < 0.97:
            us = max(us, tick_us)
            emit(f"tick {us} {ready} {reachable}")
            if r.random() < 0.05:
                emit(f"tick {us + r.randrange(2) * 1000} {ready} {reachable}")
                us = int(lines[-1].split()[1])
            tick_us = us + 2 * MICRO + (r.randrange(300000) if r.random() < 0.2 else 0)
            if not broken and ready != model.apply and r.random() < 0.7:
                ready = model.apply if r.random() < 0.7 else r.randrange(min(ready, model.apply), max(ready, model.apply) + 1)
                emit(f"measure {us} {int(ready > 0)}")
                emit(f"reconcile {us} {ready} {reachable}")
        us = max(us, then)
        dice = r.random()
        if dice < 0.5:
            level = max(0, r.choice([0, 0, level + 1, level - 1, r.randrange(scale + 1), scale]))
            emit(f"level {us} {level}")
        elif dice < 0.75:
            for _ in range(r.randrange(1, 6)):
                emit(f"arrive {us}")
        elif dice < 0.85 and level:
            emit(f"urgent {us} {ready} {reachable}")
        elif dice < 0.9:
            reachable = 1 - reachable if r.random() < 0.3 else reachable
            emit(f"reconcile {us} {ready} {reachable}")
        elif dice < 0.94 and ready:
            ready -= 1
            emit(f"measure {us} {int(ready > 0)}")
            emit(f"reconcile {us} {ready} {reachable}")
        tick_us = max(tick_us, us)
    return lines, events, c


class Facts:
    """What must hold of a run, from the trace and the answers alone."""

    def __init__(self, c):
        self.c, self.apply, self.panic, self.level, self.level_us = c, None, None, 0, 0
        self.busy_s = self.before_s = None  # the last second with a request, and the one before

    def see(self, line):
        what, us, *rest = line.split()
        if what == "arrive" and self.c["metric"]:
            self.busy(int(us) // MICRO)
        if what == "level":
            # what is shorter may round to nothing over a window
            if self.level and not self.c["metric"] and int(us) - self.level_us >= 2000:
                self.busy(int(us) // MICRO)
            self.level, self.level_us = int(rest[0]), int(us)

    def busy(self, s):
        if s != self.busy_s:
            self.before_s, self.busy_s = self.busy_s, s

    def check(self, line, said):
        what, us, _, reachable = line.split()
        apply, wanted, desired, reason, activity, timed_out, panicking, *_ = said.split()
        apply, us, c = int(apply), int(us), self.c
        if apply > c["max"]:
            return "more than max-scale"
        if reachable == "1" and apply < c["min"]:
            return "less than min-scale"
        if not c["to_zero"] and apply == 0 and self.apply:
            return "zero, though that is off"
        if self.apply and apply == 0 and reason != "timed-out" and what == "tick":
            if self.level:
                return "zero with a request in flight"
            last_s = self.busy_s if self.busy_s != us // MICRO else self.before_s  # this second is not over
            least = c["window"] * MICRO + (c["retention"] if reachable == "1" else 0)
            # an exponential average forgets what is smaller than a millionth
            if c["aggregation"] == 0 and last_s is not None and us - last_s * MICRO < least:
                return f"zero {us - last_s * MICRO} us after the last request"
        if what == "tick" and panicking == "1" and self.panic is not None and int(desired) < self.panic:
            return "fewer within a panic"
        if what in ("tick", "urgent"):
            self.panic = int(desired) if panicking == "1" and not c["delay"] and what == "tick" else None
        self.apply = apply
        return None


def run(tool, text):
    done = subprocess.run([tool], input=text, stdout=subprocess.PIPE, text=True, timeout=100)
    if done.returncode != 0:
        raise SystemExit(f"{tool} ended with {done.returncode}")
    return done.stdout.splitlines()


def replay(lines):
    """Of a stored trace: what the model says."""
    model, events, c = None, [], None
    for line in lines:
        if line.startswith("new "):
            c = {**NAMES, **{k: int(v) for k, v in (w.split("=") for w in line.split()[1:])}}
            model = Kpa(**c)
        elif line and not line.startswith("#"):
            said = model.event(line)
            if said is not None:
                events.append((line, said))
    return lines, events, c


def compare(tool, runs):
    """The first disagreement of each run, or None."""
    out = run(tool, "".join(line + "\n" for lines, _, _ in runs for line in lines))
    at = 0
    for lines, events, c in runs:
        said = iter(out[at:at + len(events)])
        at += len(events)
        facts, wrong, expected = Facts(c), None, iter(events)
        for line in lines:
            if line.split()[0] in ("new", "#"):
                continue
            facts.see(line)
            if line.split()[0] in ("tick", "reconcile", "urgent"):
                got, want = next(said, "nothing"), next(expected)[1]
                if got != want:
                    wrong = f"{line}: {got!r}, the model says {want!r}"
                else:
                    why = facts.check(line, got)
                    wrong = why and f"{line}: {got!r}: {why}"
                if wrong:
                    break
        yield wrong
    if at != len(out):
        raise SystemExit(f"{len(out)} decisions, expected {at}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("tool")
    parser.add_argument("--seeds", type=int, default=2000)
    parser.add_argument("--from", type=int, default=1, dest="first")
    parser.add_argument("--print", type=int, dest="seed")
    args = parser.parse_args()
    if args.seed is not None:
        print("\n".join(trace(args.seed)[0]))
        return
    stored = sorted(os.listdir(os.path.join(HERE, "corpus")))
    names, runs = [], []
    for name in stored:
        with open(os.path.join(HERE, "corpus", name), encoding="utf-8") as f:
            names.append(f"corpus {name}")
            runs.append(replay(f.read().splitlines()))
    seeds, number, bad, decisions, seen = range(args.first, args.first + args.seeds), 0, [], 0, set()
    for seed in seeds:
        names.append(f"seed {seed}")
        runs.append(trace(seed))
    results = list(compare(args.tool, runs))
    for name, (_, events, _), wrong in zip(names, runs, results):
        decisions += len(events)
        seen |= {said.split()[3] for _, said in events}
        if name.startswith("corpus"):
            number += 1
            print(f"{'not ok' if wrong else 'ok'} {number} - {name}")
        if wrong:
            bad.append(name)
            if len(bad) <= 10:
                print(f"# {name}: {wrong}")
    number += 1
    print(f"# {decisions} decisions compared, {len(bad)} runs differ")
    print(f"{'not ok' if bad else 'ok'} {number} - the autoscaler and its model decide alike on {args.seeds} random traces")
    missing = {"no-data", "stable", "panic", "panic-held", "max-rate-up", "max-rate-down", "activation-scale", "scale-down-delay",
               "min-scale", "max-scale", "initial-scale", "idle-window", "retention", "starting", "timed-out",
               "waiting", "in-flight"} - seen
    number += 1
    print(f"{'not ok' if missing else 'ok'} {number} - every reason was seen {sorted(missing) or ''}")
    print(f"1..{number}")
    sys.exit(1 if bad or missing else 0)


if __name__ == "__main__":
    main()
