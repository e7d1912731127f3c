"""The golden of the unit benches: the function of the same name in hw/hls, on the words that ports and RAMs carry.

A result holds exactly what the function writes: it runs twice, on two different poisons, and what differs afterwards
was left alone. Offsets of memory are 0 here (`at_zero`), so that a tensor is an array of its own size; a bench gives
the RTL any others.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from sim.common.bits import pack, pack_rows
from sim.common.layers import OFFSETS, Block, groups, moved
from subrow.devices.hlslib import library
from subrow.spec.hwconfig import HwConfig
from subrow.spec.isa import Instruction

Key = TypeVar("Key", bound=Hashable)
Bytes = NDArray[np.uint8]
META = ("oy", "ox", "kb", "quad_first", "quad_last", "drop", "last_of_unit")


def at_zero(instr: Instruction) -> Instruction:
    return moved(instr, **dict.fromkeys(OFFSETS, 0))


def arena_bytes(instr: Instruction) -> int:
    """Room for each of a layer's tensors at offset 0."""
    return max(instr.in_h * instr.in_row_bytes, instr.out_h * instr.out_row_bytes, instr.conv_h * instr.res_row_bytes)


def chunk_bytes(hw: HwConfig, instr: Instruction) -> int:
    return hw.chunk_bytes(instr.chunk_words, bool(instr.implicit_index), bool(instr.narrow_u))


@dataclass(frozen=True)
class Pixels:
    """Transfers of the y stream: y [count, L], meta [count, 7] in the order of META."""

    y: NDArray[np.int64]
    meta: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.y)


