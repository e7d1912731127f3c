"""The engine's register block by name, from the one table that hw/regs describes (hw/gen/subrow_regs.json)."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).with_name("subrow_regs.json")  # beside this file also where only the package is installed


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


@functools.cache
def registers() -> dict[str, Register]:
    """Every register by name."""
    table = json.loads(TABLE.read_text())
    return {
        name: Register(entry["offset"], {k: Field(f["lsb"], f["width"]) for k, f in entry["fields"].items()})
        for name, entry in table.items()
    }


def field(register: str, name: str) -> Field:
    """A field by the names of its register and its own."""
    return registers()[register].fields[name]
