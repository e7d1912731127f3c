"""The bitstream as PYNQ sees it: an Overlay whose Subrow engine has a driver of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pynq

from subrow.devices.registers import VLNV, registers
from subrow.spec.errors import DeviceError


class SubrowIP(pynq.DefaultIP):  # type: ignore[misc,unused-ignore]
    """Registers of the engine, by name; PYNQ makes one for every engine that it finds in an overlay."""

    bindto = [VLNV]

    def read_register(self, name: str) -> int:
        """32 bits."""
        return int(self.mmio.read(registers()[name].offset))

    def write_register(self, name: str, value: int) -> None:
        """32 bits."""
        self.mmio.write(registers()[name].offset, value)


class SubrowOverlay(pynq.Overlay):  # type: ignore[misc,unused-ignore]
    """A bitstream with one Subrow engine. Options are those of pynq.Overlay.

    Raises DeviceError when the files are missing or hold no engine.
    """

    def __init__(self, bitfile: str | Path, **options: Any) -> None:
        path = Path(bitfile).resolve()
        for part in (path, path.with_suffix(".hwh")):
            if not part.is_file():
                raise DeviceError(f"{part} does not exist: copy the .bit and the .hwh of one build side by side")
        super().__init__(str(path), **options)
        self.subrow = self._engine()

    def _engine(self) -> SubrowIP:
        kind = VLNV.rpartition(":")[0]
        names = [n for n, ip in self.ip_dict.items() if str(ip["type"]).rpartition(":")[0] == kind]
        if len(names) != 1:
            raise DeviceError(
                f"{self.bitfile_name}: {len(names)} engines of type {kind} among its IP {sorted(self.ip_dict)}, must "
                "be 1: is this the bitstream of a Subrow build?"
            )
        engine = getattr(self, names[0])
        if not isinstance(engine, SubrowIP):
            raise DeviceError(f"{self.bitfile_name}: engine {names[0]} is of another version than {VLNV}")
        return engine
