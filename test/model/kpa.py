"""The Knative pod autoscaler, written once more and as plainly as possible: it keeps everything that ever happened
and computes each answer from the beginning. Written from the description of Knative's behaviour, not from
src/scale; the two share nothing but the trace lines and the names of the reasons.

Numbers are in millionths where the autoscaler's are. Rules marked HOB are not Knative's.
"""
from bisect import bisect_left as bisect
from fractions import Fraction
from math import ceil, floor

MICRO = 1000000
TICK_US = 2000000
NAMES = dict(metric=0, aggregation=0, total=100 * MICRO, target=70 * MICRO, burst=211 * MICRO, window=60,
             panic_window=6, threshold=2 * MICRO, up=1000 * MICRO, down=2 * MICRO, min=0, max=1000, initial=1,
             activation=0, room=0, delay=0, retention=0, grace=30 * MICRO, deadline=630 * MICRO, to_zero=1, queued=0,
             ready=0)


def half_up(x):
    return floor(Fraction(x) + Fraction(1, 2))


class Load:
    """Every change of the level, every arrival, and when anybody looked."""

    def __init__(self):
        self.levels = [(0, 0)]   # (us, level from then on)
        self.arrivals = []
        self.awake = []          # [from, to or None]
        self.known = {}

    def looks(self):
        return bool(self.awake) and self.awake[-1][1] is None

    def wake(self, us):
        if not self.looks():
            self.awake.append([us, None])

    def level(self, us, n):
        if n:
            self.wake(us)
        self.levels.append((us, n))

    def arrive(self, us):
        self.wake(us)
        self.arrivals.append(us)

    def measure(self, us, instances):
        if instances:
            self.wake(us)
        elif self.levels[-1][1] == 0 and self.looks():
            self.awake[-1][1] = us

    def second(self, s, metric, now_us):
        """The value of a second that is over, or None if nobody looked in it."""
        if s in self.known:
            return self.known[s]
        begin, end = s * MICRO, (s + 1) * MICRO
        seen, area = 0, 0
        for a, b in self.awake:
            a, b = max(a, begin), min(b if b is not None else now_us, end)
            if b <= a:
                continue
            seen += b - a
            for i in range(max(0, bisect(self.levels, (a,)) - 1), len(self.levels)):
                at, n = self.levels[i]
                if at >= b:
                    break
                until = self.levels[i + 1][0] if i + 1 < len(self.levels) else now_us
                area += n * max(0, min(b, until) - max(a, at))
        if not seen:
            value = None
        elif metric:
            value = MICRO * sum(begin <= t < end for t in self.arrivals)
        else:
            value = half_up(Fraction(area * MICRO, seen))
        self.known[s] = value
        return value


