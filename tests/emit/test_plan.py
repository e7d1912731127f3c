"""Instructions without weights are those of the compiled Program; `auto` knows densities and limits."""

from __future__ import annotations

import dataclasses

import pytest

from models.fashion_mnist import calibration_images
from models.vgg_nagadomi import vgg_nagadomi_quarter
from subrow import passes
from subrow.compress.quantise import quantise
from subrow.compress.srbs import prune
from subrow.emit.lower import lower
from subrow.emit.pack import density_of, pack_layer
from subrow.emit.plan import choose_tiles, plan, shape_of
from subrow.frontend.torch_export import capture
from subrow.ir.graph import Graph
from subrow.planning import densities_of
from subrow.spec import hwconfig

HW = hwconfig.load("tiny")
NUMBERS = ("weight_offset", "act_min", "act_max", "res_mult", "res_shift", "ev", "em")


@pytest.fixture(scope="module")
def lowered() -> Graph:
    return passes.lower_linear(capture(vgg_nagadomi_quarter(), calibration_images().images[:1]))


def fused(graph: Graph) -> Graph:
    return passes.run(graph, passes.AFTER_COMPRESSION)


@pytest.mark.parametrize("density", (None, (2, 8)))
def test_plan_is_the_program_without_its_numbers(lowered: Graph, density: tuple[int, int] | None) -> None:
    graph = passes.choose_tile(lowered, "f2")
    planned = plan(fused(graph), HW, densities_of(graph, density, False))
    graph = graph if density is None else prune(graph, density)
    quantised = quantise(fused(graph), HW, calibration_images().images[:4])
    program = lower(quantised, HW)
    for (node, ins), real, info in zip(planned, program.decoded(), program.layers, strict=True):
        assert node.name == info.name
        same = {k: getattr(ins, k) for k in ins.values if k not in NUMBERS}
        assert same == {k: getattr(real, k) for k in same}, node.name
    for node in quantised:
        if node.op == "conv":
            assert density_of(node, HW) == densities_of(graph, density, False).get(node.name)
            shape = shape_of(node, HW, density_of(node, HW))
            assert pack_layer(node, shape, HW).size == shape.kgs * shape.chunk_bytes, node.name


def test_tiles_depend_on_density(lowered: Graph) -> None:
    """conv3_1 dense is bound by weight bytes at F(4x4), which 1/8 brings down by more than the output side allows."""
    graph = fused(lowered)
    dense = choose_tiles(graph, HW, {})
    sparse = choose_tiles(graph, HW, densities_of(lowered, (4, 8), False))
    assert set(dense) == set(sparse) == {n.name for n in graph if n.name.startswith("features") and n.op == "conv"}
    assert set(dense.values()) == {"f2", "f4"}
    assert dense != sparse


def test_a_tile_that_fits_no_ring_is_not_chosen(lowered: Graph) -> None:
    """F(4x4) of 64 channels has 9 * 8 * 8 weight words; the ring has 512."""
    small = dataclasses.replace(HW, name="ring", weight_words=512)
    tiles = choose_tiles(fused(lowered), small, {})
    assert tiles["features.conv3_2"] == "f2"
