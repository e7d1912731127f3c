"""Whole engine: the Verilated RTL equals the emulator on every bit, with and without stalls on every AXI channel."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from subrow.devices import open_device
from subrow.devices.verilator import Verilator
from subrow.spec import hwconfig
from subrow.spec.errors import DeviceError, ProgramError
from tests.devices.assemble import Layer, Shape, feeds_of, make_layer, program_of

pytestmark = pytest.mark.verilator

SHAPES = {
    "f2-dense": Shape(tile=1, channels=16, outputs=16, h=8, w=8, pad=1, ev=(1, 3)),
    "f2-implicit-pool": Shape(tile=1, channels=16, outputs=16, h=9, w=11, pad=1, implicit=True, pool=True, relu=True),
    "f2-1/8": Shape(tile=1, channels=16, outputs=16, h=8, w=8, pad=1, sub_s=1),
    "f2-2/8-blocks": Shape(tile=1, channels=20, outputs=20, h=9, w=11, pad=1, sub_s=2, block=(2, 3), resident=False),
    "f2-passes": Shape(tile=1, channels=16, outputs=40, h=9, w=11, pad=1, sub_s=2, block=(2, 3), pass_kgs=2,
                       residual=True),
    "f4-4/8": Shape(tile=2, channels=16, outputs=16, h=12, w=10, pad=1, sub_s=4, ev=(2, 6), em=(0, 3)),
    "f4-residual": Shape(tile=2, channels=16, outputs=16, h=9, w=9, pad=1, sub_s=2, residual=True, block=(1, 2)),
    "direct-1x1": Shape(tile=0, channels=24, outputs=16, h=7, w=7, sub_s=2),
    "direct-3x3-s2": Shape(tile=0, channels=12, outputs=24, h=9, w=7, kernel=(3, 3), stride=2, pad=1, sub_s=8),
    "grouped": Shape(tile=0, channels=16, outputs=16, h=6, w=6, kernel=(3, 3), pad=1, grouped=True, sub_s=1),
    "max-3x3-s2": Shape(tile=0, channels=16, outputs=16, h=11, w=14, kernel=(3, 3), stride=2, pad=1, grouped=True,
                        sub_s=1, max_window=True, block=(2, 4)),
    "leaky": Shape(tile=1, channels=16, outputs=16, h=9, w=8, pad=1, sub_s=2, leaky=True, residual=True),
    "up": Shape(tile=1, channels=16, outputs=16, h=7, w=9, pad=1, sub_s=2, upsample=True, block=(2, 3)),
    "whole-v": Shape(tile=0, channels=480, outputs=16, h=5, w=6, kernel=(3, 3), stride=2, pad=1, sub_s=1, whole_v=True,
                     block=(1, 2), resident=False),
    "whole-a": Shape(tile=0, channels=680, outputs=16, h=14, w=9, stride=2, sub_s=1, whole_a=True, block=(2, 3),
                     residual=True),
    "lanes": Shape(tile=3, channels=100, outputs=20, h=1, w=1, sub_s=2),
    "lanes-map": Shape(tile=3, channels=24, outputs=10, h=7, w=7, kernel=(7, 7), sub_s=2, leaky=True, residual=True),
    "lanes-dense": Shape(tile=3, channels=64, outputs=33, h=3, w=2, kernel=(3, 2), sub_s=8, implicit=True, ev=(0, 2),
                         em=(0, 2), relu=True, resident=False),
    "f2-narrow": Shape(tile=1, channels=20, outputs=20, h=9, w=11, pad=1, sub_s=3, block=(2, 3), resident=False,
                       narrow=True, ev=(0, 3), em=(0, 3)),
    "f4-narrow-implicit": Shape(tile=2, channels=16, outputs=24, h=9, w=9, pad=1, implicit=True, narrow=True, pool=True,
                                block=(1, 2)),
    "lanes-narrow": Shape(tile=3, channels=100, outputs=20, h=1, w=1, sub_s=1, narrow=True),
    "linear": Shape(tile=0, channels=64, outputs=10, h=1, w=1, sub_s=4),
}


def both(hw: hwconfig.HwConfig, layers: list[Layer], **options: object):
    """(emulator, verilator) RunResults of the same Program and inputs."""
    program, feeds = program_of(hw, layers), feeds_of(layers)
    with open_device("emulator", hw) as emulator:
        emulator.load(program)
        expected = emulator.run(feeds)
    with Verilator(hw, **options) as chip:  # type: ignore[arg-type]
        chip.load(program)
        return expected, chip.run(feeds)


@pytest.mark.parametrize("stall", (0.0, 0.3))
@pytest.mark.parametrize("name", SHAPES)
def test_one_layer(name: str, stall: float, seed: int) -> None:
    hw = hwconfig.load("tiny")
    layer = make_layer(hw, SHAPES[name], seed)
    expected, got = both(hw, [layer], stalls=(seed, stall))
    np.testing.assert_array_equal(got.outputs["y"], expected.outputs["y"])
    assert len(np.unique(got.outputs["y"])) > 1
    assert got.records[0]["issued"] == expected.records[0]["issued"]
    record = got.records[0]
    stages = ("issued", "starved_input", "starved_weights", "blocked_output")
    assert sum(record[s] for s in stages) <= record["cycles"] <= got.cycles[0]


def chain(hw: hwconfig.HwConfig) -> list[Layer]:
    first = make_layer(hw, Shape(tile=1, channels=8, outputs=16, pad=1, relu=True, pool=True, h=12, w=12), 1)
    second = make_layer(hw, Shape(tile=2, channels=16, outputs=8, pad=1, sub_s=2, ev=(2, 5), h=6, w=6), 2)
    third = make_layer(hw, Shape(tile=0, channels=8, outputs=10, h=6, w=6, kernel=(6, 6), sub_s=1), 3)
    return [first, second, third]


def test_chain_repeats_exactly() -> None:
    """Three layers of three tile sizes, five runs: same bits, same cycles."""
    hw = hwconfig.load("tiny")
    layers = chain(hw)
    program, image = program_of(hw, layers), np.random.default_rng(0).integers(-127, 128, (8, 12, 12)).astype(np.int8)
    images = np.stack([image] * 5)
    with open_device("emulator", hw) as emulator, open_device("verilator", hw) as chip:
        emulator.load(program)
        chip.load(program)
        expected, got = emulator.run(images), chip.run(images)
    np.testing.assert_array_equal(got.outputs["y"], expected.outputs["y"])
    assert got.cycles is not None and len(set(got.cycles)) == 1


def test_cycles_are_those_on_record() -> None:
    """Cycles are exact: a change of the RTL that moves one must change tests/golden/cycles.json, with a reason."""
    golden = json.loads((Path(__file__).parents[1] / "golden" / "cycles.json").read_text())
    hw = hwconfig.load("tiny")
    cycles = {name: both(hw, [make_layer(hw, shape, 1)])[1].records[0]["cycles"] for name, shape in SHAPES.items()}
    assert cycles == golden


def test_density_shortens_the_layer_and_the_array_stays_busy() -> None:
    """A 3x3 layer that is not bound by memory: >= 85 % of its cycles issue, and 2/8 takes <= 0.30 of dense."""
    hw = hwconfig.load("tiny")
    base = Shape(tile=1, channels=16, outputs=16, h=32, w=32, pad=1, block=(4, 16), pool=True)
    records = []
    for sub_s in (8, 2):
        _, got = both(hw, [make_layer(hw, dataclasses.replace(base, sub_s=sub_s), 5)])
        records.append(got.records[0])
        assert got.records[0]["issued"] == 2 * 128 * 4 * 2 * sub_s
    dense, sparse = records
    assert dense["issued"] >= 0.85 * dense["cycles"]
    assert sparse["issued"] >= 0.85 * sparse["cycles"]
    assert sparse["cycles"] <= 0.30 * dense["cycles"]


def test_bus_error_raises_and_the_engine_restarts() -> None:
    hw = hwconfig.load("tiny")
    layers = chain(hw)
    program, feeds = program_of(hw, layers), feeds_of(layers)
    with Verilator(hw) as chip:
        chip.load(program)
        good = chip.run(feeds)
        assert chip.chip is not None
        arena = chip.chip.read("ACT_ADDR_LO")
        chip.chip.fault(arena, arena + 64, 2)
        with pytest.raises(DeviceError, match="AXI error.*layer 0.*idle units"):
            chip.run(feeds)
        chip.chip.fault(0, 0, 0)
        again = chip.run(feeds)
    np.testing.assert_array_equal(again.outputs["y"], good.outputs["y"])


def test_a_bus_that_never_answers_ends_in_an_error_with_the_state() -> None:
    hw = hwconfig.load("tiny")
    layers = chain(hw)
    with Verilator(hw, watchdog=2000, stalls=(1, 1.0)) as chip:
        chip.load(program_of(hw, layers))
        with pytest.raises(DeviceError, match="watchdog.*STATE"):
            chip.run(feeds_of(layers))


def test_program_for_other_hardware_is_refused_before_anything_runs() -> None:
    program = program_of(hwconfig.load("wide"), [make_layer(hwconfig.load("wide"), SHAPES["linear"], 1)])
    with open_device("verilator", "tiny") as chip, pytest.raises(ProgramError, match="compiled for HwConfig wide"):
        chip.load(program)
