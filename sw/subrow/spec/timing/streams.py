"""What the fetchers and the writer ask of memory: jobs on its streams, in the order of the loop nest."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from subrow.spec.timing import latency as lat
from subrow.spec.timing.compute import Counters
from subrow.spec.timing.geometry import Geometry
from subrow.spec.timing.memory import BEHIND, Memory, cycle
from subrow.spec.timing.segments import Segments


def short_bursts(runs: Segments, hold: float, burst_beats: int) -> tuple[int, ...]:
    """Beats of each burst of these runs; empty unless they are so short that places for bursts run out: OPEN_BURSTS of
    them are over before the first one's place is free again.
    """
    beats = -(-runs.words // runs.port)
    pieces = 1 + (beats - 1) / burst_beats
    if (lat.OPEN_BURSTS - 1) * beats > pieces * hold * 1.25:
        return ()
    sizes = []
    for start, left in runs.runs():
        room = burst_beats - start % burst_beats
        while left > 0:
            sizes.append(min(left, room))
            left -= room
            room = burst_beats
    return tuple(sizes)


class ActivationFetch:
    """Rows of each block, asked for as soon as a half of the activation buffer is free."""

    def __init__(self, g: Geometry, counters: Counters, memory: Memory, dispatch: int) -> None:
        self.g, self.c, self.memory = g, counters, memory
        self.total = len(g.blocks) * len(g.passes)
        self.index = 0
        self.row = 0  # seek position
        self.asked = dispatch + lat.FIRST_BLOCK  # earliest credit of the next block
        self.pause = 0.0
        self.halves = 1 if g.ins.whole_a else 2  # blocks that the activation buffer holds

    def advance(self) -> bool:
        """Ask for every block whose half is known to become free; whether any was."""
        moved = False
        while self.index < self.total:
            credit = self.asked
            if self.index >= self.halves:
                if len(self.c.act_free) <= self.index - self.halves:
                    return moved
                credit = max(credit, self.c.act_free[self.index - self.halves])
            self._ask(credit)
            moved = True
        return moved

    def _ask(self, credit: int) -> None:
        g, stream = self.g, self.memory.act
        block = g.blocks[self.index % len(g.blocks)]
        seek = 1 + block.y.first - self.row
        self.row = 0 if block.pass_end else block.y.first
        runs = g.input_runs(block)
        row_beats = runs.row_beats
        segment = sum(row_beats) / runs.requests
        short = short_bursts(runs, stream.hold, g.hw.burst_beats)
        ask = credit + lat.CREDIT_TO_SEEK + seek
        row_end = stream.added
        first = ask + lat.ASK_TO_ADDRESS + g.hw.latency_cycles
        stream.add(first, sum(row_beats), 1.0, self.pause, short, segment)
        for beats in row_beats:
            row_end += beats
            stream.mark(row_end, 0)
        # What the turn to the next block costs when the bursts under way do not cover it.
        turn = lat.NEXT_BLOCK + lat.CREDIT_TO_SEEK + lat.ASK_TO_ADDRESS
        self.asked = ask + runs.requests - 1 + lat.NEXT_BLOCK
        following = g.blocks[(self.index + 1) % len(g.blocks)]
        turn += 1 + following.y.first - self.row
        ahead = lat.OPEN_BURSTS * min(segment, g.hw.burst_beats) + 2 * segment - g.hw.latency_cycles
        self.pause = max(0.0, min(turn, turn - ahead))
        self.index += 1

    def on_mark(self, tag: int, time: float) -> None:
        """A row is in the buffer."""
        self.c.rows.append(cycle(time) - 1 + lat.WORD_VISIBLE)


class ResidualFetch:
    """Residual segments of each (block, kg) unit, two units ahead of the requantiser."""

    def __init__(self, g: Geometry, counters: Counters, memory: Memory, dispatch: int) -> None:
        self.g, self.c, self.memory = g, counters, memory
        self.unit = 0
        self.position = iter([(p, k, b) for p in g.passes for b in g.blocks for k in range(p.kgs)])
        self.next = next(self.position, None) if g.ins.residual else None
        self.row = 0
        self.asked = dispatch + lat.FIRST_BLOCK + 2

    def advance(self) -> bool:
        """Ask for every unit whose half is known to become free; whether any was."""
        moved = False
        while self.next is not None:
            credit = self.asked
            if self.unit >= 2:
                if len(self.c.o_ready) < self.unit - 1:
                    return moved
                credit = max(credit, self.c.o_ready[self.unit - 2])
            self._ask(credit)
            moved = True
        return moved

    def _ask(self, credit: int) -> None:
        g, stream = self.g, self.memory.res
        assert self.next is not None
        here, k, block = self.next
        runs = g.residual_runs(block, here.kg0 + k)
        beats = runs.beats
        short = short_bursts(runs, stream.hold, g.hw.burst_beats)
        first = credit + lat.UNIT_TO_ASK + lat.ASK_TO_ADDRESS + g.hw.latency_cycles
        stream.add(first, beats, 1.0, BEHIND, short, beats / runs.requests)
        stream.mark(stream.added, 0)
        self.asked = credit + runs.requests
        if k == here.kgs - 1:
            self.asked += lat.NEXT_BLOCK + 1
            self.row = block.y.conv_first
        self.unit += 1
        self.next = next(self.position, None)
        if k == here.kgs - 1 and self.next is not None:
            self.asked += max(0, self.next[2].y.conv_first - self.row)

    def on_mark(self, tag: int, time: float) -> None:
        """A unit is in the buffer."""
        self.c.r_ready.append(cycle(time) - 1 + lat.WORD_VISIBLE)


class Writer:
    """Output segments of each (block, kg) unit, then the counter record."""

    RECORD, END = -1, -2

    def __init__(self, g: Geometry, counters: Counters, memory: Memory, dispatch: int) -> None:
        self.g, self.c, self.memory = g, counters, memory
        self.position = iter([(p, k, b) for p in g.passes for b in g.blocks for k in range(p.kgs)])
        self.next = next(self.position, None)
        self.unit = 0
        self.walk = dispatch + lat.FIRST_BLOCK + 1  # earliest wait for a unit (state Unit)
        self.pause = 0.0
        self.last = dispatch  # cycle of the last word
        self.floor: list[int] = []  # of each unit: o_free_o does not show it before
        self.recorded: int | None = None  # cycle in which the record is sampled
        self.finished: float | None = None  # when the record is written

    def advance(self) -> bool:
        """Queue every unit that is known to become complete; whether any was."""
        moved = False
        while self.next is not None and self.unit < len(self.c.o_ready):
            self._queue(max(self.walk, self.c.o_ready[self.unit]))
            moved = True
        return moved

    def _queue(self, ready: int) -> None:
        g, stream = self.g, self.memory.out
        assert self.next is not None
        here, k, block = self.next
        self.unit += 1
        self.next = next(self.position, None)
        runs = g.output_runs(block, here.kg0 + k)
        segments = runs.requests
        last_kg = k == here.kgs - 1
        turn = lat.NEXT_UNIT_BLOCK if last_kg else lat.NEXT_UNIT
        self.walk = ready + max(segments, 1) + turn - 1
        if segments:
            beats = runs.beats
            short = short_bursts(runs, stream.hold, g.hw.burst_beats)
            first = ready + lat.READY_TO_WORD
            stream.add(first, beats, 1.0, self.pause, short)
            # The last word leaves the buffer when the one before it is at the memory.
            self.floor.append(first - 1)
            stream.mark(stream.added - 1, self.unit)
            if self.next is None:
                stream.mark(stream.added, self.END)
            self.pause = max(0.0, turn + lat.READY_TO_WORD - 1 - lat.SEGMENTS_AHEAD * beats / segments)
            return
        self.floor.append(ready + lat.READY_TO_WORD - 1)  # no pixel: the unit is only counted, behind those before it
        if stream.jobs:
            stream.mark(stream.added, self.unit)
            if self.next is None:
                stream.mark(stream.added, self.END)
            return
        self.c.o_free.append(self.floor[-1])
        if self.next is None:
            self._record(self.last)

    def on_mark(self, tag: int, time: float) -> None:
        """A unit, or the record, is written."""
        if tag == self.RECORD:
            self.finished = time
            return
        self.last = cycle(time) - 1
        if tag == self.END:
            self._record(self.last)
        else:
            self.c.o_free.append(max(self.last, self.floor[tag - 1]))

    def _record(self, last: int) -> None:
        self.recorded = max(last + self.g.hw.latency_cycles + lat.RESPONSE_TO_RECORD, self.floor[-1])
        stream = self.memory.out
        stream.add(self.recorded + lat.RECORD_TO_WORD, 64 // self.g.hw.act_port_bytes)
        stream.mark(stream.added, self.RECORD)


@dataclass
class _Layer:
    """A layer's weight stream: where its beats begin, and how far its chunks have been asked for."""

    g: Geometry
    origin: float
    ready: float
    chunk: int = 0
    word: int = 0
    params: bool = False


