"""Pruning, batch-norm recalibration and quantisation of a Graph; torch lives here."""
