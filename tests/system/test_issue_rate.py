"""How busy the array is, and what density saves: every 3x3 layer of the demo network, as compiled, in the RTL."""

from __future__ import annotations

import pytest

from models.fashion_mnist import test_images as demo_images
from subrow.devices import open_device
from subrow.report.measure import LayerRow, layer_rows
from tests.system.test_demo import HW, demo_program

pytestmark = pytest.mark.verilator

SHORT = {("f4", "2/8", "features.conv2_2"): 0.83}
"""Layers below 85 % though no memory port bounds them: 2,304 steps, of which the first rows' way in costs 340."""

Rows = dict[tuple[str, str], tuple[LayerRow, ...]]


@pytest.fixture(scope="module")
def rows() -> Rows:
    """3x3 layers by (tile, density)."""
    result: Rows = {}
    with open_device("verilator", HW) as chip:
        for tile in ("f2", "f4"):
            for density in (None, "4/8", "2/8"):
                program = demo_program(tile, density)  # type: ignore[arg-type]
                chip.load(program)
                run = chip.run(demo_images().images[:1])
                layers = layer_rows(program, run, HW)
                result[tile, density or "dense"] = tuple(r for r in layers if r.tile == tile)
    assert {len(r) for r in result.values()} == {8}
    return result


def test_layers_that_memory_does_not_bound_issue_in_85_percent_of_their_cycles(rows: Rows) -> None:
    low, bound = {}, 0
    for (tile, density), layers in rows.items():
        for row in layers:
            if row.bound != "compute":
                assert row.roofline.memory_bound, row
                bound += 1
            elif row.utilisation < SHORT.get((tile, density, row.name), 0.85):
                low[tile, density, row.name] = row.utilisation
    assert not low
    assert bound < 24, "most layers must be bound by the array for this test to say anything"


def test_no_exception_is_listed_that_is_none(rows: Rows) -> None:
    for tile, density, name in SHORT:
        (row,) = (r for r in rows[tile, density] if r.name == name)
        assert row.bound == "compute" and row.utilisation < 0.85


@pytest.mark.parametrize("tile", ("f2", "f4"))
def test_density_2_of_8_takes_at_most_30_percent_of_dense(rows: Rows, tile: str) -> None:
    pairs = [
        (dense, sparse)
        for dense, sparse in zip(rows[tile, "dense"], rows[tile, "2/8"], strict=True)
        if sparse.density == (2, 8) and "compute" == dense.bound == sparse.bound
    ]
    assert len(pairs) >= {"f2": 7, "f4": 1}[tile]
    for dense, sparse in pairs:
        assert sparse.cycles <= 0.30 * dense.cycles, (dense, sparse)
