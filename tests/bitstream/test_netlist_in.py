"""What Vivado gets to read: the Verilog top with the engine below it passes Verilator's lint and Yosys' elaboration."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from subrow.bitstream import open_flow, top
from subrow.bitstream.boards import PYNQ_Z2
from subrow.devices.simlib import GEN, RTL
from subrow.spec import hwconfig
from subrow.toolenv import find_tool, tool_env
from tests.bitstream.recorder import BUILDS, setting, write_inputs

ELABORATE = """
import sys
from pyosys import libyosys
design = libyosys.Design()
for command in (f"read_slang --ignore-assertions --no-proc --keep-hierarchy --top subrow_top {' '.join(sys.argv[2:])}",
                "hierarchy -check -top subrow_top", "select subrow_top", f"write_json -selected {sys.argv[1]}"):
    libyosys.run_pass(command, design)
"""
pytestmark = pytest.mark.verilator

LINT_ONLY = "-Wall", "-Wno-UNUSEDPARAM", "--quiet", "--lint-only"


def sources(folder: Path) -> list[str]:
    """The build's files in the order of its settings."""
    text = (folder / "settings.tcl").read_text().split("sources {")[1].split("\n    }")[0]
    return [str(folder / line.strip().strip("{}")) for line in text.splitlines() if line.strip()]


def lint(folder: Path) -> str:
    """What Verilator says of a build's sources."""
    command = [find_tool("verilator"), *LINT_ONLY, GEN / "regs.vlt", RTL / "lint.vlt", *sources(folder),
               "--top-module", top.TOP]  # fmt: skip
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, env=tool_env(), check=False)
    return done.stderr if done.returncode or done.stderr else ""


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n == "zcu104" else n for n in BUILDS])
def test_verilator_finds_nothing(name: str, tmp_path: Path) -> None:
    write_inputs(name, tmp_path)
    assert lint(tmp_path / "vivado") == ""


def test_verilator_finds_a_port_of_the_wrong_width(tmp_path: Path) -> None:
    write_inputs("pynq-z2", tmp_path)
    path = tmp_path / "vivado" / "rtl" / f"{top.TOP}.v"
    path.write_text(path.read_text().replace("[127:0] m_axi_wgt1_rdata", "[63:0] m_axi_wgt1_rdata"))
    assert "WIDTH" in lint(tmp_path / "vivado")


@pytest.mark.parametrize("name", BUILDS)
def test_yosys_elaborates_it_with_the_ports_of_the_interfaces(name: str, tmp_path: Path) -> None:
    write_inputs(name, tmp_path)
    netlist = tmp_path / "top.json"
    done = subprocess.run([sys.executable, "-c", ELABORATE, netlist, *sources(tmp_path / "vivado")], text=True,
                          capture_output=True, env=tool_env(), check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    hw, board = setting(name)
    module = json.loads(netlist.read_text())["modules"][top.TOP]
    ports = {n: (p["direction"], len(p["bits"])) for n, p in module["ports"].items()}
    faces = top.interfaces(hw, len(board.weight_ports_of(hw)))
    expected = {f"{f.name}_{s}": ("input" if f.is_input(s) else "output", f.width(s)) for f in faces for s in f.signals}
    assert ports == {"clk": ("input", 1), "rst_n": ("input", 1), "irq": ("output", 1), **expected}
    engine = next(c for c in module["cells"].values() if "subrow_engine" in c["type"])
    assert len(engine["connections"]["m_axi_wgt_rdata"]) == 8 * hw.weight_bytes


def test_the_open_flow_reads_a_whole_design(tmp_path: Path) -> None:
    """Its top, with the processing system as a black box whose inputs and outputs are all named."""
    files = open_flow.files(hwconfig.load("pynq-z2-open"), PYNQ_Z2)
    for file in files:
        (tmp_path / file.path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file.path).write_bytes(file.data)
    rtl = [str(tmp_path / f.path) for f in files if f.path.startswith("open/rtl/")]
    values = [f"-G{n}={v}" for n, v in hwconfig.load("pynq-z2-open").rtl_parameters().items()]
    # A black box drives nothing and uses nothing; both primitives stand in one file.
    quiet = ("-Wno-UNDRIVEN", "-Wno-UNUSEDSIGNAL", "-Wno-DECLFILENAME")
    command = [find_tool("verilator"), *LINT_ONLY, *quiet, GEN / "regs.vlt", RTL / "lint.vlt", *rtl, *values,
               "--top-module", open_flow.TOP]  # fmt: skip
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, env=tool_env(), check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr
