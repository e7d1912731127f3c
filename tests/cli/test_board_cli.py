"""The commands about boards, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.spec.program_files import sample


@pytest.mark.verilator
def test_bench_and_doctor_say_that_they_are_simulated(tmp_path: Path, run: Run) -> None:
    path, out = tmp_path / "p.subrow", tmp_path / "o"
    sample().save(path)
    done = run("bench", path, "--device", "pynq", "--dense", path, "--images", "1", "--out", out, "--json")
    assert done.code == 0 and "every figure is simulated" in done.err
    found = json.loads(done.out)
    assert found["speedup"] == found["energy_ratio"] == 1.0
    assert found["program"]["origin"]["times"] == "simulated" == found["dense"]["origin"]["layers"]
    assert json.loads((out / "bench.json").read_text()) == found
    assert "<table>" in (out / "bench.html").read_text()
    done = run("bench", path, "--device", "pynq", "--images", "1")
    assert done.code == 0 and done.out.count("(simulated") >= 5
    done = run("doctor", path, "--json")
    checks = json.loads(done.out)
    assert done.code == 0 and checks["ok"]
    assert all({"name", "ok", "found", "expected", "fix"} <= set(c) for c in checks["checks"])
    assert "golden" in [c["name"] for c in checks["checks"]]


def test_a_bitfile_for_a_device_that_has_none(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "p.subrow"
    sample().save(path)
    done = run("bench", path, "--device", "emulator", "--bitfile", tmp_path / "x.bit")
    assert done.code == 2 and "device emulator takes none" in done.err
    done = run("doctor", path, "--bitfile", tmp_path / "x.bit", "--json")
    assert done.code == 1
    (bitstream,) = (c for c in json.loads(done.out)["checks"] if c["name"] == "bitstream")
    assert not bitstream["ok"] and "No Devices Found: run this on a board" in bitstream["found"]
