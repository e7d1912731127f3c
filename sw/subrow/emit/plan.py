"""Instructions without weights: everything that decides a layer's speed, from shapes, tiles and densities alone."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

from subrow.emit.arena import Slot, allocate
from subrow.emit.slices import Part, own_blocks, part_sizes, parts
from subrow.emit.tiling import Blocks, Geometry, any_block, choose, excess, loop_orders, rough_cycles
from subrow.ir.graph import Graph, Node, pads, pair, window
from subrow.ir.weights import may_be_winograd, tile_kind, weight_bits
from subrow.spec import isa
from subrow.spec.errors import CapacityError
from subrow.spec.hwconfig import NARROW_BITS, HwConfig
from subrow.spec.timing import estimate, head_start, quick_cycles
from subrow.spec.winograd import TAP_LANES, TileKind, tile

Density = tuple[int, int]
Planned = tuple[Node, isa.Instruction]
_COMPARED = 3  # part sizes of a layer, those with the least rough cost, that the cycle model compares


@dataclass(frozen=True)
class LayerShape:
    """The sizes of a layer's packed weights (docs/hardware.md, Memory)."""

    kgs: int
    sub_s: int
    red_words: int
    v_words: int
    v_kstep: int
    chunk_words: int
    chunk_bytes: int
    implicit_index: bool
    narrow: bool


@dataclass(frozen=True)
class Place:
    """Byte offsets of a layer's tensors in the arena, bytes from row to row (0: rows without gaps), its index."""

    input: int = 0
    output: int = 0
    residual: int = 0
    in_row: int = 0
    out_row: int = 0
    res_row: int = 0
    index: int = 0


_SPARE = 8  # a linear layer may lack one of so many words of the reduction


