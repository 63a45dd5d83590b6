"""What hob says of the machine it has: at its start, in conditions and Events, and when it is asked (hob doctor)."""
import json
import os
import unittest

from harness import Hob, HobCase

NOBODY = 65534


def checks_of(hob):
    status, said, errors = hob.hob("doctor", "-o", "json", timeout=60)
    tree = json.loads(said)
    return status, {(one["of"], one["name"]): one for one in tree["checks"]}, errors


@unittest.skipUnless(os.geteuid() == 0, "only root can be another user")
class OrdinaryUser(unittest.TestCase):
    """Root asks about a hob that nobody runs: the server's list is nobody's, the machine's is root's."""

    @classmethod
    def setUpClass(cls):
        cls.hob = Hob(user=NOBODY).__enter__()
        cls.addClassCleanup(cls.hob.__exit__, None, None, None)

    def test_a_limit_that_nothing_keeps_is_said_where_people_look(self):
        self.assertRegex(self.hob.log(), "launcher.limits_not_enforced limits=memory,cpu")
        self.hob.deploy("limited", limits={"memory": "64Mi"})
        self.hob.deploy("free")
        condition = self.hob.wait_condition("limited", "False", "LimitsEnforced")
        self.assertEqual(condition["reason"], "NoControlGroup")
        self.assertIn("nothing holds the function to the memory limit it names", condition["message"])
        self.assertEqual(self.hob.condition("limited")["status"], "True")
        self.assertIsNone(self.hob.condition("free", "LimitsEnforced"))
        shown = self.hob.hob("describe", "limited")[1]
        self.assertRegex(shown, r"LimitsEnforced +False .*NoControlGroup +nothing holds")

        def events():
            items = self.hob.call("GET", "/api/v1/namespaces/default/events", want=200)[2]["items"]
            return [(one["type"], one["involvedObject"]["name"]) for one in items if one["reason"] == "NoControlGroup"]
        self.hob.wait_for("the Event", lambda: events() == [("Warning", "limited-00001")])

    def test_doctor_tells_the_servers_means_from_those_of_who_asks(self):
        status, checks, errors = checks_of(self.hob)
        self.assertEqual(status, 0, errors)
        for name in ("memory-limit", "cpu-limit", "users"):
            self.assertEqual(checks["server", name]["state"], "worse", name)
        self.assertIn("Delegate=yes", checks["server", "memory-limit"]["fix"])
        self.assertEqual(checks["here", "privilege"]["state"], "ok")
        text = self.hob.hob("doctor", timeout=60)[1]
        server, here = text.split("this machine, for a hob that you start (as root)\n")
        self.assertRegex(server, f"^the server at {'.*'}\n(.*\n)*worse +memory-limit +not kept")
        self.assertRegex(here, r"(?m)^ok +privilege +root")


class Root(HobCase):
    @unittest.skipUnless(os.geteuid() == 0, "only root's hob has control groups everywhere")
    def test_where_the_limits_are_kept_nothing_is_said(self):
        self.assertNotIn("limits_not_enforced", self.hob.log())
        self.hob.deploy("kept", limits={"memory": "64Mi", "cpu": "1"})
        self.assertIsNone(self.hob.condition("kept", "LimitsEnforced"))
        status, checks, errors = checks_of(self.hob)
        self.assertEqual((status, checks["server", "memory-limit"]["state"]), (0, "ok"), errors)


if __name__ == "__main__":
    unittest.main()
