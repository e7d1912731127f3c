"""How fast a Program runs on a device: latency, throughput, counters of each layer, power where a board measures it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from subrow.devices.base import Device, Int8Array, RunResult
from subrow.spec.energy import Energy, energy_json, layer_energies, total
from subrow.spec.errors import InputError
from subrow.spec.origins import ESTIMATED, MEASURED, SIMULATED
from subrow.spec.program import Program

SEED = 1
WHAT = {
    SIMULATED: "cycles of the engine in its clock; what the host does before and after is not in it",
    MEASURED: "wall clock of `run`, with packing, cache maintenance and unpacking by the host",
}


@dataclass(frozen=True)
class LayerTime:
    """One layer of the last image: milliseconds in the engine's clock (None without a notion of time), MACs of the
    dense direct convolution, its counter record, its energy (estimated)."""

    name: str
    ms: float | None
    macs: int
    counters: Mapping[str, int]
    energy: Energy


@dataclass(frozen=True)
class Bench:
    """One Program on one device. Times in milliseconds; origin labels every figure but `energy`, which is estimated.

    latency: least, median and 99th percentile of single images. throughput: images per second in one call. gops: of
    the dense direct convolution (two operations a MAC) at that throughput. watts: the board's, or None.
    """

    program: str
    digest: str
    hw: str
    device: str
    origin: str
    images: int
    latency: tuple[float, float, float]
    throughput: float
    cycles: int | None
    gops: float
    watts: float | None
    layers: tuple[LayerTime, ...]
    energy: Energy

    @property
    def gops_per_watt(self) -> float | None:
        """GOP/s/W, where power is measured."""
        return self.gops / self.watts if self.watts else None


def origin_of(device: Device) -> str:
    """Where the times of a device come from: its engine's clock in a simulation, or the wall clock."""
    simulated = device.name == "verilator" or getattr(device, "simulated", False)
    return SIMULATED if simulated else MEASURED


def random_images(program: Program, images: int) -> dict[str, Int8Array]:
    """Images whose values make no difference to the time."""
    rng = np.random.default_rng(SEED)
    return {t.name: rng.integers(-127, 128, (images, *t.shape)).astype(np.int8) for t in program.inputs}


def bench(device: Device, program: Program, images: int, progress: Callable[[int], None] | None = None) -> Bench:
    """Run `images` images, one at a time and then all in one call. Raises what `load` and `run` raise."""
    if images < 1:
        raise InputError(f"{images} images: must be at least 1")
    device.load(program)
    feed = random_images(program, images)
    simulated = origin_of(device) == SIMULATED
    times, power, result = (_simulated if simulated else _measured)(device, feed, images, progress)
    rate = images / (sum(times[images:]) / 1e3) if len(times) > images else images / (sum(times) / 1e3)
    single = np.array(times[:images])
    hw, cycles = device.hw, result.cycles
    spent = layer_energies(program.decoded(), hw, result.records)
    layers = zip(program.layers, result.records, spent, strict=True)
    return Bench(
        program=program.name, digest=program.digest(), hw=hw.name, device=device.name, origin=origin_of(device),
        images=images, latency=(float(single.min()), float(np.median(single)), float(np.percentile(single, 99))),
        throughput=rate, cycles=None if cycles is None else int(np.median(cycles)),
        gops=2 * sum(i.macs for i in program.layers) * rate / 1e9,
        watts=float(np.mean(power)) if power else None,
        layers=tuple(
            LayerTime(i.name, r["cycles"] / hw.mhz / 1e3 if cycles else None, i.macs, r, e) for i, r, e in layers
        ),
        energy=total(spent),
    )  # fmt: skip


Feed = Mapping[str, Int8Array]
Found = tuple[list[float], list[float], RunResult]


def _simulated(device: Device, feed: Feed, images: int, progress: Callable[[int], None] | None) -> Found:
    """Milliseconds of each image in the engine's clock; one run is both figures."""
    results = []
    for i in range(images):
        results.append(device.run({name: x[i : i + 1] for name, x in feed.items()}))
        if progress:
            progress(1)
    return [sum(r.cycles or ()) / device.hw.mhz / 1e3 for r in results], [], results[-1]


def _measured(device: Device, feed: Feed, images: int, progress: Callable[[int], None] | None) -> Found:
    """Wall-clock milliseconds of each image, then of all in one call; power between the images."""
    watts = getattr(device, "watts", lambda: None)
    times, power = [], []
    device.run({name: x[:1] for name, x in feed.items()})  # the first one pays for cold caches
    for i in range(images):
        part = {name: x[i : i + 1] for name, x in feed.items()}
        begun = time.perf_counter()
        device.run(part)
        times.append((time.perf_counter() - begun) * 1e3)
        found = watts()
        power += [] if found is None else [found]
        if progress:
            progress(1)
    begun = time.perf_counter()
    result = device.run(feed)
    times.append((time.perf_counter() - begun) * 1e3)
    return times, power, result


def document(results: Mapping[str, Bench]) -> dict[str, Any]:
    """JSON of the Program and, where there is one, its dense baseline; each figure beside its origin."""
    main = results["program"]
    dense = results.get("dense")
    return {
        name: _json(b) for name, b in results.items()
    } | {
        "speedup": None if dense is None else dense.latency[1] / main.latency[1],
        "energy_ratio": None if dense is None else dense.energy.total / main.energy.total,
    }  # fmt: skip


def _json(b: Bench) -> dict[str, Any]:
    low, median, high = b.latency
    return {
        "program": b.program, "digest": b.digest, "hw": b.hw, "device": b.device, "images": b.images,
        "latency_ms": {"min": low, "median": median, "p99": high}, "images_per_second": b.throughput,
        "cycles": b.cycles, "gops": b.gops, "watts": b.watts, "gops_per_watt": b.gops_per_watt,
        "energy_uj": energy_json(b.energy),
        "layers": [{"name": i.name, "ms": i.ms, "macs": i.macs, "counters": dict(i.counters),
                    "energy_uj": energy_json(i.energy)} for i in b.layers],
        "origin": {"times": b.origin, "times_are": WHAT[b.origin], "gops": b.origin, "layers": b.origin,
                   "layers.energy_uj": ESTIMATED,
                   "watts": f"{MEASURED} by the board" if b.watts else "this device has no sensor",
                   "energy_uj": f"{ESTIMATED} (spec/energy.toml)"},
    }  # fmt: skip
