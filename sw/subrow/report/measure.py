"""One Program on its devices: accuracy on the emulator, cycles in the simulated RTL, and whether both agree."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subrow.devices.base import Device, RunResult, Saturation, quantise, saturation
from subrow.report.verify import verify
from subrow.spec.errors import InputError
from subrow.spec.hwconfig import HwConfig
from subrow.spec.isa import Instruction
from subrow.spec.program import LayerInfo, Program, TensorInfo
from subrow.spec.roofline import Roofline, roofline

DENSE = "dense"
_BATCH = 50  # images between two steps of the progress bar


@dataclass(frozen=True)
class LayerRow:
    """One layer of one Program: what it is, and the counters of its last simulated image."""

    name: str
    kind: str
    tile: str
    density: tuple[int, int]
    macs: int  # of the dense direct convolution
    weight_bytes: int
    multipliers: int
    counters: Mapping[str, int]  # isa.RECORD_FIELDS
    roofline: Roofline

    @property
    def cycles(self) -> int:
        return self.counters["cycles"]

    @property
    def issued(self) -> int:
        """Cycles in which the array issued products."""
        return self.counters["issued"]

    @property
    def utilisation(self) -> float:
        """Share of the layer's cycles in which the array issued products."""
        return self.issued / self.cycles if self.cycles else 0.0

    @property
    def macs_per_multiplier_cycle(self) -> float:
        """Dense direct MACs done by one multiplier in one cycle; a dense direct engine reaches at most 1."""
        return self.macs / (self.cycles * self.multipliers) if self.cycles else 0.0

    @property
    def bound(self) -> str:
        """The resource that needs most cycles for the layer: a field of spec.roofline.Roofline."""
        return self.roofline.bound


@dataclass(frozen=True)
class Measurement:
    """What was found out about one Program.

    accuracy: percent of `images` labelled images, by the emulator. cycles and layers: of the last of `simulated`
    images. compared: values on which the simulator was compared, namely its outputs with the emulator's, and where
    `every_layer` was asked for each layer's whole tensor with the reference's; bit_exact: all of them were equal.
    saturated: how much of each input was clamped.
    """

    label: str
    tile: str
    density: str
    program: Program
    accuracy: float | None
    images: int
    cycles: int
    simulated: int
    compared: int
    bit_exact: bool
    layers: tuple[LayerRow, ...]
    saturated: tuple[Saturation, ...] = ()


def layer_rows(program: Program, result: RunResult, hw: HwConfig) -> tuple[LayerRow, ...]:
    """The Program's layers with the counters of a run."""
    layers = zip(program.layers, program.decoded(), result.records, strict=True)
    return tuple(_row(info, ins, record, hw) for info, ins, record in layers)


def _row(info: LayerInfo, ins: Instruction, record: Mapping[str, int], hw: HwConfig) -> LayerRow:
    return LayerRow(
        info.name, info.kind, info.tile, info.density, info.macs, int(info.details.get("weight_bytes", 0)),
        hw.multipliers, dict(record), roofline(ins, hw),
    )  # fmt: skip


def tile_of(program: Program) -> str:
    """`f2`, `f4`, `f2+f4`, or `direct` when no layer runs in the Winograd domain."""
    return "+".join(sorted({i.tile for i in program.layers} - {"direct", "linear"})) or "direct"


def density_of(program: Program) -> str:
    """s/L of the layers below L, `dense` when there are none."""
    pruned = {i.density for i in program.layers if i.density[0] < i.density[1] and i.kind != "channelwise"}
    return ", ".join(f"{s}/{n}" for s, n in sorted(pruned)) or DENSE


def check_labels(labels: NDArray[Any], images: int, classes: int) -> None:
    """Raises InputError unless labels are integers 0..classes - 1 in one dimension, one for each image."""
    if labels.ndim != 1:
        raise InputError(f"labels have shape {labels.shape}, must be [{images}]: one number for each image")
    if labels.dtype.kind not in "iu":
        raise InputError(f"labels are {labels.dtype}, must be integers 0..{classes - 1}: class numbers")
    if len(labels) != images:
        raise InputError(f"{len(labels)} labels for {images} images: give one label for each image")
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        raise InputError(
            f"label {labels[wrong[0]]} of image {wrong[0]} is outside 0..{classes - 1}: the network has {classes} "
            "outputs"
        )


def accuracy_percent(outputs: NDArray[np.number], labels: NDArray[np.integer]) -> float:
    """Percent of images whose largest output is at the label's place. Raises InputError as `check_labels` does."""
    flat = outputs.reshape(len(outputs), -1)
    check_labels(labels, *flat.shape)
    return round(100.0 * int((flat.argmax(axis=1) == labels).sum()) / len(labels), 3)


def check_feed(
    program: Program, images: NDArray[np.number], labels: NDArray[np.integer] | None = None, simulate: int = 1
) -> TensorInfo:
    """The Program's only input. Raises InputError when images, labels and number to simulate do not fit it."""
    if len(program.inputs) != 1:
        raise InputError(f"Program {program.name} has {len(program.inputs)} inputs; a report takes one")
    quantise(images[:1], program.inputs[0])
    if not 1 <= simulate <= len(images):
        raise InputError(f"{simulate} images to simulate of {len(images)}: must be 1..{len(images)}")
    if labels is not None:
        check_labels(labels, len(images), int(np.prod(program.outputs[0].shape)))
    return program.inputs[0]


def measure(
    program: Program,
    emulator: Device,
    chip: Device,
    images: NDArray[np.number],
    labels: NDArray[np.integer] | None = None,
    simulate: int = 1,
    label: str | None = None,
    every_layer: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Measurement:
    """All images on the emulator, the first `simulate` on the simulated RTL, every output value compared.

    every_layer: also compare each layer's output tensor in the RTL with the numpy reference, for the first image.
    progress is called with the number of images done since the last call, len(images) in all. Raises InputError as
    `check_feed` does, before anything runs.
    """
    info = check_feed(program, images, labels, simulate)
    feed, saturated = quantise(images, info), saturation(images, info)
    emulator.load(program)
    parts: list[Mapping[str, NDArray[np.int8]]] = []
    for start in range(0, len(feed), _BATCH):
        part = feed[start : start + _BATCH]
        parts.append(emulator.run(part).outputs)
        if progress:
            progress(len(part))
    outputs = {t.name: np.concatenate([p[t.name] for p in parts]) for t in program.outputs}
    chip.load(program)
    result = chip.run(feed[:simulate])
    equal = [np.array_equal(result.outputs[name], values[:simulate]) for name, values in outputs.items()]
    compared = sum(v[:simulate].size for v in outputs.values())
    if every_layer:
        checks = verify(program, chip, {info.name: feed[:1]})
        equal += [c.equal for c in checks]
        compared += sum(c.compared for c in checks)
    if result.cycles is None:
        raise InputError(f"device {result.device} knows no cycles: measure on a simulator")
    return Measurement(
        label=label or program.name, tile=tile_of(program), density=density_of(program), program=program,
        accuracy=None if labels is None else accuracy_percent(next(iter(outputs.values())), labels),
        images=len(images), cycles=result.cycles[-1], simulated=simulate,
        compared=compared, bit_exact=all(equal),
        layers=layer_rows(program, result, emulator.hw), saturated=(saturated,),
    )  # fmt: skip
