"""SRBS pruning that repairs what it removes: the kept weights make good the pruned ones, layer by layer.

After Frantar and Alistarh, "SparseGPT", ICML 2023, carried over to the Winograd domain: the variables of an output
channel are its weights in every tap, and two taps share an output as far as A^T (x) A^T says. No labels, no training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg.lapack import dtrtri
from torch import Tensor
from torch.nn import functional

from subrow.compress.execute import evaluate, images_at_once, padded
from subrow.compress.winograd import windows
from subrow.ir.graph import Graph, Node, as_float32, pair
from subrow.ir.weights import real_u, reduction_order, tile_kind
from subrow.spec.errors import QuantisationError
from subrow.spec.winograd import TileKind, as_float, tap_order
from subrow.spec.winograd import tile as tile_of

_SAMPLES = 6000  # windows of a layer
_VARIABLES = 2400  # of one solve: channels beyond it are treated apart
_DAMP = 0.03  # of each variable's own moment
_LAZY = 16  # sub-rows whose errors reach the variables behind them in one product


@dataclass(frozen=True)
class Part:
    """Variables that are solved together: positions in [taps, C'] and the sub-rows among them."""

    taps: NDArray[np.int64]
    columns: NDArray[np.int64]
    rows: tuple[slice, ...]


def parts(taps: int, columns: int, lengths: Sequence[int]) -> tuple[Part, ...]:
    """Cut [taps, columns] into Parts of whole sub-rows, whose lengths along the columns are given."""
    result: list[Part] = []
    blocks: list[tuple[int, int]] = []
    start = 0
    for i, length in enumerate(lengths):
        blocks.append((start, length))
        start += length
        wide = taps * (start - blocks[0][0] + (lengths[i + 1] if i + 1 < len(lengths) else 0)) > _VARIABLES
        if i == len(lengths) - 1 or wide:
            result.append(_part(taps, blocks))
            blocks = []
    assert start == columns
    return tuple(result)


def _part(taps: int, blocks: Sequence[tuple[int, int]]) -> Part:
    p: list[int] = []
    c: list[int] = []
    rows: list[slice] = []
    for start, length in blocks:
        for tap in range(taps):
            rows.append(slice(len(p), len(p) + length))
            p += [tap] * length
            c += range(start, start + length)
    return Part(np.array(p), np.array(c), tuple(rows))


def sub_row_lengths(node: Node, sub_row: int) -> list[int]:
    """Length of each sub-row along the second axis of u, in its order."""
    _, channels, kh, kw = node.params["weight"].shape
    area = kh * kw if tile_kind(node) is TileKind.DIRECT else 1
    lengths = [min(sub_row, channels - c) for c in range(0, channels, sub_row)]
    return [length for length in lengths for _ in range(area)]


def features(node: Node, x: Tensor, sub_row: int) -> NDArray[np.float32]:
    """What the weights u [taps, K, C'] multiply: [taps, C', windows]."""
    x = padded(node, x)
    kind = tile_kind(node)
    if kind is not TileKind.DIRECT:
        return windows(kind, x).transpose(1, 2).numpy()
    _, channels, kh, kw = node.params["weight"].shape
    flat = functional.unfold(x, (kh, kw), stride=pair(node.attrs["stride"]))  # N, C * kh * kw, positions
    order = torch.from_numpy(reduction_order(channels, (kh, kw), sub_row))
    return flat[:, order].permute(1, 0, 2).reshape(1, len(order), -1).numpy()


def tap_products(kind: TileKind) -> NDArray[np.float64]:
    """[taps, taps]: inner products of the taps' shares in the m * m outputs."""
    if kind is TileKind.DIRECT:
        return np.ones((1, 1))
    t = tile_of(kind)
    rows, columns = zip(*tap_order(kind), strict=True)
    at = as_float(t.at)
    outputs = np.einsum("ap,bp->abp", at[:, list(rows)], at[:, list(columns)]).reshape(-1, t.taps)
    return outputs.T @ outputs


def keep_largest(rows: NDArray[np.floating], s: int) -> NDArray[np.bool_]:
    """Mask of the s largest magnitudes along the last axis; of equals the first ones stay."""
    order = np.argsort(-np.abs(rows), axis=-1, kind="stable")[..., :s]
    mask = np.zeros(rows.shape, dtype=bool)
    np.put_along_axis(mask, order, True, axis=-1)
    return mask


def sparsify(
    w: NDArray[np.float64], moments: NDArray[np.float64], rows: Sequence[slice], s: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(weights [n, K], mask [n, K]) with s of every sub-row kept and the errors passed on to later variables.

    moments [n, n] is the second moment of the variables' shares in the output. rows: sub-rows, ascending, whole range.
    """
    factor = _factor(moments)
    w, mask = np.array(w, order="C"), np.zeros(w.shape, bool)
    for first in range(0, len(rows), _LAZY):
        block = rows[first : first + _LAZY]
        start, stop = block[0].start, block[-1].stop
        errors = np.empty((stop - start, w.shape[1]))
        for row in block:
            here = slice(row.start - start, row.stop - start)
            mask[row], errors[here] = _sparsify_row(w[row], factor[row, row], s)
            w[row.stop : stop] -= factor[row, row.stop : stop].T @ errors[here]
        w[stop:] -= factor[start:stop, stop:].T @ errors
    return w * mask, mask


def _factor(moments: NDArray[np.float64]) -> NDArray[np.float64]:
    """Upper triangular F with F^T F the inverse of the damped moments, without inverting them."""
    diagonal = np.diag(moments)
    h = moments + np.diag(_DAMP * diagonal + 1e-9 * diagonal.mean() + 1e-30)
    inverse, failed = dtrtri(np.linalg.cholesky(h[::-1, ::-1]), lower=1)
    assert failed == 0  # the diagonal of a Cholesky factor is positive
    return np.ascontiguousarray(inverse[::-1, ::-1])


def _sparsify_row(
    w: NDArray[np.float64], factor: NDArray[np.float64], s: int
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """(mask, errors), both [length, K], of one sub-row w [length, K], which is changed on the way."""
    keep = keep_largest((w / np.diag(factor)[:, None]).T, s).T
    errors = np.empty(w.shape)
    for i in range(len(w)):
        errors[i] = np.where(keep[i], 0, w[i]) / factor[i, i]
        w[i + 1 :] -= np.outer(factor[i, i + 1 :], errors[i])
    return keep, errors


def prune_compensated(graph: Graph, names: Sequence[str], density: tuple[int, int], images: Tensor) -> Graph:
    """The Graph with the named convs pruned to s/L; moments come from the given network on the images."""
    nodes = [graph.node(n) for n in names]
    moments = _moments(graph, nodes, density[1], images)
    return graph.replace({n.name: _prune(n, density, moments[n.name]) for n in nodes})


def pruned_at(graph: Graph, name: str, kept: Sequence[int], sub_row: int, images: Tensor) -> dict[int, Node]:
    """One conv pruned to s/L for every s of `kept`, all from the same moments."""
    node = graph.node(name)
    moments = _moments(graph, [node], sub_row, images)[name]
    return {s: _prune(node, (s, sub_row), moments) for s in kept}


def _moments(
    graph: Graph, nodes: Sequence[Node], sub_row: int, images: Tensor
) -> dict[str, list[NDArray[np.float64]]]:
    """Second moments of each layer's Parts on the images. Raises QuantisationError where they are no numbers."""
    layout = {n.name: _layout(n, sub_row) for n in nodes}
    moments = {n.name: [np.zeros((len(p.taps),) * 2) for p in layout[n.name]] for n in nodes}
    step = images_at_once(graph)
    starts = range(0, len(images), step)
    inputs = {n.inputs[0] for n in nodes}
    for start in starts:
        tensors = evaluate(graph, images[start : start + step], keep=inputs)
        for node in nodes:
            v = features(node, tensors[node.inputs[0]], sub_row)
            v = v[:, :, :: max(1, v.shape[2] * len(starts) // _SAMPLES)]
            share = tap_products(tile_kind(node))
            for part, total in zip(layout[node.name], moments[node.name], strict=True):
                f = v[part.taps, part.columns]
                total += (f @ f.T) * share[part.taps][:, part.taps]
    for node in nodes:
        if not all(np.isfinite(total).all() for total in moments[node.name]):
            raise QuantisationError(
                f"layer {node.name}: its input is NaN, infinite or too large on the calibration images; give images "
                "like those the network was trained on, or check its weights"
            )
    return moments


def _layout(node: Node, sub_row: int) -> tuple[Part, ...]:
    taps, _, columns = real_u(node, sub_row).shape
    return parts(taps, columns, sub_row_lengths(node, sub_row))


def _prune(node: Node, density: tuple[int, int], moments: Sequence[NDArray[np.float64]]) -> Node:
    u = real_u(node, density[1])
    new, mask = np.zeros_like(u), np.zeros(u.shape, bool)
    for part, h in zip(_layout(node, density[1]), moments, strict=True):
        w, m = sparsify(u[part.taps, :, part.columns], h, part.rows, density[0])
        new[part.taps, :, part.columns] = w
        mask[part.taps, :, part.columns] = m
    return node.with_params(u=as_float32(new * mask), mask=mask).with_attrs(density=density)
