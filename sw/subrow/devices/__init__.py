"""Where Programs run. Devices know the specification only, never the compiler."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from subrow.devices.base import Device, RunResult
from subrow.spec import hwconfig
from subrow.spec.errors import ConfigError, MissingTool

__all__ = ["DEVICES", "Device", "RunResult", "open_device"]

DEVICES = ("emulator", "verilator")
"""Devices that compute anywhere; `pynq` needs a board or PYNQ, `cycles` only estimates how long it takes."""


def open_device(name: str, hw: str | Path | hwconfig.HwConfig, **options: Any) -> Device:
    """A Device for a HwConfig: `emulator` (bit-true, fast), `verilator` (RTL, cycle by cycle), `pynq` (a board, with
    bitfile=PATH, or its driver on the Verilated engine, with simulate=True) or `cycles` (estimated cycles, no outputs).

    options go to the device's class. Raises ConfigError for another name, MissingTool when its compiler or PYNQ is
    missing, DeviceError when the board does not hold this HwConfig.
    """
    config = hwconfig.load(hw)
    if name == "emulator":
        from subrow.devices.emulator import Emulator

        return Emulator(config, **options)
    if name == "verilator":
        from subrow.devices.verilator import Verilator

        return Verilator(config, **options)
    if name == "pynq":
        return _pynq(config, **options)
    if name == "cycles":
        from subrow.devices.cycles import Cycles

        return Cycles(config, **options)
    raise ConfigError(f"device {name!r}: no such device; known: {', '.join((*DEVICES, 'pynq', 'cycles'))}")


def _pynq(config: hwconfig.HwConfig, simulate: bool = False, **options: Any) -> Device:
    """The pynq device. Raises MissingTool without PYNQ, ConfigError without a bitstream."""
    if importlib.util.find_spec("pynq") is None:
        raise MissingTool("PYNQ is not installed: boards with a PYNQ image have it; here, run `make setup`")
    if simulate and importlib.util.find_spec("subrow.devices.pynq.virtual") is None:
        raise MissingTool("this is the package for boards, without the simulated engine: give a bitfile on a board")
    if simulate:
        from subrow.devices.pynq.virtual import SimulatedPynq

        return SimulatedPynq(config, **options)
    if "bitfile" not in options:
        raise ConfigError("device 'pynq': bitfile is missing: give the .bit of a board's build, or simulate=True")
    from subrow.devices.pynq.device import Pynq

    return Pynq(config, **options)