def engine_tile(node: Node, hw: HwConfig) -> TileKind:
    """The tile in which the engine runs a conv node: a direct layer of one output pixel is linear.

    Unless its reduction leaves too many places of the four lanes empty: weights for them would be zeros to read.
    """
    kind, (_, c, kh, kw) = tile_kind(node), node.params["weight"].shape
    single = node.shape[1:] == (1, 1) and node.attrs["groups"] == 1 and not node.attrs.get("pool")
    words = -(-c // hw.sub_row) * kh * kw
    full = -words % TAP_LANES * _SPARE <= words
    return TileKind.LINEAR if kind is TileKind.DIRECT and single and full and "max_window" not in node.attrs else kind


def shape_of(node: Node, hw: HwConfig, density: Density | None = None) -> LayerShape:
    """The shape that `pack_layer` will give a conv node with s of every L weights, dense without a density."""
    k, c, kh, kw = node.params["weight"].shape
    kind = engine_tile(node, hw)
    direct = kind is TileKind.DIRECT
    area, kstep = kh * kw if tile_kind(node) is TileKind.DIRECT else 1, 0
    v_words = red_words = -(-c * node.attrs["groups"] // hw.sub_row) * area
    dense = min(hw.sub_row, c)
    if node.attrs["groups"] > 1:
        s, implicit = dense, dense == hw.sub_row
        own = own_blocks(node, hw) * area
        red_words, kstep = own, own if own < v_words else 0
    else:
        s = dense if density is None else _steps(density, hw.sub_row)
        implicit = s >= dense
        s = min(s, dense)
    if kind is TileKind.LINEAR:
        v_words = red_words = -(-red_words // TAP_LANES)
    words = -(-red_words * s // TAP_LANES) if direct else tile(kind).groups * red_words * s
    narrow = is_narrow(node, hw)
    size = hw.chunk_bytes(words, implicit, narrow)
    return LayerShape(-(-k // hw.channels), s, red_words, v_words, kstep, words, size, implicit, narrow)


def is_narrow(node: Node, hw: HwConfig) -> bool:
    """Whether a conv node's weights stand in memory in NARROW_BITS."""
    return hw.narrow_u and weight_bits(node, hw) <= NARROW_BITS


def _steps(density: Density, sub_row: int) -> int:
    """Most weights that a sub-row of `sub_row` channels keeps when s of every L stay."""
    s, length = density
    return min(s, sub_row) if length >= sub_row else -(-s * sub_row // length)


def geometry(graph: Graph, node: Node, p: LayerShape, hw: HwConfig) -> Geometry:
    """What tiling needs of a fused conv node."""
    t = tile(engine_tile(node, hw))
    _, in_h, in_w = graph.node(node.inputs[0]).shape
    out_h, out_w = node.shape[1], node.shape[2]
    channels = node.params["weight"].shape[1] * node.attrs["groups"]
    kernel, stride, in_cb = window(node), pair(node.attrs["stride"])[0], -(-channels // hw.sub_row)
    top, left, bottom, right = pads(node)
    conv_h = (in_h + top + bottom - kernel[0]) // stride + 1
    conv_w = (in_w + left + right - kernel[1]) // stride + 1
    residual, pool = len(node.inputs) == 2, bool(node.attrs.get("pool"))
    if pool:  # rows and columns that the pool drops are not computed; a residual's columns fix its addresses
        conv_h, conv_w = 2 * out_h, conv_w if residual else 2 * out_w
    if t.kind is TileKind.LINEAR:
        stride = 1  # one window
    return Geometry(
        name=node.name, tile=t, in_h=in_h, in_w=in_w, in_cb=in_cb, conv_h=conv_h, conv_w=conv_w,
        out_h=out_h, out_w=out_w, kernel=kernel, stride=stride, pad_top=top, pad_left=left, pool=pool,
        upsample=bool(node.attrs.get("upsample")), max_window="max_window" in node.attrs, residual=residual,
        v_words=p.v_words, steps=p.red_words * p.sub_s,
        kgs=p.kgs, pass_kgs=p.kgs, chunk_bytes=p.chunk_bytes, chunk_words=p.chunk_words, resident=False,
    )  # fmt: skip


def fitting(graph: Graph, node: Node, p: LayerShape, hw: HwConfig) -> Geometry:
    """`geometry`; raises CapacityError when the layer's weights or its smallest block fit no buffer. Takes no time."""
    if p.chunk_words > hw.weight_words:
        raise CapacityError(
            f"layer {node.name}: {p.chunk_words} weight words for {hw.channels} output channels, limit weight_words = "
            f"{hw.weight_words}; prune the layer, use a smaller tile, or raise weight_words"
        )
    g = geometry(graph, node, p, hw)
    if not any_block(g, hw):
        raise CapacityError(f"layer {node.name}: even one tile does not fit HwConfig {hw.name}: {excess(g, hw)}")
    return g


def layer_fields(
    graph: Graph, node: Node, p: LayerShape, hw: HwConfig, place: Place, before: isa.Instruction | None
) -> dict[str, Any]:
    """The instruction's fields except those of the numbers (clamp, residual scale, exponents).

    Loop order and cut are those with the fewest estimated cycles when the weights that the layer `before` it leaves
    time and room for are there already. Raises CapacityError when the layer fits no buffer, naming the layer, the
    value, the limit and a way out.
    """
    g = fitting(graph, node, p, hw)
    out_cb = -(-node.shape[0] // hw.sub_row)
    chosen = _choose(replace(g, name=""), p, out_cb, hw, _context(before))
    assert chosen is not None  # there is a block
    values = _fields(*chosen, p, out_cb, hw, place)
    for name, value in values.items():
        f = isa.FIELD_BY_NAME[name]
        if max(value if isinstance(value, tuple) else (value,)) > f.high:
            raise CapacityError(
                f"layer {node.name}: {name} ({f.doc}) = {value}, limit {f.high}; use a smaller feature map or window"
            )
    return values


def _context(before: isa.Instruction | None) -> bytes:
    """The layer before, without what makes no difference to speed."""
    if before is None:
        return b""
    names = ("layer_id", "in_offset", "out_offset", "res_offset", "weight_offset", "act_min", "act_max", "res_mult",
             "res_shift", "ev", "em")  # fmt: skip
    return isa.Instruction({k: v for k, v in before.values.items() if k not in names}).encode()


@lru_cache(maxsize=4096)
def _choose(
    g: Geometry, p: LayerShape, out_cb: int, hw: HwConfig, before: bytes
) -> tuple[Geometry, Blocks] | None:
    """Loop order and cut of a layer of this shape; networks repeat layers."""
    head: int | None = None

    def cycles(order: Geometry, blocks: Blocks, bound: float | None) -> float | None:
        nonlocal head
        ins = isa.Instruction(_fields(order, blocks, p, out_cb, hw, Place()))
        if head is None:
            head = head_start(isa.decode(before), ins, hw) if before else 0
        return quick_cycles(ins, hw, head, bound)

    return choose(loop_orders(g, hw, p.v_kstep != 0), hw, cycles)


def _fields(g: Geometry, blocks: Blocks, p: LayerShape, out_cb: int, hw: HwConfig, place: Place) -> dict[str, Any]:
    """Instruction fields of a layer in one loop order and cut."""
    resident = g.resident and blocks.ny * blocks.nx > 1  # with one block all weights pass by once anyway
    direct = g.tile.kind in (TileKind.DIRECT, TileKind.LINEAR)
    return {
        "opcode": isa.OPCODE_LAYER, "tile": int(g.tile.kind), "implicit_index": int(p.implicit_index),
        "narrow_u": int(p.narrow),
        "resident": int(resident), "residual": int(g.residual), "pool": int(g.pool),
        "upsample": int(g.upsample), "max_window": int(g.max_window), "whole_v": int(blocks.whole_v),
        "whole_a": int(blocks.whole_a),
        "stride": g.stride, "sub_s": p.sub_s,
        "layer_id": place.index, "in_offset": place.input, "out_offset": place.output, "res_offset": place.residual,
        "weight_offset": 0, "in_h": g.in_h, "in_w": g.in_w, "in_cb": g.in_cb, "conv_h": g.conv_h,
        "conv_w": g.conv_w, "out_h": g.out_h, "out_w": g.out_w, "out_cb": out_cb, "kgs": p.kgs,
        "pass_kgs": g.pass_kgs if resident else p.kgs,
        "kernel_h": g.kernel[0] if direct else 1, "kernel_w": g.kernel[1] if direct else 1, "pad_top": g.pad_top,
        "pad_left": g.pad_left, "in_row_words": g.in_cb * g.in_w,
        "in_row_bytes": place.in_row or g.in_cb * g.in_w * hw.sub_row,
        "out_row_bytes": place.out_row or out_cb * g.out_w * hw.sub_row,
        "res_row_bytes": place.res_row or (out_cb * g.conv_w * hw.sub_row if g.residual else 0), "v_words": p.v_words,
        "red_words": p.red_words, "v_kstep": p.v_kstep, "chunk_words": p.chunk_words, "block_th": blocks.th,
        "block_tw": blocks.tw, "blocks_y": blocks.ny, "blocks_x": blocks.nx, "q_count": blocks.q_count,
    }  # fmt: skip


def _place(part: Part, slots: Mapping[str, Slot], index: int) -> Place:
    """Where a part of a fused conv node finds its tensors in the arena."""
    source, *residual = (slots[name] for name in part.node.inputs)
    target = slots[part.output]
    place = Place(
        input=source.at(part.source), output=target.at(part.target), in_row=source.row_bytes, out_row=target.row_bytes,
        index=index,
    )  # fmt: skip
    if residual:
        place = replace(place, residual=residual[0].at(part.target), res_row=residual[0].row_bytes)
    return place


def layer(
    graph: Graph, node: Node, hw: HwConfig, density: Density | None, slots: Mapping[str, Slot] | None,
    before: isa.Instruction | None, index: int = 0,
) -> list[Planned]:  # fmt: skip
    """A fused conv node's instructions, the first behind `before`: as many parts as take the fewest estimated cycles.

    A layer with one group is one part. Offsets of weights are 0, those of tensors too without `slots`. Raises
    CapacityError, naming the smallest part, when not even that fits the buffers.
    """
    sizes = part_sizes(node, hw)
    if len(sizes) > 1:
        sizes = _cheapest(graph, node, sizes, hw)
    found = [_chained(graph, parts(node, n, hw.sub_row), hw, density, slots, before, index) for n in sizes]
    return found[0] if len(found) == 1 else min(found, key=lambda f: cycles_behind([i for _, i in f], hw, before))


def _cheapest(graph: Graph, node: Node, sizes: list[int], hw: HwConfig) -> list[int]:
    """The part sizes with the least rough cost, those for the cycle model to compare; the smallest when none fits."""
    costs = []
    for groups in sizes:
        cost = 0.0
        for part in parts(node, groups, hw.sub_row):
            p = shape_of(part.node, hw)
            cost += _rough_cycles(replace(geometry(graph, part.node, p, hw), name=""), p.v_kstep != 0, hw)
        costs.append((cost, groups))
    fits = sorted(c for c in costs if c[0] < math.inf)
    return [groups for _, groups in fits[:_COMPARED]] or sizes[-1:]


@lru_cache(maxsize=4096)
def _rough_cycles(g: Geometry, grouped: bool, hw: HwConfig) -> float:
    """Rough cost of a part of this shape; infinite when it fits no buffer. The parts of a layer are much alike."""
    return math.inf if g.chunk_words > hw.weight_words else rough_cycles(loop_orders(g, hw, grouped), hw)


def _chained(
    graph: Graph, cut: list[Part], hw: HwConfig, density: Density | None, slots: Mapping[str, Slot] | None,
    before: isa.Instruction | None, index: int,
) -> list[Planned]:  # fmt: skip
    """The instructions of a layer's parts, one behind the other."""
    result: list[Planned] = []
    for part in cut:
        place = Place(index=index) if slots is None else _place(part, slots, index)
        values = layer_fields(graph, part.node, shape_of(part.node, hw, density), hw, place, before)
        before = isa.Instruction(values)
        result.append((part.node, before))
        index += 1
    return result


def cycles_behind(instructions: list[isa.Instruction], hw: HwConfig, before: isa.Instruction | None) -> float:
    """Estimated cycles of some instructions, each behind the one before it."""
    chain = [_context(before), *(_context(i) for i in instructions)]
    return sum(_one_behind(first, then, hw) for first, then in pairwise(chain))


@lru_cache(maxsize=4096)
def _one_behind(before: bytes, then: bytes, hw: HwConfig) -> float:
    """Estimated cycles of an instruction behind another; both as `_context` writes them."""
    ins = isa.decode(then)
    cycles = quick_cycles(ins, hw, head_start(isa.decode(before), ins, hw) if before else 0)
    assert cycles is not None  # without a bound
    return cycles


def plan(
    graph: Graph, hw: HwConfig, densities: Mapping[str, Density], left_out: Collection[str] = ()
) -> list[Planned]:
    """The instructions of every conv node of a fused Graph, but those left out; dense without a density s of L."""
    slots, _ = allocate(graph, hw.sub_row)
    result: list[Planned] = []
    for node in (n for n in graph if n.op == "conv" and n.name not in left_out):
        before = result[-1][1] if result else None
        result += layer(graph, node, hw, densities.get(node.name), slots, before, len(result))
    return result


def misfits(graph: Graph, hw: HwConfig, densities: Mapping[str, Density]) -> dict[str, str]:
    """Why conv nodes of a fused Graph fit no buffer, by name. Without a tile, Winograd layers have a choice of two."""
    result = {}
    for node in (n for n in graph if n.op == "conv"):
        free = "tile" not in node.attrs and has_choice(node)
        for name in ("f4", "f2") if free else (node.attrs.get("tile", "direct"),):
            tried = node.with_attrs(tile=name)
            try:
                smallest = parts(tried, part_sizes(tried, hw)[-1], hw.sub_row)[0].node
                fitting(graph, smallest, shape_of(smallest, hw, densities.get(node.name)), hw)
            except CapacityError as error:
                result[node.name] = str(error)
            else:
                result.pop(node.name, None)
                break
    return result


def choose_tiles(graph: Graph, hw: HwConfig, densities: Mapping[str, Density]) -> dict[str, str]:
    """The Winograd tile of each conv node of a fused Graph that has a choice, for the fewest estimated cycles.

    One layer after the other, each behind the layers chosen so far, at the density that it will have; one tile
    throughout where the whole network then takes fewer cycles. Where neither tile fits a buffer the layer gets the
    smaller one, and emission says what is missing.
    """
    tiles: dict[str, str] = {}
    least = math.inf
    for names in (("f2", "f4"), ("f2",), ("f4",)):
        chosen, instructions = _chain(graph, hw, densities, names)
        if chosen == tiles:
            continue
        cycles = math.inf if instructions is None else estimate(instructions, hw).cycles
        if not tiles or cycles < least:
            tiles, least = chosen, cycles
    return tiles


def _chain(
    graph: Graph, hw: HwConfig, densities: Mapping[str, Density], names: tuple[str, ...]
) -> tuple[dict[str, str], list[isa.Instruction] | None]:
    """The tile of each layer that has a choice of `names`, and all instructions; None when a layer fits no buffer."""
    chosen: dict[str, str] = {}
    instructions: list[isa.Instruction] = []
    complete = True
    for node in (n for n in graph if n.op == "conv"):
        found = []
        before = instructions[-1] if instructions else None
        for name in names if has_choice(node) else (node.attrs.get("tile", "direct"),):
            try:
                planned = layer(graph, node.with_attrs(tile=name), hw, densities.get(node.name), None, before)
            except CapacityError:
                continue
            behind = [ins for _, ins in planned]
            found.append((cycles_behind(behind, hw, before), name, behind))
        complete &= bool(found)
        if found:
            _, name, behind = min(found, key=lambda f: f[0])
            instructions += behind
        if has_choice(node):
            chosen[node.name] = name if found else names[0]
    return chosen, instructions if complete else None


def has_choice(node: Node) -> bool:
    """Whether a conv node may run in the Winograd domain and has no weights of one yet."""
    return may_be_winograd(node) and "u" not in node.params
