"""The commands about boards, as a user types them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from models.labelled import Labelled
from subrow import cli_train
from subrow.devices.pynq.virtual import VirtualDevice
from tests.cli.conftest import Files, Run
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


@pytest.mark.verilator
def test_verify_runs_the_boards_driver(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "p.subrow"
    sample().save(path)
    done = run("verify", path, "--device", "pynq", "--images", "2", "--json")
    found = json.loads(done.out)
    assert done.code == 0 and "every figure is simulated" in done.err, done.err
    assert found["equal"] and found["device"] == "pynq" and found["origin"] == "simulated" and found["images"] == 2
    emulated = run("verify", path, "--images", "2", "--json").json
    assert emulated["origin"] == "measured" and emulated["layers"] == found["layers"]


@pytest.mark.verilator
def test_verify_finds_what_the_board_gets_wrong(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flips(self: VirtualDevice, bo: int, offset: int, ptr: int, size: int) -> None:
        self.chip.memory[bo + offset] ^= 1
        invalidate(self, bo, offset, ptr, size)

    invalidate = VirtualDevice.invalidate
    monkeypatch.setattr(VirtualDevice, "invalidate", flips)
    path = tmp_path / "p.subrow"
    sample().save(path)
    done = run("verify", path, "--device", "pynq", "--images", "1")
    assert done.code == 1 and "DIFFERS: image 0" in done.out


def labelled(files: Files) -> SimpleNamespace:
    """A data set whose every split is the same few images."""
    return SimpleNamespace(split=lambda name: Labelled(np.load(files.images), np.load(files.labels)))


@pytest.mark.verilator
def test_evaluate_runs_the_boards_driver(files: Files, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The accuracy of the emulator, which computes the same numbers."""
    monkeypatch.setattr(cli_train, "_dataset", lambda path, workers: labelled(files))
    found = [run("evaluate", files.program, "--data", "x", "--limit", "3", "--json", *option)
             for option in ((), ("--device", "pynq"))]  # fmt: skip
    assert [d.code for d in found] == [0, 0] and "every figure is simulated" in found[1].err
    emulated, simulated = (d.json for d in found)
    assert emulated == {**simulated, "device": "emulator", "origin": "measured"}
    assert simulated["device"] == "pynq" and simulated["origin"] == "simulated" and simulated["n"] == 3


@pytest.mark.parametrize("arguments", (("verify",), ("bench",), ("evaluate", "--data", "x")))
def test_without_pynq_there_is_one_error(
    arguments: tuple[str, ...], files: Files, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pynq" else found(name))
    monkeypatch.setattr(cli_train, "_dataset", lambda path, workers: labelled(files))
    verb, *options = arguments
    done = run(verb, files.program, *options, "--device", "pynq")
    assert done.code == 3 and "PYNQ is not installed: boards with a PYNQ image have it" in done.err
    done = run(verb, files.program, *options, "--device", "pynq", "--bitfile", "x.bit")
    assert done.code == 3 and done.err.count("error: ") == 1


@pytest.mark.parametrize("arguments", (("verify",), ("bench",), ("evaluate", "--data", "x")))
def test_without_a_board_a_bitfile_is_one_error(
    arguments: tuple[str, ...], files: Files, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli_train, "_dataset", lambda path, workers: labelled(files))
    verb, *options = arguments
    done = run(verb, files.program, *options, "--device", "pynq", "--bitfile", "x.bit")
    assert done.code == 2 and "run this on a board with a PYNQ image" in done.err and done.err.count("error: ") == 1


def test_a_bitfile_for_a_device_that_has_none(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "p.subrow"
    sample().save(path)
    done = run("bench", path, "--device", "emulator", "--bitfile", tmp_path / "x.bit")
    assert done.code == 2 and "device emulator takes none" in done.err
    done = run("doctor", path, "--bitfile", tmp_path / "x.bit", "--json")
    assert done.code == 1
    (bitstream,) = (c for c in json.loads(done.out)["checks"] if c["name"] == "bitstream")
    assert not bitstream["ok"] and "No Devices Found: run this on a board" in bitstream["found"]
