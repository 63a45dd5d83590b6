#!/usr/bin/python3
"""lint.py -- what the compiler does not say: calls we do not use, layers that point up, long
functions, formatting. Exits 1 on a finding that is a rule; prints the rest as advice."""
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# A room may include the rooms before it in this list, and itself.
ROOMS = ["base", "os", "codec", "net", "telemetry", "store", "durable", "artifact", "sandbox", "serving", "scale",
         "instance", "workflow", "invocation", "gateway", "api", "console", "node", "cli"]
BANNED = re.compile(r"(?<![\w.>])(strcpy|strcat|sprintf|vsprintf|strtok|atoi|atol|gets|alloca|setjmp|longjmp|"
                    r"system|popen|rand|srand|localtime|gmtime)\s*\(")
DECIDES = ["scale", "serving", "workflow", "durable"]  # no clock, no randomness, no I/O of their own
EFFECTS = ["src/serving/catalog", "src/serving/registry", "src/serving/asked",  # but these talk to the store, and make ids
           "src/workflow/service"]
IMPURE = re.compile(r"(?<![\w.>])(time|clock_gettime|gettimeofday|read|write|open|getrandom|getenv|arc4random\w*)\s*\(")
COMMENT = re.compile(r"/\*.*?\*/|\"(?:\\.|[^\"\\])*\"", re.S)


def sources():
    for folder, _, names in os.walk(os.path.join(ROOT, "src")):
        for name in sorted(names):
            if name.endswith((".c", ".h")):
                yield os.path.join(folder, name)


def blank(match):
    return re.sub(r"[^\n]", " ", match.group(0))


def main():
    rules, advice = [], []
    for path in sources():
        where = os.path.relpath(path, ROOT)
        room = where.split(os.sep)[1]
        text = open(path).read()
        code = COMMENT.sub(blank, text)
        for n, line in enumerate(code.splitlines(), 1):
            if m := BANNED.search(line):
                rules.append(f"{where}:{n}: {m.group(1)}() is not used here")
            if room in DECIDES and not where.startswith(tuple(EFFECTS)) and (m := IMPURE.search(line)):
                rules.append(f"{where}:{n}: {m.group(1)}() in a room that only decides")
        for n, line in enumerate(text.splitlines(), 1):
            m = re.match(r'#include "(\w+)/', line)
            if m and m.group(1) in ROOMS and ROOMS.index(m.group(1)) > ROOMS.index(room):
                rules.append(f"{where}:{n}: {room} includes {m.group(1)}, which lies above it")
            if len(line) > 112:
                advice.append(f"{where}:{n}: {len(line)} columns")
        if path.endswith(".h") and "#pragma once" not in text:
            rules.append(f"{where}: no #pragma once")
    if shutil.which("cppcheck"):
        done = subprocess.run(["cppcheck", "--quiet", "--enable=warning,portability", "--inline-suppr",
                               "--std=c11", "-Isrc", "--suppress=missingIncludeSystem", "src"],
                              cwd=ROOT, capture_output=True, text=True)
        advice += [line for line in done.stderr.splitlines() if ": warning:" in line or ": error:" in line]
    for line in rules:
        print(line)
    for line in advice:
        print(f"advice: {line}")
    print(f"{len(rules)} broken rules, {len(advice)} pieces of advice")
    sys.exit(1 if rules else 0)


if __name__ == "__main__":
    main()
