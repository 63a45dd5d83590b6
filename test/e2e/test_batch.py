"""Batch operations of Temporal's API, on the real binary: what a query finds, through kill -9."""

import os
import time
import unittest

try:
    import grpc
except ImportError:
    grpc = None

from harness import Hob
from temporal_client import MISSING, Client, Schema

RUNNING, COMPLETED, FAILED = 1, 2, 3  # BatchOperationState, and the status of workflows
TERMINATED, SIGNALED = 5, 26
WAIT_S = 120


@unittest.skipIf(MISSING, MISSING)
class Batch(unittest.TestCase):
    def setUp(self):
        self.schema = Schema()
        self.hob = Hob(limits={"batch_page_max": 5})
        self.addCleanup(self.hob.__exit__, None, None, None)
        self.hob.__enter__()
        self.client = None
        self.connect()

    def connect(self):
        if self.client:
            self.client.__exit__()
        self.client = Client(self.schema, self.hob.temporal_address)
        self.addCleanup(self.client.__exit__)

    def ok(self, method, **fields):
        """Also while hob starts again."""
        end = time.monotonic() + WAIT_S
        while True:
            code, told = self.client.call(method, namespace="default", **fields)
            if code is grpc.StatusCode.OK:
                return told
            if code is not grpc.StatusCode.UNAVAILABLE or time.monotonic() > end:
                self.fail(f"{method}: {code} {told}")
            time.sleep(0.05)

    def started(self, names, kind):
        for name in names:
            self.ok("StartWorkflowExecution", workflow_id=name, workflow_type={"name": kind}, task_queue={"name": "q"},
                    request_id=os.urandom(8).hex())

    def outcome(self, job):
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            told = self.ok("DescribeBatchOperation", job_id=job)
            if told.state != RUNNING:
                return (told.state, told.total_operation_count, told.complete_operation_count, told.failure_operation_count)
            time.sleep(0.02)
        self.fail(f"{job} is not over")

    def status(self, name):
        return self.ok("DescribeWorkflowExecution", execution={"workflow_id": name}).workflow_execution_info.status

    def test_a_batch_changes_what_its_query_found_and_nothing_else(self):
        mine, others = [f"a-{i}" for i in range(23)], ["b-0", "b-1"]
        self.started(mine, "A")
        self.started(others, "B")
        self.ok("StartBatchOperation", job_id="end", reason="why", visibility_query="WorkflowType = 'A' OR WorkflowType = 'C'",
                termination_operation={"identity": "me"})
        self.started(["a-late"], "A")
        self.assertEqual(self.outcome("end"), (COMPLETED, 23, 23, 0))
        self.assertEqual({self.status(n) for n in mine}, {TERMINATED})
        self.assertEqual({self.status(n) for n in [*others, "a-late"]}, {RUNNING})
        self.ok("StartBatchOperation", job_id="away", reason="why", visibility_query="ExecutionStatus = 'Terminated'",
                deletion_operation={})
        self.assertEqual(self.outcome("away"), (COMPLETED, 23, 23, 0))
        left = self.ok("ListWorkflowExecutions", query="")
        self.assertEqual(sorted(x.execution.workflow_id for x in left.executions), ["a-late", "b-0", "b-1"])
        told = self.ok("ListBatchOperations")
        self.assertEqual(sorted(x.job_id for x in told.operation_info), ["away", "end"])

    def test_a_batch_goes_on_after_a_kill_and_signals_nobody_twice(self):
        names = [f"a-{i}" for i in range(60)]
        self.started(names, "A")
        self.ok("StartBatchOperation", job_id="ring", reason="why", visibility_query="WorkflowType = 'A'",
                max_operations_per_second=40.0, signal_operation={"signal": "ring"})
        for done in (1, 15, 35):
            self.hob.wait_for(f"{done} signals", lambda least=done: self.ok(
                "DescribeBatchOperation", job_id="ring").complete_operation_count >= least)
            self.hob.kill_role("node")
            self.hob.wait_for("a new node", self.hob.is_ready)
        self.assertEqual(self.outcome("ring"), (COMPLETED, 60, 60, 0))
        for name in names:
            events = self.ok("GetWorkflowExecutionHistory", execution={"workflow_id": name}).history.events
            self.assertEqual([e.event_type for e in events].count(SIGNALED), 1, name)

    def test_a_batch_resets_each_run_to_its_first_task(self):
        names = [f"a-{i}" for i in range(8)]
        self.started(names, "A")
        for _ in names:
            task = self.ok("PollWorkflowTaskQueue", task_queue={"name": "q"})
            self.ok("RespondWorkflowTaskCompleted", task_token=task.task_token, commands=[
                {"command_type": 4, "complete_workflow_execution_command_attributes": {}}])
        before = {n: self.ok("DescribeWorkflowExecution", execution={"workflow_id": n}).workflow_execution_info.execution.run_id
                  for n in names}
        self.ok("StartBatchOperation", job_id="again", reason="why", visibility_query="WorkflowType = 'A'",
                reset_operation={"options": {"first_workflow_task": {}}})
        self.assertEqual(self.outcome("again"), (COMPLETED, 8, 8, 0))
        for name in names:
            told = self.ok("DescribeWorkflowExecution", execution={"workflow_id": name}).workflow_execution_info
            self.assertEqual(told.status, RUNNING)
            self.assertNotEqual(told.execution.run_id, before[name])
        again = {"workflow_execution": {"workflow_id": names[0], "run_id": before[names[0]]}, "reason": "why",
                 "workflow_task_finish_event_id": 4, "request_id": "once"}
        first = self.ok("ResetWorkflowExecution", **again).run_id
        self.assertEqual(self.ok("ResetWorkflowExecution", **again).run_id, first)

    def test_batches_go_with_their_namespace(self):
        def registered():
            code, told = self.client.call("RegisterNamespace", namespace="shop", workflow_execution_retention_period={"seconds": 86400})
            self.assertIn(code, (grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE), told)
            return code is grpc.StatusCode.OK

        def asked(method, **fields):
            code, told = self.client.call(method, namespace="shop", **fields)
            self.assertEqual(code, grpc.StatusCode.OK, told)
            return told

        def begun():
            asked("StartBatchOperation", job_id="j", reason="why", visibility_query="WorkflowType = 'A'", cancellation_operation={})
            self.hob.wait_for("its end", lambda: asked("DescribeBatchOperation", job_id="j").state == COMPLETED)

        self.assertTrue(registered())
        begun()
        asked("DeleteNamespace")
        self.hob.wait_for("the namespace anew", registered)
        self.assertEqual(len(asked("ListBatchOperations").operation_info), 0)
        begun()


if __name__ == "__main__":
    unittest.main()
