#!/usr/bin/python3
"""Trains event-classifier on what every Debian machine has: the packages that apt knows.

Reads `apt-cache dumpavail`; learns the archive section from "name - synopsis"; writes, into the
folder given, model.bin (weights; the format is in README.md), model.sha256 and held-out.jsonl.
All packages of one source package are either learned from or held out, never both: siblings such as
libfoo1 and libfoo-dev share their text, and would make the figure better than the model.

An averaged perceptron with a margin, in integers from end to end: the same lists give the same
bytes on any machine. Standard library only; under a minute on one core.
"""

import argparse
import hashlib
import json
import os
import struct
import subprocess
import sys
import time
from array import array
from collections import Counter
from zlib import crc32

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "python"))
from handler import Model, hashes  # noqa: E402  one definition for training and serving

BUCKETS = 1 << 18
PASSES = 5
MARGIN = 2  # per hash of a record: how far the right section must be ahead to leave weights alone
HELD_OUT_ONE_IN = 10


def say(text):
    print(text, file=sys.stderr, flush=True)


def packages(lines):
    """(name, source, section, text) of each package, first version only, in order of name."""
    found, fields = {}, {}
    for line in lines:
        if line == "\n":
            if fields:
                add(found, fields)
            fields = {}
        elif line[0] not in " \t":
            key, _, value = line.partition(":")
            if key in ("Package", "Source", "Section", "Description", "Description-en"):
                fields[key] = value.strip()
    if fields:
        add(found, fields)
    return [found[name] for name in sorted(found)]


def add(found, fields):
    name = fields.get("Package", "")
    section = fields.get("Section", "").rpartition("/")[2]  # "contrib/games" is games
    synopsis = fields.get("Description") or fields.get("Description-en")
    if name and section and synopsis and name not in found:
        source = fields.get("Source", name).split(" ")[0]
        found[name] = (name, source, section, f"{name} - {synopsis}")


def read_packages(path):
    if path:
        with open(path, encoding="utf-8") as f:
            return packages(f)
    with subprocess.Popen(["apt-cache", "dumpavail"], stdout=subprocess.PIPE, text=True,
                          encoding="utf-8") as apt:
        found = packages(apt.stdout)
    if apt.returncode != 0:
        raise SystemExit("train: apt-cache dumpavail did not end well")
    return found


def held_out(source):
    return crc32(source.encode()) % HELD_OUT_ONE_IN == 0


def learn(records, classes):
    """Averaged weights as {bucket: {class: integer}}, all times the same factor.

    `sums` remembers each change times the step it came at, so that the average over all steps is
    weight * steps - sum, without walking all weights at every step.
    """
    weights, sums = {}, {}
    step = 1
    for epoch in range(PASSES):
        records.sort(key=lambda r: (crc32(r[0], epoch), r[0]))
        changed = 0
        for _, buckets, right in records:
            scores = [0] * classes
            rows = []
            for bucket in buckets:
                row = weights.get(bucket)
                if row is None:
                    row, sums[bucket] = weights.setdefault(bucket, {}), {}
                rows.append((row, sums[bucket]))
                for c, weight in row.items():
                    scores[c] += weight
            mine = scores[right]
            scores[right] = -1 << 60
            best = max(scores)
            if mine - best <= MARGIN * len(buckets):
                changed += 1
                wrong = scores.index(best)
                for row, total in rows:
                    row[right] = row.get(right, 0) + 1
                    row[wrong] = row.get(wrong, 0) - 1
                    total[right] = total.get(right, 0) + step
                    total[wrong] = total.get(wrong, 0) - step
            step += 1
        say(f"  pass {epoch + 1} of {PASSES}: {changed / len(records):6.1%} of the records moved "
            f"weights; {len(weights)} rows")
    return {bucket: {c: weight * step - sums[bucket][c] for c, weight in row.items()}
            for bucket, row in weights.items()}


