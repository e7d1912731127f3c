"""Instructions without weights: everything that decides a layer's speed, from shapes, tiles and densities alone."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from subrow.emit.arena import allocate
from subrow.emit.tiling import Blocks, Geometry, any_block, choose, excess, loop_orders
from subrow.ir.graph import Graph, Node, pads, pair, window
from subrow.ir.weights import may_be_winograd, tile_kind
from subrow.spec import isa
from subrow.spec.errors import CapacityError
from subrow.spec.hwconfig import HwConfig
from subrow.spec.timing import estimate, head_start, quick_cycles
from subrow.spec.winograd import TAP_LANES, TileKind, tile

Density = tuple[int, int]
Planned = tuple[Node, isa.Instruction]


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


@dataclass(frozen=True)
class Place:
    """Byte offsets of a layer's tensors in the arena, and of its weights in the Program; its index."""

    input: int = 0
    output: int = 0
    residual: int = 0
    weights: int = 0
    index: int = 0


def shape_of(node: Node, hw: HwConfig, density: Density | None = None) -> LayerShape:
    """The shape that `pack_layer` will give a conv node with s of every L weights, dense without a density."""
    k, c, kh, kw = node.params["weight"].shape
    direct = tile_kind(node) is TileKind.DIRECT
    area, kstep = kh * kw if direct else 1, 0
    if node.attrs["groups"] > 1:
        in_cb = -(-k // hw.sub_row)
        v_words, s, implicit = in_cb * area, 1, False
        own = in_cb % hw.channel_blocks == 0
        red_words = hw.channel_blocks * area if own else v_words
        kstep = red_words if own else 0
    else:
        v_words = red_words = -(-c // hw.sub_row) * area
        dense = min(hw.sub_row, c)
        s = dense if density is None else _steps(density, hw.sub_row)
        implicit = s >= dense
        s = min(s, dense)
    words = -(-red_words * s // TAP_LANES) if direct else tile(tile_kind(node)).groups * red_words * s
    size = hw.chunk_bytes(words, implicit)
    return LayerShape(-(-k // hw.channels), s, red_words, v_words, kstep, words, size, implicit)


def _steps(density: Density, sub_row: int) -> int:
    """Most weights that a sub-row of `sub_row` channels keeps when s of every L stay."""
    s, length = density
    return min(s, sub_row) if length >= sub_row else -(-s * sub_row // length)


def geometry(graph: Graph, node: Node, p: LayerShape, hw: HwConfig) -> Geometry:
    """What tiling needs of a fused conv node."""
    t = tile(tile_kind(node))
    c, in_h, in_w = graph.node(node.inputs[0]).shape
    out_h, out_w = node.shape[1], node.shape[2]
    kernel, stride = window(node), pair(node.attrs["stride"])[0]
    top, left, bottom, right = pads(node)
    conv_h = (in_h + top + bottom - kernel[0]) // stride + 1
    conv_w = (in_w + left + right - kernel[1]) // stride + 1
    residual, pool = len(node.inputs) == 2, bool(node.attrs.get("pool"))
    if pool:  # rows and columns that the pool drops are not computed; a residual's columns fix its addresses
        conv_h, conv_w = 2 * out_h, conv_w if residual else 2 * out_w
    return Geometry(
        name=node.name, tile=t, in_h=in_h, in_w=in_w, in_cb=-(-c // hw.sub_row), conv_h=conv_h, conv_w=conv_w,
        out_h=out_h, out_w=out_w, kernel=kernel, stride=stride, pad_top=top, pad_left=left, pool=pool,
        upsample=bool(node.attrs.get("upsample")), max_window="max_window" in node.attrs, residual=residual,
        v_words=p.v_words, steps=p.red_words * p.sub_s, kgs=p.kgs, pass_kgs=p.kgs, chunk_bytes=p.chunk_bytes,
        chunk_words=p.chunk_words, resident=False,
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
    direct = g.tile.kind is TileKind.DIRECT
    return {
        "opcode": isa.OPCODE_LAYER, "tile": int(g.tile.kind), "implicit_index": int(p.implicit_index),
        "resident": int(resident), "residual": int(g.residual), "pool": int(g.pool),
        "upsample": int(g.upsample), "max_window": int(g.max_window), "stride": g.stride, "sub_s": p.sub_s,
        "layer_id": place.index,
        "in_offset": place.input, "out_offset": place.output, "res_offset": place.residual,
        "weight_offset": place.weights, "in_h": g.in_h, "in_w": g.in_w, "in_cb": g.in_cb, "conv_h": g.conv_h,
        "conv_w": g.conv_w, "out_h": g.out_h, "out_w": g.out_w, "out_cb": out_cb, "kgs": p.kgs,
        "pass_kgs": g.pass_kgs if resident else p.kgs,
        "kernel_h": g.kernel[0] if direct else 1, "kernel_w": g.kernel[1] if direct else 1, "pad_top": g.pad_top,
        "pad_left": g.pad_left, "in_row_words": g.in_cb * g.in_w,
        "in_row_bytes": g.in_cb * g.in_w * hw.sub_row,
        "out_row_bytes": out_cb * g.out_w * hw.sub_row,
        "res_row_bytes": out_cb * g.conv_w * hw.sub_row if g.residual else 0, "v_words": p.v_words,
        "red_words": p.red_words, "v_kstep": p.v_kstep, "chunk_words": p.chunk_words, "block_th": blocks.th,
        "block_tw": blocks.tw, "blocks_y": blocks.ny, "blocks_x": blocks.nx, "q_count": blocks.q_count,
    }  # fmt: skip


def place_of(node: Node, offsets: Mapping[str, int], index: int, weights: int) -> Place:
    """A fused conv node's tensors in the arena."""
    residual = offsets[node.inputs[1]] if len(node.inputs) == 2 else 0
    return Place(offsets[node.inputs[0]], offsets[node.name], residual, weights, index)


def plan(
    graph: Graph, hw: HwConfig, densities: Mapping[str, Density], left_out: Collection[str] = ()
) -> list[Planned]:
    """Each conv node of a fused Graph, but those left out, with its instruction; dense without a density s of L."""
    offsets, _ = allocate(graph, hw.sub_row)
    result: list[Planned] = []
    for i, node in enumerate(n for n in graph if n.op == "conv" and n.name not in left_out):
        shape = shape_of(node, hw, densities.get(node.name))
        before = result[-1][1] if result else None
        values = layer_fields(graph, node, shape, hw, place_of(node, offsets, i, 0), before)
        result.append((node, isa.Instruction(values)))
    return result


def misfits(graph: Graph, hw: HwConfig, densities: Mapping[str, Density]) -> dict[str, str]:
    """Why conv nodes of a fused Graph fit no buffer, by name. Without a tile, Winograd layers have a choice of two."""
    result = {}
    for node in (n for n in graph if n.op == "conv"):
        free = "tile" not in node.attrs and has_choice(node)
        for name in ("f4", "f2") if free else (node.attrs.get("tile", "direct"),):
            tried = node.with_attrs(tile=name)
            try:
                fitting(graph, tried, shape_of(tried, hw, densities.get(node.name)), hw)
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
                found.append(_behind(graph, node.with_attrs(tile=name), hw, densities.get(node.name), before))
            except CapacityError:
                continue
        complete &= bool(found)
        if found:
            _, name, ins = min(found, key=lambda f: f[0])
            instructions.append(ins)
        if has_choice(node):
            chosen[node.name] = name if found else names[0]
    return chosen, instructions if complete else None


def has_choice(node: Node) -> bool:
    """Whether a conv node may run in the Winograd domain and has no weights of one yet."""
    return may_be_winograd(node) and "u" not in node.params


def _behind(
    graph: Graph, node: Node, hw: HwConfig, density: Density | None, before: isa.Instruction | None
) -> tuple[float, str, isa.Instruction]:
    """(cycles of the layer behind the one before it, its tile, its instruction)."""
    values = layer_fields(graph, node, shape_of(node, hw, density), hw, Place(), before)
    ins = isa.Instruction(values)
    cycles = quick_cycles(ins, hw, 0 if before is None else head_start(before, ins, hw))
    assert cycles is not None  # without a bound
    return cycles, node.attrs.get("tile", "direct"), ins
