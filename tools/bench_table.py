#!/usr/bin/python3
"""bench_table.py -- turns build/bench.json into the Markdown table of docs/benchmarks.md.

Without --write it prints the section; with it, the section "Measured" of the page is replaced. What is not in the
file is not in the table: a row that was not measured says so, and none is made up.
"""
import argparse
import json
import os
import platform
import re
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGE = os.path.join(ROOT, "docs", "benchmarks.md")
HEADING = "## Measured"


def number(value):
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def cell(text):
    return str(text).replace("|", "\\|")


def row(r):
    if "missing" in r:
        return f"| {cell(r['name'])} | not measured: {cell(r['missing'])} is not installed | | | | | |"
    return (f"| {cell(r['name'])} | {number(r['min'])} / {number(r['p50'])} / {number(r['p99'])} {r['unit']} "
            f"| {cell(r['against'])} | {r['ratio']:.2f} | {cell(r['reach'])} | {'yes' if r['holds'] else '**no**'} "
            f"| {cell(r.get('note', ''))} |")


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        model = re.search(r"model name\s*:\s*(.*)", f.read())
    with open("/proc/meminfo", encoding="ascii") as f:
        memory = int(re.search(r"MemTotal:\s*(\d+)", f.read()).group(1)) >> 20
    with open("/etc/os-release", encoding="utf-8") as f:
        system = re.search(r'PRETTY_NAME="(.*)"', f.read())
    commit = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True,
                            check=False).stdout.strip()
    return (f"{model.group(1) if model else platform.machine()}, {os.cpu_count()} CPUs, {memory} GiB, "
            f"{system.group(1) if system else 'unknown system'}, kernel {platform.release().split('-')[0]}, hob {commit or 'unknown'}")


def section(path, when):
    with open(path, encoding="utf-8") as f:
        rows = json.load(f)
    head = ("| what | hob: min / p50 / p99 | against | ratio | reach | holds | |\n"
            "|---|---|---|---|---|---|---|\n")
    return f"{HEADING}\n\nOn {when}: {machine()}.\n\n{head}" + "".join(row(r) + "\n" for r in rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("json", nargs="?", default=os.path.join(ROOT, "build", "bench.json"))
    parser.add_argument("--date", required=True, help="of the measurement, as 2026-11-23")
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    args = parser.parse_args()
    made = section(args.json, args.date)
    if not args.write:
        print(made, end="")
        return
    with open(PAGE, encoding="utf-8") as f:
        page = f.read()
    begin = page.find(HEADING + "\n")
    begin = len(page.rstrip()) + 2 if begin < 0 else begin
    end = page.find("\n## ", begin + 1)
    page = page.rstrip() + "\n\n" if begin > len(page.rstrip()) else page
    with open(PAGE, "w", encoding="utf-8") as f:
        f.write(page[:begin] + made + (page[end:] if end >= 0 else ""))


if __name__ == "__main__":
    main()
