"""Clients and workers of Temporal's API that mean harm, or were built wrong: every method with every kind of wrong
content. hob may refuse; it may not fall, hang, leak or lose what it said it has.

The messages are built from hob's own schema (src/codec/temporal*.proto), so a method or field that is added is
attacked without a change here.
"""
import os
import pathlib
import random
import signal
import struct
import threading
import unittest

import harness
from temporal_client import CALL_S, MISSING, WORKFLOW, Client, Schema

if not MISSING:
    import grpc
    from google.protobuf.descriptor import FieldDescriptor as F

SEEDS, PLACES = 12, 12
WAITING = ("Poll", "QueryWorkflow", "UpdateWorkflowExecution", "ExecuteMultiOperation", "GetWorkflowExecutionHistory")
# What the service may answer; UNKNOWN and INTERNAL it may not: those are faults of its own.
FAULTS = () if MISSING else (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS)
AWAY = ("DeprecateNamespace", "DeleteNamespace")  # they would take away what the others ask about
IDS = ["", "a", "b", "c", "w" * 1000, "w" * 1001, "\u00e9\u6f22", "../../etc/passwd", "a'; --", "a\nb", "\x01"]
INTS = [0, 1, -1, 2, 3, 5, 1000, 2**31 - 1, -2**31]
LONGS = [*INTS, 2**63 - 1, -2**63, 315576000001, -315576000001, 2**53]


class Filler:
    """Fills a message at random by its descriptor; of a seed it is always the same one."""

    def __init__(self, seed, tokens):
        self.random, self.tokens = random.Random(seed), tokens

    def scalar(self, field):
        dice = self.random
        if field.type == F.TYPE_STRING:
            if field.name == "namespace":
                return "default" if dice.random() < 0.9 else dice.choice(IDS)
            if field.name == "query":
                return dice.choice(["", "WorkflowId = 'a'", "WorkflowId = ", "ExecutionStatus = 'x'", "((((", "1=1"])
            return dice.choice(IDS) if dice.random() < 0.8 else "default"
        if field.type == F.TYPE_BYTES:
            if "token" in field.name and self.tokens and dice.random() < 0.7:
                return dice.choice(self.tokens)
            return dice.randbytes(dice.choice([0, 1, 16, 300]))
        if field.type == F.TYPE_BOOL:
            return dice.random() < 0.3  # also wait_new_event: rarely
        if field.type == F.TYPE_ENUM:
            return dice.choice([*field.enum_type.values_by_number, 99, -1])
        if field.type in (F.TYPE_DOUBLE, F.TYPE_FLOAT):
            return dice.choice([0.0, 1.0, -1.0, 1e308 if field.type == F.TYPE_DOUBLE else 1e38, float("nan"), float("inf")])
        if field.cpp_type in (F.CPPTYPE_UINT32, F.CPPTYPE_UINT64):
            return dice.choice([0, 1, 7, 2**32 - 1])
        return dice.choice(INTS if field.cpp_type == F.CPPTYPE_INT32 else LONGS)

    def fill(self, message, depth=0):
        for field in message.DESCRIPTOR.fields:
            if self.random.random() < (0.2 if depth < 2 else 0.4 if depth < 6 else 1):
                continue
            value = getattr(message, field.name)
            if field.message_type and field.message_type.GetOptions().map_entry:
                of = field.message_type.fields_by_name["value"]
                key = field.message_type.fields_by_name["key"]
                if of.message_type:
                    self.fill(value[self.scalar(key)], depth + 1)
                else:
                    value[self.scalar(key)] = self.scalar(of)
            elif field.label == F.LABEL_REPEATED:
                for _ in range(self.random.choice([1, 1, 2, 3])):
                    if field.message_type:
                        self.fill(value.add(), depth + 1)
                    else:
                        value.append(self.scalar(field))
            elif field.message_type:
                value.SetInParent()
                self.fill(value, depth + 1)
            else:
                setattr(message, field.name, self.scalar(field))
        return message


