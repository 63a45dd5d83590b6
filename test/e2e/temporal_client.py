"""A client and worker of Temporal's API that says what it is told, however wrong. Its messages come from hob's own schema
(src/codec/temporal*.proto), so it knows every method and field that hob does.
"""
import os
import shutil
import tempfile

try:
    import grpc
    from google.protobuf import descriptor_pool, message_factory
except ImportError:
    grpc = None

from test_temporal_schema import SRC, compile_set

MISSING = None if grpc and shutil.which("protoc-c") else "python3-grpcio, python3-protobuf or protoc-c is not installed"
WORKFLOW, OPERATOR = "temporal.api.workflowservice.v1.WorkflowService", "temporal.api.operatorservice.v1.OperatorService"
CALL_S = 60
COMPLETE_WORKFLOW, SCHEDULE_ACTIVITY = 4, 1  # CommandType
STARTED, COMPLETED, ACTIVITY_COMPLETED, SIGNALED = 1, 2, 12, 26  # EventType


class Schema:
    """hob's schema as classes of messages, and its methods."""

    def __init__(self):
        with tempfile.TemporaryDirectory() as work:
            files = compile_set([SRC], ["codec/temporal.proto", "workflow/service.proto"], os.path.join(work, "set"))
        pool = descriptor_pool.DescriptorPool()
        for file in files.file:
            pool.Add(file)
        self.pool, self.factory = pool, message_factory.MessageFactory(pool)
        self.methods = {m.name: (m, of) for name, of in (("WorkflowService", WORKFLOW), ("OperatorService", OPERATOR))
                        for m in pool.FindServiceByName(f"tp.{name}").methods}

    def type(self, name, package="tp"):
        return self.factory.GetPrototype(self.pool.FindMessageTypeByName(f"{package}.{name}"))


class Client:
    """One connection that says what it is told, however wrong."""

    def __init__(self, schema, address):
        self.schema = schema
        self.channel = grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", -1),
                                                               ("grpc.use_local_subchannel_pool", 1)])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.channel.close()

    def raw(self, method, data, timeout=CALL_S, metadata=None):
        """(status code, details or bytes)"""
        of = self.schema.methods[method][1]
        try:
            return grpc.StatusCode.OK, self.channel.unary_unary(f"/{of}/{method}")(data, timeout=timeout,
                                                                                        metadata=metadata)
        except grpc.RpcError as why:
            return why.code(), why.details()

    def call(self, method, timeout=CALL_S, **fields):
        descriptor = self.schema.methods[method][0]
        asked = self.schema.factory.GetPrototype(descriptor.input_type)(**fields)
        code, told = self.raw(method, asked.SerializeToString(), timeout)
        if code is grpc.StatusCode.OK:
            return code, self.schema.factory.GetPrototype(descriptor.output_type).FromString(told)
        return code, told

    def start(self, ident, queue="q", **more):
        return self.call("StartWorkflowExecution", namespace="default", workflow_id=ident, workflow_type={"name": "t"},
                         task_queue={"name": queue}, request_id=os.urandom(8).hex(), **more)

    def poll(self, queue="q", timeout=CALL_S):
        return self.call("PollWorkflowTaskQueue", namespace="default", task_queue={"name": queue}, timeout=timeout)

    def history(self, ident, after=b""):
        return self.call("GetWorkflowExecutionHistory", namespace="default", execution={"workflow_id": ident}, next_page_token=after)

    def events(self, ident):
        """All of them; raises unless there are."""
        found, after = [], b""
        while True:
            code, told = self.history(ident, after)
            if code is not grpc.StatusCode.OK:
                raise AssertionError(f"the history of {ident}: {code} {told}")
            found.extend(told.history.events)
            after = told.next_page_token
            if not after:
                return found

    def signal(self, ident, name, request_id):
        return self.call("SignalWorkflowExecution", namespace="default", workflow_execution={"workflow_id": ident},
                         signal_name=name, request_id=request_id)

    def command(self, task, *commands):
        """Answers a workflow's task."""
        return self.call("RespondWorkflowTaskCompleted", namespace="default", task_token=task.task_token, commands=list(commands))


COMPLETE = {"command_type": COMPLETE_WORKFLOW, "complete_workflow_execution_command_attributes": {}}
