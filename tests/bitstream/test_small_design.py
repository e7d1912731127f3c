"""A small design through the open flow: synthesised anywhere, the whole round trip where the tools are."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from scripts import bench_open
from subrow.bitstream import netlist_faults, open_flow
from subrow.bitstream.boards import PYNQ_Z2
from subrow.bitstream.open_tools import OpenTools
from subrow.spec import hwconfig
from subrow.spec.errors import MissingTool
from subrow.toolenv import REPO_ROOT

HW = hwconfig.load(bench_open.SMALL_HW)


@pytest.fixture(scope="module")
def tools(request: pytest.FixtureRequest) -> Path:
    """Root of the tree with nextpnr and prjxray; without them the test is skipped."""
    root: Path = request.config.getoption("--tools")
    try:
        OpenTools(root).check()
    except MissingTool as error:
        pytest.skip(str(error))
    return root


def test_only_the_engine_is_another() -> None:
    whole, small = ({f.path: f for f in open_flow.files(HW, PYNQ_Z2, small)} for small in (False, True))
    assert {p for p in whole | small if whole.get(p) != small.get(p)} == {"open/rtl/subrow_engine.sv"}
    assert small["open/rtl/subrow_engine.sv"].origin == "hw/boards/pynq-z2/small/subrow_engine.sv"


def test_the_stand_in_has_the_ports_of_the_engine() -> None:
    def ports(path: Path) -> list[str]:
        text = path.read_text(encoding="utf-8").partition("module subrow_engine")[2].partition("\n);")[0]
        return text.replace("  import subrow_pkg::*;\n", "").splitlines()

    assert ports(open_flow.SMALL) == ports(REPO_ROOT / "hw" / "rtl" / "subrow_engine.sv")


@pytest.mark.verilator
def test_it_is_one_dsp_and_one_block_ram(tmp_path: Path) -> None:
    """By Yosys, with the flow's own script; the open tools get nothing wrong in it."""
    for file in open_flow.files(HW, PYNQ_Z2, small=True):
        (tmp_path / file.path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file.path).write_bytes(file.data)
    (tmp_path / "open" / "work").mkdir()
    cells = open_flow._synthesise(tmp_path, "test")["cells"]
    kinds = Counter(cell["type"] for cell in cells.values())
    assert [kinds[k] for k in ("PS7", "BUFG", "DSP48E1", "RAMB36E1", "RAMB18E1")] == [1, 1, 1, 1, 0], kinds
    assert sum(netlist_faults.check(cells).values()) == 1


@pytest.mark.slow
def test_round_trip(tools: Path, tmp_path: Path) -> None:
    """Placed, routed, written, and decoded again: every feature, no bit missing or too many."""
    command = [sys.executable, "scripts/bench_open.py", "--small", "--out", tmp_path / "b", "--tools", tools]
    done = subprocess.run([str(c) for c in command], cwd=REPO_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "b" / "reports" / "open.json").read_text())
    assert report["features"] > 10_000 and report["dsp_tie_offs"] == 16
    assert report["features_lost"] == report["bits_missing"] == report["bits_extra"] == 0
    manifest = json.loads((tmp_path / "b" / "manifest.json").read_text())
    assert manifest["complete"] and "subrow.bit" in [a["path"] for a in manifest["artefacts"]]


def test_without_the_tools_the_command_says_what_to_install(tmp_path: Path) -> None:
    command = [sys.executable, "scripts/bench_open.py", "--small", "--tools", tmp_path, "--out", tmp_path / "b"]
    done = subprocess.run([str(c) for c in command], cwd=REPO_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 3 and "scripts/open_tools.sh" in done.stderr and not (tmp_path / "b").exists()
