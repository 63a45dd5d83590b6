"""A function that speaks HTTP/2 with prior knowledge (python3-h2), for end-to-end tests: it does what its path says.

  /seen       what came, and how many connections and streams there were, as JSON
  /echo       the body, piece by piece as it comes, and a trailer with its size
  /wait/MS    answers after so long; /hang never does, /half sends "half" and then nothing
  /goaway     answers, says GOAWAY, and ends the connection when nothing is left on it
  /drop       ends the connection without an answer, the first DROPS times (environment)
  /refuse     refuses the stream the first time, answers the second
  /reset      answers half, then resets
  /flood      sends PING after PING
"""
import asyncio
import json
import os

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

seen = {"connections": 0, "most": 0, "running": 0, "requests": 0, "refused": 0, "dropped": 0, "cancelled": 0}


class Stream:
    def __init__(self, headers):
        self.headers = [(k.decode(), v.decode()) for k, v in headers]
        self.path = dict(self.headers)[":path"]
        self.size, self.waiting, self.ended, self.trailers, self.task = 0, b"", False, [], None


class Connection(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.streams, self.leaving = transport, {}, False
        seen["connections"] += 1
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self.h2.initiate_connection()
        if "MAX_STREAMS" in os.environ:
            self.h2.update_settings({h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: int(os.environ["MAX_STREAMS"])})
        self.flush()

    def flush(self):
        self.transport.write(self.h2.data_to_send())

    def data_received(self, data):
        for event in self.h2.receive_data(data):
            self.on_event(event)
        for ident in list(self.streams):
            self.echo(ident)
        self.flush()

    def echo(self, ident):
        """Gives back what came, as far as the window goes, and takes as much more."""
        stream = self.streams[ident]
        while stream.waiting and (room := min(self.h2.local_flow_control_window(ident), 16384)):
            piece, stream.waiting = stream.waiting[:room], stream.waiting[room:]
            self.h2.send_data(ident, piece)
            self.h2.acknowledge_received_data(len(piece), ident)
        if stream.path == "/echo" and stream.ended and not stream.waiting:
            sent = dict(stream.trailers)
            self.over(ident, [("x-size", str(stream.size)), ("x-sent", sent.get("x-sent", "-"))])

    def on_event(self, event):
        stream = self.streams.get(getattr(event, "stream_id", None))
        if isinstance(event, h2.events.RequestReceived):
            stream = self.streams[event.stream_id] = Stream(event.headers)
            seen["requests"] += 1
            seen["running"] += 1
            seen["most"] = max(seen["most"], seen["running"])
            if stream.path == "/echo":
                self.head(event.stream_id)
            stream.task = asyncio.ensure_future(self.serve(event.stream_id, stream))
        elif isinstance(event, h2.events.DataReceived) and stream:
            stream.size += len(event.data)
            if stream.path == "/echo":
                stream.waiting += event.data
            else:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived) and stream:
            stream.trailers = [(k.decode(), v.decode()) for k, v in event.headers]
        elif isinstance(event, h2.events.StreamEnded) and stream:
            stream.ended = True
        elif isinstance(event, h2.events.StreamReset) and stream:
            seen["cancelled"] += 1
            stream.task.cancel()
            self.gone(event.stream_id)

    def gone(self, ident):
        if self.streams.pop(ident, None):
            seen["running"] -= 1
        if self.leaving and not self.streams:
            self.transport.close()

    def head(self, ident, status=200, **fields):
        self.h2.send_headers(ident, [(":status", str(status)), *fields.items()])
        self.flush()

    def over(self, ident, trailers=None):
        if trailers:
            self.h2.send_headers(ident, trailers, end_stream=True)
        else:
            self.h2.end_stream(ident)
        self.flush()
        self.gone(ident)

    def answer(self, ident, text):
        self.head(ident)
        self.h2.send_data(ident, text.encode())
        self.over(ident)

    async def serve(self, ident, stream):
        word, _, rest = stream.path[1:].partition("/")
        if word == "seen":
            self.answer(ident, json.dumps({**seen, "headers": stream.headers}))
        elif word == "wait":
            await asyncio.sleep(int(rest) / 1000)
            self.answer(ident, "waited")
        elif word == "half":
            self.head(ident)
            self.h2.send_data(ident, b"half")
            self.flush()
        elif word == "goaway":
            self.leaving = True
            self.h2.close_connection(last_stream_id=ident)
            self.transport.write(self.h2.data_to_send())
            self.transport.close()
        elif word == "drop":
            seen["dropped"] += 1
            if seen["dropped"] <= int(os.environ.get("DROPS", "1")):
                self.transport.abort()
            else:
                self.answer(ident, "at last")
        elif word == "refuse":
            seen["refused"] += 1
            if seen["refused"] == 1:
                self.h2.reset_stream(ident, h2.errors.ErrorCodes.REFUSED_STREAM)
                self.flush()
                self.gone(ident)
            else:
                self.answer(ident, "taken")
        elif word == "reset":
            self.head(ident)
            self.h2.send_data(ident, b"half")
            self.flush()
            self.h2.reset_stream(ident, h2.errors.ErrorCodes.INTERNAL_ERROR)
            self.flush()
            self.gone(ident)
        elif word == "flood":
            for i in range(3000):
                self.h2.ping(i.to_bytes(8, "big"))
            self.flush()
        elif word not in ("hang", "echo"):
            self.answer(ident, "ok")

    def connection_lost(self, _):
        for ident in list(self.streams):
            self.gone(ident)


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "0.0.0.0", int(os.environ["PORT"]))
    await server.serve_forever()


asyncio.run(main())
