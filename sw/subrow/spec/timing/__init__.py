"""The analytic cycle model: what a Program costs, layer by layer, from instructions and HwConfig alone."""

from subrow.spec.timing.model import Estimate, estimate
from subrow.spec.timing.quick import head_start, quick_cycles

__all__ = ["Estimate", "estimate", "head_start", "quick_cycles"]
