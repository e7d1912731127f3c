"""Quantisation-aware training: a quantised Graph as a torch module that computes the integers of docs/numerics.md.

Forward is the integer pipeline itself, carried in floats (exact in float64, and in float32 as long as sums stay below
2^24); backward passes straight through every rounding and stops at every clamp. What learns, after Esser et al.,
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
from subrow.compress.quantise import Weights, finish
from subrow.compress.sparse_network import layer_key
from subrow.ir.graph import Graph, Node, pair
from subrow.ir.weights import Quant, from_reduction, mask_of, tile_kind, to_reduction
from subrow.spec.errors import UnsupportedError
from subrow.spec.formats import signed_max
from subrow.spec.hwconfig import HwConfig
from subrow.spec.winograd import TileKind

Scaled = tuple[Tensor, Tensor]
"""Integers of a tensor, and the real value of one step (a scalar)."""
LATENT_RATE, EXPONENT_RATE = 30.0, 3.0
"""Learning rates against that of a logarithm of a scale: weights and biases count in steps, exponents in octaves."""


class _RoundClamp(torch.autograd.Function):
    """clamp(floor(x + 1/2), low, high); the gradient passes where nothing was clamped."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: Any, high: Any) -> Tensor:
        rounded = torch.floor(x + 0.5)
        result = torch.clamp(rounded, low, high)
        ctx.save_for_backward(rounded == result)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (inside,) = ctx.saved_tensors
        return gradient * inside, None, None


def round_clamp(x: Tensor, low: Tensor | float = -math.inf, high: Tensor | float = math.inf) -> Tensor:
    """clamp(floor(x + 1/2), low, high) with a straight-through gradient."""
    result: Tensor = _RoundClamp.apply(x, low, high)
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

    def __init__(self, graph: Graph, hw: HwConfig, bits: dict[str, int] | None = None) -> None:
        super().__init__()
        self.graph, self.hw = graph, hw
        for node in graph:
            if (what := _untrainable(node)) is not None:
                raise UnsupportedError(f"node {node.name}: {what} cannot be trained in integers; train without it")
        layers = {
            layer_key(n.name): IntegerConvolution(n, hw, (bits or {}).get(n.name, hw.u_bits))
            for n in graph
            if n.op == "conv"
        }
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


def _untrainable(node: Node) -> str | None:
    """What of a node has no integer forward here, or None."""
    if node.op in ("concat", "upsample", "avg_pool"):
        return node.op
    found = {"leaky ReLU": node.attrs.get("act") == "leaky", "max pool": "max_window" in node.attrs,
             "upsampling": bool(node.attrs.get("upsample"))}  # fmt: skip
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

    def __init__(self, node: Node, hw: HwConfig, bits: int) -> None:
        super().__init__()
        self.node, self.hw, self.kind = node, hw, tile_kind(node)
        self.limit, self.first_out = signed_max(bits), _quant(node).out_scale
        q = _quant(node)
        y_step = q.mult * np.exp2(-q.shift.astype(np.float64))  # of Y, in output steps
        step = y_step * q.out_scale / q.in_scale
        eu = np.array(q.em, np.int64) - np.array(q.ev, np.int64)
        step, eu = step * 2.0 ** int(eu.min()), eu - eu.min()  # so that e0 of docs/numerics.md comes out as before
        mask = mask_of(node, q.sub_row)
        self.latent = _learned(self._shaped(q.u), LATENT_RATE)
        self.register_buffer("mask", torch.ones(()) if mask is None else torch.tensor(self._shaped(mask)).float())
        self.register_buffer("first_step", torch.tensor(step))
        self.register_buffer("first_eu", torch.tensor(eu, dtype=torch.float32))
        self.log_step = _learned(np.zeros(len(step)), 1.0)
        self.log_out = _learned(0.0, 1.0)
        self.eu, self.ev = (_learned(e, EXPONENT_RATE) for e in (eu, q.ev))
        for exponents in (self.eu, self.ev):
            exponents.requires_grad_(self.kind is not TileKind.DIRECT)
        self.bias = _learned(q.bias * y_step, LATENT_RATE)
        if node.attrs["groups"] != 1:  # an average pool stays one
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

    def exponents(self) -> tuple[Tensor, Tensor]:
        """(eu, ev) [taps] as whole numbers; ev is at least 0."""
        eu = through(torch.round(self.eu), self.eu)
        return eu, round_clamp(self.ev, 0.0, 15.0)

    def weights(self) -> Tensor:
        """Integer weights, in the shape of latent."""
        eu, _ = self.exponents()
        rest = torch.exp2(self.first_eu - eu)[:, None, None] * torch.exp2(-self.log_step)[:, None]
        if self.kind is TileKind.DIRECT:
            rest = rest[0, :, :, None, None]
        return round_clamp(self.latent * rest, -self.limit, self.limit) * self.mask

    def sums(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(Y [N, K, OH, OW] of integers x, e0)."""
        eu, ev = self.exponents()
        x, u = padded(self.node, x), self.weights()
        if self.kind is TileKind.DIRECT:
            attrs = self.node.attrs
            return functional.conv2d(x, u, stride=pair(attrs["stride"]), groups=attrs["groups"]), eu[0]
        total = eu + ev
        e0 = total.detach().min()
        v_max = float(signed_max(self.hw.v_bits))
        v = round_clamp(winograd.windows(self.kind, x) * torch.exp2(-ev)[:, None, None], -v_max, v_max)
        m = torch.bmm(u, v) * torch.exp2(total - e0)[:, None, None]
        return winograd.outputs(self.kind, m, len(x), (x.shape[2] - 2, x.shape[3] - 2)), e0

    def forward(self, x: Scaled, residual: Scaled | None = None) -> Scaled:
        """Integers and their scale; see docs/numerics.md."""
        y, e0 = self.sums(x[0])
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
        high = torch.clamp(torch.round(6 / out.detach()), 1, 127) if act == "relu6" else 127.0
        return round_clamp(z, low, high)

    def quant_now(self, scales: dict[str, float]) -> Quant:
        """The node's integers with the parameters as they are now; scales of tensors by name."""
        with torch.no_grad():
            u = self.weights().cpu().numpy().astype(np.int64)
            eu, ev = (e.cpu().numpy().astype(np.int64) for e in self.exponents())
            step = self.step().cpu().numpy().astype(np.float64)
            bias = (self.bias * self.first_out).cpu().numpy().astype(np.float64)
        if self.kind is TileKind.DIRECT:
            u = to_reduction(u, _quant(self.node).sub_row)
        weights = Weights(u, step, eu)
        return finish(
            self.node, self.hw, weights, ev, bias, (scales[self.node.inputs[0]], scales[self.node.name]), scales
        )