class Golden:
    """Unit functions of one HwConfig. `corrupt`: one bit of every result is wrong."""

    def __init__(self, hw: HwConfig, corrupt: bool = False) -> None:
        self.hw, self.corrupt, self._lib = hw, corrupt, library(hw)

    def refusal(self, instr: Instruction) -> str:
        """Why the hardware must not run this instruction; empty when it may."""
        nothing = np.zeros(8 * self.hw.channels, np.uint8).ctypes.data
        status = self._lib.post(at_zero(instr).encode(), nothing, nothing, 0, nothing, nothing, 0, 0, 0, nothing)
        return self._lib.text(status) if status else ""

    def _ok(self, status: int) -> None:
        assert status == 0, f"the HLS function refuses its arguments: {self._lib.text(status)}"

    def _written(self, shape: tuple[int, ...], kind: DTypeLike, call: Callable[[int], int]) -> tuple[NDArray, NDArray]:
        """What call(address) writes into an array of this shape: its values, and where."""
        runs = [np.zeros(shape, kind), ~np.zeros(shape, kind)]
        for array in runs:
            self._ok(call(array.ctypes.data))
        return runs[0], runs[0] == runs[1]

    @staticmethod
    def _words(values: NDArray, mask: NDArray, axes: int, bits: int) -> dict[tuple[int, ...], int]:
        """Written words by address: the first `axes` axes are addresses, the others make a word."""
        flat = mask.reshape(*mask.shape[:axes], -1)
        where = flat.any(-1)
        assert (flat.all(-1) == where).all(), "a word is written in part"
        at = [tuple(map(int, a)) for a in np.argwhere(where)]
        return dict(zip(at, pack_rows(values[where], bits), strict=True))

    def _result(self, words: dict[Key, int]) -> dict[Key, int]:
        if self.corrupt and words:
            words[next(reversed(words))] ^= 1
        return words

    def afetch(self, instr: Instruction, arena: Bytes, b: Block) -> dict[tuple[int, int], int]:
        """{(bank, address): activation word}"""
        hw, ins = self.hw, at_zero(instr).encode()
        values, mask = self._written((8, hw.act_words, hw.sub_row), np.int8, lambda out: self._lib.afetch(
            ins, arena.ctypes.data, arena.size, b.by, b.bx, b.kg0, out))
        return self._result({(a[0], a[1]): w for a, w in self._words(values, mask, 2, 8).items()})

    def rfetch(self, instr: Instruction, arena: Bytes, b: Block, kg: int) -> dict[int, int]:
        """{address: activation word}"""
        hw, ins = self.hw, at_zero(instr).encode()
        values, mask = self._written((hw.out_words, hw.sub_row), np.int8, lambda out: self._lib.rfetch(
            ins, arena.ctypes.data, arena.size, b.by, b.bx, kg, out))
        return self._result({a[0]: w for a, w in self._words(values, mask, 1, 8).items()})

    def wfetch(self, instr: Instruction, image: Bytes, kg: int) -> tuple[list[int], list[int]]:
        """Words of the weight ring, words of the parameter ring."""
        hw, ins = self.hw, at_zero(instr).encode()
        shape = (instr.chunk_words, 4 * hw.channels)
        u, idx, params = np.zeros(shape, np.int16), np.zeros(shape, np.uint8), np.zeros(hw.channels, np.uint64)
        self._ok(self._lib.wfetch(ins, image.ctypes.data, image.size, kg, u.ctypes.data, idx.ctypes.data,
                                  params.ctypes.data))
        words = self._result(dict(enumerate(ring_words(hw, u, idx))))
        return list(words.values()), param_words(hw, params)

    def itrans(self, instr: Instruction, abuf: NDArray[np.int8], b: Block) -> dict[tuple[int, int], int]:
        """{(tile lane, address): V word}"""
        hw, ins = self.hw, at_zero(instr).encode()
        shape = (hw.tiles, hw.v_words, 4, hw.sub_row)
        values, mask = self._written(shape, np.int16, lambda out: self._lib.itrans(
            ins, abuf.ctypes.data, b.by, b.bx, b.kg0, out))
        return self._result({(a[0], a[1]): w for a, w in self._words(values, mask, 2, hw.v_bits).items()})

    def array(self, instr: Instruction, vbuf: NDArray[np.int16], u: NDArray[np.int16], idx: NDArray[np.uint8],
              b: Block, kg: int, q: int) -> dict[int, int]:
        """{g * NK + nk: M word}, without the tiles that lie beyond the block."""
        hw, ins = self.hw, at_zero(instr).encode()
        nk = hw.tiles * hw.channel_blocks
        shape = (groups(instr) * nk, 4, hw.sub_row)
        values, mask = self._written(shape, np.int64, lambda out: self._lib.array(
            ins, vbuf.ctypes.data, u.ctypes.data, idx.ctypes.data, b.by, b.bx, kg, q, out))
        return self._result({a[0]: w for a, w in self._words(values, mask, 1, hw.acc_bits).items()})

    def otrans(self, instr: Instruction, m: NDArray[np.int64], b: Block, kg: int, q: int) -> Pixels:
        """Transfers of one M buffer unit [G, NK, 4, L]."""
        hw, ins = self.hw, at_zero(instr).encode()
        most = 16 * hw.tiles * hw.channel_blocks
        y, meta, count = np.zeros((most, hw.sub_row), np.int64), np.zeros((most, 7), np.int32), np.zeros(1, np.uint32)
        self._ok(self._lib.otrans(ins, m.ctypes.data, b.by, b.bx, kg, q, y.ctypes.data, meta.ctypes.data,
                                  count.ctypes.data))
        y, meta = y[: count[0]], meta[: count[0]]
        if self.corrupt:
            y[-1, -1] ^= 1
        return Pixels(y, meta)

    def post(self, instr: Instruction, pixels: Pixels, params: NDArray[np.uint64], rbuf: NDArray[np.int8], b: Block,
             kg: int) -> dict[int, int]:
        """{address: activation word} of one (block, kg) unit."""
        hw, ins = self.hw, at_zero(instr).encode()
        values, mask = self._written((hw.out_words, hw.sub_row), np.int8, lambda out: self._lib.post(
            ins, pixels.y.ctypes.data, pixels.meta.ctypes.data, len(pixels), params.ctypes.data, rbuf.ctypes.data,
            b.by, b.bx, kg, out))
        return self._result({a[0]: w for a, w in self._words(values, mask, 1, 8).items()})

    def awrite(self, instr: Instruction, obuf: NDArray[np.int8], b: Block, kg: int) -> dict[int, int]:
        """{byte offset from the output tensor: activation word}"""
        hw, ins = self.hw, at_zero(instr).encode()
        size = arena_bytes(instr)
        values, mask = self._written((size // hw.sub_row, hw.sub_row), np.uint8, lambda out: self._lib.awrite(
            ins, obuf.ctypes.data, b.by, b.bx, kg, out, size))
        return self._result({a[0] * hw.sub_row: w for a, w in self._words(values, mask, 1, 8).items()})


def ring_words(hw: HwConfig, u: NDArray, idx: NDArray) -> list[int]:
    """Words of the weight ring: {idx, weights}."""
    low = pack_rows(u, hw.u_bits)
    return [w | i << (4 * hw.channels * hw.u_bits) for w, i in zip(low, pack_rows(idx, hw.idx_bits), strict=True)]


def param_words(hw: HwConfig, params: NDArray[np.uint64]) -> list[int]:
    """Words of the parameter ring: L channels of 64 bits."""
    return pack_rows(params.view(np.int64).reshape(hw.channel_blocks, hw.sub_row), 64)


def meta_word(hw: HwConfig, meta: NDArray[np.int32]) -> int:
    """Sideband of one transfer, as y_meta carries it."""
    fields = dict(zip(META, map(int, meta), strict=True))
    kb_bits = max(1, (hw.channel_blocks - 1).bit_length())
    word = fields["last_of_unit"]
    for name, bits in (("drop", 1), ("kb", kb_bits), ("oy", 12), ("ox", 12), ("quad_last", 1), ("quad_first", 1)):
        word = word << bits | fields[name]
    return word


def transfers(hw: HwConfig, pixels: Pixels) -> list[tuple[int, int]]:
    """(data, sideband) of each transfer."""
    return [(pack(y, hw.y_bits), meta_word(hw, m)) for y, m in zip(pixels.y, pixels.meta, strict=True)]
