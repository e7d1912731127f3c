"""The bench of whole networks: every case once, resumable; tables beside their targets, and one document."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from subrow.bench.engine import BASELINES, BOARDS, ORDER, Case, Run, run_case, store, stored
from subrow.bench.figures import host, markdown_table
from subrow.console import errors, output, print_json, table
from subrow.spec.origins import ESTIMATED, MEASURED, SIMULATED
from subrow.spec.program import write_atomic
from subrow.toolenv import tool_versions

TARGETS_MS = {
    ("resnet18", "pynq-z2"): 11.0, ("resnet50", "pynq-z2"): 30.0, ("vgg16", "pynq-z2"): 72.0,
    ("vgg_nagadomi", "pynq-z2"): 2.6, ("resnet18", "zcu104"): 1.3, ("resnet50", "zcu104"): 3.5,
    ("vgg16", "zcu104"): 8.0, ("vgg_nagadomi", "zcu104"): 0.3, ("resnet20", "zcu104"): 0.32,
}  # fmt: skip
"""Milliseconds of one image at density 2/8; ResNet-20: 80,000 cycles at 250 MHz."""


def run(cases: Sequence[Case], folder: Path, out: Path, seconds: float, fresh: bool, as_json: bool) -> bool:
    """Run what no earlier bench of the same sources has in `folder`; write `out`, and its tables beside it as .md.

    Returns whether the simulated RTL equalled the emulator throughout.
    seconds: longest simulation of one case; what would take longer is estimated.
    """
    console = errors()
    runs: list[Run] = []
    for case in cases:
        found = None if fresh else stored(folder, case)
        if found is None or not _stands(found, seconds):
            found = run_case(case, seconds, lambda text: console.print(text, highlight=False))
            store(folder, case, found)
        runs.append(found)
        write_atomic(out, (json.dumps(document(runs), indent=2) + "\n").encode())
        write_atomic(out.with_suffix(".md"), markdown(runs).encode())
    if as_json:
        print_json(document(runs))
    else:
        for board in BOARDS:
            output().print(board_table(board, runs))
        output().print(f"wrote {out}", highlight=False)
    return all(r.bit_exact is not False for r in runs)


def _stands(found: Run, seconds: float) -> bool:
    """Whether an earlier run is as good as a new one: an estimate is not where a simulation is wanted."""
    return found.origin == SIMULATED or bool(found.left_out) or seconds <= 0


def document(runs: Sequence[Run]) -> dict[str, Any]:
    """All runs with the machine, the tools and the origin of every figure."""
    origin = {"ms": "runs.origin", "cycles": "runs.origin", "estimated_cycles": ESTIMATED, "bit_exact": SIMULATED,
              "worst_layer_error": f"{ESTIMATED} against {SIMULATED}", "cycles_per_second": MEASURED}  # fmt: skip
    return {"host": host(), "tools": tool_versions(), "origin": origin, "runs": [asdict(r) for r in runs]}


_LEFT = ("network", "kept", "bits", "origin", "RTL =\nemulator", "left out")
_RIGHT = ("cycles", "ms", "target\nms", "dense16\nms", "speed-\nup", "worst\nlayer")


def board_table(board: str, runs: Sequence[Run]) -> Table:
    """The networks on one board, dense and sparse, against the dense 16-bit baseline and the target."""
    short = [(*row[:5], *row[6:9], *row[10:]) for row in _rows(board, runs)]  # the page has the rest
    return table(f"One image on {board}", _LEFT[:5], (*_RIGHT[:3], *_RIGHT[4:]), short)


def markdown(runs: Sequence[Run]) -> str:
    """The tables of all boards as a page."""
    about = "Written by `make bench-engine`; [results.md](../results.md) explains it."
    lines = ["# One image on each engine", "", about]
    for board in BOARDS:
        left, right = (tuple(c.replace("-\n", "-").replace("\n", " ") for c in heads) for heads in (_LEFT, _RIGHT))
        lines += markdown_table(board, left, right, _rows(board, runs))
    return "\n".join([*lines, ""])


def _rows(board: str, runs: Sequence[Run]) -> list[tuple[str, ...]]:
    wide = {r.network: r for r in runs if r.hw == BASELINES[board]}
    own = sorted((r for r in runs if r.hw == board), key=_place)
    return [
        _row(r, wide.get(r.network), TARGETS_MS.get((r.network, board)) if r.density == "2/8" else None) for r in own
    ]


def _place(r: Run) -> tuple[int, ...]:
    """By network; dense first, then most bits first."""
    return ORDER.index(r.network), r.density != "8/8", -r.bits[0], len(r.density)


def _row(r: Run, wide: Run | None, target: float | None) -> tuple[str, ...]:
    equal = {None: "-", True: "equal", False: "NO"}[r.bit_exact]
    comparable = wide is not None and set(wide.left_out) == set(r.left_out)
    return (
        r.network, r.density, str(r.bits[0]), r.origin, equal, ", ".join(r.left_out) or "-", f"{r.cycles:,}",
        f"{r.ms:.3f}", "-" if target is None else f"{target:g}", "-" if wide is None else _wide_ms(wide),
        f"{wide.ms / r.ms:.2f}x" if wide is not None and comparable else "-",
        "-" if r.worst_layer_error is None else f"{100 * r.worst_layer_error:+.1f} %",
    )  # fmt: skip


def _wide_ms(wide: Run) -> str:
    """The baseline's time with its origin, and what it leaves out."""
    without = f", without {', '.join(wide.left_out)}" if wide.left_out else ""
    return f"{wide.ms:.3f} ({wide.origin}{without})"
