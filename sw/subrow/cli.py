"""The `subrow` command. Exit codes: 0 done, 1 the check failed, 2 usage or input error, 3 a needed tool is missing."""

from __future__ import annotations

import dataclasses
import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.markup import escape

from subrow.console import errors, load_array, output, print_json, save_array, share_bar, step_bars, table
from subrow.source import LayerCounter, Source, load_images, load_program, source_of
from subrow.spec import program as programs
from subrow.spec.errors import InputError, MissingTool, SubrowError

if TYPE_CHECKING:
    from subrow.ir.graph import Graph

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)


class Tile(StrEnum):
    auto = "auto"
    f2 = "f2"
    f4 = "f4"
    direct = "direct"


class DeviceName(StrEnum):
    emulator = "emulator"
    verilator = "verilator"


ProgramPath = Annotated[Path, typer.Argument(help="a Program file (.subrow)")]
Model = Annotated[str, typer.Argument(
    help="package.module:callable, a .pt2 file of torch.export, or a .graph file of prune or quantize"
)]
Hw = Annotated[str, typer.Option(help="HwConfig: a name in hw/configs, or a path to a .toml")]
ProgramHw = Annotated[str | None, typer.Option("--hw", help="HwConfig; without it, the one that the Program names")]
Density = Annotated[str | None, typer.Option(help="weights kept of every sub-row, s/L, such as 2/8; without it: dense")]
TileOption = Annotated[Tile, typer.Option(help="Winograd tile of 3x3 layers; auto chooses for each layer")]
Linear = Annotated[bool, typer.Option("--linear", help="prune linear layers, too")]
Calibration = Annotated[Path | None, typer.Option(help=".npy with N x C x H x W images like those it will see")]
RandomCalibration = Annotated[bool, typer.Option(
    "--random-calibration", help="calibrate on random images: for trials of speed only, accuracy will be poor"
)]
ShapeOption = Annotated[str | None, typer.Option("--shape", help="input C,H,W; without it, that of the calibration")]
Json = Annotated[bool, typer.Option("--json", help="one JSON document on standard output")]


def float_graph(source: Source, tile: Tile) -> Graph:
    from subrow.api import compressed

    return compressed(source.model, source.images, source.hw, None, tile.value, source.images)


