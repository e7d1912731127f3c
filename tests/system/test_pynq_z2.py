"""The PYNQ-Z2 build of the engine, Verilated: a whole 3x3 layer, bit for bit, at a useful speed."""

from __future__ import annotations

import time

import numpy as np
import pytest

from subrow.devices import open_device
from subrow.spec import hwconfig
from tests.devices.assemble import Shape, feeds_of, make_layer, program_of

LEAST_CYCLES_PER_SECOND = 100_000

pytestmark = [pytest.mark.verilator, pytest.mark.slow]  # g++ takes more than a minute for this build


def test_whole_layer_is_exact_and_fast(seed: int) -> None:
    """3x3, 64 -> 64 channels, 56x56, density 2/8; the speed is that of the process, whatever else the machine does."""
    hw = hwconfig.load("pynq-z2")
    shape = Shape(tile=1, channels=64, outputs=64, h=56, w=56, pad=1, sub_s=2, relu=True, block=(4, 14), ev=(1, 3))
    layer = make_layer(hw, shape, seed)
    program, feeds = program_of(hw, [layer]), feeds_of([layer])
    with open_device("emulator", hw) as emulator:
        emulator.load(program)
        expected = emulator.run(feeds)
    with open_device("verilator", hw) as chip:
        chip.load(program)
        start = time.process_time()
        got = chip.run(feeds)
        seconds = time.process_time() - start
    np.testing.assert_array_equal(got.outputs["y"], expected.outputs["y"])
    assert got.records[0]["issued"] == expected.records[0]["issued"] == layer.issued
    assert got.cycles is not None and got.cycles[0] > LEAST_CYCLES_PER_SECOND * seconds
