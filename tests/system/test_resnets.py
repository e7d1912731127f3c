"""Whole ResNets on the emulator, dense and pruned: every layer against the reference walk, the output against float."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

import subrow
from models.resnet import resnet18, resnet20
from subrow.api import compressed, quantised
from subrow.compress.execute import execute
from subrow.compress.recalibrate import recalibrate
from subrow.compress.srbs import prune
from subrow.emit.lower import lower
from subrow.report.verify import as_inputs, verify
from subrow.spec import hwconfig
from tests.nets import randomised

CASES: list[tuple[str, Callable[[], nn.Module], int, str, str | None, int, float]] = [
    # network, image side, hardware, density, calibration images, relative error of the int8 output against float
    ("resnet18", lambda: resnet18(10, width=8), 64, "tiny", None, 8, 0.05),
    ("resnet18", lambda: resnet18(10, width=8), 128, "tiny", "2/8", 8, 0.15),
    ("resnet20", resnet20, 32, "tiny", "2/8", 4, 0.15),
    ("resnet20", resnet20, 32, "pynq-z2", None, 8, 0.05),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]}-{c[3]}-{c[4] or 'dense'}")
def test_resnet(case: tuple[str, Callable[[], nn.Module], int, str, str | None, int, float]) -> None:
    _, build, side, name, density, count, limit = case
    hw = hwconfig.load(name)
    model = randomised(build())
    images = np.random.default_rng(7).uniform(0, 1, (count, 3, side, side)).astype(np.float32)
    graph = compressed(model, images, hw, calibration=images)
    if density:  # the largest weights stay as they are, which takes no time; adjusting them has tests of its own
        graph = recalibrate(prune(graph, density), images)
    program = lower(quantised(graph, images, hw, calibration=images), hw)
    with subrow.open_device("emulator", hw) as device:
        device.load(program)
        real = device.run(images).real().reshape(count, -1)
        checks = verify(program, device, as_inputs(program, {program.inputs[0].name: images[:1]}))
    assert len(checks) == len(program.layers) and all(c.equal for c in checks)
    want = execute(graph, images)["output"].reshape(count, -1)  # of the pruned network where it is pruned
    if density is None:
        with torch.inference_mode():
            np.testing.assert_allclose(want, model(torch.from_numpy(images)).numpy(), rtol=1e-3, atol=1e-4)
    assert np.linalg.norm(real - want) < limit * np.linalg.norm(want)
    if density:
        assert sum(layer.density == (2, 8) for layer in program.layers) >= len(program.layers) - 5
