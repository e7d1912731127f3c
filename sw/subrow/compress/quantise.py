"""A fused Graph to integers: every conv node gets the attribute `quant` (docs/numerics.md)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from subrow.compress.calibrate import Method, activation_scales, choose_ev, layer_inputs, window_values
from subrow.compress.execute import as_batch
from subrow.ir.graph import Graph, Node
from subrow.ir.weights import Quant, mask_of, real_u, tile_kind, to_reduction, weight_bits
from subrow.spec.errors import QuantisationError
from subrow.spec.formats import clamp, round_shift, scale_to_fixed, signed_max
from subrow.spec.hwconfig import HwConfig
from subrow.spec.winograd import TileKind, as_float, output_tap_weights, tap_order
from subrow.spec.winograd import tile as tile_of

MAX_EM = 15
"""Largest em and ev that an instruction holds."""
_BIAS_LIMIT = 1 << 30
_CACHED = 1 << 15  # weights whose rounding is tried at once
_FACTORS = np.linspace(0.6, 1.0, 17)


@dataclass(frozen=True)
class Weights:
    """Integer weights of a layer: real = scale[k] * 2**eu[p] * u[p, k, c]."""

    u: NDArray[np.int64]
    scale: NDArray[np.float64]
    eu: NDArray[np.int64]


def quantise(
    graph: Graph, hw: HwConfig, images: NDArray[Any] | Tensor, method: Method = "mse", percentile: float = 99.99,
    progress: Callable[[str], None] | None = None,
) -> Graph:  # fmt: skip
    """The Graph with `quant` on every conv; progress is called with the name of each layer before its turn.

    Raises QuantisationError, naming the layer, the value and the limit, when a bound of docs/numerics.md cannot hold.
    """
    batch = as_batch(graph, images)
    scales = activation_scales(graph, batch, method, percentile)
    inputs = layer_inputs(graph, batch)
    changed = {}
    for node in graph:
        if node.op == "conv":
            if progress:
                progress(node.name)
            values = window_values(node, inputs[node.name], scales[node.inputs[0]]) if node.name in inputs else None
            changed[node.name] = node.with_attrs(quant=_layer(node, hw, scales, values))
    return graph.replace(changed)


def exact_f2(node: Node, hw: HwConfig) -> bool:
    """Whether F(2x2,3x3) of this dense layer needs no rounding: U = (2G) g (2G)^T fits, and so does B^T x B."""
    most = signed_max(weight_bits(node, hw))
    fits = most >= 9 * signed_max(8) and signed_max(hw.v_bits) >= 4 * signed_max(hw.act_bits)
    return fits and tile_kind(node) is TileKind.F2 and "u" not in node.params


def _layer(node: Node, hw: HwConfig, scales: dict[str, float], values: NDArray[np.int64] | None) -> Quant:
    s_in, s_out = scales[node.inputs[0]], scales[node.name]
    bias = node.params.get("bias", np.zeros(node.params["weight"].shape[0])).astype(np.float64)
    if exact_f2(node, hw):
        weights, ev = _exact(node.params["weight"].astype(np.float64)), np.zeros(16, np.int64)
        return finish(node, hw, weights, ev, bias, (s_in, s_out), scales)
    u, bits = real_u(node, hw.sub_row), weight_bits(node, hw)
    mask = mask_of(node, hw.sub_row)
    ev = np.array(choose_ev(values, hw.v_bits) if values is not None else (0,), np.int64)
    energy = np.ones(len(ev)) if values is None else (values.astype(np.float64) ** 2).mean(axis=(1, 2)) + 1e-9
    importance = energy * _output_energy(tile_kind(node), len(ev))
    floor = np.abs(bias) / (s_in * _BIAS_LIMIT / 4)
    weights = fit(u, bits, importance, floor)
    for _ in range(MAX_EM + 1):
        weights = _limit_spread(u, weights, ev, bits, MAX_EM)
        weights = _limit_sum(u, weights, bits, hw)
        if mask is not None:
            weights = Weights(weights.u * mask, weights.scale, weights.eu)
        if _y_bound(node, hw, weights, ev) < 1 << (hw.y_bits - 2):
            break
        span = int((weights.eu + ev).max() - (weights.eu + ev).min())
        if span == 0:
            break
        weights = _limit_spread(u, weights, ev, bits, span - 1)
    if values is not None:
        better = compensate(u, weights, window_moments(tile_kind(node), values, ev, hw.v_bits), bits, mask)
        sums = np.abs(better.u).sum(axis=2).max() * hw.v_max
        if sums < 1 << (hw.acc_bits - 1) and _y_bound(node, hw, better, ev) < 1 << (hw.y_bits - 2):
            weights = better
    return finish(node, hw, weights, ev, bias, (s_in, s_out), scales)


def _output_energy(kind: TileKind, taps: int) -> NDArray[np.float64]:
    if kind is TileKind.DIRECT:
        return np.ones(taps)
    return (output_tap_weights(kind).astype(np.float64) ** 2).sum(axis=0)


def _exact(weight: NDArray[np.float64]) -> Weights:
    """int8 spatial weights, transformed by the integer matrix 2G; Y is 4 times the spatial convolution."""
    scale = np.maximum(np.abs(weight).max(axis=(1, 2, 3)), 1e-30) / signed_max(8)
    g = np.rint(weight / scale[:, None, None, None])
    gm = 2 * as_float(tile_of(TileKind.F2).g)
    full = np.einsum("ia,kcab,jb->ijkc", gm, g, gm)
    rows, columns = zip(*tap_order(TileKind.F2), strict=True)
    u = np.rint(full[list(rows), list(columns)]).astype(np.int64)
    return Weights(u, scale / 4, np.zeros(16, np.int64))


def _round(u: NDArray[np.float64], scale: NDArray[np.float64], eu: NDArray[np.int64], bits: int) -> NDArray[np.float64]:
    limit = signed_max(bits)
    step = scale[np.newaxis, :] * np.exp2(eu.astype(np.float64))[:, np.newaxis]
    return np.clip(np.rint(u / step[..., np.newaxis]), -limit, limit)


def _error(u: NDArray[np.float64], scale: NDArray[np.float64], eu: NDArray[np.int64], bits: int) -> NDArray[np.float64]:
    """Squared error [taps, K] of u at these scales; some channels at a time, so that the cache holds them."""
    result = np.empty(u.shape[:2])
    step = scale[np.newaxis, :] * np.exp2(eu.astype(np.float64))[:, np.newaxis]
    limit, count = signed_max(bits), max(1, _CACHED // u.shape[2])
    for tap in range(len(u)):
        for k in range(0, u.shape[1], count):
            part, s = u[tap, k : k + count], step[tap, k : k + count, np.newaxis]
            rest = part / s
            np.rint(rest, out=rest)
            np.clip(rest, -limit, limit, out=rest)
            rest *= s
            rest -= part
            np.square(rest, out=rest)
            result[tap, k : k + count] = rest.sum(axis=1)
    return result


def fit(
    u: NDArray[np.float64], bits: int, importance: NDArray[np.float64], floor: NDArray[np.float64] | float = 0.0
) -> Weights:
    """Scale of each channel and power of two of each tap with little squared output error.

    importance weighs the taps; no channel's scale falls below floor (its bias must fit 32 bits).
    """
    limit = signed_max(bits)
    peak = np.abs(u).max(axis=2)  # [taps, K]
    channel = peak.max(axis=0)
    channel = np.where(channel > 0, channel, max(float(channel.max()), 1e-12))
    scale = np.maximum(channel / limit, floor)
    eu = np.zeros(u.shape[0], np.int64)
    for _ in range(2 if u.shape[0] > 1 else 1):
        if u.shape[0] > 1:
            tries = [_error(u, scale, np.full_like(eu, -e), bits).sum(axis=1) for e in range(11)]
            eu = -np.argmin(np.array(tries), axis=0).astype(np.int64)
        step = np.exp2(eu.astype(np.float64))[:, np.newaxis]
        top = np.maximum((peak / step).max(axis=0), 1e-30)
        options = np.stack([np.maximum(np.where(channel > 0, top, 1.0) / limit * f, floor) for f in _FACTORS])
        errors = np.stack([(_error(u, o, eu, bits) * importance[:, np.newaxis]).sum(axis=0) for o in options])
        scale = np.take_along_axis(options, errors.argmin(axis=0)[np.newaxis], axis=0)[0]
    dead = peak.max(axis=0) == 0
    scale = np.where(dead, np.maximum(np.median(scale), floor), scale)
    low = int(eu.min())
    eu, scale = eu - low, scale * 2.0**low
    scale = np.maximum(scale, floor)
    return Weights(_round(u, scale, eu, bits).astype(np.int64), scale, eu)


def window_moments(
    kind: TileKind, values: NDArray[np.int64], ev: NDArray[np.int64], v_bits: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Second moments [C, taps, taps] of each tap's share of an output: rounded V with itself, and with exact V."""
    exact = values.transpose(1, 0, 2).astype(np.float64)  # [C, taps, windows]
    shift = ev[:, np.newaxis, np.newaxis]
    rounded = (clamp(round_shift(values, shift), v_bits) << shift).transpose(1, 0, 2).astype(np.float64)
    t = tile_of(kind)
    rows, columns = zip(*tap_order(kind), strict=True)
    at = as_float(t.at)
    outputs = np.einsum("ap,bp->abp", at[:, list(rows)], at[:, list(columns)]).reshape(-1, t.taps)
    both = outputs.T @ outputs
    return both * (rounded @ rounded.transpose(0, 2, 1)), both * (rounded @ exact.transpose(0, 2, 1))


