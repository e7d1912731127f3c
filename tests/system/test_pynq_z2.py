"""The PYNQ-Z2 build of the engine, Verilated: 3x3 layers, bit for bit. `make bench` prints how fast it simulates."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from subrow.devices import RunResult, open_device
from subrow.spec import hwconfig
from tests.devices.assemble import Layer, Shape, feeds_of, make_layer, program_of

pytestmark = pytest.mark.verilator  # the first run builds for about a minute on two cores

SHAPES = {
    "f2-2/8": Shape(tile=1, channels=24, outputs=40, h=14, w=14, pad=1, sub_s=2, relu=True, block=(4, 7), ev=(1, 3)),
}


def both(layer: Layer) -> tuple[RunResult, RunResult]:
    """(emulator, verilator) RunResults of one layer."""
    hw = hwconfig.load("pynq-z2")
    program, feeds = program_of(hw, [layer]), feeds_of([layer])
    results = []
    for device in ("emulator", "verilator"):
        with open_device(device, hw) as opened:
            opened.load(program)
            results.append(opened.run(feeds))
    return results[0], results[1]


def check(layer: Layer, expected: RunResult, got: RunResult) -> None:
    reference = layer.expected(hwconfig.load("pynq-z2"))
    assert len(np.unique(reference)) > 50
    np.testing.assert_array_equal(expected.outputs["y"][0], reference)
    np.testing.assert_array_equal(got.outputs["y"][0], reference)
    assert got.records[0]["issued"] == expected.records[0]["issued"] == layer.issued


@pytest.mark.parametrize("name", SHAPES)
def test_small_layer_and_its_cycles(name: str) -> None:
    """Cycles are exact: see tests/golden/cycles-pynq-z2.json."""
    golden = json.loads((Path(__file__).parents[1] / "golden" / "cycles-pynq-z2.json").read_text())
    layer = make_layer(hwconfig.load("pynq-z2"), SHAPES[name], 1)
    expected, got = both(layer)
    check(layer, expected, got)
    assert {name: got.records[0]["cycles"]} == golden


@pytest.mark.slow
def test_whole_layer(seed: int) -> None:
    """64 -> 64 channels, 56x56."""
    shape = Shape(tile=1, channels=64, outputs=64, h=56, w=56, pad=1, sub_s=2, relu=True, block=(4, 14), ev=(1, 3))
    layer = make_layer(hwconfig.load("pynq-z2"), shape, seed)
    check(layer, *both(layer))
