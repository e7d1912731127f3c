"""What Yosys makes of the RTL: DSP inference, the area of each unit of `tiny` against a committed table, its depth.

tests/hw/area-tiny.json is written by `python -m tests.hw.test_area`, after a change of the RTL that is meant to change
it. DSPs and block RAMs must be equal, LUTs within 3 %, no path deeper than 8 LUT levels besides those that it lists.
Yosys takes about five minutes for all units, and nothing for those that did not change.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from subrow.area import UNITS, Area, Estimate, area_json, count, estimate, estimate_unit, family_of, sources_of
from subrow.netlist import Depth
from subrow.spec import hwconfig
from subrow.spec.errors import SubrowError

pytest.importorskip("pyosys")

TABLE = Path(__file__).with_name("area-tiny.json")
LUT_TOLERANCE = 0.03
MAX_LEVELS = 8


def table() -> dict[str, Any]:
    return json.loads(TABLE.read_text(encoding="utf-8"))


def differences(unit: str, got: Estimate, want: Area, most: int = MAX_LEVELS) -> list[str]:
    """What a unit has other than the table says."""
    found = [f"{unit}: {name} {a}, not {b}" for name, a, b in
             (("DSP", got.area.dsp, want.dsp), ("RAMB36", got.area.ramb, want.ramb)) if a != b]  # fmt: skip
    if abs(got.area.lut - want.lut) > LUT_TOLERANCE * want.lut:
        found.append(f"{unit}: {got.area.lut} LUTs, not {want.lut} within {LUT_TOLERANCE:.0%}")
    if got.depth.levels > most:
        found.append(f"{unit}: {got.depth.levels} LUT levels from {got.depth.start} to {got.depth.end}, not {most}")
    return found


@pytest.mark.parametrize("unit", UNITS)
def test_unit_takes_what_the_table_says(unit: str) -> None:
    document = table()
    want, most = Area(**document["modules"][unit]), max(MAX_LEVELS, document["depth"][unit]["levels"])
    assert differences(unit, estimate_unit(hwconfig.load("tiny"), unit), want, most) == []


def test_table_is_of_all_units_and_no_others() -> None:
    assert set(table()["modules"]) == set(table()["depth"]) == set(UNITS)


@pytest.mark.parametrize(("changed", "word"), [
    (Area(2, 1.0, 100, 0, 0), "DSP"), (Area(1, 1.5, 100, 0, 0), "RAMB36"), (Area(1, 1.0, 104, 0, 0), "LUTs"),
    (Area(1, 1.0, 96, 0, 0), "LUTs"),
])  # fmt: skip
def test_a_difference_is_named(changed: Area, word: str) -> None:
    want = Area(1, 1.0, 100, 0, 0)
    assert differences("unit", Estimate(want, Depth(8, 9, "a", "b")), want) == []
    (text,) = differences("unit", Estimate(changed, Depth(8, 9, "a", "b")), want)
    assert word in text
    (text,) = differences("unit", Estimate(want, Depth(9, 9, "a", "b")), want)
    assert "9 LUT levels from a to b" in text


def test_two_sums_are_one_dsp_and_a_counter_of_wraps() -> None:
    area = estimate(hwconfig.load("tiny"), "subrow_mac2", {"UBits": 8, "VBits": 8, "AccBits": 26}).area
    assert area == Area(dsp=1, ramb=0, lut=11, lut_memory=0, ff=11)


def test_wide_sum_is_one_dsp_and_nothing_else() -> None:
    parameters = {"UBits": 12, "VBits": 10, "AccBits": 32}
    assert estimate(hwconfig.load("wide"), "subrow_mac1", parameters).area == Area(1, 0, 0, 0, 0)


def test_ultrascale_has_the_same_dsps_under_their_name() -> None:
    area = estimate(hwconfig.load("tiny"), "subrow_mac2", {"UBits": 8, "VBits": 8, "AccBits": 26}, family="xcup").area
    assert (area.dsp, area.ff) == (1, 11)


def test_large_memory_becomes_ultraram_where_it_is_asked_for() -> None:
    hw, parameters = hwconfig.load("tiny"), {"Width": 72, "Depth": 8192}
    block, ultra = (estimate(hw, "subrow_ram", parameters, family="xcup", uram=uram).area for uram in (False, True))
    assert (block.ramb, block.uram) == (16, 0)
    assert (ultra.ramb, ultra.uram) == (0, 2)


def test_array_is_four_lanes_of_half_a_dsp_per_multiplier() -> None:
    hw = hwconfig.load("tiny")
    area = estimate_unit(hw, "subrow_array").area
    assert area.dsp == hw.channels * 4 * hw.tiles // 2 == hw.multipliers // hw.products_per_dsp
    assert area.ramb == 0, "the sums' hold register must stay in flip-flops"


def test_cells_are_counted_by_what_they_take() -> None:
    cells = {"LUT6": 2, "INV": 1, "RAM64M": 1, "SRL16E": 3, "FDRE": 5, "FDSE": 1, "RAMB36E1": 2, "RAMB18E1": 3,
             "DSP48E1": 4, "CARRY4": 9, "MUXF7": 1, "RAMB36E2": 1, "DSP48E2": 1, "URAM288": 2}  # fmt: skip
    assert count(cells) == Area(dsp=5, ramb=4.5, lut=10, lut_memory=7, ff=6, uram=2)


@pytest.mark.parametrize(("family", "uram", "text"), [("xc6s", False, "must be one of xc7, xcup"),
                                                      ("xc7", True, "only xcup has it")])
def test_what_there_is_not_is_refused(family: str, uram: bool, text: str) -> None:
    with pytest.raises(SubrowError, match=text):
        estimate(hwconfig.load("tiny"), "subrow_ram", {"Width": 8, "Depth": 16}, family=family, uram=uram)


def test_sources_of_a_unit_are_those_below_it() -> None:
    assert [p.stem for p in sources_of("subrow_lane") if not p.stem.endswith("_pkg")] == [
        "subrow_lane", "subrow_mac1", "subrow_mac2"]  # fmt: skip
    assert {"subrow_regs", "subrow_datapath", "subrow_bt"} <= {p.stem for p in sources_of("subrow_engine")}


def test_part_names_its_family() -> None:
    assert [family_of(hwconfig.load(name)) for name in ("tiny", "pynq-z2")] == ["xc7", "xc7"]


def write_table() -> None:
    hw = hwconfig.load("tiny")
    document = area_json(hw, {unit: estimate_unit(hw, unit) for unit in UNITS})
    TABLE.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_table()
