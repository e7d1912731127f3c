"""The output side of the RTL (output transform, requantiser, writer) against Python models of the contract."""

from __future__ import annotations

import json
import subprocess

import pytest

from sim.common.build import Bench, BenchFailed, build_bench, run_bench
from subrow.spec.hwconfig import load
from subrow.toolenv import REPO_ROOT, find_tool, tool_env

pytestmark = [pytest.mark.verilator, pytest.mark.slow]

RTL = REPO_ROOT / "hw" / "rtl"
SOURCES = [REPO_ROOT / "hw" / "gen" / "subrow_pkg.sv", RTL / "subrow_block_iter.sv", RTL / "subrow_fifo.sv"]
NAMES = ("Channels", "Tiles", "SubRow", "AccBits", "YBits", "ParamGroups", "OutWords")
KEYS = ("channels", "tiles", "sub_row", "acc_bits", "y_bits", "param_groups", "out_words")
UNITS = {
    "otrans": ("Channels", "Tiles", "SubRow", "AccBits", "YBits"),
    "post": ("Channels", "SubRow", "YBits", "ParamGroups", "OutWords"),
    "awrite": ("Channels", "SubRow", "OutWords"),
}


def _parameters(config: str) -> dict[str, int]:
    if config == "narrow":  # four channel blocks per group, the widest numbers, the smallest rings
        return dict(zip(NAMES, (16, 2, 4, 32, 48, 4, 2048), strict=True))
    if config == "broad":  # the widest words, the narrowest numbers
        return dict(zip(NAMES, (32, 4, 16, 16, 18, 8, 1024), strict=True))
    parameters = load(config).rtl_parameters()
    return {n: parameters[n] for n in NAMES}


def _bench(unit: str, parameters: dict[str, int]) -> Bench:
    return build_bench(f"subrow_{unit}", [*SOURCES, RTL / f"subrow_{unit}.sv"],
                       {n: parameters[n] for n in UNITS[unit]})


def _run(unit: str, config: str, seed: int, corrupt: bool = False) -> None:
    parameters = _parameters(config)
    env = {"SUBROW_BENCH_HW": json.dumps(dict(zip(KEYS, parameters.values(), strict=True))),
           "SUBROW_BENCH_CORRUPT": str(int(corrupt))}
    run_bench(_bench(unit, parameters), f"test_{unit}", python_path=[REPO_ROOT / "sim" / "benches"], env=env,
              seed=seed, waves_on_failure=False)


@pytest.mark.parametrize("config", ["tiny", "pynq-z2", "narrow", "broad"])
@pytest.mark.parametrize("unit", list(UNITS))
def test_unit_equals_its_model(unit: str, config: str, seed: int) -> None:
    _run(unit, config, seed)


@pytest.mark.parametrize("unit", list(UNITS))
def test_a_corrupted_golden_fails(unit: str) -> None:
    with pytest.raises(BenchFailed, match="expected"):
        _run(unit, "tiny", 5, corrupt=True)


def _lint(unit: str, parameters: dict[str, int]) -> str:
    """What Verilator says about the unit's own file; empty when it is clean."""
    done = subprocess.run(
        [str(find_tool("verilator")), "--lint-only", "-Wall", "-Wno-UNUSEDPARAM", "--top-module", f"subrow_{unit}",
         *(f"-G{k}={parameters[k]}" for k in UNITS[unit]), *map(str, SOURCES), str(RTL / f"subrow_{unit}.sv")],
        capture_output=True, text=True, env=tool_env(),
    )
    return done.stdout + done.stderr if done.returncode else ""


@pytest.mark.parametrize("config", ["tiny", "pynq-z2", "narrow", "broad"])
@pytest.mark.parametrize("unit", list(UNITS))
def test_lint_is_clean(unit: str, config: str) -> None:
    assert _lint(unit, _parameters(config)) == ""


@pytest.mark.parametrize(("unit", "name", "value"), [
    ("otrans", "SubRow", 2), ("otrans", "Channels", 24), ("otrans", "Tiles", 33), ("otrans", "YBits", 49),
    ("otrans", "AccBits", 40), ("post", "SubRow", 32), ("post", "YBits", 49), ("post", "ParamGroups", 3),
    ("post", "OutWords", 1000), ("awrite", "OutWords", 2), ("awrite", "Channels", 256),
])
def test_illegal_parameters_stop_elaboration(unit: str, name: str, value: int) -> None:
    message = _lint(unit, _parameters("tiny") | {name: value})
    assert f"subrow_{unit}:" in message and f"{name} = {value}" in message
