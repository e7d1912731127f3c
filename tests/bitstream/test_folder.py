"""The folder of a build: manifest, files that stay or go, runs that are killed, the command and its exit codes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from subrow import toolenv
from subrow.bitstream import flows, folder, vivado
from subrow.bitstream.boards import PYNQ_Z2, ZCU104, board_of
from subrow.bitstream.folder import Contents, File, Product
from subrow.spec import hwconfig
from subrow.spec.errors import ConfigError, InputError, MissingTool
from subrow.spec.program import Program
from subrow.toolenv import REPO_ROOT, BuildError
from tests.devices.assemble import Shape, make_layer, program_of

HW = hwconfig.load("pynq-z2")
SHAPE = Shape(tile=1, channels=8, outputs=16, h=8, w=8, pad=1, sub_s=2, block=(2, 2), resident=False)
COMMAND = "make it"


@pytest.fixture(scope="module")
def program() -> Program:
    return program_of(HW, [make_layer(HW, SHAPE, 1)])


def small(**changes: Any) -> Contents:
    """Contents of two inputs and a product."""
    inputs = {"a/one.txt": b"1", "two.txt": b"2"} | changes.pop("inputs", {})
    products = changes.pop("products", ("made.bin",))
    return Contents(tuple(File(p, d, "test") for p, d in inputs.items()), (File("extra", b"e", "test"),),
                    tuple(Product(p, COMMAND, "tool") for p in products), {"board": "x", **changes})  # fmt: skip


def artefacts(out: Path) -> dict[str, dict[str, Any]]:
    return {a["path"]: a for a in json.loads((out / "manifest.json").read_text())["artefacts"]}


def test_manifest_lists_every_artefact(tmp_path: Path) -> None:
    out = tmp_path / "out"
    small().fill(out)
    listed = artefacts(out)
    assert set(listed) == {"a/one.txt", "two.txt", "extra", "made.bin"}
    assert listed["a/one.txt"] == {"path": "a/one.txt", "sha256": hashlib.sha256(b"1").hexdigest(), "bytes": 1,
                                   "state": "made", "origin": "test"}  # fmt: skip
    assert listed["made.bin"] == {"path": "made.bin", "sha256": None, "bytes": None, "state": "to be made by: make it",
                                  "origin": "tool"}  # fmt: skip
    (out / "made.bin").write_bytes(b"bits")
    document = small().write_manifest(out)
    assert document["complete"] and document["artefacts"][-1]["sha256"] == hashlib.sha256(b"bits").hexdigest()


def test_files_that_are_right_are_not_written_again(tmp_path: Path) -> None:
    small().fill(tmp_path / "out")
    path = tmp_path / "out" / "two.txt"
    os.utime(path, (1, 1))
    small().fill(tmp_path / "out")
    assert path.stat().st_mtime == 1
    path.write_bytes(b"changed by hand")
    small().fill(tmp_path / "out")
    assert path.read_bytes() == b"2"


def test_products_stay_while_the_tools_read_the_same(tmp_path: Path) -> None:
    out = tmp_path / "out"
    small().fill(out)
    (out / "made.bin").write_bytes(b"bits")
    assert small(board="y").fill(out)["complete"], "another head of the manifest changes nothing for the tools"
    assert not small(inputs={"two.txt": b"3"}).fill(out)["complete"] and not (out / "made.bin").exists()


def test_what_an_older_build_left_is_removed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    small(inputs={"old.txt": b"o"}, products=("made.bin", "old.bin")).fill(out)
    (out / "old.bin").write_bytes(b"x")
    (out / "mine.txt").write_text("of the user")
    small().fill(out)
    assert not (out / "old.txt").exists() and not (out / "old.bin").exists() and (out / "mine.txt").exists()


@pytest.mark.parametrize("text", (
    "no json", "[]", '{"format": 99, "artefacts": []}', '{"format": 1, "artefacts": [{"path": "../../etc/passwd"}]}',
    '{"format": 1, "artefacts": [{"path": "/etc/passwd"}]}', '{"format": 1, "artefacts": [{"path": "."}]}',
))  # fmt: skip
def test_a_manifest_of_somebody_else_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(InputError, match="not a manifest of this version"):
        small().fill(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["manifest.json"]


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match=r"has files but no manifest.json: give a new folder"):
        small().fill(tmp_path)
    with pytest.raises(InputError, match="is a file; give a folder"):
        folder.check(tmp_path / "thesis.tex")


@pytest.mark.parametrize("after", range(5))
def test_a_killed_run_leaves_nothing_half_written(after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in the write that follows `after` whole ones; the next run finishes."""
    out, done = tmp_path / "out", [0]
    whole = folder.write_atomic

    def write(path: Path, data: bytes) -> None:
        if done[0] == after:
            raise KeyboardInterrupt
        done[0] += 1
        whole(path, data)

    monkeypatch.setattr(folder, "write_atomic", write)
    with pytest.raises(KeyboardInterrupt):
        small().fill(out)
    monkeypatch.undo()
    content = {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()} if out.exists() else {}
    right = {"a/one.txt": b"1", "two.txt": b"2", "extra": b"e"}
    assert all(right[name] == data for name, data in content.items() if name != "manifest.json")
    small().fill(out)
    assert {n: (out / n).read_bytes() for n in right} == right


