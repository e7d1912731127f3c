"""The report of a search as one HTML file: accuracy against time, density of each layer, sensitivity curves."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from subrow.explore.front import Point, pareto
from subrow.explore.search import Choice
from subrow.explore.sensitivity import Sensitivity
from subrow.report.figures import _STYLE as STYLE
from subrow.report.figures import INK, SERIES, svg
from subrow.spec.hwconfig import HwConfig
from subrow.spec.program import write_atomic

_KINDS = {"uniform": ("one density everywhere", SERIES[0]), "searched": ("searched", SERIES[1]),
          "chosen": ("chosen", SERIES[3])}  # fmt: skip
_SHOWN = 12  # sensitivity curves: the layers whose divergence is largest


def _ms(cycles: int, hw: HwConfig) -> float:
    return cycles / hw.mhz / 1e3


def _text(name: str) -> str:
    """A name that matplotlib does not take for a formula."""
    return name.replace("$", r"\$")


def front_svg(tried: Sequence[Point], hw: HwConfig) -> str:
    """Held-out accuracy against milliseconds, and the line of those that no other one beats."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 4.0), layout="constrained")
        axes = figure.add_subplot()
        best = pareto(tried)
        xs = [_ms(p.cycles, hw) for p in best]
        axes.plot(xs, [p.accuracy for p in best], color=INK, lw=1, drawstyle="steps-post", label="Pareto front")
        for kind, (name, color) in _KINDS.items():
            own = [p for p in tried if p.kind == kind]
            axes.scatter([_ms(p.cycles, hw) for p in own], [p.accuracy for p in own], s=36, color=color, label=name,
                         zorder=3)  # fmt: skip
        axes.set(xlabel="milliseconds an image (estimated)", ylabel="held-out images right, percent (measured)")
        axes.legend(frameon=False, loc="lower right")
        return svg(figure)


def density_svg(choice: Choice, found: Sensitivity) -> str:
    """Weights kept of each sub-row, one bar for each layer."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 3.0), layout="constrained")
        axes = figure.add_subplot()
        places = range(len(found.curves))
        axes.bar(places, [choice.kept[c.layer] for c in found.curves], 0.7, color=SERIES[1])
        axes.set_xticks(places, [_text(c.layer) for c in found.curves], rotation=60, ha="right", fontsize=7)
        axes.set(ylim=(0, found.sub_row + 0.3), ylabel=f"weights kept of {found.sub_row}")
        axes.grid(axis="x", visible=False)
        return svg(figure)


def curves_svg(found: Sensitivity, origin: str) -> str:
    """Divergence of the outputs against the density of one layer, for the layers with the largest one."""
    shown = sorted(found.curves, key=lambda c: -max(c.divergence))[:_SHOWN]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 4.0), layout="constrained")
        axes = figure.add_subplot()
        for number, curve in enumerate(shown):
            color = matplotlib.colormaps["viridis"](number / max(len(shown) - 1, 1))
            axes.plot(curve.kept, curve.divergence, marker=".", lw=1.2, color=color, label=_text(curve.layer))
        axes.set(xlabel=f"weights kept of {found.sub_row}", ylabel=f"nats an image ({origin})")
        axes.legend(frameon=False, fontsize=7, ncols=2)
        return svg(figure)


def page(name: str, hw: HwConfig, found: Sensitivity, choice: Choice, tried: Sequence[Point], origin: str) -> str:
    """The HTML. origin: of the divergences, `measured` or `estimated from gradients`."""
    title = escape(f"Search: {name} on {hw.name}")
    layers = _table(("layer", "kept", "bits", "divergence", "cycles (estimated)"), [
        (c.layer, f"{s}/{found.sub_row}", str(hw.u_bits), f"{c.divergence[c.kept.index(s)]:.4f}",
         f"{c.cycles[c.kept.index(s)]:,}")
        for c in found.curves for s in [choice.kept[c.layer]]
    ])  # fmt: skip
    front = set(map(id, pareto(tried)))
    networks = _table(("network", "ms (estimated)", "accuracy, % (measured)", "on the front"), [
        (_kind(p, found), f"{_ms(p.cycles, hw):.3f}", f"{p.accuracy:.2f}", "yes" if id(p) in front else "")
        for p in sorted(tried, key=lambda p: p.cycles)
    ])  # fmt: skip
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>body{{font:15px sans-serif;"
        f"max-width:60rem;margin:2rem auto;color:{INK}}}td,th{{padding:.2rem .8rem;text-align:right}}"
        "td:first-child,th:first-child{text-align:left}svg{width:100%;height:auto}</style>"
        f"<h1>{title}</h1><h2>Accuracy and time</h2><p>Accuracy is measured in float on held-out images, pruned and "
        f"before any retraining; time is estimated at {hw.mhz:g} MHz.</p>{front_svg(tried, hw)}{networks}"
        f"<h2>Density and bits of each layer</h2><p>Bits are those of {escape(hw.name)}'s weights.</p>"
        f"{density_svg(choice, found)}{layers}<h2>Sensitivity</h2><p>Change of the outputs (KL divergence, {origin}) "
        f"with one layer pruned; at most {_SHOWN} layers, the most sensitive ones.</p>{curves_svg(found, origin)}"
    )


def _kind(point: Point, found: Sensitivity) -> str:
    text = _KINDS[point.kind][0]
    return f"{next(iter(point.kept.values()))}/{found.sub_row} everywhere" if point.kind == "uniform" else text


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{''.join(f'<th>{h}' for h in head)}</tr>{body}</table>"


def write(path: Path, text: str) -> None:
    """The page, whole or not at all."""
    write_atomic(path, text.encode())
