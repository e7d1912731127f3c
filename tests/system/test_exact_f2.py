"""Full-width F(2x2,3x3) is exact: compiled for `wide`, the chain equals a plain spatial int8 convolution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from subrow import api
from subrow.devices import open_device
from subrow.emit.lower import lower
from subrow.spec import hwconfig


def spatial(x: NDArray[np.int8], g: NDArray[np.int64]) -> NDArray[np.int64]:
    """Plain 3x3 convolution, padding 1: x [N, C, H, W], g [K, C, 3, 3]."""
    n, _, h, w = x.shape
    padded = np.pad(x.astype(np.int64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    out = np.zeros((n, len(g), h, w), np.int64)
    for dy in range(3):
        for dx in range(3):
            out += np.einsum("nchw,kc->nkhw", padded[:, :, dy : dy + h, dx : dx + w], g[:, :, dy, dx])
    return out


@pytest.mark.parametrize("device", ["emulator", pytest.param("verilator", marks=pytest.mark.verilator)])
@pytest.mark.parametrize("extreme", [False, True])
def test_compiled_layer_is_the_spatial_convolution(device: str, extreme: bool) -> None:
    hw = hwconfig.load("wide")
    torch.manual_seed(1)
    conv = nn.Conv2d(12, 10, 3, padding=1).eval()
    with torch.no_grad():
        g = torch.randint(-127, 128, conv.weight.shape)
        g[:, 0, 0, 0] = 127  # so that the scale of every channel is 1
        if extreme:
            g = torch.full_like(g, 127) * torch.randint(0, 2, (10, 1, 1, 1)).mul(2).sub(1)
        conv.weight.copy_(g.float())
    x = np.random.default_rng(2).integers(-127, 128, (3, 12, 9, 8)).astype(np.int8)
    if extreme:
        x = (np.sign(x.astype(np.int16)) * 127).astype(np.int8)
        x[0] = 127
    graph = api.quantised(conv, x.astype(np.float32), hw, tile="f2")
    quant = next(n for n in graph if n.op == "conv").attrs["quant"]
    assert quant.ev == (0,) * 16 and quant.em == (0,) * 16
    with open_device(device, hw) as chip:
        chip.load(lower(graph, hw))
        got = next(iter(chip.run(x).outputs.values()))
    shift = quant.shift.astype(np.int64)[:, None, None]
    t = (4 * spatial(x, g.numpy()) + quant.bias[:, None, None]) * quant.mult[:, None, None]
    expected = np.clip((t + (np.int64(1) << (shift - 1))) >> shift, -127, 127)
    np.testing.assert_array_equal(got, expected)
    assert extreme or len(np.unique(got)) > 50
