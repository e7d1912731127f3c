"""The bits of a 7-series bitstream by feature: the tables of prjxray-database, read for one part.

A frame is 101 words of 32 bits at a frame address; a bit is (frame address, 32 * word + position). The tables give the
bits of a feature relative to the tile that it stands in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from subrow.bitstream.fasm import FasmError, Feature, parse
from subrow.spec.errors import MissingTool

Bit = tuple[int, int]
FRAME_WORDS = 101
ECC_WORD, ECC_BITS = 50, 13  # of a frame; whoever writes the bitstream computes them
BLOCKS = {"CLB_IO_CLK": "", "BLOCK_RAM": ".block_ram"}
"""Kinds of configuration memory, and how the file of a tile type's bits there is called."""
_ZEROS = re.compile(r"\[0*(\d+)\]$")


@dataclass(frozen=True)
class Segbit:
    """A bit of a feature, relative to its tile: block, frame, bit; value that the feature needs."""

    block: str
    frame: int
    bit: int
    value: bool


@dataclass(frozen=True)
class Tile:
    """Where a tile stands in the bitstream: block -> (first frame address, word offset)."""

    kind: str
    places: Mapping[str, tuple[int, int]]
    alias: bool  # its bits are those of another kind, shifted


@dataclass
class Database:
    """The tables of one part; those of a tile type are read when a feature needs them.

    Raises MissingTool when there is no database at `folder` (…/prjxray/database/zynq7).
    """

    folder: Path
    part: str
    tiles: dict[str, Tile] = field(default_factory=dict)
    _segbits: dict[str, dict[str, tuple[Segbit, ...]]] = field(default_factory=dict)
    _pseudo: dict[str, frozenset[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        grid = self.folder / self.part.split("clg")[0] / "tilegrid.json"
        if not grid.is_file() or not self.part_file.is_file():
            raise MissingTool(f"prjxray database of {self.part}: no {grid}: install prjxray-database (Debian sid)")
        for name, entry in json.loads(grid.read_text(encoding="utf-8")).items():
            places = {block: (int(b["baseaddr"], 16), b["offset"]) for block, b in entry["bits"].items()}
            alias = any("alias" in b for b in entry["bits"].values())
            self.tiles[name] = Tile(entry["type"], places, alias)

    @property
    def part_file(self) -> Path:
        """The part's frame addresses, for the tools that read and write bitstreams."""
        return self.folder / self.part / "part.yaml"

    def required(self) -> list[Feature]:
        """Features that every bitstream of the part has."""
        path = self.folder / self.part / "required_features.fasm"
        return parse(path.read_text(encoding="utf-8").splitlines()) if path.is_file() else []

    def segbits(self, kind: str) -> dict[str, tuple[Segbit, ...]]:
        """Bits of every feature of a tile type, by its full name without leading zeros in its index."""
        if kind not in self._segbits:
            table: dict[str, tuple[Segbit, ...]] = {}
            for block, suffix in BLOCKS.items():
                path = self.folder / f"segbits_{kind.lower()}{suffix}.db"
                for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
                    name, *bits = line.split()
                    table[_ZEROS.sub(r"[\1]", name)] = tuple(_segbit(block, bit) for bit in bits)
            self._segbits[kind] = table
        return self._segbits[kind]

    def pseudo(self, kind: str) -> frozenset[str]:
        """Features of a tile type that need no bit: wires that are always joined."""
        if kind not in self._pseudo:
            path = self.folder / f"ppips_{kind.lower()}.db"
            lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
            self._pseudo[kind] = frozenset(line.split()[0] for line in lines if line.strip())
        return self._pseudo[kind]

    def bits(self, feature: Feature) -> list[tuple[Bit, bool]]:
        """The bits of a feature and the values it needs; none for a wire that is always joined.

        Raises FasmError for a tile that the part lacks or a feature that its type lacks.
        """
        tile = self.tiles.get(feature.tile)
        if tile is None:
            raise FasmError(f"FASM feature {feature}: {self.part} has no tile {feature.tile}")
        if tile.alias:
            raise FasmError(f"FASM feature {feature}: tiles of type {tile.kind} are not supported (no pads)")
        name = f"{tile.kind}.{feature.name}"
        table = self.segbits(tile.kind)
        found = table.get(name if feature.index is None else f"{name}[{feature.index}]")
        if found is None and feature.index == 0:  # a vector of one bit may stand in the tables without its index
            found = table.get(name)
        if found is None:
            if name in self.pseudo(tile.kind):
                return []
            raise FasmError(f"FASM feature {feature}: tile type {tile.kind} has no such feature")
        return [(_place(tile, s), s.value) for s in found]


def _segbit(block: str, text: str) -> Segbit:
    frame, bit = text.removeprefix("!").split("_")
    return Segbit(block, int(frame), int(bit), not text.startswith("!"))


def _place(tile: Tile, segbit: Segbit) -> Bit:
    base, offset = tile.places[segbit.block]
    return base + segbit.frame, 32 * offset + segbit.bit


def assemble(database: Database, features: Iterable[Feature]) -> set[Bit]:
    """The bits that are 1 when these features are set.

    Raises FasmError for an unknown feature, and for two features of which one needs a bit 1 and the other 0.
    """
    values: dict[Bit, tuple[bool, Feature]] = {}
    for feature in features:
        for bit, value in database.bits(feature):
            before = values.setdefault(bit, (value, feature))
            if before[0] != value:
                one, zero = (feature, before[1]) if value else (before[1], feature)
                raise FasmError(f"FASM features {one} and {zero}: frame {bit[0]:#010x} bit {bit[1]} would be 1 and 0")
    return {bit for bit, (value, _) in values.items() if value}


def frames_text(ones: Iterable[Bit]) -> str:
    """A .frm file: each frame with a 1 in it as address and 101 words; the others are 0 by default."""
    frames: dict[int, list[int]] = {}
    for frame, bit in ones:
        frames.setdefault(frame, [0] * FRAME_WORDS)[bit // 32] |= 1 << bit % 32
    lines = (f"{address:#010x} " + ",".join(f"{w:#010x}" for w in words) for address, words in sorted(frames.items()))
    return "\n".join(lines) + "\n"


def is_ecc(bit: Bit) -> bool:
    """Whether a bit is one of the frame's check bits."""
    return 32 * ECC_WORD <= bit[1] < 32 * ECC_WORD + ECC_BITS


def read_bits(text: str) -> set[Bit]:
    """The bits of a listing `bit_<frame, hex>_<word>_<position>`, one a line, check bits left out."""
    found = {(int(f, 16), 32 * int(w) + int(b)) for f, w, b in re.findall(r"^bit_([0-9a-f]+)_(\d+)_(\d+)$", text, re.M)}
    return {bit for bit in found if not is_ecc(bit)}


def decode(database: Database, ones: set[Bit], tiles: Iterable[str]) -> set[Feature]:
    """Every feature of these tiles whose bits all have the values it needs, those that need a 1 at least.

    A feature of few bits is found wherever one with more bits is, so a set that was assembled decodes to a larger one.
    """
    found = set()
    for name in tiles:
        tile = database.tiles[name]
        for full, bits in database.segbits(tile.kind).items():
            if any(s.value for s in bits) and all((_place(tile, s) in ones) == s.value for s in bits):
                base, index = full.removeprefix(f"{tile.kind}."), None
                if match := _ZEROS.search(base):
                    base, index = base[: match.start()], int(match[1])
                found.add(Feature(name, base, index))
    return found


@dataclass(frozen=True)
class Comparison:
    """A bitstream against the features that it was made from."""

    features: int  # that have bits, all of them found
    lost: tuple[Feature, ...]  # features with a bit 1 that the bitstream does not show
    missing: int  # bits that should be 1
    extra: int  # bits that are 1 and belong to no feature

    @property
    def equal(self) -> bool:
        """Every feature found, not a bit too many or too few."""
        return not (self.lost or self.missing or self.extra)


def compare(database: Database, features: Iterable[Feature], ones: set[Bit]) -> Comparison:
    """Decode the bits that a bitstream has (check bits left out) and compare every feature. Raises FasmError."""
    wanted = {f: [b for b, value in database.bits(f) if value] for f in features}
    shown = {f: bits for f, bits in wanted.items() if bits}
    expected = {bit for bits in shown.values() for bit in bits}
    decoded = decode(database, ones, {f.tile for f in shown})
    plain = {(f.tile, f.name, f.index or 0) for f in decoded}
    lost = tuple(f for f in shown if (f.tile, f.name, f.index or 0) not in plain)
    return Comparison(len(shown) - len(lost), lost, len(expected - ones), len(ones - expected))
