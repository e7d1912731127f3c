"""Logic depth of a mapped netlist: the longest path between registers, counted in LUT levels."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Bit = int
Cells = Mapping[str, Mapping[str, Any]]
_LUT = re.compile(r"LUT[1-6]|INV")
_CARRY = re.compile(r"CARRY[48]")
_WIDE_MUX = re.compile(r"MUXF[789]")
_LUT_RAM = re.compile(r"RAM\d+(M|X1D|X1S|M16)")
_DSP = re.compile(r"DSP48E[12]")


@dataclass(frozen=True)
class Depth:
    """The longest path of a module.

    levels: LUTs on it, plus one for each carry chain that it runs along (of any length) and one for each memory of LUTs
    or DSP without registers that it passes; a MUXF7, MUXF8 belongs to the LUT before it. cells: every cell on it, each
    CARRY4 by itself. start, end: the registers or ports that it joins.
    """

    levels: int
    cells: int
    start: str
    end: str


def _registered(cell: Mapping[str, Any]) -> bool:
    parameters = cell.get("parameters", {})
    return any("1" in str(parameters.get(name, "0")) for name in ("PREG", "MREG", "AREG", "BREG", "ADREG", "DREG"))


def _passes(cell: Mapping[str, Any]) -> bool:
    """Whether a signal goes through this cell within a clock cycle."""
    kind = cell["type"]
    if _DSP.fullmatch(kind):
        return not _registered(cell)
    return any(rule.fullmatch(kind) for rule in (_LUT, _CARRY, _WIDE_MUX, _LUT_RAM))


def _bits(cell: Mapping[str, Any], direction: str) -> Iterator[tuple[str, Bit]]:
    for port, bits in cell["connections"].items():
        if cell["port_directions"][port] == direction:
            yield from ((port, b) for b in bits if isinstance(b, int))


def _is_path_input(kind: str, port: str) -> bool:
    """An input of a passing cell that its output follows: of a LUT memory only the read addresses."""
    if not _LUT_RAM.fullmatch(kind):
        return True
    return port.startswith("ADDR") and port != "ADDRD" or port.startswith("DPRA")


class _Paths:
    """Longest path to every bit. A step's weight depends on where the signal comes from: carry to carry costs none."""

    def __init__(self, module: Mapping[str, Any]) -> None:
        self.cells: Cells = module["cells"]
        self.driver = {bit: name for name, cell in self.cells.items() for _, bit in _bits(cell, "output")}
        self.names: dict[Bit, str] = {}
        for name, net in sorted(module["netnames"].items(), key=lambda item: item[1].get("hide_name", 0)):
            for i, bit in enumerate(net["bits"]):
                self.names.setdefault(bit, f"{name}[{i}]" if len(net["bits"]) > 1 else name)
        self.best: dict[str, tuple[int, int, Bit | None]] = {}  # of a passing cell: levels, cells, bit before it

    def to(self, bit: Bit) -> tuple[int, int, Bit | None]:
        """Levels, cells and the bit before, up to this bit; register outputs and ports are 0."""
        name = self.driver.get(bit)
        if name is None or not _passes(self.cells[name]):
            return 0, 0, None
        self._visit(name)
        return self.best[name]

    def _visit(self, name: str) -> None:
        """Depth first without recursion: chains are longer than Python's stack. A loop of cells counts once."""
        stack = [(name, False)]
        while stack:
            current, ready = stack.pop()
            if current in self.best and not ready:
                continue
            cell = self.cells[current]
            inputs = [(p, b) for p, b in _bits(cell, "input") if _is_path_input(cell["type"], p)]
            if not ready:
                self.best[current] = (0, 0, None)
                stack.append((current, True))
                for _, bit in inputs:
                    before = self.driver.get(bit)
                    if before is not None and before not in self.best and _passes(self.cells[before]):
                        stack.append((before, False))
                continue
            options = [self._step(cell["type"], port, bit) for port, bit in inputs]
            self.best[current] = max(options, key=lambda o: o[:2], default=(1, 1, None))

    def _step(self, kind: str, port: str, bit: Bit) -> tuple[int, int, Bit | None]:
        before = self.driver.get(bit)
        levels, cells, _ = self.best.get(before, (0, 0, None)) if before is not None else (0, 0, None)
        chained = port == "CI" and before is not None and _CARRY.fullmatch(self.cells[before]["type"]) is not None
        free = _WIDE_MUX.fullmatch(kind) is not None or (_CARRY.fullmatch(kind) is not None and chained)
        return levels + (not free), cells + 1, bit

    def start(self, bit: Bit) -> Bit:
        while (before := self.to(bit)[2]) is not None:
            bit = before
        return bit


def depth(module: Mapping[str, Any]) -> Depth:
    """Depth of one flattened module, as Yosys's write_json describes it; paths from and to its ports count, too."""
    paths = _Paths(module)
    ends = {bit: paths.names.get(bit, "?") for port in module["ports"].values() if port["direction"] == "output"
            for bit in port["bits"] if isinstance(bit, int)}  # fmt: skip
    for name, cell in paths.cells.items():
        out = next((bit for _, bit in _bits(cell, "output")), None)
        label = name if out is None else paths.names.get(out, name)
        passes = _passes(cell)
        ends.update({b: label for p, b in _bits(cell, "input") if not (passes and _is_path_input(cell["type"], p))})
    if not ends:
        return Depth(0, 0, "", "")
    last = max(ends, key=lambda bit: paths.to(bit)[:2])
    levels, cells, _ = paths.to(last)
    return Depth(levels, cells, paths.names.get(paths.start(last), "?"), ends[last])
