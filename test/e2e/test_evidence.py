"""What hob says about what happened: records, phases, caches, metrics, health, and the commands that show them."""
import json
import re
import subprocess
import threading
import unittest

from harness import HobCase, Hob, metric_samples, together

# What a start's own phases may be, in the order of a start (docs/decisions/0004).
PHASES = ["schedule", "image_pull", "image_unpack", "model_fetch", "model_verify", "sandbox", "runtime_init",
          "model_load", "allocate", "warmup", "ready"]


def union_us(intervals, begin, end):
    """Length of [begin, end) that the intervals cover."""
    covered, at = 0, begin
    for start, stop in sorted(intervals):
        start, stop = max(start, at), min(stop, end)
        if stop > start:
            covered += stop - start
            at = stop
    return covered


class Records(HobCase):
    def cold(self, name, **spec):
        """The record of a first request to a function at zero."""
        self.hob.deploy(name, annotations={"initial-scale": 0}, **spec)
        status, headers, _ = self.hob.ingress(name)
        self.assertEqual(status, 200)
        return self.hob.invocation(headers["Hob-Invocation-Id"])

    def listed(self, query, count):
        """The records of a query, once there are as many: they are written behind the answers."""
        def look():
            items = self.hob.call("GET", f"/v1/invocations?{query}", want=200)[2]["items"]
            return items if len(items) >= count else None
        return self.hob.wait_for(f"{count} records of {query}", look)

    def check_cold(self, record):
        start = record["start"]
        phases = {p["name"]: p for p in start["phases"]}
        for name in ("schedule", "image_pull", "image_unpack", "sandbox", "runtime_init", "ready"):
            self.assertIn(name, phases)
        self.assertNotIn("model_compile", phases)  # there is no compiler yet: absent, not zero
        offset = start["beginMonotonicUs"] - record["arrivalMonotonicUs"]
        # The start's own `ready` ends with its first request; this one's with itself.
        phases["ready"]["durationUs"] = record["dispatchUs"] - offset - phases["ready"]["startUs"]
        own = [(offset + p.get("startUs", 0), offset + p.get("startUs", 0) + p.get("durationUs", 0))
               for n, p in phases.items() if n in PHASES]
        handler = (record["dispatchUs"], record["firstByteUs"])
        covered = union_us(own + [(0, record.get("queueUs", 0)), handler], 0, record["firstByteUs"])
        told = record["coveragePermille"]
        self.assertLessEqual(abs(covered * 1000 / record["firstByteUs"] - told), 1.5)  # the figure is what it says
        self.assertGreaterEqual(told, 990)
        self.assertGreaterEqual(record["totalUs"], record["firstByteUs"])
        self.assertGreaterEqual(record["firstByteUs"], record["dispatchUs"])
        ends = {n: p.get("startUs", 0) + p.get("durationUs", 0) for n, p in phases.items()}
        # What the sandbox waits for ends where the sandbox begins: the hop between them belongs to somebody.
        waited = [ends[n] for n in ("image_pull", "image_unpack", "model_fetch") if n in ends]
        self.assertEqual(max(waited), phases["sandbox"]["startUs"])
        self.assertLessEqual(ends["sandbox"], phases["runtime_init"]["startUs"])
        self.assertLessEqual(ends["runtime_init"], phases["ready"]["startUs"])
        return phases

    def test_a_cold_start_is_told_phase_by_phase(self):
        record = self.cold("first")
        phases = self.check_cold(record)
        self.assertEqual((record["service"], record["revision"], record["method"], record["path"], record["status"],
                          record["outcome"]), ("first", "first-00001", "GET", "/", 200, "ok"))
        self.assertEqual(record["start"]["id"], record["instance"])
        self.assertEqual(phases["image_pull"]["outcome"], "done")  # nothing of it was here
        self.assertGreater(phases["image_pull"]["bytes"], 0)
        self.assertEqual(record["start"]["caches"]["image"], "miss")
        self.hob.call("DELETE", f"/v1/instances/{record['instance']}", want=202)
        self.hob.wait_instances("first", 0)
        again = self.hob.invocation(self.hob.ingress("first")[1]["Hob-Invocation-Id"])
        phases = self.check_cold(again)
        self.assertEqual({phases[p]["outcome"] for p in ("image_pull", "image_unpack")}, {"warm"})
        self.assertEqual(again["start"]["caches"]["image"], "hit")
        self.assertIn(again["start"]["caches"]["sandbox_pool"], ("hit", "miss"))

    def test_phases_of_the_function_lie_inside_its_init(self):
        record = self.cold("own", env={"PHASES": "1"})
        phases = self.check_cold(record)
        init, load = phases["runtime_init"], phases["model_load"]
        self.assertEqual((load["outcome"], load["bytes"]), ("done", 12345))
        self.assertGreater(load["durationUs"], 0)  # how long is the word of whoever reads it: a busy node reads late
        self.assertGreaterEqual(load["startUs"], init["startUs"])
        self.assertLessEqual(load["startUs"] + load["durationUs"], init["startUs"] + init["durationUs"])
        self.assertIn("warmup", phases)

    def test_models_are_phases_and_caches(self):
        weights = bytes(8 << 20)
        reference = f"{self.hob.bundle({'w.bin': weights})}/w.bin@sha256:" \
            "2daeb1f36095b44b318410b3f4e8b5d989dcc7bb023d1426c492dab0a3053e74"
        first = self.cold("model", models=[("/model", reference)])
        phases = self.check_cold(first)
        self.assertEqual((phases["model_fetch"]["outcome"], phases["model_fetch"]["bytes"]), ("done", len(weights)))
        self.assertEqual(first["start"]["caches"]["model"], "miss")
        second = self.cold("model-too", models=[("/model", reference)])
        phases = self.check_cold(second)
        self.assertEqual(phases["model_fetch"]["outcome"], "warm")
        self.assertEqual(second["start"]["caches"]["model"], "hit")
        self.assertEqual(second["start"]["caches"]["page_cache"], "hit")  # it has just been written

    def test_every_cold_request_of_a_burst_has_a_record_that_adds_up(self):
        self.hob.deploy("burst", annotations={"initial-scale": 0, "max-scale": 2}, containerConcurrency=4)
        ids = [a[1]["Hob-Invocation-Id"] for a in together(16, lambda i: self.hob.ingress("burst"))]
        items = self.listed("service=burst&cold=true&limit=1000", 1)
        for record in (self.hob.invocation(i) for i in ids):
            if record.get("cold"):
                self.check_cold(record)
                self.assertIn(record["id"], [i["id"] for i in self.listed("service=burst&cold=true&limit=1000", 1)])
        self.assertTrue(all(i["coveragePermille"] for i in items))
        self.assertEqual(len(self.listed("service=burst&limit=1000", 16)), 16)

    def test_records_are_listed_newest_first_and_by_service(self):
        hob = self.hob
        hob.deploy("listed")
        ids = [hob.ingress("listed", path=f"/status/{200 + i}?secret=1")[1]["Hob-Invocation-Id"] for i in range(4)]
        items = self.listed("service=listed", 4)
        self.assertEqual([i["id"] for i in items], ids[::-1])
        self.assertEqual([i["status"] for i in items], [203, 202, 201, 200])
        self.assertEqual([i["id"] for i in self.listed("service=listed&limit=2", 2)], ids[:1:-1])
        self.assertEqual(hob.call("GET", "/v1/invocations?service=nobody", want=200)[2]["items"], [])
        self.assertEqual(hob.call("GET", "/v1/invocations?service=listed&cold=true", want=200)[2]["items"], [])
        hob.call("GET", "/v1/invocations?limit=0", want=400)
        hob.call("GET", "/v1/invocations/nonsense", want=400)
        hob.call("GET", "/v1/invocations/00000000-0000-7000-8000-000000000000", want=404)

    def test_what_went_wrong_has_a_record_too(self):
        hob = self.hob
        hob.deploy("wrong", timeoutSeconds=1)
        for path, outcome in (("/nonsense", 502), ("/silent", 504)):
            status, headers, _ = hob.ingress("wrong", path=path)
            record = hob.invocation(headers["Hob-Invocation-Id"])
            self.assertEqual((status, record["status"]), (outcome, outcome))
            self.assertNotEqual(record["outcome"], "ok")
            self.assertTrue(record["error"])
        with hob.wire() as w:
            w.send(f"GET /half HTTP/1.1\r\nHost: {hob.host('wrong')}\r\n\r\n")
            _, headers = w.head()
            w.exactly(4)
        self.assertNotEqual(hob.invocation(headers["Hob-Invocation-Id"])["outcome"], "ok")

    # metrics

    def test_metrics_count_what_happened(self):
        hob = self.hob
        hob.deploy("counted", annotations={"initial-scale": 0})
        label = {"faas_name": "default/counted"}
        kind = hob.call("GET", "/metrics", want=200)[1]["Content-Type"]
        self.assertTrue(kind.startswith("text/plain; version=0.0.4"), kind)
        for _ in range(5):
            hob.ingress("counted")
        hob.ingress("counted", path="/nonsense")
        stats = hob.call("GET", "/v1/services/default/counted/stats", want=200)[2]
        self.assertEqual((stats["invocations"], stats["cold"], stats["starts"]), (6, 1, 1))
        self.assertEqual(stats["total"]["count"], 6)
        self.assertIn("sandbox", [p["name"] for p in stats["phases"]])
        self.assertLessEqual(stats["total"]["p50Us"], stats["total"]["p99Us"])
        want = {"faas_coldstarts_total": 1, "faas_invocations_total": 6, "hob_starts_total": 1,
                "faas_invoke_duration_seconds_count": 6, "faas_init_duration_seconds_count": 1}
        self.assertEqual({n: hob.metric(n, **label) for n in want}, want)
        self.assertEqual(hob.metric("hob_responses_total", code="2xx", **label), 5)
        self.assertEqual(hob.metric("hob_responses_total", code="5xx", **label), 1)
        hob.delete("counted")  # what is gone is not counted for ever
        hob.wait_for("its samples to go", lambda: hob.metric("faas_invocations_total", **label) is None)

    def test_the_metrics_page_is_prometheus_text(self):
        page = self.hob.call("GET", "/metrics", want=200)[2].decode()
        samples = list(metric_samples(page))
        typed = dict(re.findall(r"^# TYPE (\S+) (counter|gauge|histogram)$", page, re.M))
        helped = set(re.findall(r"^# HELP (\S+) \S", page, re.M))
        self.assertEqual(set(typed), helped)
        seen = set()
        for name, labels, value in samples:
            family = name if name in typed else re.sub("_(bucket|sum|count)$", "", name)
            self.assertIn(family, typed, name)
            self.assertNotIn((name, tuple(sorted(labels.items()))), seen, "the same sample twice")
            seen.add((name, tuple(sorted(labels.items()))))
            self.assertTrue(typed[family] != "counter" or (value >= 0 and name.endswith("_total")), name)
        for family in (f for f, kind in typed.items() if kind == "histogram"):
            infinite = [v for n, labels, v in samples if n == family + "_bucket" and labels["le"] == "+Inf"]
            self.assertEqual(infinite, [v for n, _, v in samples if n == family + "_count"])

    def test_health(self):
        for path in ("/healthz", "/readyz", "/livez"):
            self.assertEqual(self.hob.call("GET", path)[::2], (200, b"ok\n"))
        self.assertEqual(self.hob.call("POST", "/healthz", b"")[0], 405)
        self.assertEqual(self.hob.call("GET", "/v1/nothing")[0], 404)

    # commands

    def test_the_commands_show_it(self):
        hob = self.hob
        record = self.cold("shown")
        self.assertEqual(hob.ingress("shown", path="/print/hello-log")[0], 200)
        code, out, err = hob.hob("explain", record["id"])
        self.assertEqual(code, 0, err)
        for word in ("queue", "schedule", "sandbox", "runtime_init", "ready", record["id"]):
            self.assertIn(word, out)
        code, out, _ = hob.hob("explain", "shown", "-o", "json")
        self.assertEqual((code, json.loads(out)["id"]), (0, record["id"]))
        code, out, _ = hob.hob("ps", "shown", "-o", "json")
        self.assertEqual([i["id"] for i in json.loads(out)["items"]], [record["instance"]])
        self.assertIn(record["instance"], hob.hob("ps")[1])
        self.assertIn("hello-log", hob.hob("logs", "shown")[1])
        self.assertIn("bundle", hob.hob("models")[1])
        limits = {i["name"]: i for i in json.loads(hob.hob("limits", "-o", "json")[1])["items"]}
        self.assertEqual(limits["records_max"]["default"], 1000000)
        self.assertEqual(hob.hob("explain", "00000000-0000-7000-8000-000000000000")[0], 3)
        code, out, _ = hob.hob("invoke", "shown", "--data", "abc", "--path", "/echo")
        self.assertEqual((code, out), (0, "abc"))
        self.assertIn("ready", hob.hob("describe", "shown")[1])
        self.assertEqual(hob.hob("delete", "shown")[0], 0)
        self.assertEqual(hob.hob("get", "shown")[0], 3)

    def test_logs_follow_until_the_function_is_deleted(self):
        hob = self.hob
        hob.deploy("followed")
        follower = subprocess.Popen([hob.binary, "logs", "-f", "followed"], stdout=subprocess.PIPE, text=True,
                                    env={**hob.env, "HOB_SERVER": hob.api_address})
        lines, came = [], threading.Event()

        def read():
            for line in follower.stdout:
                lines.append(line)
                if "and-now" in line:
                    came.set()
        reader = threading.Thread(target=read)
        reader.start()
        try:
            hob.wait_for("the stream", lambda: any("listening" in line for line in lines))
            hob.ingress("followed", path="/print/and-now")
            self.assertTrue(came.wait(60))
            hob.delete("followed")
            self.assertEqual(follower.wait(60), 0)
        finally:
            follower.kill()
            follower.wait()
            reader.join()
            follower.stdout.close()


class Retention(unittest.TestCase):
    def test_the_oldest_records_go_first(self):
        with Hob(limits={"records_max": 100}) as hob:
            hob.deploy("kept")
            first = hob.ingress("kept")[1]["Hob-Invocation-Id"]
            hob.invocation(first)
            with hob.wire() as w:
                for _ in range(400):
                    w.send(f"GET / HTTP/1.1\r\nHost: {hob.host('kept')}\r\n\r\n")
                    last = w.answer()[1]["Hob-Invocation-Id"]
            hob.invocation(last)

            def bounded():
                return len(hob.call("GET", "/v1/invocations?limit=1000", want=200)[2]["items"]) <= 100
            hob.wait_for("no more than 100 records", bounded)
            self.assertEqual(hob.call("GET", f"/v1/invocations/{first}")[0], 404)
            hob.restart()
            self.assertEqual(hob.invocation(last)["status"], 200)  # records outlive the node


if __name__ == "__main__":
    unittest.main()
