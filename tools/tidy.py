#!/usr/bin/python3
"""tidy.py -- clang-tidy over src/ with the flags of a build folder. Usage: tidy.py BUILD [FILE...]

The checks are in .clang-tidy. Exits 1 on a finding that is not looked at yet. One that is wrong has a row in WRONG with the
reason, so that a header needs no mark."""
import concurrent.futures
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OURS = os.path.join(ROOT, "src") + os.sep
# What is gcc's alone, or makes the analyzer see the sanitizers' code instead of ours.
NOT_CLANGS = ("-fsanitize", "-fno-sanitize", "-Winvalid-pch", "-fpch", "-include")

FILLED = "it is filled whenever it is used: the analyzer does not see through the callee's result"
WRONG = {  # (file, check): why it is none
    ("src/base/list.h", "clang-analyzer-unix.Malloc"): "what is freed is not in a list any more: list_remove() asserts it",
    ("src/base/str.h", "clang-analyzer-core.NonNullParamChecker"): "what has a size has bytes",
    ("src/instance/fnlog.c", "clang-analyzer-core.NullDereference"): "what has a size has bytes",
    ("src/codec/yaml.c", "clang-analyzer-core.CallAndMessage"): FILLED,
    ("src/cli/human.c", "clang-analyzer-core.UndefinedBinaryOperatorResult"): FILLED,
    ("src/sandbox/order.c", "clang-analyzer-core.CallAndMessage"): FILLED,
    ("src/sandbox/native.c", "clang-analyzer-core.CallAndMessage"): FILLED,
    ("src/store/store.c", "clang-analyzer-core.UndefinedBinaryOperatorResult"): "CONTAINER_OF of the kind that was asked",
}


def findings(text):
    """The text of those that have no row in WRONG, each with the notes below it."""
    kept, keeps = [], False
    for line in text.splitlines():
        found = re.match(r"(\S+?):\d+:\d+: (?:error|warning): .*\[([\w.,-]+)\]$", line)
        if found:
            path = found.group(1)[found.group(1).rindex("src/"):]
            keeps = (path, found.group(2).split(",")[0]) not in WRONG
        if keeps:
            kept.append(line)
    return kept


def commands(build):
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as f:
        for entry in json.load(f):
            path = os.path.normpath(os.path.join(entry["directory"], entry["file"]))
            if not path.startswith(OURS):
                continue
            words = entry["command"].split()
            while not re.search(r"(gcc|clang|cc)(-\d+)?$", words[0]):
                words.pop(0)  # ccache
            words = ["clang", *(w for w in words[1:] if not w.startswith(NOT_CLANGS))]
            yield {"directory": entry["directory"], "file": path, "command": " ".join(words)}


def main():
    program = shutil.which("clang-tidy") or shutil.which("clang-tidy-14")
    if not program or len(sys.argv) < 2:
        sys.exit("clang-tidy is missing" if not program else __doc__)
    wanted = [os.path.abspath(p) for p in sys.argv[2:]]
    entries = [e for e in commands(sys.argv[1]) if not wanted or e["file"] in wanted]
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "compile_commands.json"), "w", encoding="utf-8") as f:
            json.dump(entries, f)

        def look(path):
            return subprocess.run([program, "-quiet", "-p", folder, path], capture_output=True, text=True, cwd=ROOT)

        bad = 0
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for done in pool.map(look, sorted({e["file"] for e in entries})):
                lines = findings(done.stdout) if done.stdout.strip() else done.stderr.splitlines()
                if done.returncode != 0 and lines:
                    bad += 1
                    print("\n".join(lines), flush=True)
    print(f"{len(entries)} files, findings in {bad}")
    sys.exit(1 if bad or not entries else 0)


if __name__ == "__main__":
    main()
