"""Capture: a trained network to a Graph."""
