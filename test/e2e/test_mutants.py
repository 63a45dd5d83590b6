"""Whether the list of planted bugs (tools/mutants/) fits the sources: `make mutants` plants them, which takes long."""
import importlib.util
import os
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
spec = importlib.util.spec_from_file_location("hob_mutants", os.path.join(ROOT, "tools", "mutants.py"))
mutants = importlib.util.module_from_spec(spec)
spec.loader.exec_module(mutants)

BUG = {"name": "a.b", "holds": "h", "file": "x.c", "old": "one  two", "new": "three", "tests": ["unit:m:works"]}


class Mutants(unittest.TestCase):
    def test_each_bug_still_applies_once_and_its_tests_exist(self):
        self.assertEqual(mutants.check(), [])

    def test_every_part_of_hob_has_bugs(self):
        names = [m["name"] for m in mutants.listed()[0]]
        self.assertEqual(len(names), len(set(names)))
        for part in mutants.PARTS:
            self.assertTrue([n for n in names if n.startswith(part + ".")], f"no bug in {part}")

    def test_a_bug_that_no_longer_applies_is_found(self):
        with tempfile.TemporaryDirectory() as root:
            path = os.path.join(root, "x.c")
            for text, applies in (("one\n\ttwo", True), ("one two one two", False), ("onetwo", False)):
                with open(path, "w", encoding="utf-8") as f:
                    f.write(text)
                texts, why = mutants.planted(root, BUG)
                self.assertEqual((texts, why is None), ({"x.c": "three"} if applies else None, applies), text)
            with open(path, "w", encoding="utf-8") as f:
                f.write("one two")
            self.assertIn("changes nothing", mutants.planted(root, {**BUG, "new": "one two"})[1])
            self.assertIn("not there", mutants.planted(root, {**BUG, "file": "y.c"})[1])

    def test_a_test_that_is_gone_is_found(self):
        with tempfile.TemporaryDirectory() as root:
            for folder in ("unit", "e2e"):
                os.makedirs(os.path.join(root, "test", folder))
            with open(os.path.join(root, "test", "unit", "test_m.c"), "w", encoding="utf-8") as f:
                f.write("TEST(it_works)\n{\n}\n")
            with open(os.path.join(root, "test", "e2e", "test_n.py"), "w", encoding="utf-8") as f:
                f.write("class A(Case):\n    def test_a(self):\n        pass\n\n\nclass B(Case):\n    def test_b(self):\n        pass\n")
            for test, there in (("unit:m:works", True), ("unit:m:breaks", False), ("unit:o:works", False), ("unit:m:", True),
                                ("e2e:test_n.A.test_a", True), ("e2e:test_n.B.test_b", True), ("e2e:test_n.A.test_b", False),
                                ("e2e:test_n.B.test_a", False), ("e2e:test_n.B", True), ("e2e:test_n.C", False),
                                ("other:m", False)):
                with self.subTest(test):
                    self.assertEqual(mutants.test_exists(root, test), there)


if __name__ == "__main__":
    unittest.main()
