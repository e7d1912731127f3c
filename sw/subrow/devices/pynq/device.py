"""The pynq device: a board's engine behind PYNQ, or the Verilated engine behind the same PYNQ classes (virtual.py)."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pynq
from numpy.typing import NDArray

from subrow.devices.engine import Engine
from subrow.devices.engine_device import EngineDevice
from subrow.devices.pynq.lock import EngineLock
from subrow.devices.pynq.overlay import SubrowOverlay
from subrow.devices.pynq.port import Interrupt, PynqPort, Timer
from subrow.spec.errors import DeviceError
from subrow.spec.hwconfig import HwConfig
from subrow.spec.program import Program


class Pynq(EngineDevice):
    """One engine in the programmable logic, for one process. Open to close, not load to close, it is locked.

    bitfile: the .bit, with its .hwh beside it. download False: the logic holds this bitstream already. timeout_s: of
    one image. watchdog: cycles without progress after which the engine stops by itself. interrupt: None polls.
    device: a pynq Device, by default the board's. lock_folder: where the lock file lies. simulated: what runs is no
    board, and no time that it takes is measured.

    Construction resets the engine and raises DeviceError for another process at it, missing files, a bitstream of
    another HwConfig or instruction format, before any memory is allocated.
    """

    name = "pynq"
    slots = 2

    def __init__(
        self,
        hw: HwConfig,
        *,
        bitfile: str | Path,
        download: bool = True,
        timeout_s: float = 10.0,
        watchdog: int = 10_000_000,
        interrupt: Interrupt | None = None,
        timer: Timer | None = None,
        device: Any = None,
        lock_folder: Path | None = None,
        simulated: bool = False,
    ) -> None:
        super().__init__(hw)
        if not timeout_s > 0:
            raise DeviceError(f"pynq: timeout_s = {timeout_s}, must be above 0 seconds")
        self.simulated = simulated
        target = _board() if device is None else device
        self._lock: EngineLock | None = EngineLock(f"pynq-{target.tag}", lock_folder)
        try:
            self.overlay = SubrowOverlay(bitfile, download=download, device=target)
            self._port = PynqPort(self.overlay.subrow, str(bitfile), timeout_s, interrupt, timer or Timer())
            self._found = Engine(self._port, hw, self.name, watchdog)
        except BaseException:
            self._lock.release()
            raise
        self._interrupt = interrupt

    def _connect(self, program: Program) -> Engine:
        if self._lock is None:
            raise DeviceError("pynq: the device is closed; open it again")
        return self._found

    def clock_mhz(self) -> float:
        """Clock of the engine, as the board says."""
        return float(pynq.Clocks.fclk0_mhz)

    def watts(self) -> float | None:
        """Power that the board takes now, where its PMBus says so (the ZCU104's 12 V rail); else None."""
        rail = pynq.get_rails().get("12V")
        return None if rail is None or rail.power is None else float(rail.power.value)

    def memory_errors(self, pattern: NDArray[np.uint8]) -> int:
        """Bytes of a pattern that do not come back from a buffer, through the host's cache to memory and back."""
        buffer = self._port.allocate(pattern.size)
        try:
            buffer.data[:] = pattern
            buffer.flush(0, pattern.size)
            buffer.invalidate(0, pattern.size)
            return int((buffer.data != pattern).sum())
        finally:
            buffer.free()

    def close(self) -> None:
        """Stop the engine, free its buffers, let other processes have it; may be called twice."""
        if self._lock is None:
            return
        try:
            self._found.reset()
            super().close()
        finally:
            if self._interrupt is not None:
                self._interrupt.close()
            self._lock.release()
            self._lock = None


def _board() -> Any:
    """PYNQ's device of this board. Raises DeviceError where there is none."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "No devices found")  # the error says it
            return pynq.Device.active_device
    except RuntimeError as error:
        raise DeviceError(
            f"pynq: {error}: run this on a board with a PYNQ image, as root (in a notebook, or `sudo -i`), or use the "
            "simulated engine"
        ) from error
