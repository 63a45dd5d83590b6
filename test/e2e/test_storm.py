"""Workflows with activities, timers and signals while hob is killed with SIGKILL, again and again; a ledger of the test's own says
afterwards what was acknowledged: all of it is there, nothing is there twice, every workflow ends.

HOB_STORM_SEED repeats the moments, HOB_STORM_KILLS says how many (25; bounded by HOB_STORM_S seconds), so that
    HOB_STORM_KILLS=1000 HOB_STORM_S=3600 python3 -m unittest test_storm
is a long one.
"""
import os
import random
import signal
import threading
import time
import unittest

from harness import Hob
from temporal_client import (ACTIVITY_COMPLETED, COMPLETE, COMPLETED, MISSING, SCHEDULE_ACTIVITY, SIGNALED, STARTED, Client,
                             Schema)

if not MISSING:
    import grpc

SEED = int(os.environ.get("HOB_STORM_SEED", "7"))
KILLS = int(os.environ.get("HOB_STORM_KILLS", "25"))
STORM_S = int(os.environ.get("HOB_STORM_S", "25"))
END_S, POLL_S, OPEN_MAX = 180, 5, 40
TASK_COMPLETED, ACTIVITY_SCHEDULED, TIMER_STARTED, TIMER_FIRED = 7, 10, 17, 18  # EventType
START_TIMER = 3  # CommandType
SIGNALS = ("s0", "s1")
LOST_S = 2  # what was handed to a worker that never heard of it comes again after so long


def activity(ident):
    return {"command_type": SCHEDULE_ACTIVITY, "schedule_activity_task_command_attributes": {
        "activity_id": ident, "activity_type": {"name": "a"}, "task_queue": {"name": "q"},
        "schedule_to_close_timeout": {"seconds": 3600}, "start_to_close_timeout": {"seconds": LOST_S},
        "retry_policy": {"initial_interval": {"nanos": 50_000_000}, "backoff_coefficient": 1}}}


TIMER = {"command_type": START_TIMER, "start_timer_command_attributes": {"timer_id": "t", "start_to_fire_timeout": {"nanos": 300_000_000}}}


class Story:
    """What a history says, each thing with how often it does."""

    def __init__(self, events):
        self.scheduled, self.results, self.signals, self.tasks, self.fired, self.ends, self.timers = {}, {}, [], [], [], 0, []
        for e in events:
            if e.event_type == ACTIVITY_SCHEDULED:
                self.scheduled.setdefault(e.activity_task_scheduled_event_attributes.activity_id, []).append(e.event_id)
            elif e.event_type == ACTIVITY_COMPLETED:
                of = e.activity_task_completed_event_attributes
                self.results.setdefault(of.scheduled_event_id, []).append(of.result.payloads[0].data)
            elif e.event_type == SIGNALED:
                self.signals.append(e.workflow_execution_signaled_event_attributes.signal_name)
            elif e.event_type == TIMER_STARTED:
                self.timers.append(e.timer_started_event_attributes.timer_id)
            elif e.event_type == TIMER_FIRED:
                self.fired.append(e.timer_fired_event_attributes.timer_id)
            elif e.event_type == TASK_COMPLETED:
                self.tasks.append(e.workflow_task_completed_event_attributes.started_event_id)
            elif e.event_type == COMPLETED:
                self.ends += 1

    def has(self, ident):
        return any(self.results.get(event) for event in self.scheduled.get(ident, ()))

    def next(self):
        """The program: an activity and a timer at once, then another activity, then both signals, then the end."""
        if "a" not in self.scheduled:
            return [activity("a"), TIMER]
        if "b" not in self.scheduled:
            return [activity("b")] if self.has("a") and self.fired else []
        return [COMPLETE] if self.has("b") and set(self.signals) == set(SIGNALS) else []


class Ledger:
    """What hob has said yes to, written down by those who heard it."""

    def __init__(self):
        self.lock = threading.Lock()
        self.runs = {}  # workflow id: run id
        self.tasks = {}  # workflow id: the started events of the tasks whose completion was acknowledged
        self.said = {}  # (workflow id, activity id): results that were sent, and those of them that were acknowledged
        self.acknowledged = {}
        self.signals, self.ended, self.wrong, self.unheard = {}, set(), [], 0
        self.closed = threading.Event()  # nobody asks again: what was not heard by now is never known

    def count(self):
        return {"starts": len(self.runs), "signals": sum(map(len, self.signals.values())), "tasks": sum(map(len, self.tasks.values())),
                "activities": sum(map(len, self.acknowledged.values())), "unheard": self.unheard}


