"""The roofline of a layer against the counters of its run: bytes are exact, cycles never below a figure."""

from __future__ import annotations

import pytest

from subrow.spec import hwconfig
from subrow.spec.roofline import Roofline, roofline, traffic
from tests.devices.assemble import make_layer, program_of
from tests.system.test_rtl_equals_emulator import SHAPES, both

HW = hwconfig.load("tiny")


@pytest.mark.verilator
@pytest.mark.parametrize("name", SHAPES)
def test_bytes_are_those_that_the_engine_moved(name: str) -> None:
    layer = make_layer(HW, SHAPES[name], 3)
    record = both(HW, [layer])[1].records[0]
    (ins,) = program_of(HW, [layer]).decoded()
    moved, figures = traffic(ins, HW), roofline(ins, HW)
    assert (moved.read, moved.weights) == (record["read_bytes"], record["weight_bytes"])
    assert figures.compute == record["issued"]
    assert max(figures.memory_cycles, figures.transform, figures.compute) <= record["cycles"]


def test_of_equals_the_memory_bounds() -> None:
    tie = Roofline(input=10, output=1, weights=2, memory=3, transform=4, compute=10)
    assert tie.bound == "input" and tie.memory_bound
    assert Roofline(1, 1, 1, 1, 1, 2).bound == "compute" and not Roofline(1, 1, 1, 1, 1, 2).memory_bound
    assert Roofline(1, 1, 1, 1, 3, 2).bound == "transform" and Roofline(1, 5, 1, 1, 3, 2).bound == "output"
