"""Figures for `make bench`, each with where it comes from: measured on this machine, simulated, or estimated."""