# ---- flows ----------------------------------------------------------------------------------------------------------
def tool(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def fake_vivado(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program called vivado on PATH that makes every product and counts its runs."""
    place = tmp_path / "bin" / "vivado"
    place.parent.mkdir()
    names = " ".join(p.path for p in vivado.products())
    tool(place, f"mkdir -p reports && for f in {names}; do echo $f > $f; done; echo run >> {tmp_path}/runs; echo $@")
    monkeypatch.setattr(vivado, "find_tool", lambda name: place)
    return place


def build(program: Program, out: Path, name: flows.FlowName = "vivado") -> flows.Result:
    flow = flows.flow_of(name, HW, PYNQ_Z2, Path("/"), "subrow build")
    return flows.build(flow, flows.contents(flow, name, HW, PYNQ_Z2, b"program", program.digest()), out)


def test_vivado_is_run_once_and_its_products_are_listed(program: Program, tmp_path: Path, fake_vivado: Path) -> None:
    out = tmp_path / "out"
    first = build(program, out)
    assert first.missing is None and first.manifest["complete"]
    assert artefacts(out)["subrow.bit"]["sha256"] == hashlib.sha256(b"subrow.bit\n").hexdigest()
    assert "-mode batch -source vivado/build.tcl" in (out / "vivado" / "vivado.log").read_text()
    build(program, out)
    assert (tmp_path / "runs").read_text() == "run\n", "everything is made: nothing to run"


def test_a_failed_vivado_shows_its_last_words_and_the_manifest_what_is_there(
    program: Program, tmp_path: Path, fake_vivado: Path
) -> None:  # fmt: skip
    tool(
        fake_vivado, "mkdir -p reports; echo x > reports/timing.rpt; echo 'ERROR: timing: setup slack -0.1 ns'; exit 1"
    )
    with pytest.raises(BuildError, match="setup slack -0.1 ns"):
        build(program, tmp_path / "out")
    listed = artefacts(tmp_path / "out")
    assert listed["reports/timing.rpt"]["state"] == "made"
    assert listed["subrow.bit"]["state"] == f"to be made by: {vivado.COMMAND}"


def test_without_vivado_everything_is_generated(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toolenv, "_search_path", lambda: str(tmp_path))
    toolenv.find_tool.cache_clear()
    made = build(program, tmp_path / "out")
    assert made.missing is not None and "tool 'vivado' (version 2022.1 or newer)" in made.missing
    listed = artefacts(tmp_path / "out")
    assert {p for p, a in listed.items() if a["state"] != "made"} == {p.path for p in vivado.products()}
    assert (tmp_path / "out" / "program.subrow").read_bytes() == b"program"
    assert all(hashlib.sha256((tmp_path / "out" / p).read_bytes()).hexdigest() == a["sha256"] for p, a in listed.items()
               if a["state"] == "made")  # fmt: skip
    toolenv.find_tool.cache_clear()


def test_hls_has_the_kernel_and_its_config(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subrow.bitstream.hls.find_tool", lambda name: (_ for _ in ()).throw(MissingTool(name)))
    made = build(program, tmp_path / "out", "hls")
    assert made.missing == "vitis_hls"
    source = tmp_path / "out" / "hls" / "src"
    assert f"kConfigHash = {HW.hash32};" in (source / "config.h").read_text()
    compiled = subprocess.run(["g++", "-std=c++17", "-fsyntax-only", "-w", source / "engine.cpp"], check=False,
                              capture_output=True, text=True)  # fmt: skip
    assert compiled.returncode == 0, compiled.stderr
    script = (tmp_path / "out" / "hls" / "build.tcl").read_text()
    assert "set_part xc7z020clg400-1" in script and "create_clock -period 6.667" in script


@pytest.mark.parametrize(("board", "name", "message"), (
    (ZCU104, "pynq-z2", "is for board 'pynq-z2', not 'zcu104'.*--hw zcu104"), (PYNQ_Z2, "tiny", "is for board 'none'"),
))  # fmt: skip
def test_the_wrong_board_is_refused(board: Any, name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        flows.flow_of("vivado", hwconfig.load(name), board, Path("/"), "")


def test_a_port_that_the_board_lacks_is_refused(tmp_path: Path) -> None:
    text = (hwconfig.CONFIG_DIR / "pynq-z2.toml").read_text()
    (tmp_path / "wide.toml").write_text(text.replace("weight_bytes = 16", "weight_bytes = 32"))
    with pytest.raises(
        ConfigError, match="weight_bytes = 32: board pynq-z2 has 2 weight ports of 8 bytes, so at most 16"
    ):
        flows.flow_of("vivado", hwconfig.load(tmp_path / "wide.toml"), PYNQ_Z2, Path("/"), "")
    with pytest.raises(InputError, match="board 'de10': must be one of pynq-z2, zcu104"):
        board_of("de10")


# ---- command --------------------------------------------------------------------------------------------------------
def command(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command, with nothing but the system's programs on PATH."""
    env = {**os.environ, "PATH": "/usr/bin:/bin", "PYTHONPATH": f"{REPO_ROOT / 'sw'}:{REPO_ROOT}"}
    line = [sys.executable, "-m", "subrow.cli", "build", *map(str, words)]
    return subprocess.run(line, cwd=cwd, env=env, check=False, capture_output=True, text=True)


@pytest.fixture(scope="module")
def saved(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "p.subrow"
    program.save(path)
    return path


def test_command_without_vivado_ends_with_3_and_one_line(saved: Path, tmp_path: Path) -> None:
    done = command("--board", "pynq-z2", "--program", saved, "--out", "b", cwd=tmp_path)
    assert done.returncode == 3 and len(done.stderr.splitlines()) == 1, done.stderr
    assert "copy b to a machine that has it, run there `vivado -mode batch -source vivado/build.tcl`" in done.stderr
    assert (tmp_path / "b" / "program.subrow").read_bytes() == saved.read_bytes()
    assert "  subrow.bit: to be made by: vivado" in done.stdout


def test_dry_run_writes_nothing(saved: Path, tmp_path: Path) -> None:
    done = command("--board", "pynq-z2", "--program", saved, "--out", "b", "--dry-run", "--json", cwd=tmp_path)
    document = json.loads(done.stdout)
    assert done.returncode == 0 and not list(tmp_path.iterdir()) and not document["complete"]
    assert {a["state"].split(":")[0] for a in document["artefacts"]} == {"to be made by"}
    assert document["hw_hash"] == f"{HW.hash32:08x}" and document["program_digest"]


@pytest.mark.parametrize(("words", "message"), (
    (("--board", "zcu104"), "is for board 'pynq-z2'"),
    (("--board", "pynq-z2", "--hw", "tiny"), "compiled for HwConfig"),
    (("--board", "pynq-z2", "--tools", "/"), "--tools: no effect with --flow vivado"),
    (("--board", "pynq-z2", "--flow", "open"), "memory.weight_bytes = 16"),
))  # fmt: skip
def test_command_refuses_what_does_not_fit(words: tuple[str, ...], message: str, saved: Path, tmp_path: Path) -> None:
    done = command(*words, "--program", saved, "--out", "b", cwd=tmp_path)
    assert done.returncode == 2 and message in done.stderr and not (tmp_path / "b").exists(), done.stderr


def test_the_guides_show_what_the_command_prints(saved: Path, tmp_path: Path) -> None:
    done = command("--board", "pynq-z2", "--program", saved, "--out", "b", cwd=tmp_path)
    head, *_, last = done.stdout.splitlines()
    lost = re.sub(r"copy b to", "copy [^ ]+ to", re.escape(done.stderr.strip()).replace(r"\ ", " "))
    for name in ("README.md", "docs/build.md"):
        text = (REPO_ROOT / name).read_text(encoding="utf-8")
        assert head in text and done.stdout.splitlines()[1] in text, name
        assert last.split(":")[0] in text and re.search(lost, text), name
