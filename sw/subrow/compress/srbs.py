"""Sub-row-balanced sparsity: every sub-row of L input channels keeps the same number s of weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from subrow.compress.compensate import keep_largest, prune_compensated
from subrow.compress.execute import as_batch
from subrow.ir.graph import Graph, Node, as_float32
from subrow.ir.weights import join_sub_rows, real_u, split_sub_rows, tile_kind
from subrow.spec.errors import ConfigError
from subrow.spec.winograd import TileKind

Density = tuple[int, int]


def parse_density(text: str | Density) -> Density:
    """(s, L) from "s/L" or a pair; ConfigError unless 1 <= s <= L."""
    parts = text.split("/") if isinstance(text, str) else list(text)
    try:
        s, sub_row = (int(p) for p in parts)
    except (TypeError, ValueError):
        raise ConfigError(f"density {text!r}: must be s/L, such as '4/8', or a pair (s, L)") from None
    if not 1 <= s <= sub_row:
        raise ConfigError(f"density {s}/{sub_row}: s must be 1..L = {sub_row}")
    return s, sub_row


def project(u: NDArray[np.floating], density: Density, channels: int, area: int = 1) -> NDArray[np.bool_]:
    """Mask of u [taps, K, channels * area]: s of every L along the channels; short last sub-rows keep min(s, rest)."""
    s, sub_row = density
    rows = split_sub_rows(u.astype(np.float64), channels, area, sub_row)
    rest = channels % sub_row
    if rest:  # padding must never win over a real zero
        rows[:, :, -area:, rest:] = np.nan
    mask = keep_largest(np.nan_to_num(rows, nan=0.0), s) if not rest else keep_largest(_below_zero(rows), s)
    return join_sub_rows(mask, channels, area, sub_row)


def _below_zero(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Magnitudes plus one, padding (NaN) as zero: the same order, with padding last."""
    return np.nan_to_num(np.abs(rows) + 1.0, nan=0.0)


def prunable(graph: Graph, sub_row: int, linear: bool = False) -> tuple[str, ...]:
    """Names of the layers to prune: not the first, none with fewer than L channels or grouped, linear only if asked."""
    return tuple(n.name for i, n in enumerate(_convs(graph)) if _obstacle(n, i, sub_row, linear) is None)


def check_prunable(graph: Graph, density: Density, linear: bool = False) -> None:
    """Raises ConfigError, with the reason of every layer, when a density would change nothing."""
    s, sub_row = density
    found = [(n.name, _obstacle(n, i, sub_row, linear)) for i, n in enumerate(_convs(graph))]
    reasons = [f"layer {name} {reason}" for name, reason in found if reason is not None]
    if len(reasons) == len(found):
        raise ConfigError(
            f"density {s}/{sub_row}: nothing to prune in {graph.name}: {'; '.join(reasons)}; compile it without a "
            "density"
        )


def _convs(graph: Graph) -> list[Node]:
    return [n for n in graph if n.op == "conv"]


def _obstacle(node: Node, place: int, sub_row: int, linear: bool) -> str | None:
    """Why a layer is not pruned, or None."""
    channels = node.params["weight"].shape[1]
    if place == 0:
        return "is the first, which is never pruned"
    if node.attrs["groups"] != 1:
        return f"has {node.attrs['groups']} groups, only layers with one are pruned"
    if channels < sub_row:
        return f"has {channels} input channels, fewer than L = {sub_row}"
    if node.attrs.get("linear") and not linear:
        return "is linear (option linear prunes those, too)"
    return None


def prune(
    graph: Graph,
    density: str | Density,
    layers: Iterable[str] | None = None,
    linear: bool = False,
    chooser: Callable[[Graph, int, bool], tuple[str, ...]] = prunable,
    images: NDArray[Any] | Tensor | None = None,
) -> Graph:
    """The Graph with `u`, `mask` and `density` on the pruned layers. Tiles must have been chosen before.

    With images the kept weights are adjusted to make good the pruned ones (compress/compensate.py); without, the
    largest weights stay as they are.
    """
    pair = parse_density(density)
    names = tuple(layers) if layers is not None else chooser(graph, pair[1], linear)
    for name in names:
        node = graph.node(name)
        if node.op != "conv" or node.attrs["groups"] != 1:
            raise ConfigError(f"layer {name}: only convolutions and linear layers with one group can be pruned")
    if images is not None:
        return prune_compensated(graph, names, pair, as_batch(graph, images))
    return graph.replace({name: prune_layer(graph.node(name), pair) for name in names})


def prune_layer(node: Node, density: Density) -> Node:
    """One conv node pruned to s/L in its tile's domain."""
    _, c, kh, kw = node.params["weight"].shape
    u = real_u(node, density[1])
    mask = project(u, density, c, kh * kw if tile_kind(node) is TileKind.DIRECT else 1)
    return node.with_params(u=as_float32(u * mask), mask=mask).with_attrs(density=density)
