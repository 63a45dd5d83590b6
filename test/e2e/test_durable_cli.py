"""hob invoke --async and --key, hob invocation, hob schedule: durable work from a shell, with exit statuses that a script can trust."""
import json
import re
import unittest

from harness import HobCase, service
from test_invocations import COMMAND, FUNCTION

OK, FAILED, USAGE, NOT_FOUND, CONFLICT, AMBIGUOUS, FUNCTION_FAILED = 0, 1, 2, 3, 5, 7, 8
ID = re.compile(r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")


class Case(HobCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.image = cls.hob.bundle({"function.py": FUNCTION})

    def deploy(self, name, **annotations):
        marked = {f"hob.dev/{k.replace('_', '-')}": v for k, v in annotations.items()}
        self.hob.apply(service(name, self.image, COMMAND, annotations={"min-scale": 1, "max-scale": 1, **marked},
                               containerConcurrency=0))

    def run_hob(self, *words, want=OK, ingress=True):
        self.hob.env["HOB_INGRESS"] = self.hob.ingress_address
        status, out, err = self.hob.hob(*words, timeout=90)
        self.assertEqual(status, want, f"hob {' '.join(words)}: {out}{err}")
        return out if want == OK else out + err


class Invocations(Case):
    def accept(self, *words):
        ident = self.run_hob("invoke", *words, "--async").strip()
        self.assertRegex(ident, ID)
        return ident

    def get(self, ident, *words, want=OK):
        return json.loads(self.run_hob("invocation", "get", ident, "-o", "json", *words, want=want))

    def test_an_id_at_once_and_the_end_later(self):
        self.deploy("plain")
        ident = self.accept("plain", "-d", "some content", "--path", "/made")
        told = self.get(ident, "--wait", "30s")
        self.assertEqual((told["status"], told["answer_status"], told["path"]), ("done", 201, "/made"))
        self.assertEqual(json.loads(self.run_hob("invocation", "result", ident))["body"], "some content")
        text = self.run_hob("invocation", "get", ident)
        self.assertIn("done", text)
        self.assertIn("hob explain " + told["attempts"][0]["record"], text)
        self.assertIn(ident, self.run_hob("invocation", "list", "--service", "plain"))
        self.assertEqual(self.run_hob("invocation", "--service", "plain", "--status", "dead"), "")
        self.assertEqual([i["id"] for i in json.loads(self.run_hob("invocation", "--service", "plain", "-o", "json"))["items"]], [ident])

    def test_a_key_runs_once_and_finds_it_again(self):
        self.deploy("keyed")
        first = self.run_hob("invoke", "keyed", "-d", "x", "--path", "/made", "--key", "order-7")
        self.assertEqual(self.run_hob("invoke", "keyed", "-d", "x", "--path", "/made", "--key", "order-7"), first)
        self.assertEqual(self.run_hob("invocation", "result", "--service", "keyed", "--key", "order-7"), first)
        self.assertEqual(self.hob.tree("keyed", "/counts")["/made"], 1)
        self.assertIn("there is no durable invocation", self.run_hob("invocation", "get", "--service", "keyed", "--key", "order-8", want=NOT_FOUND))
        self.run_hob("invocation", "get", "--key", "order-7", want=USAGE)
        self.run_hob("invoke", "keyed", "-d", "y", "--key", "order-7", want=FAILED)

    def test_what_nobody_knows_is_exit_status_seven(self):
        self.deploy("unsure")
        ident = self.accept("unsure", "-d", "x", "--path", "/drop")
        told = self.get(ident, "--wait", "30s", want=AMBIGUOUS)
        self.assertEqual(told["status"], "ambiguous")
        self.run_hob("invocation", "result", ident, want=AMBIGUOUS)
        self.run_hob("invoke", "unsure", "-d", "x", "--path", "/drop", "--key", "k", want=AMBIGUOUS)
        self.assertEqual(json.loads(self.run_hob("invocation", "--status", "ambiguous", "--service", "unsure", "-o", "json"))["items"][0]["status"],
                         "ambiguous")

    def test_what_failed_is_driven_again(self):
        self.deploy("failing")
        ident = self.accept("failing", "-d", "x", "--path", "/fail")
        self.assertEqual(self.get(ident, "--wait", "30s")["status"], "failed")
        self.run_hob("invocation", "result", ident, want=FUNCTION_FAILED)
        self.assertIn("is driven again", self.run_hob("invocation", "redrive", ident))
        self.assertEqual(self.get(ident, "--wait", "30s")["attempt"], 2)
        self.run_hob("invocation", "cancel", ident, want=CONFLICT)

    def test_what_waits_is_cancelled(self):
        self.deploy("held", idempotent="true")
        ident = self.accept("held", "-d", "x", "--path", "/hold")
        try:
            self.hob.wait_for("the attempt", lambda: self.get(ident)["status"] == "running")
            self.assertIn("has not ended", self.run_hob("invocation", "result", ident, want=CONFLICT))
            self.run_hob("invocation", "cancel", ident)
            self.assertEqual(self.get(ident, "--wait", "30s")["status"], "cancelled")
        finally:
            self.hob.ingress("held", "GET", "/open")
        self.run_hob("invocation", "get", "00000000-0000-7000-8000-000000000000", want=NOT_FOUND)

    def test_words_that_do_not_fit_are_refused(self):
        for words in (("invocation", "get"), ("invocation", "drop", "x"), ("invocation", "cancel"), ("schedule", "create"),
                      ("schedule", "create", "x"), ("invoke", "f", "--wait", "1s"), ("schedule", "pause", "a", "b")):
            self.run_hob(*words, want=USAGE)


class Schedules(Case):
    def test_from_its_making_to_its_end(self):
        self.deploy("ticked")
        self.assertEqual(self.run_hob("schedule"), "")
        self.run_hob("schedule", "create", "tick", "--service", "ticked", "--at", "@every 1s", "-d", '{"a": 1}', "-p", "/tick", "-H", "X-Mine: 1",
                     "--suspend")
        self.assertIn("already exists", self.run_hob("schedule", "create", "tick", "--at", "@hourly", want=CONFLICT))
        self.assertIn("spec.schedule", self.run_hob("schedule", "create", "wrong", "--at", "61 * * * *", want=FAILED))
        self.assertIn("paused", self.run_hob("schedule", "list"))
        self.run_hob("schedule", "trigger", "tick")
        look = lambda: json.loads(self.run_hob("schedule", "describe", "tick", "-o", "json"))
        tree = self.hob.wait_for("its call", lambda: (lambda t: t if t.get("status", {}).get("lastStatus") == "done" else None)(look()))
        told = json.loads(self.run_hob("invocation", "result", tree["status"]["lastInvocation"]))
        self.assertEqual((told["body"], told["path"], told["headers"]["x-mine"]), ('{"a": 1}', "/tick", "1"))
        self.run_hob("schedule", "resume", "tick")
        self.hob.wait_for("more of them", lambda: look()["status"]["actions"] >= 3)
        self.run_hob("schedule", "pause", "tick")
        self.assertTrue(look()["spec"]["suspend"])
        self.run_hob("schedule", "delete", "tick")
        self.run_hob("schedule", "describe", "tick", want=NOT_FOUND)


if __name__ == "__main__":
    unittest.main()
