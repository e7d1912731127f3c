"""The commands that start from Programs: disasm, verify, simulate, report."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from subrow.cli_options import Against, Bitfile, DeviceName, Json, ProgramHw, ProgramPath, check_folder, check_output
from subrow.console import load_array, output, print_json, save_array, say, step_bars, table, warn
from subrow.source import LayerCounter, load_images, load_program, refuse
from subrow.spec import program as programs
from subrow.spec.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from subrow.devices.base import Saturation
    from subrow.report.measure import LayerRow
    from subrow.spec.timing import Estimate

VERIFY_IMAGES, VERIFY_SEED = 4, 1


def _warn(saturated: Iterable[Saturation]) -> None:
    """Tells of inputs that the Program cannot represent."""
    for item in saturated:
        if item.excessive:
            warn(str(item))


def disasm(path: ProgramPath, as_json: Json = False) -> None:
    """Print a Program: its memory map and every instruction."""
    from subrow.emit.disasm import describe, disassemble

    program = programs.load(path)
    if as_json:
        print_json(describe(program))
    else:
        print(disassemble(program))


def verify(
    path: ProgramPath,
    images: Annotated[int | None, typer.Option(min=1, help=f"random images; {VERIFY_IMAGES} without it")] = None,
    inputs: Annotated[list[str] | None, typer.Option("--input", help="[name=]x.npy: these images instead")] = None,
    device: Annotated[DeviceName, typer.Option(help="what is verified")] = DeviceName.emulator,
    bitfile: Bitfile = None, hw: ProgramHw = None,
    seed: Annotated[int | None, typer.Option(min=0, help=f"of the random images; {VERIFY_SEED} without it")] = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Compare a device with the independent integer reference: every byte of every layer's output."""
    from subrow.board.start import opener, origin
    from subrow.devices.base import saturation
    from subrow.report import verify as checks
    from subrow.report.document import saturated_json

    if inputs:
        refuse({"--images": images, "--seed": seed}, "with --input, which takes the place of random images")
    program, config = load_program(path, hw)
    start = opener(device.value, config, bitfile, warn)
    saturated: list[Saturation] = []
    if inputs:
        arrays = load_images(program, inputs, None)
        feed = checks.as_inputs(program, arrays)
        saturated = [saturation(arrays[info.name], info) for info in program.inputs]
        count, batches = len(next(iter(feed.values()))), checks.batches_of(feed)
    else:
        count = images or VERIFY_IMAGES
        batches = checks.random_batches(program, count, VERIFY_SEED if seed is None else seed)
    _warn(saturated)
    with start() as opened, step_bars() as bars:
        opened.check_program(program)  # whole, before its first layers run
        task = bars.add_task("verify", total=len(program.layers) * count)
        rows = checks.verify_batches(program, opened, batches, lambda name, done: bars.advance(task, done))
    equal = all(r.equal for r in rows)
    if as_json:
        print_json({
            "program": str(path), "device": device.value, "origin": origin(device.value, bitfile),
            "images": count, "equal": equal,
            "bytes": sum(r.compared for r in rows), "saturated": saturated_json(saturated),
            "layers": [dataclasses.asdict(r) for r in rows],
        })  # fmt: skip
    else:
        cells = [(r.name, "equal" if r.equal else f"DIFFERS: {r.first}", f"{r.compared:,}", f"{r.different:,}")
                 for r in rows]  # fmt: skip
        title = f"{device.value} against the reference, {count} images"
        output().print(table(title, ("layer", "result"), ("bytes", "different"), cells))
    if not equal:
        raise typer.Exit(1)


