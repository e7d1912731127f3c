"""What nextpnr leaves out of a 7-series bitstream without a word, found in the netlist and written after it.

Constants on eight mode pins of a DSP48E1 are set by tie-offs in the DSP tile, of which nextpnr writes none. RAMB36 of
width 1 and 9 lose their width. Both are checked before place and route.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from subrow.bitstream.fasm import Feature
from subrow.spec.errors import SubrowError

TIED_PINS = (*(("INMODE", i) for i in range(5)), ("ALUMODE", 2), ("ALUMODE", 3), ("OPMODE", 6))
"""Pins of a DSP48E1 whose constants are tie-offs in its tile."""
LOST_WIDTHS = (1, 9)
WIDTHS = ("READ_WIDTH_A", "READ_WIDTH_B", "WRITE_WIDTH_A", "WRITE_WIDTH_B")
REGISTERS = ("AREG", "BREG", "MREG", "PREG")
"""Parameters of a DSP48E1 that nextpnr takes to be something else than the cell's default when they are missing."""

Constants = tuple[bool, ...]


class NetlistError(SubrowError):
    """A netlist holds something that the open tools would get wrong; the message names the cell."""


def check(cells: Mapping[str, Any]) -> Counter[Constants]:
    """How often each setting of TIED_PINS occurs among the DSPs of a Yosys netlist.

    Raises NetlistError for a DSP with such a pin driven by logic or without a register parameter, and for a RAMB36
    whose width the tools lose.
    """
    found: Counter[Constants] = Counter()
    for name, cell in cells.items():
        parameters = cell["parameters"]
        if cell["type"] == "RAMB36E1":
            for key in WIDTHS:
                width = int(str(parameters.get(key, "0")), 2)
                if width in LOST_WIDTHS:
                    raise NetlistError(
                        f"cell {name}: RAMB36E1 with {key} = {width}: the open tools lose widths 1 and 9; change the "
                        "depth of that memory so that it has 18, 36 or 72 bits"
                    )
        if cell["type"] == "DSP48E1":
            missing = [r for r in REGISTERS if r not in parameters]
            if missing:
                raise NetlistError(
                    f"cell {name}: DSP48E1 without parameter {missing[0]}: the open tools assume another default than "
                    "the DSP's: write it"
                )
            found[tuple(_constant(name, cell, pin, i) for pin, i in TIED_PINS)] += 1
    return found


def _constant(name: str, cell: Mapping[str, Any], pin: str, index: int) -> bool:
    bits = cell["connections"].get(pin, [])
    bit = bits[index] if index < len(bits) else "0"
    if bit not in ("0", "1", "x"):
        raise NetlistError(f"cell {name}: DSP48E1 pin {pin}[{index}] is driven by logic; it must be a constant")
    return bit == "1"


def dsp_sites(features: Iterable[Feature]) -> dict[tuple[str, str], set[str]]:
    """Tile and DSP (DSP_0, DSP_1) of every DSP that is used -> its features, indices written out."""
    sites: dict[tuple[str, str], set[str]] = {}
    for feature in features:
        parts = feature.name.split(".")
        if parts[0] == "DSP48" and len(parts) == 3:
            index = "" if feature.index is None else f"[{feature.index}]"
            sites.setdefault((feature.tile, parts[1]), set()).add(parts[2] + index)
    return sites


def tie_offs(features: Iterable[Feature], expected: Counter[Constants]) -> list[Feature]:
    """Features that set the constants of TIED_PINS: a tie to ground or supply each, and no inverter.

    nextpnr writes a constant 1 as a pin without inverter and a 0 as one with it. expected: what check found. Raises
    NetlistError when the features do not say the same.
    """
    result, found = [], Counter[Constants]()
    for (tile, dsp), names in dsp_sites(features).items():
        values = tuple(f"ZIS_{pin}_INVERTED[{i}]" in names for pin, i in TIED_PINS)
        found[values] += 1
        side = tile[4]  # DSP_L_X…, DSP_R_X…
        for (pin, i), value in zip(TIED_PINS, values, strict=True):
            result.append(Feature(tile, f"{dsp}_{pin}{i}.DSP_{'VCC' if value else 'GND'}_{side}"))
            result.append(Feature(tile, f"DSP48.{dsp}.ZIS_{pin}_INVERTED", i))
    if found != expected:
        raise NetlistError(
            f"{sum(found.values())} DSPs in the FASM, {sum(expected.values())} in the netlist, or other constants on "
            "their mode pins: this nextpnr writes them in another way than 0.11"
        )
    return result