class WeightFetch:
    """Instructions and weights on the weight port; runs layers ahead as far as the rings have room."""

    INSTRUCTION, END, WORD = 0, 1, 2

    def __init__(self, layers: list[Geometry], memory: Memory, start: int) -> None:
        self.layers, self.memory = layers, memory
        self.hw = layers[0].hw
        self.beats = 128 // self.hw.weight_bytes
        self.commands: list[int] = []  # cycle in which wfetch takes layer i
        self.dispatched: list[int] = []  # cycle in which all other units take layer i
        self.streams: list[WeightStream] = [WeightStream(self, i) for i in range(len(layers))]
        self.current: _Layer | None = None
        self.idle = 0
        self.fetched: int | None = None  # cycle from which the next layer's instruction is offered
        self.words_asked = self.words_free = self.groups_asked = self.groups_free = 0
        self.word_frees: deque[tuple[int, int]] = deque()
        self.group_frees: deque[tuple[int, int]] = deque()
        self._fetch(start + lat.FETCH_TO_ADDRESS + self.hw.latency_cycles)

    def _fetch(self, ready: float) -> None:
        stream = self.memory.wgt
        stream.add(ready, self.beats)
        stream.mark(stream.added, self.INSTRUCTION)

    def on_mark(self, tag: int, time: float) -> None:
        """An instruction, a layer's last word, or a word that the array waits for, is there."""
        if tag == self.INSTRUCTION:
            self.fetched = cycle(time)
        elif tag == self.END:
            self.idle = cycle(time) - 1 + lat.STREAM_END
            self.current = None
        else:
            for s in self.streams[max(0, len(self.dispatched) - 1) : len(self.commands)]:
                s.on_word(cycle(time))

    def advance(self) -> bool:
        """Take the next layer when idle, then ask for whatever there is room for; whether anything was done."""
        moved = self._command()
        while self.current is not None and self.current.chunk < self.current.g.chunks:
            if not self._ask(self.current):
                return moved
            moved = True
        return moved

    def _command(self) -> bool:
        i = len(self.commands)
        if self.current is not None or self.fetched is None or i == len(self.layers):
            return False
        slot = 0
        if i >= 4:  # four layers wait at most
            if len(self.dispatched) < i - 3:
                return False
            slot = self.dispatched[i - 4] + 1
        command = max(self.fetched, self.idle, slot)
        self.commands.append(command)
        self.fetched = None
        if i + 1 < len(self.layers):
            self._fetch(command + 1 + lat.FETCH_TO_ADDRESS + self.hw.latency_cycles)
        g, stream = self.layers[i], self.memory.wgt
        self.current = _Layer(g, stream.added, self._data(g, command + lat.STREAM_START, g.ins.chunk_words, True))
        self.streams[i].origin = stream.added
        stream.mark(stream.added + g.chunks * g.chunk_beats, self.END)
        return True

    def _data(self, g: Geometry, first: int, words: int, params: bool) -> float:
        """First beat of a request whose first item is added in cycle `first`."""
        wanted = 2 * self.hw.burst_beats - (g.param_beats if params else 0)
        items = max(1, min(words, -(-wanted * self.hw.weight_bytes // g.word_bytes))) + params
        return first + items + lat.ASK_TO_ADDRESS + self.hw.latency_cycles

    def _ask(self, layer: _Layer) -> bool:
        """One job; False when the room for it is not known yet."""
        g, beats, params = layer.g, 0, not layer.params
        if params:
            while self.groups_asked - self.groups_free >= self.hw.param_groups:
                if not self.group_frees:
                    return False
                self.groups_free, time = self.group_frees.popleft()
                layer.ready = max(layer.ready, self._data(g, time, g.ins.chunk_words, True))
            self.groups_asked += 1
            layer.params = True
            beats = g.param_beats
        room = self.words_free + self.hw.weight_words - self.words_asked
        words = min(room, g.ins.chunk_words - layer.word)
        if words == 0 and not params:
            if not self.word_frees:
                return False
            self.words_free, time = self.word_frees.popleft()
            layer.ready = max(layer.ready, self._data(g, time, g.ins.chunk_words - layer.word, False))
            return True
        self.words_asked += words
        beats += g.word_beats(layer.word + words) - g.word_beats(layer.word)
        layer.word += words
        self.memory.wgt.add(layer.ready, beats)
        if layer.word == g.ins.chunk_words:
            layer.chunk, layer.word, layer.params = layer.chunk + 1, 0, False
        return True


class WeightStream:
    """One layer's view of the weight stream: when words are there, and what it releases."""

    def __init__(self, fetch: WeightFetch, index: int) -> None:
        self.fetch, self.index = fetch, index
        self.origin: float | None = None
        self.known: dict[int, int] = {}  # beats of the layer -> cycle in which the word behind them is visible
        self.waits: deque[int] = deque()

    def arrived(self, beats: int) -> bool:
        """Whether the layer's first `beats` beats have been moved."""
        return self.origin is not None and self.fetch.memory.wgt.done >= self.origin + beats - 1e-6

    def late(self, beats: int) -> bool:
        """Whether somebody must wait for the word that these beats complete, or has waited for it."""
        return beats in self.known or not self.arrived(beats)

    def time(self, beats: int) -> int | None:
        """Cycle in which the word that these beats complete shows in w_wptr_o, 0 when that was long ago.

        None, and a mark is set, while the word is on its way.
        """
        if self.arrived(beats):
            return self.known.get(beats, 0)
        if self.origin is not None and beats not in self.waits:
            self.waits.append(beats)
            self.fetch.memory.wgt.mark(self.origin + beats, self.fetch.WORD)
        return None

    def on_word(self, time: int) -> None:
        """The word that was waited for is over."""
        if self.waits and self.arrived(self.waits[0]):
            self.known[self.waits.popleft()] = time - 1 + lat.WORD_VISIBLE

    def release_words(self, words: int, time: int) -> None:
        """The array is done with this many more words; the ring shows it in cycle `time`."""
        frees = self.fetch.word_frees
        before = frees[-1][0] if frees else self.fetch.words_free
        frees.append((before + words, time))

    def release_groups(self, groups: int, time: int) -> None:
        """The requantiser is done with this many more parameter groups."""
        frees = self.fetch.group_frees
        before = frees[-1][0] if frees else self.fetch.groups_free
        frees.append((before + groups, time))
