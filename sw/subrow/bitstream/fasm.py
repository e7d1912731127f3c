"""FASM: the features of a bitstream as text, one a line, and the bits of a vector feature one by one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from subrow.spec.errors import SubrowError

_LINE = re.compile(r"([^\s\[\]={}#]+)(?:\[(\d+)(?::(\d+))?\])?\s*(?:=\s*(\S+))?")
_VALUE = re.compile(r"(?:(\d+)')?([bodh])?([0-9a-fA-F_]+)")
_BASES = {"b": 2, "o": 8, "d": 10, "h": 16, None: 10}


class FasmError(SubrowError):
    """A FASM line or feature that means nothing; the message names it."""


@dataclass(frozen=True)
class Feature:
    """One feature that is set: tile, name within the tile, position in a vector (None: no vector)."""

    tile: str
    name: str
    index: int | None = None

    def __str__(self) -> str:
        return f"{self.tile}.{self.name}" + ("" if self.index is None else f"[{self.index}]")


def _value(text: str | None, line: str) -> int:
    if text is None:
        return 1
    match = _VALUE.fullmatch(text)
    if match is None:
        raise FasmError(f"FASM line {line!r}: value {text!r} is not a number")
    try:
        return int(match[3].replace("_", ""), _BASES[match[2]])
    except ValueError as error:
        raise FasmError(f"FASM line {line!r}: value {text!r} is not a number of base {_BASES[match[2]]}") from error


def features_of_line(line: str) -> Iterator[Feature]:
    """The features that a line sets; none for a comment, a blank line or the value 0. Raises FasmError."""
    text = re.sub(r"[{#].*", "", line).strip()
    if not text:
        return
    match = _LINE.fullmatch(text)
    tile, _, name = (match[1] if match else "").partition(".")
    if match is None or not name:
        forms = "TILE.FEATURE, TILE.FEATURE[i] or TILE.FEATURE[high:low] = value"
        raise FasmError(f"FASM line {line.strip()!r}: must be {forms}")
    value = _value(match[4], line)
    high = None if match[2] is None else int(match[2])
    low = high if match[3] is None else int(match[3])
    width = 1 if high is None or low is None else high - low + 1
    if width < 1 or value >> width:
        raise FasmError(f"FASM line {line.strip()!r}: value {match[4]} does not fit {width} bits")
    for i in range(width):
        if value >> i & 1:
            yield Feature(tile, name, None if low is None else low + i)


def parse(lines: Iterable[str]) -> list[Feature]:
    """Every feature that is set, in order, each once. Raises FasmError."""
    return list(dict.fromkeys(feature for line in lines for feature in features_of_line(line)))
