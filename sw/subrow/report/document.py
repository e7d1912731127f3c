"""The report as JSON, with the origin of every figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from subrow.devices.base import Saturation
from subrow.report.measure import DENSE, LayerRow, Measurement
from subrow.spec.errors import InputError
from subrow.spec.hwconfig import HwConfig
from subrow.spec.origins import ESTIMATED, MEASURED, SIMULATED

ACCURACY_UNIT = "percent"


@dataclass(frozen=True)
class Report:
    """What a report shows: Programs of one network on one HwConfig, the float network's accuracy, tool versions.

    headline: the Measurement whose layers are listed one by one. Labels must differ: raises InputError.
    """

    network: str
    hw: HwConfig
    measurements: tuple[Measurement, ...]
    headline: Measurement
    tools: Mapping[str, str]
    float_accuracy: float | None = None

    def __post_init__(self) -> None:
        labels = [m.label for m in self.measurements]
        for label in labels:
            if labels.count(label) > 1:
                raise InputError(f"report: {labels.count(label)} Programs have the label {label!r}: give each its own")

    @property
    def compared(self) -> int:
        """Values on which the simulator was compared, over all Programs."""
        return sum(m.compared for m in self.measurements)

    @property
    def bit_exact(self) -> bool:
        """Whether every output of every simulated image of every Program was compared and equal."""
        return all(m.bit_exact and m.compared > 0 for m in self.measurements)

    @property
    def simulated_images(self) -> int:
        """Images that were simulated with each Program."""
        return min(m.simulated for m in self.measurements)

    def dense(self, m: Measurement) -> Measurement | None:
        """The dense Program of the same network and tile size: `m` itself when it is dense."""
        return dense_of(self.measurements, m)


def dense_of(measurements: Sequence[Measurement], m: Measurement) -> Measurement | None:
    """The dense Program of m's network and tile size."""
    if m.density == DENSE:
        return m
    same = (d for d in measurements if (d.program.name, d.tile, d.density) == (m.program.name, m.tile, DENSE))
    return next(same, None)


def dense_cycles(row: LayerRow, dense: Measurement | None) -> int | None:
    """Cycles of the same layer, with the same tile, in the dense Program; None when there is none."""
    rows = dense.layers if dense is not None else ()
    return next((r.cycles for r in rows if (r.name, r.tile) == (row.name, row.tile)), None)


def layer_json(row: LayerRow) -> dict[str, Any]:
    """One layer; cycles and utilisation come from the simulated engine's counters, bound from its roofline."""
    return {
        "name": row.name, "kind": row.kind, "tile": row.tile, "density": f"{row.density[0]}/{row.density[1]}",
        "macs": row.macs, "cycles": row.cycles, "issued_cycles": row.issued, "utilisation": round(row.utilisation, 4),
        "bound": row.bound,
    }  # fmt: skip


def layers_json(m: Measurement, dense: Measurement | None) -> list[dict[str, Any]]:
    """All layers of one Program beside those of the dense one."""
    return [layer_json(row) | {"dense_cycles": dense_cycles(row, dense)} for row in m.layers]


def saturated_json(saturated: Sequence[Saturation]) -> dict[str, float]:
    """Share of clamped values, 0 to 1, by input name."""
    return {s.name: round(s.share, 6) for s in saturated}


def demo_json(report: Report) -> dict[str, Any]:
    """The demo's document: dense and SRBS Programs of each tile size, the headline's layers."""
    srbs = []
    for m in report.measurements:
        if m.density != DENSE:
            dense = report.dense(m)
            if dense is None:
                raise InputError(f"report: no dense Program of tile {m.tile} to compare {m.label} with")
            srbs.append({
                "density": m.density, "accuracy": m.accuracy, "cycles": m.cycles, "dense_cycles": dense.cycles,
                "tile": m.tile,
            })  # fmt: skip
    return {
        "float_accuracy": report.float_accuracy,
        "int8_accuracy": {m.tile: m.accuracy for m in report.measurements if m.density == DENSE},
        "accuracy_unit": ACCURACY_UNIT,
        "srbs": srbs,
        "simulated_images": report.simulated_images,
        "bit_exact": report.bit_exact,
        "compared": report.compared,
        "layers": layers_json(report.headline, report.dense(report.headline)),
        "tools": dict(report.tools),
        "origin": {
            "float_accuracy": MEASURED, "int8_accuracy": MEASURED, "srbs.accuracy": MEASURED,
            "srbs.cycles": SIMULATED, "srbs.dense_cycles": SIMULATED, "bit_exact": SIMULATED, "compared": SIMULATED,
            "layers.cycles": SIMULATED, "layers.issued_cycles": SIMULATED, "layers.utilisation": SIMULATED,
            "layers.bound": ESTIMATED, "layers.dense_cycles": SIMULATED,
        },
    }  # fmt: skip


def programs_json(measurements: Sequence[Measurement], hw: HwConfig, tools: Mapping[str, str]) -> dict[str, Any]:
    """Any Programs of one HwConfig, each with all its layers."""
    return {
        "hw": hw.name,
        "accuracy_unit": ACCURACY_UNIT,
        "programs": [
            {
                "label": m.label, "network": m.program.name, "tile": m.tile, "density": m.density,
                "accuracy": m.accuracy, "images": m.images, "cycles": m.cycles, "simulated_images": m.simulated,
                "bit_exact": m.bit_exact, "compared": m.compared, "saturated": saturated_json(m.saturated),
                "layers": layers_json(m, dense_of(measurements, m)),
            }
            for m in measurements
        ],
        "bit_exact": all(m.bit_exact and m.compared > 0 for m in measurements),
        "compared": sum(m.compared for m in measurements),
        "tools": dict(tools),
        "origin": {
            "programs.accuracy": MEASURED, "programs.cycles": SIMULATED, "programs.bit_exact": SIMULATED,
            "programs.compared": SIMULATED, "programs.saturated": MEASURED, "programs.layers": SIMULATED,
            "programs.layers.bound": ESTIMATED, "bit_exact": SIMULATED, "compared": SIMULATED,
        },
    }  # fmt: skip
