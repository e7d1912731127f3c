"""subrow_axi_write: memory, legal bursts, stable channels, responses counted, errors, flush at any time."""

from __future__ import annotations

from collections import deque
from typing import Any

import cocotb

from sim.common.axi import PAGE, check_burst, pages_of, random_request, request_in
from sim.common.clock import Probe, Sim, Stalls, options, rng

OPT = options()


@cocotb.test()
@cocotb.parametrize(pattern=OPT.stalls)
async def axi_write(dut, pattern: str) -> None:
    rand = rng()
    stalls = Stalls(pattern, rand)
    width, burst = OPT.params["DataBytes"], OPT.params["BurstBeats"]
    ask, take = stalls.side("aw"), stalls.side("w", 0.3)
    data_on, answer = stalls.side("data", 0.3), stalls.side("b")
    todo: deque[tuple[int, int]] = deque()
    data: deque[tuple[int, int]] = deque()  # word, strobes
    memory: dict[int, tuple[int, int]] = {}  # strobes, bytes that they let through
    want: dict[int, tuple[int, int]] = {}

    def words(count: int) -> list[tuple[int, int]]:
        return [(rand.getrandbits(8 * width), rand.choice(((1 << width) - 1, rand.randrange(1, 1 << width))))
                for _ in range(count)]

    def stored(word: int, strobes: int) -> tuple[int, int]:
        return strobes, sum(word & 255 << 8 * i for i in range(width) if strobes >> i & 1)

    state: dict[str, Any] = {"ask": None, "aw": None, "w": None, "offer": False, "resp": False}
    bursts: deque[tuple[int, int]] = deque()
    answers: deque[int] = deque()
    w_beats: deque[tuple[int, int, int]] = deque()  # W beats of no finished burst yet
    errors: list[int] = []
    asked_pages: set[int] = set()
    bad, outside = [False], [False]

    def drive():
        if state["ask"] is None and todo:
            state["ask"] = todo.popleft()
        dut.wr_valid_i.value = int(state["ask"] is not None)
        if state["ask"]:
            dut.wr_addr_i.value, dut.wr_beats_i.value = state["ask"]
        state["offer"] = bool(data) and (state["offer"] or data_on())
        dut.wd_valid_i.value = int(state["offer"])
        if state["offer"]:
            dut.wd_data_i.value, dut.wd_strb_i.value = data[0]
        dut.aw_ready_i.value, dut.w_ready_i.value = int(ask()), int(take())
        state["resp"] = bool(answers) and (state["resp"] or answer())
        dut.b_valid_i.value = int(state["resp"])
        dut.b_resp_i.value = answers[0] if answers else 0

    def sample():
        if state["ask"] and int(dut.wr_ready_o.value):
            state["ask"] = None
        if state["offer"] and int(dut.wd_ready_o.value):
            data.popleft()
            state["offer"] = False
        if state["resp"]:
            assert int(dut.b_ready_o.value)
            answers.popleft()
            state["resp"] = False
        outside[0] |= bool(int(dut.outside_o.value))
        if int(dut.error_o.value):
            errors.append(int(dut.error_resp_o.value))
        aw = (int(dut.aw_addr_o.value), int(dut.aw_len_o.value)) if int(dut.aw_valid_o.value) else None
        assert state["aw"] is None or state["aw"] == aw, "AW changed while it waited"
        state["aw"] = aw
        if aw and int(dut.aw_ready_i.value):
            check_burst(aw[0], aw[1] + 1, int(dut.aw_size_o.value), int(dut.aw_burst_o.value), width, burst)
            bursts.append((aw[0], aw[1] + 1))
            asked_pages.add(aw[0] // PAGE)
            state["aw"] = None
        w = None
        if int(dut.w_valid_o.value):
            w = (int(dut.w_data_o.value), int(dut.w_strb_o.value), int(dut.w_last_o.value))
        assert state["w"] is None or state["w"] == w, "W changed while it waited"
        state["w"] = w
        if w and int(dut.w_ready_i.value):
            w_beats.append(w)
            state["w"] = None
        while bursts and len(w_beats) >= bursts[0][1]:
            addr, length = bursts.popleft()
            for i in range(length):
                word, strb, last = w_beats.popleft()
                assert last == (i == length - 1), "WLAST"
                if strb:
                    memory[addr + i * width] = stored(word, strb)
            answers.append(3 if bad[0] else 0)
            bad[0] = False

    sim = Sim(dut, Probe(sample, drive))
    base = rand.randrange(2, 1 << 27)
    windows = (base, base + 1, base + 9)
    await sim.reset(flush_i=0, first_i=0, last_i=(1 << 28) - 1)
    for _ in range(2 + OPT.rounds):
        memory.clear()
        want.clear()
        errors.clear()
        total = 0
        for _ in range(20):
            addr, beats = random_request(rand, width)
            values = words(beats)
            todo.append((addr, beats))
            data.extend(values)
            want.update((addr + i * width, stored(*v)) for i, v in enumerate(values))
            total += beats
        if OPT.corrupt:
            strobes, word = want[max(want)]
            want[max(want)] = strobes, word ^ 1
        bad[0] = True
        start = sim.cycle
        await sim.until(lambda: not todo and not data and state["ask"] is None and int(dut.idle_o.value),
                        80 * total + 4000, "writes")
        assert memory == want, "memory differs from what was written"
        assert errors == [3] and not bursts and not w_beats
        if stalls.none:
            assert sim.cycle - start <= total + 20 * 12, f"{sim.cycle - start} cycles for {total} words"
        # flush in the middle
        for _ in range(4):
            addr, beats = random_request(rand, width)
            todo.append((addr, beats))
            data.extend([(7, 1)] * beats)
        for _ in range(rand.randint(1, 100)):
            await sim.step()
        todo.clear()
        data.clear()
        state["ask"], state["offer"] = None, False
        dut.flush_i.value = 1
        await sim.until(lambda: int(dut.idle_o.value), 20000, "flush")
        assert not bursts and not w_beats and state["aw"] is None and state["w"] is None, "left over after a flush"
        dut.flush_i.value = 0
        # two windows: no page beside them is written, and nothing at all once an address was outside, until a flush
        dut.first_i.value, dut.last_i.value = base << 28 | base + 9, (base + 1) << 28 | base + 9
        for inside in (True, False, True):
            for store in (memory, want, asked_pages):
                store.clear()
            outside[0] = False
            pages = [(base, base + 9)] * 3 + ([] if inside else [(base - 1, base + 2, base + 8, base + 10, 0)])
            rand.shuffle(pages)
            for group in pages:
                addr, beats = request_in(rand, list(group), width)
                beats = min(beats, (PAGE - addr % PAGE) // width) if inside else beats
                values = words(beats)
                todo.append((addr, beats))
                data.extend(values)
                want.update((addr + i * width, stored(*v)) for i, v in enumerate(values))
            touched = set().union(*(pages_of(a, b, width) for a, b in todo))
            await sim.until(lambda: not todo and not data and state["ask"] is None and int(dut.idle_o.value),
                            200_000, "writes in windows")
            assert asked_pages <= set(windows) and outside[0] == (not touched <= set(windows)) == (not inside)
            assert all(a // PAGE in windows for a in memory)
            assert memory == want if inside else len(memory) < len(want)
            dut.flush_i.value = 1
            await sim.step()
            dut.flush_i.value = 0
        dut.first_i.value, dut.last_i.value = 0, (1 << 28) - 1
