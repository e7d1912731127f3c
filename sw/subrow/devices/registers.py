"""The engine's register block by name, from the one table that hw/regs describes (hw/gen/subrow_regs.json)."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("subrow_regs.json")  # beside this file also where only the package is installed
VLNV = "subrow:ip:subrow_engine:1.0"
"""Vendor, library, name and version of the engine as an IP, by which PYNQ finds its driver."""


@dataclass(frozen=True)
class Field:
    """Bits of a register."""

    lsb: int
    width: int

    @property
    def mask(self) -> int:
        """The field's bits in the register."""
        return ((1 << self.width) - 1) << self.lsb

    def of(self, value: int) -> int:
        """The field's value in a register's."""
        return (value & self.mask) >> self.lsb


@dataclass(frozen=True)
class Register:
    """Byte offset and fields of a register of 32 bits."""

    offset: int
    fields: dict[str, Field]


def table() -> dict[str, dict[str, Any]]:
    """The table as it is: offset, description and fields of each register by name."""
    return dict(json.loads(TABLE.read_text(encoding="utf-8")))


def access_of(fields: Iterable[Mapping[str, Any]]) -> str:
    """What an IP calls the access of these fields of the table: read-only when all of them are."""
    return "read-only" if {f["access"] for f in fields} == {"ro"} else "read-write"


@functools.cache
def registers() -> dict[str, Register]:
    """Every register by name."""
    return {
        name: Register(entry["offset"], {k: Field(f["lsb"], f["width"]) for k, f in entry["fields"].items()})
        for name, entry in table().items()
    }


def field(register: str, name: str) -> Field:
    """A field by the names of its register and its own."""
    return registers()[register].fields[name]
