"""Depth of netlists small enough to count by hand, in the form of Yosys's write_json."""

from __future__ import annotations

from typing import Any

from subrow.netlist import Depth, depth


def cell(kind: str, out: dict[str, list[int]], **inputs: list[int]) -> dict[str, Any]:
    directions = {**dict.fromkeys(inputs, "input"), **dict.fromkeys(out, "output")}
    return {"type": kind, "port_directions": directions, "connections": {**inputs, **out}, "parameters": {}}


def module(cells: dict[str, dict[str, Any]], **nets: list[int]) -> dict[str, Any]:
    return {"cells": cells, "ports": {}, "netnames": {name: {"bits": bits} for name, bits in nets.items()}}


def test_luts_count_and_a_wide_multiplexer_belongs_to_them() -> None:
    cells = {
        "a": cell("FDRE", {"Q": [1]}, D=[9]), "l": cell("LUT6", {"O": [2]}, I0=[1]),
        "m": cell("MUXF7", {"O": [3]}, I0=[2], I1=[2], S=[1]), "k": cell("LUT2", {"O": [4]}, I0=[3], I1=[1]),
        "b": cell("FDRE", {"Q": [5]}, D=[4]),
    }  # fmt: skip
    assert depth(module(cells, from_q=[1], to_q=[5])) == Depth(2, 3, "from_q", "to_q")


def test_carry_chain_of_any_length_is_one_level() -> None:
    cells = {"a": cell("FDRE", {"Q": [1]}, D=[99]), "l": cell("LUT2", {"O": [2]}, I0=[1])}
    before = 0
    for i in range(5):
        inputs = {"S": [2], "DI": [1], "CI": [before or 1]}
        before = 10 + i
        cells[f"c{i}"] = cell("CARRY4", {"CO": [before], "O": [20 + i]}, **inputs)
    cells["b"] = cell("FDRE", {"Q": [5]}, D=[24])
    assert depth(module(cells, from_q=[1], to_q=[5])) == Depth(2, 6, "from_q", "to_q")


def test_a_dsp_with_registers_ends_a_path_and_one_without_does_not() -> None:
    dsp = cell("DSP48E1", {"P": [3]}, A=[2])
    cells = {"a": cell("FDRE", {"Q": [1]}, D=[9]), "l": cell("LUT1", {"O": [2]}, I0=[1]), "d": dsp,
             "b": cell("FDRE", {"Q": [4]}, D=[3])}  # fmt: skip
    assert depth(module(cells, p=[3], to_q=[4])).levels == 2
    dsp["parameters"] = {"PREG": "1"}
    assert depth(module(cells, p=[3], to_q=[4])) == Depth(1, 1, "?", "p")


def test_memory_of_luts_is_read_through_but_not_written_through() -> None:
    ram = cell("RAM32M", {"DOA": [3]}, ADDRA=[1], ADDRD=[2], DIA=[2])
    cells = {"a": cell("FDRE", {"Q": [1]}, D=[9]), "l": cell("LUT1", {"O": [7]}, I0=[1]),
             "k": cell("LUT1", {"O": [2]}, I0=[7]), "m": ram, "b": cell("FDRE", {"Q": [4]}, D=[3])}  # fmt: skip
    found = depth(module(cells, from_q=[1], to_q=[4], mem=[3]))
    assert (found.levels, found.start) == (2, "from_q"), "two LUTs to the write port are the longest path"


def test_module_without_logic_has_no_depth() -> None:
    assert depth(module({"b": cell("FDRE", {"Q": [2]}, D=[1])}, d=[1], q=[2])).levels == 0
