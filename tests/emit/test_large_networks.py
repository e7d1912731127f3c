"""VGG16 and ResNet-50 fit the PYNQ-Z2 engine; linear layers on all four lanes, one V buffer for one block."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from models.resnet import resnet50
from models.vgg16 import vgg16
from subrow import passes
from subrow.api import quantised
from subrow.devices import open_device
from subrow.emit.lower import lower
from subrow.emit.plan import misfits
from subrow.frontend.torch_export import capture
from subrow.planning import densities_of, lowered, plan_network
from subrow.report.verify import as_inputs, verify
from subrow.spec import hwconfig
from subrow.spec.isa import Instruction
from subrow.spec.winograd import TileKind
from tests.integer_graph import run_integer

HW, BOARD = hwconfig.load("tiny"), hwconfig.load("pynq-z2")
SPARSE = (2, 8)


@pytest.mark.parametrize("build", [vgg16, resnet50])
def test_every_layer_fits_pynq_z2(build: Callable[[], nn.Module]) -> None:
    graph = lowered(capture(build().eval(), np.zeros((1, 3, 224, 224), np.float32)), BOARD)
    assert misfits(passes.run(graph, passes.AFTER_COMPRESSION), BOARD, densities_of(graph, SPARSE, True)) == {}


def planned(layer: nn.Module, shape: tuple[int, int, int]) -> Instruction:
    """Behind another one, because the first is never pruned."""
    model = nn.Sequential(nn.Conv2d(3, shape[0], 1), layer).eval()
    graph = capture(model, np.zeros((1, 3, *shape[1:]), np.float32))
    (_, (_, ins)), out = plan_network(graph, "auto", BOARD, SPARSE, True)
    assert not out
    return ins


def test_the_first_linear_layer_of_vgg16() -> None:
    """25,088 inputs: 3,136 words of the reduction, a fourth of them on each lane, two weights in each."""
    ins = planned(nn.Sequential(nn.Flatten(), nn.Linear(25088, 48)), (512, 7, 7))
    assert (ins.tile, ins.whole_v, ins.kgs) == (TileKind.LINEAR, 1, 3)
    assert (ins.v_words, ins.red_words, ins.chunk_words) == (784, 784, 1568)


def test_the_strided_layer_of_resnet50() -> None:
    ins = planned(nn.Conv2d(512, 64, 3, 2, 1), (512, 14, 14))
    assert (ins.tile, ins.whole_v, ins.v_words) == (TileKind.DIRECT, 1, 576)


def test_small_deep_maps_take_a_whole_buffer() -> None:
    """The last stage of a ResNet: a map is one block, whose inputs are read once; a strided layer needs half as many
    blocks, hence half as many unfilled tile groups.
    """
    ins = planned(nn.Conv2d(512, 512, 3, 1, 1), (512, 7, 7))
    assert (ins.blocks_y, ins.blocks_x, ins.resident, ins.whole_v) == (1, 1, 0, 1)
    ins = planned(nn.Conv2d(1024, 256, 1, 2), (1024, 14, 14))
    assert (ins.block_th, ins.block_tw, ins.blocks_y, ins.blocks_x, ins.whole_a) == (2, 2, 2, 2, 1)
    assert BOARD.act_words // 2 < 7 * 128


@pytest.mark.parametrize(("channels", "kind"), [(8, "DIRECT"), (9, "DIRECT"), (256, "LINEAR"), (272, "LINEAR")])
def test_few_words_leave_no_lane_empty(channels: int, kind: str) -> None:
    """One word, or two, of a reduction would leave lanes with weights that are zeros; 34 words lack only two."""
    ins = planned(nn.Conv2d(channels, 8, 1), (channels, 1, 1))
    assert ins.tile == TileKind[kind]


@pytest.mark.parametrize("density", [None, "2/8"])
@pytest.mark.parametrize(("shape", "outputs"), [((61, 1, 1), 21), ((20, 5, 3), 40), ((32, 2, 2), 9)])
def test_linear_layers_equal_the_integers(shape: tuple[int, int, int], outputs: int, density: str | None) -> None:
    torch.manual_seed(outputs)
    layers = [nn.Conv2d(shape[0], shape[0], 1), nn.Flatten(), nn.Linear(int(np.prod(shape)), outputs), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(outputs, 5)).eval()
    images = np.random.default_rng(1).uniform(-1, 1, (4, *shape)).astype(np.float32)
    graph = quantised(model, images, HW, density, linear=density is not None, calibration=images)
    program = lower(graph, HW)
    ins = program.decoded()[1]
    assert ins.tile == TileKind.LINEAR and ins.implicit_index == (density is None)
    with open_device("emulator", HW) as emulator:
        emulator.load(program)
        got = emulator.run(images).outputs["output"]
        checks = verify(program, emulator, as_inputs(program, {program.inputs[0].name: images[:1]}))
    assert all(c.equal for c in checks)
    np.testing.assert_array_equal(got, run_integer(graph, images, HW)["output"])
