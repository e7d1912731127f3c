"""Quantised, fused Graph to Program."""

from __future__ import annotations

import numpy as np

from subrow.emit.arena import allocate
from subrow.emit.legal import check
from subrow.emit.pack import PackedLayer, pack_layer
from subrow.emit.plan import Place, layer_fields, place_of
from subrow.ir.graph import Graph, Node, pads, pair, window
from subrow.ir.shapes import window_shape
from subrow.ir.weights import Quant, tile_kind
from subrow.spec import isa
from subrow.spec.errors import UnsupportedError
from subrow.spec.hwconfig import HwConfig
from subrow.spec.program import LayerInfo, Program, TensorInfo
from subrow.spec.winograd import TileKind

_WEIGHT_ALIGN = 64


def lower(graph: Graph, hw: HwConfig) -> Program:
    """The Program of a Graph whose conv nodes all carry `quant`.

    Raises UnsupportedError for what the engine has no instruction for (emit/legal.py), and CapacityError when a layer
    fits no buffer, naming the layer, the value, the limit and a way out.
    """
    check(graph)
    for node in graph:
        if node.op == "conv" and "quant" not in node.attrs:
            raise UnsupportedError(f"node {node.name} ({node.op}) is not quantised; run quantise first")
    offsets, arena = allocate(graph, hw.sub_row)
    convs = [n for n in graph if n.op == "conv"]
    packed = [pack_layer(n, hw) for n in convs]
    base = -(-len(convs) * isa.INSTRUCTION_BYTES // 4096) * 4096
    starts, weights = [], 0
    for p in packed:
        starts.append(base + weights)
        weights += -(-p.data.size // _WEIGHT_ALIGN) * _WEIGHT_ALIGN
    image = np.zeros(weights, np.uint8)
    for start, p in zip(starts, packed, strict=True):
        image[start - base : start - base + p.data.size] = p.data
    rows, infos = [], []
    instruction: isa.Instruction | None = None
    for i, (node, p) in enumerate(zip(convs, packed, strict=True)):
        instruction = _instruction(graph, node, p, hw, place_of(node, offsets, i, starts[i]), instruction)
        rows.append(np.frombuffer(instruction.encode(), np.uint8))
        infos.append(_info(graph, node, p, instruction, hw))
    return Program(
        name=graph.name, hw_name=hw.name, hw_digest=hw.digest, instructions=np.stack(rows), weights=image,
        arena_bytes=arena, inputs=tuple(_input(graph, n, offsets) for n in graph.inputs),
        outputs=tuple(_output(graph, n, offsets) for n in graph.outputs), layers=tuple(infos),
    )  # fmt: skip


def _shape3(node: Node) -> tuple[int, int, int]:
    c, h, w = node.shape
    return c, h, w


def _input(graph: Graph, node: Node, offsets: dict[str, int]) -> TensorInfo:
    reader = next(n for n in graph.consumers(node.name) if n.op == "conv")
    return TensorInfo(node.name, _shape3(node), _scale_of(reader, node.name), offsets[node.name])


def _scale_of(reader: Node, name: str) -> float:
    """The scale at which a layer reads a tensor; an input that is only a residual has no scale of its own."""
    if reader.inputs[0] != name:
        raise UnsupportedError(f"input {name} is only added to layer {reader.name}; it must also feed a convolution")
    return float(reader.attrs["quant"].in_scale)


def _output(graph: Graph, node: Node, offsets: dict[str, int]) -> TensorInfo:
    source = graph.node(node.inputs[0])
    return TensorInfo(node.name, _shape3(source), float(source.attrs["quant"].out_scale), offsets[source.name])


def _instruction(
    graph: Graph, node: Node, p: PackedLayer, hw: HwConfig, place: Place, before: isa.Instruction | None
) -> isa.Instruction:
    quant: Quant = node.attrs["quant"]
    direct = tile_kind(node) is TileKind.DIRECT
    return isa.Instruction(layer_fields(graph, node, p.shape, hw, place, before) | {
        "leaky": int(node.attrs.get("act") == "leaky"), "act_min": quant.act_min, "act_max": quant.act_max,
        "res_mult": quant.res_mult, "res_shift": quant.res_shift,
        "ev": _taps(quant.ev, direct), "em": _taps(quant.em, direct),
    })  # fmt: skip


def _taps(exponents: tuple[int, ...], direct: bool) -> tuple[int, ...]:
    """Exponents in tap order; a direct layer's single one holds for its four lanes."""
    return exponents * 4 if direct else exponents


def _info(graph: Graph, node: Node, p: PackedLayer, i: isa.Instruction, hw: HwConfig) -> LayerInfo:
    k, c, kh, kw = node.params["weight"].shape
    stride, (_, in_h, in_w) = pair(node.attrs["stride"]), graph.node(node.inputs[0]).shape
    full = window_shape((in_h, in_w), window(node), stride, pads(node))
    kind = "linear" if node.attrs.get("linear") else "conv" if node.attrs["groups"] == 1 else "channelwise"
    details = {
        "kernel": list(window(node)), "max_window": bool(i.max_window), "stride": stride[0], "pool": bool(i.pool),
        "relu": node.attrs.get("act") in ("relu", "relu6"), "leaky": bool(i.leaky), "upsample": bool(i.upsample),
        "residual": bool(i.residual), "groups": node.attrs["groups"], "input": list(graph.node(node.inputs[0]).shape),
        "output": list(node.shape), "weight_bytes": int(p.data.size), "blocks": [i.blocks_y, i.blocks_x],
    }  # fmt: skip
    in_channels = c * node.attrs["groups"]
    density = (p.shape.sub_s, hw.sub_row) if not p.shape.implicit_index else (hw.sub_row, hw.sub_row)
    return LayerInfo(
        name=node.name, kind=kind, tile=node.attrs.get("tile", "direct"), density=density,
        macs=int(full[0] * full[1] * k * c * kh * kw), in_channels=in_channels, out_channels=k, details=details,
    )  # fmt: skip
