"""The units' free-running 16-bit counters wrap inside one layer, and nobody notices."""

from __future__ import annotations

import numpy as np
import pytest

from subrow.devices import open_device
from subrow.devices.verilator import Verilator
from subrow.spec import hwconfig
from tests.devices.assemble import Shape, feeds_of, make_layer, program_of

pytestmark = pytest.mark.verilator

WRAP = 1 << 16
SHAPE = Shape(tile=0, channels=8, outputs=2056, h=32, w=32, sub_s=1, block=(1, 1), pass_kgs=1, residual=True)


def test_every_counter_wraps_in_one_layer(seed: int) -> None:
    """A pass for each of 257 groups over 256 blocks of one tile: rows, blocks, tile groups and units pass 2^16."""
    hw = hwconfig.load("tiny")
    layer = make_layer(hw, SHAPE, seed)
    ins = layer.ins
    blocks = ins.blocks_y * ins.blocks_x * ins.kgs  # passes of one group each: act_free, v_free
    assert ins.pass_kgs == 1 and set(ins.q_count) == {1}  # so many are q_ready, m_ready, m_free, o_ready, r_ready too
    assert blocks > WRAP and 2 * blocks > WRAP  # rows: two for each block
    program, feeds = program_of(hw, [layer]), feeds_of([layer])
    with open_device("emulator", hw) as emulator:
        emulator.load(program)
        expected = emulator.run(feeds)
    with Verilator(hw) as chip:
        chip.load(program)
        got = chip.run(feeds)
    np.testing.assert_array_equal(got.outputs["y"], expected.outputs["y"])
    assert got.records[0]["issued"] == expected.records[0]["issued"] == layer.issued
    assert len(np.unique(got.outputs["y"][0, -8:])) > 100  # of the last group, which is done after the wrap
