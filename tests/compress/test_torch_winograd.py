"""Winograd convolution in torch, against its definition: values, gradients, exactness of integers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from subrow.compress.winograd import convolution, outputs, products, transforms, windows
from subrow.spec.winograd import TileKind, tile

KINDS = (TileKind.F2, TileKind.F4)
SIZES = ((10, 13), (4, 4), (1, 5))


def unfolded(kind: TileKind, x: Tensor) -> Tensor:
    """V by the definition: every window cut out and multiplied by B^T (x) B^T."""
    t, (oh, ow) = tile(kind), (x.shape[2] - 2, x.shape[3] - 2)
    x = torch.nn.functional.pad(x, (0, -ow % t.m, 0, -oh % t.m))
    cut = x.unfold(2, t.alpha, t.m).unfold(3, t.alpha, t.m)  # N, C, TH, TW, alpha, alpha
    flat = cut.permute(4, 5, 0, 2, 3, 1).reshape(t.taps, -1)
    return (transforms(kind, x.device, x.dtype)[0] @ flat).reshape(t.taps, -1, x.shape[1])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_windows_are_the_transform_and_its_gradient(kind: TileKind, size: tuple[int, int]) -> None:
    torch.manual_seed(1)
    x = torch.randn(3, 5, size[0] + 2, size[1] + 2, dtype=torch.float64, requires_grad=True)
    got, wanted = windows(kind, x), unfolded(kind, x)
    torch.testing.assert_close(got, wanted)
    gradient = torch.randn_like(wanted)
    one, two = (torch.autograd.grad(v, x, gradient)[0] for v in (got, wanted))
    torch.testing.assert_close(one, two)


@pytest.mark.parametrize("kind", KINDS)
def test_windows_of_integers_are_exact_in_float32(kind: TileKind) -> None:
    x = torch.randint(-127, 128, (2, 3, 14, 14), generator=torch.Generator().manual_seed(2))
    x[0] = torch.where(torch.rand(3, 14, 14, generator=torch.Generator().manual_seed(3)) < 0.5, -127, 127)
    assert torch.equal(windows(kind, x.float()).double(), unfolded(kind, x.double()))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_a_spatial_convolution_give_it(kind: TileKind, size: tuple[int, int]) -> None:
    from subrow.spec.winograd import transform_weights

    torch.manual_seed(4)
    x = torch.randn(2, 3, size[0] + 2, size[1] + 2, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 3, 3, 3, dtype=torch.float64)
    got = convolution(kind, x, torch.from_numpy(transform_weights(kind, weight.numpy())))
    wanted = torch.nn.functional.conv2d(x, weight)
    torch.testing.assert_close(got, wanted)
    gradient = torch.randn_like(wanted)
    torch.testing.assert_close(*(torch.autograd.grad(y, x, gradient)[0] for y in (got, wanted)))


def test_a_scale_of_each_tap_multiplies_its_products() -> None:
    torch.manual_seed(5)
    m = products(torch.randn(16, 8, 3), torch.randn(16, 2, 3))
    scale = torch.exp2(torch.arange(16.0) % 4)
    scaled = outputs(TileKind.F2, m * scale[:, None, None], 2, (4, 4))
    assert torch.equal(outputs(TileKind.F2, m, 2, (4, 4), scale), scaled)
