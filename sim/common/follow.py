"""Bench of afetch and rfetch: their writes against HLS words in the order of the loop nest, counters, halves, speed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.common.clock import Sim, Stalls, options, rng
from sim.common.golden import Golden, arena_bytes
from sim.common.layers import moved, random_layer
from sim.common.streams import Reader, Regions
from subrow.spec.hwconfig import HwConfig
from subrow.spec.isa import Instruction

LATENCY = 40
Expected = tuple[list[tuple[int, int, int]], list[int], list[int]]
"""Writes (enable, address, word); how many of them are there when the counter moves; and when a half is complete."""


class Follower:
    """Compares RAM writes with an expected list and a counter with how many of `ends` have been written."""

    def __init__(self, sim: Sim, hw: HwConfig, ram: str, counter: str, free: str,
                 give_back: Callable[[], bool]) -> None:
        self.hw, self.ram, self.words = hw, ram, hw.act_words if ram == "a" else hw.out_words
        self.sim, self.counter, self.free_port, self.give_back = sim, counter, free, give_back
        self.ports = tuple(f"{ram}_{name}_o" for name in ("we", "waddr", "wdata"))
        self.load([], [], [], 2)

    def load(self, writes: list[tuple[int, int, int]], ends: list[int], frees: list[int], halves: int) -> None:
        """ends: numbers of writes after which the counter moves; frees: after how many writes a half is complete;
        halves: 2, or 1 where each takes the whole buffer.
        """
        self.writes, self.ends, self.frees, self.halves = writes, ends, frees, halves
        self.done = self.count = self.free = 0
        self.idle = True

    def drive(self) -> None:
        # the consumer gives halves back in order, some time after they are full
        if self.free < len(self.frees) and self.done >= self.frees[self.free] and self.give_back():
            self.free += 1
        self.sim.set(**{self.free_port: self.free})

    def sample(self) -> None:
        if not self.idle:
            got = self.sim.get(self.counter)
            assert got == self.count, f"counter {got}, {self.count} complete"
        for write in self._writes():
            assert self.done < len(self.writes), "more words than the block has"
            half = sum(1 for f in self.frees if f <= self.done)
            assert half - self.free < self.halves, f"half {half} written while only {self.free} are free"
            want = self.writes[self.done]
            assert write == want, f"write {self.done} differs from HLS: {write}, want {want}"
            self.done += 1
        while self.count < len(self.ends) and self.ends[self.count] <= self.done:
            self.count += 1

    def _writes(self) -> list[tuple[int, int, int]]:
        """Writes of this cycle by their address: those of one beat lie one behind the other in a row of the buffer."""
        enable, addresses, data = (self.sim.get(port) for port in self.ports)
        if not enable:
            return []
        ways = self.sim.get("a_way_o") if self.ram == "a" else enable
        address_bits, width = (self.words - 1).bit_length(), 8 * self.hw.sub_row
        result = []
        for way in range(self.hw.act_port_words):
            if ways >> way & 1:
                address = addresses >> way * address_bits & self.words - 1
                item = address if self.ram == "a" else address // self.hw.channel_blocks
                assert item % self.hw.act_port_words == way, f"address {address} written into way {way}"
                word = data >> way * width & (1 << width) - 1
                result.append((enable if self.ram == "a" else 1, address, word))
        return sorted(result, key=lambda write: write[1])


async def follow(dut: Any, pattern: str, ram: str, counter: str, free: str, offset: str,
                 expected: Callable[[Golden, Instruction, NDArray[np.uint8]], Expected],
                 layers: Callable[[Golden, random.Random], Iterator[Instruction]]) -> None:
    """Runs layers through a fetch unit that reads the tensor at the field `offset`."""
    opt, rand = options(), rng()
    hw = opt.config
    golden, stalls = Golden(hw, opt.corrupt), Stalls(pattern, rand)
    memory = Regions(hw.act_port_bytes, hw.sub_row)
    sim = Sim(dut)
    follower = Follower(sim, hw, ram, counter, free, stalls.side("free", 0.005))
    reader = Reader(dut, memory, stalls.side("ask"), stalls.side("give", 0.3), LATENCY)
    sim.agents = [reader, follower]
    base = rand.randrange(1 << 38) * hw.sub_row % (1 << 39)
    await sim.reset(act_base_i=base, cmd_valid_i=0, cmd_data_i=0)
    for plain in layers(golden, rand):
        instr = moved(plain, **{offset: rand.randrange(1 << 32) // hw.sub_row * hw.sub_row})
        arena = np.frombuffer(rand.randbytes(arena_bytes(instr)), np.uint8)
        at, beat = base + getattr(instr, offset), hw.act_port_bytes
        memory.add(at // beat * beat, np.pad(arena, (at % beat, -(at + arena.size) % beat)))
        writes, ends, frees = expected(golden, instr, arena)
        start = sim.cycle
        follower.idle = True
        await sim.command(instr)
        follower.load(writes, ends, frees, 1 if ram == "a" and instr.whole_a else 2)
        follower.idle = False
        await sim.until(lambda: sim.get("cmd_ready_o") and follower.done == len(follower.writes),
                        60 * len(writes) + 9000, f"layer {instr}")
        for _ in range(3):
            await sim.step()
        assert follower.count == len(ends) and not reader.beats, "not everything was counted or read"
        if stalls.none:
            # The latency once, a word per cycle, and the way to the first request of a block, if the next one waits
            # for a half: never more than 2 blocks are ahead, nor 1 where each takes the whole buffer.
            turns = 1 + len(frees) // follower.halves
            limit = len(writes) + (LATENCY + 12) * turns + sum(r == 1 for _, r in reader.requests) + 20
            assert sim.cycle - start <= limit, f"{sim.cycle - start} cycles for {len(writes)} words, {instr}"
        reader.requests.clear()


def with_random(golden: Golden, rand: random.Random, chosen: list[Instruction],
                **fields: object) -> Iterator[Instruction]:
    yield from chosen
    for _ in range(options().rounds):
        yield random_layer(golden.hw, rand, golden.refusal, **fields)