def compensate(
    u: NDArray[np.float64], w: Weights, moments: tuple[NDArray[np.float64], NDArray[np.float64]], bits: int,
    mask: NDArray[np.bool_] | None,
) -> Weights:  # fmt: skip
    """w with every tap's rounding error made good by the taps rounded after it, for each input channel by itself.

    After Frantar et al., "GPTQ", ICLR 2023; the taps of a window are redundant (alpha^2 of them for m^2 outputs), so
    much of an error cancels. The starting point also corrects for the rounding of V. Pruned weights stay 0.
    """
    own, cross = moments
    taps = len(u)
    damp = 0.01 * np.einsum("cpp->c", own) / taps + 1e-6
    eye = np.eye(taps) * damp[:, np.newaxis, np.newaxis]
    rest = np.linalg.solve(own + eye, (cross + eye) @ u.transpose(2, 0, 1)).transpose(1, 2, 0)  # [taps, K, C]
    order = np.argsort(-np.einsum("cpp->p", own), kind="stable")
    h = (own + eye)[:, order][:, :, order]
    factor = np.linalg.cholesky(np.linalg.inv(h)).transpose(0, 2, 1)  # upper, [C, taps, taps]
    rest, limit = rest[order], signed_max(bits)
    result = np.zeros(u.shape, np.int64)
    for i, p in enumerate(order):
        step = (w.scale * 2.0 ** int(w.eu[p]))[:, np.newaxis]
        q = np.clip(np.rint(rest[i] / step), -limit, limit)
        q = q if mask is None else q * mask[p]
        result[p] = q.astype(np.int64)
        error = (rest[i] - q * step) / factor[:, i, i]
        rest[i + 1 :] -= error[np.newaxis] * factor[:, i, i + 1 :].T[:, np.newaxis, :]
    return Weights(result, w.scale, w.eu)


