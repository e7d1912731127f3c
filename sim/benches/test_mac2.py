"""Bench of subrow_mac2 and subrow_mac1: sums of corners, extremes and random operands, with random gaps between steps.

Sums of every length up to the longest that AccBits allows, with all products at one extreme: the lower sum of a
subrow_mac2 then wraps in its field of the DSP as fast and as often as it ever can, in both directions.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly

from sim.common.clock import options, rng

OPT = options()
UB, VB, ACC = OPT.params["UBits"], OPT.params["VBits"], OPT.params["AccBits"]
W_LOW, W_MAX, V_MAX = -(1 << UB - 1), (1 << UB - 1) - 1, (1 << VB - 1) - 1


@dataclass(frozen=True)
class Step:
    w: int
    v0: int
    v1: int
    first: bool
    lo: int  # sums of the products up to here
    hi: int


def sums(rand: random.Random, v_low: int) -> Iterator[list[tuple[int, int, int]]]:
    """Operands of one sum after the other."""
    corners_w, corners_v = (W_LOW, -1, 0, 1, W_MAX), (v_low, -1, 0, 1, V_MAX)
    for w in corners_w:
        yield from ([(w, v0, v1)] for v0 in corners_v for v1 in corners_v)
    longest = ((1 << ACC - 1) - 1) // (1 << UB + VB - 2)
    lengths = [min(longest, 2100), *(rand.randint(1, min(longest, 300)) for _ in range(4 * OPT.rounds))]
    signs = ((W_LOW, v_low, v_low), (W_LOW, V_MAX, V_MAX), (W_MAX, V_MAX, v_low), (W_MAX, v_low, V_MAX))
    for length in lengths:
        yield from ([extreme] * length for extreme in signs)
        there = rand.choice(signs)  # and half of the way back
        back = {v_low: V_MAX, V_MAX: v_low}
        yield [there] * (length // 2 + 1) + [(there[0], back[there[1]], back[there[2]])] * (length // 4)
        yield [rand.choice(signs) for _ in range(length)]
        yield [(rand.randint(W_LOW, W_MAX), rand.randint(v_low, V_MAX), rand.randint(v_low, V_MAX))
               for _ in range(length)]


def steps(rand: random.Random, v_low: int) -> list[Step]:
    todo = []
    for operands in sums(rand, v_low):
        lo = hi = 0
        for i, (w, v0, v1) in enumerate(operands):
            lo, hi = lo + w * v0, hi + w * v1
            todo.append(Step(w, v0, v1, i == 0, lo, hi))
    return todo


def signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (value >> bits - 1 << bits)


@cocotb.test()
async def sums_are_exact(dut) -> None:
    rand = rng()
    packed = hasattr(dut, "v1_i")
    todo = steps(rand, -V_MAX if packed else -V_MAX - 1)
    Clock(dut.clk_i, 10, "ns", impl="gpi").start()
    enables = [dut.ab_en_i, dut.m_en_i, dut.p_en_i, *([dut.acc_en_i] if packed else [])]
    for enable in enables:
        enable.value = 0
    stages: list[Step | None] = [None] * 3  # in A/B, M, P
    checked = started = 0
    while checked < len(todo):
        await FallingEdge(dut.clk_i)
        step = todo[started] if started < len(todo) and rand.random() < 0.8 else None
        started += step is not None
        noise = Step(rand.randint(W_LOW, W_MAX), V_MAX, -V_MAX, bool(rand.getrandbits(1)), 0, 0)
        dut.w_i.value = (step or noise).w
        if packed:
            dut.v0_i.value, dut.v1_i.value = (step or noise).v0, (step or noise).v1
            dut.acc_first_i.value = int((stages[2] or noise).first)
        else:
            dut.v_i.value = (step or noise).v0
        dut.p_first_i.value = int((stages[1] or noise).first)
        for enable, stage in zip(enables, (step, *stages), strict=False):
            enable.value = int(stage is not None)
        await ReadOnly()
        if stages[2] is not None:
            checked += 1
            want = stages[2]
            lo = want.lo + (OPT.corrupt and checked == len(todo))
            if packed:
                got_lo, got_hi = dut.lo_o.value.to_signed(), dut.hi_o.value.to_signed()
                assert got_lo == lo, f"step {checked}, {want}: lower sum {got_lo}"
                got_hi = signed(got_hi - (got_lo >> UB + VB + 1), ACC)
                assert got_hi == want.hi, f"step {checked}, {want}: upper sum {got_hi}"
            else:
                assert dut.p_o.value.to_signed() == lo, f"step {checked}, {want}: sum {dut.p_o.value.to_signed()}"
        stages = [step, *stages[:2]]
