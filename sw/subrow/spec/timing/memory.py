"""The memory behind the ports: streams of words that share its bandwidth, piecewise linear in time.

A word of a stream is a beat of its port.
sim/chip/harness.cpp is the original: each cycle adds bytes_per_cycle to a bucket, and each port may take one word; the
port that is served first rotates. Here a stream runs at a constant rate until something changes.
"""

from __future__ import annotations

import math
from bisect import insort
from collections import deque
from collections.abc import Callable, Sequence
from functools import lru_cache

from subrow.spec.hwconfig import HwConfig
from subrow.spec.timing.latency import OPEN_BURSTS, READ_HOLD, WRITE_HOLD

EPSILON = 1e-6
BEHIND = -1.0  # pause of a job that comes behind the bursts that the port's other stream has open
_SETTLE, _MEASURE = 60, 240  # cycles of the bucket that are run to find the shares


class Job:
    """Words that a stream moves one after the other.

    ready: first cycle. left: words to move. cap: most words per cycle. pause: cycles between the job before and this
    one, or BEHIND. burst: words of its only burst, 0 for a job of many. request: words of a request.
    """

    __slots__ = ("burst", "cap", "left", "pause", "ready", "request")

    def __init__(self, ready: float, left: float, cap: float, pause: float, burst: float, request: float) -> None:
        self.ready, self.left, self.cap = ready, left, cap
        self.pause, self.burst, self.request = pause, burst, request


class Stream:
    """Words of one requester, in order.

    A job of one burst begins at the earliest `hold` cycles after the one OPEN_BURSTS before it is over.
    """

    __slots__ = ("added", "coarse", "done", "hold", "jobs", "marks", "on_mark", "other", "over", "since", "width")

    def __init__(self, width: int, on_mark: Callable[[int, float], None], coarse: bool) -> None:
        self.width = width  # bytes of a word
        self.coarse = coarse  # short bursts by their rate, not one by one
        self.on_mark = on_mark  # called with a mark's tag and the time at which its last word is over
        self.jobs: deque[Job] = deque()
        self.marks: list[tuple[float, int]] = []
        self.added = 0  # words ever asked for
        self.done = 0.0  # words ever moved
        self.hold = 0.0
        self.since = 0.0  # when words began to flow, without a pause from then on
        self.other: Stream | None = None  # that shares the port, and `over`
        self.over: deque[float] = deque(maxlen=OPEN_BURSTS)  # when the last short bursts were over

    def add(self, ready: float, words: int, cap: float = 1.0, pause: float = 0.0,
            bursts: Sequence[int] = (), request: float = 1.0) -> None:
        """Words that follow those before them, the first in cycle `ready` or later.

        bursts: the words of each, where they are so short that the places of open bursts run out. request: words of a
        request, where streams share a port.
        """
        self.added += words
        if bursts and self.coarse:  # their rate, if the first of them find no place free
            cap = min(cap, OPEN_BURSTS * words / (len(bursts) * self.hold + words))
            bursts = ()
        if self.jobs:
            last = self.jobs[-1]
            plain = not bursts and not last.burst and pause == 0.0
            if plain and ready <= last.ready and cap == last.cap and request == last.request:
                last.left += words
                return
        else:
            self.since = ready
        if not bursts:
            self.jobs.append(Job(ready, words, cap, pause, 0.0, request))
            return
        for i, size in enumerate(bursts):  # a request of one burst takes two cycles to issue
            self.jobs.append(Job(ready, size, min(cap, size / 2), 0.0 if i else pause, size, request))

    def next_job(self, now: float) -> None:
        """The first job is over."""
        self.done = round(self.done)  # whole words: what rates left over is gone
        if self.jobs.popleft().burst:
            self.over.append(now)
        if not self.jobs:
            return
        job = self.jobs[0]
        self.since = max(self.since, job.ready) if job.ready > now else self.since
        if job.pause > 0:
            job.ready = max(job.ready, now + job.pause)
        elif job.pause == BEHIND and job.ready <= now:
            job.pause = 0.0  # asked for long ago
        if job.burst:
            # A burst of the port's other stream goes first, and takes a place.
            other = self.other
            between = other is not None and bool(other.jobs) and other.jobs[0].ready <= max(now, job.ready)
            place = len(self.over) + between - OPEN_BURSTS
            if place >= 0:
                job.ready = max(job.ready, self.over[place] + self.hold)

    def mark(self, words: float, tag: int) -> None:
        """Call on_mark when the stream's first `words` words are over."""
        insort(self.marks, (words, tag))


