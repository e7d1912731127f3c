"""Speed of the emulator and of the simulated RTL, and what sparsity saves on single layers."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from subrow.api import compile
from subrow.devices import open_device
from subrow.devices.base import RunResult
from subrow.ir.graph import Graph, Node, as_float32
from subrow.passes.choose_tile import TileName
from subrow.report.measure import layer_rows
from subrow.spec.hwconfig import HwConfig
from subrow.spec.program import Program

Say = Callable[[str], None]
LAYERS = ((64, 56), (128, 28), (256, 14))
"""Channels in and out, height and width of the 3x3 layers: 115.6 M multiply-accumulates each."""
STEPS = (8, 4, 2, 1)
"""Kept weights of each sub-row of 8, dense first."""


@dataclass(frozen=True)
class EmulatorSpeed:
    """images_per_second of a Program on the emulator: wall clock, all its threads."""

    hw: str
    network: str
    density: str
    images: int
    images_per_second: float


@dataclass(frozen=True)
class LayerFigures:
    """One 3x3 layer at one density in the simulated RTL.

    ratio: cycles against those of the dense layer of the same tile, from the same run. cycles_per_second: simulated
    cycles of the whole Program by processor time.
    """

    hw: str
    channels: int
    size: int
    tile: str
    density: str
    cycles: int
    issue_rate: float
    ratio: float
    macs_per_multiplier_cycle: float
    bound: str
    bit_exact: bool
    cycles_per_second: float


def host() -> dict[str, str | int]:
    """The machine that measured."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").is_file() else ""
    name = re.search(r"^model name\s*:\s*(.*)$", text, re.M)
    return {"cpu": name[1] if name else platform.processor(), "cores": len(os.sched_getaffinity(0))}


def emulator_speed(hw: HwConfig, densities: tuple[str | None, ...], say: Say, images: int = 400) -> list[EmulatorSpeed]:
    """The demo network on the emulator, after one image to warm up."""
    from models.fashion_mnist import calibration_images, test_images
    from models.vgg_nagadomi import vgg_nagadomi_quarter

    model, calibration = vgg_nagadomi_quarter(), calibration_images().images
    pixels = test_images().images[:images]
    rows = []
    with open_device("emulator", hw) as emulator:
        for density in densities:
            say(f"emulator, {hw.name}, {density or 'dense'}")
            emulator.load(compile(model, calibration[:64], hw, density, "f2"))
            emulator.run(pixels[:1])
            start = time.perf_counter()
            emulator.run(pixels)
            rate = len(pixels) / (time.perf_counter() - start)
            rows.append(EmulatorSpeed(hw.name, "vgg-nagadomi-quarter", density or "dense", len(pixels), round(rate, 1)))
    return rows


def layer_graph(channels: int, size: int) -> Graph:
    """Random weights: a 1x1 layer, and behind it the 3x3 layer of interest (a network's first layer is not pruned)."""
    rng = np.random.default_rng(channels + size)
    nodes = [Node("x", "input", (), (8, size, size))]
    for name, inputs, kernel in (("first", 8, 1), ("layer", channels, 3)):
        weight = rng.standard_normal((channels, inputs, kernel, kernel)) / np.sqrt(inputs * kernel**2)
        attrs = {"stride": 1, "pad": (kernel // 2,) * 4, "groups": 1}
        shape = (channels, size, size)
        nodes.append(Node(name, "conv", (nodes[-1].name,), shape, attrs, {"weight": as_float32(weight)}))
        nodes.append(Node(f"{name}_relu", "relu", (name,), shape))
    return Graph(f"3x3-{channels}", (*nodes, Node("y", "output", ("layer_relu",), shape)))


def layer_figures(hw: HwConfig, layers: tuple[tuple[int, int], ...], tiles: tuple[TileName, ...],
                  say: Say) -> list[LayerFigures]:
    """Every layer at every density in the simulated RTL, each output compared with the emulator's."""
    rows: list[LayerFigures] = []
    for tile in tiles:
        for channels, size in layers:
            graph, dense = layer_graph(channels, size), 0
            x = np.random.default_rng(1).standard_normal((1, 8, size, size)).astype(np.float32)
            for s in STEPS:
                say(f"simulated RTL, {hw.name}, 3x3 {channels} channels {size}x{size}, {tile} {s}/{hw.sub_row}")
                program = compile(graph, x, hw, None if s == hw.sub_row else (s, hw.sub_row), tile)
                got, exact, speed = simulate(hw, program, x)
                row = layer_rows(program, got, hw)[-1]
                dense = dense or row.cycles
                rows.append(LayerFigures(
                    hw=hw.name, channels=channels, size=size, tile=tile, density=f"{s}/{hw.sub_row}",
                    cycles=row.cycles, issue_rate=round(row.utilisation, 4), ratio=round(row.cycles / dense, 4),
                    macs_per_multiplier_cycle=round(row.macs_per_multiplier_cycle, 3), bound=row.bound,
                    bit_exact=exact, cycles_per_second=round(speed),
                ))  # fmt: skip
    return rows


def simulate(hw: HwConfig, program: Program, x: NDArray[np.float32]) -> tuple[RunResult, bool, float]:
    """(the run in the simulated RTL, whether all outputs equal the emulator's, cycles per second of processor time)."""
    with open_device("emulator", hw) as emulator:
        emulator.load(program)
        expected = emulator.run(x)
    with open_device("verilator", hw) as chip:
        chip.load(program)
        start = time.process_time()
        got = chip.run(x)
        seconds = time.process_time() - start
    assert got.cycles is not None
    exact = all(np.array_equal(got.outputs[n], expected.outputs[n]) for n in expected.outputs)
    return got, exact, got.cycles[0] / seconds


def markdown_table(title: str, left: Sequence[str], right: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a heading and a table on a Markdown page: text columns, then number columns."""
    marks = ["---"] * len(left) + ["--:"] * len(right)
    lines = [f"| {' | '.join(cells)} |" for cells in ((*left, *right), marks, *rows)]
    return ["", f"## {title}", "", *lines]
