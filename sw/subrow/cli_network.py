"""The commands that start from a network: prune, quantize, compile."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from subrow.cli_options import (
    Bits,
    Calibration,
    Density,
    GraphOut,
    Hw,
    Json,
    Linear,
    Model,
    RandomCalibration,
    ShapeOption,
    Tile,
    TileOption,
    check_output,
)  # fmt: skip
from subrow.console import output, print_json, say, share_bar, table
from subrow.source import Compression, Source, hardware, source_of
from subrow.spec.errors import InputError

if TYPE_CHECKING:
    from subrow.spec.program import Program


def _start(
    out: Path, suffix: str, model: str, hw: str, how: Compression, calibration: Path | None, random: bool,
    shape: str | None,
) -> Source:  # fmt: skip
    """What the options name, once it is sure that density and bits fit and the result can be written."""
    check_output(out, "--out", suffix)
    if how.density is not None:
        from subrow.api import density_for

        density_for(how.density, hardware(hw))
    if how.bits is not None:
        from subrow.compress.weight_bits import check_stored

        check_stored(how.bits, hardware(hw))
    return source_of(model, hw, how, calibration, random, shape)


def prune(
    model: Model, density: Annotated[str, typer.Option(help="weights kept of every sub-row, s/L, such as 4/8")],
    out: GraphOut, hw: Hw = "tiny", tile: TileOption = Tile.auto, linear: Linear = False,
    calibration: Calibration = None, random_calibration: RandomCalibration = False, shape: ShapeOption = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Prune a network to s of L weights in every sub-row and estimate its batch-norm statistics again."""
    from subrow import losses
    from subrow.api import compressed
    from subrow.ir.store import save_graph

    how = Compression(density, tile.value, linear)
    source = _start(out, ".graph", model, hw, how, calibration, random_calibration, shape)
    images, config = source.calibration, source.hw
    with share_bar("prune") as progress:
        graph = compressed(source.model, images, config, density, tile.value, images, linear, progress)
        dense = compressed(source.model, images, config, None, tile.value, images)
        rows = losses.prune_losses(dense, graph, config)
        error = losses.output_error(dense, graph, images)
    save_graph(graph, out, config)
    count = losses.images_used(images)
    if as_json:
        print_json({"graph": str(out), "hw": config.name, "layers": [dataclasses.asdict(r) for r in rows],
                    "output_error": error, "images": count})  # fmt: skip
        return
    cells = [(r.name, r.tile, r.density, f"{r.weights:,}", f"{r.kept:,}", f"{r.weight_error:.3f}") for r in rows]
    output().print(table("Pruned", ("layer", "tile"), ("density", "weights", "kept", "weight change"), cells))
    say(f"outputs change by {error:.3f} (relative, 2-norm, {_images(count)}); wrote {out}")


def quantize(
    model: Model, out: GraphOut, hw: Hw = "tiny",
    density: Density = None, tile: TileOption = Tile.auto, linear: Linear = False, bits: Bits = None,
    calibration: Calibration = None, random_calibration: RandomCalibration = False, shape: ShapeOption = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Quantise a network, pruned or not, and report the error of each layer."""
    from subrow import losses
    from subrow.api import quantised
    from subrow.ir.store import save_graph

    how = Compression(density, tile.value, linear, bits)
    source = _start(out, ".graph", model, hw, how, calibration, random_calibration, shape)
    if source.stage == "quantised":
        raise InputError(f"model {model}: is already quantised; compile it, or quantize the network that it came from")
    images, config = source.calibration, source.hw
    with share_bar("quantize") as progress:
        graph = quantised(source.model, images, config, density, tile.value, images, linear, progress, bits)
        rows = losses.quant_losses(graph, config, images)
    save_graph(graph, out, config)
    count = losses.images_used(images)
    if as_json:
        print_json({"graph": str(out), "hw": config.name, "layers": [dataclasses.asdict(r) for r in rows],
                    "output_error": rows[-1].output_error, "images": count})  # fmt: skip
        return
    cells = [(r.name, r.tile, r.density, str(r.bits), f"{r.weight_error:.4f}", f"{r.output_error:.4f}") for r in rows]
    output().print(table("Quantised", ("layer", "tile"), ("density", "bits", "weight error", "output error"), cells))
    say(f"errors are relative (2-norm), outputs on {_images(count)}; wrote {out}")


def _images(count: int) -> str:
    return f"{count} image{'' if count == 1 else 's'}"


def compile_(
    model: Model, out: Annotated[Path, typer.Option(help="Program file to write (.subrow)")], hw: Hw = "tiny",
    density: Density = None, tile: TileOption = Tile.auto, linear: Linear = False, bits: Bits = None,
    calibration: Calibration = None, random_calibration: RandomCalibration = False, shape: ShapeOption = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Compile a network, or a Graph that prune or quantize wrote, to a Program."""
    from subrow import api

    how = Compression(density, tile.value, linear, bits)
    source = _start(out, ".subrow", model, hw, how, calibration, random_calibration, shape)
    with share_bar("compile") as progress:
        images, config = source.images, source.hw
        program = api.compile(source.model, images, config, density, tile.value, images, linear, progress, bits)
    program.save(out)
    layers = layer_weights(program)
    if as_json:
        print_json({
            "program": str(out), "digest": program.digest(), "name": program.name, "hw": program.hw_name,
            "layers": layers, "weight_bytes": int(program.weights.size), "arena_bytes": program.arena_bytes,
        })  # fmt: skip
        return
    cells = [(i["name"], i["tile"], i["density"], str(i["bits"]), f"{i['weight_bytes']:,}") for i in layers]
    output().print(table("Compiled", ("layer", "tile"), ("density", "bits", "weight bytes"), cells))
    say(f"{out}: {summary(program)}")


def layer_weights(program: Program) -> list[dict[str, Any]]:
    """What each layer keeps of its weights, and their bytes with indices and parameters."""
    return [
        {"name": i.name, "kind": i.kind, "tile": i.tile, "density": f"{i.density[0]}/{i.density[1]}",
         "bits": i.details["bits"], "weight_bytes": i.details["weight_bytes"]}
        for i in program.layers
    ]  # fmt: skip


def summary(program: Program) -> str:
    """A Program in one line: name, hardware, sizes in bytes, digest."""
    return (
        f"{program.name} for {program.hw_name}, {len(program.layers)} layers, {program.weights.size:,} weight bytes, "
        f"{program.arena_bytes:,} arena bytes, digest {program.digest()[:12]}"
    )