class Memory:
    """Streams that share bandwidth. `act` and `res` share one port, `wgt` and `out` have one each.

    coarse: short bursts by their rate, not one by one; ten times faster where there are many.
    """

    def __init__(self, hw: HwConfig, coarse: bool = False) -> None:
        self.now = 0.0
        self.bandwidth = hw.bytes_per_cycle
        self.capacity = 4 * (hw.bytes_per_cycle + hw.act_port_bytes + hw.weight_bytes)
        self.tokens = self.capacity
        self.latency, self.burst_beats = hw.latency_cycles, hw.burst_beats
        self.res_waits = 0.0  # words of `act` that go before those of `res`
        self.widths = (hw.act_port_bytes, hw.weight_bytes, hw.act_port_bytes)
        ignore: Callable[[int, float], None] = lambda tag, time: None  # noqa: E731
        self.act = Stream(hw.act_port_bytes, ignore, coarse)
        self.res = Stream(hw.act_port_bytes, ignore, coarse)
        self.wgt = Stream(hw.weight_bytes, ignore, coarse)
        self.out = Stream(hw.act_port_bytes, ignore, coarse)
        self.act.other, self.res.other, self.res.over = self.res, self.act, self.act.over
        self.act.hold = self.res.hold = hw.latency_cycles + READ_HOLD
        self.out.hold = hw.latency_cycles + WRITE_HOLD
        self.turn: Stream | None = self.res  # whose short burst goes first when both want the port
        self.streams = (self.act, self.res, self.wgt, self.out)

    def step(self) -> bool:
        """Advance to the next mark and call its function; False when nothing is under way."""
        while True:
            active, wake = self._active()
            if not active:
                if wake == math.inf:
                    return False
                self._spend(wake - self.now, 0.0)
                continue
            if len(active) == 1 and active[0].width <= self.bandwidth:
                if self._alone(active[0], wake):
                    return True
                continue
            rates, demand = self._rates(active)
            dt = wake - self.now
            for s, r in zip(active, rates, strict=True):
                left = s.jobs[0].left
                if s is self.act and self.res_waits > s.done + EPSILON:
                    left = min(left, self.res_waits - s.done)
                if s.marks and s.marks[0][0] - s.done < left:
                    left = s.marks[0][0] - s.done
                if r > 0 and left < dt * r:
                    dt = left / r
            if demand > self.bandwidth + EPSILON and self.tokens > EPSILON:
                dt = min(dt, self.tokens / (demand - self.bandwidth))
            self._spend(dt, demand)
            if self._move(active, rates, dt):
                return True

    def _alone(self, s: Stream, wake: float) -> bool:
        """Run the only active stream up to `wake` or its next mark, whichever comes first; whether it was the mark."""
        start, first, now = self.now, s.done, self.now
        mark = s.marks[0][0] - EPSILON if s.marks else math.inf
        if s is self.act and self.res_waits > first + EPSILON:
            wake = min(wake, now + (self.res_waits - first))
        while now < wake:
            job = s.jobs[0]
            rate, left = job.cap, job.left
            reached = mark - s.done <= left
            if reached:
                left = max(0.0, s.marks[0][0] - s.done)
            end = now + left / rate
            if end > wake:
                left, end, reached = (wake - now) * rate, wake, False
            s.done += left
            job.left -= left
            now = end
            if job.left <= EPSILON:
                s.next_job(now)
                self.turn = s.other
            if reached:
                break
            if not s.jobs:
                break
            now = min(wake, max(now, s.jobs[0].ready))
        self._spend(now - start, (s.done - first) * s.width / (now - start) if now > start else 0.0)
        return bool(s.marks) and self._fire(s)

    def _active(self) -> tuple[list[Stream], float]:
        """Streams with words to move now, and when the next one has some."""
        active: list[Stream] = []
        wake, now = math.inf, self.now + EPSILON
        for s in self.streams:
            if s.jobs:
                ready = s.jobs[0].ready
                if ready <= now:
                    if s is not self.res or self._in_turn(active):
                        active.append(s)
                elif ready < wake:
                    wake = ready
        return active, wake

    def _in_turn(self, active: list[Stream]) -> bool:
        """Whether the residual's words come now: bursts of the other stream, asked for before them, go first."""
        act, job = self.act, self.res.jobs[0]
        if job.pause == BEHIND:
            job.pause = 0.0
            if active:
                request = act.jobs[0].request
                burst = min(request, self.burst_beats)
                asked = (self.now - act.since + 1) * request / (-(-request // burst) + 1)
                ahead = min(OPEN_BURSTS * burst - self.latency, asked - (self.now - act.since))
                self.res_waits = act.done + max(0.0, min(ahead, act.added - act.done))
        return not active or act.done >= self.res_waits - EPSILON

    def _rates(self, active: list[Stream]) -> tuple[list[float], float]:
        """Words per cycle of each active stream, and bytes per cycle that they want together."""
        caps = [s.jobs[0].cap for s in active]
        both = len(active) > 1 and active[1] is self.res
        if both and active[0].jobs[0].burst and active[1].jobs[0].burst:  # one port: bursts in turn
            caps[0], caps[1] = (caps[0], 0.0) if self.turn is active[0] else (0.0, caps[1])
        elif both:  # requests in turn
            total = max(caps[0], caps[1])
            share = _turns(self.act, self.res)
            caps[0], caps[1] = total * share, total * (1 - share)
        demand = 0.0
        for s, c in zip(active, caps, strict=True):
            demand += s.width * c
        if demand <= self.bandwidth + EPSILON or self.tokens > EPSILON:
            return caps, demand
        ports = [0.0, 0.0, 0.0]
        for s, c in zip(active, caps, strict=True):
            ports[self._port(s)] += c
        given = shares(self.widths, (round(ports[0], 3), round(ports[1], 3), round(ports[2], 3)), self.bandwidth)
        rates = [c * given[p] / ports[p] for c, p in zip(caps, map(self._port, active), strict=True)]
        return rates, self.bandwidth

    def _port(self, s: Stream) -> int:
        return 1 if s is self.wgt else 2 if s is self.out else 0

    def _spend(self, dt: float, demand: float) -> None:
        self.now += dt
        self.tokens = min(self.capacity, max(0.0, self.tokens + (self.bandwidth - demand) * dt))

    def _move(self, active: list[Stream], rates: list[float], dt: float) -> bool:
        """Move words for dt cycles; whether a mark was reached."""
        fired = False
        for s, r in zip(active, rates, strict=True):
            s.done += r * dt
            job = s.jobs[0]
            job.left -= r * dt
            if job.left <= EPSILON:
                s.next_job(self.now)
                self.turn = s.other
        for s in active:
            if s.marks and self._fire(s):
                fired = True
        return fired

    def _fire(self, s: Stream) -> bool:
        """Call the stream's function for each mark that is reached; whether there was one."""
        fired = False
        while s.marks and s.marks[0][0] <= s.done + EPSILON:
            s.on_mark(s.marks.pop(0)[1], self.now)
            fired = True
        return fired


def _turns(a: Stream, b: Stream) -> float:
    """Share of stream a when both are served request by request."""
    first, second = a.jobs[0].request, b.jobs[0].request
    return first / (first + second)


@lru_cache(maxsize=4096)
def shares(
    widths: tuple[int, int, int], caps: tuple[float, float, float], bandwidth: float
) -> tuple[float, float, float]:
    """Words per cycle that each port gets when they want `caps` and together more than there is."""
    tokens, credit, count = 0.0, [0.0, 0.0, 0.0], [0, 0, 0]
    for turn in range(_SETTLE + _MEASURE):
        tokens += bandwidth
        for i in range(3):
            p = (turn + i) % 3
            credit[p] = min(2.0, credit[p] + caps[p])
            if caps[p] and credit[p] >= 1.0 - EPSILON and tokens >= widths[p]:
                tokens -= widths[p]
                credit[p] -= 1.0
                count[p] += turn >= _SETTLE
    return count[0] / _MEASURE, count[1] / _MEASURE, count[2] / _MEASURE


def cycle(time: float) -> int:
    """The first cycle that begins at this time or after it."""
    return math.ceil(time - EPSILON)
