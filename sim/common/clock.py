"""A bench's clock, its options and its stalls. Benches are made of agents: one drive and one sample per cycle."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from typing import Any, Protocol

from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly

from sim.common.options import ENV, Options
from subrow.spec.isa import USED_BITS, Instruction


def options() -> Options:
    """What the pytest side passed."""
    return Options.parse(json.loads(os.environ[ENV]))


def rng() -> random.Random:
    """Follows the seed of the run and the name of the cocotb test."""
    return random.Random(random.getrandbits(64))


class Stall:
    """Whether a side is willing in this cycle.

    always; half: of the cycles; slow: with the chance `slow`; bursty: 20 to 60 cycles on, then as many off.
    """

    def __init__(self, mode: str, rand: random.Random, slow: float = 0.1) -> None:
        assert mode in ("always", "half", "slow", "bursty"), mode
        self.mode, self.rand, self.left, self.on = mode, rand, 0, True
        self.chance = {"always": 1.0, "half": 0.5, "slow": slow}.get(mode, 0.0)

    def __call__(self) -> bool:
        if self.mode == "bursty":
            if self.left == 0:
                self.on, self.left = not self.on, self.rand.randint(20, 60)
            self.left -= 1
            return self.on
        return self.chance >= 1 or self.rand.random() < self.chance


class Stalls:
    """The stall of each side under one pattern: none, random, bursty, or slow_<side> (all others always willing)."""

    def __init__(self, pattern: str, rand: random.Random) -> None:
        self.pattern, self.rand = pattern, rand
        self.none = pattern == "none"

    def side(self, name: str, slow: float = 0.1) -> Stall:
        kind, _, slow_side = self.pattern.partition("_")
        mode = {"none": "always", "random": "half", "bursty": "bursty"}.get(kind)
        return Stall(mode or ("slow" if slow_side == name else "always"), self.rand, slow)


class Agent(Protocol):
    """Part of a bench: `drive` sets inputs after the falling edge, `sample` sees what the rising edge will see."""

    def drive(self) -> None: ...

    def sample(self) -> None: ...


class Probe:
    """An agent made of functions."""

    def __init__(self, sample: Callable[[], Any] | None = None, drive: Callable[[], Any] | None = None) -> None:
        self.sample = sample or (lambda: None)
        self.drive = drive or (lambda: None)


class Sim:
    """Clock, reset and command port of the unit under test."""

    def __init__(self, dut: Any, *agents: Agent) -> None:
        self.dut, self.agents, self.cycle = dut, list(agents), 0

    def set(self, **inputs: int) -> None:
        for name, value in inputs.items():
            getattr(self.dut, name).value = value

    def get(self, name: str) -> int:
        return int(getattr(self.dut, name).value)

    async def reset(self, **inputs: int) -> None:
        """Starts the clock, holds reset for three cycles with these inputs."""
        Clock(self.dut.clk_i, 10, "ns", impl="gpi").start()
        self.set(rst_ni=0, **inputs)
        for _ in range(3):
            await FallingEdge(self.dut.clk_i)
        self.dut.rst_ni.value = 1

    async def step(self) -> None:
        """One cycle; afterwards outputs show what the rising edge did and inputs may change."""
        for agent in self.agents:
            agent.drive()
        await ReadOnly()
        for agent in self.agents:
            agent.sample()
        await FallingEdge(self.dut.clk_i)
        self.cycle += 1

    async def until(self, condition: Callable[[], Any], limit: int, what: str) -> None:
        """Steps until condition() holds after a step."""
        for _ in range(limit):
            await self.step()
            if condition():
                return
        raise AssertionError(f"{what}: not within {limit} cycles")

    async def command(self, instr: Instruction, limit: int = 100_000) -> None:
        """Offers a layer until it is taken; the port then carries noise, because a unit keeps what it needs."""
        self.set(cmd_valid_i=1, cmd_data_i=encoded(instr))
        for _ in range(limit):
            ready = self.get("cmd_ready_o")
            await self.step()
            if ready:
                break
        else:
            raise AssertionError("command not taken")
        self.set(cmd_valid_i=0, cmd_data_i=random.getrandbits(USED_BITS))


def encoded(instr: Instruction) -> int:
    return int.from_bytes(instr.encode(), "little")
