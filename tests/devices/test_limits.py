"""Every device checks every limit before it loads a Program; tests of the hardware itself may ask it not to."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from subrow.devices import DEVICES, hlslib, open_device, simlib
from subrow.devices.verilator import Verilator
from subrow.spec import hwconfig, limits
from subrow.spec.errors import DeviceError, MissingTool
from subrow.spec.program import Program
from tests.devices.assemble import Shape, change, feeds_of, make_layer, program_of
from tests.devices.test_emulator import BAD_FIELDS
from tests.devices.test_program_fuzz import changed_tensors
from tests.spec.program_files import sample

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


def test_without_a_compiler_there_is_no_emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise MissingTool(f"tool {name!r} not found")

    monkeypatch.setattr(hlslib, "find_tool", missing)
    with pytest.raises(MissingTool, match="'g\\+\\+'"):
        open_device("emulator", dataclasses.replace(HW, name="no-compiler", latency_cycles=31))


def both_say(program: Program) -> tuple[tuple[int, str] | None, tuple[int, str] | None]:
    """Layer and text of the limit that a Program exceeds, in Python and in C++."""
    lib, image = hlslib.library(HW), program.image()
    status = lib.check(image.ctypes.data, image.size, program.arena_bytes, len(program.layers))
    return limits.exceeded(program, HW), (status >> 8, lib.text(status)) if status else None


def test_python_and_cpp_have_the_same_limits_in_the_same_order() -> None:
    base, rng, found = sample(), np.random.default_rng(5), set()
    for _ in range(800):
        python, cpp = both_say(dataclasses.replace(base, **changed_tensors(base, rng)))
        assert python == cpp
        found.add(python and python[1])
    assert None in found and len(found) > 18


@pytest.mark.parametrize("tile", (0, 1, 2, 3))
def test_python_and_cpp_bound_sums_alike(tile: int) -> None:
    """Weights at their limit, with exponents on both sides of y_bits."""
    size = 1 if tile in (0, 3) else 8
    layer = make_layer(HW, Shape(tile=tile, channels=48, h=size, w=size, pad=int(tile in (1, 2)), extreme=True))
    for em in range(16):
        python, cpp = both_say(change(program_of(HW, [layer]), 0, em=(em,) * 36))
        assert python == cpp
    most = (1 << HW.acc_bits - 1) // (HW.u_max * HW.v_max)
    for channels in (most, most + 1):
        shape = Shape(tile=0, channels=channels, h=1, w=1, extreme=True)
        python, cpp = both_say(program_of(HW, [make_layer(HW, shape)]))
        assert python == cpp and (python is None) == (channels == most)


def test_a_refused_program_leaves_the_one_before() -> None:
    with open_device("emulator", HW) as emulator:
        emulator.load(PROGRAM)
        with pytest.raises(DeviceError, match="opcode"):
            emulator.load(change(PROGRAM, 0, opcode=2))
        assert emulator.run(LAYER.x).program_digest == PROGRAM.digest()


@pytest.mark.verilator
@pytest.mark.parametrize(("fields", "port"), (
    ({"in_offset": 1 << 20}, 0), ({"out_offset": 1 << 20}, 2), ({"weight_offset": 1 << 20}, 1),
))  # fmt: skip
def test_unchecked_addresses_outside_the_buffers_are_the_engines_error(fields: dict[str, int], port: int) -> None:
    with Verilator(HW, check_limits=False) as chip:
        chip.load(change(PROGRAM, 0, **fields))
        assert chip.chip is not None
        before = chip.chip.memory[: chip.chip.read("ACT_ADDR_LO")].copy()
        with pytest.raises(DeviceError, match=rf"error 4 .address outside its buffers. in layer 0.*on port {port}"):
            chip.run(feeds_of([LAYER]))
        assert (chip.chip.memory[: before.size] == before).all()


@pytest.mark.verilator
def test_unchecked_illegal_opcode_is_the_engines_error() -> None:
    with Verilator(HW, check_limits=False) as chip:
        chip.load(change(PROGRAM, 0, opcode=3))
        with pytest.raises(DeviceError, match="error 1 .illegal opcode. in layer 0"):
            chip.run(feeds_of([LAYER]))
