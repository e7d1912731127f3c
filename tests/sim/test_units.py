"""Every module of hw/rtl against its HLS function or its contract, over layers and stalls; one corrupted golden each.

By default two HwConfigs with small buffers that every layer fills, and of the single slow sides only the one that fills
the unit's buffers; the other sides and HwConfigs are `slow`.
"""

from __future__ import annotations

import dataclasses

import pytest

from sim.common.build import BenchFailed
from sim.common.options import PATTERNS, Options
from sim.common.units import CONFIGS

pytestmark = pytest.mark.verilator

UNITS = {
    "wfetch": ("small8", "small4", "gear", "pair"), "afetch": ("small8", "small4", "port2", "port4"),
    "rfetch": ("small8", "blocks4", "port2", "port4"),
    "itrans": ("small8", "small4"), "array": ("small8", "small4"), "otrans": ("small8", "blocks4"),
    "post": ("small8", "blocks4"), "awrite": ("small8", "blocks4", "port2", "port4"),
}
"""Modules with an HLS function -> the HwConfigs of the default run."""
SIDES = {
    "wfetch": ("free", "ask", "give"), "afetch": ("free", "ask", "give"), "rfetch": ("free", "ask", "give"),
    "itrans": ("v", "rows"), "array": ("m", "v", "w"), "otrans": ("y", "m"), "post": ("o", "p", "r", "y"),
    "awrite": ("take", "o", "ask"),
}
"""The sides of each bench that can be slow alone; first the one behind the unit, which fills its buffers."""

slow = pytest.mark.slow


@pytest.mark.parametrize(("unit", "config"), [(u, c) for u, configs in UNITS.items() for c in configs])
def test_unit_equals_hls(unit: str, config: str, run) -> None:
    run(unit, Options(CONFIGS[config], stalls=(*PATTERNS, f"slow_{SIDES[unit][0]}")))


def test_array_keeps_the_longest_sums(run) -> None:
    """2,048 steps of full-scale products: no ring or buffer of the small HwConfigs holds so many."""
    run("array", Options(CONFIGS["tiny"], stalls=("none",), rounds=0))


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("unit", UNITS)
def test_unit_equals_hls_everywhere(unit: str, config: str, run) -> None:
    stalls = (*PATTERNS, *(f"slow_{side}" for side in SIDES[unit]))
    run(unit, Options(CONFIGS[config], stalls=stalls, rounds=8))


@pytest.mark.parametrize("unit", UNITS)
def test_a_corrupted_golden_fails(unit: str, run) -> None:
    with pytest.raises(BenchFailed, match="differ.? from HLS"):
        run(unit, Options(CONFIGS["small8"], stalls=("none",), rounds=0, corrupt=True))


def test_block_iter(run) -> None:
    run("block_iter", Options(CONFIGS["small8"], rounds=10))


@pytest.mark.parametrize(("module", "bits"), [
    ("mac2", (8, 8, 26)), ("mac2", (4, 8, 16)), ("mac1", (12, 10, 32)), pytest.param("mac2", (6, 9, 15), marks=slow),
    pytest.param("mac2", (8, 8, 17), marks=slow), pytest.param("mac2", (4, 10, 33), marks=slow),
    pytest.param("mac1", (16, 16, 40), marks=slow),
])
def test_macs_are_exact(module: str, bits: tuple[int, int, int], run) -> None:
    run(module, Options(params=dict(zip(("UBits", "VBits", "AccBits"), bits, strict=True))))


@pytest.mark.parametrize(("module", "bits"), [("mac2", (8, 8, 26)), ("mac1", (12, 10, 32))])
def test_a_corrupted_sum_fails(module: str, bits: tuple[int, int, int], run) -> None:
    params = dict(zip(("UBits", "VBits", "AccBits"), bits, strict=True))
    with pytest.raises(BenchFailed, match="sums_are_exact"):
        run(module, Options(params=params, rounds=0, corrupt=True))


@pytest.mark.parametrize(("module", "width", "burst"), [
    ("axi_read", 8, 16), ("axi_write", 16, 4), pytest.param("axi_read", 16, 4, marks=slow),
    pytest.param("axi_write", 8, 16, marks=slow),
])
def test_axi_engines(module: str, width: int, burst: int, run) -> None:
    run(module, Options(params={"DataBytes": width, "BurstBeats": burst}))


@pytest.mark.parametrize(("ports", "width", "burst"), [(2, 16, 16), pytest.param(4, 64, 4, marks=slow)])
def test_spread(ports: int, width: int, burst: int, run) -> None:
    run("spread", Options(params={"Ports": ports, "DataBytes": width, "BurstBeats": burst}))


def test_arb2(run) -> None:
    run("arb2", Options(params={"DataBytes": 8}))


@pytest.mark.parametrize("width", [8, pytest.param(64, marks=slow)])
def test_ctrl(width: int, run) -> None:
    run("ctrl", Options(CONFIGS["small8"], params={"WeightBytes": width, "Units": 3}))


@pytest.mark.parametrize(("module", "options", "message"), [
    ("block_iter", Options(CONFIGS["small8"], rounds=0, corrupt=True), r"iy0 = -?[0-9]+, want"),
    ("axi_read", Options(params={"DataBytes": 8, "BurstBeats": 16}, rounds=0, corrupt=True), "word at 0x"),
    ("axi_write", Options(params={"DataBytes": 16, "BurstBeats": 4}, rounds=0, corrupt=True), "memory differs"),
    ("arb2", Options(params={"DataBytes": 8}, rounds=0, corrupt=True), "word of [ab]"),
    ("ctrl", Options(CONFIGS["small8"], params={"WeightBytes": 8, "Units": 3}, rounds=0, corrupt=True),
     "record read_bytes = "),
    ("spread", Options(params={"Ports": 2, "DataBytes": 16, "BurstBeats": 16}, rounds=1, corrupt=True), "words differ"),
], ids=("block_iter", "axi_read", "axi_write", "arb2", "ctrl", "spread"))
def test_a_corrupted_expectation_fails(module: str, options: Options, message: str, run) -> None:
    """Modules without an HLS function: what their benches expect is wrong in one value."""
    with pytest.raises(BenchFailed, match=message):
        run(module, dataclasses.replace(options, stalls=("none",)))
