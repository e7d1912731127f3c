"""Notebooks for the board: `pynq get-notebooks subrow` copies them from the installed package."""
