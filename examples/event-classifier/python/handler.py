"""event-classifier in Python's standard library: names the archive section of a described package.

Receives POST / with one event or a batch (plain JSON, or CloudEvents 1.0: structured, batched or
binary), and GET /healthz. Answers the section with its three best scores, all of them integers, so
that the C implementation beside this one answers the same bytes. Refuses, with a 4xx and a reason,
whatever it cannot read whole. One thread: the work is arithmetic, and a second thread would wait.

Cold starts are what this example is looked at for, so it imports only modules written in C: `json`,
`socket`, `signal` and `re` together take longer to import than everything else here. Weights are
mapped, not read: an event touches about forty rows of 128 bytes in a file of 32 MiB.
"""

import mmap
import posix
import sys
from _json import encode_basestring as quote, make_scanner
from _signal import SIGINT, SIGTERM, set_wakeup_fd, signal
from _socket import (AF_INET, IPPROTO_TCP, SO_REUSEADDR, SOCK_NONBLOCK, SOCK_STREAM, SOL_SOCKET,
                     TCP_NODELAY, socket)
from select import EPOLLIN, EPOLLOUT, epoll
from time import monotonic
from zlib import crc32

MODEL = "/model/model.bin"
HEAD_BYTES_MAX = 16384
BODY_BYTES_MAX = 1 << 20
CHUNK_LINE_BYTES_MAX = 256
EVENTS_MAX = 1024       # of one batch
TEXT_BYTES_MAX = 16384  # of one event; keeps every sum of weights far inside 32 bits
ID_BYTES_MAX = 256
DEPTH_MAX = 64
CONNECTIONS_MAX = 256
IDLE_S = 90             # longer than any gateway keeps an idle connection
DRAIN_S = 10            # for requests that have begun to arrive when SIGTERM comes
DRAIN_SILENT_S = 1      # for connections that have not said anything yet

# ---- the model: hashed words and pairs of words, one row of weights each -------------------------

# Letters and digits of ASCII (folded to lower case), + and #, and every byte of what is not ASCII.
FOLD = bytes(b + 32 if 65 <= b <= 90 else b if b >= 128 or 97 <= b <= 122 or 48 <= b <= 57
             or b in b"+#" else 32 for b in range(256))
BIAS, EDGE = crc32(b"bias"), crc32(b"^")
NAME, NAME_HEAD, NAME_TAIL = crc32(b"@"), crc32(b"<"), crc32(b">")


def hashes(text):
    """The 32-bit hashes of what `text` (bytes) consists of; repeated words count each time.

    Text of the form "name - synopsis", as apt-cache search prints it, also gives the name's words
    a second meaning of their own.
    """
    found = [BIAS]
    before = EDGE
    for word in text.translate(FOLD).split():
        found.append(crc32(word, crc32(b" ", before)))
        before = crc32(word)
        found.append(before)
    found.append(crc32(b" $", before))
    name, dash, _ = text.partition(b" - ")
    words = name.translate(FOLD).split() if dash else ()
    if words:
        found += [crc32(word, NAME) for word in words]
        found.append(crc32(words[0][:4], NAME_HEAD))
        found.append(crc32(words[-1], NAME_TAIL))
    return found


class Model:
    """Weights mapped from a file (its format: ../README.md). Raises ValueError when it is not one."""

    def __init__(self, path):
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
        try:
            self.size = posix.fstat(fd).st_size
            if self.size < 4096:
                raise ValueError(f"{path}: too short for a header")
            data = memoryview(mmap.mmap(fd, self.size, mmap.MAP_SHARED, mmap.PROT_READ))
        finally:
            posix.close(fd)
        version, head, buckets, classes, stride, labels = data[8:32].cast("I")
        if bytes(data[:8]) != b"evclass\0" or version != 1 or sys.byteorder != "little":
            raise ValueError(f"{path}: not event-classifier weights of version 1")
        if (head != 4096 or not 0 < buckets <= 1 << 24 or buckets & buckets - 1 or labels > 4000
                or not 0 < classes <= stride <= 1024 or self.size != head + buckets * stride * 2):
            raise ValueError(f"{path}: the header does not fit the file")
        names = bytes(data[64:64 + labels]).split(b"\n")
        if len(names) != classes or not all(n.replace(b"-", b"a").isalnum() for n in names):
            raise ValueError(f"{path}: the labels are not {classes} words")
        self.labels = [name.decode("ascii") for name in names]
        self.weights = data[head:].cast("h")
        self.mask, self.stride, self.classes = buckets - 1, stride, classes

    def scores(self, text):
        weights, mask, stride, classes = self.weights, self.mask, self.stride, self.classes
        starts = [(h & mask) * stride for h in hashes(text)]
        return list(map(sum, zip(*[weights[at:at + classes] for at in starts])))

    def best(self, text):
        """The three best as (label, score); equal scores in the order of the labels."""
        scores = self.scores(text)
        order = sorted(range(self.classes), key=scores.__getitem__, reverse=True)[:3]
        return [(self.labels[i], scores[i]) for i in order]


