"""Winograd convolution in torch, differentiable: windows V = B^T x B, products in every tap, outputs A^T M A."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from subrow.spec.winograd import TileKind, as_float, tap_order
from subrow.spec.winograd import tile as tile_of


@cache
def transforms(kind: TileKind, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """(B^T (x) B^T [taps, alpha^2], A^T (x) A^T [m^2, taps]) with taps in hardware order."""
    t = tile_of(kind)
    with torch.inference_mode(False):  # whoever asks first, others may need gradients through these
        order = torch.tensor([i * t.alpha + j for i, j in tap_order(kind)])
        bt, at = (torch.from_numpy(as_float(m)) for m in (t.bt, t.at))
        both = torch.kron(bt, bt)[order], torch.kron(at, at)[:, order]
        return both[0].to(device, dtype), both[1].to(device, dtype).contiguous()


def windows(kind: TileKind, x: Tensor) -> Tensor:
    """V = B^T x B of every tile of a padded batch x [N, C, OH + 2, OW + 2]: [taps, C, N * TH * TW]."""
    t, (oh, ow) = tile_of(kind), (x.shape[2] - 2, x.shape[3] - 2)
    th, tw = -(-oh // t.m), -(-ow // t.m)
    x = functional.pad(x, (0, tw * t.m - ow, 0, th * t.m - oh))
    cut = x.unfold(2, t.alpha, t.m).unfold(3, t.alpha, t.m)  # N, C, TH, TW, alpha, alpha
    flat = cut.permute(4, 5, 1, 0, 2, 3).reshape(t.taps, -1)
    return (transforms(kind, x.device, x.dtype)[0] @ flat).reshape(t.taps, x.shape[1], -1)


def outputs(kind: TileKind, m: Tensor, count: int, size: tuple[int, int]) -> Tensor:
    """A^T M A of products M [taps, K, N * TH * TW] for N = count maps of size (OH, OW): [N, K, OH, OW]."""
    t, k, (oh, ow) = tile_of(kind), m.shape[1], size
    th, tw = -(-oh // t.m), -(-ow // t.m)
    y = (transforms(kind, m.device, m.dtype)[1] @ m.reshape(t.taps, -1)).reshape(t.m, t.m, k, count, th, tw)
    return y.permute(3, 2, 4, 0, 5, 1).reshape(count, k, th * t.m, tw * t.m)[:, :, :oh, :ow]


def convolution(kind: TileKind, x: Tensor, u: Tensor) -> Tensor:
    """A padded batch x [N, C, OH + 2, OW + 2] with weights u [taps, K, C]: [N, K, OH, OW]."""
    return outputs(kind, torch.bmm(u, windows(kind, x)), len(x), (x.shape[2] - 2, x.shape[3] - 2))


@cache
def tap_gains(kind: TileKind) -> Tensor:
    """[taps]: how far one step along each tap's weight should go, relative to a spatial weight's.

    The curvature along the weight of tap p is |column p of A^T (x) A^T|^2 E[V_p^2]; for white inputs E[V_p^2] is the
    squared norm of row p of B^T (x) B^T. In F(4x4,3x3) these products span a factor of 410: unscaled gradient descent
    on U would follow the largest taps alone.
    """
    bt, at = transforms(kind, torch.device("cpu"), torch.float64)
    return tile_of(kind).m / (bt.norm(dim=1) * at.norm(dim=0))
