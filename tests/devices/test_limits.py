"""Every device checks every limit before it loads a Program; tests of the hardware itself may ask it not to."""

from __future__ import annotations

import dataclasses

import pytest

from subrow.devices import DEVICES, hlslib, open_device, simlib
from subrow.devices.verilator import Verilator
from subrow.spec import hwconfig
from subrow.spec.errors import DeviceError, MissingTool
from tests.devices.assemble import Shape, change, feeds_of, make_layer, program_of
from tests.devices.test_emulator import BAD_FIELDS

HW = hwconfig.load("tiny")
LAYER = make_layer(HW, Shape(tile=1, channels=16, outputs=16, pad=1))
PROGRAM = program_of(HW, [LAYER])


class NoChip:
    """Stands for the simulated engine where none must be made."""

    def __init__(self, *_: object) -> None:
        raise AssertionError("an engine was made for a Program that must be refused")


@pytest.mark.parametrize("device", DEVICES)
def test_each_limit_is_checked_before_anything_is_made(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simlib, "Chip", NoChip)
    with open_device(device, HW) as opened:
        for field, value, text in BAD_FIELDS:
            if text is not None:
                with pytest.raises(DeviceError, match=rf"^{device}: Program test, layer 0 \(layer0\): .*{text}"):
                    opened.load(change(PROGRAM, 0, **{field: value}))


@pytest.mark.parametrize("device", DEVICES)
def test_without_a_compiler_no_device_loads(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise MissingTool(f"tool {name!r} not found")

    other = dataclasses.replace(HW, name="no-compiler", latency_cycles=31)
    monkeypatch.setattr(hlslib, "find_tool", missing)
    monkeypatch.setattr(simlib, "Chip", NoChip)
    with pytest.raises(MissingTool, match="'g\\+\\+'"), open_device(device, other) as opened:
        opened.load(program_of(other, [make_layer(other, Shape())]))


def test_a_refused_program_leaves_the_one_before() -> None:
    with open_device("emulator", HW) as emulator:
        emulator.load(PROGRAM)
        with pytest.raises(DeviceError, match="opcode"):
            emulator.load(change(PROGRAM, 0, opcode=2))
        assert emulator.run(LAYER.x).program_digest == PROGRAM.digest()


@pytest.mark.verilator
def test_unchecked_illegal_opcode_is_the_engines_error() -> None:
    with Verilator(HW, check_limits=False) as chip:
        chip.load(change(PROGRAM, 0, opcode=3))
        with pytest.raises(DeviceError, match="error 1 .illegal opcode. in layer 0"):
            chip.run(feeds_of([LAYER]))
