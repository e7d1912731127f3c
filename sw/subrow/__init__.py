"""Subrow: trained CNNs to FPGA with Winograd convolution and sub-row-balanced sparsity."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"
__all__ = ["compile", "open_device"]


def __getattr__(name: str) -> Any:
    """`compile` and `open_device`, imported at first use: importing subrow costs nothing and needs no torch."""
    if name == "compile":
        from subrow.api import compile

        return compile
    if name == "open_device":
        from subrow.devices import open_device  # type: ignore[attr-defined,unused-ignore]

        return open_device
    raise AttributeError(f"module 'subrow' has no attribute {name!r}")
