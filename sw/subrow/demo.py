"""The demo: a trained network to Programs, dense and SRBS, run on the emulator and in the simulated RTL."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from subrow.api import compile
from subrow.compress.stages import module_accuracy
from subrow.console import save_array, step_bars
from subrow.devices import open_device
from subrow.passes.choose_tile import TileName
from subrow.report.document import Report, demo_json
from subrow.report.html import render
from subrow.report.measure import DENSE, Measurement, measure
from subrow.report.tables import layers_table, programs_table, verdict
from subrow.spec import hwconfig
from subrow.spec.errors import InputError
from subrow.spec.program import write_atomic
from subrow.toolenv import tool_versions

TITLE = "Subrow demo: balanced sparsity in the Winograd domain"
NETWORK = "VGG-nagadomi, a quarter wide, Fashion-MNIST"
NOTES = (
    "The pruned Programs were not retrained: kept weights and batch-norm statistics were adjusted on a few hundred "
    "calibration images without labels, no more.",
    "All layers but the first are pruned. At batch 1 a fully connected layer fills one of the array's eight output "
    "positions, so these three take more cycles than their share of the work.",
)


def losses_note(report: Report) -> str:
    """One sentence on the Programs whose accuracy is more than a point below the dense one of their tile."""
    worse = []
    for m in report.measurements:
        dense = report.dense(m)
        if dense and None not in (m.accuracy, dense.accuracy) and dense.accuracy - m.accuracy > 1:  # type: ignore[operator]
            worse.append(f"{m.label} ({m.accuracy:.1f} %)")
    if not worse:
        return "Every pruned Program stays within one point of the dense one of its tile."
    return f"Not usable as they are: {', '.join(worse)} lose more than one point against dense and need retraining."


@dataclass(frozen=True)
class Options:
    """What the demo runs; the defaults are those of `make demo`."""

    out: Path = Path("build/demo")
    hw: str = "tiny"
    tiles: tuple[TileName, ...] = ("f2", "f4")
    densities: tuple[str | None, ...] = (None, "4/8", "2/8")
    headline: tuple[TileName, str | None] = ("f2", "4/8")
    calibration: int = 256  # training images without labels
    images: int = 1000  # test images on the emulator
    simulate: int = 2  # of them, in the simulated RTL


def run(options: Options, console: Console, out: Console) -> dict[str, Any]:
    """Everything; returns the JSON document that also lies in `options.out`. Tables go to `out`, bars to `console`."""
    from models.fashion_mnist import calibration_images, test_images
    from models.vgg_nagadomi import vgg_nagadomi_quarter

    test, calibration = test_images(), calibration_images().images[: options.calibration]
    if not 1 <= options.simulate <= options.images <= len(test.images):
        raise InputError(
            f"{options.images} images, {options.simulate} of them simulated: 1 <= simulated <= images <= "
            f"{len(test.images)} must hold"
        )
    images, labels = test.images[: options.images], test.labels[: options.images]
    model = vgg_nagadomi_quarter()
    hw = hwconfig.load(options.hw)
    _save_arrays(options.out, calibration, images, labels)
    measurements: list[Measurement] = []
    with step_bars(console) as bars, open_device("emulator", hw) as emulator:
        cases = [(tile, density) for tile in options.tiles for density in options.densities]
        steps = bars.add_task("float32 accuracy", total=len(cases))
        float_accuracy = round(module_accuracy(model, (images, labels)), 3)
        for tile, density in cases:
            label = f"{tile} {density or DENSE}"
            bars.update(steps, description=f"{label}: prune, quantise, compile")
            program = compile(model, calibration, hw, density, tile, calibration, linear=True)
            program.save(options.out / f"vgg-{tile}-{(density or DENSE).replace('/', 'of')}.subrow")
            bars.update(steps, description=f"{label}: emulate, simulate")
            task = bars.add_task(f"{label}: images", total=len(images))
            with open_device("verilator", hw) as chip:
                measurements.append(
                    measure(program, emulator, chip, images, labels, options.simulate, label, True,
                            lambda n, task=task: bars.advance(task, n))  # type: ignore[misc]
                )
            bars.remove_task(task)
            bars.advance(steps)
        bars.update(steps, description="done")
    chosen = options.headline[0], options.headline[1] or DENSE
    headline = next(m for m in measurements if (m.tile, m.density) == chosen)
    report = Report(NETWORK, hw, tuple(measurements), headline, tool_versions(), float_accuracy)
    document = demo_json(report)
    write_atomic(options.out / "report.html", render(report, TITLE, (losses_note(report), *NOTES)).encode())
    write_atomic(options.out / "report.json", (json.dumps(document, indent=2) + "\n").encode())
    out.print(programs_table(report), layers_table(headline))
    out.print(losses_note(report), soft_wrap=True, highlight=False)
    out.print(verdict(measurements))
    out.print(f"{options.out / 'report.json'}, {options.out / 'report.html'}", highlight=False, soft_wrap=True)
    return document


def _save_arrays(out: Path, calibration: np.ndarray, images: np.ndarray, labels: np.ndarray) -> None:
    """calibration.npy, images.npy and labels.npy, as the other commands take them."""
    for name, array in (("calibration", calibration), ("images", images), ("labels", labels)):
        save_array(out / f"{name}.npy", array)
