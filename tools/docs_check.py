#!/usr/bin/python3
"""docs_check.py -- whether docs/reference says what the program does.

Pages that hob prints itself (`hob __docs PAGE`) must be the same to the byte; pages written by hand must name
exactly what the sources name: problem types, API pages, log events, metrics, fields of records; tests that a page calls
its evidence are there. Relative links in all Markdown must lead somewhere. Usage: docs_check.py HOB
"""
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
REFERENCE = os.path.join(ROOT, "docs", "reference")
FOUND = []


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as f:
        return f.read()


def sources(ending):
    for folder, _, names in os.walk(os.path.join(ROOT, "src")):
        for name in names:
            if name.endswith(ending):
                yield read(os.path.relpath(os.path.join(folder, name), ROOT))


def compare(page, what, in_source, in_page):
    """Both are lists: a name twice is a finding too."""
    if not in_source:
        FOUND.append(f"{page}: no {what} found in the sources; this check is out of date")
    for where, names in (("the sources", in_source), (page, in_page)):
        FOUND.extend(f"{what} {n}: twice in {where}" for n in sorted({n for n in names if names.count(n) > 1}))
    FOUND.extend(f"{what} {n}: not in docs/reference/{page}" for n in sorted(set(in_source) - set(in_page)))
    FOUND.extend(f"{what} {n}: in docs/reference/{page} only" for n in sorted(set(in_page) - set(in_source)))


def first_cells(text):
    """The first cell of each row of each table, where it is one name in backticks."""
    return re.findall(r"^\| `([^`]+)` \|", text, re.M)


def section(text, heading):
    begin = text.index("\n" + heading + "\n")
    end = re.compile(r"^#{1,3} ", re.M).search(text, begin + len(heading) + 2)
    return text[begin:end.start() if end else len(text)]


def generated(hob):
    for page in ("cli", "limits"):
        made = subprocess.run([hob, "__docs", page], capture_output=True, text=True, check=True).stdout
        if made != read("docs", "reference", page + ".md"):
            FOUND.append(f"docs/reference/{page}.md is not what the tables say; run: hob __docs {page} > "
                         f"docs/reference/{page}.md")


def problems():
    rows = re.findall(r'X\(\w+,\s+(\d+), "([a-z-]+)",\s+(true|false)', read("src", "gateway", "problem.h"))
    page = re.findall(r"^\| `urn:hob:problem:([a-z-]+)` \| (\d+) \| (yes|no) \|", read("docs", "reference", "http-api.md"), re.M)
    compare("http-api.md", "problem", [f"{n} {s} {'yes' if r == 'true' else 'no'}" for s, n, r in rows],
            [f"{n} {s} {r}" for n, s, r in page])


def pages():
    rows = re.findall(r'\{ "([A-Z]+)", "(/[^"]*)", \w+ \}', read("src", "api", "admin.c"))
    text = section(read("docs", "reference", "http-api.md"), "## The API: hob's own pages")
    listed = re.findall(r"^\| `([A-Z]+)` \| `(/[^`?]*)` \|", text, re.M)  # with a query: another use of a page
    compare("http-api.md", "page", [f"{m} {p}" for m, p in rows],
            [f"{m} " + re.sub(r"\{\w+\}", "*", p) for m, p in listed])


def events():
    names = set()
    for text in sources(".c"):
        names.update(re.findall(r'log_event\([^"();]*"([a-z_.]+)"', text))
    compare("events.md", "event", sorted(names), first_cells(read("docs", "reference", "events.md")))


def temporal():
    """Every call that the service has stands under Done, and nowhere else."""
    page = read("docs", "reference", "temporal.md")
    made = re.findall(r'^    \{ "(\w+)", service_\w+,', read("src", "workflow", "service_methods.c"), re.M)
    done = first_cells(section(page, "## Done: WorkflowService")) + first_cells(section(page, "## Done: OperatorService"))
    compare("temporal.md", "call", made, done)
    FOUND.extend(f"call {n}: in docs/reference/temporal.md under Not yet, and done" for n in
                 sorted(set(made) & set(re.findall(r"`(\w+)`", section(page, "## Not yet")))))


def metrics():
    made = re.findall(r'exposition_family\(b, "(\w+)"', read("src", "telemetry", "metrics.c"))
    made += re.findall(r'\{ "((?:hob|faas|kn)_\w+)",\s+"', read("src", "telemetry", "metrics.c"))
    made += ["hob_" + n for f in ("node.c", "observe.c", "durable.c", "invocations.c", "callbacks.c") for n in re.findall(r'VALUE\("(\w+)"', read("src", "node", f))]
    compare("metrics.md", "metric", made, first_cells(read("docs", "reference", "metrics.md")))


def records():
    text, page = read("src", "telemetry", "record_json.c"), read("docs", "reference", "records.md")
    for heading, pattern in (("## An invocation", r'\bR\("(\w+)"'), ("## Its start", r'\bS\("(\w+)"'),
                             ("## A phase", r'\bM\("(\w+)"')):
        listed = [n for n in first_cells(section(page, heading)) if n not in BY_HAND[heading]]
        compare("records.md", "field", re.findall(pattern, text), listed)


# Fields that record_json.c writes one by one.
BY_HAND = {"## An invocation": ("id", "traceId", "outcome", "start"),
           "## Its start": ("failedPhase", "phases", "containers", "caches"),
           "## A phase": ("name", "outcome")}


def evidence():
    """The tests that the pages name as their evidence: `test_file.Class[.test]`, `.test` of the class before it, `unit:file:test`."""
    known = {}
    folder = os.path.join("test", "e2e")
    for name in os.listdir(os.path.join(ROOT, folder)):
        if name.startswith("test_") and name.endswith(".py"):
            for part in re.split(r"^class ", read(folder, name), flags=re.M)[1:]:
                known[name[:-3] + "." + re.match(r"\w+", part).group()] = set(re.findall(r"def (test_\w+)", part))
    for page in ("knative-runtime.md", "knative.md"):
        evidence_of(page, known)


def evidence_of(page, known):
    last = None
    named = re.findall(r"`(unit:\w+:\w+|test_\w+\.\w+(?:\.\w+)?|\.test_\w+)`", read("docs", "reference", page))
    if len(named) < 50:
        FOUND.append(f"{page}: names {len(named)} tests; this check is out of date")
    for test in named:
        if test.startswith("unit:"):
            _, unit, name = test.split(":")
            found = f"TEST({name})" in read("test", "unit", f"test_{unit}.c")
        else:
            parts = (last + test if test.startswith(".") else test).split(".")
            last = ".".join(parts[:2])
            found = last in known and (len(parts) == 2 or parts[2] in known[last])
        if not found:
            FOUND.append(f"{page}: the test {test} is not there")


def links():
    done = subprocess.run(["git", "-C", ROOT, "ls-files", "*.md"], capture_output=True, text=True, check=False)
    names = done.stdout.split() or [os.path.relpath(os.path.join(f, n), ROOT) for f, d, ns in os.walk(ROOT)
                                    for n in ns if n.endswith(".md") and "/build" not in f]
    for name in names:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", read(name)):
            if not os.path.exists(os.path.join(ROOT, os.path.dirname(name), target)):
                FOUND.append(f"{name}: leads to {target}, which is not there")


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: docs_check.py HOB")
    generated(sys.argv[1])
    for check in (problems, pages, events, temporal, metrics, records, evidence, links):
        check()
    for finding in FOUND:
        print(finding)
    sys.exit(1 if FOUND else 0)


if __name__ == "__main__":
    main()
