"""A small assembler for device tests: random layers as instructions, packed weights and dense numpy weights.

It follows docs/hardware.md by itself and shares nothing with the compiler.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from subrow.spec import reference
from subrow.spec.hwconfig import HwConfig
from subrow.spec.isa import Instruction
from subrow.spec.metadata import TILES
from subrow.spec.program import PAGE, LayerInfo, Program, TensorInfo

M = {0: 2, 1: 2, 2: 4, 3: 2}
LINEAR = 3
POINT = (1, 1)
GROUPS = {0: 1, 1: 4, 2: 9, 3: 1}


@dataclass(frozen=True)
class Shape:
    """What a test chooses; the assembler derives the rest."""

    tile: int = 1
    channels: int = 8  # C
    outputs: int = 8  # K
    h: int = 8
    w: int = 8
    sub_s: int = 8
    implicit: bool = False
    narrow: bool = False  # weights of -7..7, in 4 bits
    resident: bool = True
    pass_kgs: int = 4096  # most output channel groups of a pass, where weights stay
    residual: bool = False
    pool: bool = False
    upsample: bool = False
    stride: int = 1
    kernel: tuple[int, int] = (1, 1)
    max_window: bool = False  # the maximum of the window, in place of a sum over it
    whole_v: bool = False
    whole_a: bool = False
    pad: int = 0  # all sides
    block: tuple[int, int] | None = None  # tiles; None = one block
    grouped: bool = False  # each kg reduces over its own channels
    relu: bool = False
    leaky: bool = False
    ev: tuple[int, int] = (0, 0)  # random range
    em: tuple[int, int] = (0, 0)
    extreme: bool = False  # all weights and inputs at the limits


    @property
    def window(self) -> tuple[int, int]:
        """What the weights of a direct layer cover."""
        return POINT if self.max_window else self.kernel


@dataclass(frozen=True)
class Layer:
    """A layer with its data: dense u for the reference, packed chunks for the engine."""

    ins: Instruction
    x: NDArray[np.int8]
    residual: NDArray[np.int8] | None
    u: NDArray[np.int64]
    bias: NDArray[np.int64]
    mult: NDArray[np.int64]
    shift: NDArray[np.int64]
    negative: NDArray[np.int64]
    packed: NDArray[np.uint8]
    blocks_q: int  # tile groups over all blocks

    def expected(self, hw: HwConfig, x: NDArray[np.int8] | None = None) -> NDArray[np.int8]:
        data = self.x if x is None else x
        return reference.layer(
            self.ins, data, self.u, self.bias, self.mult, self.shift, hw.v_bits, self.residual, self.negative
        )

    @property
    def issued(self) -> int:
        steps = GROUPS[self.ins.tile] * self.ins.red_words * self.ins.sub_s
        return self.blocks_q * self.ins.kgs * steps


def _bits(values: NDArray[np.int64], width: int) -> NDArray[np.uint8]:
    """[words, entries] -> [words, entries * width] bits, least significant first."""
    return ((values[..., None] >> np.arange(width)) & 1).astype(np.uint8).reshape(len(values), -1)


def pack_words(
    hw: HwConfig, u: NDArray[np.int64], idx: NDArray[np.int64] | None, narrow: bool = False
) -> NDArray[np.uint8]:
    """Weight words [words, 4, Pk] (and indices unless implicit) -> bytes of whole beats, each word of whole 8 bytes."""
    parts = [_bits(u.reshape(len(u), -1), 4 if narrow else hw.u_bits)]
    if idx is not None:
        parts.append(_bits(idx.reshape(len(idx), -1), hw.idx_bits))
    bits = np.concatenate(parts, axis=1)
    beat = 8 * hw.weight_bytes
    size = max(beat, -(-bits.shape[1] // 64) * 64)
    padded = np.zeros((len(bits), size), np.uint8)
    padded[:, : bits.shape[1]] = bits
    stream = np.concatenate([padded.ravel(), np.zeros(-padded.size % beat, np.uint8)])
    return np.packbits(stream, bitorder="little")


def pack_params(bias: NDArray[np.int64], mult: NDArray[np.int64], shift: NDArray[np.int64],
                negative: NDArray[np.int64] | int = 0) -> NDArray[np.uint8]:
    record = np.zeros(len(bias), np.dtype([("b", "<i4"), ("m", "<u2"), ("s", "<u2")]))
    record["b"], record["m"], record["s"] = bias, mult, shift + negative
    return record.view(np.uint8)


def _indices(rng: np.random.Generator, shape: Sequence[int], s: int, lanes: int, implicit: bool) -> NDArray[np.int64]:
    """[*shape, s] distinct channels of each sub-row."""
    if implicit:
        return np.broadcast_to(np.arange(s), (*shape, s)).copy()
    return np.sort(np.argsort(rng.random((*shape, lanes)), axis=-1)[..., :s], axis=-1)


def _group_words(tile: int, u: NDArray[np.int64], lanes: int = 4) -> NDArray[np.int64]:
    """[taps, Pk, red_words, s] -> words [chunk_words, 4, Pk] in the order of the engine."""
    taps, pk, red, s = u.shape
    if tile:
        return u.reshape(taps // lanes, lanes, pk, red, s).transpose(0, 3, 4, 1, 2).reshape(-1, lanes, pk)
    steps = u[0].transpose(1, 2, 0).reshape(red * s, pk)
    padded = np.zeros((-(-len(steps) // lanes) * lanes, pk), np.int64)
    padded[: len(steps)] = steps
    return padded.reshape(-1, lanes, pk)


def _weights(hw: HwConfig, shape: Shape, rng: np.random.Generator, taps: int, kgs: int, red: int,
             kstep: int) -> tuple[NDArray[np.int64], list[NDArray[np.int64]], list[NDArray[np.int64]]]:
    """Dense u [taps, kgs * Pk, V words * L], and per kg the words and indices."""
    kh, kw = shape.window
    lanes = 4 if shape.tile == LINEAR else 1  # that take words of the reduction in turn
    blocks = -(-shape.channels // hw.sub_row)
    dense = np.zeros((taps, kgs * hw.channels, -(-blocks * kh * kw // lanes), hw.sub_row), np.int64)
    words, indices = [], []
    for kg in range(kgs):
        idx = _indices(rng, (taps, hw.channels, red), shape.sub_s, hw.sub_row, shape.implicit)
        most = 7 if shape.narrow else hw.u_max
        u = rng.choice([-most, most], idx.shape) if shape.extreme else rng.integers(-most, most + 1, idx.shape)
        word = (kg * kstep + np.arange(red)) * lanes + np.arange(lanes)[:, None]
        channel = word[:, None, :, None] // (kh * kw) * hw.sub_row + idx
        u[channel >= shape.channels] = 0
        u[:, np.arange(hw.channels) + kg * hw.channels >= shape.outputs] = 0
        part = dense[:, kg * hw.channels : (kg + 1) * hw.channels, kg * kstep : kg * kstep + red]
        np.put_along_axis(part, idx, u, axis=-1)
        words.append(_group_words(shape.tile, u))
        indices.append(_group_words(shape.tile, idx))
    return dense.reshape(taps, kgs * hw.channels, -1), words, indices


def _dense_for_reference(hw: HwConfig, shape: Shape, dense: NDArray[np.int64]) -> NDArray[np.int64]:
    if shape.tile in (1, 2):
        return dense[:, : shape.outputs, : shape.channels]
    kh, kw = shape.window
    if shape.tile == LINEAR:
        words = dense.reshape(4, dense.shape[1], -1, hw.sub_row).transpose(1, 2, 0, 3)
        used = -(-shape.channels // hw.sub_row) * kh * kw * hw.sub_row
        dense = words.reshape(1, dense.shape[1], -1)[..., :used]
    full = dense[0].reshape(dense.shape[1], -1, kh, kw, hw.sub_row).transpose(0, 1, 4, 2, 3)
    return full.reshape(dense.shape[1], -1, kh, kw)[: shape.outputs, : shape.channels]


def _geometry(hw: HwConfig, shape: Shape) -> tuple[dict[str, object], int]:
    """Fields of sizes and blocks, and the tile groups of all blocks."""
    m = M[shape.tile]
    kh, kw = (3, 3) if shape.tile in (1, 2) else shape.kernel
    ch = (shape.h + 2 * shape.pad - kh) // shape.stride + 1
    cw = (shape.w + 2 * shape.pad - kw) // shape.stride + 1
    th, tw = -(-ch // m), -(-cw // m)
    bth, btw = shape.block or (th, tw)
    by, bx = -(-th // bth), -(-tw // btw)
    last_h, last_w = th - (by - 1) * bth, tw - (bx - 1) * btw
    q = [-(-a * b // hw.tiles) for a in (bth, last_h) for b in (btw, last_w)]
    total = (by - 1) * (bx - 1) * q[0] + (by - 1) * q[1] + (bx - 1) * q[2] + q[3]
    oh, ow = (n // 2 if shape.pool else 2 * n if shape.upsample else n for n in (ch, cw))
    fields: dict[str, object] = {
        "in_h": shape.h, "in_w": shape.w, "conv_h": ch, "conv_w": cw, "out_h": oh, "out_w": ow,
        "block_th": bth, "block_tw": btw, "blocks_y": by, "blocks_x": bx, "q_count": q,
        "pad_top": shape.pad, "pad_left": shape.pad,
    }
    return fields, total


def make_layer(hw: HwConfig, shape: Shape, seed: int = 0) -> Layer:
    """A random layer; offsets of memory are filled in by `program_of`."""
    rng = np.random.default_rng(seed)
    lanes, pk = hw.sub_row, hw.channels
    fields, total = _geometry(hw, shape)
    in_cb, out_cb = -(-shape.channels // lanes), -(-shape.outputs // lanes)
    kgs = -(-shape.outputs // pk)
    taps = 4 * GROUPS[shape.tile] if shape.tile else 1
    v_words = -(-in_cb * shape.window[0] * shape.window[1] // (4 if shape.tile == LINEAR else 1))
    red = v_words // kgs if shape.grouped else v_words
    dense, words, indices = _weights(hw, shape, rng, taps, kgs, red, red if shape.grouped else 0)
    ins = Instruction(fields | {
        "opcode": 1, "tile": shape.tile, "implicit_index": int(shape.implicit), "narrow_u": int(shape.narrow),
        "resident": int(shape.resident),
        "residual": int(shape.residual), "pool": int(shape.pool),
        "upsample": int(shape.upsample), "stride": shape.stride, "sub_s": shape.sub_s,
        "max_window": int(shape.max_window), "whole_v": int(shape.whole_v), "whole_a": int(shape.whole_a),
        "leaky": int(shape.leaky),
        "in_cb": in_cb, "out_cb": out_cb, "kgs": kgs,
        "pass_kgs": min(shape.pass_kgs, kgs) if shape.resident else kgs,
        "kernel_h": shape.kernel[0], "kernel_w": shape.kernel[1],
        "in_row_words": in_cb * shape.w, "in_row_bytes": in_cb * shape.w * lanes,
        "out_row_bytes": out_cb * int(str(fields["out_w"])) * lanes,
        "res_row_bytes": out_cb * int(str(fields["conv_w"])) * lanes if shape.residual else 0,
        "v_words": v_words, "red_words": red, "v_kstep": red if shape.grouped else 0, "chunk_words": len(words[0]),
        "act_min": 0 if shape.relu else -127, "act_max": 127,
        "res_mult": int(rng.integers(1 << 15, 1 << 16)) if shape.residual else 0, "res_shift": 16 * shape.residual,
        "ev": _exponents(rng, shape.tile, shape.ev), "em": _exponents(rng, shape.tile, shape.em),
    })
    x = _activations(rng, (shape.channels, shape.h, shape.w), shape.extreme)
    residual = _activations(rng, (shape.outputs, ins.conv_h, ins.conv_w), shape.extreme) if shape.residual else None
    u = _dense_for_reference(hw, shape, dense)
    bias, mult, shift = _parameters(rng, kgs * pk, reference.output_transform(ins, x, u, hw.v_bits))
    negative = rng.integers(0, 400, kgs * pk) * 64 if shape.leaky else np.zeros(kgs * pk, np.int64)
    chunks = []
    for kg, (word, idx) in enumerate(zip(words, indices, strict=True)):
        own = slice(kg * pk, (kg + 1) * pk)
        chunks += [pack_params(bias[own], mult[own], shift[own], negative[own]),
                   pack_words(hw, word, None if shape.implicit else idx, shape.narrow)]
    k = shape.outputs
    return Layer(ins, x, residual, u, bias[:k], mult[:k], shift[:k], negative[:k], np.concatenate(chunks), total)


def _exponents(rng: np.random.Generator, tile: int, ends: tuple[int, int]) -> list[int]:
    """One for each tap; those of a linear layer's lanes are equal."""
    values: list[int] = rng.integers(ends[0], ends[1] + 1, 36).tolist()
    return values[:1] * 4 if tile == LINEAR else values


