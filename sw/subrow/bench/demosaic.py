"""Photographs from a Bayer mosaic by the network of models/demosaic.py: float32, int8 dense and int8 SRBS.

Photographs are cut into squares that overlap by what the convolutions take from the borders, so that one Program of a
fixed size does any photograph, and the pieces fit together without a seam.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subrow.api import compile
from subrow.bench.page import Page, PageTable, Photo, decibels, png
from subrow.devices import open_device
from subrow.devices.base import Device
from subrow.passes.choose_tile import TileName
from subrow.spec.errors import InputError
from subrow.spec.hwconfig import HwConfig
from subrow.spec.origins import MEASURED, SIMULATED
from subrow.spec.program import Program

Images = NDArray[np.float32]
Stage = Callable[[Images], Images]
SQUARE = 224  # output pixels of one square
CROP, ZOOM = 72, 3  # pixels of a detail on the page, and how large each is shown
EVALUATED = ("astronaut", "coffee", "chelsea", "rocket")
CALIBRATION = ("motorcycle", "grace_hopper")
BILINEAR, FLOAT = "bilinear", "float32"
NOTES = (
    "On the engine: the 16 convolutions of 3x3 and the last one of 1x1, 99.9 % of the multiply-accumulates. On the "
    "host, in float32: packing the mosaic into four channels, the product of filters and masks, one 1x1 convolution "
    "of its result, unpacking to full size and the concatenation with the mosaic.",
    "Nothing was retrained. Scales and the compensation of pruned weights come from eight squares of two other "
    "photographs.",
    "The first convolution (4 channels) and the two layers behind the concatenation are never pruned; those two run as "
    "direct convolutions.",
    "PSNR over all three channels of the pixels that have all their neighbours; values clipped to [0, 1].",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One way to run the trunk on the engine."""

    tile: TileName
    density: str | None

    @property
    def label(self) -> str:
        return f"int8 {self.tile.upper()} {self.density or 'dense'}"


CASES = (Case("f2", None), Case("f2", "4/8"), Case("f4", None))


@dataclass(frozen=True)
class TrunkRow:
    """One compiled trunk. cycles: of one square in the simulated RTL, or None when it was not simulated."""

    label: str
    weight_bytes: int
    macs: int
    compile_seconds: float
    emulator_seconds: float  # of all photographs, both networks
    cycles: int | None
    bit_exact: bool | None


@dataclass(frozen=True)
class Result:
    """pictures: by photograph and method, H x W x 3 in [0, 1]; `true` and `mosaic` are among the methods."""

    hw: HwConfig
    pictures: Mapping[str, Mapping[str, Images]]
    psnr: Mapping[str, Mapping[str, float]]  # by photograph and method, against the photograph
    psnr_float: Mapping[str, Mapping[str, float]]  # against the float32 network
    trunks: tuple[TrunkRow, ...]


