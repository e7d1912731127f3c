"""The report as JSON, with the origin of every figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from subrow.report.measure import DENSE, LayerRow, Measurement
from subrow.spec.errors import InputError
from subrow.spec.hwconfig import HwConfig

MEASURED, SIMULATED, ESTIMATED = "measured", "simulated", "estimated"
ACCURACY_UNIT = "percent"


@dataclass(frozen=True)
class Report:
    """What a report shows: Programs of one network on one HwConfig, the float network's accuracy, tool versions.

    headline: the Measurement whose layers are listed one by one.
    """

    network: str
    hw: HwConfig
    measurements: tuple[Measurement, ...]
    headline: Measurement
    tools: Mapping[str, str]
    float_accuracy: float | None = None

    @property
    def bit_exact(self) -> bool:
        """Whether every output of every simulated image of every Program was compared and equal."""
        return all(m.bit_exact and m.compared > 0 for m in self.measurements)

    @property
    def simulated_images(self) -> int:
        """Images that were simulated with each Program."""
        return min(m.simulated for m in self.measurements)

    def dense(self, tile: str) -> Measurement | None:
        """The dense Program of a tile size."""
        return next((m for m in self.measurements if m.tile == tile and m.density == DENSE), None)


def layer_json(row: LayerRow) -> dict[str, Any]:
    """One layer; cycles come from the simulated engine's counters, bound from its roofline."""
    return {
        "name": row.name, "kind": row.kind, "tile": row.tile, "density": f"{row.density[0]}/{row.density[1]}",
        "macs": row.macs, "cycles": row.cycles, "issued_cycles": row.issued, "bound": row.bound,
    }  # fmt: skip


def demo_json(report: Report) -> dict[str, Any]:
    """The demo's document: dense and SRBS Programs of each tile size, the headline's layers."""
    srbs = []
    for m in report.measurements:
        if m.density != DENSE:
            dense = report.dense(m.tile)
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
        "layers": [layer_json(row) for row in report.headline.layers],
        "tools": dict(report.tools),
        "origin": {
            "float_accuracy": MEASURED, "int8_accuracy": MEASURED, "srbs.accuracy": MEASURED,
            "srbs.cycles": SIMULATED, "srbs.dense_cycles": SIMULATED, "bit_exact": SIMULATED,
            "layers.cycles": SIMULATED, "layers.issued_cycles": SIMULATED, "layers.bound": ESTIMATED,
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
                "bit_exact": m.bit_exact, "layers": [layer_json(row) for row in m.layers],
            }
            for m in measurements
        ],
        "bit_exact": all(m.bit_exact for m in measurements),
        "tools": dict(tools),
        "origin": {
            "programs.accuracy": MEASURED, "programs.cycles": SIMULATED, "programs.bit_exact": SIMULATED,
            "programs.layers": SIMULATED,
        },
    }  # fmt: skip