def _parameters(rng: np.random.Generator, count: int,
                y: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """bias, mult and shift of `count` channels that spread y over the output range and saturate a little."""
    bias, mult, shift = (np.zeros(count, np.int64) for _ in range(3))
    k = len(y)
    largest = np.minimum(np.maximum(np.abs(y).max(axis=(1, 2)), 1), 1 << 32)
    bias[:k] = rng.integers(-largest // 4, largest // 4 + 1)
    mult[:k] = rng.integers(1 << 15, 1 << 16, k)
    shift[:k] = np.clip(np.round(np.log2(largest * mult[:k] / rng.uniform(40, 240, k))), 0, 47)
    return bias, mult, shift


def _activations(rng: np.random.Generator, shape: tuple[int, ...], extreme: bool) -> NDArray[np.int8]:
    if extreme:
        return rng.choice(np.array([-127, 127], np.int8), shape)
    return rng.integers(-127, 128, shape).astype(np.int8)


def program_of(hw: HwConfig, layers: Sequence[Layer]) -> Program:
    """Layers that feed one another, as a Program; residuals become inputs named r0, r1, …"""
    base = -(-len(layers) * 128 // PAGE) * PAGE
    place, weights, at = 0, [], base
    size = layers[0].ins.in_row_bytes * layers[0].ins.in_h
    inputs = [TensorInfo("x", tuple(layers[0].x.shape), 1.0, 0)]
    codes, source, place = [], 0, size
    for i, layer in enumerate(layers):
        values = dict(layer.ins.values) | {"layer_id": i, "in_offset": source, "weight_offset": at}
        if layer.residual is not None:
            inputs.append(TensorInfo(f"r{i}", tuple(layer.residual.shape), 1.0, place))
            values["res_offset"] = place
            place += layer.ins.res_row_bytes * layer.ins.conv_h
        values["out_offset"] = source = place
        place += layer.ins.out_row_bytes * layer.ins.out_h
        codes.append(np.frombuffer(Instruction(values).encode(), np.uint8))
        weights.append(layer.packed)
        at += layer.packed.size
    last = layers[-1].ins
    output = TensorInfo("y", (len(layers[-1].bias), last.out_h, last.out_w), 0.5, source)
    infos = tuple(_info(f"layer{i}", layer, hw) for i, layer in enumerate(layers))
    return Program("test", hw.name, hw.digest, np.stack(codes), np.concatenate(weights), place, tuple(inputs),
                   (output,), infos)


def _info(name: str, layer: Layer, hw: HwConfig) -> LayerInfo:
    ins, c, k = layer.ins, len(layer.x), len(layer.bias)
    groups = ins.kgs if ins.v_kstep else 1
    area = 9 if ins.tile in (1, 2) else 1 if ins.max_window else ins.kernel_h * ins.kernel_w
    macs = ins.conv_h * ins.conv_w * area * c // groups * k
    details = {"groups": groups, "weight_bytes": int(layer.packed.size)}
    return LayerInfo(name, "conv", TILES[ins.tile], (ins.sub_s, hw.sub_row), macs, c, k, details)


def feeds_of(layers: Sequence[Layer]) -> dict[str, NDArray[np.int8]]:
    """Inputs of `program_of` for one image."""
    feeds = {"x": layers[0].x[None]}
    return feeds | {f"r{i}": layer.residual[None] for i, layer in enumerate(layers) if layer.residual is not None}


def change(program: Program, layer: int, **fields: object) -> Program:
    """The Program with other values in one instruction."""
    values = dict(program.decoded()[layer].values) | fields
    codes = program.instructions.copy()
    codes[layer] = np.frombuffer(Instruction(values).encode(), np.uint8)
    return dataclasses.replace(program, instructions=codes)
