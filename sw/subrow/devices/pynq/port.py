"""Registers, shared memory and waiting on a board, through PYNQ: the Port of a SubrowIP."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pynq
from numpy.typing import NDArray

from subrow.devices.pynq.overlay import SubrowIP
from subrow.devices.registers import field
from subrow.spec.errors import DeviceError

SPIN_S = 0.002  # a small network is done in less: no sleep would end in time
PAUSE_S = 0.0002


class Interrupt(Protocol):
    """What tells that the engine has finished."""

    def wait(self, seconds: float) -> bool:
        """Whether it came in that time."""

    def close(self) -> None:
        """Give its file back."""


@dataclass(frozen=True)
class Timer:
    """The time that passes for the engine, in seconds: the host's on a board."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


class SharedBuffer:
    """A PynqBuffer of bytes: contiguous memory with an address for the engine, and a cache between it and the host."""

    def __init__(self, array: Any) -> None:
        self._array: Any = array

    @property
    def _live(self) -> Any:
        if self._array is None:
            raise DeviceError("a buffer is used after it has been given back: load the Program again")
        return self._array

    @property
    def address(self) -> int:
        """Physical address."""
        return int(self._live.device_address)

    @property
    def data(self) -> NDArray[np.uint8]:
        """The host's view; must not be kept beyond `free`."""
        view: NDArray[np.uint8] = self._live.view(np.ndarray)
        return view

    def flush(self, low: int, high: int) -> None:
        """Write the host's cache back."""
        self._live[low:high].flush()

    def invalidate(self, low: int, high: int) -> None:
        """Drop what the host's cache holds."""
        self._live[low:high].invalidate()

    def free(self) -> None:
        """Give the memory back; may be called twice."""
        if self._array is not None:
            self._array.freebuffer()
        self._array = None


class PynqPort:
    """timeout_s: seconds that a run may take. interrupt: None polls STATUS."""

    def __init__(self, ip: SubrowIP, bitfile: str, timeout_s: float, interrupt: Interrupt | None, timer: Timer) -> None:
        self.read, self.write = ip.read_register, ip.write_register
        self._device, self._bitfile = ip.device, bitfile
        self._timeout, self._interrupt, self._timer = timeout_s, interrupt, timer

    def allocate(self, size: int) -> SharedBuffer:
        """Contiguous memory behind the host's cache. Raises DeviceError when there is none."""
        try:
            array = pynq.allocate((size,), dtype=np.uint8, target=self._device, cacheable=1)
        except (RuntimeError, MemoryError, OSError) as error:
            raise DeviceError(
                f"pynq: no contiguous memory for a buffer of {size} bytes ({error}): free other buffers, restart the "
                "notebook kernels that hold them, or boot with more CMA"
            ) from error
        return SharedBuffer(array)

    def begin(self) -> None:
        """Nothing to do."""

    def wait(self) -> str | None:
        """Until the interrupt, or until STATUS says done or error."""
        if self._interrupt is not None:
            came = self._interrupt.wait(self._timeout)
            return None if came else f"within {self._timeout:g} s (waiting for its interrupt)"
        ended = field("STATUS", "done").mask | field("STATUS", "error").mask
        begun = self._timer.now()
        while not self.read("STATUS") & ended:
            passed = self._timer.now() - begun
            if passed > self._timeout:
                return f"within {self._timeout:g} s (polling STATUS)"
            if passed > SPIN_S:
                self._timer.sleep(PAUSE_S)
        return None

    def note(self) -> str:
        """Which bitstream it is."""
        return f"bitstream {self._bitfile}"
