"""Functions at zero cost next to nothing: what hob holds for each is counted, and nothing of it runs.

Bytes of texts are what the program counts (/metrics), so that bound is exact; resident memory is only told to be far from what it was
when every text was held as it is read.
"""
import unittest

from harness import Hob, service
from test_leaks import PLAIN, is_plain, resident

FUNCTIONS = 300
OBJECTS = "/apis/serving.knative.dev/v1/namespaces/default"


def is_ready(tree):
    return any(c["type"] == "Ready" and c["status"] == "True" for c in tree.get("status", {}).get("conditions", []))


class AtRest(unittest.TestCase):
    def deploy(self, hob, count):
        tree = service("fn", image=hob.bundle({"run": "#!/bin/sh\nexec sleep 1\n"}), annotations={"initial-scale": 0})
        for n in range(count):
            tree["metadata"]["name"] = f"fn-{n}"
            hob.apply(tree, wait=False)
        hob.wait_for("all to be ready", lambda: all(
            map(is_ready, hob.call("GET", f"{OBJECTS}/services", want=200)[2]["items"])))

    def test_the_texts_of_a_function_are_held_in_a_fraction_of_their_size(self):
        with Hob() as hob:
            self.deploy(hob, 60)
            size, held = hob.metric("hob_object_text_bytes"), hob.metric("hob_object_memory_bytes")
            self.assertGreater(size, 60 * 6000)
            self.assertLess(held, size / 5)
            # Service, Configuration, Route, Revision, and nine changes of them in the log
            self.assertLess(held, 60 * 3000)
            names = set()
            token = ""
            while token is not None:  # what is read in pages is whole
                page = hob.call("GET", f"{OBJECTS}/revisions?limit=7&continue={token}", want=200)[2]
                names |= {r["metadata"]["name"] for r in page["items"]}
                self.assertTrue(all(r["spec"]["containers"][0]["image"] for r in page["items"]))
                token = page["metadata"].get("continue") or None
            self.assertEqual(names, {f"fn-{n}-00001" for n in range(60)})

    @unittest.skipUnless(is_plain(PLAIN), f"no binary without sanitizers at {PLAIN} (HOB_PLAIN)")
    def test_hundreds_at_zero_are_small(self):
        with Hob(binary=PLAIN) as hob:
            node = hob.wait_for("a node", lambda: hob.roles().get("node"))
            empty = resident(node)
            self.deploy(hob, FUNCTIONS)
            # 32 kB when texts lie unpacked, 18 as they do: 11 for each function, and what begins with the first
            self.assertLess((resident(node) - empty) / FUNCTIONS, 24_000)


if __name__ == "__main__":
    unittest.main(verbosity=1)
