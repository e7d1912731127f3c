"""Bench of subrow_itrans: layers back to back against docs/numerics.md, with buffers that enforce the counters.

SUBROW_BENCH (JSON): params (RTL parameters), stalls (name of a pattern), corrupt (spoil the golden).
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

from subrow.spec import winograd
from subrow.spec.isa import Instruction

ENV = json.loads(os.environ["SUBROW_BENCH"])
P = ENV["params"]
PN, L, VB, AW, VW = P["Tiles"], P["SubRow"], P["VBits"], P["ActWords"], P["VWords"]

# name: tile, stride, kernel, pad (top, left), in_h, in_w, in_cb, conv_h, conv_w, block (th, tw)
LAYERS: dict[str, dict[str, Any]] = {
    "f4": dict(tile=2, pad=(1, 1), size=(13, 11), in_cb=2, conv=(13, 11), block=(2, 3)),
    "direct_3x3_s2": dict(tile=0, stride=2, kernel=(3, 3), pad=(1, 1), size=(11, 14), in_cb=2, conv=(6, 7),
                          block=(2, 2)),
    "f2": dict(tile=1, pad=(1, 1), size=(9, 8), in_cb=3, conv=(9, 8), block=(2, 4)),
    "direct_1x1": dict(tile=0, size=(7, 6), in_cb=3, conv=(7, 6), block=(4, 2)),
    "direct_5x3": dict(tile=0, kernel=(5, 3), pad=(2, 0), size=(9, 10), in_cb=1, conv=(9, 8), block=(3, 4)),
    "direct_7x7_s2": dict(tile=0, stride=2, kernel=(7, 7), pad=(3, 3), size=(13, 13), in_cb=1, conv=(7, 7),
                          block=(1, 2)),
    "direct_1x1_s2": dict(tile=0, stride=2, size=(9, 9), in_cb=2, conv=(5, 5), block=(2, 3)),
    "f2_valid": dict(tile=1, size=(10, 9), in_cb=1, conv=(8, 7), block=(2, 2)),
    "f4_one": dict(tile=2, pad=(1, 1), size=(3, 2), in_cb=1, conv=(3, 2), block=(1, 1)),
}


@dataclass(frozen=True)
class Stalls:
    """Chance per cycle that one more input row, one more free V half becomes available."""

    rows: float
    v: float


STALLS = {"full": Stalls(2, 2), "rows": Stalls(0.02, 2), "output": Stalls(2, 0.01), "all": Stalls(0.05, 0.02)}


def pack(values: np.ndarray, bits: int) -> int:
    """Values as bit fields, first value lowest."""
    raw = (values.reshape(-1, 1).astype(np.int64) >> np.arange(bits)) & 1
    return int.from_bytes(np.packbits(raw.astype(np.uint8).reshape(-1), bitorder="little").tobytes(), "little")


class Layer:
    """One layer's image, its blocks, and per block the expected V words: a list of (q, lane, address, word)."""

    def __init__(self, name: str, rng: np.random.Generator):
        f = LAYERS[name]
        kind = winograd.TileKind(f["tile"])
        t = winograd.tile(kind)
        s, (kh, kw) = f.get("stride", 1), f.get("kernel", (1, 1))
        (pad_t, pad_l), (ih, iw), (ch, cw), (bth, btw) = f.get("pad", (0, 0)), f["size"], f["conv"], f["block"]
        self.in_cb, v_words = f["in_cb"], f["in_cb"] * kh * kw
        tiles_y, tiles_x = -(-ch // t.m), -(-cw // t.m)
        by_n, bx_n = -(-tiles_y // bth), -(-tiles_x // btw)
        ev = rng.integers(0, 8, t.taps)
        self.pace = {0: 2, 1: 4, 2: 9}[int(kind)]
        self.windows: list[int] = []  # per block
        self.image = rng.integers(-127, 128, (ih, self.in_cb, iw, L))
        self.image[rng.random(self.image.shape) < 0.1] = 127
        self.blocks: list[tuple[int, int, int, int]] = []  # ry0, nrows, rx0, ncols
        self.golden: list[list[tuple[int, int, int, int]]] = []
        order, bt = winograd.tap_order(kind), winograd.as_int(t.bt)
        ext_h, ext_w = (kh, kw) if kind == 0 else (3, 3)
        q_counts = [1, 1, 1, 1]
        for by in range(by_n):
            for bx in range(bx_n):
                th, tw = min(bth, tiles_y - by * bth), min(btw, tiles_x - bx * btw)
                iy0, ix0 = by * bth * t.m * s - pad_t, bx * btw * t.m * s - pad_l
                ry0, rx0 = max(iy0, 0), max(ix0, 0)
                ry1 = min(iy0 + (th * t.m - 1) * s + ext_h, ih)
                rx1 = min(ix0 + (tw * t.m - 1) * s + ext_w, iw)
                assert -(-(ry1 - ry0) // 8) * self.in_cb * (rx1 - rx0) <= AW // 2
                self.blocks.append((ry0, ry1 - ry0, rx0, rx1 - rx0))
                q_count = -(-th * tw // PN)
                q_counts[2 * (by == by_n - 1) + (bx == bx_n - 1)] = q_count
                assert t.groups * v_words * q_count <= VW // 2
                half = (len(self.golden) & 1) * VW // 2
                words = []
                for i in range(th * tw):
                    q, lane = divmod(i, PN)
                    ty, tx = divmod(i, tw)
                    for cb in range(self.in_cb):
                        for ky in range(kh):
                            for kx in range(kw):
                                w = (cb * kh + ky) * kw + kx
                                x = np.zeros((t.alpha, t.alpha, L), np.int64)
                                for r in range(t.alpha):
                                    for c in range(t.alpha):
                                        y = iy0 + ty * t.m * s + ky + r * s
                                        col = ix0 + tx * t.m * s + kx + c * s
                                        if 0 <= y < ih and 0 <= col < iw:
                                            x[r, c] = self.image[y, cb, col]
                                v = np.einsum("ir,rcl,jc->ijl", bt, x, bt)
                                for g in range(t.groups):
                                    taps = []
                                    for p in range(4 * g, 4 * g + 4):
                                        e = int(ev[p])
                                        value = (v[order[p]] + ((1 << e) >> 1)) >> e
                                        taps.append(np.clip(value, 1 - (1 << VB - 1), (1 << VB - 1) - 1))
                                    address = half + (q * t.groups + g) * v_words + w
                                    words.append((q, lane, address, pack(np.array(taps), VB)))
                self.windows.append(len(words) // t.groups)
                self.golden.append(words)
        if ENV.get("corrupt"):
            last = self.golden[-1][-1]
            self.golden[-1][-1] = (*last[:3], last[3] ^ 1)
        self.q_total = [max(w[0] for w in words) + 1 for words in self.golden]
        self.instruction = Instruction(dict(
            opcode=1, tile=int(kind), stride=s, in_h=ih, in_w=iw, in_cb=self.in_cb, conv_h=ch, conv_w=cw, out_h=ch,
            out_w=cw, kernel_h=kh, kernel_w=kw, pad_top=pad_t, pad_left=pad_l, v_words=v_words, red_words=v_words,
            kgs=1, block_th=bth, block_tw=btw, blocks_y=by_n, blocks_x=bx_n, q_count=q_counts, ev=list(map(int, ev))))


class Bench:
    def __init__(self, dut, stalls: Stalls, rng: random.Random):
        self.dut, self.stalls, self.rng = dut, stalls, rng

    async def reset(self) -> None:
        dut = self.dut
        Clock(dut.clk_i, 10, "ns", impl="gpi").start()
        dut.rst_ni.value = 0
        for port in ("cmd_valid_i", "cmd_data_i", "a_rdata_i", "rows_i", "v_free_i"):
            getattr(dut, port).value = 0
        for _ in range(3):
            await FallingEdge(dut.clk_i)
        dut.rst_ni.value = 1

    def more(self, chance: float) -> bool:
        return chance >= 1 or self.rng.random() < chance

    async def run(self, layer: Layer) -> int:
        """One layer; returns the cycles from its first to its last V write."""
        dut, s, rng = self.dut, self.stalls, self.rng
        memory: dict[tuple[int, int], int] = {}  # bank, address
        rows = [(b, r) for b, block in enumerate(layer.blocks) for r in range(block[1])]
        expected = [(b, *word) for b, words in enumerate(layer.golden) for word in words]
        # number of writes after which each tile group is complete
        ends = [i + 1 for i, e in enumerate(expected) if i + 1 == len(expected) or expected[i + 1][:2] != e[:2]]
        rows_done = written = v_free = act_free = q_ready = cycle = first = last = 0
        a_data = rng.getrandbits(64 * L)
        depth = AW.bit_length() - 1
        start, idle = True, False
        while not idle:
            await FallingEdge(dut.clk_i)
            dut.cmd_valid_i.value = int(start)
            if start:
                dut.cmd_data_i.value = int.from_bytes(layer.instruction.encode(), "little")
            else:
                while rows_done < len(rows) and rows[rows_done][0] - act_free < 2 and self.more(s.rows):
                    self.write_row(layer, memory, *rows[rows_done])
                    rows_done += 1
                    if s.rows < 1:
                        break
                complete = written == len(expected) or (written > 0 and expected[written][0] > v_free)
                complete = complete and q_ready >= sum(layer.q_total[: v_free + 1])
                if v_free < len(layer.blocks) and complete and self.more(s.v):
                    v_free += 1
            dut.a_rdata_i.value = a_data
            dut.rows_i.value, dut.v_free_i.value = rows_done, v_free
            await ReadOnly()
            if int(dut.a_re_o.value):
                addresses = int(dut.a_raddr_o.value)
                a_data = 0
                for bank in range(8):
                    address = addresses >> (bank * depth) & (AW - 1)
                    word = memory.get((bank, address))
                    a_data |= (rng.getrandbits(8 * L) if word is None else word) << (8 * L * bank)
            else:
                a_data = rng.getrandbits(64 * L)
            act_free = 0 if start else int(dut.act_free_o.value)
            q_ready = 0 if start else int(dut.q_ready_o.value)
            assert q_ready <= sum(e <= written for e in ends), "q_ready before the last write"
            lanes = int(dut.v_we_o.value)
            if lanes:
                block, _, lane, address, word = expected[written]
                got = (lanes, int(dut.v_waddr_o.value), int(dut.v_wdata_o.value))
                assert got == (1 << lane, address, word), f"V word {written} differs: {got}, expected {word}"
                assert block - v_free < 2, "block written while its half is not free"
                first, last = (cycle if written == 0 else first), cycle
                written += 1
            idle = not start and bool(int(dut.cmd_ready_o.value)) and v_free == len(layer.blocks)
            start = False
            cycle += 1
            assert cycle < 100 * len(expected) + 20000, f"no end: {written} of {len(expected)} words"
        assert written == len(expected) and act_free == len(layer.blocks) and q_ready == len(ends)
        return last - first + 1

    def write_row(self, layer: Layer, memory: dict[tuple[int, int], int], block: int, r: int) -> None:
        ry0, _, rx0, ncols = layer.blocks[block]
        half = (block & 1) * AW // 2
        if r == 0:
            for key in [k for k in memory if half <= k[1] < half + AW // 2]:
                del memory[key]
        for cb in range(layer.in_cb):
            for x in range(ncols):
                address = half + (r // 8 * layer.in_cb + cb) * ncols + x
                memory[r % 8, address] = pack(layer.image[ry0 + r, cb, rx0 + x], 8)


@cocotb.test()
async def layers_match_the_model(dut) -> None:
    seed = random.randrange(1 << 32)
    rng = np.random.default_rng(seed)
    layers = {name: Layer(name, rng) for name in LAYERS}
    bench = Bench(dut, STALLS[ENV["stalls"]], random.Random(seed))
    await bench.reset()
    for name, layer in layers.items():
        span = await bench.run(layer)
        windows, blocks = sum(layer.windows), len(layer.blocks)
        dut._log.info("%s, stalls %s: %d windows in %d blocks, %d cycles", name, ENV["stalls"], windows, blocks, span)
        if ENV["stalls"] == "full":
            first_to_last = (windows - 1) * layer.pace + len(layer.golden[0]) // layer.windows[0]
            # a block waits for its V half, which the bench frees a few cycles after that block's last write
            assert span <= first_to_last + (blocks - 1) * 20, f"{name}: {span} cycles for {windows} windows"
            if blocks == 1:
                assert span == first_to_last
