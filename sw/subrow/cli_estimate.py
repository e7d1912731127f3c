"""The command that estimates: `subrow estimate`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from subrow.cli_options import Bits, Density, Json, Linear, ShapeOption, Tile, TileOption, check_output
from subrow.console import output, print_json, say, share_bar, table
from subrow.source import hardware, load_program, parse_shape, refuse

if TYPE_CHECKING:
    from subrow.estimate import NetworkEstimate
    from subrow.ir.graph import Graph

HW = "tiny"
What = Annotated[str, typer.Argument(
    help="a Program (.subrow), vgg16, vgg_nagadomi, resnet18, resnet34, resnet50, resnet20, package.module:callable, "
    "or a .pt2 file of torch.export"
)]
Partial = Annotated[bool, typer.Option("--partial", help="leave out layers that fit no buffer, and name them")]


def estimate(
    model: What, hw: Annotated[str | None, typer.Option("--hw", help=f"HwConfig; {HW}, or a Program's own")] = None,
    density: Density = None, tile: TileOption = Tile.auto, linear: Linear = False, bits: Bits = None,
    shape: ShapeOption = None, partial: Partial = False,
    out: Annotated[Path | None, typer.Option("--out", help="roofline figure to write: .svg, or .html")] = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Estimate cycles and bytes of each layer from shapes alone: no images, no calibration, no simulation."""
    from subrow.estimate import to_json
    from subrow.estimate_figure import write

    if out is not None:
        check_output(out, "--out", ".html" if out.suffix == ".html" else ".svg")
    with share_bar("estimate") as progress:
        if Path(model).suffix == ".subrow":
            result = _of_program(Path(model), hw, {"--density": density, "--bits": bits, "--shape": shape,
                                                   "--linear": linear, "--tile": tile if tile != Tile.auto else None,
                                                   "--partial": partial})
        else:
            result = _of_network(model, hw or HW, density, tile, linear, bits, shape, partial, progress)
    if out is not None:
        write(result, out)
    if as_json:
        print_json(to_json(result))
        return
    show(result)
    if out is not None:
        say(f"wrote {out}")


def _of_program(path: Path, hw: str | None, given: dict[str, object]) -> NetworkEstimate:
    from subrow.estimate import estimate_program

    refuse(given, f"on {path}, which is compiled")
    return estimate_program(*load_program(path, hw))


def _of_network(
    model: str, hw: str, density: str | None, tile: Tile, linear: bool, bits: str | None, shape: str | None,
    partial: bool, progress: Callable[[str, float], None],
) -> NetworkEstimate:  # fmt: skip
    from subrow.api import density_for
    from subrow.compress.weight_bits import check_stored
    from subrow.estimate import NETWORKS, estimate_network, named_network

    config = hardware(hw)
    if bits is not None:
        check_stored(bits, config)
    kept = None if density is None else density_for(density, config)
    if density is None:
        refuse({"--linear": linear}, "without --density: nothing is pruned")
    progress("capture", 0.0)
    if model in NETWORKS:
        refuse({"--shape": shape}, f"on {model}, whose input is fixed")
        graph = named_network(model)
    else:
        graph = _stored(model, shape)
    return estimate_network(graph, config, kept, tile.value, linear, "", progress, partial, bits)


def _stored(model: str, shape: str | None) -> Graph:
    """A Graph that was stored, or the network that a name stands for."""
    from subrow.estimate import captured
    from subrow.ir.store import load_graph

    if Path(model).suffix == ".graph":
        refuse({"--shape": shape}, f"on {model}, whose input is fixed")
        return load_graph(model).graph
    return captured(model, parse_shape(shape) if shape else None)


def show(result: NetworkEstimate) -> None:
    """The table of layers and the totals."""
    cells = [
        (x.name, x.tile, x.density, str(x.bits), x.bound, f"{x.cycles:,}", f"{x.compute_cycles:,}",
         f"{x.memory_cycles:,}", f"{x.bytes:,}") for x in result.layers
    ]  # fmt: skip
    title = f"{result.network} on {result.hw.name} (estimated)"
    left, right = ("layer", "tile", "kept", "bits", "bound"), ("cycles", "compute", "memory", "bytes")
    output().print(table(title, left, right, cells))
    say(f"{result.cycles:,} cycles, {result.ms:.3f} ms at {result.hw.mhz:g} MHz, {result.fps:.1f} images per second "
        "(estimated)")  # fmt: skip
    if result.note:
        say(f"note: {result.note}")