@unittest.skipIf(MISSING, MISSING)
class Hostile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.schema = Schema()

    def setUp(self):
        self.hob = self.enterContext(harness.Hob())
        self.node = self.hob.wait_for("the node", lambda: self.hob.roles().get("node"))
        self.client = self.enterContext(Client(self.schema, self.hob.temporal_address))

    def tearDown(self):
        if self.hob.process:
            self.assertEqual(self.hob.roles().get("node"), self.node, "the node of hob's fell:\n" + self.hob.log()[-6000:])

    def still_works(self):
        """A workflow starts, its task is given out, and it ends; through a connection of its own."""
        ident, queue = os.urandom(6).hex(), os.urandom(6).hex()
        with Client(self.schema, self.hob.temporal_address) as client:
            code, told = client.start(ident, queue)
            self.assertEqual(code, grpc.StatusCode.OK, f"{told}\n{self.hob.log()[-6000:]}")
            code, task = client.poll(queue)
            self.assertEqual((code, task.workflow_execution.workflow_id), (grpc.StatusCode.OK, ident))
            code, told = client.call("RespondWorkflowTaskCompleted", namespace="default", task_token=task.task_token, commands=[
                {"command_type": 4, "complete_workflow_execution_command_attributes": {}}])
            self.assertEqual(code, grpc.StatusCode.OK, told)
            self.assertEqual(client.history(ident)[1].history.events[-1].event_type, 2)

    def no_fault(self, method, code, told, what):
        self.assertNotIn(code, FAULTS, f"{method} {what}: {told}\n{self.hob.log()[-6000:]}")
        self.assertNotEqual(code, grpc.StatusCode.UNAVAILABLE, f"{method} {what}: {told}\n{self.hob.log()[-6000:]}")

    def every(self, data, what):
        for method in self.schema.methods:
            if data and method in AWAY:
                continue
            code, told = self.client.raw(method, data, 0.3 if method.startswith(WAITING) else CALL_S)
            self.no_fault(method, code, told, what)

    def test_every_method_with_an_empty_message(self):
        self.every(b"", "empty")
        self.still_works()

    def test_every_method_with_only_a_namespace(self):
        # Of most requests the namespace is the first field: whatever else they should have is absent.
        self.every(b"\x0a\x07default", "with a namespace alone")
        self.still_works()

    def test_every_method_with_bytes_that_are_no_message(self):
        for method, (descriptor, _) in self.schema.methods.items():
            for data in (b"\xff" * 40, b"\x0a\xff\xff\xff\xff\x7f", b"\x0b" * 500, b"\x0a\x02\xc3\x28"):
                code, told = self.client.raw(method, data, 5 if method.startswith(WAITING) else CALL_S)
                known = descriptor.input_type.fields_by_number.get(1)
                if data[1] != 2 or (known and known.type == F.TYPE_STRING):  # an unknown field may hold anything
                    self.assertIsNot(code, grpc.StatusCode.OK, f"{method} took {data[:8]}")
                self.assertNotEqual(code, grpc.StatusCode.UNAVAILABLE, f"{method}: {told}\n{self.hob.log()[-6000:]}")
        self.still_works()

    def test_every_method_filled_at_random(self):
        for ident in ("a", "b", "c"):
            self.assertEqual(self.client.start(ident, "a")[0], grpc.StatusCode.OK)
        tokens = [self.client.poll("a")[1].task_token for _ in range(3)]
        for seed in range(SEEDS):
            for method, (descriptor, _) in self.schema.methods.items():
                if method in AWAY:
                    continue
                asked = Filler(f"{seed} {method}", tokens).fill(self.schema.factory.GetPrototype(descriptor.input_type)())
                code, told = self.client.raw(method, asked.SerializeToString(), 0.1 if method.startswith(WAITING) else 5)
                self.no_fault(method, code, told, f"seed {seed}: {asked}"[:3000])
        self.still_works()

    def test_every_command_without_attributes_and_with_those_of_another(self):
        command = self.schema.type("Command")
        kinds = [f.name for f in command.DESCRIPTOR.fields if f.name.endswith("_attributes")]
        types = [n for n in self.schema.pool.FindEnumTypeByName("tp.CommandType").values_by_number if n] + [0, 99, -1]
        rounds = [(t, None) for t in types] + [(t, k) for t in types for k in self.random_of(kinds, t)]
        for kind, attributes in rounds:
            ident = f"{kind}-{attributes}"
            self.assertEqual(self.client.start(ident)[0], grpc.StatusCode.OK)
            task = self.client.poll()[1]
            one = command(command_type=kind)
            if attributes:
                Filler(ident, []).fill(getattr(one, attributes))
                getattr(one, attributes).SetInParent()
            code, told = self.client.call("RespondWorkflowTaskCompleted", namespace="default", task_token=task.task_token, commands=[one])
            self.no_fault("RespondWorkflowTaskCompleted", code, told, ident)
            self.client.call("TerminateWorkflowExecution", namespace="default", workflow_execution={"workflow_id": ident})
        self.still_works()

    @staticmethod
    def random_of(kinds, seed):
        return random.Random(seed).sample(kinds, 3)

    def test_tokens_that_are_forged_foreign_or_old(self):
        self.client.start("old")
        token = self.client.poll()[1].task_token
        done = {"command_type": 4, "complete_workflow_execution_command_attributes": {}}
        forged = []
        for change in ({"ns": "other"}, {"workflow_id": "x" * 1001}, {"workflow_id": "absent"}, {"run_id": b"x" * 16}, {"run_id": b""},
                       {"type": 2}, {"type": 0}, {"type": 2**32 - 1}, {"scheduled_id": -1}, {"scheduled_id": 2**63 - 1},
                       {"started_id": -2**63}, {"attempt": -1}, {"activity_id": "z" * 5000}, {"started_ns": -1}):
            one = self.schema.type("TaskToken", "wt").FromString(token)
            for name, value in change.items():
                setattr(one, name, value)
            forged.append(one.SerializeToString())
        for wrong in (*forged, b"", b"\x00", token[:-1], token + b"\xff", os.urandom(5000)):
            for method in ("RespondWorkflowTaskCompleted", "RespondWorkflowTaskFailed", "RespondActivityTaskCompleted", "RespondActivityTaskFailed",
                           "RespondActivityTaskCanceled", "RecordActivityTaskHeartbeat", "RespondQueryTaskCompleted"):
                code, told = self.client.call(method, namespace="default", task_token=wrong)
                self.assertIsNot(code, grpc.StatusCode.OK, f"{method} took a token that is not of it")
                self.no_fault(method, code, told, wrong)
        code, told = self.client.call("RespondWorkflowTaskCompleted", namespace="default", task_token=token, commands=[done])
        self.assertEqual(code, grpc.StatusCode.OK, told)
        code, told = self.client.call("RespondWorkflowTaskCompleted", namespace="default", task_token=token, commands=[done])
        self.assertEqual(code, grpc.StatusCode.NOT_FOUND, told)
        self.assertEqual([e.event_type for e in self.client.history("old")[1].history.events].count(2), 1)

    def test_ids_and_payloads_beyond_their_limits(self):
        self.assertEqual(self.client.start("i" * 1001)[0], grpc.StatusCode.INVALID_ARGUMENT)
        code, told = self.client.start("big", input={"payloads": [{"data": b"x" * (2 << 20) + b"x"}]})
        self.assertIn(code, (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED), told)
        self.assertEqual(self.client.history("big")[0], grpc.StatusCode.NOT_FOUND)
        self.still_works()

    def test_durations_that_no_clock_has(self):
        for n, (seconds, nanos) in enumerate([(-1, 0), (2**63 - 1, 999999999), (-2**63, -1), (1, -2**31), (1, 2**31 - 1), (315576000000, 0)]):
            for name in ("workflow_execution_timeout", "workflow_run_timeout", "workflow_task_timeout", "workflow_start_delay"):
                code, told = self.client.start(f"d{n}-{name}", f"d{n}", **{name: {"seconds": seconds, "nanos": nanos}})
                self.no_fault("StartWorkflowExecution", code, told, (name, seconds, nanos))
        self.still_works()

    def test_a_flood_of_signals_on_one_workflow_loses_and_doubles_none(self):
        self.client.start("flood", "elsewhere")
        taken, lock = [], threading.Lock()

        def one(worker):
            with Client(self.schema, self.hob.temporal_address) as client:
                for n in range(50):
                    code, _ = client.call("SignalWorkflowExecution", namespace="default", workflow_execution={"workflow_id": "flood"},
                                          signal_name=f"{worker}-{n}", request_id=f"{worker}-{n // 2 * 2}-{n}")
                    if code is grpc.StatusCode.OK:
                        with lock:
                            taken.append(f"{worker}-{n}")

        harness.together(6, one)
        seen = [e.workflow_execution_signaled_event_attributes.signal_name for e in self.client.events("flood") if e.event_type == 26]
        self.assertEqual(sorted(seen), sorted(taken))
        self.assertTrue(taken)

    def test_a_thousand_polls_of_one_client_and_it_leaves(self):
        with Client(self.schema, self.hob.temporal_address) as client:
            asked = self.schema.type("PollWorkflowTaskQueueRequest")(namespace="default", task_queue={"name": "crowd"}).SerializeToString()
            calls = [client.channel.unary_unary(f"/{WORKFLOW}/PollWorkflowTaskQueue").future(asked, timeout=60) for _ in range(1000)]
            self.still_works()
            for call in calls[::2]:
                call.cancel()
        self.hob.wait_for("no poll to be left", lambda: self.hob.metric("hob_temporal_calls_waiting") == 0)
        self.client.start("alone", "crowd")
        self.assertEqual(self.client.poll("crowd")[1].workflow_execution.workflow_id, "alone")

    def test_what_was_acknowledged_survives_kill_9(self):
        taken = []
        with Client(self.schema, self.hob.temporal_address) as client:
            stop = threading.Event()

            def starts():
                n = 0
                while not stop.is_set():
                    if client.start(f"k{n}", "kept", )[0] is grpc.StatusCode.OK:
                        taken.append(f"k{n}")
                    elif stop.is_set() or taken:
                        return
                    n += 1

            thread = threading.Thread(target=starts)
            thread.start()
            self.hob.wait_for("some to be started", lambda: len(taken) > 30)
            self.hob.stop(signal.SIGKILL)
            stop.set()
            thread.join()
        self.hob.start()
        self.node = self.hob.wait_for("the node", lambda: self.hob.roles().get("node"))
        self.client = self.enterContext(Client(self.schema, self.hob.temporal_address))
        for ident in taken:
            code, told = self.client.history(ident)
            self.assertEqual(code, grpc.StatusCode.OK, f"{ident}: {told}")
            self.assertEqual(told.history.events[0].event_type, 1)
        self.still_works()

    def test_a_journal_with_wrong_bytes_is_refused_or_serves_what_was_written(self):
        """Never other data, never a fall; and as it was before, all is there."""
        for n in range(20):
            self.client.start(f"j{n}", input={"payloads": [{"data": os.urandom(400)}]})
        self.written = {f"j{n}": self.client.history(f"j{n}")[1].SerializeToString() for n in range(20)}
        self.hob.stop()
        path = pathlib.Path(self.hob.data, "durable.db")
        whole = path.read_bytes()
        dice = random.Random(4)
        page = int.from_bytes(whole[16:18], "big") or 65536
        places = [0, 18, *range(page, len(whole), page), *(dice.randrange(100, len(whole)) for _ in range(PLACES))]
        refused = {"whole": 0, "one": 0}
        for place in places:
            broken = bytearray(whole)
            broken[place:place + 64] = dice.randbytes(64)
            path.write_bytes(broken)
            refused[self.look(place)] += 1
            self.assertNotIn("Sanitizer", self.hob.log(), place)
        path.write_bytes(whole)
        self.hob.start()
        self.node = self.hob.wait_for("the node", lambda: self.hob.roles().get("node"))
        with Client(self.schema, self.hob.temporal_address) as client:
            self.assertEqual({i: client.history(i)[1].SerializeToString() for i in self.written}, self.written)
        self.assertTrue(all(refused.values()), refused)

    def look(self, place):
        """hob on this data folder: it refuses all of it, by the file's name and with what to do, or what is damaged of it."""
        begin = len(self.hob.log())
        try:
            self.hob.start()
        except AssertionError:
            self.assertRegex(self.hob.log()[begin:], r"durable\.db", place)
            self.hob.process.wait(harness.STOP_S)
            self.hob.process = None
            return "whole"
        with Client(self.schema, self.hob.temporal_address) as client:
            for ident, written in self.written.items():
                code, told = client.history(ident)
                if code is grpc.StatusCode.OK:
                    self.assertEqual(told.SerializeToString(), written, f"{ident}, damage at {place}")
                else:
                    self.assertIn(code, (grpc.StatusCode.DATA_LOSS, grpc.StatusCode.UNAVAILABLE), f"{ident}, damage at {place}: {told}")
        self.hob.stop()
        return "one"


if __name__ == "__main__":
    unittest.main()
