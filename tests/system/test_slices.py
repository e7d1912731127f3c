"""Layers that read and write some channel blocks of a wider tensor: emulator, RTL and the numpy reference agree."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from subrow.devices import open_device
from subrow.devices.emulator import Emulator
from subrow.devices.verilator import Verilator
from subrow.spec import hwconfig
from subrow.spec.errors import DeviceError
from subrow.spec.interpret import Interpreter
from subrow.spec.program import Program, TensorInfo
from tests.devices.assemble import Shape, change, make_layer, program_of

HW = hwconfig.load("tiny")
L = HW.sub_row
H, W = 9, 12


def sliced_program(tile: int, seed: int, block: tuple[int, int] | None) -> Program:
    """x -> t (24 channels); layers b, c and d each take one channel block of t and write one of s, in another order."""
    part = Shape(tile=tile, channels=8, outputs=8, h=H, w=W, pad=1 if tile else 0, sub_s=2, block=block)
    first = make_layer(HW, Shape(tile=1, channels=8, outputs=24, h=H, w=W, pad=1), seed)
    layers = [first, *(make_layer(HW, part, seed + i) for i in (1, 2, 3))]
    program = program_of(HW, layers)
    t, s = (program.decoded()[i].out_offset for i in (0, 1))
    rows = {"in_row_bytes": 3 * W * L, "out_row_bytes": 3 * W * L}
    for i, (source, target) in enumerate(((1, 0), (2, 2), (0, 1)), start=1):
        program = change(program, i, in_offset=t + source * W * L, out_offset=s + target * W * L, **rows)
    return dataclasses.replace(program, outputs=(TensorInfo("y", (24, H, W), 1.0, s),))


def expected(program: Program, x: np.ndarray) -> np.ndarray:
    parts = list(Interpreter(program, HW).layers({"x": x}))
    return np.concatenate([parts[i] for i in (1, 3, 2)])


@pytest.mark.parametrize("block", (None, (2, 3)))
@pytest.mark.parametrize("tile", (0, 1, 2))
def test_emulator(tile: int, block: tuple[int, int] | None, seed: int) -> None:
    program = sliced_program(tile, seed, block)
    x = np.random.default_rng(seed).integers(-127, 128, (1, 8, H, W)).astype(np.int8)
    with open_device("emulator", HW) as emulator:
        emulator.load(program)
        got = emulator.run(x).outputs["y"][0]
    np.testing.assert_array_equal(got, expected(program, x[0]))
    assert all(len(np.unique(got[i : i + L])) > 5 for i in (0, 8, 16))


@pytest.mark.verilator
@pytest.mark.parametrize("stall", (0.0, 0.3))
@pytest.mark.parametrize("block", (None, (2, 3)))
def test_rtl(block: tuple[int, int] | None, stall: float, seed: int) -> None:
    program = sliced_program(1, seed, block)
    x = np.random.default_rng(seed).integers(-127, 128, (1, 8, H, W)).astype(np.int8)
    with Verilator(HW, stalls=(seed, stall)) as chip:
        chip.load(program)
        np.testing.assert_array_equal(chip.run(x).outputs["y"][0], expected(program, x[0]))


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"in_row_bytes": W * L - L}, "row size"), ({"in_row_bytes": W * L + 1}, "row size"),
        ({"in_row_words": W - 1}, "row size"), ({"in_row_bytes": 1 << 20}, "input lies outside"),
        ({"out_row_bytes": 1 << 20}, "output lies outside"), ({"out_row_bytes": W * L - L}, "row size"),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_are_refused(fields: dict[str, int], text: str) -> None:
    program = change(sliced_program(1, 1, None), 2, **fields)
    with Emulator(HW) as emulator, pytest.raises(DeviceError, match=text):
        emulator.load(program)
