"""Concatenations that cost nothing, as their parts are written side by side: emulator and RTL against torch's cat."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

import subrow
from subrow import passes
from subrow.api import quantised
from subrow.bench.calibrate import compare
from subrow.compress.quantise import quantise
from subrow.emit.lower import lower
from subrow.frontend.torch_export import capture
from subrow.report.verify import as_inputs, verify
from subrow.spec import hwconfig
from subrow.spec.errors import UnsupportedError
from tests.concat_nets import Copies, Dense, Inception, Odd, Parted, Skip
from tests.integer_graph import run_integer

HW = hwconfig.load("tiny")


NETS: dict[str, tuple[Callable[[], nn.Module], int, int]] = {  # network, channels of its input, instructions
    "inception": (Inception, 3, 6), "skip": (Skip, 8, 3), "dense": (Dense, 3, 4), "copies": (Copies, 8, 5),
    "parted": (Parted, 8, 3), "odd": (Odd, 8, 7),
}  # fmt: skip


def images_of(name: str) -> np.ndarray:
    return np.random.default_rng(len(name)).uniform(-1, 1, (4, NETS[name][1], 10, 7)).astype(np.float32)


def model_of(name: str) -> nn.Module:
    torch.manual_seed(len(name))
    return NETS[name][0]().eval()


@pytest.mark.parametrize("name", NETS)
def test_emulator(name: str) -> None:
    model, images = model_of(name), images_of(name)
    graph = quantised(model, images, HW, tile="f2")
    program = lower(graph, HW)
    assert len(program.layers) == NETS[name][2]  # no instruction only moves, but for copies
    with subrow.open_device("emulator", HW) as device:
        device.load(program)
        result = device.run(images)
        checks = verify(program, device, as_inputs(program, {program.inputs[0].name: images[:1]}))
    assert all(c.equal for c in checks)
    integers = run_integer(graph, images, HW)
    with torch.inference_mode():
        outputs = model(torch.from_numpy(images))
    wanted = outputs if isinstance(outputs, tuple) else (outputs,)
    for info, want in zip(program.outputs, wanted, strict=True):
        np.testing.assert_array_equal(result.outputs[info.name], integers[info.name])
        real = result.outputs[info.name] * info.scale
        assert np.linalg.norm(real - want.numpy()) < 0.05 * np.linalg.norm(want)


@pytest.mark.verilator
@pytest.mark.parametrize("name", ["inception", "skip", "parted"])
def test_rtl(name: str) -> None:
    images = images_of(name)
    graph = quantised(model_of(name), images, HW, tile="f2")
    program = lower(graph, HW)
    with subrow.open_device("verilator", HW) as chip:
        chip.load(program)
        got = chip.run(images[:1]).outputs
    integers = run_integer(graph, images[:1], HW)
    for info in program.outputs:
        np.testing.assert_array_equal(got[info.name], integers[info.name])
    assert [r for r in compare(name, program, images) if not r.within] == []


def test_parts_that_end_inside_a_block_are_refused_where_no_pass_has_moved_them() -> None:
    images = images_of("skip")
    graph = passes.run(capture(Odd().eval(), images))
    with pytest.raises(UnsupportedError, match="op concat: input a has 12 channels, .* of L = 8; put it last"):
        lower(quantise(graph, HW, images), HW)