def _limit_spread(u: NDArray[np.float64], w: Weights, ev: NDArray[np.int64], bits: int, span: int) -> Weights:
    """Raise the powers of the smallest taps until eu + ev spans at most `span`."""
    total = w.eu + ev
    eu = np.maximum(w.eu, total.max() - span - ev)
    if (eu == w.eu).all():
        return w
    return Weights(_round(u, w.scale, eu, bits).astype(np.int64), w.scale, eu)


def _limit_sum(u: NDArray[np.float64], w: Weights, bits: int, hw: HwConfig) -> Weights:
    """Coarser scales for channels whose accumulator could overflow."""
    limit = 1 << (hw.acc_bits - 1)
    for _ in range(bits):
        over = (np.abs(w.u).sum(axis=2) * hw.v_max >= limit).any(axis=0)
        if not over.any():
            break
        scale = np.where(over, w.scale * 2, w.scale)
        w = Weights(_round(u, scale, w.eu, bits).astype(np.int64), scale, w.eu)
    return w


def _y_bound(node: Node, hw: HwConfig, w: Weights, ev: NDArray[np.int64]) -> int:
    """Largest |Y| of any channel and output at any input, without the bias."""
    return int(y_bounds(tile_kind(node), w.u, w.eu + ev - (w.eu + ev).min(), hw.v_max).max())


