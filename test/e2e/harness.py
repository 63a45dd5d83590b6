"""A real hob for end-to-end tests: started, called, crashed on purpose, and looked at afterwards.

HOB names the binary (build/hob without it). Every Hob has ports and a temporary folder of its own, so test
processes run side by side. Nothing here sleeps for luck: what has to happen is waited for with a deadline, and
a deadline that passes fails the test with the end of hob's log.

    with Hob() as hob:  # its API asks for no token; Hob(secure=True) is as an operator's
        hob.apply(service("hello", image=hob.bundle({"run": "#!/bin/sh\\n…"})))
        status, headers, body = hob.ingress("hello", "GET", "/")
        hob.kill_role("node"); hob.wait_for("a new node", hob.is_ready)
        hob.restart(signal.SIGKILL)

Leaving the block stops hob with SIGTERM and asserts that no process, mount or cgroup of it is left, and that no
sanitizer found anything. HobCase does the same around all tests of a class.
"""

import ctypes
import http.client
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it, and so would every hob started here

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.environ.get("HOB", os.path.join(ROOT, "build", "hob"))
KNATIVE = "/apis/serving.knative.dev/v1/namespaces"
READY_S, STOP_S, WAIT_S = 30, 40, 30
PYTHON = ["/usr/bin/python3", "-I", "-S"]  # starts in a third of the time
PROBLEM = "application/problem+json"
LOOK_S = 0.01  # between two looks at something that offers no event
PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans():
    """Processes whose hob has died become children of this one, so that none can hide."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


# ---- processes -----------------------------------------------------------------------------------


def read_text(path):
    """A file under /proc or /sys, or "" when what it describes has gone."""
    try:
        with open(path, "rb") as f:
            return f.read().decode(errors="replace")
    except OSError:
        return ""


def stat_of(pid):
    """(parent, state, start time) of a process, or None. The name may hold spaces and brackets."""
    text = read_text(f"/proc/{pid}/stat")
    if not text:
        return None
    fields = text[text.rindex(")") + 2:].split()
    return int(fields[1]), fields[0], int(fields[19])


def descendants(pid):
    """Every process below this one, by one walk through /proc; zombies too."""
    children = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (stat := stat_of(name)):
            children.setdefault(stat[0], []).append(int(name))
    found, look = [], [pid]
    while look:
        below = children.get(look.pop(), [])
        found += below
        look += below
    return found


def descriptors(pid):
    """{number: inode} of what a process holds open. One may close between the listing and the look: it is not held."""
    folder, held = f"/proc/{pid}/fd", {}
    for number in os.listdir(folder):
        try:
            held[int(number)] = os.stat(os.path.join(folder, number)).st_ino
        except FileNotFoundError:
            pass
    return held


def reserve_port():
    """(socket, port) on loopback: nobody is given the port while the socket lives, and who connects is refused. A
    server that asks for SO_REUSEADDR may still take it."""
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("127.0.0.1", 0))
    return s, s.getsockname()[1]


def command_of(pid):
    return read_text(f"/proc/{pid}/cmdline").replace("\0", " ").strip() or read_text(f"/proc/{pid}/comm").strip()


# ---- what a hob may leave behind -----------------------------------------------------------------


def group_name(data):
    """How hob calls its cgroups: after its data folder (src/sandbox/launcher.c, FNV-1a)."""
    value = 0xcbf29ce484222325
    for byte in os.path.realpath(data).encode():
        value = (value ^ byte) * 0x100000001b3 & 0xffffffffffffffff
    return f"hob-{value:016x}"


class Traces:
    """Processes below us, cgroups and mounts on this host, at one moment."""

    def __init__(self):
        self.processes = {(pid, stat[2]) for pid in descendants(os.getpid()) if (stat := stat_of(pid))}
        self.cgroups = {folder for folder, _, _ in os.walk("/sys/fs/cgroup")}
        # With their ids, so that a second mount of the same is not taken for the first.
        self.mounts = set(read_text("/proc/self/mountinfo").splitlines())

    def new_since(self, before, data):
        """What is here and was not there, of the hob with this data folder or of no other that runs."""
        group = group_name(data)
        others = {pid for hob in Hob.living for pid in (hob.process.pid, *descendants(hob.process.pid))}
        for pid, _ in self.processes - before.processes:
            if pid not in others:
                yield f"process {pid} {command_of(pid)}"
        for cgroup in self.cgroups - before.cgroups:
            if group in cgroup:
                yield f"cgroup {cgroup}"
        for mount in self.mounts - before.mounts:
            if data in mount or ("hob" in mount and "/hob-e2e-" not in mount):
                yield f"mount {mount}"


# ---- requests ------------------------------------------------------------------------------------


def split_address(address):
    host, _, port = address.rpartition(":")
    return host, int(port)


def request(address, method, path, body=None, headers=None, timeout=WAIT_S):
    """(status, headers, body) of one request on a connection of its own."""
    connection = http.client.HTTPConnection(address, timeout=timeout)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)')


def metric_samples(text):
    """(name, labels, value) of each sample of a Prometheus page; ValueError where it is none."""
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        sample = SAMPLE.match(line)
        labels = sample and (sample[2] or "")
        pairs = sample and LABEL.findall(labels)
        if not sample or "".join(m.group(0) for m in LABEL.finditer(labels)) != labels:
            raise ValueError(f"no sample: {line}")
        yield sample[1], dict(pairs), float(sample[3])


class Wire:
    """A connection for bytes of the test's own; answers are read one by one, whatever lies behind them."""

    def __init__(self, address, timeout=WAIT_S):
        self.s = socket.create_connection(split_address(address), timeout=timeout)
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.got = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.s.close()

    def send(self, data):
        self.s.sendall(data.encode() if isinstance(data, str) else data)

    def more(self):
        piece = self.s.recv(65536)
        if not piece:
            raise EOFError(f"the connection ended after {self.got[:200]!r}")
        self.got += piece

    def until(self, mark):
        while mark not in self.got:
            self.more()
        before, _, self.got = self.got.partition(mark)
        return before

    def exactly(self, size):
        while len(self.got) < size:
            self.more()
        piece, self.got = self.got[:size], self.got[size:]
        return piece

    def head(self):
        """(status, headers) of the next answer; its body is still to be read."""
        lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        headers = http.client.HTTPMessage()
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name] = value.strip()
        return int(lines[0].split(" ")[1]), headers

    def chunk(self):
        """The next chunk, b"" at the end."""
        piece = self.exactly(int(self.until(b"\r\n").split(b";")[0], 16))
        if not piece:
            while self.until(b"\r\n"):
                pass
            return b""
        assert self.exactly(2) == b"\r\n"
        return piece

    def answer(self):
        """(status, headers, body) of the next answer."""
        status, headers = self.head()
        if "chunked" in headers.get("Transfer-Encoding", ""):
            body = b"".join(iter(self.chunk, b""))
        elif status == 101 or status == 204 or status == 304:
            body = b""
        else:
            body = self.exactly(int(headers.get("Content-Length", 0)))
        return status, headers, body

    def ended(self):
        """Waits for the other side's end; False: bytes came instead."""
        try:
            return not self.got and self.s.recv(1) == b""
        except ConnectionResetError:
            return not self.got