def write_model(path, weights, labels):
    """Scales to 16 bits, rounding halves up, and writes atomically. Returns the file's SHA-256."""
    stride = (len(labels) + 31) // 32 * 32  # rows start on cache lines
    text = "\n".join(labels).encode()
    largest = max(abs(w) for row in weights.values() for w in row.values())
    cells = array("h", bytes(2 * BUCKETS * stride))
    for bucket, row in weights.items():
        for c, weight in row.items():
            cells[bucket * stride + c] = (2 * weight * 32767 + largest) // (2 * largest)
    if sys.byteorder != "little":
        cells.byteswap()
    head = struct.pack("<8s6I", b"evclass", 1, 4096, BUCKETS, len(labels), stride, len(text))
    data = (head.ljust(64, b"\0") + text).ljust(4096, b"\0") + cells.tobytes()
    write(path, data)
    return hashlib.sha256(data).hexdigest()


def write(path, data):
    with open(path + ".part", "wb") as f:
        f.write(data)
    os.replace(path + ".part", path)


def judge(model, tests, table):
    """Prints how well the written file does on records that were not learned from."""
    majority, most = Counter(section for _, section, _ in tests).most_common(1)[0]
    right, first_three, per = 0, 0, {}
    for _, section, text in tests:
        best = [label for label, _ in model.best(text.encode())]
        right += best[0] == section
        first_three += section in best
        count = per.setdefault(section, [0, 0])
        count[0] += best[0] == section
        count[1] += 1
    for section in sorted(per, key=lambda s: -per[s][1]) if table else ():
        say(f"  {section:<16}{per[section][1]:>6}{per[section][0] / per[section][1]:>8.1%}")
    total = len(tests)
    print(f"accuracy {right / total:.4f} top3 {first_three / total:.4f} on {total} held-out records; "
          f"always saying {majority!r} would have {most / total:.4f}")


def main():
    args = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    args.add_argument("--out", default=os.path.join(os.path.dirname(__file__) or ".", "model"))
    args.add_argument("--from", dest="dump", help="read this file instead of apt-cache dumpavail")
    args.add_argument("--sources-in", type=int, default=1, metavar="N",
                      help="take one source package in N (tests)")
    args.add_argument("--table", action="store_true", help="accuracy of each section as well")
    args = args.parse_args()

    begin = time.monotonic()
    found = [p for p in read_packages(args.dump)
             if crc32(b"subset" + p[1].encode()) % args.sources_in == 0]
    labels = sorted({section for _, _, section, _ in found})
    tests = [(name, section, text) for name, source, section, text in found if held_out(source)]
    if len(labels) < 2 or not tests or len(tests) == len(found):
        raise SystemExit("train: apt knows next to no packages here (in a fresh container its lists "
                         "are empty): run apt-get update, then try again")
    say(f"train: {len(found)} packages, {len(labels)} sections, {len(tests)} held out")
    number = {label: i for i, label in enumerate(labels)}
    records = [(name.encode(), [h & BUCKETS - 1 for h in hashes(text.encode())], number[section])
               for name, source, section, text in found if not held_out(source)]

    os.makedirs(args.out, exist_ok=True)
    path = os.path.join(args.out, "model.bin")
    digest = write_model(path, learn(records, len(labels)), labels)
    lines = [json.dumps({"id": name, "text": text, "section": section}, ensure_ascii=False)
             for name, section, text in sorted(tests, key=lambda t: crc32(t[0].encode()))]
    write(os.path.join(args.out, "held-out.jsonl"), ("\n".join(lines) + "\n").encode())
    judge(Model(path), tests, args.table)
    # Last, so that a training that was cut leaves no file that looks like a whole one's.
    write(os.path.join(args.out, "model.sha256"), f"{digest}  model.bin\n".encode())
    say(f"train: {path}: {os.path.getsize(path) >> 20} MiB, sha256:{digest}, "
        f"{time.monotonic() - begin:.0f} s")


if __name__ == "__main__":
    main()
