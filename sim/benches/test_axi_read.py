"""subrow_axi_read: words in order, legal bursts, errors seen, full speed, flush at any time, windows of pages."""

from __future__ import annotations

from collections import deque
from typing import Any

import cocotb

from sim.common.axi import ANYWHERE, PAGE, check_burst, pages_of, random_request, request_in
from sim.common.clock import Probe, Sim, Stalls, options, rng
from sim.common.streams import Words

OPT = options()


class Memory:
    """AXI4 slave for reads: ordered, with latency, stalls and chosen errors."""

    def __init__(self, dut: Any, words: Words, width: int, burst: int, stalls: Stalls, latency: int = 40) -> None:
        self.dut, self.words, self.width, self.burst = dut, words, width, burst
        self.latency = latency
        self.ask, self.give = stalls.side("ar"), stalls.side("r", 0.3)
        self.beats: deque[tuple[int, int, bool]] = deque()  # due, address, last of its burst
        self.bad: set[int] = set()
        self.ar: tuple[int, int] | None = None
        self.now, self.offering, self.open = 0, False, 0
        self.pages: set[int] = set()  # that were read

    def drive(self) -> None:
        self.now += 1
        dut = self.dut
        dut.ar_ready_i.value = int(self.ask())
        if not self.offering:
            self.offering = bool(self.beats) and self.beats[0][0] <= self.now and self.give()
        dut.r_valid_i.value = int(self.offering)
        if self.offering:
            _, addr, last = self.beats[0]
            dut.r_data_i.value = self.words.word(addr)
            dut.r_last_i.value = int(last)
            dut.r_resp_i.value = 2 if addr in self.bad else 0

    def sample(self) -> None:
        dut = self.dut
        if self.offering and int(dut.r_ready_o.value):
            _, _, last = self.beats.popleft()
            self.offering = False
            self.open -= int(last)
        now = (int(dut.ar_addr_o.value), int(dut.ar_len_o.value)) if int(dut.ar_valid_o.value) else None
        assert self.ar is None or now == self.ar, "AR changed while it waited"
        self.ar = now
        if now and int(dut.ar_ready_i.value):
            addr, length = now[0], now[1] + 1
            self.pages.add(addr // PAGE)
            check_burst(addr, length, int(dut.ar_size_o.value), int(dut.ar_burst_o.value), self.width, self.burst)
            self.beats.extend((self.now + self.latency, addr + i * self.width, i == length - 1) for i in range(length))
            self.open += 1
            assert self.open <= 8, "more than 8 bursts open"
            self.ar = None


@cocotb.test()
@cocotb.parametrize(pattern=OPT.stalls)
async def axi_read(dut, pattern: str) -> None:
    rand = rng()
    stalls = Stalls(pattern, rand)
    width, burst = OPT.params["DataBytes"], OPT.params["BurstBeats"]
    words = Words(width, rand.randrange(1 << 30))
    memory = Memory(dut, words, width, burst, stalls)
    take = stalls.side("take", 0.3)
    todo: deque[tuple[int, int]] = deque()
    want: deque[int] = deque()
    errors: list[int] = []
    got = [0]
    asking: list[tuple[int, int] | None] = [None]

    def drive():
        if asking[0] is None and todo:
            asking[0] = todo.popleft()
        dut.req_valid_i.value = int(asking[0] is not None)
        if asking[0]:
            dut.req_addr_i.value, dut.req_beats_i.value = asking[0]
        dut.rd_ready_i.value = int(take())

    def sample():
        if asking[0] and int(dut.req_ready_o.value):
            addr, beats = asking[0]
            want.extend(addr + i * width for i in range(beats))
            asking[0] = None
        if int(dut.rd_valid_o.value) and int(dut.rd_ready_i.value):
            addr = want.popleft()
            wrong = OPT.corrupt and not todo and not want
            assert int(dut.rd_data_o.value) == words.word(addr) ^ wrong, f"word at {addr:#x}"
            got[0] += 1
        if int(dut.error_o.value):
            errors.append(int(dut.error_resp_o.value))

    sim = Sim(dut, Probe(drive=drive), memory, Probe(sample))
    await sim.reset(flush_i=0, **ANYWHERE)
    for _ in range(2 + OPT.rounds):
        requests = [random_request(rand, width) for _ in range(25)]
        todo.extend(requests)
        addr, beats = requests[5]
        memory.bad = {addr + rand.randrange(beats) * width}
        errors.clear()
        total, start = sum(b for _, b in requests), sim.cycle
        await sim.until(lambda: not todo and asking[0] is None and not want, 80 * total + 4000, "reads")
        await sim.step()
        assert int(dut.idle_o.value) and errors == [2], f"idle or errors {errors}"
        if stalls.none and burst * 8 > 60:
            assert sim.cycle - start <= total + 45 * len(requests), f"{sim.cycle - start} cycles for {total} words"
        # flush in the middle
        todo.extend(random_request(rand, width) for _ in range(6))
        for _ in range(rand.randint(1, 150)):
            await sim.step()
        todo.clear()
        asking[0] = None
        memory.bad = set()
        dut.flush_i.value = 1
        want.clear()
        before = got[0]
        await sim.until(lambda: int(dut.idle_o.value), 20000, "flush")
        assert got[0] == before and not memory.beats, "words delivered or left in a flush"
        dut.flush_i.value = 0
    # long run: one word per cycle once the latency is paid
    if stalls.none and burst * 8 > 60:
        todo.append((1 << 20, 600))
        start = sim.cycle
        await sim.until(lambda: not todo and asking[0] is None and not want, 5000, "run")
        assert sim.cycle - start <= 600 + 50


@cocotb.test()
@cocotb.parametrize(pattern=OPT.stalls)
async def windows(dut, pattern: str) -> None:
    """No page outside the window is read; outside_o says whether one was asked for; no word is missing."""
    rand = rng()
    width, first = OPT.params["DataBytes"], rng().randrange(4, 1 << 27)
    window, around = [first, first + 1, first + 2], [first - 1, first + 3, 0, (1 << 28) - 1]
    memory = Memory(dut, Words(width, 1), width, OPT.params["BurstBeats"], Stalls(pattern, rand))
    state: dict[str, Any] = {"ask": None, "got": 0, "outside": False}

    def drive():
        dut.req_valid_i.value = int(state["ask"] is not None)
        if state["ask"]:
            dut.req_addr_i.value, dut.req_beats_i.value = state["ask"]
        dut.rd_ready_i.value = 1

    def sample():
        if state["ask"] and int(dut.req_ready_o.value):
            state["ask"] = None
        state["got"] += int(dut.rd_valid_o.value)
        state["outside"] |= bool(int(dut.outside_o.value))

    sim = Sim(dut, Probe(drive=drive), memory, Probe(sample))
    await sim.reset(flush_i=0, first_i=first, last_i=first + 2)
    for _ in range(20 + 10 * OPT.rounds):
        addr, beats = request_in(rand, rand.choice((window, window, around)), width)
        state.update(ask=(addr, beats), want=beats, got=0, outside=False)
        memory.pages.clear()
        await sim.until(lambda: state["got"] == state["want"] and int(dut.idle_o.value), 30_000, "reads")
        asked = pages_of(addr, beats, width)
        assert memory.pages <= set(window), f"page {min(memory.pages - set(window)):#x} was read"
        assert state["outside"] == (not asked <= set(window)) and asked & set(window) <= memory.pages