# ---- events --------------------------------------------------------------------------------------


class Refused(Exception):
    def __init__(self, status, why):
        self.status, self.why = status, why


def constant(name):
    raise ValueError(name)  # NaN and Infinity are not JSON


class scan_as:
    strict, object_hook, object_pairs_hook, memo = True, None, None, {}
    parse_float = parse_int = float
    parse_constant = constant


scan = make_scanner(scan_as)


def too_deep(value, left):
    if type(value) is dict:
        value = value.values()
    elif type(value) is not list:
        return False
    return left == 0 or any(too_deep(v, left - 1) for v in value)


def parse(body):
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise Refused(400, "body is not UTF-8") from None
    try:
        start = len(text) - len(text.lstrip(" \t\r\n"))
        value, end = scan(text, start)
        if text[end:].strip(" \t\r\n"):
            raise ValueError
    except (ValueError, StopIteration, SystemError):
        # SystemError: where `json` was never imported, the scanner finds no JSONDecodeError to raise.
        raise Refused(400, "body is not JSON") from None
    except RecursionError:
        raise Refused(400, "body is nested too deeply") from None
    if too_deep(value, DEPTH_MAX):
        raise Refused(400, "body is nested too deeply")
    return value


def member(event, key, where, bytes_max):
    value = event.get(key)
    if type(value) is not str or not value:
        raise Refused(400, f"{where}: {key} is not a string, or empty")
    try:
        raw = value.encode()
    except UnicodeEncodeError:
        raise Refused(400, f"{where}: {key} holds half a surrogate pair") from None
    if len(raw) > bytes_max:
        raise Refused(400, f"{where}: {key} is longer than {bytes_max} bytes")
    return raw


def classify(model, event, where, kind, ce_id=None):
    """The answer to one event as JSON text. kind: "plain", "cloud", or "binary" with its id."""
    if type(event) is not dict:
        raise Refused(400, f"{where}: not an object")
    name = ce_id or member(event, "id", where, ID_BYTES_MAX).decode()
    if kind == "cloud":
        if event.get("specversion") != "1.0":
            raise Refused(400, f"{where}: specversion is not 1.0")
        member(event, "source", where, TEXT_BYTES_MAX)
        member(event, "type", where, TEXT_BYTES_MAX)
        event = event.get("data")
        if type(event) is not dict:
            raise Refused(400, f"{where}: data is not an object")
    best = model.best(member(event, "text", where, TEXT_BYTES_MAX))
    top = ",".join([f'{{"section":"{label}","score":{score}}}' for label, score in best])
    answer = f'{{"id":{quote(name)},"section":"{best[0][0]}","top":[{top}]}}'
    if kind == "cloud":
        return (f'{{"specversion":"1.0","id":{quote(name)},"source":"/event-classifier",'
                f'"type":"dev.hob.example.classified","datacontenttype":"application/json",'
                f'"data":{answer}}}')
    return answer


