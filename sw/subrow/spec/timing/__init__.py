"""The analytic cycle model: what a Program costs, layer by layer, from instructions and HwConfig alone."""

from subrow.spec.timing.model import Estimate, estimate, run_cycles

__all__ = ["Estimate", "estimate", "run_cycles"]
