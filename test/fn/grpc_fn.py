"""A gRPC server (python3-grpcio) for end-to-end tests; messages are plain bytes.

  /t.Echo/One     the message, and the deadline it was given in a trailer
  /t.Echo/Each    every message as it comes, both ways at once
  /t.Echo/Fail    NOT_FOUND "no such thing"
  /t.Echo/Slow    answers after as many ms as the message says, or notes that it was cancelled
  /t.Echo/Stuck   streams one message, then nothing
  /t.Echo/Count   calls that were cancelled so far
"""
import os
import threading
from concurrent import futures

import grpc

cancelled = []


def one(message, context):
    left = context.time_remaining()
    context.set_trailing_metadata((("x-left", "none" if left is None or left > 1e6 else str(round(left * 1000))),))
    return message


def each(messages, context):
    for message in messages:
        yield message


def fail(message, context):
    context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")


def slow(message, context):
    gone = threading.Event()
    context.add_callback(gone.set)
    if gone.wait(int(message) / 1000):
        cancelled.append(1)
    return b"late"


def stuck(message, context):
    gone = threading.Event()
    context.add_callback(gone.set)
    yield b"first"
    gone.wait()
    cancelled.append(1)


def count(message, context):
    return str(len(cancelled)).encode()


def raw(make, what):
    return make(what, request_deserializer=None, response_serializer=None)


handlers = grpc.method_handlers_generic_handler("t.Echo", {
    "One": raw(grpc.unary_unary_rpc_method_handler, one),
    "Each": raw(grpc.stream_stream_rpc_method_handler, each),
    "Fail": raw(grpc.unary_unary_rpc_method_handler, fail),
    "Slow": raw(grpc.unary_unary_rpc_method_handler, slow),
    "Stuck": raw(grpc.unary_stream_rpc_method_handler, stuck),
    "Count": raw(grpc.unary_unary_rpc_method_handler, count),
})
server = grpc.server(futures.ThreadPoolExecutor(8))
server.add_generic_rpc_handlers((handlers,))
if not server.add_insecure_port(f"0.0.0.0:{os.environ['PORT']}"):
    raise SystemExit("the port cannot be bound")
server.start()
server.wait_for_termination()
