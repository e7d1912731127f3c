"""subrow_arb2: each side gets its own words in order; neither waits for more than one request of the other."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import cocotb

from sim.common.clock import Probe, Sim, Stall, Stalls, options, rng
from sim.common.streams import Reader, Words

OPT = options()
WORDS = Words(8, 5)


class Side:
    """One requester: 80 requests, and the words that must come back."""

    def __init__(self, dut: Any, name: str, willing: Stall, rand: random.Random) -> None:
        self.port = lambda signal: getattr(dut, f"{name}_{signal}")
        self.name, self.willing = name, willing
        self.todo = deque((rand.randrange(1 << 20) * 8, rand.choice((1, 2, 9, 30))) for _ in range(80))
        self.ask: tuple[int, int] | None = None
        self.want: deque[int] = deque()
        self.waited = 0

    @property
    def finished(self) -> bool:
        return not self.todo and self.ask is None and not self.want

    def drive(self) -> None:
        if self.ask is None and self.todo and self.willing():
            self.ask, self.waited = self.todo.popleft(), 0
        self.port("req_valid_i").value = int(self.ask is not None)
        if self.ask:
            self.port("req_addr_i").value, self.port("req_beats_i").value = self.ask
        self.port("rd_ready_i").value = int(self.willing())

    def taken(self) -> bool:
        return self.ask is not None and bool(int(self.port("req_ready_o").value))

    def sample(self, taken: bool, other_taken: bool) -> None:
        if taken:
            assert self.ask is not None
            self.want.extend(WORDS(*self.ask))
            if OPT.corrupt and not self.todo:
                self.want[-1] ^= 1
            self.ask = None
        elif self.ask and other_taken:
            self.waited += 1
            assert self.waited <= 1, f"{self.name} is overtaken twice"
        if int(self.port("rd_valid_o").value) and int(self.port("rd_ready_i").value):
            assert int(self.port("rd_data_o").value) == self.want.popleft(), f"word of {self.name}"


@cocotb.test()
@cocotb.parametrize(pattern=OPT.stalls)
async def arb2(dut, pattern: str) -> None:
    rand = rng()
    stalls = Stalls(pattern, rand)
    reader = Reader(dut, WORDS, stalls.side("req"), stalls.side("rd"), must_take=False)
    a, b = (Side(dut, name, stalls.side(name), rand) for name in "ab")

    def sample() -> None:
        taken = a.taken(), b.taken()
        assert taken != (True, True)
        a.sample(taken[0], taken[1])
        b.sample(taken[1], taken[0])

    sim = Sim(dut, Probe(drive=a.drive), Probe(drive=b.drive), reader, Probe(sample))
    await sim.reset(a_req_valid_i=0, b_req_valid_i=0)
    await sim.until(lambda: a.finished and b.finished, 200000, "all words")
    assert not reader.beats
