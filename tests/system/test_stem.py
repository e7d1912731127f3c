"""The stem of a ResNet, its 3x3 max pool included: RTL, emulator and the walk with the reference agree on every bit."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from torch import nn

from subrow.api import compile
from subrow.devices import open_device
from subrow.devices.verilator import Verilator
from subrow.report.verify import as_inputs, verify
from subrow.spec import hwconfig
from subrow.spec.program import Program
from tests.devices.assemble import Shape, feeds_of, make_layer, program_of
from tests.nets import randomised


@functools.cache
def stem(hw: str) -> tuple[nn.Module, np.ndarray, Program]:
    model = randomised(nn.Sequential(
        nn.Conv2d(3, 24, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
    ))  # fmt: skip
    images = np.random.default_rng(3).uniform(-1, 1, (2, 3, 37, 46)).astype(np.float32)
    return model, images, compile(model, images, hw)


@pytest.mark.parametrize("hw", ("tiny", "pynq-z2"))
def test_emulator(hw: str) -> None:
    model, images, program = stem(hw)
    with open_device("emulator", hw) as device:
        device.load(program)
        real = device.run(images).real()
        checks = verify(program, device, as_inputs(program, {program.inputs[0].name: images[:1]}))
    assert [i.details["max_window"] for i in program.layers] == [False, True] and all(c.equal for c in checks)
    with torch.inference_mode():
        want = model(torch.from_numpy(images)).numpy()
    assert np.linalg.norm(real - want) < 0.03 * np.linalg.norm(want)


@pytest.mark.verilator
@pytest.mark.parametrize(("hw", "stall"), [("tiny", 0.0), ("tiny", 0.3), ("pynq-z2", 0.0)])
def test_rtl(hw: str, stall: float, seed: int) -> None:
    _, images, program = stem(hw)
    with open_device("emulator", hw) as emulator, Verilator(hwconfig.load(hw), stalls=(seed, stall)) as chip:
        for device in (emulator, chip):
            device.load(program)
        expected, got = emulator.run(images), chip.run(images)
    for name, want in expected.outputs.items():
        np.testing.assert_array_equal(got.outputs[name], want)
        assert len(np.unique(want)) > 50


def test_another_maximum_is_noticed() -> None:
    """One input pixel that is the maximum of a window, changed: the output is no longer what the reference says."""
    hw = hwconfig.load("tiny")
    layer = make_layer(hw, Shape(tile=0, kernel=(3, 3), stride=2, pad=1, max_window=True, h=9, w=9, implicit=True), 1)
    feeds = feeds_of([layer])
    channel, y, x = np.unravel_index(int(layer.x.argmax()), layer.x.shape)
    feeds["x"] = feeds["x"].copy()
    feeds["x"][0, channel, y, x] = -127
    with open_device("emulator", hw) as device:
        device.load(program_of(hw, [layer]))
        assert np.array_equal(device.run(feeds_of([layer])).outputs["y"][0], layer.expected(hw))
        assert not np.array_equal(device.run(feeds).outputs["y"][0], layer.expected(hw))
