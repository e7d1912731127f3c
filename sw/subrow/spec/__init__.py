"""Shared truth of the compiler and the hardware: numpy and the standard library only."""
