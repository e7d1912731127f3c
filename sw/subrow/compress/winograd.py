"""Winograd convolution in torch, differentiable: windows V = B^T x B, products in every tap, outputs A^T M A.

Tensors of windows are [taps, windows, channels]: channels are innermost, as in torch's channels_last, so that a
transform is a few sums of whole rows of memory. Of a batch that is not channels_last, a copy is made first.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from subrow.spec.winograd import TileKind, as_float, as_int, tap_order
from subrow.spec.winograd import tile as tile_of

Row = tuple[tuple[int, int], ...]
"""The terms of one row of B^T that are not zero, as (column, factor)."""


@cache
def transforms(kind: TileKind, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """(B^T (x) B^T [taps, alpha^2], A^T (x) A^T [m^2, taps]) with taps in hardware order."""
    t = tile_of(kind)
    with torch.inference_mode(False):  # whoever asks first, others may need gradients through these
        order = torch.tensor([i * t.alpha + j for i, j in tap_order(kind)])
        bt, at = (torch.from_numpy(as_float(m)) for m in (t.bt, t.at))
        both = torch.kron(bt, bt)[order], torch.kron(at, at)[:, order]
        return both[0].to(device, dtype), both[1].to(device, dtype).contiguous()


@cache
def _rows(kind: TileKind) -> tuple[Row, ...]:
    """Each row of B^T, a term of factor 1 first where there is one: the sum starts from it without a product."""
    matrix = as_int(tile_of(kind).bt).tolist()
    terms = [[(j, int(f)) for j, f in enumerate(row) if f] for row in matrix]
    return tuple(tuple(sorted(row, key=lambda term: term[1] != 1)) for row in terms)


def _combine(out: Tensor, parts: Sequence[Tensor], row: Row) -> None:
    """out = the sum of factor * parts[column] over a row's terms."""
    (first, factor), *rest = row
    if factor == 1 and rest:
        (second, other), *rest = rest
        torch.add(parts[first], parts[second], alpha=other, out=out)
    else:
        torch.mul(parts[first], factor, out=out)
    for column, value in rest:
        out.add_(parts[column], alpha=value)


class _Windows(torch.autograd.Function):
    """B^T x B of whole tiles, in two steps of one axis each; x [N, H, W, C] with H = TH * m + 2, W = TW * m + 2."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kind: TileKind) -> Tensor:
        ctx.kind, ctx.shape = kind, x.shape
        m, alpha, order = tile_of(kind).m, tile_of(kind).alpha, tap_order(kind)
        n, h, w, c = x.shape
        th, tw = (h - 2) // m, (w - 2) // m
        v, half = x.new_empty(alpha * alpha, n, th, tw, c), x.new_empty(n, th, w, c)
        down = [x[:, i : i + th * m : m] for i in range(alpha)]
        across = [half[:, :, j : j + tw * m : m] for j in range(alpha)]
        for i, row in enumerate(_rows(kind)):
            _combine(half, down, row)
            for j, column in enumerate(_rows(kind)):
                _combine(v[order.index((i, j))], across, column)
        return v.view(alpha * alpha, -1, c)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        m, order = tile_of(ctx.kind).m, tap_order(ctx.kind)
        n, h, w, c = ctx.shape
        th, tw = (h - 2) // m, (w - 2) // m
        gradient = gradient.reshape(-1, n, th, tw, c)
        result, half = gradient.new_zeros(ctx.shape), gradient.new_empty(n, th, w, c)
        for i, row in enumerate(_rows(ctx.kind)):
            half.zero_()
            for j, column in enumerate(_rows(ctx.kind)):
                part = gradient[order.index((i, j))]
                for place, factor in column:
                    half[:, :, place : place + tw * m : m].add_(part, alpha=factor)
            for place, factor in row:
                result[:, place : place + th * m : m].add_(half, alpha=factor)
        return result, None


def windows(kind: TileKind, x: Tensor) -> Tensor:
    """V = B^T x B of every tile of a padded batch x [N, C, OH + 2, OW + 2]: [taps, N * TH * TW, C].

    Exact for integers as long as |x| times the growth of B^T x B (spec.winograd) is below 2^24 in float32.
    """
    t, (oh, ow) = tile_of(kind), (x.shape[2] - 2, x.shape[3] - 2)
    x = functional.pad(x, (0, -ow % t.m, 0, -oh % t.m))
    result: Tensor = _Windows.apply(x.permute(0, 2, 3, 1).contiguous(), kind)
    return result


def products(v: Tensor, u: Tensor) -> Tensor:
    """M [taps, windows, K] of V [taps, windows, C] and weights u [taps, K, C]."""
    return torch.bmm(v, u.transpose(1, 2))


def outputs(kind: TileKind, m: Tensor, count: int, size: tuple[int, int], tap_scale: Tensor | None = None) -> Tensor:
    """A^T M A of products M [taps, N * TH * TW, K] for N = count maps of size (OH, OW): [N, K, OH, OW].

    tap_scale [taps] multiplies M: in the small matrix rather than in M.
    """
    t, k, (oh, ow) = tile_of(kind), m.shape[2], size
    th, tw = -(-oh // t.m), -(-ow // t.m)
    matrix = transforms(kind, m.device, m.dtype)[1]
    matrix = matrix if tap_scale is None else matrix * tap_scale
    y = (matrix @ m.reshape(t.taps, -1)).reshape(t.m, t.m, count, th, tw, k)
    whole = y.permute(2, 3, 0, 4, 1, 5).reshape(count, th * t.m, tw * t.m, k)
    return whole[:, :oh, :ow].permute(0, 3, 1, 2)


def convolution(kind: TileKind, x: Tensor, u: Tensor) -> Tensor:
    """A padded batch x [N, C, OH + 2, OW + 2] with weights u [taps, K, C]: [N, K, OH, OW]."""
    return outputs(kind, products(windows(kind, x), u), len(x), (x.shape[2] - 2, x.shape[3] - 2))


@cache
def tap_gains(kind: TileKind) -> Tensor:
    """[taps]: how far one step along each tap's weight should go, relative to a spatial weight's.

    The curvature along the weight of tap p is |column p of A^T (x) A^T|^2 E[V_p^2]; for white inputs E[V_p^2] is the
    squared norm of row p of B^T (x) B^T. In F(4x4,3x3) these products span a factor of 410: unscaled gradient descent
    on U would follow the largest taps alone.
    """
    bt, at = transforms(kind, torch.device("cpu"), torch.float64)
    return tile_of(kind).m / (bt.norm(dim=1) * at.norm(dim=0))
