"""Modules of hw/rtl by themselves: clean of warnings at sizes other than their defaults; illegal sizes are refused."""

from __future__ import annotations

import subprocess

import pytest

from sim.common.build import parameter_names
from sim.common.units import CONFIGS, GEN, PACKAGE, RTL
from subrow.toolenv import find_tool, tool_env

pytestmark = pytest.mark.verilator

MODULES = sorted(p.stem.removeprefix("subrow_") for p in RTL.glob("*.sv"))
OWN = {
    "ram": {"Width": 3, "Depth": 7}, "ram_fill": {"Ways": 2, "WayLsb": 1}, "ram_drain": {"Ways": 4, "WayLsb": 3},
    "lanes": {"Lanes": 4}, "run": {"Lanes": 2},
    "fifo": {"Width": 1, "Depth": 2}, "axi_read": {"DataBytes": 16, "BurstBeats": 4},
    "axi_write": {"DataBytes": 16, "BurstBeats": 4}, "arb2": {"DataBytes": 16}, "ctrl": {"WeightBytes": 64, "Units": 3},
    "mac2": {"UBits": 4, "VBits": 10},
}
ILLEGAL = [
    ("ram", "Depth", 1), ("ram_fill", "Ways", 3), ("ram_drain", "Ways", 8), ("lanes", "Lanes", 3), ("run", "Lanes", 8),
    ("afetch", "PortWords", 3), ("rfetch", "PortWords", 8), ("awrite", "PortWords", 3),
    ("fifo", "Depth", 3), ("axi_read", "DataBytes", 12), ("axi_write", "BurstBeats", 12),
    ("arb2", "DataBytes", 2), ("afetch", "SubRow", 5), ("rfetch", "OutWords", 1000), ("wfetch", "BurstBeats", 32),
    ("wfetch_data", "NarrowU", 2), ("wfetch_data", "UBits", 4), ("wfetch_data", "WeightBytes", 32),
    ("ctrl", "WeightBytes", 4), ("mac2", "VBits", 14), ("array", "Tiles", 3), ("array", "AccBits", 12),
    ("mac2", "AccBits", 32), ("mac1", "AccBits", 49), ("bt", "OutBits", 4), ("otrans_data", "YBits", 49),
    ("itrans_data", "VBits", 7), ("itrans", "VWords", 768), ("otrans", "SubRow", 2), ("otrans", "Channels", 24),
    ("otrans", "Tiles", 33), ("otrans", "YBits", 49), ("otrans", "AccBits", 49), ("post", "SubRow", 32),
    ("post", "YBits", 49), ("post", "ParamGroups", 3), ("post", "OutWords", 1000),
    ("awrite", "OutWords", 2), ("awrite", "Channels", 256),
]


def lint(module: str, params: dict[str, int]) -> str:
    """What Verilator says; empty when it is clean."""
    name = f"subrow_{module}"
    declared = parameter_names(RTL / f"{name}.sv", name)
    command = [find_tool("verilator"), "--lint-only", "-Wall", "-Wno-UNUSEDPARAM", "-y", RTL, GEN / "regs.vlt",
               RTL / "lint.vlt", PACKAGE, GEN / "subrow_regs_pkg.sv", GEN / "subrow_regs.sv", RTL / f"{name}.sv",
               "--top-module", name, *(f"-G{k}={v}" for k, v in params.items() if k in declared)]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=tool_env(), check=False)
    return done.stdout + done.stderr if done.returncode else ""


@pytest.mark.parametrize("module", MODULES)
def test_no_warnings_at_other_sizes(module: str) -> None:
    assert lint(module, OWN.get(module) or CONFIGS["blocks4"].rtl_parameters()) == ""


@pytest.mark.parametrize(("module", "name", "value"), ILLEGAL)
def test_illegal_parameter_stops_elaboration(module: str, name: str, value: int) -> None:
    message = lint(module, {name: value})
    assert f"subrow_{module}: " in message and name in message