class Kpa:
    def __init__(self, **settings):
        self.__dict__.update(NAMES)
        self.__dict__.update(settings)
        self.load = Load()
        self.reached = False
        self.panic_since = 0 if self.ready > 1 else None  # restart: what is there stays
        self.panic_most = self.ready if self.ready > 1 else 0
        self.said = []           # (us, desired) before the delay
        self.activity, self.since, self.timed_out = "activating", 0, False
        self.proxy_since = None
        self.apply = min(max(self.initial, self.min, self.ready), self.max)
        self.wanted, self.desired, self.reason, self.base = -1, -1, "no-data", "no-data"
        self.stable = self.panic = self.excess = 0
        self.queues = 2
        self.seconds = []        # those recorded: (second, value)
        self.looked = -1

    # measuring

    def record(self, now_us):
        for s in range(self.looked + 1, now_us // MICRO):
            value = self.load.second(s, self.metric, now_us)
            if value is not None:
                self.seconds.append((s, value))
        self.looked = max(self.looked, now_us // MICRO - 1)

    def average(self, size, now_s):
        """Over `size` seconds that end with now_s; None: no data."""
        if not self.seconds or now_s - self.seconds[-1][0] > size:
            return None
        last = self.seconds[-1][0]
        silent = now_s - last
        if silent >= size:
            return 0
        first = last
        for s, _ in reversed(self.seconds):  # back to the last silence of a whole window
            if first - s >= size:
                break
            first = s
            if last - s >= size:
                break
        inside = [(s, v) for s, v in self.seconds[-size:] if now_s - size < s <= now_s]
        if self.aggregation == 0:
            return half_up(Fraction(sum(v for _, v in inside), min(last - first + 1, size - silent)))
        c = max(1 - 0.0001 ** (1 / size), 0.2)
        return half_up(sum(v * c * (1 - c) ** (now_s - s) for s, v in inside))

    # the decision of a tick

    def clamp(self, raw, ready, reachable):
        down = ready * MICRO // self.down if reachable else 0
        up = ceil(Fraction(self.up * ready, MICRO))
        n, why = raw, None
        if n < down:
            n, why = down, "max-rate-down"
        if n > up:
            n, why = up, "max-rate-up"
        if self.activation > 1 and raw > 0 and n < self.activation:
            n, why = self.activation, "activation-scale"
        return n, why

    def decide(self, us, pods, reachable):
        now_s = us // MICRO - 1
        if now_s < 0:
            return
        stable = self.average(self.window, now_s)
        if stable is None:
            return
        self.stable, self.panic = stable, self.average(self.panic_window, now_s) or 0
        ready = max(1, pods)
        raw_stable, raw_panic = ceil(Fraction(self.stable, self.target)), ceil(Fraction(self.panic, self.target))
        n, why = self.clamp(raw_stable, ready, reachable)
        p, why_panic = self.clamp(raw_panic, ready, reachable)
        reason = why or "stable"
        if Fraction(raw_panic, ready) >= Fraction(self.threshold, MICRO):
            self.panic_since = us
        elif self.panic_since is not None and self.panic_since + self.window * MICRO < us:
            self.panic_since, self.panic_most = None, 0
        if self.panic_since is not None:
            if p >= n:
                n, reason = p, why_panic or "panic"
            if n < self.panic_most:
                n, reason = self.panic_most, "panic-held"
            self.panic_most = n
        if self.delay:
            slots = ceil(Fraction(self.delay, TICK_US))
            self.said.append((us // TICK_US, n))
            most = max(v for at, v in self.said if at > us // TICK_US - slots)
            if most != n and reachable:
                n, reason = most, "scale-down-delay"
        if n == 0 and self.load.levels[-1][1] > 0:  # HOB: never zero under a request
            n, reason = 1, "in-flight"
        self.desired, self.base = n, reason
        self.excess = {0: 0, -1: -1}.get(self.burst)
        if self.excess is None:
            self.excess = floor(Fraction(pods * self.total - self.burst - self.panic, MICRO))
        self.queues = 2
        if self.burst != 0:
            self.queues = max(2, ceil(Fraction(pods * self.total + max(self.burst, 0), 100 * MICRO)))

    # bounds, activity, zero

    def bound(self, us, reachable):
        low, initial = (self.min if reachable else 0), False
        if not self.reached and self.initial > low:
            low, initial = min(self.initial, self.max), True
        if self.desired < 0 and self.activity != "activating" and low == 0:
            self.wanted, self.reason = -1, "no-data"
        elif max(self.desired, 0) < low:
            self.set(low, "initial-scale" if initial else "min-scale")
        elif self.desired > self.max:
            self.set(self.max, "max-scale")
        elif self.desired > 0:
            self.set(self.desired, self.base)
        elif not self.to_zero:
            self.set(1, "idle-window")
        else:
            self.zero(us, reachable)

    def set(self, n, reason):
        self.apply = self.wanted = n
        self.reason = reason

    def zero(self, us, reachable):
        for_us = us - self.since
        if self.activity == "activating":
            if for_us >= self.deadline:
                self.set(0, "timed-out")
            else:
                self.wanted, self.reason = -1, "starting"
        elif self.activity == "active":
            if for_us >= self.window * MICRO:
                self.wanted, self.reason = 0, "retention"
            else:
                self.set(1, "idle-window")
        else:
            retention = self.retention if reachable else 0
            proxied = us - self.proxy_since if self.proxy_since is not None else 0
            fast = for_us >= retention and (self.queued or proxied >= self.grace)
            if self.apply == 0 or fast or for_us >= max(retention, self.grace):
                self.set(0, "timed-out" if self.timed_out else self.base)
            else:
                self.wanted, self.reason = 0, "retention"

    def activate(self, us, pods, reachable):
        low = self.min if reachable else 0
        enough = max(low, 1) if self.reached else max(low, min(self.initial, self.max))
        if pods >= enough:
            self.reached = True
        was = self.activity
        if self.wanted == 0 or enough == 0:
            if was == "activating" and enough > 0:
                self.timed_out = True
            self.activity = "inactive"
        elif self.wanted > 0 or was != "inactive":
            self.activity = "active" if pods >= enough else "activating"
            self.timed_out = False
        if was != self.activity:
            self.since = us
        return was != self.activity

    def reconcile(self, us, pods, reachable):
        for _ in range(3):
            self.bound(us, reachable)
            changed = self.activate(us, pods, reachable)
            if self.wanted == 0 or self.excess < 0:
                self.proxy_since = us if self.proxy_since is None else self.proxy_since
            else:
                self.proxy_since = None
            if not changed:
                break

    def tick(self, us, pods, reachable):
        self.record(us)
        self.decide(us, pods, reachable)
        self.reconcile(us, pods, reachable)

    def urgent(self, us, pods, reachable):
        """HOB: a request waits and no instance has room."""
        level = self.load.levels[-1][1]
        if self.metric == 0:
            n = ceil(Fraction(level * MICRO, self.target))
        else:
            n = ceil(Fraction(level, self.room)) if self.room else 1
        n = min(max(n, 1), ceil(Fraction(self.up * max(1, pods), MICRO)))
        n = min(max(n, self.activation), self.max)
        if n > self.apply or self.desired <= 0:
            self.desired, self.base = max(n, self.apply), "waiting"
            self.reconcile(us, pods, reachable)

    # the trace

    def event(self, line):
        """One line of a trace; the decision's line, or None."""
        what, *rest = line.split()
        us, n, reachable = (list(map(int, rest)) + [0, 1])[:3] if len(rest) < 3 else map(int, rest)
        self.record(us)
        if what == "level":
            self.load.level(us, n)
        elif what == "arrive":
            self.load.arrive(us)
        elif what == "measure":
            self.load.measure(us, n)
        else:
            getattr(self, what)(us, n, bool(reachable))
            return str(self)
        return None

    def __str__(self):
        return (f"{self.apply} {self.wanted} {self.desired} {self.reason} {self.activity} {int(self.timed_out)} "
                f"{int(self.panic_since is not None)} {self.stable} {self.panic} {self.excess} {self.queues}")
