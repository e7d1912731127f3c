"""What the commands print: progress bars on standard error, tables or one JSON document on standard output."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from subrow.spec.errors import InputError
from subrow.spec.program import write_atomic

WIDTH = 100  # of tables when standard output is no terminal


def output() -> Console:
    """Standard output."""
    return Console(width=None if sys.stdout.isatty() else WIDTH)


def errors() -> Console:
    """Standard error."""
    return Console(stderr=True)


def print_json(document: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(document, indent=2))


def table(title: str, left: Sequence[str], right: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table with text columns on the left and figures on the right."""
    result = Table(title=title, title_justify="left")
    for name in left:
        result.add_column(name)
    for name in right:
        result.add_column(name, justify="right")
    for row in rows:
        result.add_row(*row)
    return result


@contextmanager
def step_bars(console: Console | None = None) -> Iterator[Progress]:
    """Bars that count steps."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console or errors()) as bars:
        yield bars


@contextmanager
def share_bar(text: str) -> Iterator[Callable[[str, float], None]]:
    """One bar for work that reports (what it does now, share done)."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors()) as bars:
        task = bars.add_task(text, total=1.0)
        yield lambda now, share: bars.update(task, description=f"{text}: {now}", completed=share)
        bars.update(task, description=text, completed=1.0)


def load_array(path: Path, what: str = "input") -> np.ndarray:
    """A .npy array of finite numbers. Raises InputError when it is missing, damaged, or holds NaN or infinity."""
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(f"{what} {path}: not a readable .npy file: {reason}") from error
    if not isinstance(array, np.ndarray):
        raise InputError(f"{what} {path}: an archive of several arrays; give a .npy file with one")
    if array.dtype.kind not in "fiub":
        raise InputError(f"{what} {path}: type {array.dtype}, must be floating point or integer")
    if not np.isfinite(array).all():
        raise InputError(f"{what} {path}: {int((~np.isfinite(array)).sum())} values are NaN or infinity")
    return array


def save_array(path: Path, array: np.ndarray) -> None:
    """A .npy file, written aside and renamed."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    write_atomic(path, buffer.getvalue())
