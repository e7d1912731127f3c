"""What the commands print: progress bars on standard error, tables or one JSON document on standard output."""

from __future__ import annotations

import io
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from subrow.spec.errors import InputError
from subrow.spec.program import write_atomic

WIDTH = 100  # of tables when standard output is no terminal


def output() -> Console:
    """Standard output. Text is taken as it is: names and paths may hold what rich would read as markup."""
    return Console(width=None if sys.stdout.isatty() else WIDTH, markup=False, emoji=False)


def errors() -> Console:
    """Standard error; text is taken as it is."""
    return Console(stderr=True, markup=False, emoji=False)


def say(text: str, style: str | None = None) -> None:
    """One line on standard output, not broken at any width."""
    output().print(text, style=style, soft_wrap=True, highlight=False)


def complain(kind: str, text: str) -> None:
    """One line `kind: text` on standard error."""
    line = Text.assemble((f"{kind}:", "yellow" if kind == "warning" else "red"), " ", " ".join(text.splitlines()))
    errors().print(line, soft_wrap=True, highlight=False)


def warn(text: str) -> None:
    """A warning on standard error."""
    complain("warning", text)


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
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console or errors()) as bars:
        yield bars


@contextmanager
def share_bar(text: str) -> Iterator[Callable[[str, float], None]]:
    """One bar for work that reports (what it does now, share done)."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors()) as bars:
        task = bars.add_task(text, total=1.0)
        yield lambda now, share: bars.update(task, description=f"{text}: {now}", completed=share)
        bars.update(task, description=text, completed=1.0)


def load_array(path: Path, what: str = "input") -> np.ndarray:
    """A .npy array of finite numbers.

    Raises InputError, naming the file, when it is missing, damaged, shorter than its header says, or holds NaN or
    infinity. Nothing is allocated for a header that promises more than the file has.
    """
    try:
        with path.open("rb") as file:
            _check_header(file, f"{what} {path}")
            array = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(f"{what} {path}: not a readable .npy file: {reason}") from error
    if array.dtype.kind != "b" and not np.isfinite(array).all():
        raise InputError(f"{what} {path}: {int((~np.isfinite(array)).sum())} values are NaN or infinity")
    return array


def _check_header(file: BinaryIO, name: str) -> None:
    """Raises InputError or ValueError unless the file holds the numbers that its header promises; rewinds it."""
    if file.read(4) == b"PK\x03\x04":
        raise InputError(f"{name}: an archive of several arrays; give a .npy file with one")
    file.seek(0)
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"format version {version[0]}.{version[1]} is not for plain numbers")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        shape, _, dtype = read(file)
    except Exception as error:  # numpy's parser raises nearly anything on damaged text
        raise ValueError(f"damaged header ({type(error).__name__})") from error
    if dtype.kind not in "fiub":
        raise InputError(f"{name}: type {dtype}, must be floating point or integer")
    start, wanted = file.tell(), math.prod(map(int, shape)) * dtype.itemsize
    held = file.seek(0, io.SEEK_END) - start
    if min(shape, default=0) < 0 or wanted > held:
        size = "x".join(map(str, shape))
        raise ValueError(f"the header says {size} of {dtype}, {wanted} bytes, but only {held} follow: truncated")
    file.seek(0)


def save_array(path: Path, array: np.ndarray) -> None:
    """A .npy file, written aside and renamed."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    write_atomic(path, buffer.getvalue())