def together(count, what):
    """what(0..count-1), all at once; their results in order. The first error is raised."""
    results, errors, gate = [None] * count, [], threading.Barrier(count)

    def one(i):
        try:
            gate.wait(WAIT_S)
            results[i] = what(i)
        except BaseException as e:  # noqa: B902 -- raised below, in the caller's thread
            errors.append(e)
    threads = [threading.Thread(target=one, args=(i,)) for i in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise errors[0]
    return results


def service(name, image, command=None, args=None, env=None, annotations=None, models=(), scratch=(),
            namespace="default", probe=None, liveness=None, startup=None, limits=None, **spec):
    """A Knative Service as a tree. models: (mount path, reference); scratch: (mount path, size)."""
    container = {"image": image}
    for key, value in (("command", command), ("args", args), ("readinessProbe", probe),
                       ("livenessProbe", liveness), ("startupProbe", startup)):
        if value is not None:
            container[key] = value
    if env:
        container["env"] = [{"name": k, "value": v} for k, v in env.items()]
    if limits:
        container["resources"] = {"limits": limits}
    volumes = [{"name": f"model-{i}", "image": {"reference": reference}}
               for i, (_, reference) in enumerate(models)]
    volumes += [{"name": f"scratch-{i}", "emptyDir": {"sizeLimit": size}}
                for i, (_, size) in enumerate(scratch)]
    if volumes:
        paths = [path for path, _ in models] + [path for path, _ in scratch]
        container["volumeMounts"] = [{"name": v["name"], "mountPath": path}
                                     for v, path in zip(volumes, paths)]
        spec["volumes"] = volumes
    metadata = {"annotations": {f"autoscaling.knative.dev/{k}" if "/" not in k else k: str(v)
                                for k, v in (annotations or {}).items()}}
    return {"apiVersion": "serving.knative.dev/v1", "kind": "Service",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"template": {"metadata": metadata, "spec": {**spec, "containers": [container]}}}}


