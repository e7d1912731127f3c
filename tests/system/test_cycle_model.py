"""The cycle model against the simulated RTL: whole networks, board layers, random layers; what `auto` makes of it."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from torch import nn

from models.fashion_mnist import calibration_images
from models.vgg_nagadomi import vgg_nagadomi_quarter
from subrow import passes
from subrow.api import compile
from subrow.bench.calibrate import Row, compare, random_case
from subrow.bench.figures import layer_graph
from subrow.compress.quantise import quantise
from subrow.compress.srbs import parse_density, prune
from subrow.emit.lower import lower
from subrow.frontend.torch_export import capture
from subrow.passes.choose_tile import TileName
from subrow.planning import with_tiles
from subrow.spec import hwconfig
from subrow.spec.program import Program

pytestmark = pytest.mark.verilator

HW, BOARD = hwconfig.load("tiny"), hwconfig.load("pynq-z2")
DENSITIES = (None, "4/8", "2/8")
RANDOM = 0.05
"""Of layers with short rows and a residual (docs/timing.md)."""


@functools.cache
def demo_rows(tile: TileName, density: str | None) -> tuple[Row, ...]:
    """The demo network, largest weights kept, linear layers dense; its last row is the whole run."""
    images = calibration_images().images[:8]
    pair = None if density is None else parse_density(density)
    graph = with_tiles(passes.lower_linear(capture(vgg_nagadomi_quarter(), images)), tile, HW, pair, False)
    graph = graph if pair is None else prune(graph, pair)
    program = lower(quantise(passes.run(graph, passes.AFTER_COMPRESSION), HW, images), HW)
    return tuple(compare(f"{tile} {density}", program, images))


def layer_program(channels: int, size: int, tile: TileName, density: str | None) -> Program:
    """A 1x1 and a 3x3 layer on the board, largest weights kept."""
    pair = None if density is None else parse_density(density)
    graph = with_tiles(passes.lower_linear(layer_graph(channels, size)), tile, BOARD, pair, False)
    graph = graph if pair is None else prune(graph, pair)
    x = np.random.default_rng(1).standard_normal((1, 8, size, size)).astype(np.float32)
    return lower(quantise(passes.run(graph, passes.AFTER_COMPRESSION), BOARD, x), BOARD)


def beyond(rows: tuple[Row, ...] | list[Row]) -> list[Row]:
    return [r for r in rows if not r.within]


@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("tile", ("f2", "f4"))
def test_demo_network(tile: TileName, density: str | None) -> None:
    rows = demo_rows(tile, density)
    assert len(rows) == 12 and not beyond(rows)
    assert abs(rows[-1].error) <= 0.01


@pytest.mark.parametrize("density", (*DENSITIES, "1/8"))
def test_auto_is_at_least_as_fast_as_the_better_tile(density: str | None) -> None:
    cycles = {tile: demo_rows(tile, density)[-1].simulated for tile in ("f2", "f4", "auto")}  # type: ignore[arg-type]
    assert cycles["auto"] <= min(cycles["f2"], cycles["f4"]), cycles
    assert abs(demo_rows("auto", density)[-1].error) <= 0.01


@pytest.mark.parametrize(
    ("channels", "size", "tile", "density"),
    [(64, 28, "f2", "2/8"), (64, 28, "f4", "4/8"), (128, 14, "f2", None), (256, 7, "f2", "1/8"), (96, 14, "f4", "2/8")],
)
def test_board_layers(channels: int, size: int, tile: TileName, density: str | None) -> None:
    x = np.zeros((1, 8, size, size), np.float32)
    rows = compare(f"{channels} {size}", layer_program(channels, size, tile, density), x)
    assert len(rows) == 3 and not beyond(rows)


@pytest.mark.parametrize(("channels", "size"), [(64, 29), (24, 56)])
def test_max_pool(channels: int, size: int) -> None:
    """As behind the stem of a ResNet: 3x3, stride 2."""
    x = np.random.default_rng(1).standard_normal((1, channels, size, size)).astype(np.float32)
    program = compile(nn.Sequential(nn.MaxPool2d(3, 2, 1)), x, BOARD)
    rows = compare("max pool", program, x)
    assert len(rows) == 2 and not beyond(rows)


def test_random_layers(seed: int) -> None:
    found = [c for s in range(seed, seed + 8) if (c := random_case(s)) is not None]
    assert len(found) >= 4
    rows = [r for case in found for r in compare(*case)[:-1]]
    off = [r for r in rows if not r.within and abs(r.error) > RANDOM]
    assert off == []
    assert sum(abs(r.error) for r in rows) / len(rows) <= 0.01
