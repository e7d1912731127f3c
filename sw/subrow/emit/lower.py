"""Quantised, fused Graph to Program."""

from __future__ import annotations

from typing import Any

import numpy as np

from subrow.emit.arena import allocate
from subrow.emit.pack import PackedLayer, pack_layer
from subrow.emit.tiling import Geometry, choose, loop_orders
from subrow.ir.graph import Graph, Node
from subrow.ir.weights import Quant, tile_kind
from subrow.spec import isa
from subrow.spec.errors import CapacityError, UnsupportedError
from subrow.spec.hwconfig import HwConfig
from subrow.spec.program import LayerInfo, Program, TensorInfo
from subrow.spec.winograd import TileKind, tile

_WEIGHT_ALIGN = 64


def lower(graph: Graph, hw: HwConfig) -> Program:
    """The Program of a Graph whose conv nodes all carry `quant`.

    Raises CapacityError when a layer fits no buffer, naming the layer, the value, the limit and a way out.
    """
    for node in graph:
        if node.op not in ("input", "conv", "output") or (node.op == "conv" and "quant" not in node.attrs):
            raise UnsupportedError(f"node {node.name} ({node.op}) is not a quantised conv; run fuse and quantise first")
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
    for i, (node, p) in enumerate(zip(convs, packed, strict=True)):
        instruction = _instruction(graph, node, p, hw, offsets, (i, starts[i]))
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


def _geometry(graph: Graph, node: Node, p: PackedLayer, hw: HwConfig) -> Geometry:
    t = tile(tile_kind(node))
    _, in_h, in_w = graph.node(node.inputs[0]).shape
    c, out_h, out_w = graph.node(node.inputs[0]).shape[0], node.shape[1], node.shape[2]
    kernel, stride = node.params["weight"].shape[2:], node.attrs["stride"]
    top, left, bottom, right = node.attrs["pad"]
    conv_h = (in_h + top + bottom - kernel[0]) // stride + 1
    conv_w = (in_w + left + right - kernel[1]) // stride + 1
    residual, pool = len(node.inputs) == 2, bool(node.attrs.get("pool"))
    if pool:  # rows and columns that the pool drops are not computed; a residual's columns fix its addresses
        conv_h, conv_w = 2 * out_h, conv_w if residual else 2 * out_w
    return Geometry(
        name=node.name, tile=t, in_h=in_h, in_w=in_w, in_cb=-(-c // hw.sub_row), conv_h=conv_h, conv_w=conv_w,
        out_h=out_h, out_w=out_w, kernel=(kernel[0], kernel[1]), stride=stride, pad_top=top, pad_left=left, pool=pool,
        residual=residual, v_words=p.v_words, steps=p.red_words * p.sub_s, kgs=p.kgs,
        pass_kgs=p.kgs, chunk_bytes=p.chunk_bytes, chunk_words=p.chunk_words, resident=False,
    )  # fmt: skip


def _instruction(
    graph: Graph, node: Node, p: PackedLayer, hw: HwConfig, offsets: dict[str, int], place: tuple[int, int]
) -> isa.Instruction:
    quant: Quant = node.attrs["quant"]
    if p.chunk_words > hw.weight_words:
        raise CapacityError(
            f"layer {node.name}: {p.chunk_words} weight words for {hw.channels} output channels, limit weight_words = "
            f"{hw.weight_words}; prune the layer, use a smaller tile, or raise weight_words"
        )
    g, blocks = choose(loop_orders(_geometry(graph, node, p, hw), hw, p.v_kstep != 0), hw)
    resident = g.resident and blocks.ny * blocks.nx > 1  # with one block all weights pass by once anyway
    direct = tile_kind(node) is TileKind.DIRECT
    out_cb = -(-len(quant.bias) // hw.sub_row)
    values: dict[str, Any] = {
        "opcode": isa.OPCODE_LAYER, "tile": int(tile_kind(node)), "implicit_index": int(p.implicit_index),
        "resident": int(resident), "residual": int(g.residual), "pool": int(g.pool),
        "stride": g.stride, "sub_s": p.sub_s, "layer_id": place[0], "in_offset": offsets[node.inputs[0]],
        "out_offset": offsets[node.name], "res_offset": offsets[node.inputs[1]] if g.residual else 0,
        "weight_offset": place[1], "in_h": g.in_h, "in_w": g.in_w, "in_cb": g.in_cb, "conv_h": g.conv_h,
        "conv_w": g.conv_w, "out_h": g.out_h, "out_w": g.out_w, "out_cb": out_cb, "kgs": p.kgs,
        "pass_kgs": g.pass_kgs if resident else p.kgs,
        "kernel_h": g.kernel[0] if direct else 1, "kernel_w": g.kernel[1] if direct else 1, "pad_top": g.pad_top,
        "pad_left": g.pad_left, "in_row_words": g.in_cb * g.in_w,
        "in_row_bytes": g.in_cb * g.in_w * hw.sub_row,
        "out_row_bytes": out_cb * g.out_w * hw.sub_row,
        "res_row_bytes": out_cb * g.conv_w * hw.sub_row if g.residual else 0, "v_words": p.v_words,
        "red_words": p.red_words, "v_kstep": p.v_kstep, "chunk_words": p.chunk_words, "block_th": blocks.th,
        "block_tw": blocks.tw, "blocks_y": blocks.ny, "blocks_x": blocks.nx, "q_count": blocks.q_count,
        "act_min": quant.act_min, "act_max": quant.act_max, "res_mult": quant.res_mult, "res_shift": quant.res_shift,
        "ev": _taps(quant.ev, direct), "em": _taps(quant.em, direct),
    }  # fmt: skip
    for name, value in values.items():
        f = isa.FIELD_BY_NAME[name]
        if max(value if isinstance(value, tuple) else (value,)) > f.high:
            raise CapacityError(
                f"layer {node.name}: {name} ({f.doc}) = {value}, limit {f.high}; use a smaller feature map or window"
            )
    return isa.Instruction(values)


def _taps(exponents: tuple[int, ...], direct: bool) -> tuple[int, ...]:
    """Exponents in tap order; a direct layer's single one holds for its four lanes."""
    return exponents * 4 if direct else exponents


def _info(graph: Graph, node: Node, p: PackedLayer, i: isa.Instruction, hw: HwConfig) -> LayerInfo:
    k, c, kh, kw = node.params["weight"].shape
    full = [(d + a + b - s) // node.attrs["stride"] + 1 for d, a, b, s in zip(
        graph.node(node.inputs[0]).shape[1:], node.attrs["pad"][:2], node.attrs["pad"][2:], (kh, kw), strict=True
    )]  # fmt: skip
    kind = "linear" if node.attrs.get("linear") else "conv" if node.attrs["groups"] == 1 else "channelwise"
    details = {
        "kernel": [kh, kw], "stride": node.attrs["stride"], "pool": bool(i.pool), "relu": bool(node.attrs.get("relu")),
        "residual": bool(i.residual), "groups": node.attrs["groups"], "input": list(graph.node(node.inputs[0]).shape),
        "output": list(node.shape), "weight_bytes": int(p.data.size), "blocks": [i.blocks_y, i.blocks_x],
    }  # fmt: skip
    in_channels = c * node.attrs["groups"]
    density = (p.sub_s, hw.sub_row) if not p.implicit_index else (hw.sub_row, hw.sub_row)
    return LayerInfo(
        name=node.name, kind=kind, tile=node.attrs.get("tile", "direct"), density=density,
        macs=int(full[0] * full[1] * k * c * kh * kw), in_channels=in_channels, out_channels=k, details=details,
    )  # fmt: skip