def y_bounds(kind: TileKind, u: NDArray[np.int64], em: NDArray[np.int64], v_max: int) -> NDArray[np.int64]:
    """Largest |Y| of every output channel at any input."""
    sums = np.abs(u).sum(axis=2) * v_max  # [taps, K]
    if kind is TileKind.DIRECT:
        return sums[0] << em[0]
    return (output_tap_weights(kind) @ (sums << em[:, np.newaxis])).max(axis=0)


def finish(
    node: Node, hw: HwConfig, w: Weights, ev: NDArray[np.int64], bias: NDArray[np.float64],
    scale: tuple[float, float], scales: dict[str, float],
) -> Quant:  # fmt: skip
    """Bias, multipliers and the residual's scale; checks every bound."""
    total = w.eu + ev
    e0, em = int(total.min()), total - total.min()
    real_y = scale[0] * w.scale * 2.0**e0
    bias_int = np.rint(bias / real_y)
    if np.abs(bias_int).max(initial=0) >= 1 << 31:
        k = int(np.abs(bias_int).argmax())
        raise QuantisationError(
            f"layer {node.name}: bias {bias[k]:.4g} of channel {k} is {bias_int[k]:.4g} steps, limit 2**31 - 1; "
            "use calibration images with realistic activations"
        )
    fixed = [scale_to_fixed(float(r / scale[1])) for r in real_y]
    res = scale_to_fixed(scales[node.inputs[1]] / scale[1]) if len(node.inputs) == 2 else (0, 0)
    low, high = activation_limits(node.attrs.get("act"), scale[1])
    quant = Quant(
        in_scale=scale[0], out_scale=scale[1], u=w.u, bias=bias_int.astype(np.int64),
        mult=np.array([m for m, _ in fixed], np.int64), shift=np.array([s for _, s in fixed], np.int64),
        ev=tuple(map(int, ev)), em=tuple(map(int, em)), res_mult=res[0], res_shift=res[1],
        act_min=low, act_max=high, sub_row=hw.sub_row,
    )  # fmt: skip
    check_bounds(node, quant, hw)
    return quant


def activation_limits(act: str | None, out_scale: float) -> tuple[int, int]:
    """Clamps in output steps; those of a leaky ReLU are the whole range: it scales before the residual."""
    top = signed_max(8)
    high = min(top, max(1, round(6 / out_scale))) if act == "relu6" else top
    return (0 if act in ("relu", "relu6") else -top), high


def check_bounds(node: Node, quant: Quant, hw: HwConfig) -> None:
    """Raises QuantisationError unless no accumulator can overflow at any input."""
    acc = int(np.abs(quant.u).sum(axis=2).max()) * hw.v_max
    if acc >= 1 << (hw.acc_bits - 1):
        raise QuantisationError(
            f"layer {node.name}: products can sum to {acc}, acc_bits = {hw.acc_bits} holds "
            f"{(1 << hw.acc_bits - 1) - 1}; raise acc_bits, prune the layer, or split its input channels"
        )
    y = int((y_bounds(tile_kind(node), quant.u, np.array(quant.em), hw.v_max) + np.abs(quant.bias)).max())
    if y >= 1 << (hw.y_bits - 1):
        raise QuantisationError(
            f"layer {node.name}: output sums can reach {y}, y_bits = {hw.y_bits} holds {(1 << hw.y_bits - 1) - 1}; "
            "raise y_bits, or use a smaller tile"
        )
    if max(quant.em) > MAX_EM or max(quant.ev) > MAX_EM:
        raise QuantisationError(f"layer {node.name}: em {quant.em} or ev {quant.ev} exceeds {MAX_EM}")
    bits = weight_bits(node, hw)
    if not bits <= hw.u_bits:
        raise QuantisationError(f"layer {node.name}: weights of {bits} bits, u_bits = {hw.u_bits}; give fewer bits")
    if np.abs(quant.u).max(initial=0) > signed_max(bits):
        raise QuantisationError(f"layer {node.name}: weight {np.abs(quant.u).max()} exceeds its {bits} bits")


__all__ = [
    "MAX_EM", "Quant", "Weights", "activation_limits", "check_bounds", "exact_f2", "finish", "fit", "quantise",
    "to_reduction", "y_bounds",
]  # fmt: skip
