"""Quantisation-aware training: a quantised Graph as a torch module that computes the integers of docs/numerics.md.

Forward is the integer pipeline itself, carried in floats: bit for bit in float64. In float32, which training uses, sums
and products above 2^24 are rounded, so that an output may be a step off; what is exported is measured in float64.
Backward passes straight through every rounding and stops at every clamp. What learns, after Esser et al.,
"Learned Step Size Quantization", ICLR 2020: weights in their own domain under the mask, one scale for each output
channel, the powers of two of each tap (eu for weights, ev for inputs), biases, and the scale of every output tensor.
"""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from subrow.compress import winograd
from subrow.compress.execute import apply, padded
from subrow.compress.quantise import MAX_EM, Weights, finish
from subrow.compress.sparse_network import check_single, layer_key
from subrow.ir.graph import Graph, Node, pair, window
from subrow.ir.weights import Quant, from_reduction, mask_of, tile_kind, to_reduction, weight_bits
from subrow.spec.errors import UnsupportedError
from subrow.spec.formats import signed_max
from subrow.spec.hwconfig import HwConfig
from subrow.spec.winograd import TileKind, output_tap_weights

Scaled = tuple[Tensor, Tensor]
"""Integers of a tensor, and the real value of one step (a scalar)."""
LATENT_RATE, EXPONENT_RATE = 30.0, 3.0
"""Learning rates against that of a logarithm of a scale: weights and biases count in steps, exponents in octaves."""


def _inside(gradient: Tensor, rounded: Tensor, low: float, high: float) -> Tensor:
    """The gradient where low <= rounded <= high, else 0; rounded holds whole numbers."""
    result: Tensor = torch.ops.aten.hardtanh_backward(gradient, rounded, low - 0.5, high + 0.5)
    return result


class _RoundClamp(torch.autograd.Function):
    """clamp(floor(x + 1/2), low, high); the gradient passes where nothing was clamped."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float) -> Tensor:
        rounded = (x + 0.5).floor_()
        ctx.limits = low, high
        if low == -math.inf and high == math.inf:
            return rounded
        ctx.save_for_backward(rounded)
        return rounded.clamp(low, high)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return (_inside(gradient, *ctx.saved_tensors, *ctx.limits) if ctx.saved_tensors else gradient), None, None


class _Shift(torch.autograd.Function):
    """clamp(floor(v * scale + 1/2), -limit, limit) for v [taps, windows, C], scale [taps, 1, 1]: one pass in memory."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, scale: Tensor, limit: float) -> Tensor:
        rounded = (v * scale).add_(0.5).floor_()
        ctx.save_for_backward(v, scale, rounded)
        ctx.limit = limit
        return rounded.clamp(-limit, limit)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        v, scale, rounded = ctx.saved_tensors
        gradient = _inside(gradient, rounded, -ctx.limit, ctx.limit)
        moved = torch.stack([torch.dot(g.reshape(-1), x.reshape(-1)) for g, x in zip(gradient, v, strict=True)])
        return gradient.mul_(scale), moved[:, None, None], None


def round_clamp(x: Tensor, low: float = -math.inf, high: float = math.inf) -> Tensor:
    """clamp(floor(x + 1/2), low, high) with a straight-through gradient."""
    result: Tensor = _RoundClamp.apply(x, low, high)
    return result


def shifted(v: Tensor, ev: Tensor, limit: float) -> Tensor:
    """V of docs/numerics.md: v [taps, windows, C] shifted right by ev [taps], rounded and clamped, straight through."""
    result: Tensor = _Shift.apply(v, torch.exp2(-ev)[:, None, None], limit)
    return result


def through(value: Tensor, x: Tensor) -> Tensor:
    """value, with the gradient of x."""
    return x + (value - x).detach()


def fixed(scale: Tensor) -> Tensor:
    """The nearest mult / 2^shift with a 16-bit mult (spec.formats.scale_to_fixed), straight through."""
    mantissa, exponent = torch.frexp(scale.detach())
    return through(torch.ldexp(torch.round(mantissa * 65536) / 65536, exponent), scale)


