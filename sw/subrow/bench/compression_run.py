"""The bench of compression: one document with every table, and the tables as a page and on the terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from models import ModelError, datasets
from subrow.bench import compression
from subrow.bench.compression import BASELINE, FLOATS, HW, SEARCHED, Budget, PostTraining, TrainedRow
from subrow.bench.figures import host, markdown_table
from subrow.compress.brevitas_ptq import check_brevitas
from subrow.console import errors, output, print_json, table
from subrow.spec.errors import InputError
from subrow.spec.origins import ESTIMATED, MEASURED
from subrow.spec.program import write_atomic
from subrow.toolenv import tool_versions

PARTS = ("post-training", "budgets", "trained")
ORIGIN = {"accuracy": MEASURED, "float_accuracy": f"{MEASURED} at the end of its training", "cycles": ESTIMATED,
          "ms": ESTIMATED}  # fmt: skip


def run(path: Path, out: Path, parts: Sequence[str] = PARTS, as_json: bool = False) -> None:
    """Measure the parts on the data set at `path`; write `out` and its tables beside it as .md.

    Raises InputError for an unknown part or bad data, MissingTool without brevitas.
    """
    unknown = set(parts) - set(PARTS)
    if unknown:
        raise InputError(f"part {sorted(unknown)[0]!r}: known parts are {', '.join(PARTS)}")
    console = errors()

    def say(text: str) -> None:
        console.print(text, highlight=False)

    if "post-training" in parts:
        check_brevitas()
    try:
        data = datasets.load(path)
    except ModelError as error:
        raise InputError(str(error)) from error
    after = [row for name in FLOATS for row in compression.post_training(name, data, say)] \
        if "post-training" in parts else []  # fmt: skip
    budgets = compression.budgets(SEARCHED, data, say) if "budgets" in parts else []
    rows = compression.trained_rows(data, say) if "trained" in parts else []
    found = document(data.name, len(data.test.labels), after, budgets, rows)
    write_atomic(out, (json.dumps(found, indent=2) + "\n").encode())
    write_atomic(out.with_suffix(".md"), markdown(found["data"], after, budgets, rows).encode())
    if as_json:
        print_json(found)
        return
    for shown in _tables(after, budgets, rows):
        output().print(table(shown.title, shown.left, shown.right, shown.cells))
    output().print(f"wrote {out}", highlight=False)


def document(
    data: str, images: int, after: Sequence[PostTraining], budgets: Sequence[Budget], rows: Sequence[TrainedRow]
) -> dict[str, Any]:
    """Every figure with its origin, and the machine and the tools."""
    return {
        "host": host(), "tools": tool_versions(), "origin": ORIGIN, "data": f"{data}, {images:,} test images",
        "hw": HW, "baseline": BASELINE, "post_training": [asdict(r) for r in after],
        "budgets": [asdict(b) for b in budgets],
        "trained": [{**asdict(r), "drop": r.drop, "speed_up": round(r.speed_up, 2)} for r in rows],
    }  # fmt: skip


@dataclass(frozen=True)
class _Table:
    """Text columns, number columns and cells."""

    title: str
    left: tuple[str, ...]
    right: tuple[str, ...]
    cells: Sequence[tuple[str, ...]]


def _tables(after: Sequence[PostTraining], budgets: Sequence[Budget], rows: Sequence[TrainedRow]) -> list[_Table]:
    """Every table that has rows."""
    tables = [
        _Table(
            "Nothing retrained (measured)", ("network", "method"), ("kept", "bits", "accuracy, %"),
            [(r.network, r.method, f"{100 * r.kept:.0f} %", r.bits, f"{r.accuracy:.2f}") for r in after],
        ),
        _Table(
            "Search against uniform density (accuracy measured, cycles estimated)", ("network",),
            ("budget, cycles", "search, cycles", "search, %", "uniform", "uniform, cycles", "uniform, %"),
            [(b.network, f"{b.budget:,}", f"{b.searched_cycles:,}", f"{b.searched_accuracy:.2f}", b.uniform_kept,
              f"{b.uniform_cycles:,}", f"{b.uniform_accuracy:.2f}") for b in budgets],
        ),
        _Table(
            "Trained networks (accuracy measured, cycles estimated)", ("network",),
            ("kept", "float, %", "int8, %", "drop", "cycles", "ms", "dense16 ms", "speed-up"),
            [(r.name, f"{100 * r.kept:.0f} %", f"{r.float_accuracy:.2f}", f"{r.accuracy:.2f}", f"{r.drop:.2f}",
              f"{r.cycles:,}", f"{r.ms:.3f}", f"{r.dense16_ms:.3f}", f"{r.speed_up:.2f}x") for r in rows],
        ),
    ]  # fmt: skip
    return [t for t in tables if t.cells]


def markdown(data: str, after: Sequence[PostTraining], budgets: Sequence[Budget], rows: Sequence[TrainedRow]) -> str:
    """The tables as a page."""
    lines = [
        "# Compression", "", "Written by `make bench-compression`; [training.md](../training.md) explains it. "
        f"{data}; cycles on {HW}, batch 1; the baseline is {BASELINE}.",
    ]  # fmt: skip
    for shown in _tables(after, budgets, rows):
        lines += markdown_table(shown.title, shown.left, shown.right, shown.cells)
    return "\n".join([*lines, ""])
