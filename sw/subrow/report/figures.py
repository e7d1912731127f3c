"""Matplotlib figures as inline SVG: accuracy, cycles per layer, array use, density."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from subrow.report.measure import DENSE, LayerRow, Measurement

INK, MUTED, GRID = "#1c2733", "#66758a", "#e3e8ef"
SERIES = ("#a9b4c2", "#2a6fbb", "#12a07a", "#d9822b", "#8e5bb5")  # dense first, then falling density
USES = (
    ("issued", "issued products", "#2a6fbb"), ("starved_input", "waited for input", "#f0b429"),
    ("starved_weights", "waited for weights", "#d64545"), ("blocked_output", "waited for output", "#8e5bb5"),
)  # fmt: skip
REST = "#e3e8ef"
_STYLE: Any = {
    "font.family": "sans-serif", "font.size": 10, "text.color": INK, "axes.labelcolor": MUTED, "xtick.color": INK,
    "ytick.color": INK, "axes.edgecolor": GRID, "axes.grid": True, "axes.axisbelow": True, "grid.color": GRID,
    "axes.spines.top": False, "axes.spines.right": False, "svg.fonttype": "path", "svg.hashsalt": "subrow",
}  # fmt: skip


def svg(figure: Figure) -> str:
    """The figure as an <svg> element that scales with the page; the same figure gives the same bytes."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    return re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1))


def _plain(text: str) -> str:
    """Text that matplotlib does not take for a formula."""
    return text.replace("$", r"\$")


def _short(name: str) -> str:
    return _plain(name.rsplit(".", 1)[-1])


def _groups(measurements: Sequence[Measurement]) -> dict[str, list[Measurement]]:
    """Measurements by tile size, in order."""
    groups: dict[str, list[Measurement]] = {}
    for m in measurements:
        groups.setdefault(m.tile, []).append(m)
    return groups


def _color(place: int) -> str:
    return SERIES[place % len(SERIES)]


def _colors(group: Sequence[Measurement]) -> list[str]:
    """Grey for dense Programs, colours for the others."""
    places = itertools.count(1)
    return [_color(0 if m.density == DENSE else next(places)) for m in group]


def accuracy_figure(measurements: Sequence[Measurement], float_accuracy: float | None) -> str:
    """Accuracy bars of all Programs, with the float network as a line."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(8.6, 0.42 * len(measurements) + 1.2), layout="constrained")
        axes = figure.add_subplot()
        places = np.arange(len(measurements))[::-1]
        colors = {id(m): c for g in _groups(measurements).values() for m, c in zip(g, _colors(g), strict=True)}
        values = [m.accuracy or 0.0 for m in measurements]
        axes.barh(places, values, 0.66, color=[colors[id(m)] for m in measurements])
        for place, value in zip(places, values, strict=True):
            axes.text(value + 1.2, place, f"{value:.1f}", va="center", fontsize=9)
        if float_accuracy is not None:
            axes.axvline(float_accuracy, color=INK, lw=1, ls=(0, (4, 3)))
            text = f"float32 {float_accuracy:.1f} "
            axes.text(float_accuracy, len(measurements) - 0.45, text, ha="right", va="center", fontsize=9)
        axes.set_yticks(places, [_plain(m.label) for m in measurements])
        axes.set(xlim=(0, 106), ylim=(-0.6, len(measurements) - 0.15), xlabel="accuracy in percent (measured)")
        axes.grid(axis="y", visible=False)
        return svg(figure)


def _layer_axes(axes: Axes, rows: Sequence[LayerRow]) -> np.ndarray:
    places = np.arange(len(rows))
    axes.set_xticks(places, [_short(r.name) for r in rows], rotation=35, ha="right")
    axes.set_xlim(-0.6, len(rows) - 0.4)
    axes.grid(axis="x", visible=False)
    return places


def _grouped_bars(axes: Axes, group: Sequence[Measurement], values: Sequence[Sequence[float]]) -> None:
    """Bars of every layer side by side, one series for each Program."""
    places = _layer_axes(axes, group[0].layers)
    width = 0.82 / len(group)
    for i, (m, series, color) in enumerate(zip(group, values, _colors(group), strict=True)):
        name = DENSE if m.density == DENSE else f"density {m.density}"
        axes.bar(places + (i - (len(group) - 1) / 2) * width, series, width, color=color, label=name)


def _legend(axes: Axes, columns: int) -> None:
    """Names of the series beside the title."""
    axes.legend(frameon=False, ncols=columns, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2, fontsize=9)


def cycles_figure(measurements: Sequence[Measurement]) -> str:
    """Cycles of every layer, dense beside pruned, one panel for each tile size."""
    groups = _groups(measurements)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(8.6, 2.7 * len(groups) + 0.3), layout="constrained")
        panels = figure.subplots(len(groups), 1, squeeze=False)[:, 0]
        for axes, (tile, group) in zip(panels, groups.items(), strict=True):
            same = [m for m in group if len(m.layers) == len(group[0].layers)]
            _grouped_bars(axes, same, [[r.cycles / 1000 for r in m.layers] for m in same])
            axes.set_title(f"tile {tile}", loc="left", fontsize=10, color=MUTED)
            axes.set_ylabel("1,000 cycles (simulated)")
            _legend(axes, len(same))
        return svg(figure)


def use_figure(measurements: Sequence[Measurement]) -> str:
    """What the array did in each layer's cycles, in percent, one panel for each Program."""
    with matplotlib.rc_context(_STYLE):
        columns = 2 if len(measurements) > 1 else 1
        lines = -(-len(measurements) // columns)
        figure = Figure(figsize=(8.6, 2.3 * lines + 0.6), layout="constrained")
        panels = figure.subplots(lines, columns, squeeze=False, sharey=True).ravel()
        for axes, m in zip(panels, measurements, strict=False):
            places = _layer_axes(axes, m.layers)
            total = np.array([max(r.cycles, 1) for r in m.layers], float)
            bottom = np.zeros(len(m.layers))
            for counter, text, color in USES:
                share = 100 * np.array([r.counters[counter] for r in m.layers]) / total
                axes.bar(places, share, 0.8, bottom, color=color, label=text)
                bottom += share
            axes.bar(places, np.maximum(100 - bottom, 0), 0.8, bottom, color=REST, label="start, drain, write back")
            axes.set_title(_plain(m.label), loc="left", fontsize=10, color=MUTED)
            axes.set_ylim(0, 100)
        for axes in panels[len(measurements) :]:
            axes.set_visible(False)
        for axes in panels[::columns]:
            axes.set_ylabel("percent of cycles")
        handles, texts = panels[0].get_legend_handles_labels()
        figure.legend(handles, texts, frameon=False, ncols=5, loc="outside upper left", fontsize=8.5)
        return svg(figure)


def density_figure(measurements: Sequence[Measurement]) -> str:
    """Weights kept and weight bytes of every layer, Programs of the first tile size side by side."""
    group = next(iter(_groups(measurements).values()))
    group = [m for m in group if len(m.layers) == len(group[0].layers)]
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(8.6, 4.6), layout="constrained")
        upper, lower = figure.subplots(2, 1)
        _grouped_bars(upper, group, [[100 * r.density[0] / r.density[1] for r in m.layers] for m in group])
        upper.set(ylabel="weights kept, percent", ylim=(0, 104))
        upper.set_title(f"tile {group[0].tile}", loc="left", fontsize=10, color=MUTED)
        _legend(upper, len(group))
        _grouped_bars(lower, group, [[r.weight_bytes / 1024 for r in m.layers] for m in group])
        lower.set_ylabel("KiB of weights and indices")
        return svg(figure)
