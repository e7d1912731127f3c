"""Stems over images whose 2x2 squares lie as channels: the same bits in fewer cycles, for every window and border."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from subrow.api import compile, quantised
from subrow.devices import open_device
from subrow.devices.verilator import Verilator
from subrow.emit.lower import lower
from subrow.emit.plan import plan
from subrow.emit.stem import rearranged
from subrow.report.verify import as_inputs, verify
from subrow.spec import hwconfig
from subrow.spec.metadata import TensorInfo
from subrow.spec.timing import estimate
from tests.integer_graph import run_integer
from tests.nets import randomised

TINY = hwconfig.load("tiny")
CASES = (  # channels, kernel, padding, image: odd and even ones of each
    (2, (7, 7), (3, 3), (20, 26)), (1, (7, 7), (3, 3), (21, 27)), (2, (3, 3), (1, 1), (18, 18)),
    (2, (5, 4), (2, 1), (17, 16)), (1, (6, 3), (0, 0), (18, 24)), (1, (2, 7), (1, 0), (15, 22)),
)  # fmt: skip


def stem_of(channels: int, kernel: tuple[int, int], pad: tuple[int, int], outputs: int = 8) -> nn.Module:
    conv = nn.Conv2d(channels, outputs, kernel, stride=2, padding=pad)
    return nn.Sequential(conv, nn.ReLU(), nn.Conv2d(outputs, 8, 3, padding=1))


def images_of(channels: int, size: tuple[int, int], seed: int = 7) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (3, channels, *size)).astype(np.float32)


@pytest.mark.parametrize(("channels", "kernel", "pad", "size"), CASES)
def test_same_bits(channels: int, kernel: tuple[int, int], pad: tuple[int, int], size: tuple[int, int]) -> None:
    """A Program over rearranged images against integer arithmetic on the Graph that knows nothing of them."""
    images = images_of(channels, size)
    graph = quantised(stem_of(channels, kernel, pad), images, TINY)
    program = lower(graph, TINY)
    (info,) = program.inputs
    assert (info.shape, info.space_to_depth) == ((channels, *size), 2)
    assert info.stored == (4 * channels, -(-size[0] // 2), -(-size[1] // 2))
    want = run_integer(graph, images, TINY)[graph.outputs[0].name]
    with open_device("emulator", TINY) as device:
        device.load(program)
        got = device.run(images).outputs[program.outputs[0].name]
        checks = verify(program, device, as_inputs(program, {info.name: images[:1]}))
    np.testing.assert_array_equal(got, want)
    assert len(np.unique(want)) > 50 and all(c.equal for c in checks)


def test_fewer_cycles_and_the_same_macs() -> None:
    graph = quantised(stem_of(2, (7, 7), (3, 3)), images_of(2, (32, 32)), TINY)
    plain = estimate([ins for _, ins in plan(graph, TINY, {})], TINY).layers[0]
    program = lower(graph, TINY)
    assert estimate(program.decoded(), TINY).layers[0] < 0.7 * plain
    stem = program.layers[0]
    assert stem.macs == 16 * 16 * 8 * 2 * 7 * 7 and stem.details["image_window"] == [2, 7, 7]
    assert (stem.in_channels, stem.details["kernel"], stem.details["stride"]) == (8, [4, 4], 1)


def left_alone(model: nn.Module, images: np.ndarray, hw: str = "tiny") -> bool:
    config = hwconfig.load(hw)
    graph = quantised(model, images, config)
    return rearranged(graph, config) == graph and lower(graph, config).inputs[0].space_to_depth == 1


class TwoReaders(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = (nn.Conv2d(2, 8, 7, stride=2, padding=3) for _ in range(2))

    def forward(self, x):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        return self.a(x) + self.b(x)


def test_what_stays_as_it_is() -> None:
    images = images_of(2, (20, 26))
    assert left_alone(nn.Conv2d(2, 8, 7, padding=3), images)  # stride 1
    assert left_alone(nn.Conv2d(2, 8, 7, stride=2, padding=3, groups=2), images)
    assert left_alone(nn.MaxPool2d(3, 2, 1), images)
    assert left_alone(nn.Conv2d(3, 64, 7, stride=2, padding=3), images_of(3, (20, 26)))  # two words, more steps
    assert left_alone(nn.Conv2d(8, 8, 7, stride=2, padding=3), images_of(8, (20, 26)))  # full words
    assert left_alone(nn.Conv2d(2, 8, 2, stride=2), images_of(2, (5, 7)))  # the last row belongs to no window
    assert left_alone(TwoReaders(), images)
    pruned = compile(stem_of(2, (7, 7), (3, 3)), images, TINY, density="2/8")
    assert pruned.inputs[0].space_to_depth == 2  # the first layer stays dense


def test_arrangement() -> None:
    """The device's rearrangement and the reference's own are the documented one, odd sizes included."""
    info = TensorInfo("x", (3, 5, 7), 1.0, 0, space_to_depth=2)
    x = np.random.default_rng(1).integers(-127, 128, (2, 3, 5, 7), np.int8)
    stored = info.arranged(x)
    assert stored.shape == (2, *info.stored) == (2, 12, 3, 4) and stored.dtype == np.int8
    full = np.pad(x, ((0, 0), (0, 0), (0, 1), (0, 1)))
    for c, dy, dx, y, w in np.ndindex(3, 2, 2, 3, 4):
        assert (stored[:, 4 * c + 2 * dy + dx, y, w] == full[:, c, 2 * y + dy, 2 * w + dx]).all()
    assert info.arranged(x[0]).tolist() == stored[0].tolist()


@pytest.mark.parametrize("hw", ("tiny", "zcu104"))
def test_emulator_of_an_image_net_stem(hw: str) -> None:
    """7x7 over three channels: on the board with 16 channels in a word it pays."""
    model = randomised(nn.Sequential(nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU()))
    images = images_of(3, (38, 45))
    program = compile(model, images, hw)
    assert program.inputs[0].space_to_depth == {"tiny": 1, "zcu104": 2}[hw]
    with open_device("emulator", hw) as device:
        device.load(program)
        real = device.run(images).real()
    with torch.inference_mode():
        want = model(torch.from_numpy(images)).numpy()
    assert np.linalg.norm(real - want) < 0.03 * np.linalg.norm(want)


@pytest.mark.verilator
@pytest.mark.parametrize("stall", (0.0, 0.3))
def test_rtl(stall: float, seed: int) -> None:
    images = images_of(2, (21, 26))
    program = compile(stem_of(2, (7, 7), (3, 3)), images, TINY)
    with open_device("emulator", TINY) as emulator, Verilator(TINY, stalls=(seed, stall)) as chip:
        for device in (emulator, chip):
            device.load(program)
        expected, got = emulator.run(images), chip.run(images)
    for name, want in expected.outputs.items():
        np.testing.assert_array_equal(got.outputs[name], want)
        assert len(np.unique(want)) > 50
