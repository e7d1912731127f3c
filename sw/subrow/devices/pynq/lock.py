"""One process at a time drives an engine: a lock file that the kernel releases when its owner dies."""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from pathlib import Path

from subrow.spec.errors import DeviceError

RUN_LOCK = Path("/run/lock")


class EngineLock:
    """Held from construction to `release`. Raises DeviceError, naming the process that holds it, when it is taken."""

    def __init__(self, name: str, folder: Path | None = None) -> None:
        place = folder or (RUN_LOCK if os.access(RUN_LOCK, os.W_OK) else Path(tempfile.gettempdir()))
        self.path = place / f"subrow-{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}.lock"
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._file: int | None = os.open(self.path, flags, 0o666)
        except OSError as error:
            why = f"cannot open the lock file {self.path}: {error.strerror}; remove it, or run as root"
            raise DeviceError(why) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.pread(self._file, 20, 0).decode(errors="replace").strip() or "unknown"
            self.release()
            raise DeviceError(
                f"the engine of {name} is in use by process {owner} (lock file {self.path}): close its device, restart "
                "its notebook kernel, or end it; one process at a time can use an engine"
            ) from error
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Give the engine to others; may be called twice. The file stays: removing it would race with others."""
        if self._file is not None:
            os.close(self._file)
        self._file = None
