"""The words that stand beside every figure: where it comes from."""

from __future__ import annotations

MEASURED = "measured"
"""By a clock or a sensor, or counted on what really ran: bytes, images, bits."""
SIMULATED = "simulated"
"""By the RTL, cycle by cycle, in the engine's clock."""
ESTIMATED = "estimated"
"""By a model: of cycles, of energy, of area."""