@app.command()
def prune(
    model: Model, density: Annotated[str, typer.Option(help="weights kept of every sub-row, s/L, such as 4/8")],
    out: Annotated[Path, typer.Option(help="Graph file to write (.graph)")], hw: Hw = "tiny",
    tile: TileOption = Tile.auto, linear: Linear = False, calibration: Calibration = None,
    random_calibration: RandomCalibration = False, shape: ShapeOption = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Prune a network to s of L weights in every sub-row and estimate its batch-norm statistics again."""
    from subrow import losses
    from subrow.api import compressed
    from subrow.ir.store import save_graph

    source = source_of(model, hw, calibration, random_calibration, shape)
    with share_bar("prune") as progress:
        graph = compressed(source.model, source.images, source.hw, density, tile.value, source.images, linear, progress)
        dense = float_graph(source, tile)
        rows = losses.prune_losses(dense, graph, source.hw)
        error = losses.output_error(dense, graph, source.images)
    save_graph(graph, out, source.hw)
    if as_json:
        print_json({"graph": str(out), "hw": source.hw.name, "layers": [dataclasses.asdict(r) for r in rows],
                    "output_error": error})  # fmt: skip
        return
    cells = [(r.name, r.tile, r.density, f"{r.weights:,}", f"{r.kept:,}", f"{r.weight_error:.3f}") for r in rows]
    output().print(table("Pruned", ("layer", "tile"), ("density", "weights", "kept", "weight change"), cells))
    output().print(f"outputs change by {error:.3f} (relative, 2-norm, {losses.IMAGES} images); wrote {out}",
                   soft_wrap=True, highlight=False)  # fmt: skip


@app.command()
def quantize(
    model: Model, out: Annotated[Path, typer.Option(help="Graph file to write (.graph)")], hw: Hw = "tiny",
    density: Density = None, tile: TileOption = Tile.auto, linear: Linear = False, calibration: Calibration = None,
    random_calibration: RandomCalibration = False, shape: ShapeOption = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Quantise a network, pruned or not, and report the error of each layer."""
    from subrow import losses
    from subrow.api import quantised
    from subrow.ir.store import save_graph

    source = source_of(model, hw, calibration, random_calibration, shape)
    with share_bar("quantize") as progress:
        graph = quantised(source.model, source.images, source.hw, density, tile.value, source.images, linear, progress)
        rows = losses.quant_losses(graph, source.hw, source.images)
    save_graph(graph, out, source.hw)
    if as_json:
        print_json({"graph": str(out), "hw": source.hw.name, "layers": [dataclasses.asdict(r) for r in rows],
                    "output_error": rows[-1].output_error})  # fmt: skip
        return
    cells = [(r.name, r.tile, r.density, f"{r.weight_error:.4f}", f"{r.output_error:.4f}") for r in rows]
    output().print(table("Quantised", ("layer", "tile"), ("density", "weight error", "output error"), cells))
    output().print(f"errors are relative (2-norm), outputs on {losses.IMAGES} images; wrote {out}", soft_wrap=True,
                   highlight=False)  # fmt: skip


@app.command(name="compile")
def compile_(
    model: Model, out: Annotated[Path, typer.Option(help="Program file to write (.subrow)")], hw: Hw = "tiny",
    density: Density = None, tile: TileOption = Tile.auto, linear: Linear = False, calibration: Calibration = None,
    random_calibration: RandomCalibration = False, shape: ShapeOption = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Compile a network, or a Graph that prune or quantize wrote, to a Program."""
    from subrow import api

    source = source_of(model, hw, calibration, random_calibration, shape)
    with share_bar("compile") as progress:
        images, config = source.images, source.hw
        program = api.compile(source.model, images, config, density, tile.value, images, linear, progress)
    program.save(out)
    if as_json:
        print_json({
            "program": str(out), "digest": program.digest(), "name": program.name, "hw": program.hw_name,
            "layers": len(program.layers), "weight_bytes": int(program.weights.size),
            "arena_bytes": program.arena_bytes,
        })  # fmt: skip
        return
    output().print(
        f"{out}: {program.name} for {program.hw_name}, {len(program.layers)} layers, {program.weights.size:,} weight "
        f"bytes, {program.arena_bytes:,} arena bytes, digest {program.digest()[:12]}", soft_wrap=True, highlight=False,
    )  # fmt: skip


@app.command()
def disasm(path: ProgramPath, as_json: Json = False) -> None:
    """Print a Program: its memory map and every instruction."""
    from subrow.emit.disasm import disassemble

    program = programs.load(path)
    if as_json:
        rows = [dict(ins.values) for ins in program.decoded()]
        print(json.dumps({"name": program.name, "hw": program.hw_name, "instructions": rows}))
    else:
        print(disassemble(program))


@app.command()
def verify(
    path: ProgramPath, images: Annotated[int, typer.Option(min=1, help="random images")] = 4,
    inputs: Annotated[list[str] | None, typer.Option("--input", help="[name=]x.npy: these images instead")] = None,
    device: Annotated[DeviceName, typer.Option(help="what is verified")] = DeviceName.emulator,
    hw: ProgramHw = None, seed: Annotated[int, typer.Option(help="of the random images")] = 1, as_json: Json = False,
) -> None:  # fmt: skip
    """Compare a device with the independent integer reference: every byte of every layer's output."""
    from subrow.devices import open_device
    from subrow.report import verify as checks

    program, config = load_program(path, hw)
    with open_device("emulator", config) as emulator:
        emulator.load(program)  # the one device that checks every limit of every instruction
    feed = checks.random_inputs(program, images, seed)
    if inputs:
        feed = checks.as_inputs(program, load_images(program, inputs, None))
        images = len(next(iter(feed.values())))
    with step_bars() as bars, open_device(device.value, config) as opened:
        task = bars.add_task("verify", total=len(program.layers))
        rows = checks.verify(program, opened, feed, lambda name: bars.advance(task))
    equal = all(r.equal for r in rows)
    if as_json:
        print_json({
            "program": str(path), "device": device.value, "images": images, "equal": equal,
            "bytes": sum(r.compared for r in rows), "layers": [dataclasses.asdict(r) for r in rows],
        })  # fmt: skip
    else:
        cells = [(r.name, "equal" if r.equal else f"DIFFERS: {r.first}", f"{r.compared:,}", f"{r.different:,}")
                 for r in rows]  # fmt: skip
        title = f"{device.value} against the reference, {images} images"
        output().print(table(title, ("layer", "result"), ("bytes", "different"), cells))
    if not equal:
        raise typer.Exit(1)


@app.command()
def simulate(
    path: ProgramPath, inputs: Annotated[list[str], typer.Option("--input", help="[name=]x.npy, N x C x H x W")],
    out: Annotated[Path | None, typer.Option("--output", help=".npy for the outputs, real numbers")] = None,
    images: Annotated[int | None, typer.Option(min=1, help="only the first images")] = None, hw: ProgramHw = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Run a Program in the simulated RTL, cycle by cycle, and compare every output with the emulator."""
    from subrow.devices import open_device
    from subrow.report.document import layer_json
    from subrow.report.measure import layer_rows

    program, config = load_program(path, hw)
    feed = load_images(program, inputs, images)
    if out is not None and len(program.outputs) > 1:
        raise InputError(f"the Program has outputs {', '.join(o.name for o in program.outputs)}; --output takes one")
    count = len(next(iter(feed.values())))
    with step_bars() as bars:
        task = bars.add_task("emulate", total=count * len(program.layers))
        with open_device("emulator", config) as emulator:
            emulator.load(program)
            expected = emulator.run(feed).outputs
        done = LayerCounter(len(program.layers))
        step = lambda _, layer: bars.update(task, completed=done(layer), description=f"simulate layer {layer}")  # noqa: E731
        with open_device("verilator", config, progress=step) as chip:
            chip.load(program)
            result = chip.run(feed)
        bars.update(task, completed=count * len(program.layers), description="simulate")
    equal = all(np.array_equal(result.outputs[name], x) for name, x in expected.items())
    rows, cycles = layer_rows(program, result, config), result.cycles or ()
    if out is not None:
        save_array(out, result.real())
    if as_json:
        print_json({
            "program": str(path), "hw": config.name, "images": count, "cycles": list(cycles), "bit_exact": equal,
            "output": None if out is None else str(out), "layers": [layer_json(r) for r in rows],
            "origin": {"cycles": "simulated", "layers": "simulated", "bit_exact": "simulated"},
        })  # fmt: skip
    else:
        cells = [
            (r.name, r.tile, r.bound, f"{r.density[0]}/{r.density[1]}", f"{r.cycles:,}", f"{r.issued:,}") for r in rows
        ]
        title = f"{program.name} on {config.name}: {cycles[-1]:,} cycles per image (simulated)"
        output().print(table(title, ("layer", "tile", "bound"), ("density", "cycles", "issued"), cells))
        output().print(f"{count} images, {sum(x.size for x in expected.values())} output values: "
                       + ("equal to the emulator" if equal else "[red]DIFFER from the emulator[/]"))  # fmt: skip
    if not equal:
        raise typer.Exit(1)


@app.command()
def report(
    paths: Annotated[list[Path], typer.Argument(help="Program files for one HwConfig")],
    inputs: Annotated[Path, typer.Option("--input", help=".npy with N x C x H x W images")],
    labels: Annotated[Path | None, typer.Option(help=".npy with N labels: adds accuracy")] = None,
    simulate: Annotated[int, typer.Option(min=1, help="images in the simulated RTL")] = 1, hw: ProgramHw = None,
    out: Annotated[Path, typer.Option(help="folder of report.json and report.html")] = Path("build/report"),
    as_json: Json = False,
) -> None:  # fmt: skip
    """Run Programs on the emulator and in the simulated RTL; write a table, JSON and HTML."""
    from subrow.devices import open_device
    from subrow.report import document
    from subrow.report.html import render
    from subrow.report.measure import measure
    from subrow.report.tables import layers_table, programs_table, verdict
    from subrow.toolenv import tool_versions

    images, marks = load_array(inputs), None if labels is None else load_array(labels, "labels")
    loaded = [(path, *load_program(path, hw)) for path in paths]
    config = loaded[0][2]
    measurements = []
    stems = [path.stem for path in paths]
    with step_bars() as bars, open_device("emulator", config) as emulator:
        task = bars.add_task("report", total=len(loaded) * len(images))
        for path, program, _ in loaded:
            program.check_hardware(config)
            label = path.stem if stems.count(path.stem) == 1 else str(path)
            bars.update(task, description=label)
            with open_device("verilator", config) as chip:
                measurements.append(measure(program, emulator, chip, images, marks, simulate, label,
                                            progress=lambda n: bars.advance(task, n)))  # fmt: skip
    names = ", ".join(dict.fromkeys(m.program.name for m in measurements))
    made = document.Report(names, config, tuple(measurements), measurements[-1], tool_versions())
    content = document.programs_json(measurements, config, made.tools)
    programs.write_atomic(out / "report.html", render(made, f"Subrow report: {names}").encode())
    programs.write_atomic(out / "report.json", (json.dumps(content, indent=2) + "\n").encode())
    if as_json:
        print_json(content)
    else:
        output().print(programs_table(made), *(layers_table(m) for m in measurements))
        output().print(verdict(measurements))
        output().print(f"{out / 'report.json'}, {out / 'report.html'}", soft_wrap=True, highlight=False)
    if not made.bit_exact:
        raise typer.Exit(1)


def main() -> None:
    """Entry point: turns SubrowErrors into one line and the documented exit code."""
    try:
        app()
    except MissingTool as error:
        _fail(error, 3)
    except SubrowError as error:
        _fail(error, 2)
    except OSError as error:
        _fail(error, 2)


def _fail(error: Exception, code: int) -> None:
    errors().print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True, highlight=False)
    sys.exit(code)


if __name__ == "__main__":
    main()