def answer_events(model, headers, body):
    """(content type, extra header lines, body text) for a POST of events."""
    kind = headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind == "application/cloudevents+json":
        return kind, "", classify(model, parse(body), "event", "cloud")
    if kind == "application/cloudevents-batch+json":
        batch, plain = parse(body), "cloud"
        if type(batch) is not list:
            raise Refused(400, "body is not an array")
    elif kind != "application/json":
        raise Refused(415, "content type is none of application/json, "
                           "application/cloudevents+json, application/cloudevents-batch+json")
    elif "ce-specversion" in headers:
        name = headers.get("ce-id", "")
        if headers["ce-specversion"] != "1.0" or not 0 < len(name) <= ID_BYTES_MAX \
                or not name.isascii():
            raise Refused(400, "event: ce-specversion is not 1.0, or ce-id is missing or too long")
        extra = (f"ce-specversion: 1.0\r\nce-id: {name}\r\nce-source: /event-classifier\r\n"
                 "ce-type: dev.hob.example.classified\r\n")
        return kind, extra, classify(model, parse(body), "event", "binary", name)
    else:
        batch, plain = parse(body), "plain"
        if type(batch) is not list:
            return kind, "", classify(model, batch, "event", "plain")
    if len(batch) > EVENTS_MAX:
        raise Refused(400, f"batch of more than {EVENTS_MAX} events")
    return kind, "", "[" + ",".join([classify(model, event, f"event {i}", plain)
                                     for i, event in enumerate(batch)]) + "]"


# ---- HTTP/1.1 ------------------------------------------------------------------------------------

REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed",
           413: "Content Too Large", 415: "Unsupported Media Type",
           431: "Request Header Fields Too Large", 501: "Not Implemented",
           505: "HTTP Version Not Supported"}
