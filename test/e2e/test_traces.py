"""Traces: W3C's headers in and out, and the way back from a trace to its records."""
import json
import unittest

from harness import HobCase

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


if __name__ == "__main__":
    unittest.main()
