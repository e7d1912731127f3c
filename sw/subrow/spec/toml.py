"""The TOML reader: Python's own, or on the Python 3.10 of board images the package that became it."""

from __future__ import annotations

import sys
from typing import Any

if sys.version_info >= (3, 11):  # noqa: UP036  the board package runs on 3.10
    import tomllib as reader
else:
    import tomli as reader


def loads(text: str) -> dict[str, Any]:
    """A document. Raises ValueError."""
    return reader.loads(text)
