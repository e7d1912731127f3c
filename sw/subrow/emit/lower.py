"""Quantised, fused Graph to Program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from subrow.emit.arena import Slot, allocate
from subrow.emit.legal import check
from subrow.emit.pack import density_of, pack_layer
from subrow.emit.plan import layer, shape_of
from subrow.emit.stem import SQUARE, rearranged
from subrow.ir.graph import Graph, Node, pads, pair, window
from subrow.ir.shapes import window_shape
from subrow.ir.weights import Quant, tile_kind
from subrow.spec import isa
from subrow.spec.errors import UnsupportedError
from subrow.spec.hwconfig import HwConfig
from subrow.spec.metadata import TILES, tensor_bytes
from subrow.spec.program import PAGE, LayerInfo, Program, TensorInfo
from subrow.spec.winograd import TileKind

_WEIGHT_ALIGN = 64


def lower(graph: Graph, hw: HwConfig) -> Program:
    """The Program of a Graph whose conv nodes all carry `quant`.

    Raises UnsupportedError for what the engine has no instruction for (emit/legal.py), and CapacityError when a layer
    fits no buffer, naming the layer, the value, the limit and a way out.
    """
    check(graph, hw.sub_row)
    for node in graph:
        if node.op == "conv" and "quant" not in node.attrs:
            raise UnsupportedError(f"node {node.name} ({node.op}) is not quantised; run quantise first")
    images = {n.name: _shape3(n) for n in graph.inputs}
    graph = rearranged(graph, hw)
    slots, arena = allocate(graph, hw.sub_row)
    emitted = list(_instructions(graph, hw, slots))
    base = -(-len(emitted) * isa.INSTRUCTION_BYTES // PAGE) * PAGE
    image = np.concatenate([e.weights for e in emitted])
    placed = [isa.Instruction({**e.ins.values, "weight_offset": base + e.ins.weight_offset}) for e in emitted]
    return Program(
        name=graph.name, hw_name=hw.name, hw_digest=hw.digest,
        instructions=np.stack([np.frombuffer(i.encode(), np.uint8) for i in placed]), weights=image, arena_bytes=arena,
        inputs=tuple(_input(graph, n, images[n.name], slots) for n in graph.inputs),
        outputs=tuple(_output(graph, n, slots, hw.sub_row) for n in graph.outputs),
        layers=tuple(e.info for e in emitted),
    )  # fmt: skip


@dataclass(frozen=True)
class _Emitted:
    """An instruction whose weight_offset counts from the first weight, its weights in whole alignments, what it is."""

    ins: isa.Instruction
    weights: NDArray[np.uint8]
    info: LayerInfo


def _instructions(graph: Graph, hw: HwConfig, slots: Mapping[str, Slot]) -> Iterator[_Emitted]:
    before: isa.Instruction | None = None
    index = offset = 0
    for whole in (n for n in graph if n.op == "conv"):
        density = density_of(whole, hw)
        for node, planned in layer(graph, whole, hw, density, slots, before, index):
            before = _numbered(node, planned, offset)
            data = pack_layer(node, shape_of(node, hw, density), hw)
            info = _info(graph, whole, node, before, data.size, hw)
            data = np.pad(data, (0, -data.size % _WEIGHT_ALIGN))
            yield _Emitted(before, data, info)
            index, offset = index + 1, offset + data.size


def _shape3(node: Node) -> tuple[int, int, int]:
    c, h, w = node.shape
    return c, h, w


def _input(graph: Graph, node: Node, image: tuple[int, int, int], slots: Mapping[str, Slot]) -> TensorInfo:
    """An input whose images have this shape."""
    reader = next(n for n in graph.consumers(node.name) if n.op == "conv")
    scale, square = _scale_of(reader, node.name), 1 if node.shape == image else SQUARE
    return TensorInfo(node.name, image, scale, slots[node.name].offset, space_to_depth=square)


def _scale_of(reader: Node, name: str) -> float:
    """The scale at which a layer reads a tensor; an input that is only a residual has no scale of its own."""
    if reader.inputs[0] != name:
        raise UnsupportedError(f"input {name} is only added to layer {reader.name}; it must also feed a convolution")
    return float(reader.attrs["quant"].in_scale)


def _output(graph: Graph, node: Node, slots: Mapping[str, Slot], sub_row: int) -> TensorInfo:
    source = graph.node(node.inputs[0])
    slot, own = slots[source.name], tensor_bytes(source.shape, sub_row) // source.shape[1]
    row_bytes = 0 if slot.row_bytes == own else slot.row_bytes
    return TensorInfo(node.name, _shape3(source), _written_scale(graph, source), slot.offset, row_bytes)


def _written_scale(graph: Graph, node: Node) -> float:
    """The scale of a tensor that layers write; the parts of a concat share one."""
    while node.op == "concat":
        node = graph.node(node.inputs[0])
    return float(node.attrs["quant"].out_scale)


def _numbered(node: Node, planned: isa.Instruction, weights: int) -> isa.Instruction:
    """The instruction with what quantisation decides, and its weights' place behind the first one."""
    quant: Quant = node.attrs["quant"]
    direct = tile_kind(node) is TileKind.DIRECT
    return isa.Instruction({
        **planned.values, "weight_offset": weights, "leaky": int(node.attrs.get("act") == "leaky"),
        "act_min": quant.act_min, "act_max": quant.act_max,
        "res_mult": quant.res_mult, "res_shift": quant.res_shift,
        "ev": _taps(quant.ev, direct), "em": _taps(quant.em, direct),
    })  # fmt: skip


def _taps(exponents: tuple[int, ...], direct: bool) -> tuple[int, ...]:
    """Exponents in tap order; a direct layer's single one holds for its four lanes."""
    return exponents * 4 if direct else exponents


def _info(graph: Graph, whole: Node, node: Node, i: isa.Instruction, size: int, hw: HwConfig) -> LayerInfo:
    """Description of an instruction with so many weight bytes that computes `node`, a part of `whole` or all of it."""
    k, c, kh, kw = node.params["weight"].shape
    groups, (_, in_h, in_w) = node.attrs["groups"], graph.node(node.inputs[0]).shape
    channels = c * groups
    stride = pair(node.attrs["stride"])
    full = window_shape((in_h, in_w), window(node), stride, pads(node))
    channelwise = groups > 1 and (k, c) == (groups, 1)
    kind = "linear" if node.attrs.get("linear") else "channelwise" if channelwise else "conv"
    details = {
        "kernel": list(window(node)), "max_window": bool(i.max_window), "stride": stride[0], "pool": bool(i.pool),
        "relu": node.attrs.get("act") in ("relu", "relu6"), "leaky": bool(i.leaky), "upsample": bool(i.upsample),
        "residual": bool(i.residual), "groups": groups, "input": [channels, in_h, in_w],
        "output": list(node.shape), "bits": hw.stored_bits(bool(i.narrow_u)), "weight_bytes": size,
        "blocks": [i.blocks_y, i.blocks_x],
    }  # fmt: skip
    if "image_window" in node.attrs:
        c, kh, kw = details["image_window"] = list(node.attrs["image_window"])
    return LayerInfo(
        name=node.name, kind=kind, tile=TILES[i.tile],
        density=(hw.sub_row if i.implicit_index else i.sub_s, hw.sub_row),
        macs=int(full[0] * full[1] * k * c * kh * kw), in_channels=channels, out_channels=k,
        details=details if node is whole else details | {"part_of": whole.name},
    )  # fmt: skip
