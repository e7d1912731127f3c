"""Opening the device that a benchmark or a check is about: the board's engine, or a simulated one, and saying which."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from subrow.board.doctor import on_board
from subrow.devices import Device, open_device
from subrow.spec.errors import InputError
from subrow.spec.hwconfig import HwConfig
from subrow.spec.origins import MEASURED, SIMULATED


def check_bitfile(name: str, bitfile: Path | None) -> None:
    """Raises InputError for a bitfile that device `name` has no use for."""
    if bitfile is not None and name != "pynq":
        raise InputError(f"bitfile {bitfile}: device {name} takes none; use device pynq")


def opener(name: str, hw: HwConfig, bitfile: Path | None, told: Callable[[str], None]) -> Callable[[], Device]:
    """A function that opens `name` for a HwConfig. pynq takes a bitfile on a board; without a board it is the driver on
    the simulated engine, which `told` is told. Raises InputError for a bitfile that has no use or is missing.
    """
    check_bitfile(name, bitfile)
    if name != "pynq":
        return lambda: open_device(name, hw)
    if bitfile is not None:
        return lambda: open_device("pynq", hw, bitfile=bitfile)
    if on_board():
        raise InputError("device pynq: give the bitfile of the build that this board is to run")
    told("no board here: the pynq driver runs on the simulated engine, every figure is simulated")
    return lambda: open_device("pynq", hw, simulate=True)


def origin(name: str, bitfile: Path | None) -> str:
    """Where figures of the device that `opener` opens come from; torch and the emulator compute on this machine."""
    return SIMULATED if name == "verilator" or (name == "pynq" and bitfile is None) else MEASURED
