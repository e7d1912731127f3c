"""The RTL's front end (block walk, fetch units, AXI engines, control) against models written from docs/hardware.md."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from sim.common.build import build_bench, run_bench
from subrow.toolenv import find_tool, tool_env

ROOT = Path(__file__).resolve().parents[2]
RTL = ROOT / "hw" / "rtl"
BENCHES = ROOT / "sim" / "benches"
STALLS = ("always", "random", "long")

pytestmark = [pytest.mark.verilator, pytest.mark.slow]


def run(
    seed: int, top: str, parts: tuple[str, ...], params: dict[str, int], stall: str, module: str,
    testcase: str | list[str],
) -> None:
    sources = [ROOT / "hw" / "gen" / "subrow_pkg.sv", *(RTL / f"subrow_{p}.sv" for p in (*parts, top))]
    bench = build_bench(f"subrow_{top}", sources, params)
    env = {"SUBROW_BENCH": json.dumps({"params": params, "stall": stall})}
    run_bench(bench, module, python_path=[BENCHES, ROOT / "sw"], seed=seed, testcase=testcase, env=env)


def test_block_iter(seed):
    run(seed, "block_iter", (), {}, "always", "test_fetch", "block_iter")


@pytest.mark.parametrize("stall", STALLS)
@pytest.mark.parametrize("sub_row", (4, 8, 16))
def test_afetch(seed, sub_row, stall):
    run(seed, "afetch", ("fifo", "block_iter"), {"SubRow": sub_row, "ActWords": 1024}, stall, "test_fetch", "afetch")


@pytest.mark.parametrize("stall", STALLS)
@pytest.mark.parametrize("channels, sub_row", ((8, 8), (16, 8), (16, 4)))
def test_rfetch(seed, channels, sub_row, stall):
    params = {"Channels": channels, "SubRow": sub_row, "OutWords": 1024}
    run(seed, "rfetch", ("fifo", "block_iter"), params, stall, "test_fetch", "rfetch")


WFETCH = {
    "tiny": {"Channels": 8, "SubRow": 8, "UBits": 8, "WeightBytes": 8},
    "wide": {"Channels": 8, "SubRow": 8, "UBits": 12, "WeightBytes": 8},
    "pynq": {"Channels": 16, "SubRow": 8, "UBits": 8, "WeightBytes": 8},
    "one-beat": {"Channels": 8, "SubRow": 8, "UBits": 8, "WeightBytes": 64},
    "narrow": {"Channels": 4, "SubRow": 4, "UBits": 4, "WeightBytes": 32},
}


@pytest.mark.parametrize("stall", STALLS)
@pytest.mark.parametrize("config", WFETCH)
def test_wfetch(seed, config, stall):
    params = {**WFETCH[config], "WeightWords": 64, "ParamGroups": 4, "BurstBeats": 16}
    run(seed, "wfetch", (), params, stall, "test_fetch", "wfetch")


@pytest.mark.parametrize("stall", STALLS)
@pytest.mark.parametrize("width, burst", ((8, 16), (16, 4)))
def test_axi_read(seed, width, burst, stall):
    run(seed, "axi_read", (), {"DataBytes": width, "BurstBeats": burst}, stall, "test_axi", "axi_read")


@pytest.mark.parametrize("stall", STALLS)
@pytest.mark.parametrize("width, burst", ((8, 16), (16, 4)))
def test_axi_write(seed, width, burst, stall):
    run(seed, "axi_write", ("fifo",), {"DataBytes": width, "BurstBeats": burst}, stall, "test_axi", "axi_write")


@pytest.mark.parametrize("stall", STALLS)
def test_arb2(seed, stall):
    run(seed, "arb2", ("fifo",), {"DataBytes": 8}, stall, "test_axi", "arb2")


@pytest.mark.parametrize("stall", STALLS)
@pytest.mark.parametrize("width", (8, 64))
def test_ctrl(seed, width, stall):
    run(seed, "ctrl", ("fifo",), {"SubRow": 8, "WeightBytes": width, "Units": 3}, stall, "test_ctrl",
        ["program", "errors", "soft_reset"])


LINT = ("block_iter", "ram", "fifo", "axi_read", "axi_write", "arb2", "afetch", "rfetch", "wfetch", "ctrl")
BAD = {
    "ram": {"Depth": 1}, "fifo": {"Depth": 3}, "axi_read": {"DataBytes": 12}, "axi_write": {"BurstBeats": 12},
    "arb2": {"DataBytes": 2}, "afetch": {"SubRow": 5}, "rfetch": {"OutWords": 1000}, "wfetch": {"BurstBeats": 32},
    "ctrl": {"WeightBytes": 4},
}


def lint(unit: str, params: dict[str, int]) -> subprocess.CompletedProcess[str]:
    command = [find_tool("verilator"), "--lint-only", "-Wall", "-y", RTL, RTL / "lint.vlt",
               ROOT / "hw/gen/subrow_pkg.sv", RTL / f"subrow_{unit}.sv", "--top-module", f"subrow_{unit}",
               *(f"-G{k}={v}" for k, v in params.items())]
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, env=tool_env())


@pytest.mark.parametrize("unit", LINT)
def test_no_warnings(unit):
    result = lint(unit, {})
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("unit", BAD)
def test_illegal_parameter_stops_elaboration(unit):
    result = lint(unit, BAD[unit])
    (name, value), = BAD[unit].items()
    assert result.returncode != 0 and f"subrow_{unit}: " in result.stderr and f"{name} = {value}" in result.stderr
