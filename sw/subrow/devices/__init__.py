"""Where Programs run. Devices know the specification only, never the compiler."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from subrow.devices.base import Device, RunResult
from subrow.spec import hwconfig
from subrow.spec.errors import ConfigError

__all__ = ["DEVICES", "Device", "RunResult", "open_device"]

DEVICES = ("emulator", "verilator")
"""Devices that compute; `cycles` only estimates how long it takes."""


def open_device(name: str, hw: str | Path | hwconfig.HwConfig, **options: Any) -> Device:
    """A Device for a HwConfig: `emulator` (bit-true, fast), `verilator` (RTL, cycle by cycle) or
    `cycles` (estimated cycles, no outputs).

    options go to the device's class. Raises ConfigError for another name, MissingTool when its compiler is missing.
    """
    config = hwconfig.load(hw)
    if name == "emulator":
        from subrow.devices.emulator import Emulator

        return Emulator(config, **options)
    if name == "verilator":
        from subrow.devices.verilator import Verilator

        return Verilator(config, **options)
    if name == "cycles":
        from subrow.devices.cycles import Cycles

        return Cycles(config, **options)
    raise ConfigError(f"device {name!r}: no such device; known: {', '.join((*DEVICES, 'cycles'))}")
