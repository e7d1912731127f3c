"""subrow_mac2/mac1, subrow_array and subrow_itrans against their models, over geometries and stall patterns."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from sim.common.build import Bench, BenchFailed, build_bench, run_bench
from subrow.toolenv import REPO_ROOT, BuildError

pytestmark = [pytest.mark.verilator, pytest.mark.slow]

RTL = REPO_ROOT / "hw" / "rtl"
PKG = REPO_ROOT / "hw" / "gen" / "subrow_pkg.sv"
BENCHES = REPO_ROOT / "sim" / "benches"
ARRAY = [PKG, *(RTL / f"subrow_{n}.sv" for n in ("mac1", "mac2", "lane", "array"))]
ITRANS = [PKG, *(RTL / f"subrow_{n}.sv" for n in ("block_iter", "itrans"))]

TINY = dict(Channels=8, Tiles=2, SubRow=8, UBits=8, VBits=8, AccBits=26, VWords=512, WeightWords=512)
BIG = dict(Channels=16, Tiles=6, SubRow=8, UBits=8, VBits=8, AccBits=26, VWords=512, WeightWords=512)
WIDE = dict(Channels=8, Tiles=2, SubRow=4, UBits=12, VBits=10, AccBits=32, VWords=512, WeightWords=512)
ARRAYS = {"tiny": TINY, "big": BIG, "wide": WIDE}
LAYERS = ["f2", "direct_3x3", "f4", "quad", "direct_dense", "grouped", "f2_dense", "shortest", "f4_long", "direct_1x1"]

ITRANS_TINY = dict(Tiles=2, SubRow=8, VBits=8, ActWords=512, VWords=1024)
ITRANS_WIDE = dict(Tiles=6, SubRow=4, VBits=10, ActWords=512, VWords=2048)
ITRANSES = {"tiny": ITRANS_TINY, "wide": ITRANS_WIDE}


def run(bench: Bench, module: str, seed: int, timeout_s: float = 300, **settings: object) -> None:
    run_bench(bench, module, python_path=[BENCHES, REPO_ROOT / "sw"], seed=seed, timeout_s=timeout_s,
              env={"SUBROW_BENCH": json.dumps(settings)}, waves_on_failure=not settings.get("corrupt"))


def a_seed() -> int:
    return random.SystemRandom().randrange(1, 1 << 31)


def mac_bench(packed: bool, params: dict[str, int]) -> Bench:
    name = "subrow_mac2" if packed else "subrow_mac1"
    return build_bench(name, [RTL / f"{name}.sv"], params)


def array_bench(params: dict[str, int]) -> Bench:
    return build_bench("subrow_array", ARRAY, params)


def itrans_bench(params: dict[str, int]) -> Bench:
    return build_bench("subrow_itrans", ITRANS, params)


@pytest.mark.parametrize(("packed", "bits"), [(True, (8, 8)), (True, (6, 9)), (False, (12, 10)), (False, (16, 16))])
def test_macs_are_exact(packed: bool, bits: tuple[int, int]) -> None:
    params = dict(UBits=bits[0], VBits=bits[1])
    run(mac_bench(packed, params), "test_mac2", a_seed(), params=params)


@pytest.mark.parametrize("stalls", ["full", "input", "weights", "output", "all"])
@pytest.mark.parametrize("size", ARRAYS)
def test_array(size: str, stalls: str) -> None:
    run(array_bench(ARRAYS[size]), "test_array", a_seed(), params=ARRAYS[size], stalls=stalls, layers=LAYERS)


@pytest.mark.parametrize("stalls", ["full", "rows", "output", "all"])
@pytest.mark.parametrize("size", ITRANSES)
def test_itrans(size: str, stalls: str) -> None:
    run(itrans_bench(ITRANSES[size]), "test_itrans", a_seed(), params=ITRANSES[size], stalls=stalls)


def test_corrupted_goldens_fail() -> None:
    mac = dict(UBits=8, VBits=8)
    with pytest.raises(BenchFailed):
        run(mac_bench(True, mac), "test_mac2", 1, params=mac, corrupt=True)
    with pytest.raises(BenchFailed, match="differs"):
        run(array_bench(TINY), "test_array", 1, params=TINY, stalls="full", layers=["f2"], corrupt=True)
    with pytest.raises(BenchFailed, match="differs"):
        run(itrans_bench(ITRANS_TINY), "test_itrans", 1, params=ITRANS_TINY, stalls="full", corrupt=True)


@pytest.mark.parametrize(("build", "params", "message"), [
    (lambda p: mac_bench(True, p), dict(UBits=12, VBits=10), "must be at most 25"),
    (array_bench, {**TINY, "Tiles": 3}, "Tiles must be even"),
    (array_bench, {**TINY, "AccBits": 12}, "AccBits UBits \\+ VBits"),
    (itrans_bench, {**ITRANS_TINY, "VWords": 768}, "powers of two"),
])
def test_illegal_parameters_stop_elaboration(build, params: dict[str, int], message: str, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=message):
        build(params)
