"""The project's one error family.

Every message names the thing, the offending value, the limit and the way out, because users read the message
and not the traceback.
"""

from __future__ import annotations


class SubrowError(Exception):
    """Base of every error that Subrow raises on purpose."""


class ConfigError(SubrowError):
    """A hardware configuration or a recipe is malformed or out of range."""


class UnsupportedError(SubrowError):
    """A network uses something that the engine cannot run."""


class QuantisationError(SubrowError):
    """Weights, activations or bounds cannot be represented in the chosen formats."""


class CapacityError(SubrowError):
    """A layer does not fit the buffers or counters of the chosen HwConfig."""


class ProgramError(SubrowError):
    """A Program file is corrupt, of another version, or does not match the hardware."""


class DeviceError(SubrowError):
    """A device refused a Program, timed out or reported a fault."""


class MissingTool(SubrowError):
    """A program that this step needs is not installed."""


class InputError(SubrowError):
    """An input file or array has the wrong shape, type or content."""
