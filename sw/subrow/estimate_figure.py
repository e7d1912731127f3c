"""A network's layers under the roofline of their hardware, as SVG or as an HTML page with the table."""

from __future__ import annotations

from html import escape
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from subrow.estimate import LayerEstimate, NetworkEstimate
from subrow.report.figures import _STYLE as STYLE
from subrow.report.figures import INK, MUTED, svg

COLORS = {"compute": "#2a6fbb", "weight bytes": "#d64545", "activation bytes": "#f0b429", "transform": "#8e5bb5"}


def kind_of(layer: LayerEstimate) -> str:
    """What bounds a layer: compute, transform, weight bytes or activation bytes."""
    if layer.bound in ("compute", "transform"):
        return layer.bound
    if layer.bound == "memory":
        return "weight bytes" if 2 * layer.weight_bytes > layer.bytes else "activation bytes"
    return "weight bytes" if layer.bound == "weights" else "activation bytes"


def roofline_svg(result: NetworkEstimate) -> str:
    """Products per cycle against products per byte: the roof of the hardware, and one point for each layer."""
    hw = result.hw
    points = [(p, layer) for layer in result.layers for p in [_point(layer, result)]]
    low, high = min(p[0] for p, _ in points) / 2, max(max(p[0] for p, _ in points), hw.multipliers) * 2
    ridge = hw.multipliers / hw.bytes_per_cycle
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 4.6), layout="constrained")
        axes = figure.add_subplot()
        edges = [low, min(max(ridge, low), high), high]
        axes.plot(edges, [min(hw.multipliers, hw.bytes_per_cycle * x) for x in edges], color=INK, lw=1.5)
        for kind, color in COLORS.items():
            own = [p for p, layer in points if kind_of(layer) == kind]
            if own:
                axes.scatter([x for x, _ in own], [y for _, y in own], s=28, color=color, label=kind, zorder=3)
        for (x, y), layer in points:
            axes.annotate(layer.name.rsplit(".", 1)[-1].replace("$", r"\$"), (x, y), (3, 3), fontsize=7,
                          textcoords="offset points", color=MUTED)  # fmt: skip
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("products per byte moved through memory")
        axes.set_ylabel("products per cycle (estimated)")
        axes.set_title(f"{result.network} on {hw.name}: {hw.multipliers} multipliers, {hw.bytes_per_cycle:g} bytes per "
                       "cycle".replace("$", r"\$"), loc="left", fontsize=11)  # fmt: skip
        axes.legend(title="bound by", frameon=False, loc="lower right")
        return svg(figure)


def _point(layer: LayerEstimate, result: NetworkEstimate) -> tuple[float, float]:
    """(products per byte, products per cycle) of the array."""
    products = layer.figures.compute * result.hw.multipliers
    return products / layer.bytes, products / layer.cycles


def page(result: NetworkEstimate) -> str:
    """The figure and the table of layers as one HTML file."""
    head = ("layer", "tile", "kept", "cycles", "compute", "memory", "bytes", "bound")
    rows = "".join(
        f"<tr><td>{escape(x.name)}<td>{x.tile}<td>{x.density}<td>{x.cycles:,}<td>{x.compute_cycles:,}"
        f"<td>{x.memory_cycles:,}<td>{x.bytes:,}<td>{x.bound}</tr>" for x in result.layers
    )  # fmt: skip
    title = escape(f"{result.network} on {result.hw.name}")
    note = f"<p>{escape(result.note)}</p>" if result.note else ""
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>body{{font:15px sans-serif;"
        f"max-width:60rem;margin:2rem auto;color:{INK}}}td,th{{padding:.2rem .8rem;text-align:right}}"
        "td:first-child,th:first-child{text-align:left}</style>"
        f"<h1>{title}</h1><p>{result.ms:.3f} ms, {result.cycles:,} cycles, {result.fps:.1f} images per second "
        f"(estimated)</p>{note}{roofline_svg(result)}<table><tr>{''.join(f'<th>{h}' for h in head)}</tr>{rows}</table>"
    )


def write(result: NetworkEstimate, path: Path) -> None:
    """The figure as .svg, or the page as .html."""
    from subrow.spec.program import write_atomic

    write_atomic(path, (roofline_svg(result) if path.suffix == ".svg" else page(result)).encode())
