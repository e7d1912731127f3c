"""Runs the Vivado scripts of a build under tclsh, in a model of Vivado's commands (vivado/*.tcl); reads the record."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from subrow.bitstream import vivado
from subrow.bitstream.boards import Board, board_of
from subrow.spec import hwconfig
from subrow.spec.hwconfig import HwConfig

MODEL = Path(__file__).with_name("vivado")
BUILDS = ("pynq-z2", "pynq-z2-open", "zcu104")
"""HwConfigs that name a board."""
INSTALLED = {"pynq-z2": "", "zcu104": "xilinx.com:zcu104:part0:1.1"}
"""Board files that a fresh Vivado has."""


@dataclass(frozen=True)
class Record:
    """What the scripts asked of Vivado: facts by their first word; how they ended."""

    facts: tuple[tuple[str, ...], ...]
    ok: bool
    message: str

    def all(self, kind: str) -> list[tuple[str, ...]]:
        """Facts of one kind, without it."""
        return [fact[1:] for fact in self.facts if fact[0] == kind]


def tclsh() -> str:
    """Path of tclsh; skips the test, saying what to install, when there is none."""
    found = shutil.which("tclsh")
    if found is None:
        pytest.skip("tclsh is not installed, the Vivado scripts are NOT checked: apt-get install tcl")
    return found


def setting(name: str) -> tuple[HwConfig, Board]:
    """A HwConfig of hw/configs and its board."""
    hw = hwconfig.load(name)
    return hw, board_of(hw.board)


def write_inputs(name: str, out: Path) -> None:
    """What Vivado reads of this HwConfig's build."""
    for file in vivado.files(*setting(name)):
        path = out / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.data)


def record(out: Path, settings: Mapping[str, object], script: str = "build.tcl") -> Record:
    """Run the build's script in the model. settings: see vivado/record.tcl."""
    facts = out / "record.txt"
    words = [str(w) for pair in settings.items() for w in pair]
    done = subprocess.run([tclsh(), MODEL / "record.tcl", out / "vivado" / script, facts, *words], cwd=out,
                          capture_output=True, text=True, check=False)  # fmt: skip
    lines = facts.read_text().splitlines() if facts.exists() else []
    return Record(tuple(tuple(line.split("\t")) for line in lines), done.returncode == 0, done.stdout + done.stderr)


def run(name: str, out: Path, **settings: object) -> Record:
    """Write a build's inputs and run its script, with the board files that a fresh Vivado has."""
    write_inputs(name, out)
    return record(out, {"boards": INSTALLED[hwconfig.load(name).board], **settings})