class Part(threading.Thread):
    """One client, which goes to where hob is now, and asks again where it heard nothing."""

    def __init__(self, hob, schema, ledger, turn):
        super().__init__(daemon=True)
        self.hob, self.schema, self.ledger, self.turn = hob, schema, ledger, turn
        self.over, self.link, self.at = threading.Event(), None, None

    def client(self):
        if self.link is None or self.at != self.hob.temporal_address:
            self.close()
            self.at = self.hob.temporal_address
            self.link = Client(self.schema, self.at)
        return self.link

    def close(self):
        if self.link:
            self.link.channel.close()
            self.link = None

    def say(self, what, again=True):
        """what(client)'s answer. Who heard none asks again, on a new connection: what may have happened is known in the end."""
        while True:
            code, told = what(self.client())
            if code is grpc.StatusCode.OK or code is grpc.StatusCode.NOT_FOUND:
                return code, told
            self.close()
            with self.ledger.lock:
                self.ledger.unheard += 1
                if code not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED) and not self.cut(code, told):
                    self.ledger.wrong.append(f"{self.turn.__name__}: {code} {told}")
                    return code, told
            if not again or self.ledger.closed.wait(0.05):
                return code, told

    @staticmethod
    def cut(code, told):
        """grpc's own word for a connection that broke; hob never says it."""
        return code is grpc.StatusCode.UNKNOWN and "Stream removed" in str(told)

    def run(self):
        try:
            while not self.over.is_set():
                self.turn(self)
        except Exception as why:  # noqa: B902 -- told by the test
            self.ledger.wrong.append(f"{self.turn.__name__}: {why!r}")
        finally:
            self.close()


def starts(part):
    ledger = part.ledger
    if len(ledger.runs) - len(ledger.ended) >= OPEN_MAX:
        part.over.wait(0.02)  # a pace, not a wait for something
        return
    ident = f"w-{len(ledger.runs)}"
    code, told = part.say(lambda c: c.call("StartWorkflowExecution", namespace="default", workflow_id=ident, workflow_type={"name": "t"},
                                           task_queue={"name": "q"}, request_id="start-" + ident, workflow_task_timeout={"seconds": LOST_S}))
    if code is grpc.StatusCode.OK:
        ledger.runs[ident] = told.run_id
    elif code is grpc.StatusCode.NOT_FOUND:
        ledger.wrong.append(f"the start of {ident}: {told}")


def signals(part):
    ledger = part.ledger
    for ident in list(ledger.runs)[-OPEN_MAX * 2:]:
        for name in SIGNALS:
            if part.over.is_set():
                return
            if name in ledger.signals.setdefault(ident, set()):
                continue
            code, told = part.say(lambda c: c.signal(ident, name, f"{ident}-{name}"))
            # It ends only when it has both: one that has ended has it, from a call whose answer was not heard.
            if code is grpc.StatusCode.OK or (code is grpc.StatusCode.NOT_FOUND and "complete" in str(told)):
                ledger.signals[ident].add(name)
            elif code is grpc.StatusCode.NOT_FOUND:
                ledger.wrong.append(f"{name} of {ident}: {told}")
    part.over.wait(0.01)


def decides(part):
    ledger = part.ledger
    code, task = part.say(lambda c: c.poll("q", POLL_S), again=False)
    if code is not grpc.StatusCode.OK or not task.task_token:
        return
    ident, last = task.workflow_execution.workflow_id, task.started_event_id
    commands = Story(task.history.events).next()
    code, told = part.say(lambda c: c.command(task, *commands))
    if code is grpc.StatusCode.OK:
        with ledger.lock:
            ledger.tasks.setdefault(ident, []).append(last)
            if commands == [COMPLETE]:
                ledger.ended.add(ident)


def acts(part):
    ledger = part.ledger
    code, task = part.say(lambda c: c.call("PollActivityTaskQueue", timeout=POLL_S, namespace="default", task_queue={"name": "q"}), again=False)
    if code is not grpc.StatusCode.OK or not task.task_token:
        return
    key, result = (task.workflow_execution.workflow_id, task.activity_id), os.urandom(8).hex().encode()
    with ledger.lock:
        ledger.said.setdefault(key, set()).add(result)
    code, told = part.say(lambda c: c.call("RespondActivityTaskCompleted", namespace="default", task_token=task.task_token,
                                           result={"payloads": [{"data": result}]}))
    if code is grpc.StatusCode.OK:
        with ledger.lock:
            ledger.acknowledged.setdefault(key, []).append(result)