# ---- hob -----------------------------------------------------------------------------------------


class Hob:
    """One `hob serve`. start() and stop() may be repeated on the same data folder."""

    living = set()  # those with a process

    def __init__(self, *flags, limits=None, env=None, binary=None, user=None, secure=False, roots=None,
                 **popen):
        adopt_orphans()
        self.before = Traces()
        self.folder = tempfile.mkdtemp(prefix="hob-e2e-")
        self.files = os.path.join(self.folder, "files")  # the --file-root
        self.data = os.path.join(self.folder, "data")
        self.log_path = os.path.join(self.folder, "hob.log")
        os.mkdir(self.files)
        self.roots = [self.files] if roots is None else roots
        self.popen = popen
        if user is not None:  # root runs hob as somebody else
            self.popen |= {"user": user, "group": user, "extra_groups": []}
            for path in (self.folder, self.files):
                os.chown(path, user, user)
            binary = self.reachable(binary or BINARY)
        self.flags = [*([] if secure else ["--api-insecure"]), *flags,
                      *(f"--limit={k}={v}" for k, v in (limits or {}).items())]
        # Its sockets are in its own folder; what this user's hobs have in the usual one is not found by accident.
        self.env = {**os.environ, "HOB_RUNTIME_DIR": os.path.join(self.folder, "run"), **(env or {})}
        self.binary = binary or BINARY
        self.process, self.api_address, self.ingress_address, self.temporal_address = None, "", "", ""
        self.bundles, self.probe_image = 0, None

    def reachable(self, binary):
        """A copy of the binary that anybody may run: the checkout may lie in a folder that is root's alone."""
        copy = os.path.join(self.folder, "hob")
        shutil.copy(binary, copy)
        os.chmod(copy, 0o755)
        return copy

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.discard()
            raise
        return self

    def __exit__(self, kind, *_):
        try:
            if self.process:
                code = self.stop()
                if kind is None and code != 0:
                    self.fail(f"hob serve ended with {code} on SIGTERM")
            if kind is None:
                self.assert_nothing_left()
                self.assert_sane()
        finally:
            self.discard()

    # life

    def start(self):
        assert self.process is None
        reading, ready = os.pipe()
        try:
            with open(self.log_path, "ab") as log:
                self.process = subprocess.Popen(
                    [self.binary, "serve", "--listen-ingress", "127.0.0.1:0", "--listen-api", "127.0.0.1:0", "--listen-temporal", "127.0.0.1:0",
                     "--data", self.data, *(f"--file-root={root}" for root in self.roots), "--ready-fd", str(ready),
                     *self.flags],
                    pass_fds=[ready], env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self.popen)
            os.close(ready)
            ready = -1
            told = self.read_ready(reading)
        finally:
            os.close(reading)
            if ready >= 0:
                os.close(ready)
        self.api_address, self.ingress_address, self.temporal_address = told["api"], told["ingress"], told["temporal"]
        self.socket, self.token_file = told["socket"], told["token_file"]
        Hob.living.add(self)

    def read_ready(self, fd):
        got, deadline = b"", time.monotonic() + READY_S
        while not got.endswith(b"\n"):
            if not select.select([fd], [], [], max(0, deadline - time.monotonic()))[0]:
                self.fail(f"hob serve was not ready after {READY_S} s")
            piece = os.read(fd, 4096)
            if not piece:
                self.fail("hob serve ended before it was ready")
            got += piece
        return json.loads(got)

    def stop(self, number=signal.SIGTERM):
        """Signals the launcher and waits for its end; returns its exit code (negative: the signal)."""
        process, self.process = self.process, None
        Hob.living.discard(self)
        if process.poll() is None:
            process.send_signal(number)
        try:
            return process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            self.fail(f"hob serve still ran {STOP_S} s after {signal.Signals(number).name}")

    def restart(self, number=signal.SIGTERM):
        code = self.stop(number)
        self.start()
        return code

    def roles(self):
        """{"node": pid, "fetcher": pid}: the launcher's children that were given a role."""
        found = {}
        for pid in descendants(self.process.pid):
            stat = stat_of(pid)
            if stat and stat[0] == self.process.pid and stat[1] != "Z":
                for variable in read_text(f"/proc/{pid}/environ").split("\0"):
                    if variable.startswith("HOB_ROLE="):
                        found[variable.removeprefix("HOB_ROLE=")] = pid
        return found

    def kill_role(self, role):
        """SIGKILL to the node or the fetcher; returns once that process has gone."""
        pid = self.wait_for(f"a {role}", lambda: self.roles().get(role))
        fd = os.pidfd_open(pid)
        try:
            if self.roles().get(role) != pid:  # it ended in between, and the number is another's
                self.fail(f"the {role} ended by itself")
            signal.pidfd_send_signal(fd, signal.SIGKILL)
            if not select.select([fd], [], [], WAIT_S)[0]:
                self.fail(f"the {role} outlived SIGKILL")
        finally:
            os.close(fd)
        return pid

    def is_ready(self):
        try:
            return request(self.api_address, "GET", "/readyz", timeout=2)[0] == 200
        except OSError:
            return False

    def discard(self):
        """Ends whatever is left, quietly: for tests that failed already, or never started."""
        Hob.living.discard(self)
        if self.process and self.process.poll() is None:
            self.process.kill()
        if self.process:
            self.process.wait()
            self.process = None
        known = {pid for pid, _ in self.before.processes}
        for pid in descendants(os.getpid()):
            if pid not in known:
                try:
                    os.kill(pid, signal.SIGKILL)
                except OSError:
                    pass
        self.reap()
        shutil.rmtree(self.folder, ignore_errors=True)

    # looking

    def log(self):
        return read_text(self.log_path)

    def fail(self, why):
        end = "\n".join(self.log().splitlines()[-40:])
        raise AssertionError(f"{why}\nthe end of hob's log:\n{end}")

    def wait_for(self, what, look, deadline=WAIT_S):
        """look()'s first true answer. Fails when hob ends before, or the deadline (seconds) passes."""
        until = time.monotonic() + deadline
        while not (found := look()):
            if self.process and self.process.poll() is not None:
                self.fail(f"hob serve ended with {self.process.returncode} while waiting for {what}")
            if time.monotonic() > until:
                self.fail(f"waited {deadline} s for {what}")
            time.sleep(LOOK_S)
        return found

    def reap(self):
        """Takes the exit status of orphans that became ours; hob itself is Popen's."""
        for pid in descendants(os.getpid()):
            stat = stat_of(pid)
            if stat and stat[1] == "Z" and stat[0] == os.getpid() \
                    and not (self.process and pid == self.process.pid) \
                    and (pid, stat[2]) not in self.before.processes:
                try:
                    os.waitpid(pid, os.WNOHANG)
                except ChildProcessError:
                    pass

    def left(self):
        """What this hob has left on the host. Call it when hob has ended."""
        self.reap()
        return list(Traces().new_since(self.before, self.data))

    def assert_nothing_left(self, deadline=WAIT_S):
        """Killed processes and their cgroups take the kernel a moment; the deadline allows for that."""
        until = time.monotonic() + deadline
        while left := self.left():
            if time.monotonic() > until:
                self.fail("left behind:\n  " + "\n  ".join(left))
            time.sleep(LOOK_S)

    def assert_sane(self):
        for mark in ("Sanitizer", "runtime error:", "assertion"):
            if mark in self.log():
                at = self.log().index(mark)
                raise AssertionError("hob's log: " + self.log()[max(0, at - 200):at + 4000])

    def hob(self, *words, stdin=None, timeout=WAIT_S):
        """(exit status, stdout, stderr) of a command against this hob."""
        done = subprocess.run([self.binary, *words], input=stdin, capture_output=True, text=True, timeout=timeout,
                              env={**self.env, "HOB_SERVER": self.api_address, "NO_COLOR": "1"})
        return done.returncode, done.stdout, done.stderr

    def metric(self, name, **labels):
        """The sum of a metric's samples that have these labels; None: there is no such sample."""
        text = self.call("GET", "/metrics", want=200)[2].decode()
        found = [value for key, has, value in metric_samples(text)
                 if key == name and labels.items() <= has.items()]
        return sum(found) if found else None

    # files and objects

    def deploy(self, name, wait=True, **spec):
        """The probe function under this name; env, annotations and so on as service() takes them."""
        return self.apply(self.spec(name, **spec), wait)

    def spec(self, name, **spec):
        """What deploy() applies."""
        return service(name, self.probe(), [*PYTHON, "/app/probe.py"], **spec)

    def probe(self):
        """The image of test/fn/probe.py, the same for all who ask."""
        if not self.probe_image:
            with open(os.path.join(ROOT, "test", "fn", "probe.py"), "rb") as f:
                self.probe_image = self.bundle({"probe.py": f.read()})
        return self.probe_image

    def bundle(self, files):
        """A file:// image of {path: text or bytes}; those that begin with #! or ELF are executable."""
        self.bundles += 1
        folder = os.path.join(self.files, f"bundle-{self.bundles}")
        for path, data in files.items():
            data = data.encode() if isinstance(data, str) else data
            path = os.path.join(folder, path)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as f:
                f.write(data)
            os.chmod(path, 0o755 if data[:2] == b"#!" or data[:4] == b"\x7fELF" else 0o644)
        return f"file://{folder}"

    def call(self, method, path, body=None, headers=None, want=None):
        """(status, headers, answer) of the API; JSON in and out as trees. want: fail on another status."""
        data = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
        fields = {"Content-Type": "application/json"} if data is not None else {}
        status, answered, text = request(self.api_address, method, path, data, {**fields, **(headers or {})})
        if "json" in answered.get("Content-Type", ""):
            text = json.loads(text)
        if want is not None and status != want:
            self.fail(f"{method} {path}: {status}, not {want}: {text}")
        return status, answered, text

    def get_service(self, name, namespace="default"):
        status, _, tree = self.call("GET", f"{KNATIVE}/{namespace}/services/{name}")
        return tree if status == 200 else None

    def apply(self, tree, wait=True):
        """Creates or replaces; with wait, returns when the newest generation is ready."""
        namespace, name = tree["metadata"]["namespace"], tree["metadata"]["name"]
        there = self.get_service(name, namespace)
        if there:
            metadata = {**tree["metadata"], "resourceVersion": there["metadata"]["resourceVersion"]}
            self.call("PUT", f"{KNATIVE}/{namespace}/services/{name}", {**tree, "metadata": metadata}, want=200)
        else:
            self.call("POST", f"{KNATIVE}/{namespace}/services", tree, want=201)
        return self.wait_ready(name, namespace) if wait else self.get_service(name, namespace)

    def delete(self, name, namespace="default"):
        return self.call("DELETE", f"{KNATIVE}/{namespace}/services/{name}", want=200)

    def condition(self, name, kind="Ready", namespace="default"):
        """The condition of the newest generation; None while its status is of an older one."""
        tree = self.get_service(name, namespace) or {}
        status = tree.get("status", {})
        if status.get("observedGeneration") != tree.get("metadata", {}).get("generation"):
            return None
        return next((c for c in status.get("conditions", []) if c["type"] == kind), None)

    def wait_condition(self, name, wanted, kind="Ready", namespace="default", deadline=WAIT_S):
        def look():
            condition = self.condition(name, kind, namespace)
            return condition if condition and condition["status"] == wanted else None
        return self.wait_for(f"{kind}={wanted} of {name}", look, deadline)

    def wait_ready(self, name, namespace="default", deadline=WAIT_S):
        def look():
            condition = self.condition(name, "Ready", namespace)
            if condition and condition["status"] == "False":
                self.fail(f"{name} is not going to be ready: {condition}")
            return condition and condition["status"] == "True"
        self.wait_for(f"{name} to be ready", look, deadline)
        return self.get_service(name, namespace)

    def instances(self, name=None):
        items = self.call("GET", "/v1/instances", want=200)[2]["items"]
        return [i for i in items if name is None or i["service"] == name]

    def wait_instances(self, name, count, deadline=WAIT_S):
        return self.wait_for(f"{count} instances of {name}", lambda: len(self.instances(name)) == count, deadline)

    def invocation(self, ident):
        """The record of one invocation; it is written behind the answer, so it may take a moment."""
        def look():
            status, _, tree = self.call("GET", f"/v1/invocations/{ident}")
            return tree if status == 200 else None
        return self.wait_for(f"the record of {ident}", look)

    # functions

    @staticmethod
    def host(name, namespace="default"):
        return f"{name}.{namespace}.localhost"

    def ingress(self, name, method="GET", path="/", body=None, headers=None, namespace="default", timeout=WAIT_S):
        """(status, headers, body) of one request to a function."""
        return request(self.ingress_address, method, path, body,
                       {"Host": self.host(name, namespace), **(headers or {})}, timeout)

    def wire(self, timeout=WAIT_S):
        """A connection to the ingress, for bytes of the test's own."""
        return Wire(self.ingress_address, timeout)

    def tree(self, name, path, **more):
        """The JSON that a function answers with."""
        status, _, body = self.ingress(name, path=path, **more)
        if status != 200:
            self.fail(f"GET {path} of {name}: {status}: {body}")
        return json.loads(body)


class HobCase(unittest.TestCase):
    """One hob for all tests of a class, which use services of their own."""

    FLAGS, LIMITS, ENV = (), {}, {}

    @classmethod
    def setUpClass(cls):
        cls.hob = Hob(*cls.FLAGS, limits=cls.LIMITS, env=cls.ENV).__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.hob.__exit__(None, None, None)

    def problem(self, answer, status, kind):
        """The problem+json of an answer of the gateway's own; checks what all of them have in common."""
        got, headers, body = answer
        self.assertEqual((got, headers["Content-Type"]), (status, PROBLEM), body)
        tree = json.loads(body)
        self.assertEqual((tree["status"], tree["type"]), (status, f"urn:hob:problem:{kind}"), tree)
        self.assertEqual(tree["invocation_id"], headers["Hob-Invocation-Id"])
        return tree
