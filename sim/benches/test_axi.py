"""Benches of subrow_axi_read, subrow_axi_write and subrow_arb2 against a memory that checks the bursts."""

from __future__ import annotations

from collections import deque
from typing import Any

import cocotb
from front import Probe, Reader, Sim, Stall, Words, options, rng


def check_burst(addr: int, length: int, size: int, kind: int, width: int, most: int) -> None:
    assert kind == 1 and 1 << size == width and addr % width == 0, f"burst {addr:#x}: type {kind}, size {size}"
    assert length <= most, f"burst of {length} beats"
    span = most * width
    assert addr // span == (addr + length * width - 1) // span, f"burst at {addr:#x}, {length} beats crosses {span}"


class Memory:
    """AXI4 slave for reads: ordered, with latency, stalls and chosen errors."""

    def __init__(self, dut, words, width, burst, stall, rand, latency=40) -> None:
        self.dut, self.words, self.width, self.burst = dut, words, width, burst
        self.stall, self.rand, self.latency = stall, rand, latency
        self.beats: deque[tuple[int, int, bool]] = deque()  # due, address, last of its burst
        self.bad: set[int] = set()
        self.ar: tuple[int, int] | None = None
        self.now, self.offering, self.open = 0, False, 0

    def drive(self) -> None:
        self.now += 1
        dut = self.dut
        dut.ar_ready_i.value = int(self.stall())
        if not self.offering:
            self.offering = bool(self.beats) and self.beats[0][0] <= self.now and self.stall()
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
            check_burst(addr, length, int(dut.ar_size_o.value), int(dut.ar_burst_o.value), self.width, self.burst)
            self.beats.extend((self.now + self.latency, addr + i * self.width, i == length - 1) for i in range(length))
            self.open += 1
            assert self.open <= 8, "more than 8 bursts open"
            self.ar = None


def random_request(rand, width: int) -> tuple[int, int]:
    beats = rand.choice((1, 2, 3, rand.randint(1, 20), rand.randint(20, 150)))
    return rand.randrange(1 << 30) * width % (1 << 39) + (1 << 39) * rand.randint(0, 1), beats


@cocotb.test()
async def axi_read(dut):
    """Words in order, legal bursts, errors seen, full speed, flush at any time."""
    opt, rand = options(), rng()
    width, burst = opt.params["DataBytes"], opt.params["BurstBeats"]
    words = Words(width, rand.randrange(1 << 30))
    memory = Memory(dut, words, width, burst, Stall(opt.stall, rand), rand)
    take = Stall(opt.stall, rand)
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
            assert int(dut.rd_data_o.value) == words.word(addr), f"word at {addr:#x}"
            got[0] += 1
        if int(dut.error_o.value):
            errors.append(int(dut.error_resp_o.value))

    sim = Sim(dut, Probe(drive=drive), memory, Probe(sample))
    dut.flush_i.value = 0
    await sim.reset()
    for _ in range(6):
        requests = [random_request(rand, width) for _ in range(25)]
        todo.extend(requests)
        addr, beats = requests[5]
        memory.bad = {addr + rand.randrange(beats) * width}
        errors.clear()
        total, start = sum(b for _, b in requests), sim.cycle
        await sim.until(lambda: not todo and asking[0] is None and not want, 80 * total + 4000, "reads")
        await sim.step()
        assert int(dut.idle_o.value) and errors == [2], f"idle or errors {errors}"
        if opt.stall == "always" and burst * 8 > 60:
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
    if opt.stall == "always" and burst * 8 > 60:
        todo.append((1 << 20, 600))
        start = sim.cycle
        await sim.until(lambda: not todo and asking[0] is None and not want, 5000, "run")
        assert sim.cycle - start <= 600 + 50


