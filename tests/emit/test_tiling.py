"""Loop orders: what fits stays, what does not streams, and the cheaper of both streams is taken."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

import subrow
from subrow.spec import hwconfig
from subrow.spec.isa import Instruction


def layer(channels: int, size: int, density: str | None) -> Instruction:
    """The second layer of a network of two 3x3 convolutions on pynq-z2."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(8, channels, 1), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1)).eval()
    x = np.random.default_rng(0).standard_normal((1, 8, size, size)).astype(np.float32)
    return list(subrow.compile(net, x, "pynq-z2", density, "f2").decoded())[1]


def test_weights_that_fit_are_fetched_once() -> None:
    ins = layer(64, 28, "2/8")
    assert ins.blocks_y * ins.blocks_x > 1 and ins.resident and ins.pass_kgs == ins.kgs


def test_weights_of_small_maps_stay_while_blocks_stream() -> None:
    hw, ins = hwconfig.load("pynq-z2"), layer(256, 14, "2/8")
    assert ins.kgs * ins.chunk_words > hw.weight_words, "the case is one that does not fit"
    assert ins.resident and ins.pass_kgs < ins.kgs
    assert ins.pass_kgs * ins.chunk_words <= hw.weight_words


def test_one_block_needs_no_passes() -> None:
    ins = layer(256, 2, "2/8")
    assert ins.blocks_y == ins.blocks_x == 1 and not ins.resident and ins.pass_kgs == ins.kgs
