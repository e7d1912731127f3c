"""DSP inference: two products share one DSP48E1, and the array holds no other. Yosys takes about half a minute."""

from __future__ import annotations

import pytest

from subrow.area import Area, count, estimate, estimate_unit
from subrow.spec import hwconfig

pytest.importorskip("pyosys")


def test_two_products_are_one_dsp_and_nothing_else() -> None:
    assert estimate(hwconfig.load("tiny"), "subrow_mac2", {"UBits": 8, "VBits": 8}) == Area(1, 0, 0, 0, 0)


def test_wide_product_is_one_dsp_and_nothing_else() -> None:
    assert estimate(hwconfig.load("wide"), "subrow_mac1", {"UBits": 12, "VBits": 10}) == Area(1, 0, 0, 0, 0)


def test_lane_has_half_a_dsp_for_each_multiplier() -> None:
    hw = hwconfig.load("tiny")
    assert estimate_unit(hw, "subrow_lane").dsp == hw.channels * hw.tiles // 2


def test_array_is_four_lanes() -> None:
    hw = hwconfig.load("tiny")
    area = estimate_unit(hw, "subrow_array")
    assert area.dsp == hw.channels * 4 * hw.tiles // 2 == hw.multipliers // hw.products_per_dsp
    assert area.ramb == 0, "the sums' hold register must stay in flip-flops"


def test_cells_are_counted_by_what_they_take() -> None:
    cells = {"LUT6": 2, "INV": 1, "RAM64M": 1, "SRL16E": 3, "FDRE": 5, "FDSE": 1, "RAMB36E1": 2, "RAMB18E1": 3,
             "DSP48E1": 4, "CARRY4": 9, "MUXF7": 1}  # fmt: skip
    assert count(cells) == Area(dsp=4, ramb=3.5, lut=10, lut_memory=7, ff=6)
