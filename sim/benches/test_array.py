"""Bench of subrow_array: layers back to back against a numpy model, with RAMs whose words exist only while readable.

SUBROW_BENCH (JSON): params (RTL parameters), stalls (name of a pattern), layers (names), corrupt (spoil the golden).
"""

from __future__ import annotations

import json
import os
import random
from dataclasses import dataclass
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly

from subrow.spec.isa import Instruction

ENV = json.loads(os.environ["SUBROW_BENCH"])
P = ENV["params"]
PK, PN, L = P["Channels"], P["Tiles"], P["SubRow"]
UB, VB, AB = P["UBits"], P["VBits"], P["AccBits"]
VW, WW = P["VWords"], P["WeightWords"]
IB, NK, CB = L.bit_length() - 1, P["Tiles"] * (P["Channels"] // P["SubRow"]), P["Channels"] // P["SubRow"]
GROUPS = (1, 4, 9)

LAYERS: dict[str, dict[str, Any]] = {
    "direct_3x3": dict(tile=0, sub_s=2, red_words=9, kgs=2, blocks_y=2, blocks_x=1, resident=0, q=(2, 2, 1, 1)),
    "direct_1x1": dict(tile=0, sub_s=3, red_words=5, kgs=1, blocks_y=1, blocks_x=3, resident=1, q=(1, 2, 3, 2)),
    "direct_dense": dict(tile=0, sub_s=L, red_words=4, kgs=2, blocks_y=1, blocks_x=1, implicit_index=1, q=(1, 1, 1, 2)),
    "f2": dict(tile=1, sub_s=3, red_words=4, kgs=2, blocks_y=2, blocks_x=2, resident=1, q=(2, 1, 2, 1)),
    "f2_dense": dict(tile=1, sub_s=L, red_words=2, kgs=3, blocks_y=1, blocks_x=2, implicit_index=1, q=(1, 1, 2, 2)),
    "f4": dict(tile=2, sub_s=2, red_words=3, kgs=2, blocks_y=1, blocks_x=2, resident=0, q=(1, 1, 2, 1)),
    "f4_long": dict(tile=2, sub_s=4, red_words=4, kgs=2, blocks_y=1, blocks_x=2, resident=1, q=(1, 1, 2, 2)),
    "grouped": dict(tile=0, sub_s=4, red_words=2, kgs=3, v_words=6, v_kstep=2, blocks_y=1, blocks_x=1, q=(1, 1, 1, 2)),
    "shortest": dict(tile=1, sub_s=1, red_words=1, kgs=2, blocks_y=1, blocks_x=1, resident=1, q=(1, 1, 1, 3)),
    "quad": dict(tile=0, sub_s=1, red_words=1, kgs=1, blocks_y=3, blocks_x=2, resident=0, q=(1, 1, 1, 1)),
}


@dataclass(frozen=True)
class Stalls:
    """Chance per cycle that one more tile group, weight word, M unit becomes available."""

    v: float
    w: float
    m: float


STALLS = {"full": Stalls(2, 2, 2), "input": Stalls(0.02, 2, 2), "weights": Stalls(2, 0.1, 2),
          "output": Stalls(2, 2, 0.03), "all": Stalls(0.05, 0.2, 0.06)}


def pack(values: np.ndarray, bits: int) -> int:
    """Values as bit fields, first value lowest."""
    raw = (values.reshape(-1, 1).astype(np.int64) >> np.arange(bits)) & 1
    return int.from_bytes(np.packbits(raw.astype(np.uint8).reshape(-1), bitorder="little").tobytes(), "little")


class Layer:
    """Random contents of one layer and its expected M words."""

    def __init__(self, name: str, rng: np.random.Generator):
        f = dict(LAYERS[name])
        q = f.pop("q")
        self.groups, self.direct = GROUPS[f["tile"]], f["tile"] == 0
        steps = f["red_words"] * f["sub_s"]
        f.setdefault("v_words", f["red_words"])
        f["chunk_words"] = -(-steps // 4) if self.direct else self.groups * steps
        self.instruction = Instruction({"opcode": 1, "q_count": q, **f})
        self.resident, self.kgs = f.get("resident", 0), f["kgs"]
        by, bx = f["blocks_y"], f["blocks_x"]
        self.q = [q[2 * (y == by - 1) + (x == bx - 1)] for y in range(by) for x in range(bx)]
        self.steps = sum(self.q) * self.kgs * self.groups * steps
        v_max, u_low = (1 << VB - 1) - 1, 1 << UB - 1
        assert all(self.groups * f["v_words"] * n <= VW // 2 for n in self.q)
        self.v = [rng.integers(-v_max, v_max + 1, (n, self.groups, f["v_words"], PN, 4, L)) for n in self.q]
        u = rng.integers(-u_low, u_low, (self.kgs, f["chunk_words"], 4, PK))
        idx = rng.integers(0, L, u.shape)
        self.words = [[pack(u[kg, i], UB) | pack(idx[kg, i], IB) << (4 * PK * UB) for i in range(f["chunk_words"])]
                      for kg in range(self.kgs)]
        self.golden: list[list[int]] = []  # per unit: G * NK words
        implicit = f.get("implicit_index", 0)
        lanes = np.arange(4)[:, None]
        for block, n in enumerate(self.q):
            for kg in range(self.kgs):
                for qi in range(n):
                    unit: list[int] = []
                    for g in range(self.groups):
                        acc = np.zeros((4, PK, PN), np.int64)
                        for i in range(steps):
                            w, j = divmod(i, f["sub_s"])
                            row = self.v[block][qi, g, kg * f.get("v_kstep", 0) + w]  # PN, 4, L
                            word, lane = (i // 4, i % 4) if self.direct else (g * steps + i, lanes[:, 0])
                            weight = np.broadcast_to(u[kg, word, lane], (4, PK))
                            index = np.broadcast_to(j if implicit else idx[kg, word, lane], (4, PK))
                            acc += weight[:, :, None] * row[:, lanes, index].transpose(1, 2, 0)
                        for nk in range(NK):
                            tile, kb = divmod(nk, CB)
                            unit.append(pack(acc[:, kb * L : (kb + 1) * L, tile], AB))
                    self.golden.append(unit)
        if ENV.get("corrupt"):
            self.golden[-1][-1] ^= 1


class Bench:
    """RAMs and neighbours of the array, stepped once per cycle."""

    def __init__(self, dut, layers: list[Layer], stalls: Stalls, rng: random.Random):
        self.dut, self.layers, self.stalls, self.rng = dut, layers, stalls, rng
        self.garbage = rng.getrandbits(4 * PN * L * VB)
        self.w_garbage = rng.getrandbits(4 * PK * (UB + IB))
        self.w_mem: dict[int, int] = {}
        self.w_feed = [w for layer in layers for _ in (range(1) if layer.resident else layer.q)
                       for chunk in layer.words for w in chunk]
        self.w_ptr = 0

    async def reset(self) -> None:
        dut = self.dut
        Clock(dut.clk_i, 10, "ns", impl="gpi").start()
        dut.rst_ni.value = 0
        for port in ("cmd_valid_i", "cmd_data_i", "v_rdata_i", "w_rdata_i", "q_ready_i", "m_free_i", "w_wptr_i"):
            getattr(dut, port).value = 0
        for _ in range(3):
            await FallingEdge(dut.clk_i)
        dut.rst_ni.value = 1

    def more(self, chance: float) -> bool:
        return chance >= 1 or self.rng.random() < chance

    async def run(self, layer: Layer) -> int:
        """One layer; returns the cycles from its first to its last issue."""
        dut, s = self.dut, self.stalls
        v_mem: dict[int, int] = {}
        m_mem: dict[int, int] = {}
        tile_groups = [(b, q) for b, n in enumerate(layer.q) for q in range(n)]
        q_ready = m_free = m_written = issued = cycle = 0
        first = last = 0
        v_data, w_data = self.garbage, self.w_garbage
        v_free = m_ready = 0
        start, idle = True, False
        while not idle:
            await FallingEdge(dut.clk_i)
            dut.cmd_valid_i.value = int(start)
            if start:
                dut.cmd_data_i.value = int.from_bytes(layer.instruction.encode(), "little")
                q_ready = 0
            else:
                while q_ready < len(tile_groups) and tile_groups[q_ready][0] - v_free < 2 and self.more(s.v):
                    self.write_v(layer, v_mem, *tile_groups[q_ready])
                    q_ready += 1
                    if s.v < 1:
                        break
                if m_free < m_ready and self.more(s.m):
                    base = (m_free & 1) * 9 * NK
                    got = [m_mem.pop(base + i, None) for i in range(layer.groups * NK)]
                    assert got == layer.golden[m_free], f"unit {m_free} differs"
                    m_free += 1
            while self.w_ptr < len(self.w_feed) and self.w_ptr - self.w_free() < WW and self.more(s.w):
                self.w_mem[self.w_ptr % WW] = self.w_feed[self.w_ptr]
                self.w_ptr += 1
                if s.w < 1:
                    break
            dut.v_rdata_i.value, dut.w_rdata_i.value = v_data, w_data
            dut.q_ready_i.value, dut.w_wptr_i.value = q_ready, self.w_ptr & 0xFFFFFF
            dut.m_free_i.value = m_free if not start else 0
            await ReadOnly()
            v_data, w_data = self.garbage, self.w_garbage
            if int(dut.v_re_o.value):
                v_data = v_mem[int(dut.v_raddr_o.value)]
            if int(dut.w_re_o.value):
                w_data = self.w_mem[int(dut.w_raddr_o.value)]
            v_free = 0 if start else int(dut.v_free_o.value)
            m_ready = 0 if start else int(dut.m_ready_o.value)
            pulses = [int(p.value) for p in (dut.issued_o, dut.starved_input_o, dut.starved_weights_o,
                                             dut.blocked_output_o)]
            assert sum(pulses) == (0 if start else int(issued < layer.steps)), f"pulses {pulses} in cycle {cycle}"
            if pulses[0]:
                first, last = (cycle if issued == 0 else first), cycle
                issued += 1
            if int(dut.m_we_o.value):
                unit, word = divmod(m_written, layer.groups * NK)
                address = int(dut.m_waddr_o.value)
                assert unit - m_free < 2, f"unit {unit} written while its half is not free"
                assert address == (unit & 1) * 9 * NK + word, f"word {m_written} written to {address}"
                m_mem[address] = int(dut.m_wdata_o.value)
                m_written += 1
            assert m_ready <= m_written // (layer.groups * NK), "m_ready before the last write"
            idle = not start and bool(int(dut.cmd_ready_o.value)) and m_free == len(layer.golden)
            if start:
                assert int(dut.cmd_ready_o.value)
            start = False
            cycle += 1
            assert cycle < 200 * layer.steps + 20000, "no end"
        assert issued == layer.steps and v_free == len(layer.q) and q_ready == len(tile_groups)
        return last - first + 1

    def w_free(self) -> int:
        return int(self.dut.w_free_o.value)

    def write_v(self, layer: Layer, v_mem: dict[int, int], block: int, q: int) -> None:
        words = layer.v[block][q]  # G, v_words, PN, 4, L
        half = (block & 1) * VW // 2
        if q == 0:
            for old in [a for a in v_mem if half <= a < half + VW // 2]:
                del v_mem[old]
        for g in range(words.shape[0]):
            for w in range(words.shape[1]):
                v_mem[half + (q * words.shape[0] + g) * words.shape[1] + w] = pack(words[g, w], VB)


@cocotb.test()
async def layers_match_the_model(dut) -> None:
    seed = random.randrange(1 << 32)
    rng = np.random.default_rng(seed)
    layers = [Layer(name, rng) for name in ENV["layers"]]
    bench = Bench(dut, layers, STALLS[ENV["stalls"]], random.Random(seed))
    await bench.reset()
    released = 0
    for name, layer in zip(ENV["layers"], layers, strict=True):
        span = await bench.run(layer)
        dut._log.info("%s, stalls %s: %d steps in %d cycles", name, ENV["stalls"], layer.steps, span)
        group = layer.instruction.red_words * layer.instruction.sub_s
        if ENV["stalls"] == "full" and layer.instruction.chunk_words <= WW // 2:
            # one step per cycle; groups shorter than the drain take as long as the drain
            ideal = layer.steps if group >= NK else (layer.steps // group - 1) * NK + group
            if group >= NK or layer.groups > 1:
                assert span == ideal, f"{name}: {span} cycles for {layer.steps} steps, {ideal} are enough"
        released += layer.instruction.chunk_words * layer.kgs * (1 if layer.resident else len(layer.q))
        assert bench.w_free() == released, f"{name}: {bench.w_free()} words released, should be {released}"
