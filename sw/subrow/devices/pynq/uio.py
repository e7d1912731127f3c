"""The engine's interrupt line as Linux shows it: a UIO device, which PYNQ images name `fabric`."""

from __future__ import annotations

import os
import select
from pathlib import Path

from subrow.spec.errors import DeviceError

UIO_CLASS = Path("/sys/class/uio")


class UioInterrupt:
    """Waits for an interrupt without an event loop, so that it works in a notebook as well."""

    def __init__(self, path: Path) -> None:
        try:
            self._file: int | None = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise DeviceError(f"interrupt {path}: {error.strerror}; run as root, or poll (interrupt=None)") from error

    @classmethod
    def named(cls, name: str = "fabric", folder: Path = UIO_CLASS) -> UioInterrupt:
        """The UIO device of this name. Raises DeviceError when the kernel has none."""
        names = {p.name: (p / "name").read_text().strip() for p in sorted(folder.glob("uio*"))}
        for device, found in names.items():
            if found == name:
                return cls(Path("/dev") / device)
        raise DeviceError(
            f"interrupt {name!r}: no such UIO device, the kernel has {sorted(names.values()) or 'none'}; its device "
            "tree must have one of that name (PYNQ images do), or poll (interrupt=None)"
        )

    def wait(self, seconds: float) -> bool:
        """Whether the interrupt came in that time. The line is level-sensitive: one that is already high counts."""
        if self._file is None:
            raise DeviceError("the interrupt is closed")
        os.write(self._file, (1).to_bytes(4, "little"))  # the kernel masks the line each time it fires
        if not select.select([self._file], [], [], max(0.0, seconds))[0]:
            return False
        os.read(self._file, 4)
        return True

    def close(self) -> None:
        """May be called twice."""
        if self._file is not None:
            os.close(self._file)
        self._file = None
