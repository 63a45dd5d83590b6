"""hob backup and hob restore: what was acknowledged before a backup began is in it, damage is found before it counts, and what
fails leaves nothing.
"""
import hashlib
import json
import os
import shutil
import signal
import stat
import threading
import unittest

from harness import Hob
from temporal_client import COMPLETE, COMPLETED, MISSING, Client, Schema

if not MISSING:
    import grpc

BACKUP_S = 120
FILES = ("durable.db", "hob.db")


def read(path):
    with open(path, "rb") as f:
        return f.read()


def tree_of(folder):
    return sorted(os.path.join(at, name) for at, folders, files in os.walk(folder) for name in folders + files)


class Load(threading.Thread):
    """Starts workflows one after the other; `acknowledged` has those that hob has said yes to."""

    def __init__(self, client):
        super().__init__(daemon=True)
        self.client, self.acknowledged, self.over = client, [], threading.Event()

    def run(self):
        while not self.over.is_set():
            ident = f"load-{len(self.acknowledged)}"
            if self.client.start(ident)[0] is not grpc.StatusCode.OK:
                return
            self.acknowledged.append(ident)

    def end(self):
        self.over.set()
        self.join()


@unittest.skipIf(MISSING, MISSING)
class Backup(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.schema = Schema()

    def client(self, hob):
        client = Client(self.schema, hob.temporal_address)
        self.addCleanup(client.channel.close)
        return client

    def backup(self, hob, to, *words):
        status, out, err = hob.hob("backup", *words, to, timeout=BACKUP_S)
        self.assertEqual(status, 0, err)
        return out

    def refused(self, hob, *words, says):
        before = tree_of(hob.folder)
        status, out, err = hob.hob(*words, timeout=BACKUP_S)
        self.assertNotEqual(status, 0, out)
        self.assertIn(says, err)
        self.assertEqual([p for p in tree_of(hob.folder) if p not in before and "backup" in p], [])
        return err

    def test_what_was_acknowledged_before_it_is_in_it_and_goes_on(self):
        with Hob() as hob:
            client = self.client(hob)
            hob.deploy("kept")
            load = Load(client)
            load.start()
            try:
                hob.wait_for("a load", lambda: len(load.acknowledged) >= 50)
                known = list(load.acknowledged)
                out = self.backup(hob, hob.folder + "/copy")
                hob.wait_for("work after it", lambda: len(load.acknowledged) > len(known) + 20)
            finally:
                load.end()
            self.assertRegex(out, r"objects, \d+ runs of durable work")
            self.assertFalse(os.path.exists(hob.data + "/backup"))  # what the server made is taken away again
            copy = hob.folder + "/copy"
            self.assertEqual(sorted(os.listdir(copy)), ["backup.json", *FILES])
            self.assertEqual(stat.S_IMODE(os.stat(copy).st_mode), 0o700)
            for name in os.listdir(copy):
                self.assertEqual(stat.S_IMODE(os.stat(f"{copy}/{name}").st_mode), 0o600)
            told = json.loads(read(copy + "/backup.json"))
            for file in told["files"]:
                self.assertEqual(file["digest"], "sha256:" + hashlib.sha256(read(f"{copy}/{file['name']}")).hexdigest())
            self.assertGreaterEqual(told["entities"], len(known))
            hob.stop(signal.SIGKILL)
            shutil.rmtree(hob.data)
            status, out, err = hob.hob("restore", copy, "--data", hob.data)
            self.assertEqual(status, 0, err)
            hob.start()
            client = self.client(hob)
            hob.wait_ready("kept")
            for ident in known:
                self.assertEqual(len(client.events(ident)), 2, ident)  # started, and its task is there to be done
            code, task = client.poll()
            self.assertIs(code, grpc.StatusCode.OK, task)
            self.assertIs(client.command(task, COMPLETE)[0], grpc.StatusCode.OK)
            self.assertEqual(client.events(task.workflow_execution.workflow_id)[-1].event_type, COMPLETED)

    def test_of_one_that_does_not_run(self):
        with Hob() as hob:
            client = self.client(hob)
            self.assertIs(client.start("w")[0], grpc.StatusCode.OK)
            self.refused(hob, "backup", "--data", hob.data, hob.folder + "/copy", says="without --data")
            hob.stop()
            before = [read(f"{hob.data}/{name}") for name in FILES]
            self.backup(hob, hob.folder + "/copy", "--data", hob.data)
            self.assertEqual([read(f"{hob.data}/{name}") for name in FILES], before)
            status, _, err = hob.hob("restore", hob.folder + "/copy", "--data", hob.folder + "/new/")
            self.assertEqual(status, 0, err)
            hob.start()  # the old one can still be used
            self.assertEqual(len(self.client(hob).events("w")), 2)
            hob.stop()
            hob.data = hob.folder + "/new"
            hob.start()
            self.assertEqual(len(self.client(hob).events("w")), 2)

    def test_what_is_there_is_not_written_over(self):
        with Hob() as hob:
            self.backup(hob, hob.folder + "/copy")
            self.refused(hob, "backup", hob.folder + "/copy", says="there is something already")
            self.refused(hob, "restore", hob.folder + "/copy", "--data", hob.data, says="it is not empty")
            self.refused(hob, "restore", hob.folder + "/copy", says="--data DIR")
            self.refused(hob, "restore", hob.files, "--data", hob.folder + "/new", says="this is no backup")
            self.refused(hob, "backup", hob.folder + "/none/copy", says="No such file")
            os.mkdir(hob.folder + "/empty")
            self.assertEqual(hob.hob("restore", hob.folder + "/copy", "--data", hob.folder + "/empty")[0], 0)

    def test_one_that_was_cut_off_leaves_nothing_to_the_next_start(self):
        with Hob() as hob:
            left = hob.data + "/backup"
            hob.stop()
            os.mkdir(left, 0o700)
            for name in ("durable.db.part", "durable.db", "hob.db.part-journal"):
                with open(f"{left}/{name}", "wb") as f:
                    f.write(b"half of it")
            for at in (left, *tree_of(left)):
                shutil.chown(at, os.stat(hob.data + "/durable.db").st_uid, os.stat(hob.data + "/durable.db").st_gid)
            hob.start()
            hob.wait_for("it to be gone", lambda: not os.path.exists(left))
            self.backup(hob, hob.folder + "/copy")

    def damaged(self, copy, name, at, mask):
        """A copy of the copy with a byte changed, and a digest that fits: only a look at the pages and rows can find it."""
        shutil.rmtree(copy + "-damaged", ignore_errors=True)
        shutil.copytree(copy, copy + "-damaged")
        path = f"{copy}-damaged/{name}"
        data = bytearray(read(path))
        data[at] ^= mask
        with open(path, "wb") as f:
            f.write(data)
        told = json.loads(read(copy + "/backup.json"))
        for file in told["files"]:
            if file["name"] == name:
                file["digest"] = "sha256:" + hashlib.sha256(data).hexdigest()
        with open(copy + "-damaged/backup.json", "w") as f:
            json.dump(told, f)
        return copy + "-damaged"

    def test_damage_is_found_before_it_counts(self):
        with Hob() as hob:
            client, needles = self.client(hob), [f"needle-{i}-in-the-haystack" for i in range(12)]
            for i, needle in enumerate(needles):
                payload = {"payloads": [{"metadata": {"encoding": b"binary/plain"}, "data": needle.encode() * 3}]}
                self.assertIs(client.start(f"w{i}", input=payload)[0], grpc.StatusCode.OK)
            copy = hob.folder + "/copy"
            self.backup(hob, copy)
            new = hob.folder + "/new"
            # As it is: not what was backed up.
            told = read(copy + "/backup.json").decode()
            with open(copy + "/backup.json", "w") as f:
                f.write(told.replace('"sha256:', '"sha256:0', 1))
            self.refused(hob, "restore", copy, "--data", new, says="it is not what was backed up")
            with open(copy + "/backup.json", "w") as f:
                f.write(told)
            data = read(copy + "/durable.db")
            found = 0
            for needle in needles:  # each is in a state or in a history, whose checksums SQLite knows nothing of
                at = data.find(needle.encode())
                while at >= 0:
                    found += 1
                    self.refused(hob, "restore", self.damaged(copy, "durable.db", at, 1), "--data", new, says="checksum")
                    at = data.find(needle.encode(), at + 60) if found < 16 else -1
            self.assertGreaterEqual(found, len(needles))
            page = int.from_bytes(data[16:18], "big")
            for number in range(1, min(len(data) // page, 8)):  # the type of a page
                self.refused(hob, "restore", self.damaged(copy, "durable.db", number * page, 0x77), "--data", new, says="durable.db")
            for name in FILES:
                self.refused(hob, "restore", self.damaged(copy, name, 0, 0xff), "--data", new, says=name)
            self.assertFalse(os.path.exists(new))
            self.assertEqual(hob.hob("restore", copy, "--data", new)[0], 0)


if __name__ == "__main__":
    unittest.main()
