"""A benchmark as lines for a terminal and as one HTML page without outside parts."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from subrow.board.bench import WHAT, Bench
from subrow.spec.origins import ESTIMATED, MEASURED

STYLE = (
    "body{font:15px sans-serif;margin:2em;max-width:60em}table{border-collapse:collapse;margin:1em 0}"
    "td,th{border:1px solid #bbb;padding:.25em .6em;text-align:right}td:first-child,th:first-child{text-align:left}"
)


def summary(results: Mapping[str, Bench]) -> list[tuple[str, ...]]:
    """Rows of figures: name, then one cell for each Program; every cell says where it comes from."""
    found = list(results.values())

    def row(name: str, cells: Sequence[str]) -> tuple[str, ...]:
        return (name, *cells)

    rows = [
        row("device", [f"{b.device}, HwConfig {b.hw}" for b in found]),
        row("latency, least", [f"{b.latency[0]:.3f} ms ({b.origin})" for b in found]),
        row("latency, median", [f"{b.latency[1]:.3f} ms ({b.origin})" for b in found]),
        row("latency, 99 %", [f"{b.latency[2]:.3f} ms ({b.origin})" for b in found]),
        row("throughput", [f"{b.throughput:.1f} images/s ({b.origin})" for b in found]),
        row("dense-equivalent", [f"{b.gops:.2f} GOP/s ({b.origin})" for b in found]),
        row("power", [f"{b.watts:.2f} W ({MEASURED})" if b.watts else "no sensor" for b in found]),
        row("efficiency", [f"{b.gops_per_watt:.2f} GOP/s/W ({MEASURED})" if b.watts else "-" for b in found]),
        row("energy per image", [f"{b.energy.total:.1f} uJ ({ESTIMATED})" for b in found]),
    ]
    return rows


def layer_rows(b: Bench) -> list[tuple[str, ...]]:
    """Name, milliseconds, issued cycles, cycles waiting for input, weights and output, GOP/s, energy of each layer."""
    rows = []
    for layer in b.layers:
        c = layer.counters
        ms = "-" if layer.ms is None else f"{layer.ms:.4f}"
        speed = f"{2 * layer.macs / layer.ms / 1e6:.2f}" if layer.ms else "-"
        waits = [f"{c.get(key, 0):,}" for key in ("issued", "starved_input", "starved_weights", "blocked_output")]
        rows.append((layer.name, ms, *waits, speed, f"{layer.energy.total:.2f}"))
    return rows


def layers_title(b: Bench) -> str:
    """What stands above the rows of layers."""
    return f"Layers of {b.program} ({b.origin}, last image)"


def verdict(found: Mapping[str, Any], origin: str) -> str:
    """A Program against its dense baseline, from the document of both."""
    return (f"{found['speedup']:.2f}x faster than dense ({origin}), {found['energy_ratio']:.2f}x less energy "
            f"({ESTIMATED})")  # fmt: skip


LAYER_HEAD = ("layer", "ms", "issued", "no input", "no weights", "blocked", "GOP/s", f"uJ ({ESTIMATED})")


def page(results: Mapping[str, Bench]) -> str:
    """HTML of the Program and, where there is one, its dense baseline."""
    main = results["program"]
    parts = [
        "<!doctype html><meta charset=utf-8><title>Subrow benchmark</title>", f"<style>{STYLE}</style>",
        f"<h1>{html.escape(main.program)} on {html.escape(main.hw)}</h1>",
        f"<p>{main.images} images. Times are <b>{main.origin}</b>: {html.escape(WHAT[main.origin])}. Energy is "
        "<b>estimated</b> from the counters with published coefficients.</p>",
        _table(("", *results), summary(results)),
    ]  # fmt: skip
    for name, b in results.items():
        parts += [f"<h2>{html.escape(name)}: {html.escape(layers_title(b))}</h2>",
                  _table(LAYER_HEAD, layer_rows(b))]  # fmt: skip
    return "\n".join(parts) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = "".join(f"<th>{html.escape(c)}</th>" for c in head)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in row) + "</tr>" for row in rows)
    return f"<table><tr>{cells}</tr>{body}</table>"
