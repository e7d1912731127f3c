"""Measurements as rich tables."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from subrow.report.document import Report
from subrow.report.measure import Measurement


def percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} %"


def programs_table(report: Report) -> Table:
    """One row for each Program; cycles against the dense Program of the same tile size."""
    table = Table(title=Text(f"{report.network} on {report.hw.name}", "table.title"), title_justify="left")
    table.add_column("Program", no_wrap=True)
    for name in ("accuracy\nmeasured", "cycles\nsimulated", "against\ndense", "MAC/cyc/\nmult"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("RTL\nbit-exact", no_wrap=True)
    if report.float_accuracy is not None:
        table.add_row("float32, torch", percent(report.float_accuracy), "-", "-", "-", "-")
    for m in report.measurements:
        dense = report.dense(m)
        ratio = f"{dense.cycles / m.cycles:.2f}x" if dense and m is not dense else "-"
        verdict = Text(f"yes, {m.compared:,} values") if m.bit_exact else Text("NO", "red")
        table.add_row(Text(m.label), percent(m.accuracy), f"{m.cycles:,}", ratio, f"{work_rate(m):.2f}", verdict)
    return table


def work_rate(m: Measurement) -> float:
    """Dense direct MACs per multiplier and cycle of a whole Program."""
    return sum(row.macs for row in m.layers) / (m.cycles * m.layers[0].multipliers)


def layers_table(m: Measurement) -> Table:
    """Every layer of one Program with its counters."""
    table = Table(title=Text(f"Layers of {m.label} (simulated, one image)", "table.title"), title_justify="left")
    table.add_column("layer", no_wrap=True)
    table.add_column("tile", no_wrap=True)
    for name in ("kept", "MACs", "cycles", "issued", "busy", "MAC/cyc/mult"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("bound", no_wrap=True)
    for row in m.layers:
        table.add_row(
            Text(row.name.rsplit(".", 1)[-1]), row.tile, f"{row.density[0]}/{row.density[1]}", f"{row.macs:,}",
            f"{row.cycles:,}", f"{row.issued:,}", f"{100 * row.utilisation:.0f} %",
            f"{row.macs_per_multiplier_cycle:.2f}", row.bound,
        )  # fmt: skip
    return table


def verdict(measurements: Sequence[Measurement]) -> Text:
    """One line: how much was compared and whether it was equal."""
    values, images = sum(m.compared for m in measurements), sum(m.simulated for m in measurements)
    wrong = [m.label for m in measurements if not m.bit_exact]
    if wrong:
        return Text.assemble(("RTL and emulator DIFFER", "red"), f" in {', '.join(wrong)}")
    return Text(f"RTL bit-exact: {values:,} values of {images} simulated runs compared, all equal")
