"""The report as one HTML file: no scripts, no network, figures inline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from subrow.report import figures
from subrow.report.document import Report, dense_cycles
from subrow.report.measure import DENSE, Measurement
from subrow.report.tables import work_rate

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Card:
    """One headline figure."""

    value: str
    caption: str
    origin: str


def render(report: Report, title: str, notes: Sequence[str] = ()) -> str:
    """The page. notes: paragraphs of plain text under the table of Programs."""
    environment = Environment(loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True)
    environment.filters["thousands"] = lambda n: f"{n:,}"
    measurements = report.measurements
    labelled = all(m.accuracy is not None for m in measurements)
    return environment.get_template("template.html.j2").render(
        title=title, report=report, hw=report.hw, headline=report.headline, notes=notes, cards=_cards(report),
        speedup={m.label: _speedup(report, m) for m in measurements},
        rate={m.label: work_rate(m) for m in measurements}, labelled=labelled,
        values=report.compared, dense={r.name: dense_cycles(r, report.dense(report.headline))
                                       for r in report.headline.layers},
        accuracy_svg=figures.accuracy_figure(measurements, report.float_accuracy) if labelled else "",
        cycles_svg=figures.cycles_figure(measurements), use_svg=figures.use_figure(measurements),
        density_svg=figures.density_figure(measurements),
    )  # fmt: skip


def _speedup(report: Report, m: Measurement) -> float | None:
    dense = report.dense(m)
    return None if dense is None or m.density == DENSE else dense.cycles / m.cycles


def _cards(report: Report) -> list[Card]:
    head, cards = report.headline, []
    if report.float_accuracy is not None:
        cards.append(Card(f"{report.float_accuracy:.1f} %", "float32 accuracy", "measured"))
    dense = report.dense(head)
    if dense is not None and dense is not head and dense.accuracy is not None:
        cards.append(Card(f"{dense.accuracy:.1f} %", f"int8, {dense.label}", "measured"))
    if head.accuracy is not None:
        cards.append(Card(f"{head.accuracy:.1f} %", f"int8, {head.label}", "measured"))
    ratio = _speedup(report, head)
    if ratio is not None:
        cards.append(Card(f"{ratio:.2f}×", f"speed of {head.label} against dense", "simulated"))
    else:
        cards.append(Card(f"{head.cycles:,}", f"cycles per image, {head.label}", "simulated"))
    cards.append(Card("equal" if report.bit_exact else "DIFFERS", "RTL and emulator, every output bit", "simulated"))
    return cards
