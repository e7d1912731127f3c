"""Every verb: exit codes, JSON keys, one clear line for every error, and no half-written files."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from subrow import cli
from subrow.devices.emulator import Emulator
from subrow.spec import hwconfig
from subrow.spec import program as programs
from tests.cli.nets import small

ROOT = Path(__file__).resolve().parents[2]
MODEL = "tests.cli.nets:small"
VERBS = ("prune", "quantize", "compile", "disasm", "verify", "simulate", "report")


@dataclass(frozen=True)
class Done:
    """What a command left: exit code and both streams."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict:
        return json.loads(self.out)


Run = Callable[..., Done]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command in this process."""

    def call(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["subrow", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        streams = capsys.readouterr()
        return Done(int(stop.value.code or 0), streams.out, streams.err)

    return call


@dataclass(frozen=True)
class Files:
    """Arrays and a Program that most tests start from."""

    folder: Path
    images: Path
    labels: Path
    program: Path


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    import subrow

    folder = tmp_path_factory.mktemp("cli")
    result = Files(folder, folder / "images.npy", folder / "labels.npy", folder / "small.subrow")
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 1, (6, 8, 8, 8)).astype(np.float32)
    np.save(result.images, images)
    np.save(result.labels, rng.integers(0, 5, 6))
    np.save(folder / "8.npy", np.zeros(8, np.int64))
    subrow.compile(small(), images, "tiny", "2/8", "f2", images).save(result.program)
    return result


@pytest.mark.parametrize("verb", VERBS)
def test_help(verb: str, run: Run) -> None:
    done = run(verb, "--help")
    assert done.code == 0 and "--json" in done.out


# --- what each verb does ------------------------------------------------------------------------------------------


def test_steps_and_one_compile_give_the_same_program(run: Run, files: Files, tmp_path: Path) -> None:
    common = ("--calibration", files.images, "--json")
    pruned, quantised = tmp_path / "p.graph", tmp_path / "q.graph"
    done = run("prune", MODEL, "--density", "2/8", "--tile", "f2", "--out", pruned, *common)
    assert done.code == 0 and set(done.json) == {"graph", "hw", "layers", "output_error"}
    rows = {row["name"]: row for row in done.json["layers"]}
    assert set(rows["3"]) == {"name", "tile", "density", "weights", "kept", "weight_error"}
    assert rows["3"]["density"] == "2/8" and rows["3"]["kept"] * 4 == rows["3"]["weights"] == 16 * 16 * 16
    assert rows["0"]["density"] == "8/8" and rows["0"]["weight_error"] == 0 < rows["3"]["weight_error"]

    done = run("quantize", pruned, "--out", quantised, *common)
    assert done.code == 0 and set(done.json) == {"graph", "hw", "layers", "output_error"}
    for row in done.json["layers"]:
        assert set(row) == {"name", "tile", "density", "weight_error", "output_error"}
        assert 0 < row["weight_error"] < 0.05 and 0 < row["output_error"] < 0.2

    digests = set()
    for source in ((quantised,), (pruned, "--calibration", files.images),
                   (MODEL, "--density", "2/8", "--tile", "f2", "--calibration", files.images)):
        done = run("compile", *source, "--out", tmp_path / "a.subrow", "--json")
        assert done.code == 0
        assert set(done.json) == {"program", "digest", "name", "hw", "layers", "weight_bytes", "arena_bytes"}
        program = programs.load(tmp_path / "a.subrow")
        assert done.json["digest"] == program.digest()
        digests.add(tuple(program.weights.tobytes()))
    assert len(digests) == 1


def test_exported_program_needs_no_shape(run: Run, tmp_path: Path) -> None:
    torch.export.save(torch.export.export(small(), (torch.zeros(1, 8, 8, 8),)), tmp_path / "net.pt2")
    out = tmp_path / "net.subrow"
    done = run("compile", tmp_path / "net.pt2", "--random-calibration", "--out", out)
    assert done.code == 0 and programs.load(out).inputs[0].shape == (8, 8, 8)
    assert done.out.startswith(str(out))


def test_random_calibration_of_a_callable_needs_a_shape(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "net.subrow"
    refused = run("compile", MODEL, "--random-calibration", "--out", out)
    assert refused.code == 2 and "--shape C,H,W" in refused.err and not out.exists()
    assert run("compile", MODEL, "--random-calibration", "--shape", "8,8,8", "--out", out).code == 0
    assert programs.load(out).layers


def test_disasm(run: Run, files: Files) -> None:
    done = run("disasm", files.program, "--json")
    assert done.code == 0 and set(done.json) == {"name", "hw", "instructions"}
    assert [i["sub_s"] for i in done.json["instructions"]] == [8, 2, 8]
    assert "density 2/8" in run("disasm", files.program).out


def test_verify(run: Run, files: Files) -> None:
    done = run("verify", files.program, "--images", 5, "--json")
    assert done.code == 0 and done.json["equal"] is True and done.json["images"] == 5
    assert set(done.json) == {"program", "device", "images", "equal", "bytes", "layers"}
    assert [row["compared"] for row in done.json["layers"]] == [5 * 16 * 64, 5 * 16 * 16, 5 * 8]
    assert run("verify", files.program, "--input", files.images).code == 0


def lie(monkeypatch: pytest.MonkeyPatch) -> None:
    """An emulator that flips one bit of one output value."""
    honest = Emulator.run

    def run_wrong(self: Emulator, x: object) -> object:
        result = honest(self, x)  # type: ignore[arg-type]
        for values in result.outputs.values():
            values[-1, -1, -1, -1] ^= 1
        return result

    monkeypatch.setattr(Emulator, "run", run_wrong)


def test_verify_of_a_lying_device_exits_1_and_says_where(
    run: Run, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    lie(monkeypatch)
    done = run("verify", files.program, "--images", 2, "--json")
    assert done.code == 1 and done.json["equal"] is False
    assert all(row["different"] == 1 for row in done.json["layers"])
    assert done.json["layers"][0]["first"].startswith("image 1, channel 15, row 7, column 7")


@pytest.mark.verilator
def test_simulate(run: Run, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "y.npy"
    done = run("simulate", files.program, "--input", files.images, "--images", 2, "--output", out, "--json")
    assert done.code == 0 and done.json["bit_exact"] is True and done.json["images"] == 2
    assert set(done.json) == {"program", "hw", "images", "cycles", "bit_exact", "output", "layers", "origin"}
    assert np.load(out).shape == (2, 5, 1, 1)
    layer = done.json["layers"][1]
    assert set(layer) == {"name", "kind", "tile", "density", "macs", "cycles", "issued_cycles", "bound"}
    assert layer["density"] == "2/8" and 0 < layer["issued_cycles"] <= layer["cycles"] < done.json["cycles"][0]
    lie(monkeypatch)
    wrong = run("simulate", files.program, "--input", files.images, "--images", 1)
    assert wrong.code == 1 and "DIFFER" in wrong.out


@pytest.mark.verilator
def test_report(run: Run, files: Files, tmp_path: Path) -> None:
    done = run("report", files.program, "--input", files.images, "--labels", files.labels, "--out", tmp_path, "--json")
    assert done.code == 0 and done.json == json.loads((tmp_path / "report.json").read_text())
    assert set(done.json) == {"hw", "accuracy_unit", "programs", "bit_exact", "tools", "origin"}
    (program,) = done.json["programs"]
    assert program["bit_exact"] is True and program["density"] == "2/8" and 0 <= program["accuracy"] <= 100
    assert set(done.json["origin"].values()) <= {"measured", "simulated", "estimated"}
    assert "<svg" in (tmp_path / "report.html").read_text()


# --- errors: exit code 2 and one line -----------------------------------------------------------------------------


def damaged(files: Files, name: str, change: Callable[[bytes], bytes]) -> Path:
    path = files.folder / name
    path.write_bytes(change(files.program.read_bytes()))
    return path


def flipped(data: bytes) -> bytes:
    return data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]


def with_array(files: Files, name: str, array: np.ndarray) -> Path:
    np.save(files.folder / name, array)
    return files.folder / name


def cases() -> dict[str, tuple[Callable[[Files], list[object]], str]]:
    """Name -> (arguments, what the message must hold)."""
    nan = np.full((1, 8, 8, 8), np.nan, np.float32)
    build = ["compile", MODEL, "--out"]
    return {
        "no-verb": (lambda f: ["fly"], "No such command"),
        "no-argument": (lambda f: ["verify"], "Missing argument"),
        "no-calibration": (lambda f: [*build, f.folder / "x"], "--calibration images.npy.*--random-calibration"),
        "no-such-calibration": (lambda f: [*build, f.folder / "x", "--calibration", "none.npy"], "none.npy.*No such"),
        "nan-calibration": (lambda f: [*build, f.folder / "x", "--calibration", with_array(f, "nan.npy", nan)],
                            "512 values are NaN"),
        "not-an-array": (lambda f: [*build, f.folder / "x", "--calibration", f.program], "not a readable .npy"),
        "shape-against-calibration": (lambda f: [*build, f.folder / "x", "--calibration", f.images, "--shape", "3,8,8"],
                                      r"\(8, 8, 8\), --shape says \(3, 8, 8\)"),
        "bad-shape": (lambda f: [*build, f.folder / "x", "--random-calibration", "--shape", "a,b"], "give C,H,W"),
        "bad-density": (lambda f: [*build, f.folder / "x", "--calibration", f.images, "--density", "9/8"],
                        "density 9/8.*1..L"),
        "bad-tile": (lambda f: [*build, f.folder / "x", "--calibration", f.images, "--tile", "f6"], "'f6'"),
        "bad-hw": (lambda f: [*build, f.folder / "x", "--calibration", f.images, "--hw", "huge"],
                   "'huge'.*known names: .*tiny"),
        "no-module": (lambda f: ["compile", "nowhere:net", "--out", "x", "--calibration", f.images], "nowhere"),
        "no-attribute": (lambda f: ["compile", "tests.cli.nets:none", "--out", "x", "--calibration", f.images], "none"),
        "factory-fails": (lambda f: ["compile", "tests.cli.nets:broken", "--out", "x", "--calibration", f.images],
                          "weights are lost"),
        "no-network": (lambda f: ["compile", "tests.cli.nets:number", "--out", "x", "--calibration", f.images],
                       "gives a int"),
        "no-colon": (lambda f: ["compile", "vgg", "--out", "x", "--calibration", f.images], "package.module:callable"),
        "no-pt2": (lambda f: ["compile", "none.pt2", "--out", "x", "--random-calibration"], "none.pt2: no such file"),
        "not-a-pt2": (lambda f: ["compile", damaged(f, "a.pt2", bytes), "--out", "x", "--random-calibration"],
                      "not a file of torch.export"),
        "not-a-graph": (lambda f: ["compile", damaged(f, "a.graph", bytes), "--out", "x"], "not a Subrow Graph"),
        "no-program": (lambda f: ["verify", "none.subrow"], "none.subrow: cannot read Program: No such file"),
        "corrupt-program": (lambda f: ["verify", damaged(f, "flip.subrow", flipped)], "digest mismatch"),
        "short-program": (lambda f: ["disasm", damaged(f, "cut.subrow", lambda d: d[:900])], "truncated|corrupt"),
        "other-hardware": (lambda f: ["verify", f.program, "--hw", "wide"], "compiled for HwConfig tiny.*--hw wide"),
        "nan-input": (lambda f: ["simulate", f.program, "--input", with_array(f, "n.npy", nan)], "512 values are NaN"),
        "wrong-input-shape": (lambda f: ["simulate", f.program, "--input", with_array(f, "s.npy", nan[:, :3] * 0 == 1)],
                              r"shape \(1, 3, 8, 8\), must be \[N, 8, 8, 8\]"),
        "no-such-input": (lambda f: ["simulate", f.program, "--input", f"y={f.images}"], "input 'y'"),
        "label-count": (lambda f: ["report", f.program, "--input", f.images, "--labels", f.images.with_name("8.npy")],
                        "8 labels for 6 images"),
        "too-many-simulated": (lambda f: ["report", f.program, "--input", f.images, "--simulate", 99], "must be 1..6"),
    }  # fmt: skip


@pytest.mark.parametrize("name", cases())
def test_error(name: str, run: Run, files: Files) -> None:
    arguments, message = cases()[name]
    done = run(*arguments(files))
    assert done.code == 2, done
    text = " ".join(done.err.split())
    assert re.search(message, text), text
    assert "Traceback" not in done.err and not (files.folder / "x").exists()
    if name not in ("no-verb", "no-argument", "bad-tile"):  # usage errors come in a box
        errors = [line for line in done.err.splitlines() if line.startswith("error:")]
        assert len(errors) == 1 and not done.out


def test_program_of_a_changed_hardware_file_is_refused(run: Run, files: Files, tmp_path: Path) -> None:
    text = (hwconfig.CONFIG_DIR / "tiny.toml").read_text().replace("param_groups = 32", "param_groups = 64")
    (tmp_path / "tiny.toml").write_text(text)
    done = run("verify", files.program, "--hw", tmp_path / "tiny.toml")
    assert done.code == 2 and "compiled for HwConfig tiny" in done.err


def test_limit_that_an_instruction_breaks_is_one_line(run: Run, files: Files) -> None:
    program = programs.load(files.program)
    codes = program.instructions.copy()
    codes[0, 0] = (codes[0, 0] & 0xF0) | 3  # opcode
    path = files.folder / "opcode.subrow"
    dataclasses.replace(program, instructions=codes).save(path)
    for device in ("emulator", "verilator"):
        done = run("verify", path, "--device", device)
        assert done.code == 2 and "opcode is not 1" in done.err and "Traceback" not in done.err


def subrow_process(*arguments: object, prelude: str = "", path: str | None = None) -> subprocess.Popen[str]:
    code = f"{prelude}\nimport sys\nfrom subrow import cli\nsys.argv = {['subrow', *map(str, arguments)]!r}\ncli.main()"
    env = os.environ | ({"PATH": path} if path is not None else {})
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=env, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)  # fmt: skip


def test_missing_compiler_exits_3(files: Files) -> None:
    process = subrow_process("verify", files.program, path="/nonexistent")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 3 and "'g++'" in err and "apt-get install g++" in err and "Traceback" not in err


@pytest.mark.parametrize("stage", ("fsync", "replace"))
@pytest.mark.parametrize("old", (False, True))
def test_killed_while_writing_leaves_no_half_written_file(stage: str, old: bool, files: Files, tmp_path: Path) -> None:
    """Killed before the flush or before the rename: the old file, or none, never a part."""
    out = tmp_path / "net.subrow"
    if old:
        out.write_bytes(files.program.read_bytes())
    stop = f"import os, time\ndef stop(*a):\n    print('now', flush=True)\n    time.sleep(600)\nos.{stage} = stop"
    process = subrow_process("compile", MODEL, "--calibration", files.images, "--out", out, prelude=stop)
    assert process.stdout is not None and process.stdout.readline() == "now\n"
    process.kill()
    process.communicate()
    assert out.exists() == old
    if old:
        assert programs.load(out).digest() == programs.load(files.program).digest()


def test_failed_write_leaves_nothing(run: Run, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    done = run("compile", MODEL, "--calibration", files.images, "--out", tmp_path / "net.subrow")
    assert done.code == 2 and "No space left on device" in done.err and not list(tmp_path.iterdir())