def simulate(
    path: ProgramPath, inputs: Annotated[list[str], typer.Option("--input", help="[name=]x.npy, N x C x H x W")],
    out: Annotated[Path | None, typer.Option("--output", help=".npy for the outputs, real numbers")] = None,
    images: Annotated[int | None, typer.Option(min=1, help="only the first images")] = None, hw: ProgramHw = None,
    compare: Annotated[Against | None, typer.Option(help="estimate: the cycle model's figures beside these")] = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Run a Program in the simulated RTL, cycle by cycle, and compare every output with the emulator."""
    from subrow.devices import open_device
    from subrow.devices.base import saturation
    from subrow.report.document import layer_json, saturated_json
    from subrow.report.measure import layer_rows
    from subrow.report.verify import as_inputs
    from subrow.spec.timing import estimate

    if out is not None:
        check_output(out, "--output", ".npy")
    program, config = load_program(path, hw)
    arrays = load_images(program, inputs, images)
    if out is not None and len(program.outputs) > 1:
        raise InputError(f"the Program has outputs {', '.join(o.name for o in program.outputs)}; --output takes one")
    feed = as_inputs(program, arrays)
    saturated = [saturation(arrays[info.name], info) for info in program.inputs]
    _warn(saturated)
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
    guess = estimate(program.decoded(), config) if compare else None
    compared = sum(x.size for x in expected.values())
    if out is not None:
        save_array(out, result.real())
    if as_json:
        print_json({
            "program": str(path), "hw": config.name, "images": count, "cycles": list(cycles), "bit_exact": equal,
            "compared": compared, "saturated": saturated_json(saturated),
            "output": None if out is None else str(out), "layers": [layer_json(r) for r in rows],
            "origin": {"cycles": "simulated", "layers": "simulated", "bit_exact": "simulated",
                       "compared": "simulated", "saturated": "measured"},
            **({} if guess is None else {"estimate": _estimate_json(guess, rows, cycles[-1])}),
        })  # fmt: skip
    else:
        cells = [
            (r.name, r.tile, r.bound, f"{r.density[0]}/{r.density[1]}", f"{r.cycles:,}", f"{r.issued:,}") for r in rows
        ]
        title = f"{program.name} on {config.name}: {cycles[-1]:,} cycles per image (simulated)"
        output().print(table(title, ("layer", "tile", "bound"), ("density", "cycles", "issued"), cells))
        if guess is not None:
            output().print(_estimate_table(guess, rows, cycles[-1]))
        say(f"{count} images, {compared:,} output values: {'equal to' if equal else 'DIFFER from'} the emulator",
            None if equal else "red")  # fmt: skip
    if not equal:
        raise typer.Exit(1)


def _estimate_json(guess: Estimate, rows: Sequence[LayerRow], cycles: int) -> dict[str, Any]:
    """The cycle model against the simulation: errors are estimated / simulated - 1."""
    layers = [{"name": r.name, "cycles": c, "error": round(c / r.cycles - 1, 5)}
              for r, c in zip(rows, guess.layers, strict=True)]  # fmt: skip
    return {"cycles": guess.cycles, "error": round(guess.cycles / cycles - 1, 5), "layers": layers,
            "origin": "estimated"}  # fmt: skip


def _estimate_table(guess: Estimate, rows: Sequence[LayerRow], cycles: int) -> Table:
    """The same as a table, the whole run in its last row."""
    pairs = [(r.name, c, r.cycles) for r, c in zip(rows, guess.layers, strict=True)]
    cells = [(name, f"{a:,}", f"{b:,}", f"{100 * (a / b - 1):+.2f} %")
             for name, a, b in (*pairs, ("whole run", guess.cycles, cycles))]  # fmt: skip
    return table("Cycle model against the RTL", ("layer",), ("estimated", "simulated", "error"), cells)


def labels_of(paths: Sequence[Path]) -> list[str]:
    """A different label for each Program file: its name, or its path where names are equal.

    Raises InputError when a file is given twice.
    """
    files = [path.resolve() for path in paths]
    for path, file in zip(paths, files, strict=True):
        if files.count(file) > 1:
            raise InputError(f"Program {path}: given {files.count(file)} times; give each Program once")
    stems = [path.stem for path in paths]
    return [path.stem if stems.count(path.stem) == 1 else str(path) for path in paths]


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
    from subrow.devices.base import saturation
    from subrow.report import document
    from subrow.report.html import render
    from subrow.report.measure import check_feed, measure
    from subrow.report.tables import layers_table, programs_table, verdict
    from subrow.toolenv import tool_versions

    check_folder(out, f"--out {out}")
    names = labels_of(paths)
    images, marks = load_array(inputs), None if labels is None else load_array(labels, "labels")
    images = images[None] if images.ndim == 3 else images
    loaded = [load_program(path, hw) for path in paths]
    config = loaded[0][1]
    saturated = []
    for program, _ in loaded:
        program.check_hardware(config)
        saturated.append(saturation(images, check_feed(program, images, marks, simulate)))
    _warn(sorted(saturated, key=lambda s: s.share)[-1:])
    measurements = []
    with step_bars() as bars, open_device("emulator", config) as emulator:
        task = bars.add_task("report", total=len(loaded) * len(images))
        for label, (program, _) in zip(names, loaded, strict=True):
            bars.update(task, description=label)
            with open_device("verilator", config) as chip:
                measurements.append(measure(program, emulator, chip, images, marks, simulate, label,
                                            progress=lambda n: bars.advance(task, n)))  # fmt: skip
    networks = ", ".join(dict.fromkeys(m.program.name for m in measurements))
    made = document.Report(networks, config, tuple(measurements), measurements[-1], tool_versions())
    content = document.programs_json(measurements, config, made.tools)
    programs.write_atomic(out / "report.html", render(made, f"Subrow report: {networks}").encode())
    programs.write_atomic(out / "report.json", (json.dumps(content, indent=2) + "\n").encode())
    if as_json:
        print_json(content)
    else:
        output().print(programs_table(made), *(layers_table(m) for m in measurements))
        output().print(verdict(measurements))
        say(f"{out / 'report.json'}, {out / 'report.html'}")
    if not made.bit_exact:
        raise typer.Exit(1)
