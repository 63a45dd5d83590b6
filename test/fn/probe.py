"""The function that end-to-end tests run inside hob: it does what its path says, and tells what it sees.

A threaded HTTP/1.1 server of its own on sockets, so that it can also misbehave (die in mid-answer, break
framing, stay silent) and never buffers a body. DELAY_MS in its environment delays listening.
"""
import fcntl
import json
import os
import signal
import socket
import stat
import sys
import termios
import threading
import time

lock = threading.Lock()
state = {"running": 0, "most": 0, "served": 0, "gone": 0, "accepted": 0}
healthy = threading.Event()
draining = threading.Event()
hushed = threading.Event()  # every answer from now on does not come
last_probe = {}
ballast = []


class Gone(Exception):
    pass


class Wire:
    """One connection, read through a small buffer."""

    def __init__(self, s):
        self.s, self.got = s, b""

    def more(self):
        piece = self.s.recv(65536)
        if not piece:
            raise Gone
        self.got += piece

    def until(self, mark):
        while mark not in self.got:
            self.more()
        head, _, self.got = self.got.partition(mark)
        return head

    def pieces(self, size):
        while size:
            if not self.got:
                self.more()
            piece, self.got = self.got[:size], self.got[size:]
            size -= len(piece)
            yield piece

    def head(self):
        lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        method, path, _ = lines[0].split(" ")
        fields = [tuple(line.split(": ", 1)) if ": " in line else (line.rstrip(":"), "") for line in lines[1:]]
        return method, path, fields

    def body(self, fields):
        """The content, piece by piece as it comes."""
        named = {k.lower(): v for k, v in fields}
        if "chunked" in named.get("transfer-encoding", ""):
            while size := int(self.until(b"\r\n").split(b";")[0], 16):
                yield from self.pieces(size)
                self.until(b"\r\n")
            while self.until(b"\r\n"):
                pass
        else:
            yield from self.pieces(int(named.get("content-length", 0)))

    def send(self, data):
        self.s.sendall(data)

    def answer(self, body, status=200, kind="text/plain", fields=""):
        self.send(f"HTTP/1.1 {status} Because\r\nContent-Type: {kind}\r\n{fields}"
                  f"Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def begin_chunks(self):
        self.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")

    def chunk(self, data):
        self.send(b"%x\r\n%s\r\n" % (len(data), data))


def attempt(what):
    """None when it went well, else the error's name."""
    try:
        what()
        return None
    except OSError as e:
        return os.strerror(e.errno)


def dial(address):
    with socket.create_connection(address, timeout=2):
        pass


def stdin_kind():
    try:
        return "eof" if os.read(0, 1) == b"" else "data"
    except OSError as e:
        return os.strerror(e.errno)


def device(path):
    try:
        found = os.lstat(path)
    except OSError as e:
        return {"error": os.strerror(e.errno)}
    told = {"read": os.access(path, os.R_OK), "write": os.access(path, os.W_OK),
            "type": stat.filemode(found.st_mode)[0]}
    if stat.S_ISLNK(found.st_mode):
        told["to"] = os.readlink(path)
    return told


def write_to(path):
    def go():
        with open(path, "wb") as f:
            f.write(b"x")
        os.unlink(path)
    return attempt(go)


def interfaces():
    with open("/proc/net/dev") as f:
        return [line.split(":")[0].strip() for line in f if ":" in line]


def text_of(path):
    try:
        with open(path) as f:
            return f.read()
    except OSError as e:
        return "error: " + os.strerror(e.errno)


def look():
    """What a function can find out about where it is."""
    names = ["fd", "stdin", "stdout", "stderr", "full", "null", "ptmx", "random", "tty", "urandom", "zero",
             "console", "shm"]
    status = dict(line.split(":", 1) for line in text_of("/proc/self/status").splitlines())
    return {
        "env": dict(os.environ), "argv": sys.argv, "cwd": os.getcwd(),
        "ids": [os.getuid(), os.geteuid(), os.getgid(), os.getegid()], "groups": os.getgroups(),
        "stdin": stdin_kind(), "dev": {n: device("/dev/" + n) for n in names},
        "opens": {n: attempt(lambda n=n: open("/dev/" + n, "ab").close()) for n in ("stdout", "stderr", "null", "full")},
        "fds": {n: device(f"/proc/self/fd/{n}") for n in (0, 1, 2)},
        "tmp": stat.filemode(os.stat("/tmp").st_mode),
        "tty": attempt(lambda: fcntl.ioctl(0, termios.TCGETS, bytes(64))),
        "writes": {p: write_to(p + "/probe") for p in ("", "/usr", "/app", "/etc", "/tmp", "/dev", "/proc/sys",
                                                       "/sys/fs/cgroup", "/model", "/scratch")},
        "mounts": text_of("/proc/mounts"), "hostname": socket.gethostname(),
        "etc": {n: text_of("/etc/" + n) for n in ("resolv.conf", "hosts", "hostname", "passwd")},
        "resolv": stat.filemode(os.lstat("/etc/resolv.conf").st_mode),
        "status": {k: status[k].strip() for k in ("CapEff", "CapPrm", "CapBnd", "NoNewPrivs", "Seccomp")},
        "pids": sorted(int(n) for n in os.listdir("/proc") if n.isdigit()), "pid": os.getpid(),
        "interfaces": interfaces(), "dial": attempt(lambda: dial(("192.0.2.1", 80))),
        "roots": os.listdir("/"), "open": sorted(int(n) for n in os.listdir("/proc/self/fd")),
        "model": sorted(os.listdir("/model")) if os.path.isdir("/model") else None,
        "groups_file": text_of("/proc/self/cgroup"),
    }


def fill(folder, megabytes):
    """(bytes written, the error that ended it or None); the file is removed again."""
    path, written, why = folder + "/fill", 0, None
    try:
        with open(path, "wb", buffering=0) as f:
            for _ in range(megabytes * 16):
                written += f.write(bytes(65536))
    except OSError as e:
        why = os.strerror(e.errno)
    os.unlink(path)
    return written, why


def digest_of(path):
    import hashlib  # slow to come, and hardly anybody wants it
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def wait_gone(wire):
    """Until the other side ends this connection; a reset counts."""
    try:
        while wire.s.recv(65536):
            pass
    except OSError:
        pass
    with lock:
        state["gone"] += 1
    print("the caller has gone", flush=True)


def tell(wire, tree):
    wire.answer(json.dumps(tree).encode(), kind="application/json")


def overlap(wire, ms):
    with lock:
        state["running"] += 1
        state["most"] = max(state["most"], state["running"])
    time.sleep(ms / 1000)
    with lock:
        state["running"] -= 1
    wire.answer(str(state["most"]).encode())


def upgrade(wire):
    wire.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: shout\r\nConnection: Upgrade\r\n\r\n")
    while True:
        if not wire.got:
            wire.more()
        data, wire.got = wire.got, b""
        wire.send(data.upper())


def echo(wire, fields):
    wire.begin_chunks()
    for piece in wire.body(fields):
        wire.chunk(piece)
    wire.chunk(b"")


def sink(wire, fields):
    size = sum(len(piece) for piece in wire.body(fields))
    wire.answer(str(size).encode())


def big(wire, size):
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
    block = bytes(65536)
    while size:
        wire.send(block[:min(size, len(block))])
        size -= min(size, len(block))


def drip(wire, count, ms):
    wire.begin_chunks()
    for i in range(count):
        wire.chunk(b"%d\n" % i)
        time.sleep(ms / 1000)
    wire.chunk(b"")


def half(wire, then_exit):
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
    if then_exit:
        os._exit(3)
    wait_gone(wire)
    raise Gone


def handle(wire, method, path, fields):
    words = path.split("?")[0].strip("/").split("/")
    what, numbers = words[0], [int(w) for w in words[1:] if w.isdigit()]
    if what == "echo":
        return echo(wire, fields)
    if what == "sink":
        return sink(wire, fields)
    if what == "upgrade":
        return upgrade(wire)
    if what == "silent":
        wait_gone(wire)
        raise Gone
    if what == "half":
        return half(wire, False)
    body = b"".join(wire.body(fields))
    if hushed.is_set():
        wait_gone(wire)
        raise Gone
    if what == "healthz":
        last_probe.update(path=path, fields=fields)
    if what == "request":
        tell(wire, {"method": method, "path": path, "fields": fields, "body": body.decode("latin-1")})
    elif what == "look":
        tell(wire, look())
    elif what == "file":
        wire.answer(text_of("/" + "/".join(words[1:])).encode())
    elif what == "digest":
        wire.answer(digest_of("/" + "/".join(words[1:])).encode())
    elif what == "state":
        tell(wire, {**state, "instance": os.environ["HOSTNAME"], "pid": os.getpid()})
    elif what == "sleep":
        time.sleep(numbers[0] / 1000)
        wire.answer(os.environ["HOSTNAME"].encode())
    elif what == "overlap":
        overlap(wire, numbers[0])
    elif what == "drip":
        drip(wire, *numbers)
    elif what == "big":
        big(wire, numbers[0])
    elif what == "status":
        wire.answer(b"as asked", numbers[0])
    elif what == "print":
        print("/".join(words[1:]), flush=True)
        wire.answer(b"printed")
    elif what == "exit":
        os._exit(numbers[0])
    elif what == "halfexit":
        half(wire, True)
    elif what == "nonsense":
        wire.send(b"this is no HTTP\r\n\r\n")
        raise Gone
    elif what == "eat":
        for _ in range(numbers[0]):
            ballast.append(bytearray(os.urandom(1 << 20)))
        wire.answer(b"eaten")
    elif what == "fill":
        tell(wire, fill("/" + words[1], int(words[2])))
    elif what == "lastprobe":
        tell(wire, last_probe)
    elif what == "redirect":
        wire.answer(b"elsewhere", 302, fields="Location: %s\r\n" % (
            path if words[1] == "circle" else path.removeprefix("/redirect")))
    elif what == "touch":
        open("/" + "/".join(words[1:]), "ab").close()
        wire.answer(b"touched")
    elif what == "hush":
        wire.answer(b"hushed")
        hushed.set()
    elif what == "healthz":
        if healthy.is_set():
            wire.answer(b"well")
        else:
            wire.answer(b"not yet", 503)
    elif what == "sicken":
        healthy.clear()
        if numbers:  # well again after so many milliseconds
            threading.Timer(numbers[0] / 1000, healthy.set).start()
        wire.answer(b"sick")
    else:
        wire.answer(b"ok\n")


def serve(s):
    wire = Wire(s)
    try:
        while True:
            method, path, fields = wire.head()
            if any(k.lower() == "expect" for k, _ in fields):
                wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            handle(wire, method, path, fields)
            with lock:
                state["served"] += 1
    except (Gone, OSError):
        pass
    finally:
        s.close()


def tell_phases(fd):
    os.write(fd, b"model_load begin\n")
    time.sleep(0.03)
    os.write(fd, b"model_load end bytes=12345\nwarmup begin\n")


def drain(*_):
    """Ends as most functions do, whatever is in flight; that nothing is, is hob's part."""
    print("told to end", flush=True)
    draining.set()


def main():
    signal.signal(signal.SIGTERM, drain)
    if os.environ.get("MODE") == "fail":
        sys.exit(7)
    time.sleep(int(os.environ.get("DELAY_MS", "0")) / 1000)
    if "PHASES" in os.environ:
        tell_phases(int(os.environ["HOB_PHASES_FD"]))
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("0.0.0.0", int(os.environ["PORT"])))
    s.listen(int(os.environ.get("BACKLOG", "128")))
    threading.Timer(int(os.environ.get("HEALTHY_MS", "0")) / 1000, healthy.set).start()
    print("listening", flush=True)
    s.settimeout(0.05)
    while not draining.is_set():
        try:
            connection, _ = s.accept()
        except TimeoutError:
            continue
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with lock:
            state["accepted"] += 1
        threading.Thread(target=serve, args=(connection,), daemon=True).start()
    s.close()
    time.sleep(int(os.environ.get("LINGER_MS", "0")) / 1000)


main()