def photograph(name: str) -> Images:
    """3 x H x W in [0, 1], H and W even, from the installed packages; nothing is downloaded."""
    try:
        from PIL import Image
        from skimage import data
    except ImportError:
        raise InputError("photographs need scikit-image: run `make setup` (extra `bench`)") from None
    if name == "motorcycle":
        pixels = data.stereo_motorcycle()[0]
    elif name == "grace_hopper":
        from matplotlib.cbook import get_sample_data

        with Image.open(str(get_sample_data("grace_hopper.jpg", asfileobj=False))) as image:
            pixels = np.asarray(image.convert("RGB"))
    else:
        pixels = getattr(data, name)()
    h, w = (d // 2 * 2 for d in pixels.shape[:2])
    return (pixels[:h, :w].astype(np.float32) / 255).transpose(2, 0, 1)


def psnr(x: Images, y: Images) -> float:
    """Peak signal-to-noise ratio in dB of two pictures with values in [0, 1]."""
    error = float(((np.clip(x, 0, 1).astype(np.float64) - np.clip(y, 0, 1)) ** 2).mean())
    return round(-10 * np.log10(error), 2) if error else float("inf")


def corners(size: int, square: int) -> list[int]:
    """Even first positions of squares that cover `size` pixels; the last one ends where the pixels end."""
    if size < square or size % 2 or square % 2:
        raise InputError(f"{size} pixels cannot be covered by squares of {square}: both even, and size at least square")
    return [*range(0, size - square, square), size - square]


def in_squares(samples: Images, run: Stage, margin: int, square: int = SQUARE) -> Images:
    """A mosaic 3 x H x W cut up, all pieces run, put together: 3 x H - 2 margin x W - 2 margin."""
    h, w = (d - 2 * margin for d in samples.shape[1:])
    places = [(y, x) for y in corners(h, square) for x in corners(w, square)]
    side = square + 2 * margin
    done = run(np.stack([samples[:, y : y + side, x : x + side] for y, x in places]))
    result = np.empty((3, h, w), np.float32)
    for (y, x), piece in zip(places, done, strict=True):
        result[:, y : y + square, x : x + square] = piece
    return result


def calibration_squares(side: int) -> Images:
    """The four corner squares of each calibration photograph."""
    squares = []
    for image in map(photograph, CALIBRATION):
        bottom, right = ((d - side) // 2 * 2 for d in image.shape[1:])
        squares += [image[:, y : y + side, x : x + side] for y in (0, bottom) for x in (0, right)]
    return np.stack(squares)


def on_device(device: Device, program: Program) -> Stage:
    """A stage that runs on a device."""

    def run(x: Images) -> Images:
        device.load(program)
        return device.run(x).real()

    return run


def evaluate(
    hw: HwConfig, cases: tuple[Case, ...] = CASES, names: tuple[str, ...] = EVALUATED, simulate: bool = True,
    progress: Callable[[str], None] | None = None,
) -> Result:  # fmt: skip
    """Every photograph by every method. simulate: also run one square of each trunk in the simulated RTL."""
    from models import demosaic

    say = progress or (lambda text: None)
    margin = demosaic.MARGIN
    say("calibrate")
    calibration = demosaic.mosaic(calibration_squares(SQUARE + 2 * margin))
    network = demosaic.load(calibration)
    packed = network.pack(calibration)
    merged = network.merge(calibration, demosaic.stage(network.trunk)(packed))
    pictures: dict[str, dict[str, Images]] = {}
    for name in names:
        image = photograph(name)
        samples = demosaic.mosaic(image[np.newaxis])[0]
        inner = (slice(None), slice(margin, -margin), slice(margin, -margin))
        pictures[name] = {
            "true": image[inner], "mosaic": samples[inner],
            BILINEAR: demosaic.bilinear(samples[np.newaxis])[0][inner],
            FLOAT: in_squares(samples, network.run, margin),
        }  # fmt: skip
    finish = compile(network.finish, merged[:1], hw, None, "direct", merged)
    trunks = []
    with open_device("emulator", hw) as emulator:
        for case in cases:
            say(f"{case.label}: prune, quantise, compile")
            start = time.perf_counter()
            trunk = compile(network.trunk, packed[:1], hw, case.density, case.tile, packed)
            compiled = time.perf_counter() - start
            say(f"{case.label}: emulate")
            start = time.perf_counter()
            stages = on_device(emulator, trunk), on_device(emulator, finish)
            for name in names:
                samples = demosaic.mosaic(photograph(name)[np.newaxis])[0]
                pictures[name][case.label] = in_squares(samples, lambda x, s=stages: network.run(x, *s), margin)  # type: ignore[misc]
            emulated = time.perf_counter() - start
            if simulate:
                say(f"{case.label}: simulate one square")
            cycles, exact = _simulate(hw, emulator, trunk, packed[:1]) if simulate else (None, None)
            weights, macs = trunk.weights.size, sum(layer.macs for layer in trunk.layers)
            trunks.append(TrunkRow(case.label, weights, macs, compiled, emulated, cycles, exact))
    methods = [BILINEAR, FLOAT, *(c.label for c in cases)]
    truth = {n: {m: psnr(p[m], p["true"]) for m in methods} for n, p in pictures.items()}
    near = {n: {m: psnr(p[m], p[FLOAT]) for m in methods if m != FLOAT} for n, p in pictures.items()}
    return Result(hw, {n: {m: p[m].transpose(1, 2, 0) for m in p} for n, p in pictures.items()}, truth, near,
                  tuple(trunks))


def _simulate(hw: HwConfig, emulator: Device, program: Program, x: Images) -> tuple[int, bool]:
    """(cycles of one square in the RTL, whether its output equals the emulator's)."""
    emulator.load(program)
    expected = emulator.run(x)
    with open_device("verilator", hw) as chip:
        chip.load(program)
        got = chip.run(x)
    assert got.cycles is not None
    equal = all(np.array_equal(got.outputs[n], expected.outputs[n]) for n in expected.outputs)
    return got.cycles[0], equal


def mean(table: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Mean over the photographs of each method."""
    methods = next(iter(table.values()))
    return {m: round(float(np.mean([row[m] for row in table.values()])), 2) for m in methods}


def to_json(result: Result, tools: Mapping[str, str]) -> dict[str, Any]:
    """Everything but the pictures."""
    return {
        "network": "demosaicnet, Bayer", "hw": result.hw.name, "square": SQUARE, "evaluated": list(result.pictures),
        "calibration": list(CALIBRATION), "psnr_db": result.psnr, "psnr_db_mean": mean(result.psnr),
        "psnr_db_against_float32": result.psnr_float, "psnr_db_against_float32_mean": mean(result.psnr_float),
        "trunks": [asdict(t) for t in result.trunks], "notes": list(NOTES), "tools": dict(tools),
        "origin": {
            "psnr_db": MEASURED, "psnr_db_against_float32": MEASURED, "trunks.compile_seconds": MEASURED,
            "trunks.emulator_seconds": MEASURED, "trunks.cycles": SIMULATED, "trunks.bit_exact": SIMULATED,
        },
    }  # fmt: skip


def page(result: Result, headline: str) -> Page:
    """The page; headline is the method that stands beside bilinear interpolation at full size."""
    tables = [
        decibels("PSNR against the photograph, dB (measured)", result.psnr, mean(result.psnr)),
        decibels("PSNR against the float32 network, dB (measured)", result.psnr_float, mean(result.psnr_float)),
        PageTable("Programs of the trunk", ("Program", "weight bytes", "cycles of one square (simulated)",
                  "dense MACs per cycle and multiplier", "RTL equals emulator"),
                  [_trunk_row(t, result.hw) for t in result.trunks]),
    ]  # fmt: skip
    about = (
        "The Bayer network of demosaicnet (Gharbi et al., 2016), its convolutions compiled for "
        f"{result.hw.name} and run on the bit-true emulator. Programs of {SQUARE} x {SQUARE} output pixels."
    )
    photos = [_photo(result, name, headline) for name in result.pictures]
    return Page("Demosaicking on Subrow", about, tables, NOTES, photos)


def _trunk_row(t: TrunkRow, hw: HwConfig) -> tuple[str, ...]:
    rate = "-" if not t.cycles else f"{t.macs / t.cycles / hw.multipliers:.2f}"
    equal = "-" if t.bit_exact is None else "every bit" if t.bit_exact else "NO"
    cycles = "not simulated" if not t.cycles else f"{t.cycles:,}"
    return t.label, f"{t.weight_bytes:,}", cycles, rate, equal


def worst_square(error: Images, size: int = CROP) -> tuple[slice, slice]:
    """The size x size pixels with the largest sum of an error H x W, on a grid of half that size."""
    step = size // 2
    rows, columns = (range(0, d - size + 1, step) for d in error.shape)
    places = [(y, x) for y in rows for x in columns]
    y, x = max(places, key=lambda p: float(error[p[0] : p[0] + size, p[1] : p[1] + size].sum()))
    return slice(y, y + size), slice(x, x + size)


def _photo(result: Result, name: str, headline: str) -> Photo:
    pictures, db = result.pictures[name], result.psnr[name]
    where = worst_square(((pictures[BILINEAR] - pictures["true"]) ** 2).sum(axis=2))
    captions = {"true": "photograph", "mosaic": "Bayer mosaic", FLOAT: f"network, float32: {db[FLOAT]:.2f} dB"}
    captions |= {m: f"{m}: {db[m]:.2f} dB" for m in db if m not in captions}
    pair = [(f"before: {captions[BILINEAR]}", png(pictures[BILINEAR])),
            (f"after: {captions[headline]}", png(pictures[headline]))]  # fmt: skip
    crops = [(captions[m], png(pictures[m][where], ZOOM)) for m in ("mosaic", *db, "true")]
    return Photo(name, pair, f"The {CROP} x {CROP} pixels where bilinear interpolation is worst:", crops)
