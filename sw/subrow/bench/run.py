"""All parts of the bench, in one run: tables on standard output, documents in a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from subrow.area import area_json, area_table, estimate
from subrow.bench import demosaic, pretrained
from subrow.bench.figures import LAYERS, EmulatorSpeed, LayerFigures, Say, emulator_speed, host, layer_figures
from subrow.console import errors, output, print_json, table
from subrow.spec import hwconfig
from subrow.spec.errors import InputError
from subrow.spec.origins import ESTIMATED, MEASURED, SIMULATED
from subrow.spec.program import write_atomic
from subrow.toolenv import tool_versions

PARTS = ("emulator", "layers", "area", "demosaic", "edges", "resnet8")
BOARD, SMALL = "pynq-z2", "tiny"
HEADLINE = demosaic.CASES[1].label
ORIGIN = {
    "emulator.images_per_second": MEASURED, "layers.cycles_per_second": MEASURED, "layers.cycles": SIMULATED,
    "layers.issue_rate": SIMULATED, "layers.ratio": SIMULATED, "layers.macs_per_multiplier_cycle": SIMULATED,
    "layers.bit_exact": SIMULATED, "area": ESTIMATED, "demosaic.psnr_db_mean": MEASURED,
    "demosaic.trunks.cycles": SIMULATED, "edges": pretrained.ORIGIN, "resnet8": pretrained.ORIGIN,
}  # fmt: skip


def run(out: Path, parts: Sequence[str] = PARTS, as_json: bool = False, data: Path | None = None) -> bool:
    """Measure the parts and write `out`/bench.json; returns whether the simulated RTL equalled the emulator throughout.

    data: CIFAR-10, for the part resnet8. Raises InputError for an unknown part, or when data is missing.
    """
    unknown = set(parts) - set(PARTS)
    if unknown:
        raise InputError(f"part {sorted(unknown)[0]!r}: known parts are {', '.join(PARTS)}")
    if "resnet8" in parts and data is None:
        raise InputError("part resnet8 needs CIFAR-10: give --data PATH, or leave it out with --only")
    console, screen = errors(), output()
    tools = tool_versions()
    document: dict[str, Any] = {"host": host(), "tools": tools, "origin": ORIGIN}
    tables: list[Table] = []
    exact = True
    with console.status("bench") as status:

        def say(text: str) -> None:
            status.update(text)
            if not console.is_terminal:
                console.print(text, highlight=False)

        if "emulator" in parts:
            speeds = emulator_speed(hwconfig.load(SMALL), (None, "4/8", "2/8"), say)
            document["emulator"] = [asdict(s) for s in speeds]
            tables.append(_emulator_table(speeds))
        if "layers" in parts:
            rows = _layers(say)
            document["layers"] = [asdict(r) for r in rows]
            exact &= all(r.bit_exact for r in rows)
            tables.append(_layers_table(rows))
        if "area" in parts:
            hw = hwconfig.load(SMALL)
            say(f"area of {SMALL}: Yosys, about five minutes unless nothing changed")
            areas = {"subrow_engine": estimate(hw)}
            document["area"] = area_json(hw, areas)
            tables.append(area_table(hw, areas))
        if "demosaic" in parts:
            result = demosaic.evaluate(hwconfig.load(BOARD), progress=lambda text: say(f"demosaic, {text}"))
            full = demosaic.to_json(result, tools)
            _write(out / "demosaic.json", full)
            write_atomic(out / "demosaic.html", demosaic.page(result, HEADLINE).html().encode())
            document["demosaic"] = {key: full[key] for key in ("hw", "psnr_db_mean", "trunks")}
            exact &= all(t.bit_exact is not False for t in result.trunks)
            tables.append(_demosaic_table(full))
        if "edges" in parts:
            edges = pretrained.edges(hwconfig.load(BOARD), lambda text: say(f"edges, {text}"))
            document["edges"] = pretrained.edges_json(edges)
            write_atomic(out / "edges.html", pretrained.page(edges, HEADLINE).html().encode())
            tables.append(_edges_table(edges))
        if data is not None and "resnet8" in parts:
            accuracy = pretrained.resnet8(hwconfig.load(BOARD), data, lambda text: say(f"resnet8, {text}"))
            document["resnet8"] = pretrained.resnet8_json(accuracy)
            tables.append(_resnet8_table(accuracy))
    simulated = {"layers", "demosaic"} & set(parts)
    document["bit_exact"] = exact if simulated else None
    _write(out / "bench.json", document)
    if as_json:
        print_json(document)
    else:
        _show(screen, tables, out, document["bit_exact"])
    return exact


def _write(path: Path, document: Mapping[str, Any]) -> None:
    write_atomic(path, (json.dumps(document, indent=2) + "\n").encode())


def _layers(say: Say) -> list[LayerFigures]:
    board, small = hwconfig.load(BOARD), hwconfig.load(SMALL)
    return [
        *layer_figures(small, LAYERS[:1], ("f2",), say), *layer_figures(board, LAYERS, ("f2",), say),
        *layer_figures(board, LAYERS[:1], ("f4",), say),
    ]  # fmt: skip


def _show(screen: Console, tables: Sequence[Table], out: Path, exact: bool | None) -> None:
    """exact: whether RTL and emulator were equal; None when nothing was simulated."""
    screen.print(*tables, sep="\n\n")
    if exact is not None:
        screen.print("simulated RTL and emulator: " + ("equal in every output" if exact else "NOT EQUAL"))
    screen.print(", ".join(str(p) for p in sorted([*out.glob("*.json"), *out.glob("*.html")])), highlight=False,
                 soft_wrap=True)


def _emulator_table(speeds: Sequence[EmulatorSpeed]) -> Table:
    rows = [(s.hw, s.network, s.density, f"{s.images_per_second:,.0f}") for s in speeds]
    return table("Emulator (measured)", ("HwConfig", "network", "kept"), ("images/s",), rows)


def _layers_table(layers: Sequence[LayerFigures]) -> Table:
    rows = [
        (f"{r.hw} {r.channels} ch {r.size}x{r.size}", f"{r.tile} {r.density}", r.bound, f"{r.cycles:,}",
         f"{100 * r.issue_rate:.0f} %", f"{r.ratio:.3f}", f"{r.macs_per_multiplier_cycle:.2f}",
         f"{r.cycles_per_second / 1000:,.0f} k")
        for r in layers
    ]  # fmt: skip
    return table(
        "3x3 layers (simulated; speed of the simulation: measured)", ("layer", "tile", "bound"),
        ("cycles", "issue\nrate", "cycles,\nof dense", "MAC/cyc/\nmult", "cycles/s"), rows,
    )  # fmt: skip


def _demosaic_table(full: Mapping[str, Any]) -> Table:
    cycles = {t["label"]: t["cycles"] for t in full["trunks"]}
    against = full["psnr_db_against_float32_mean"]
    rows = [
        (m, f"{db:.2f}", f"{against[m]:.2f}" if m in against else "-", f"{cycles[m]:,}" if cycles.get(m) else "-")
        for m, db in full["psnr_db_mean"].items()
    ]
    title = f"Demosaicking of {len(full['evaluated'])} photographs on {full['hw']} (PSNR measured, cycles simulated)"
    return table(title, ("method",), ("PSNR, dB", "against float32", "cycles of a square"), rows)


def _edges_table(edges: pretrained.Edges) -> Table:
    title = f"Edges in {len(edges.maps)} photographs on {edges.hw.name} (PSNR measured, cycles estimated)"
    rows = [(r.label, f"{r.result:.2f}", f"{r.weight_bytes:,}", f"{r.cycles:,}") for r in edges.rows]
    return table(title, ("Program",), ("PSNR against float32, dB", "weight bytes", "cycles"), rows)


def _resnet8_table(found: pretrained.Accuracy) -> Table:
    title = f"ResNet-8, {found.images:,} images of {found.data}, on {found.hw.name}"
    rows = [("float32", f"{found.float32:.2f}", "-", "-")]
    rows += [(r.label, f"{r.result:.2f}", f"{r.weight_bytes:,}", f"{r.cycles:,}") for r in found.rows]
    return table(title, ("Program",), ("accuracy, % (measured)", "weight bytes", "cycles (estimated)"), rows)
