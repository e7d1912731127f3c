"""Bench of subrow_mac2 and subrow_mac1: corners and random operands, with random gaps between steps."""

from __future__ import annotations

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from sim.common.clock import options, rng

OPT = options()
UB, VB = OPT.params["UBits"], OPT.params["VBits"]


@cocotb.test()
async def products_are_exact(dut) -> None:
    rand = rng()
    packed = hasattr(dut, "v1_i")
    v_max = (1 << VB - 1) - 1
    v_low = -v_max if packed else -v_max - 1
    w_low, w_max = -(1 << UB - 1), (1 << UB - 1) - 1
    corners_w, corners_v = (w_low, -1, 0, 1, w_max), (v_low, -1, 0, 1, v_max)
    todo = [(w, v0, v1) for w in corners_w for v0 in corners_v for v1 in corners_v]
    todo += [(rand.randint(w_low, w_max), rand.randint(v_low, v_max), rand.randint(v_low, v_max))
             for _ in range(1000 * OPT.rounds)]
    Clock(dut.clk_i, 10, "ns", impl="gpi").start()
    enables = (dut.ab_en_i, dut.m_en_i, dut.p_en_i)
    for enable in enables:
        enable.value = 0
    stages: list[tuple[int, int, int] | None] = [None] * 3  # in A/B, M, P
    shown = None  # what P holds: it keeps its value through gaps
    checked = 0
    while checked < len(todo):
        await FallingEdge(dut.clk_i)
        if stages[2] is not None:
            shown = stages[2]
            checked += 1
        if shown is not None:
            w, v0, v1 = shown
            wants: tuple[int, ...] = (w * v0, w * v1) if packed else (w * v0,)
            if OPT.corrupt and checked == len(todo):
                wants = tuple(p + 1 for p in wants)
            gots = (dut.p0_o, dut.p1_o) if packed else (dut.p_o,)
            for got, want in zip(gots, wants, strict=True):
                assert got.value.to_signed() == want, f"w {w}, v {v0} {v1}: {got.value.to_signed()}, not {want}"
        started = sum(s is not None for s in stages[:2]) + checked
        step = todo[started] if started < len(todo) and rand.random() < 0.8 else None
        w, v0, v1 = step or (rand.randint(w_low, w_max), v_max, v_low)
        dut.w_i.value = w
        if packed:
            dut.v0_i.value, dut.v1_i.value = v0, v1
        else:
            dut.v_i.value = v0
        dut.ab_en_i.value = int(step is not None)
        dut.m_en_i.value = int(stages[0] is not None)
        dut.p_en_i.value = int(stages[1] is not None)
        stages = [step, *stages[:2]]
