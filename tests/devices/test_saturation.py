"""Values that an input cannot represent are counted and told once; a device loads nothing but Programs."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from subrow.devices import open_device
from subrow.devices.base import SATURATION_LIMIT, SaturationWarning, quantise, saturation
from subrow.spec import hwconfig
from subrow.spec.errors import InputError
from subrow.spec.program import TensorInfo
from tests.devices.assemble import Shape, make_layer, program_of

HW = hwconfig.load("tiny")
INFO = TensorInfo("x", (1, 2, 2), 0.5, 0)


@pytest.mark.parametrize(("value", "beyond"), [(63.5, 0), (63.74, 0), (63.75, 1), (-63.75, 0), (-63.76, 1), (1e9, 1)])
def test_only_what_is_clamped_counts(value: float, beyond: int) -> None:
    x = np.array([value, 0, 0, 0]).reshape(1, 1, 2, 2)
    found = saturation(x, INFO)
    assert (found.saturated, found.values, found.share) == (beyond, 4, beyond / 4)
    exact = np.floor(x / 0.5 + 0.5)
    assert (quantise(x, INFO) != exact).sum() == beyond
    assert (found.lowest, found.highest, found.limit) == (min(value, 0), max(value, 0), 63.5)


def test_integers_of_the_program_never_saturate() -> None:
    assert saturation(np.full((1, 1, 2, 2), -128, np.int8), INFO).saturated == 0
    assert saturation(np.full((1, 1, 2, 2), 255, np.uint8), INFO).share == 1


def test_excessive_is_above_the_limit() -> None:
    x = np.zeros((25, 1, 2, 2))
    x[0, 0, 0, 0] = 100
    assert saturation(x, INFO).share == SATURATION_LIMIT and not saturation(x, INFO).excessive
    x[1, 0, 0, 0] = 100
    assert saturation(x, INFO).excessive
    assert "input x: 2.0 % of the values saturate: they lie in 0..100, the Program represents -63.5..63.5" in str(
        saturation(x, INFO)
    )


def test_device_tells_once_for_each_program() -> None:
    program = program_of(HW, [make_layer(HW, Shape(), 1)])
    (info,) = program.inputs
    large, small = (np.full((1, *info.shape), v * info.scale) for v in (255, 1))
    with open_device("emulator", HW) as device:
        device.load(program)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            device.run(small)
        with pytest.warns(SaturationWarning, match="100.0 % of the values saturate") as seen:
            device.run(large)
            device.run(large)
        assert len(seen) == 1 and seen[0].filename == __file__


@pytest.mark.parametrize("wrong", ("a.subrow", None))
def test_load_takes_programs_only(wrong: object) -> None:
    message = "load takes a Program, not (str|NoneType)"
    with open_device("emulator", HW) as device, pytest.raises(InputError, match=message):
        device.load(wrong)  # type: ignore[arg-type]
