"""From a network to the instructions that decide its speed, without weights, scales or calibration."""

from __future__ import annotations

from collections.abc import Mapping

from subrow import passes
from subrow.compress.srbs import Density, prunable
from subrow.compress.weight_bits import Bits, with_bits
from subrow.emit.legal import check
from subrow.emit.plan import Planned, choose_tiles, misfits, plan
from subrow.emit.stem import rearranged
from subrow.ir.graph import Graph
from subrow.ir.verify import verify
from subrow.passes.choose_tile import TileName, choose_tile
from subrow.spec.errors import CapacityError, UnsupportedError
from subrow.spec.hwconfig import HwConfig


def densities_of(graph: Graph, density: Density | None, linear: bool) -> dict[str, Density]:
    """The density of each layer that pruning to `density` prunes."""
    return {} if density is None else {name: density for name in prunable(graph, density[1], linear)}


def lowered(graph: Graph, hw: HwConfig) -> Graph:
    """A captured Graph behind `lower_linear`, made to fit a HwConfig: means over maps that fit no buffer are those of
    the means of rows, and what concats read fills whole channel blocks.
    """
    done = verify(passes.lower_linear(graph), "lower_linear")
    means = {n.name for n in graph if passes.is_mean(graph, n)}
    large = means & misfits(done, hw, {}).keys() if means else means
    if large:
        halves = verify(passes.split_means(graph, large), "split_means")
        done = verify(passes.lower_linear(halves), "lower_linear")
    return verify(passes.align_concats(done, hw.sub_row), "align_concats")


def with_tiles(graph: Graph, tile: TileName, hw: HwConfig, density: Density | None, linear: bool) -> Graph:
    """A Graph behind `lower_linear` with tiles chosen; `auto` asks the cycle model at the density to come."""
    tiles = None
    if tile == "auto":
        fused = passes.run(graph, passes.AFTER_COMPRESSION)
        try:
            check(fused, hw.sub_row)
        except UnsupportedError:
            tiles = None  # nothing to choose for: `lower` says why there is no Program
        else:
            tiles = choose_tiles(fused, hw, densities_of(graph, density, linear))
    return verify(choose_tile(graph, tile, tiles), "choose_tile")


def plan_network(
    graph: Graph, tile: TileName, hw: HwConfig, density: Density | None, linear: bool, partial: bool = False,
    bits: Bits | None = None,
) -> tuple[list[Planned], dict[str, str]]:
    """(the instructions of a captured Graph as `compile` would choose them, without the numbers of its weights; layers
    left out and why).

    Raises UnsupportedError for what the engine has no instruction for, and, at once, CapacityError for a layer that
    fits no buffer, unless `partial` leaves those out.
    """
    graph = with_bits(lowered(graph, hw), bits, hw)
    densities = densities_of(graph, density, linear)
    fused = passes.run(choose_tile(graph, tile), passes.AFTER_COMPRESSION)
    check(fused, hw.sub_row)
    out = misfits(fused if tile != "auto" else passes.run(graph, passes.AFTER_COMPRESSION), hw, densities)
    if out and not partial:
        more = f"; {len(out) - 1} more layers fit no buffer" if len(out) > 1 else ""
        raise CapacityError(f"{next(iter(out.values()))}{more}")
    graph = with_tiles(graph, tile, hw, density, linear)
    fused = passes.run(graph, passes.AFTER_COMPRESSION)
    return plan(rearranged(fused, hw, {*densities, *out}), hw, densities, out), out


def plan_tiled(graph: Graph, hw: HwConfig, densities: Mapping[str, Density]) -> list[Planned]:
    """The instructions of a Graph whose tiles are chosen, every layer at its own density; dense without one.

    Raises UnsupportedError for what the engine has no instruction for, CapacityError for a layer that fits no buffer.
    """
    fused = passes.run(graph, passes.AFTER_COMPRESSION)
    check(fused, hw.sub_row)
    return plan(rearranged(fused, hw, densities), hw, densities)