@cocotb.test()
async def axi_write(dut):
    """Memory content, legal bursts, stable channels, responses counted, errors, flush at any time."""
    opt, rand = options(), rng()
    width, burst = opt.params["DataBytes"], opt.params["BurstBeats"]
    willing, data_on, answer = (Stall(opt.stall, rand) for _ in range(3))
    todo: deque[tuple[int, int]] = deque()
    data: deque[int] = deque()
    memory: dict[int, int] = {}
    want: dict[int, int] = {}
    state: dict[str, Any] = {"ask": None, "aw": None, "w": None, "offer": False, "resp": False}
    bursts: deque[tuple[int, int]] = deque()
    answers: deque[int] = deque()
    w_beats: deque[tuple[int, int, int]] = deque()  # W beats of no finished burst yet
    errors: list[int] = []
    bad = [False]

    def drive():
        if state["ask"] is None and todo:
            state["ask"] = todo.popleft()
        dut.wr_valid_i.value = int(state["ask"] is not None)
        if state["ask"]:
            dut.wr_addr_i.value, dut.wr_beats_i.value = state["ask"]
        state["offer"] = bool(data) and (state["offer"] or data_on())
        dut.wd_valid_i.value = int(state["offer"])
        if state["offer"]:
            dut.wd_data_i.value = data[0]
        dut.aw_ready_i.value, dut.w_ready_i.value = int(willing()), int(willing())
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
        if int(dut.error_o.value):
            errors.append(int(dut.error_resp_o.value))
        aw = (int(dut.aw_addr_o.value), int(dut.aw_len_o.value)) if int(dut.aw_valid_o.value) else None
        assert state["aw"] is None or state["aw"] == aw, "AW changed while it waited"
        state["aw"] = aw
        if aw and int(dut.aw_ready_i.value):
            check_burst(aw[0], aw[1] + 1, int(dut.aw_size_o.value), int(dut.aw_burst_o.value), width, burst)
            bursts.append((aw[0], aw[1] + 1))
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
                assert strb in (0, (1 << width) - 1)
                if strb:
                    memory[addr + i * width] = word
            answers.append(3 if bad[0] else 0)
            bad[0] = False

    sim = Sim(dut, Probe(sample, drive))
    dut.flush_i.value = 0
    await sim.reset()
    for _ in range(6):
        memory.clear()
        want.clear()
        errors.clear()
        total = 0
        for _ in range(20):
            addr, beats = random_request(rand, width)
            values = [rand.getrandbits(8 * width) for _ in range(beats)]
            todo.append((addr, beats))
            data.extend(values)
            want.update((addr + i * width, v) for i, v in enumerate(values))
            total += beats
        bad[0] = True
        start = sim.cycle
        await sim.until(lambda: not todo and not data and state["ask"] is None and int(dut.idle_o.value),
                        80 * total + 4000, "writes")
        assert memory == want and errors == [3] and not bursts and not w_beats
        if opt.stall == "always":
            assert sim.cycle - start <= total + 20 * 12, f"{sim.cycle - start} cycles for {total} words"
        # flush in the middle
        for _ in range(4):
            addr, beats = random_request(rand, width)
            todo.append((addr, beats))
            data.extend([7] * beats)
        for _ in range(rand.randint(1, 100)):
            await sim.step()
        todo.clear()
        data.clear()
        state["ask"], state["offer"] = None, False
        dut.flush_i.value = 1
        await sim.until(lambda: int(dut.idle_o.value), 20000, "flush")
        assert not bursts and not w_beats and state["aw"] is None and state["w"] is None, "left over after a flush"
        dut.flush_i.value = 0


@cocotb.test()
async def arb2(dut):
    """Each side gets its own words in order; neither waits for more than one request of the other."""
    opt, rand = options(), rng()
    words = Words(8, 5)
    reader = Reader(dut, words, Stall(opt.stall, rand), 40, must_take=False)
    sides = [{"name": n, "todo": deque(), "ask": None, "want": deque(), "waited": 0, "on": Stall(opt.stall, rand)}
             for n in "ab"]
    for s in sides:
        for _ in range(80):
            s["todo"].append((rand.randrange(1 << 20) * 8, rand.choice((1, 2, 9, 30))))

    def port(s, name):
        return getattr(dut, f"{s['name']}_{name}")

    def drive():
        for s in sides:
            if s["ask"] is None and s["todo"] and s["on"]():
                s["ask"], s["waited"] = s["todo"].popleft(), 0
            port(s, "req_valid_i").value = int(s["ask"] is not None)
            if s["ask"]:
                port(s, "req_addr_i").value, port(s, "req_beats_i").value = s["ask"]
            port(s, "rd_ready_i").value = int(s["on"]())

    def sample():
        taken = [s for s in sides if s["ask"] and int(port(s, "req_ready_o").value)]
        assert len(taken) < 2
        for s in sides:
            if s in taken:
                addr, beats = s["ask"]
                s["want"].extend(words(addr, beats))
                s["ask"] = None
            elif s["ask"] and taken:
                s["waited"] += 1
                assert s["waited"] <= 1, f"{s['name']} is overtaken twice"
            if int(port(s, "rd_valid_o").value) and int(port(s, "rd_ready_i").value):
                assert int(port(s, "rd_data_o").value) == s["want"].popleft(), f"word of {s['name']}"

    # `rd_valid` of the model's side is driven before the ready that depends on it is sampled
    sim = Sim(dut, Probe(drive=drive), reader, Probe(sample))
    for s in sides:
        port(s, "req_valid_i").value = 0
    await sim.reset()
    await sim.until(lambda: not any(s["todo"] or s["ask"] or s["want"] for s in sides), 200000, "all words")
    assert not reader.beats
