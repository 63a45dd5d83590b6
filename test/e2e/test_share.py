"""One service cannot keep the others from their first instance, whatever it asks for."""

import time
import unittest

from harness import HobCase


class Share(HobCase):
    LIMITS = {"instances_max": 3, "sandbox_pool": 1}

    def test_a_min_scale_as_large_as_the_node_leaves_neighbours_their_first(self):
        hob = self.hob
        hob.deploy("greedy", wait=False, annotations={"min-scale": 3})
        hob.wait_for("a full node", lambda: len([i for i in hob.instances("greedy") if i["state"] == "ready"]) == 3)
        begin = time.monotonic()
        for name in ("one", "two"):
            hob.deploy(name, annotations={"initial-scale": 0})
            self.assertEqual(hob.ingress(name)[0], 200)
        self.assertLess(time.monotonic() - begin, 15)  # it was the whole queue_wait_ms, and then refused
        self.assertEqual(hob.ingress("greedy")[0], 200)
        self.assertIn("instance.yields", hob.log())


if __name__ == "__main__":
    unittest.main()
