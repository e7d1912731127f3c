"""From a Program to a bitstream: the folder that a board's tools build from, and the tools' runs."""
