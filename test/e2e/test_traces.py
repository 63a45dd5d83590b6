"""Traces: W3C's headers in and out, spans to a collector, and the way back from a trace to its records."""
import http.server
import json
import os
import re
import signal
import subprocess
import threading
import time
import unittest

import harness
from harness import Hob, HobCase, service

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
HEX = "[0-9a-f]"


def fields(tree, name):
    return [v for k, v in tree["fields"] if k.lower() == name.lower()]


class Headers(HobCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.hob.deploy("f")

    def sent(self, *pairs):
        """What the function gets of these fields: (traceparent, tracestate, the invocation's id)."""
        with self.hob.wire() as w:
            w.send(f"GET /request HTTP/1.1\r\nHost: {self.hob.host('f')}\r\n"
                   + "".join(f"{k}: {v}\r\n" for k, v in pairs) + "\r\n")
            status, headers, body = w.answer()
        self.assertEqual(status, 200, body)
        tree = json.loads(body)
        parents = fields(tree, "traceparent")
        self.assertEqual(len(parents), 1, parents)
        self.assertRegex(parents[0], f"^00-{HEX}{{32}}-{HEX}{{16}}-{HEX}{{2}}$")
        return parents[0], fields(tree, "tracestate"), headers["Hob-Invocation-Id"]

    def test_a_callers_trace_goes_on_with_a_span_of_hobs(self):
        spans = set()
        for flags in ("00", "01"):
            for version in ("00", "a7"):
                parent, state, _ = self.sent(("traceparent", f"{version}-{TRACE}-{SPAN}-{flags}"),
                                             ("tracestate", "a=1, b=2"), ("tracestate", "c@d=3"))
                self.assertEqual((parent[:36], parent[-2:]), (f"00-{TRACE}-", flags))
                self.assertEqual(state, ["a=1,b=2,c@d=3"])
                spans.add(parent[36:52])
        self.assertEqual(len(spans), 4)
        self.assertNotIn(SPAN, spans)

    def test_what_is_no_trace_of_w3cs_begins_a_new_one_whose_id_is_the_invocations(self):
        good = f"00-{TRACE}-{SPAN}-01"
        for parents in ([], [f"ff-{TRACE}-{SPAN}-01"], [f"00-{'0' * 32}-{SPAN}-01"], [f"00-{TRACE}-{'0' * 16}-01"],
                        [good.upper()], [good + "-more"], ["garbage"], [""], [good, good]):
            with self.subTest(parents):
                parent, state, invocation = self.sent(*(("traceparent", p) for p in parents), ("tracestate", "a=1"))
                self.assertEqual(parent[3:35], invocation.replace("-", ""))
                self.assertEqual((parent[-2:], state), ("01", []))

    def test_a_tracestate_that_is_not_w3cs_goes_alone(self):
        for state in ("A=1", "a=1,a=2", "a", ",".join(f"k{i}=1" for i in range(33))):
            with self.subTest(state):
                parent, got, _ = self.sent(("traceparent", f"00-{TRACE}-{SPAN}-01"), ("tracestate", state))
                self.assertEqual((parent[3:35], got), (TRACE, []))

    def test_a_trace_explains_every_invocation_of_it_and_the_id_finds_the_same(self):
        trace = "00000000000000000000000000c0ffee"
        ids = [self.sent(("traceparent", f"00-{trace}-{SPAN}-01"))[2] for _ in range(2)]
        self.hob.invocation(ids[1])
        status, out, err = self.hob.hob("explain", trace)
        self.assertEqual((status, err), (0, ""))
        self.assertEqual([out.count(i) for i in ids], [1, 1], out)
        self.assertLess(out.index(ids[0]), out.index(ids[1]))
        own = self.sent()[2]
        self.hob.invocation(own)
        self.assertEqual(self.hob.hob("explain", own.replace("-", ""))[:2], self.hob.hob("explain", own)[:2])
        status, _, err = self.hob.hob("explain", "f" * 32)
        self.assertIn("no invocation of it is on record", err)
        self.assertEqual(self.hob.call("GET", "/v1/invocations?trace=xyz")[0], 400)


class Sampling(HobCase):
    LIMITS = {"trace_sample_ppm": 0}

    def test_without_samples_the_caller_still_decides(self):
        self.hob.deploy("f")
        for parent, flags in ((None, "00"), (f"00-{TRACE}-{SPAN}-01", "01"), (f"00-{TRACE}-{SPAN}-00", "00")):
            tree = self.hob.tree("f", "/request", headers={"traceparent": parent} if parent else {})
            self.assertEqual(fields(tree, "traceparent")[0][-2:], flags)


# What the OTLP specification says of an ExportTraceServiceRequest in JSON: fields and their types.
ID16, ID8, NANOS = f"^{HEX}{{32}}$", f"^{HEX}{{16}}$", r"^\d+$"
SPAN_FIELDS = {"traceId": ID16, "spanId": ID8, "parentSpanId": ID8, "traceState": "", "name": ".", "kind": int, "flags": int,
               "startTimeUnixNano": NANOS, "endTimeUnixNano": NANOS, "attributes": list, "status": dict}
VALUES = {"stringValue": str, "intValue": str, "boolValue": bool}


class Collector:
    """A collector on loopback. Each request is checked against the specification; `answers` are given first."""

    def __init__(self, port=0):
        self.spans, self.headers, self.bodies, self.wrong, self.paths = [], [], [], [], []
        self.answers, self.times = [], []
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, headers = collector.take(self.path, dict(self.headers), body)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                answer = b"{}"
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def take(self, path, headers, body):
        self.times.append(time.monotonic())
        self.paths.append(path)
        self.headers.append(headers)
        self.bodies.append(body)
        if self.answers:
            return self.answers.pop(0)
        try:
            self.spans += self.check(json.loads(body))
        except Exception as e:  # pylint: disable=broad-except
            self.wrong.append(f"{type(e).__name__}: {e}")
        return 200, {}

    @staticmethod
    def attributes(listed):
        found = {}
        for a in listed:
            assert set(a) == {"key", "value"} and isinstance(a["key"], str) and len(a["value"]) == 1, a
            (kind, value), = a["value"].items()
            assert isinstance(value, VALUES[kind]), a
            assert a["key"] not in found, a["key"]
            found[a["key"]] = int(value) if kind == "intValue" else value
        return found

    def check(self, tree):
        assert set(tree) == {"resourceSpans"}, set(tree)
        spans = []
        for resource in tree["resourceSpans"]:
            assert set(resource) == {"resource", "scopeSpans"}, set(resource)
            self.resource = self.attributes(resource["resource"]["attributes"])
            assert self.resource["service.name"]
            for scope in resource["scopeSpans"]:
                assert set(scope) == {"scope", "spans"} and scope["scope"]["name"] == "hob"
                assert scope["spans"]
                spans += [self.span(s) for s in scope["spans"]]
        return spans

    def span(self, span):
        for field, value in span.items():
            want = SPAN_FIELDS[field]  # KeyError: a field that OTLP does not have
            if isinstance(want, str):
                assert isinstance(value, str) and re.search(want, value), (field, value)
            else:
                assert isinstance(value, want) and not isinstance(value, bool), (field, value)
        assert {"traceId", "spanId", "name", "kind", "startTimeUnixNano", "endTimeUnixNano"} <= set(span)
        assert span["kind"] in (1, 2, 3) and span["flags"] < 1 << 32
        assert int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"])
        assert span["traceId"].strip("0") and span["spanId"].strip("0")
        if "status" in span:
            assert set(span["status"]) <= {"code", "message"} and span["status"]["code"] in (0, 1, 2), span["status"]
        return {**span, "attributes": self.attributes(span["attributes"])}

    def of(self, trace):
        return [s for s in self.spans if s["traceId"] == trace]


class Export(unittest.TestCase):
    LIMITS = {"trace_batch_ms": 20}

    def trace(self, hob, collector, answer, count=3):
        """The spans of the trace that this answer's invocation began, {name: span}, once there are so many."""
        trace = answer[1]["Hob-Invocation-Id"].replace("-", "")
        hob.wait_for(f"{count} spans of {trace}; wrong: {collector.wrong}", lambda: len(collector.of(trace)) >= count)
        self.assertEqual(collector.wrong, [])
        spans = collector.of(trace)
        self.assertEqual(len({s["spanId"] for s in spans}), len(spans))
        return {s["name"]: s for s in spans}

    def test_a_cold_request_is_a_trace_with_every_phase_of_its_start(self):
        env = {"OTEL_SERVICE_NAME": "the shop", "OTEL_EXPORTER_OTLP_HEADERS": "api-key=s%65cret,x-tenant=a b"}
        with Collector() as collector, Hob("--otlp-endpoint", collector.url, limits=self.LIMITS, env=env) as hob:
            hob.deploy("f", annotations={"initial-scale": 0})
            before = time.time_ns()
            cold = hob.ingress("f", path="/request?token=hidden", headers={"User-Agent": "probe/1", "Cookie": "hidden"})
            after = time.time_ns()
            self.assertEqual(cold[0], 200)
            record = hob.invocation(cold[1]["Hob-Invocation-Id"])
            phases = [p for p in record["start"]["phases"]
                      if p["outcome"] in ("done", "warm", "failed") and p["name"] not in ("queue", "first_request_delta")]
            self.assertGreater(len(phases), 4)
            spans = self.trace(hob, collector, cold, 3 + len(phases))
            self.assertEqual(set(spans), {"GET default/f", "hob.queue", "GET"} | {f"hob.start.{p['name']}" for p in phases})
            server, call = spans["GET default/f"], spans["GET"]
            self.assertEqual((server["kind"], call["kind"], spans["hob.queue"]["kind"]), (2, 3, 1))
            self.assertNotIn("parentSpanId", server)
            for name, span in spans.items():
                if span is not server:
                    self.assertEqual(span["parentSpanId"], server["spanId"], name)
            parent = fields(json.loads(cold[2]), "traceparent")[0]
            self.assertEqual(parent, f"00-{server['traceId']}-{call['spanId']}-01")
            wanted = {"http.request.method": "GET", "url.path": "/request", "http.response.status_code": 200,
                      "server.address": "f.default.localhost", "faas.name": "f", "faas.version": "f-00001",
                      "faas.coldstart": True, "faas.trigger": "http", "k8s.namespace.name": "default",
                      "faas.invocation_id": record["id"], "faas.instance": record["instance"],
                      "user_agent.original": "probe/1", "client.address": "127.0.0.1", "hob.outcome": "ok"}
            self.assertEqual({k: server["attributes"].get(k) for k in wanted}, wanted)
            slack = 2_000_000  # the wall clock is read in whole milliseconds
            self.assertGreater(int(server["startTimeUnixNano"]), before - slack)
            self.assertLess(int(server["endTimeUnixNano"]), after + slack)
            at = int(server["startTimeUnixNano"]) // 1000
            self.assertEqual(int(call["startTimeUnixNano"]) // 1000 - at, record["dispatchUs"])
            for p in phases:
                span = spans[f"hob.start.{p['name']}"]
                self.assertEqual((int(span["endTimeUnixNano"]) - int(span["startTimeUnixNano"])) // 1000, p.get("durationUs", 0))
                self.assertEqual(span["attributes"]["hob.phase.outcome"], p["outcome"])
            self.assertEqual(collector.paths[0], "/v1/traces")
            self.assertEqual({k: collector.headers[0].get(k) for k in ("Content-Type", "api-key", "x-tenant")},
                             {"Content-Type": "application/json", "api-key": "secret", "x-tenant": "a b"})
            self.assertEqual(collector.resource["service.name"], "the shop")
            for body in collector.bodies:
                self.assertNotIn(b"hidden", body)
            warm = hob.ingress("f", headers={"traceparent": f"00-{TRACE}-{SPAN}-01"})
            self.assertEqual(warm[0], 200)
            hob.wait_for("the caller's trace", lambda: len(collector.of(TRACE)) == 3)
            server = next(s for s in collector.of(TRACE) if s["kind"] == 2)
            self.assertEqual((server["parentSpanId"], server["flags"]), (SPAN, 0x301))
            hob.wait_for("the count", lambda: hob.metric("hob_trace_spans_sent_total") == len(collector.spans))
            for role in hob.roles().values():  # the key is the fetcher's business alone
                with open(f"/proc/{role}/cmdline", "rb") as f:
                    self.assertNotIn(b"secret", f.read())
            with open(f"/proc/{hob.roles()['node']}/environ", "rb") as f:
                self.assertNotIn(b"secret", f.read())

    def test_what_is_not_sampled_is_not_sent_and_refusals_are(self):
        with Collector() as collector, Hob("--trace-sample", "0", limits=self.LIMITS,
                                           env={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url + "/"}) as hob:
            hob.deploy("f")
            for flags in ("00", "01"):
                hob.ingress("f", headers={"traceparent": f"00-{flags}{TRACE[2:]}-{SPAN}-{flags}"})
            hob.ingress("f")
            late = hob.ingress("f", headers={"traceparent": f"00-{TRACE}-{SPAN}-01", "Hob-Hops": "99"})
            self.assertEqual(late[0], 508)
            hob.wait_for("the last", lambda: collector.of(TRACE))
            self.assertEqual(collector.wrong, [])
            self.assertEqual({s["traceId"] for s in collector.spans}, {"01" + TRACE[2:], TRACE})
            server = next(s for s in collector.of(TRACE) if s["kind"] == 2)
            self.assertEqual((server["attributes"]["error.type"], server["status"]["code"]), ("508", 2))

    def test_a_collector_that_is_busy_gets_the_same_batch_after_the_pause_it_asks_for(self):
        with Collector() as collector, Hob("--otlp-endpoint", collector.url, limits=self.LIMITS) as hob:
            hob.deploy("f")
            collector.answers = [(503, {"Retry-After": "1"})]
            self.trace(hob, collector, hob.ingress("f"))
            self.assertEqual(collector.bodies[0], collector.bodies[1])
            self.assertGreater(collector.times[1] - collector.times[0], 0.9)
            self.assertEqual(hob.metric("hob_trace_retries_total"), 1)
            collector.answers = [(400, {})]
            hob.ingress("f")
            hob.wait_for("a refusal", lambda: hob.metric("hob_trace_spans_dropped_total") == 3)
            self.assertIn("traces.not_taken status=400", hob.log())
            self.trace(hob, collector, hob.ingress("f"))
            self.assertIn("traces.taken_again", hob.log())

    def test_without_a_collector_requests_go_on_and_spans_are_bounded_and_counted(self):
        nobody, port = harness.reserve_port()
        self.addCleanup(nobody.close)
        url = f"http://127.0.0.1:{port}"
        limits = {"trace_batch_ms": 10, "trace_batch_bytes": 65536, "trace_held_bytes_max": 131072, "trace_flush_ms": 100}
        with Hob("--otlp-endpoint", url, limits=limits) as hob:
            hob.deploy("f")
            with hob.wire() as w:
                for _ in range(100):
                    w.send(f"GET / HTTP/1.1\r\nHost: {hob.host('f')}\r\n\r\n")
                    self.assertEqual(w.answer()[0], 200)
            hob.wait_for("drops", lambda: hob.metric("hob_trace_spans_dropped_total"))
            self.assertLessEqual(hob.metric("hob_trace_held_bytes"), 131072)
            self.assertGreater(hob.metric("hob_limit_reached_total", limit="trace_held_bytes_max"), 0)
            hob.wait_for("two tries", lambda: hob.metric("hob_trace_retries_total") >= 2)
            self.assertEqual(hob.log().count("traces.not_taken"), 1)

    def test_a_fetcher_that_dies_loses_no_span(self):
        with Collector() as collector, Hob("--otlp-endpoint", collector.url, limits=self.LIMITS) as hob:
            hob.deploy("f")
            self.trace(hob, collector, hob.ingress("f"))
            hob.kill_role("fetcher")
            self.trace(hob, collector, hob.ingress("f"))

    def test_a_stop_sends_what_is_held(self):
        with Collector() as collector:
            with Hob("--otlp-endpoint", collector.url, limits={"trace_batch_ms": 600000}) as hob:
                hob.deploy("f")
                trace = hob.ingress("f")[1]["Hob-Invocation-Id"].replace("-", "")
                self.assertEqual(collector.spans, [])
            self.assertEqual(len(collector.of(trace)), 3)
            self.assertEqual(collector.wrong, [])

    def test_settings_that_would_not_work_are_refused_and_never_repeat_a_credential(self):
        for words, env, said in ((["--otlp-endpoint", "127.0.0.1:4318"], {}, "--otlp-endpoint"),
                                 (["--trace-sample", "2"], {}, "--trace-sample"),
                                 ([], {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://u:secret@h"}, "OTEL_EXPORTER_OTLP_ENDPOINT"),
                                 ([], {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h", "OTEL_EXPORTER_OTLP_HEADERS": "k secret"},
                                  "OTEL_EXPORTER_OTLP_HEADERS")):
            done = subprocess.run([harness.BINARY, "serve", "--data", "/nonexistent/x", *words], capture_output=True, text=True,
                                  timeout=60, env={**os.environ, **env}, check=False)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn(said, done.stderr)
            self.assertNotIn("secret", done.stderr)


class LastStart(unittest.TestCase):
    def test_a_service_without_a_request_is_explained_by_its_last_start(self):
        with Hob() as hob:
            hob.deploy("f")  # the start that made it ready was nobody's
            status, out, err = hob.hob("explain", "f")
            self.assertEqual((status, err), (0, ""))
            for said in ("the last start", "ready", "runtime_init", "sandbox", "what cost most",
                         "f-00001: no cold request is on record yet"):
                self.assertIn(said, out)
            self.assertNotIn("00000000-0000", out)
            hob.apply(service("g", hob.bundle({"x": "#!/bin/false"}), ["/app/x"]), wait=False)
            hob.wait_for("g to fail", lambda: hob.hob("explain", "g")[0] == 0)
            out = hob.hob("explain", "g")[1]
            self.assertRegex(out, r"the last start +failed in \w+")
            self.assertIn("g-00001: no cold start has served a request yet", out)  # who waited for it was refused
            item = hob.call("GET", "/v1/starts?namespace=default&service=g", want=200)[2]["items"]
            self.assertEqual([(i["revision"], i["start"]["failed"]) for i in item], [("g-00001", True)])
            hob.delete("g")
            hob.wait_for("it to be forgotten", lambda: not hob.call("GET", "/v1/starts?service=g", want=200)[2]["items"])


class RequestLog(unittest.TestCase):
    def lines(self, path):
        with open(path, encoding="utf-8") as f:
            return [json.loads(line) for line in f]

    def test_every_request_is_a_line_and_sighup_opens_the_file_anew(self):
        with Hob() as outer:  # only for a folder that is cleaned up
            path = os.path.join(outer.folder, "requests.log")
            with Hob("--request-log", path) as hob:
                hob.deploy("f")
                sent = {"User-Agent": "probe/2", "Referer": "http://a/b?token=hidden", "Cookie": "hidden",
                        "Authorization": "hidden", "traceparent": f"00-{TRACE}-{SPAN}-00"}
                answer = hob.ingress("f", "POST", "/request?token=hidden", b"12345", sent)
                self.assertEqual(answer[0], 200)
                refused = hob.ingress("f", headers={"Hob-Hops": "99"})
                found = hob.wait_for("two lines", lambda: len(self.lines(path)) == 2 and self.lines(path))
                request, own = found[0]["httpRequest"], found[0]["hob"]
                self.assertRegex(request.pop("latency"), r"^\d+\.\d{6}s$")
                self.assertEqual(request, {"requestMethod": "POST", "requestUrl": "/request", "requestSize": "5", "status": 200,
                                           "responseSize": str(len(answer[2])), "userAgent": "probe/2", "remoteIp": "127.0.0.1",
                                           "serverIp": "", "referer": "http://a/b", "protocol": "HTTP/1.1"})
                self.assertEqual((found[0]["traceId"], own["invocationId"]), (TRACE, answer[1]["Hob-Invocation-Id"]))
                self.assertEqual((own["host"], own["service"], own["outcome"]), ("f.default.localhost", "f", "ok"))
                self.assertEqual((found[1]["httpRequest"]["status"], found[1]["hob"]["invocationId"]),
                                 (508, refused[1]["Hob-Invocation-Id"]))
                with open(path, "rb") as f:
                    self.assertNotIn(b"hidden", f.read())
                self.assertEqual(os.stat(path).st_mode & 0o007, 0)
                os.rename(path, path + ".1")
                hob.process.send_signal(signal.SIGHUP)
                hob.wait_for("the new file", lambda: os.path.exists(path))
                def moved():
                    hob.ingress("f")
                    return self.lines(path)
                hob.wait_for("a line in it", moved)
                old = len(self.lines(path + ".1"))
                hob.ingress("f")
                self.assertEqual(len(self.lines(path + ".1")), old)
                before = len(self.lines(path))
                hob.kill_role("node")  # the next one goes on in the same file
                hob.wait_for("hob to serve again", hob.is_ready)
                hob.wait_for("a line of the new node", lambda: hob.ingress("f") and len(self.lines(path)) > before)

    def test_a_file_that_cannot_be_opened_is_said_at_once(self):
        with Hob() as outer:
            done = subprocess.run([harness.BINARY, "serve", "--data", os.path.join(outer.folder, "x"), "--listen-api",
                                   "127.0.0.1:0", "--listen-ingress", "127.0.0.1:0", "--listen-temporal", "none", "--request-log", "/nonexistent/log"],
                                  capture_output=True, text=True, timeout=60, env=outer.env, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn("--request-log /nonexistent/log: No such file", done.stderr)


if __name__ == "__main__":
    unittest.main()
