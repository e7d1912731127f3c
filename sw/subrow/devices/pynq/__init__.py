"""The board's driver. It needs PYNQ and numpy; devices/pynq/virtual.py runs it on a simulated engine."""
