"""A quantised Graph in integers over a whole batch, written from docs/numerics.md alone; float64 sums stay exact."""

import numpy as np

from subrow.ir.graph import Graph, Node, pads, pair, window
from subrow.ir.weights import Quant, from_reduction, negative_mult, tile_kind
from subrow.spec.formats import clamp, round_shift
from subrow.spec.hwconfig import HwConfig
from subrow.spec.winograd import TileKind, as_int, tap_order, tile


def quantise_input(images: np.ndarray, scale: float) -> np.ndarray:
    return np.clip(np.floor(images.astype(np.float64) / scale + 0.5), -127, 127).astype(np.int64)


def run_integer(graph: Graph, images: np.ndarray, hw: HwConfig) -> dict[str, np.ndarray]:
    """int64 tensors of every node for real-valued images N x C x H x W."""
    tensors: dict[str, np.ndarray] = {}
    for node in graph:
        if node.op == "input":
            user = graph.consumers(node.name)[0]
            tensors[node.name] = quantise_input(images, user.attrs["quant"].in_scale)
        elif node.op == "output":
            tensors[node.name] = tensors[node.inputs[0]]
        elif node.op == "concat":
            tensors[node.name] = np.concatenate([tensors[i] for i in node.inputs], axis=1)
        else:
            tensors[node.name] = layer(node, [tensors[i] for i in node.inputs], hw)
    return tensors


def layer(node: Node, inputs: list[np.ndarray], hw: HwConfig) -> np.ndarray:
    quant: Quant = node.attrs["quant"]
    top, left, bottom, right = pads(node)
    border = -128 if "max_window" in node.attrs else 0
    x = np.pad(inputs[0], ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=border)
    y = _direct(node, x, quant, hw) if tile_kind(node) is TileKind.DIRECT else _winograd(node, x, quant, hw)
    assert np.abs(y).max() < 1 << (hw.y_bits - 1)
    biased = y + quant.bias[:, None, None]
    mult = quant.mult[:, None, None]
    if node.attrs.get("act") == "leaky":
        mult = np.where(biased < 0, negative_mult(quant.mult, node.attrs["slope"])[:, None, None], mult)
    t = round_shift(biased * mult, quant.shift[:, None, None])
    if len(inputs) == 2:
        t = t + round_shift(inputs[1] * quant.res_mult, quant.res_shift)
    z = np.clip(t, quant.act_min, quant.act_max)
    if node.attrs.get("pool"):
        h, w = z.shape[2] // 2 * 2, z.shape[3] // 2 * 2
        z = z[:, :, :h, :w].reshape(*z.shape[:2], h // 2, 2, w // 2, 2).max(axis=(3, 5))
    if node.attrs.get("upsample"):
        z = z.repeat(2, axis=2).repeat(2, axis=3)
    return z


def _winograd(node: Node, x: np.ndarray, quant: Quant, hw: HwConfig) -> np.ndarray:
    kind = tile_kind(node)
    t = tile(kind)
    n, c, h, w = x.shape
    oh, ow = h - 2, w - 2
    th, tw = -(-oh // t.m), -(-ow // t.m)
    x = np.pad(x, ((0, 0), (0, 0), (0, th * t.m + 2 - h), (0, tw * t.m + 2 - w)))
    bt, at = as_int(t.bt).astype(float), as_int(t.at).astype(float)
    y = np.zeros((n, len(quant.bias), th, t.m, tw, t.m))
    cut = np.lib.stride_tricks.sliding_window_view(x, (t.alpha, t.alpha), (2, 3))[:, :, :: t.m, :: t.m].astype(float)
    for p, (i, j) in enumerate(tap_order(kind)):
        full = np.einsum("ncyxab,a,b->cnyx", cut, bt[i], bt[j], optimize=True).astype(np.int64)
        v = clamp(round_shift(full, quant.ev[p]), hw.v_bits)
        m = (quant.u[p].astype(float) @ v.reshape(c, -1).astype(float)).reshape(-1, n, th, tw)
        y += np.einsum("knyx,a,b->nkyaxb", m * 2.0 ** quant.em[p], at[:, i], at[:, j])
    return y.reshape(n, -1, th * t.m, tw * t.m)[:, :, :oh, :ow].astype(np.int64)


def _direct(node: Node, x: np.ndarray, quant: Quant, hw: HwConfig) -> np.ndarray:
    weight, (stride, _) = node.params["weight"], pair(node.attrs["stride"])
    g = from_reduction(quant.u, weight.shape, quant.sub_row).astype(float)
    v = clamp(round_shift(x, quant.ev[0]), hw.v_bits).astype(float)
    cut = np.lib.stride_tricks.sliding_window_view(v, window(node), (2, 3))[:, :, ::stride, ::stride]
    if "max_window" in node.attrs:
        cut = cut.max(axis=(4, 5), keepdims=True)
    groups, (n, _, oh, ow) = node.attrs["groups"], cut.shape[:4]
    flat = cut.reshape(n, groups, -1, oh, ow, *cut.shape[4:]).transpose(1, 0, 3, 4, 2, 5, 6)
    flat = flat.reshape(groups, n * oh * ow, -1)
    y = flat @ g.reshape(groups, len(g) // groups, -1).transpose(0, 2, 1)  # [groups, pixels, K / groups]
    y = y.reshape(groups, n, oh, ow, -1).transpose(1, 0, 4, 2, 3).reshape(n, -1, oh, ow)
    return y.astype(np.int64) << quant.em[0]