def _learned(value: Any, rate: float) -> nn.Parameter:
    parameter = nn.Parameter(torch.as_tensor(np.array(value), dtype=torch.float32))
    parameter.rate_factor = rate  # type: ignore[attr-defined]
    return parameter


class IntegerNetwork(nn.Module):
    """A quantised Graph: real images N x C x H x W to the output's real values, N x values."""

    def __init__(self, graph: Graph, hw: HwConfig) -> None:
        super().__init__()
        check_trainable(graph)
        self.graph, self.hw = graph, hw
        layers = {layer_key(n.name): IntegerConvolution(n, hw) for n in graph if n.op == "conv"}
        self.layers = nn.ModuleDict(layers)
        first = next(n for n in graph if n.op == "conv" and graph.inputs[0].name in n.inputs)
        self.in_scale = nn.Parameter(torch.tensor(_quant(first).in_scale), requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, enabled=False):  # bfloat16 does not hold the sums
            q, scale = self.integers(images)[self.graph.outputs[0].inputs[0]]
        return (q * scale).flatten(1)

    def integers(self, images: Tensor) -> dict[str, Scaled]:
        """Every tensor by name."""
        tensors: dict[str, Scaled] = {}
        for node in self.graph:
            inputs = [tensors[i] for i in node.inputs]
            if node.op == "input":
                tensors[node.name] = (
                    round_clamp(images.to(self.in_scale.dtype) / self.in_scale, -127, 127),
                    self.in_scale,
                )
            elif node.op == "conv":
                tensors[node.name] = self.layers[layer_key(node.name)](*inputs)
            else:  # moves integers, changes none
                tensors[node.name] = apply(node, [inputs[0][0]]), inputs[0][1]
        return tensors

    def to_graph(self) -> Graph:
        """The quantised Graph with the parameters as they are now. Raises QuantisationError when a bound is broken."""
        scales = {n.name: 0.0 for n in self.graph}
        changed = {}
        for node in self.graph:
            if node.op == "input":
                scales[node.name] = float(self.in_scale.detach())
            elif node.op != "conv":
                scales[node.name] = scales[node.inputs[0]]
            else:
                layer = cast(IntegerConvolution, self.layers[layer_key(node.name)])
                scales[node.name] = float(layer.out_scale().detach())
                changed[node.name] = node.with_attrs(quant=layer.quant_now(scales))
        return self.graph.replace(changed)


def check_trainable(graph: Graph) -> None:
    """Raises UnsupportedError, naming the node, for a fused Graph that has no integer forward here."""
    check_single(graph)
    for node in graph:
        if (what := _untrainable(node)) is not None:
            raise UnsupportedError(f"node {node.name}: {what} cannot be trained in integers; train without it")


def _untrainable(node: Node) -> str | None:
    """What of a node has no integer forward here, or None."""
    if node.op in ("concat", "upsample", "avg_pool"):
        return node.op
    found = {"leaky ReLU": node.attrs.get("act") == "leaky", "upsampling": bool(node.attrs.get("upsample"))}
    return next((name for name, there in found.items() if there), None)


def _quant(node: Node) -> Quant:
    quant = node.attrs["quant"]
    assert isinstance(quant, Quant)
    return quant


