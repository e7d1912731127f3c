"""Benches on another folder of RTL: its modules take the place of ours, and a fault in them is found."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sim.common.build import BenchFailed
from sim.common.options import Options
from sim.common.units import CONFIGS, PACKAGE, PARTS, RTL, bench_sources, run_unit

pytestmark = pytest.mark.verilator


def test_modules_of_the_folder_come_first(tmp_path: Path) -> None:
    for name in ("subrow_array.sv", "subrow_lane.sv", "helper.v"):
        (tmp_path / name).touch()
    assert bench_sources("array", PARTS["array"], tmp_path) == [
        PACKAGE, RTL / "subrow_mac1.sv", RTL / "subrow_mac2.sv", tmp_path / "helper.v", tmp_path / "subrow_array.sv",
        tmp_path / "subrow_lane.sv",
    ]
    assert bench_sources("array", PARTS["array"])[-1] == RTL / "subrow_array.sv"


def test_a_fault_in_the_folder_is_found(tmp_path: Path) -> None:
    text = (RTL / "subrow_rfetch.sv").read_text()
    good, bad = tmp_path / "good", tmp_path / "bad"
    for folder in (good, bad):
        folder.mkdir()
        shutil.copy(RTL / "subrow_rfetch.sv", folder)
    assert "assign r_waddr_o[w] =" in text
    (bad / "subrow_rfetch.sv").write_text(text.replace("assign r_waddr_o[w] =", "assign r_waddr_o[w] = 1 ^"))
    options = Options(CONFIGS["small8"], stalls=("none",), rounds=0)
    run_unit("rfetch", options, seed=1, rtl=good, build_dir=tmp_path / "build")
    with pytest.raises(BenchFailed, match="differs from HLS"):
        run_unit("rfetch", options, seed=1, rtl=bad, build_dir=tmp_path / "build", waves=False)
