"""Engines whose activation port carries two or four words a beat: RTL = emulator in outputs and bytes read, cycles as
estimated. The layers have odd widths, channel blocks and paddings, so that runs begin and end anywhere in a beat.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from subrow.devices import open_device
from subrow.devices.verilator import Verilator
from subrow.spec import hwconfig
from subrow.spec.program import Program, TensorInfo
from subrow.spec.roofline import traffic
from subrow.spec.timing import estimate
from tests.devices.assemble import Shape, change, feeds_of, make_layer, program_of

pytestmark = pytest.mark.verilator

TINY = hwconfig.load("tiny")
L = TINY.sub_row
PORTS = {p: dataclasses.replace(TINY, name=f"tiny-port{p}", act_port_words=p) for p in (2, 4)}
SHAPES = {
    "pool": Shape(tile=1, channels=16, outputs=24, h=9, w=11, pad=1, implicit=True, pool=True, relu=True),
    "blocks": Shape(tile=1, channels=24, outputs=20, h=9, w=11, pad=1, sub_s=2, block=(2, 3), resident=False),
    "residual": Shape(tile=2, channels=24, outputs=24, h=9, w=9, pad=1, sub_s=2, residual=True, block=(1, 2)),
    "passes": Shape(tile=1, channels=16, outputs=40, h=9, w=11, pad=1, sub_s=2, block=(2, 3), pass_kgs=2,
                    residual=True),
    "strided": Shape(tile=0, channels=12, outputs=24, h=9, w=7, kernel=(3, 3), stride=2, pad=1, sub_s=8),
    "max": Shape(tile=0, channels=16, outputs=16, h=11, w=14, kernel=(3, 3), stride=2, pad=1, grouped=True, sub_s=1,
                 max_window=True, block=(2, 4)),
    "up": Shape(tile=1, channels=16, outputs=16, h=7, w=9, pad=1, sub_s=2, upsample=True, block=(2, 3)),
    "whole-a": Shape(tile=0, channels=680, outputs=16, h=14, w=9, stride=2, sub_s=1, whole_a=True, block=(2, 3),
                     residual=True),
    "linear": Shape(tile=3, channels=24, outputs=10, h=7, w=7, kernel=(7, 7), sub_s=2, residual=True),
    "dot": Shape(tile=3, channels=100, outputs=20, h=1, w=1, sub_s=2),
}


@pytest.mark.parametrize("stall", (0.0, 0.3))
@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("port", PORTS)
def test_one_layer(port: int, name: str, stall: float, seed: int) -> None:
    hw = PORTS[port]
    layer = make_layer(hw, SHAPES[name], seed)
    program, feeds = program_of(hw, [layer]), feeds_of([layer])
    with open_device("emulator", hw) as emulator:
        emulator.load(program)
        expected = emulator.run(feeds)
    with Verilator(hw, stalls=(seed, stall)) as chip:
        chip.load(program)
        got = chip.run(feeds)
    np.testing.assert_array_equal(got.outputs["y"], expected.outputs["y"])
    assert len(np.unique(got.outputs["y"])) > 1
    record, ins = got.records[0], program.decoded()[0]
    assert record["read_bytes"] == expected.records[0]["read_bytes"] == traffic(ins, hw).read
    if not stall:
        guess = estimate([ins], hw).layers[0]
        assert abs(guess - record["cycles"]) <= max(30, 0.05 * record["cycles"]), f"{guess} for {record['cycles']}"


def sliced(hw: hwconfig.HwConfig, seed: int, block: tuple[int, int] | None) -> Program:
    """Three layers that each take one channel block of a tensor of three and write one of another, 11 pixels wide."""
    h, w = 9, 11
    part = Shape(tile=1, channels=8, outputs=8, h=h, w=w, pad=1, sub_s=2, block=block)
    first = make_layer(hw, Shape(tile=1, channels=8, outputs=24, h=h, w=w, pad=1), seed)
    program = program_of(hw, [first, *(make_layer(hw, part, seed + i) for i in (1, 2, 3))])
    t, s = (program.decoded()[i].out_offset for i in (0, 1))
    rows = {"in_row_bytes": 3 * w * L, "out_row_bytes": 3 * w * L}
    for i, (source, target) in enumerate(((1, 0), (2, 2), (0, 1)), start=1):
        program = change(program, i, in_offset=t + source * w * L, out_offset=s + target * w * L, **rows)
    return dataclasses.replace(program, outputs=(TensorInfo("y", (24, h, w), 1.0, s),))


@pytest.mark.parametrize("block", (None, (2, 3)))
@pytest.mark.parametrize("port", PORTS)
def test_slices(port: int, block: tuple[int, int] | None, seed: int) -> None:
    hw = PORTS[port]
    program = sliced(hw, seed, block)
    x = np.random.default_rng(seed).integers(-127, 128, (1, 8, 9, 11)).astype(np.int8)
    results = []
    for device in (open_device("emulator", hw), Verilator(hw, stalls=(seed, 0.2))):
        with device:
            device.load(program)
            results.append(device.run(x).outputs["y"])
    np.testing.assert_array_equal(results[0], results[1])
    assert len(np.unique(results[0])) > 5