class IntegerConvolution(nn.Module):
    """One conv node in integers, with its residual, activation and pool.

    latent [taps, K, C] (direct: [K, C, kh, kw]) counts in the steps that quantisation chose; log_step [K], log_out are
    octaves above what it chose; eu and ev [taps] are rounded; bias [K] counts in output steps.
    """

    mask: Tensor
    first_step: Tensor
    first_eu: Tensor
    tap_weights: Tensor

    def __init__(self, node: Node, hw: HwConfig) -> None:
        super().__init__()
        self.node, self.hw, self.kind = node, hw, tile_kind(node)
        self.limit, self.first_out = signed_max(weight_bits(node, hw)), _quant(node).out_scale
        q = _quant(node)
        y_step = q.mult * np.exp2(-q.shift.astype(np.float64))  # of Y, in output steps
        step = y_step * q.out_scale / q.in_scale
        eu = np.array(q.em, np.int64) - np.array(q.ev, np.int64)
        step, eu = step * 2.0 ** int(eu.min()), eu - eu.min()  # so that e0 of docs/numerics.md comes out as before
        mask = mask_of(node, q.sub_row)
        self.latent = _learned(self._shaped(q.u), LATENT_RATE)
        kept = torch.ones(()) if mask is None else torch.tensor(self._shaped(mask)).float()
        self.register_buffer("mask", kept, persistent=False)
        self.register_buffer("first_step", torch.tensor(step), persistent=False)
        self.register_buffer("first_eu", torch.tensor(eu, dtype=torch.float32), persistent=False)
        taps = np.ones((1, 1)) if self.kind is TileKind.DIRECT else output_tap_weights(self.kind)
        self.register_buffer("tap_weights", torch.tensor(taps, dtype=torch.float32), persistent=False)
        self.log_step = _learned(np.zeros(len(step)), 1.0)
        self.log_out = _learned(0.0, 1.0)
        self.eu, self.ev = (_learned(e, EXPONENT_RATE) for e in (eu, q.ev))
        for exponents in (self.eu, self.ev):
            exponents.requires_grad_(self.kind is not TileKind.DIRECT)
        self.bias = _learned(q.bias * y_step, LATENT_RATE)
        if node.attrs["groups"] != 1 and not np.ptp(q.u):  # a pool stays one
            self.latent.requires_grad_(False)

    def _shaped(self, u: NDArray[Any]) -> NDArray[Any]:
        if self.kind is not TileKind.DIRECT:
            return u
        return from_reduction(u, self.node.params["weight"].shape, _quant(self.node).sub_row)

    def out_scale(self) -> Tensor:
        """Real value of one output step."""
        return self.first_out * torch.exp2(self.log_out)

    def step(self) -> Tensor:
        """[K]: real value of one step of a weight whose eu is 0."""
        return self.first_step.to(self.log_step.dtype) * torch.exp2(self.log_step)

    def exponents(self, in_scale: Tensor) -> tuple[Tensor, Tensor]:
        """(eu, ev) [taps] as whole numbers, ev at least 0; in_scale: real value of one step of the input.

        The smallest eu are raised where em would exceed its field, or Y with its bias its width.
        """
        eu, ev = through(torch.round(self.eu), self.eu), round_clamp(self.ev, 0.0, float(MAX_EM))
        with torch.no_grad():
            total = eu + ev
            least = torch.maximum(total.max() - MAX_EM, self._least_e0(eu, ev, in_scale))
            raised = (least - total).clamp(min=0)
        return eu + raised, ev

    def _least_e0(self, eu: Tensor, ev: Tensor, in_scale: Tensor) -> Tensor:
        """The e0 that leaves half of Y's width free, if Y could exceed it at some input; else no limit."""
        bias = self._bias_size(in_scale)
        most = (self._largest_y(self.weights(eu), eu + ev) + bias).max()
        widest = torch.exp2((eu + ev).min())
        fits = (most < widest * 2.0 ** (self.hw.y_bits - 1)) & (bias.max() < widest * 2.0**31)
        needed = torch.maximum(most * 2.0 ** (2 - self.hw.y_bits), bias.max() * 2.0**-30)
        return torch.where(fits, -math.inf, torch.ceil(torch.log2(needed)))

    def _bias_size(self, in_scale: Tensor) -> Tensor:
        """[K]: magnitude of the bias in steps of Y at e0 = 0."""
        return (self.bias * self.first_out / (in_scale * self.step())).abs()

    def _largest_y(self, u: Tensor, total: Tensor) -> Tensor:
        """[K]: largest |Y| at any input, in steps of Y at e0 = 0; total = eu + ev."""
        sums = self._row_sums(u) * self.hw.v_max * torch.exp2(total)[:, None]
        return sums[0] if self.kind is TileKind.DIRECT else (self.tap_weights.to(sums.dtype) @ sums).amax(0)

    def numbers(self, in_scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(weights, eu, ev) that fit the hardware: a channel whose Y is still too wide gets smaller weights."""
        eu, ev = self.exponents(in_scale)
        u = self.weights(eu)
        with torch.no_grad():
            unit = torch.exp2((eu + ev).min())
            room = 2.0 ** (self.hw.y_bits - 1) - 2 - self._bias_size(in_scale) / unit
            share = (room * unit / self._largest_y(u, eu + ev)).clamp(max=1)
            whole = torch.trunc(u * (share[:, None, None, None] if u.ndim == 4 else share[:, None]))
        return through(whole, u), eu, ev

    def _row_sums(self, u: Tensor) -> Tensor:
        """[taps, K]: sums of the weights' magnitudes."""
        return u.abs().flatten(1).sum(1)[None] if self.kind is TileKind.DIRECT else u.abs().sum(2)

    def weights(self, eu: Tensor) -> Tensor:
        """Integer weights, in the shape of latent; a row whose products could overflow their sum is made smaller."""
        rest = torch.exp2(self.first_eu - eu)[:, None, None] * torch.exp2(-self.log_step)[:, None]
        if self.kind is TileKind.DIRECT:
            rest = rest[0, :, :, None, None]
        u = round_clamp(self.latent * rest, -self.limit, self.limit) * self.mask
        with torch.no_grad():
            most = ((1 << self.hw.acc_bits - 1) - 1) // self.hw.v_max
            share = (most / self._row_sums(u)).clamp(max=1)
            share = share[0, :, None, None, None] if self.kind is TileKind.DIRECT else share[:, :, None]
            whole = torch.trunc(u * share)
        return through(whole, u)

    def sums(self, x: Tensor, in_scale: Tensor) -> tuple[Tensor, Tensor]:
        """(Y [N, K, OH, OW] of integers x, e0)."""
        u, eu, ev = self.numbers(in_scale)
        x = padded(self.node, x, -127.0 if "max_window" in self.node.attrs else 0.0)
        if self.kind is TileKind.DIRECT:
            stride, groups = pair(self.node.attrs["stride"]), self.node.attrs["groups"]
            if "max_window" in self.node.attrs:  # the weights multiply each window's maximum
                x, stride = functional.max_pool2d(x, window(self.node), stride), (1, 1)
            return functional.conv2d(x, u, stride=stride, groups=groups), eu[0]
        total = eu + ev
        e0 = total.detach().min()
        v_max = float(signed_max(self.hw.v_bits))
        v = shifted(winograd.windows(self.kind, x), ev, v_max)
        m, size = winograd.products(v, u), (x.shape[2] - 2, x.shape[3] - 2)
        return winograd.outputs(self.kind, m, len(x), size, torch.exp2(total - e0)), e0

    def forward(self, x: Scaled, residual: Scaled | None = None) -> Scaled:
        """Integers and their scale; see docs/numerics.md."""
        y, e0 = self.sums(*x)
        out = self.out_scale()
        real_y = x[1] * self.step() * torch.exp2(e0)
        bias = round_clamp(self.bias * self.first_out / real_y)
        z = round_clamp((y + bias[:, None, None]) * fixed(real_y / out)[:, None, None])
        if residual is not None:
            z = z + round_clamp(residual[0] * fixed(residual[1] / out))
        z = self._activated(z, out)
        return functional.max_pool2d(z, 2) if self.node.attrs.get("pool") else z, out

    def _activated(self, z: Tensor, out: Tensor) -> Tensor:
        act = self.node.attrs.get("act")
        low = 0.0 if act in ("relu", "relu6") else -127.0
        z = z.clamp(low, 127.0)  # whole numbers already
        if act != "relu6":
            return z
        return torch.minimum(z, torch.clamp(torch.round(6 / out.detach()), 1, 127))  # `clamp` would wait for the tensor

    def quant_now(self, scales: dict[str, float]) -> Quant:
        """The node's integers with the parameters as they are now; scales of tensors by name."""
        with torch.no_grad():
            numbers = self.numbers(self.log_step.new_tensor(scales[self.node.inputs[0]]))
            u, eu, ev = (e.cpu().numpy().astype(np.int64) for e in numbers)
            step = self.step().cpu().numpy().astype(np.float64)
            bias = (self.bias * self.first_out).cpu().numpy().astype(np.float64)
        if self.kind is TileKind.DIRECT:
            u = to_reduction(u, _quant(self.node).sub_row)
        weights = Weights(u, step, eu)
        return finish(
            self.node, self.hw, weights, ev, bias, (scales[self.node.inputs[0]], scales[self.node.name]), scales
        )