@unittest.skipIf(MISSING, MISSING)
class Storm(unittest.TestCase):
    def kill(self, hob, dice):
        """The node, which its launcher starts again, or everything."""
        if dice.random() < 0.5:
            self.assertEqual(hob.restart(signal.SIGKILL), -signal.SIGKILL)
            return "launcher"
        try:
            hob.kill_role("node")
        except AssertionError as why:
            if "ended by itself" not in str(why):
                raise
        return "node"

    def check(self, client, ledger):
        """The ledger against the histories, both ways."""
        for ident, run in ledger.runs.items():
            events = client.events(ident)
            story = Story(events)
            self.assertEqual((events[0].event_type, [e.event_id for e in events]), (STARTED, list(range(1, len(events) + 1))), ident)
            self.assertEqual(events[0].workflow_execution_started_event_attributes.original_execution_run_id, run, ident)
            self.assertEqual((story.ends, sorted(story.signals), story.timers, story.fired), (1, list(SIGNALS), ["t"], ["t"]), ident)
            self.assertEqual({k: len(v) for k, v in story.scheduled.items()}, {"a": 1, "b": 1}, ident)
            for name in story.scheduled:
                found, key = story.results[story.scheduled[name][0]], (ident, name)
                self.assertEqual(len(found), 1, f"{key} was completed more than once")
                self.assertIn(found[0], ledger.said[key], key)
                self.assertIn(ledger.acknowledged.get(key, []), ([], found), f"{key}: an acknowledged result is not the recorded one")
            self.assertEqual(len(set(story.tasks)), len(story.tasks), ident)
            self.assertLessEqual(set(ledger.tasks.get(ident, ())), set(story.tasks), f"{ident}: an acknowledged task is lost")
        code, told = client.call("CountWorkflowExecutions", namespace="default")
        self.assertEqual((code, told.count), (grpc.StatusCode.OK, len(ledger.runs)))  # and none that nobody started

    def storm(self, hob, dice):
        kills, begin = {"launcher": 0, "node": 0}, time.monotonic()
        while sum(kills.values()) < KILLS and time.monotonic() - begin < STORM_S:
            time.sleep(dice.random() * 0.4)  # any moment
            kills[self.kill(hob, dice)] += 1
            if dice.random() < 0.7:  # else: while it still starts
                hob.wait_for("hob to be ready again", hob.is_ready, 60)
        return kills

    def test_what_was_acknowledged_is_there_once_and_all_ends(self):
        ledger, schema, dice = Ledger(), Schema(), random.Random(SEED)
        with Hob() as hob:
            feeds = [Part(hob, schema, ledger, turn) for turn in (starts, signals)]
            workers = [Part(hob, schema, ledger, turn) for turn in (decides, decides, acts, acts)]
            for part in feeds + workers:
                part.start()
            try:
                hob.wait_for("work", lambda: ledger.acknowledged or ledger.wrong)
                kills = self.storm(hob, dice)
                hob.wait_for("hob to be ready again", hob.is_ready, 60)
                feeds[0].over.set()
                feeds[0].join()
                hob.wait_for("every signal", lambda: ledger.wrong or all(len(ledger.signals.get(i, ())) == 2 for i in ledger.runs), END_S)
                with Client(schema, hob.temporal_address) as client:
                    open_ones = set(ledger.runs)

                    def none_open():
                        open_ones.difference_update([i for i in open_ones if client.events(i)[-1].event_type == COMPLETED])
                        return ledger.wrong or not open_ones
                    hob.wait_for("the end of every workflow", none_open, END_S)
            finally:
                ledger.closed.set()
                for part in feeds + workers:
                    part.over.set()
                for part in feeds + workers:
                    part.join()
                print(f"HOB_STORM_SEED={SEED} kills={kills if 'kills' in locals() else 'cut short'} {ledger.count()} ", end="", flush=True)
            self.assertEqual(ledger.wrong, [])
            self.assertGreater(len(ledger.runs), sum(kills.values()) // 5)
            for _ in range(2):
                with Client(schema, hob.temporal_address) as client:
                    self.check(client, ledger)
                hob.restart(signal.SIGKILL)
            status, _, err = hob.hob("backup", hob.folder + "/copy", timeout=END_S)  # which reads every page and checksum
            self.assertEqual(status, 0, err)


if __name__ == "__main__":
    unittest.main()
