"""As much of Temporal's API as a test needs: its messages by field number, over grpcio. No generated code."""
import grpc

SERVICE = "/temporal.api.workflowservice.v1.WorkflowService/"
CLOSED = {2: "completed", 3: "failed", 4: "canceled", 5: "terminated", 7: "timed out"}
SCHEDULED, COMPLETED, TIMER_FIRED, ENDED = 10, 12, 18, 2  # of EventType


def varint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def message(*fields):
    """(number, int, str, bytes or a message's bytes), in order."""
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(data)) + data
    return out


def number(data, at):
    shift = result = 0
    while True:
        result |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return result, at


def fields(data):
    """{number: [values]}"""
    at, found = 0, {}
    while at < len(data):
        key, at = number(data, at)
        if key & 7 == 0:
            value, at = number(data, at)
        elif key & 7 == 2:
            size, at = number(data, at)
            value, at = data[at:at + size], at + size
        else:
            size = 8 if key & 7 == 1 else 4
            value, at = data[at:at + size], at + size
        found.setdefault(key >> 3, []).append(value)
    return found


def one(data, *path):
    """The last value at a path of numbers, b"" where there is none."""
    for step in path:
        data = fields(data).get(step, [b""])[-1]
    return data


def payloads(data):
    return message((1, message((2, data))))


def payload(data):
    return one(data, 1, 2)


def seconds(n):
    return message((1, int(n)), (2, int(n % 1 * 1e9)))


class Temporal:
    def __init__(self, address, namespace="default", identity="test"):
        self.channel = grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
        self.namespace, self.identity = namespace, identity

    def close(self):
        self.channel.close()

    def call(self, method, request, timeout=30):
        return self.channel.unary_unary(SERVICE + method)(request, timeout=timeout, wait_for_ready=True)

    def start(self, workflow, kind, queue, data=b""):
        """The run id."""
        return one(self.call("StartWorkflowExecution", message(
            (1, self.namespace), (2, workflow), (3, message((1, kind))), (4, message((1, queue))), (5, payloads(data)),
            (9, self.identity), (10, workflow))), 1).decode()

    def events(self, workflow, run=""):
        answer = self.call("GetWorkflowExecutionHistory", message(
            (1, self.namespace), (2, message((1, workflow), (2, run)))))
        return [(one(e, 3), e) for e in fields(one(answer, 1)).get(1, [])]

    def result(self, workflow, timeout=120):
        """Waits for its end."""
        while True:
            answer = self.call("GetWorkflowExecutionHistory", message(
                (1, self.namespace), (2, message((1, workflow))), (5, 1), (6, 2)), timeout=timeout)
            last = fields(one(answer, 1)).get(1, [])
            if last:
                return one(last[-1], 3), payload(one(last[-1], 7, 1))