TOKEN = set(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def response(status, kind, text, extra="", keep=True):
    body = text.encode()
    end = "" if keep else "Connection: close\r\n"
    return (f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {len(body)}\r\n{extra}{end}\r\n").encode("latin-1") + body


def problem(status, why, keep):
    extra = "Allow: POST\r\n" if status == 405 else ""
    text = f'{{"title":{quote(REASONS[status])},"status":{status},"detail":{quote(why)}}}'
    return response(status, "application/problem+json", text, extra, keep)


def parse_head(raw):
    """(method, path, headers, content length or None for chunked, keep alive)"""
    lines = raw.decode("latin-1").split("\r\n")
    first = lines[0].split(" ")
    if len(first) != 3 or not (first[0].isascii() and first[0].isalpha()) or not first[1].startswith("/"):
        raise Refused(400, "request line is not one of HTTP/1.1")
    if first[2] not in ("HTTP/1.1", "HTTP/1.0"):
        raise Refused(505, "only HTTP/1.1 is spoken here")
    headers = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        value = value.strip(" \t")
        if not colon or not name or not TOKEN.issuperset(name.encode("latin-1")) \
                or any(c < " " and c != "\t" or c == "\x7f" for c in value):
            raise Refused(400, "malformed header field")
        name = name.lower()
        if name in headers and name in ("content-length", "transfer-encoding", "host", "ce-id",
                                        "ce-specversion", "content-type"):
            raise Refused(400, f"more than one {name}")
        headers[name] = value
    length = headers.get("content-length")
    if "transfer-encoding" in headers:
        if length is not None or first[2] == "HTTP/1.0":
            raise Refused(400, "transfer-encoding has no place in this request")
        if headers["transfer-encoding"].lower() != "chunked":
            raise Refused(501, "transfer-encoding is not chunked")
        length = None
    elif length is None:
        length = 0
    elif not (length.isascii() and length.isdigit()):
        raise Refused(400, "content-length is not a number")
    elif len(length) > 15 or int(length) > BODY_BYTES_MAX:
        raise Refused(413, f"body is larger than {BODY_BYTES_MAX} bytes")
    else:
        length = int(length)
    wish = headers.get("connection", "").lower()
    keep = "close" not in wish and (first[2] == "HTTP/1.1" or "keep-alive" in wish)
    return first[0], first[1].partition("?")[0], headers, length, keep


class Connection:
    """Bytes in, bytes out; at most one request is worked on, the others wait in `inbox`."""

    def __init__(self, fd, now):
        self.fd, self.since = fd, now
        self.inbox, self.outbox = bytearray(), b""
        self.request = None   # the parsed head while its body arrives
        self.body = bytearray()
        self.chunk_left = -1  # of the current chunk with its line end; -1: a size line comes next
        self.trailers = False
        self.used = self.last = self.over = False

    def turn(self, model, draining):
        """Works on what has arrived; True when an answer is ready."""
        if self.over:
            self.inbox.clear()
            return False
        try:
            if self.request is None and not self.take_head():
                return False
            if not self.take_body():
                return False
            method, path, headers, _, keep = self.request
            self.last = not keep or draining
            self.outbox = self.serve(model, method, path, headers)
        except Refused as why:
            # After a request that could not be read to its end, nothing says where the next begins.
            self.last = True
            self.outbox = problem(why.status, why.why, False)
        self.used, self.request, self.body = True, None, bytearray()
        self.chunk_left, self.trailers = -1, False
        return True

    def serve(self, model, method, path, headers):
        if path == "/healthz" and method in ("GET", "HEAD"):
            text = response(200, "text/plain", "ok\n", keep=not self.last)
            return text if method == "GET" else text[:-3]
        try:
            if path != "/":
                raise Refused(404, "there is only / and /healthz")
            if method != "POST":
                raise Refused(405, "events come by POST")
            kind, extra, text = answer_events(model, headers, self.body)
            return response(200, kind, text, extra, not self.last)
        except Refused as why:
            return problem(why.status, why.why, not self.last)

    def take_head(self):
        while self.inbox.startswith(b"\r\n"):  # RFC 9112 2.2: an empty line before a request
            del self.inbox[:2]
        end = self.inbox.find(b"\r\n\r\n", 0, HEAD_BYTES_MAX)
        if end < 0:
            if len(self.inbox) >= HEAD_BYTES_MAX:
                raise Refused(431, f"head is larger than {HEAD_BYTES_MAX} bytes")
            return False
        self.request = parse_head(bytes(self.inbox[:end]))
        del self.inbox[:end + 4]
        if self.request[2].get("expect", "").lower() == "100-continue":
            try:
                posix.write(self.fd, b"HTTP/1.1 100 Continue\r\n\r\n")
            except OSError:
                pass  # who does not read it has to send the body without
        return True

    def take_body(self):
        length = self.request[3]
        if length is not None:
            if len(self.inbox) < length:
                return False
            self.body = self.inbox[:length]
            del self.inbox[:length]
            return True
        at, done = 0, False
        while not done:
            at, moved, done = self.take_chunk(at)
            if not moved:
                break
        del self.inbox[:at]  # once per turn: cutting after every chunk would be quadratic
        return done

    def take_chunk(self, at):
        """One step from `at` on: (where it got to, whether it got anywhere, whether all is there)"""
        inbox = self.inbox
        if self.chunk_left > 0:
            part = min(self.chunk_left, len(inbox) - at)
            data = max(0, min(part, self.chunk_left - 2))
            self.body += inbox[at:at + data]
            for i in range(data, part):  # the line end, as far as it is there
                if inbox[at + i] != b"\n\r"[self.chunk_left - i - 1]:
                    raise Refused(400, "chunk does not end where it said")
            self.chunk_left -= part
            if self.chunk_left == 0:
                self.chunk_left = -1
            return at + part, part > 0, False
        end = inbox.find(b"\r\n", at, at + CHUNK_LINE_BYTES_MAX)
        if end < 0:
            if len(inbox) - at >= CHUNK_LINE_BYTES_MAX:
                raise Refused(400, "chunk size line is too long")
            return at, False, False
        line = bytes(inbox[at:end])
        if self.trailers:
            return end + 2, True, not line  # trailer fields are read and dropped
        size = line.partition(b";")[0].rstrip(b" \t")
        if not 0 < len(size) <= 8 or not all(c in b"0123456789abcdefABCDEF" for c in size):
            raise Refused(400, "chunk size is not a number")
        size = int(size, 16)
        if len(self.body) + size > BODY_BYTES_MAX:
            raise Refused(413, f"body is larger than {BODY_BYTES_MAX} bytes")
        self.trailers = size == 0
        self.chunk_left = size + 2 if size else -1
        return end + 2, True, False


class Server:
    def __init__(self, model, port):
        self.model, self.connections, self.draining = model, {}, False
        self.waker, wake = posix.pipe2(posix.O_CLOEXEC | posix.O_NONBLOCK)
        for number in (SIGTERM, SIGINT):
            signal(number, lambda *_: None)
        set_wakeup_fd(wake)
        self.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK)
        self.listener.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        # Inherited by what accept() returns, which saves a call per connection.
        self.listener.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        self.listener.bind(("0.0.0.0", port))
        self.listener.listen(CONNECTIONS_MAX)
        self.poll = epoll()
        self.poll.register(self.waker, EPOLLIN)
        self.poll.register(self.listener.fileno(), EPOLLIN)

    def accept(self):
        while len(self.connections) < CONNECTIONS_MAX:
            try:
                fd, _ = self.listener._accept()
            except BlockingIOError:
                return
            except OSError:
                return  # it left before it was taken, or descriptors ran out: the next turn tries
            posix.set_blocking(fd, False)
            self.connections[fd] = Connection(fd, monotonic())
            self.poll.register(fd, EPOLLIN)
        self.poll.modify(self.listener.fileno(), 0)

    def close(self, c):
        del self.connections[c.fd]
        posix.close(c.fd)
        if not self.draining and len(self.connections) == CONNECTIONS_MAX - 1:
            self.poll.modify(self.listener.fileno(), EPOLLIN)

    def pump(self, c, readable):
        """Moves one connection as far as it goes without waiting."""
        try:
            if readable:
                data = posix.read(c.fd, 65536)
                if not data:
                    return self.close(c)
                c.inbox += data
                c.since = monotonic()
        except BlockingIOError:
            pass
        except OSError:
            return self.close(c)
        while c.outbox or c.turn(self.model, self.draining):
            try:
                sent = posix.write(c.fd, c.outbox)
            except BlockingIOError:
                sent = 0
            except OSError:
                return self.close(c)
            c.outbox = c.outbox[sent:]
            if c.outbox:
                return self.poll.modify(c.fd, EPOLLOUT)
            if c.last:
                return self.end(c)
        self.poll.modify(c.fd, EPOLLIN)

    def end(self, c):
        # Closing with unread bytes would reset the connection and could destroy the answer: say
        # the end first, then take what still comes until the client closes (or the sweep does).
        try:
            socket(fileno=posix.dup(c.fd)).shutdown(1)
            while posix.read(c.fd, 65536):
                pass
        except BlockingIOError:
            c.over = True
            return self.poll.modify(c.fd, EPOLLIN)
        except OSError:
            pass
        self.close(c)

    def drain(self):
        """What has been accepted or sent by now is answered; then the connections close."""
        self.accept()
        self.listener.close()
        self.draining = monotonic()
        for c in list(self.connections.values()):
            self.pump(c, not c.outbox)
            if c.fd in self.connections and c.used and not (c.inbox or c.outbox or c.request):
                self.close(c)

    def sweep(self):
        """Closes what has been silent too long; True when draining is over."""
        now = monotonic()
        for c in list(self.connections.values()):
            begun = c.inbox or c.outbox or c.request
            if now - c.since > IDLE_S or (self.draining and not begun
                                          and now - self.draining > DRAIN_SILENT_S):
                self.close(c)
        return self.draining and (not self.connections or now - self.draining > DRAIN_S)

    def run(self):
        while True:
            some = self.poll.poll(0.1 if self.draining else 5 if self.connections else -1)
            for fd, event in some:
                if fd == self.waker:
                    posix.read(self.waker, 64)
                    if not self.draining:
                        self.drain()
                    else:
                        return
                elif c := self.connections.get(fd):
                    self.pump(c, event & ~EPOLLOUT)
                elif not self.draining and fd == self.listener.fileno():
                    self.accept()
            if (self.draining or not some) and self.sweep():
                return


def phase(line):
    """Tells the runtime what this start spends its time on (docs/decisions/0004)."""
    fd = posix.environ.get(b"HOB_PHASES_FD", b"")
    if fd.isdigit():
        try:
            posix.write(int(fd), line.encode() + b"\n")
        except OSError:
            pass  # nobody listens: no reason not to serve


def main():
    port = posix.environ.get(b"PORT", b"8080")
    path = posix.environ.get(b"MODEL", MODEL.encode()).decode()
    try:
        phase("model_load begin")
        model = Model(path)
        phase(f"model_load end bytes={model.size}")
        server = Server(model, int(port))
    except (OSError, ValueError) as why:
        posix.write(2, f"event-classifier: {why}\n".encode())
        posix._exit(1)
    server.run()
    posix._exit(0)  # nothing is left to tidy that the kernel would not


if __name__ == "__main__":
    main()
