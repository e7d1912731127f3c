"""The device that only estimates: cycles and the counters that follow from instructions, no outputs."""

from __future__ import annotations

import numpy as np
import pytest

from subrow.devices import open_device
from subrow.spec import hwconfig
from subrow.spec.errors import DeviceError, ProgramError
from subrow.spec.timing import estimate
from tests.devices.assemble import Shape, feeds_of, make_layer, program_of

HW = hwconfig.load("tiny")


def test_cycles_and_records() -> None:
    layer = make_layer(HW, Shape(tile=1, channels=16, outputs=16, pad=1, sub_s=2), 1)
    program, feeds = program_of(HW, [layer]), feeds_of([layer])
    with open_device("cycles", HW) as device, open_device("emulator", HW) as emulator:
        device.load(program)
        emulator.load(program)
        got, real = device.run(feeds), emulator.run(feeds)
    expected = estimate(program.decoded(), HW)
    assert got.cycles == (expected.cycles,) and got.outputs == {} and got.device == "cycles"
    (record,) = got.records
    assert record["cycles"] == expected.layers[0]
    assert {k: record[k] for k in ("issued", "read_bytes", "weight_bytes")} == {
        k: real.records[0][k] for k in ("issued", "read_bytes", "weight_bytes")
    }


def test_needs_a_program_for_its_hardware() -> None:
    wide = hwconfig.load("wide")
    layer = make_layer(wide, Shape(), 1)
    with open_device("cycles", HW) as device:
        with pytest.raises(DeviceError, match="no Program is loaded"):
            device.run(np.zeros((1, 8, 8, 8), np.int8))
        with pytest.raises(ProgramError, match="compiled for HwConfig wide"):
            device.load(program_of(wide, [layer]))
