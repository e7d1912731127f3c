"""Pruning keeps exactly s of L; recalibration and quantisation do what docs/numerics.md says."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from subrow import passes
from subrow.compress.calibrate import activation_scales
from subrow.compress.execute import as_batch, evaluate, execute, images_at_once
from subrow.compress.quantise import check_bounds, quantise
from subrow.compress.recalibrate import recalibrate
from subrow.compress.srbs import check_prunable, parse_density, project, prunable, prune
from subrow.frontend.torch_export import capture
from subrow.ir.graph import Graph
from subrow.ir.weights import from_reduction, join_sub_rows, split_sub_rows, to_reduction
from subrow.spec import hwconfig
from subrow.spec.errors import ConfigError, InputError, QuantisationError
from tests.integer_graph import run_integer


@given(st.integers(1, 20), st.integers(1, 3), st.sampled_from([4, 8, 16]), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_layouts_round_trip(channels: int, side: int, sub_row: int, seed: int) -> None:
    weight = np.random.default_rng(seed).normal(size=(3, channels, side, side))
    u = to_reduction(weight, sub_row)
    np.testing.assert_array_equal(from_reduction(u, weight.shape, sub_row), weight)
    rows = split_sub_rows(u, channels, side * side, sub_row)
    np.testing.assert_array_equal(join_sub_rows(rows, channels, side * side, sub_row), u)


@given(st.integers(1, 40), st.integers(1, 8), st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=100, deadline=None)
def test_projection_keeps_s_largest(channels: int, s: int, seed: int, zeros: bool) -> None:
    u = np.random.default_rng(seed).normal(size=(4, 2, channels)) * (0.0 if zeros else 1.0)
    mask = project(u, (s, 8), channels)
    for c in range(0, channels, 8):
        size = min(8, channels - c)
        assert (mask[:, :, c : c + 8].sum(-1) == min(s, size)).all()
        kept = np.where(mask, np.abs(u), np.inf)[:, :, c : c + 8].min(-1)
        lost = np.where(mask, -np.inf, np.abs(u))[:, :, c : c + 8].max(-1)
        assert (kept >= lost).all()


@pytest.mark.parametrize("text", ["9/8", "0/8", "x", "4", (1, 2, 3)])
def test_bad_density(text: str) -> None:
    with pytest.raises(ConfigError, match="density"):
        parse_density(text)


def small() -> tuple[Graph, np.ndarray]:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(16 * 16, 8),
    ).eval()  # fmt: skip
    x = np.random.default_rng(0).normal(size=(16, 3, 8, 8)).astype(np.float32)
    return passes.lower_linear(capture(net, x)), x


@pytest.mark.parametrize("tile", ["f2", "f4", "direct"])
def test_pruned_graph_survives_fusing(tile: str) -> None:
    graph, x = small()
    graph = recalibrate(prune(passes.choose_tile(graph, tile), "4/8", linear=True), x)  # type: ignore[arg-type]
    fused = passes.run(graph, passes.AFTER_COMPRESSION)
    np.testing.assert_allclose(execute(fused, x)["output"], execute(graph, x)["output"], rtol=1e-3, atol=1e-4)


def test_chooser_and_recalibration() -> None:
    graph, x = small()
    names = [n.name for n in graph if n.op == "conv"]
    assert prunable(graph, 8) == (names[1],)
    assert prunable(graph, 8, linear=True) == tuple(names[1:])
    assert prunable(graph, 32, linear=True) == ()
    new = recalibrate(graph, x)
    tensors = execute(new, x, all_tensors=True)
    for node in new:
        if node.op == "batch_norm":
            np.testing.assert_allclose(tensors[node.name].mean((0, 2, 3)), node.params["beta"], atol=1e-4)


@pytest.mark.parametrize(("tile", "hw", "limit"), [("f2", "tiny", 0.05), ("f4", "tiny", 0.15), ("f2", "wide", 0.03)])
def test_quantised_is_near_float(tile: str, hw: str, limit: float) -> None:
    graph, x = small()
    config = hwconfig.load(hw)
    graph = passes.run(passes.choose_tile(graph, tile), passes.AFTER_COMPRESSION)  # type: ignore[arg-type]
    q = quantise(graph, config, x)
    real, got = execute(graph, x)["output"], run_integer(q, x, config)["output"]
    scale = q.node(q.outputs[0].inputs[0]).attrs["quant"].out_scale
    assert np.linalg.norm(got * scale - real) / np.linalg.norm(real) < limit
    if hw == "wide":
        first = next(n for n in q if n.op == "conv").attrs["quant"]
        assert max(first.ev) == max(first.em) == 0


def test_bounds_are_refused() -> None:
    graph, x = small()
    config = hwconfig.load("tiny")
    q = quantise(passes.run(graph), config, x)
    node = next(n for n in q if n.op == "conv")
    with pytest.raises(QuantisationError, match="acc_bits"):
        big = dataclasses.replace(node.attrs["quant"], u=node.attrs["quant"].u * 0 + (1 << 20))
        check_bounds(node, big, config)


def test_evaluation_of_large_maps_is_cut_into_batches() -> None:
    """As many images at once as fit a gigabyte; which tensors are kept changes none of them."""
    net = nn.Sequential(nn.Conv2d(3, 64, 3), nn.ReLU(), nn.Conv2d(64, 64, 3))
    assert images_at_once(capture(net, torch.zeros(1, 3, 16, 16))) == 32
    large = capture(net, torch.zeros(1, 3, 514, 514))
    assert images_at_once(large) == (1 << 30) // (4 * (3 * 514**2 + 2 * 64 * 512**2 + 2 * 64 * 510**2)) == 3
    graph = capture(net, torch.zeros(1, 3, 16, 16))
    x = torch.randn(5, 3, 16, 16)
    everything, some = evaluate(graph, x), evaluate(graph, x, keep={"0", "2"})
    assert set(everything) == {n.name for n in graph} and set(some) == {"0", "2"}
    assert torch.equal(some["2"], everything["2"])
    fused = passes.run(graph)
    whole, cut = (activation_scales(fused, as_batch(fused, x), "max", batch=b) for b in (None, 2))
    assert whole == pytest.approx(cut)


def test_nothing_to_prune_names_every_layer() -> None:
    graph, _ = small()
    check_prunable(graph, (4, 8))
    with pytest.raises(ConfigError, match="nothing to prune in Sequential: layer 0 is the first.*; layer 3 has 16 "
                       "input channels, fewer than L = 32; layer 8 has 16"):  # fmt: skip
        check_prunable(graph, (4, 32))
    only = capture(nn.Sequential(nn.Conv2d(8, 8, 1), nn.Flatten(), nn.Linear(32, 8)), torch.zeros(1, 8, 2, 2))
    only = passes.lower_linear(only)
    with pytest.raises(ConfigError, match=r"layer 2 is linear \(option linear"):
        check_prunable(only, (4, 8))
    check_prunable(only, (4, 8), linear=True)
    net = capture(nn.Sequential(nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 3)), torch.zeros(1, 8, 8, 8))
    grouped = net.replace({"1": net.node("1").with_attrs(groups=8)})
    with pytest.raises(ConfigError, match="layer 1 has 8 groups"):
        check_prunable(grouped, (4, 8))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_images_that_are_no_numbers(value: float) -> None:
    graph, x = small()
    x = x.astype(np.float64)
    x[2, 0, 0, 0] = value
    with pytest.raises(InputError, match="image 2 holds NaN, infinity or a value too large for float32"):
        as_batch(graph, x)


def test_network_that_gives_no_numbers() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1))
    net[0].weight.data.fill_(3e38)
    x = np.ones((5, 3, 4, 4), np.float32)
    graph = passes.choose_tile(capture(net, x), "f2")
    with pytest.raises(QuantisationError, match="tensor 0: the network gives inf for calibration images 0..4"):
        activation_scales(graph, as_batch(graph, x))
    with pytest.raises(QuantisationError, match="layer 1: its input is NaN, infinite or too large on the calibration"):
        prune(graph, "4/8", images=x)
