"""A Temporal worker, for test_workers.py: workflows that do one activity, or sleep, and the activities.

A workflow of type "echo", "slow", "nap", "ask", "die" does the activity of that name with its own input and ends with what that says;
"sleep" waits so many seconds. Those of "sleep" are kept on a sticky queue, as the SDKs do."""
import os
import signal
import socket
import sys
import threading
import time

import grpc
from temporal_wire import COMPLETED, SCHEDULED, TIMER_FIRED, Temporal, fields, message, one, payload, payloads, seconds

QUEUE = os.environ["TEMPORAL_TASK_QUEUE"]
HOST = socket.gethostname()
STICKY = f"{QUEUE}-{HOST}"
ending = threading.Event()
temporal = Temporal(os.environ["TEMPORAL_ADDRESS"], os.environ["TEMPORAL_NAMESPACE"], f"{os.getpid()}@{HOST}")


def commands(kind, data, seen):
    """Those of one workflow task, from the events that it brings."""
    for event_type, event in seen:
        if event_type in (COMPLETED, TIMER_FIRED):
            result = one(event, 17, 1) if event_type == COMPLETED else payloads(HOST.encode())
            return [message((1, 4), (4, message((1, result))))]
    if any(event_type == SCHEDULED for event_type, _ in seen):
        return []
    if kind == "sleep":
        return [message((1, 3), (3, message((1, "t"), (2, seconds(float(data))))))]
    return [message((1, 1), (2, message(
        (1, "a"), (2, message((1, kind))), (4, message((1, QUEUE))), (6, payloads(data)), (9, seconds(60 if kind == "nap" else 6)),
        (11, message((1, seconds(1)), (4, 5))))))]


def workflow_task(task):
    seen = [(one(e, 3), e) for e in fields(one(task, 8)).get(1, [])]
    kind = one(task, 3, 1).decode()
    data = next((payload(one(e, 6, 6)) for event_type, e in seen if event_type == 1), b"")
    answer = [(1, one(task, 1)), *((2, c) for c in commands(kind, data, seen)), (3, temporal.identity),
              (9, temporal.namespace)]
    if kind == "sleep":
        answer.append((4, message((1, message((1, STICKY), (2, 2), (3, QUEUE))), (2, seconds(5)))))
    temporal.call("RespondWorkflowTaskCompleted", message(*answer))


def ask(namespace):
    try:
        temporal.call("ListNamespaces", b"")
        return b"it was told of namespaces"
    except grpc.RpcError as e:
        if e.code() != grpc.StatusCode.PERMISSION_DENIED:
            return str(e).encode()
    try:
        temporal.call("DescribeWorkflowExecution", message((1, namespace), (2, message((1, "w1")))))
        return b"it was told of another's workflow"
    except grpc.RpcError as e:
        return f"{e.code().name} {e.details()}".encode()


def activity_task(task):
    kind, data, attempt = one(task, 5, 1).decode(), payload(one(task, 8)), one(task, 13)
    print("activity", kind, attempt, flush=True)
    if kind == "die" and attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if kind in ("slow", "nap"):
        time.sleep(float(data))
    if kind == "ask":
        data = ask(data.decode())
    temporal.call("RespondActivityTaskCompleted", message(
        (1, one(task, 1)), (2, payloads(f"{HOST} {attempt} ".encode() + data)), (3, temporal.identity),
        (4, temporal.namespace)))


def poll(method, queue, done):
    while not ending.is_set():
        try:
            task = temporal.call(method, message((1, temporal.namespace), (2, queue), (3, temporal.identity)), timeout=60)
            if one(task, 1):
                done(task)
        except grpc.RpcError as e:
            if e.code() not in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.NOT_FOUND):
                print(method, e.code(), e.details(), flush=True)
                time.sleep(0.1)


def on_term(*_):
    print("told to end", flush=True)
    ending.set()
    os._exit(0)


signal.signal(signal.SIGTERM, on_term)
for spec in (("PollWorkflowTaskQueue", message((1, QUEUE)), workflow_task),
             ("PollWorkflowTaskQueue", message((1, STICKY), (2, 2), (3, QUEUE)), workflow_task),
             ("PollActivityTaskQueue", message((1, QUEUE)), activity_task),
             ("PollActivityTaskQueue", message((1, QUEUE)), activity_task)):
    threading.Thread(target=poll, args=spec, daemon=True).start()
print("working on", QUEUE, file=sys.stderr, flush=True)
while True:
    signal.pause()
