"""Verification of devices: equal on chains with residuals, groups and windows; a wrong reference is found out."""

from __future__ import annotations

import numpy as np
import pytest

from subrow.devices import open_device
from subrow.report.verify import BATCH, as_inputs, random_batches, random_inputs, verify, verify_batches
from subrow.spec import hwconfig, reference
from subrow.spec.errors import InputError
from tests.devices.assemble import Shape, make_layer, program_of

SHAPES = (
    Shape(tile=1, channels=16, outputs=16, h=12, w=10, pad=1, relu=True, sub_s=2),
    Shape(tile=2, channels=16, outputs=16, h=12, w=10, pad=1, sub_s=3, residual=True, ev=(2, 5)),
    Shape(tile=0, channels=16, outputs=16, h=12, w=10, kernel=(3, 3), pad=1, grouped=True, sub_s=1),
    Shape(tile=0, channels=16, outputs=12, h=12, w=10, kernel=(3, 2), stride=2, sub_s=4),
)


@pytest.mark.parametrize("hw_name", ("tiny", "wide"))
def test_chain_equals_and_every_byte_is_compared(hw_name: str) -> None:
    hw = hwconfig.load(hw_name)
    program = program_of(hw, [make_layer(hw, shape, i) for i, shape in enumerate(SHAPES)])
    with open_device("emulator", hw) as device:
        checks = verify(program, device, random_inputs(program, 5, 7))
    assert all(c.equal for c in checks) and [c.first for c in checks] == [None] * 4
    assert [c.compared for c in checks] == [5 * 16 * 120] * 3 + [5 * 16 * 5 * 5]


def test_wrong_reference_is_found_in_its_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    hw, honest = hwconfig.load("tiny"), reference.layer

    def wrong(ins: object, *arguments: object) -> np.ndarray:
        y = honest(ins, *arguments)  # type: ignore[arg-type]
        if ins.layer_id == 2:  # type: ignore[attr-defined]
            y[3, 1, 2] ^= 1
        return y

    monkeypatch.setattr(reference, "layer", wrong)
    program = program_of(hw, [make_layer(hw, shape, i) for i, shape in enumerate(SHAPES)])
    with open_device("emulator", hw) as device:
        checks = verify(program, device, random_inputs(program, 2, 7))
    assert [c.equal for c in checks[:3]] == [True, True, False]
    assert checks[2].different == 2 and str(checks[2].first).startswith("image 0, channel 3, row 1, column 2: ")


def test_random_images_reach_the_extremes() -> None:
    hw = hwconfig.load("tiny")
    program = program_of(hw, [make_layer(hw, SHAPES[0], 1)])
    x = random_inputs(program, 4, 1)["x"]
    assert x.min() == -127 and set(np.unique(x[3])) == {-127, 127}
    np.testing.assert_array_equal(x, random_inputs(program, 4, 1)["x"])


def test_many_images_are_held_a_batch_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers of images go on from batch to batch, and no batch is larger than BATCH."""
    hw, honest, count = hwconfig.load("tiny"), reference.layer, 2 * BATCH + 3
    calls = iter(range(10**6))

    def wrong(ins: object, *arguments: object) -> np.ndarray:
        y = honest(ins, *arguments)  # type: ignore[arg-type]
        if next(calls) == BATCH + 1:
            y[0, 0, 0] ^= 1
        return y

    monkeypatch.setattr(reference, "layer", wrong)
    program = program_of(hw, [make_layer(hw, SHAPES[0], 1)])
    batches = list(random_batches(program, count, 1))
    assert [len(b["x"]) for b in batches] == [BATCH, BATCH, 3]
    done: list[int] = []
    with open_device("emulator", hw) as device:
        (check,) = verify_batches(program, device, batches, lambda name, images: done.append(images))
    assert done == [BATCH, BATCH, 3] and check.compared == count * 16 * 120 and check.different == 1
    assert check.first is not None and check.first.startswith(f"image {BATCH + 1}, channel 0, row 0, column 0: ")


def test_batches_are_made_when_they_are_needed() -> None:
    """A number of images that no memory could hold starts at once."""
    hw = hwconfig.load("tiny")
    program = program_of(hw, [make_layer(hw, SHAPES[0], 1)])
    assert len(next(random_batches(program, 10**15, 1))["x"]) == BATCH


def test_inputs_need_equal_numbers_of_images() -> None:
    hw = hwconfig.load("tiny")
    program = program_of(hw, [make_layer(hw, SHAPES[0], 1)])
    with pytest.raises(InputError, match="images per input .*'x': 0.*at least 1"):
        as_inputs(program, {"x": np.zeros((0, *program.inputs[0].shape), np.int8)})
