"""summariser: one sentence about the findings it is sent; counts how often each Idempotency-Key was seen.

POST / {"findings": [{"id", "section"}]} answers {"summary"}; GET /calls answers {key: times}. The count lives as long as this instance.
Refuses with 400 what has no key or is no such JSON.
"""
import collections
import http.server
import json
import os
import threading

BODY_BYTES_MAX, KEYS_MAX = 1 << 20, 4096
seen, lock = collections.Counter(), threading.Lock()


def summary(findings):
    sections = collections.Counter(f["section"] for f in findings)
    return f"{len(findings)} findings: " + ", ".join(f"{n} {s}" for s, n in sorted(sections.items(), key=lambda p: (-p[1], p[0])))


class Summariser(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, tree):
        body = json.dumps(tree).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        with lock:
            self.answer(200, dict(seen))

    def do_POST(self):
        size = int(self.headers.get("Content-Length", 0))
        if size > BODY_BYTES_MAX:
            self.close_connection = True
            return self.answer(413, {"detail": f"the body is larger than {BODY_BYTES_MAX} bytes"})
        body, key = self.rfile.read(size), self.headers.get("Idempotency-Key", "").strip('"')
        try:
            text = summary(json.loads(body)["findings"])
        except (ValueError, KeyError, TypeError):
            return self.answer(400, {"detail": 'the body is not {"findings": [{"id", "section"}]}'})
        with lock:
            if not key or (key not in seen and len(seen) >= KEYS_MAX):
                return self.answer(400, {"detail": "no Idempotency-Key, or too many different ones"})
            seen[key] += 1
        self.answer(200, {"summary": text})

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), Summariser).serve_forever()
