"""Every verb: exit codes, JSON keys, one clear line for every error, and no half-written files."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import subrow
from subrow.devices.emulator import Emulator
from subrow.spec import hwconfig
from subrow.spec import program as programs
from subrow.spec.isa import FIELD_BY_NAME
from tests.cli.conftest import Files, Run
from tests.cli.nets import small

ROOT = Path(__file__).resolve().parents[2]
MODEL = "tests.cli.nets:small"
VERBS = ("prune", "quantize", "compile", "estimate", "disasm", "verify", "simulate", "report", "build", "finetune",
         "search", "evaluate")  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
def test_help(verb: str, run: Run) -> None:
    done = run(verb, "--help")
    assert done.code == 0 and "--json" in done.out
    assert ("[name=]x.npy" in done.out) == (verb in ("verify", "simulate"))


def test_help_of_the_command_names_every_exit_code(run: Run) -> None:
    text = " ".join(run("--help").out.split())
    for code in ("0 done", "1 the check", "2 usage or input", "3 a needed tool", "70 internal", "130 interrupted"):
        assert code in text
    assert all(verb in text for verb in VERBS)


# --- what each verb does ------------------------------------------------------------------------------------------


def test_steps_and_one_compile_give_the_same_program(run: Run, files: Files, tmp_path: Path) -> None:
    common = ("--calibration", files.images, "--json")
    pruned, quantised = tmp_path / "p.graph", tmp_path / "q.graph"
    done = run("prune", MODEL, "--density", "2/8", "--tile", "f2", "--out", pruned, *common)
    assert done.code == 0 and set(done.json) == {"graph", "hw", "layers", "output_error", "images"}
    rows = {row["name"]: row for row in done.json["layers"]}
    assert set(rows["3"]) == {"name", "tile", "density", "weights", "kept", "weight_error"}
    assert rows["3"]["density"] == "2/8" and rows["3"]["kept"] * 4 == rows["3"]["weights"] == 16 * 16 * 16
    assert done.json["images"] == 6, "as many as there are"
    assert rows["0"]["density"] == "8/8" and rows["0"]["weight_error"] == 0 < rows["3"]["weight_error"]

    done = run("quantize", pruned, "--out", quantised, *common)
    assert done.code == 0 and set(done.json) == {"graph", "hw", "layers", "output_error", "images"}
    for row in done.json["layers"]:
        assert set(row) == {"name", "tile", "density", "bits", "weight_error", "output_error"}
        assert 0 < row["weight_error"] < 0.05 and 0 < row["output_error"] < 0.2

    digests = set()
    for source in ((quantised,), (pruned, "--calibration", files.images),
                   (MODEL, "--density", "2/8", "--tile", "f2", "--calibration", files.images)):
        done = run("compile", *source, "--out", tmp_path / "a.subrow", "--json")
        assert done.code == 0
        assert set(done.json) == {"program", "digest", "name", "hw", "layers", "weight_bytes", "arena_bytes"}
        program = programs.load(tmp_path / "a.subrow")
        assert done.json["digest"] == program.digest()
        layers = {row["name"]: row for row in done.json["layers"]}
        assert set(layers["3"]) == {"name", "kind", "tile", "density", "bits", "weight_bytes"}
        assert [row["density"] for row in layers.values()] == ["8/8", "2/8", "8/8"] and layers["3"]["tile"] == "f2"
        assert 0 < sum(row["weight_bytes"] for row in layers.values()) <= done.json["weight_bytes"]
        digests.add(tuple(program.weights.tobytes()))
    assert len(digests) == 1


def test_exported_program_needs_no_shape(run: Run, tmp_path: Path) -> None:
    torch.export.save(torch.export.export(small(), (torch.zeros(1, 8, 8, 8),)), tmp_path / "net.pt2")
    out = tmp_path / "net.subrow"
    done = run("compile", tmp_path / "net.pt2", "--random-calibration", "--out", out)
    assert done.code == 0 and programs.load(out).inputs[0].shape == (8, 8, 8)
    assert f"{out}: " in done.out and re.search(r"│ 3 +│ \w+ +│ +8/8 │ +[\d,]+ │", done.out), done.out


def test_random_calibration_of_a_callable_needs_a_shape(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "net.subrow"
    refused = run("compile", MODEL, "--random-calibration", "--out", out)
    assert refused.code == 2 and "--shape C,H,W" in refused.err and not out.exists()
    assert run("compile", MODEL, "--random-calibration", "--shape", "8,8,8", "--out", out).code == 0
    assert programs.load(out).layers


def test_disasm(run: Run, files: Files) -> None:
    done = run("disasm", files.program, "--json")
    assert done.code == 0
    assert set(done.json) == {
        "name", "hw", "hw_digest", "digest", "memory", "inputs", "outputs", "layers", "instructions",
    }  # fmt: skip
    assert [i["sub_s"] for i in done.json["instructions"]] == [8, 2, 8]
    assert all(set(i) == set(FIELD_BY_NAME) for i in done.json["instructions"])
    assert "density 2/8" in run("disasm", files.program).out
    (x,) = done.json["inputs"]
    assert set(x) == {"name", "shape", "scale", "offset", "row_bytes", "space_to_depth"} and x["shape"] == [8, 8, 8]
    layer = done.json["layers"][1]
    assert (layer["name"], layer["kind"], layer["tile"], layer["density"]) == ("3", "conv", "f2", "2/8")
    assert (layer["macs"], layer["in_channels"], layer["out_channels"]) == (16 * 16 * 9 * 64, 16, 16)


def test_disasm_memory_map(run: Run, files: Files) -> None:
    """Parts follow one another where the engine reads them; tensors are whole blocks of 8 channels."""
    made, program = run("disasm", files.program, "--json").json, programs.load(files.program)
    memory, weights = made["memory"], [layer["weights"] for layer in made["layers"]]
    assert memory["instructions"] == {"offset": 0, "bytes": 3 * 128}
    assert memory["weights"] == {"offset": 4096, "bytes": program.weights.size}
    assert weights[0]["offset"] == 4096 and [layer["instruction_offset"] for layer in made["layers"]] == [0, 128, 256]
    for one, two in zip(weights, [*weights[1:], {"offset": 4096 + program.weights.size}], strict=True):
        assert 0 <= two["offset"] - one["offset"] - one["bytes"] < 64
    sizes = {t["name"]: t["bytes"] for t in memory["arena"]["tensors"]}
    assert sizes == {"input": 8 * 64, "0": 16 * 64, "3": 16 * 16, "7": 8}
    assert all(t["offset"] + t["bytes"] <= memory["arena"]["bytes"] for t in memory["arena"]["tensors"])
    assert made["layers"][1]["input"] == made["layers"][0]["output"] and made["layers"][1]["residual"] is None


def test_verify(run: Run, files: Files) -> None:
    done = run("verify", files.program, "--images", 5, "--json")
    assert done.code == 0 and done.json["equal"] is True and done.json["images"] == 5
    assert set(done.json) == {"program", "device", "images", "equal", "bytes", "saturated", "layers", "origin"}
    assert [row["compared"] for row in done.json["layers"]] == [5 * 16 * 64, 5 * 16 * 16, 5 * 8]
    given = run("verify", files.program, "--input", files.images, "--json")
    assert given.code == 0 and given.json["images"] == 6 and given.json["saturated"]["input"] <= 0.01


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
    assert set(done.json) == {
        "program", "hw", "images", "cycles", "bit_exact", "compared", "saturated", "output", "layers", "origin",
    }  # fmt: skip
    assert done.json["compared"] == 10 and done.json["saturated"]["input"] <= 0.01
    assert np.load(out).shape == (2, 5, 1, 1)
    layer = done.json["layers"][1]
    assert set(layer) == {
        "name", "kind", "tile", "density", "macs", "cycles", "issued_cycles", "utilisation", "bound",
    }  # fmt: skip
    assert layer["utilisation"] == pytest.approx(layer["issued_cycles"] / layer["cycles"], abs=1e-4)
    assert layer["density"] == "2/8" and 0 < layer["issued_cycles"] <= layer["cycles"] < done.json["cycles"][0]
    lie(monkeypatch)
    wrong = run("simulate", files.program, "--input", files.images, "--images", 1)
    assert wrong.code == 1 and "DIFFER" in wrong.out


@pytest.mark.verilator
def test_report(run: Run, files: Files, tmp_path: Path) -> None:
    """A pruned Program beside its dense one; both files have the same name."""
    dense = tmp_path / "other" / files.program.name
    images = np.load(files.images)
    subrow.compile(small(), images, "tiny", None, "f2", images).save(dense)
    done = run("report", files.program, dense, "--input", files.images, "--labels", files.labels, "--out", tmp_path,
               "--json")  # fmt: skip
    assert done.code == 0 and done.json == json.loads((tmp_path / "report.json").read_text())
    assert set(done.json) == {"hw", "accuracy_unit", "programs", "bit_exact", "compared", "tools", "origin"}
    program, other = done.json["programs"]
    assert program["bit_exact"] is True and program["density"] == "2/8" and other["density"] == "dense"
    right = [run_labels(p, images, np.load(files.labels)) for p in (files.program, dense)]
    assert [program["accuracy"], other["accuracy"]] == pytest.approx(right, abs=1e-3)
    assert (program["label"], other["label"]) == (str(files.program), str(dense))
    assert program["compared"] == 5 and done.json["compared"] == 10
    for layer, same in zip(program["layers"], other["layers"], strict=True):
        assert layer["dense_cycles"] == same["cycles"] == same["dense_cycles"]
        assert layer["utilisation"] == pytest.approx(layer["issued_cycles"] / layer["cycles"], abs=1e-4)
    assert set(done.json["origin"].values()) == {"measured", "simulated", "estimated"}
    assert "<svg" in (tmp_path / "report.html").read_text()


def run_labels(path: Path, images: np.ndarray, labels: np.ndarray) -> float:
    """Percent of labels that the emulator finds."""
    with subrow.open_device("emulator", "tiny") as device:
        device.load(programs.load(path))
        found = device.run(images).real().reshape(len(images), -1).argmax(axis=1)
    return 100 * float((found == labels).mean())


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
    to = ["--out", "x.subrow", "--calibration"]
    return {
        "no-verb": (lambda f: ["fly"], "No such command"),
        "no-argument": (lambda f: ["verify"], "Missing argument"),
        "no-calibration": (lambda f: [*build, "x.subrow"], "--calibration images.npy.*--random-calibration"),
        "no-such-calibration": (lambda f: [*build, "x.subrow", "--calibration", "none.npy"], "none.npy.*No such"),
        "nan-calibration": (lambda f: [*build, "x.subrow", "--calibration", with_array(f, "nan.npy", nan)],
                            "512 values are NaN"),
        "not-an-array": (lambda f: [*build, "x.subrow", "--calibration", f.program], "not a readable .npy"),
        "shape-against-calibration": (lambda f: [*build, "x.subrow", "--calibration", f.images, "--shape", "3,8,8"],
                                      r"\(8, 8, 8\), --shape says \(3, 8, 8\)"),
        "bad-shape": (lambda f: [*build, "x.subrow", "--random-calibration", "--shape", "a,b"], "give C,H,W"),
        "bad-density": (lambda f: [*build, "x.subrow", "--calibration", f.images, "--density", "9/8"],
                        "density 9/8.*1..L"),
        "bad-tile": (lambda f: [*build, "x.subrow", "--calibration", f.images, "--tile", "f6"], "'f6'"),
        "bad-hw": (lambda f: [*build, "x.subrow", "--calibration", f.images, "--hw", "huge"],
                   "'huge'.*known names: .*tiny"),
        "no-module": (lambda f: ["compile", "nowhere:net", *to, f.images], "nowhere"),
        "no-attribute": (lambda f: ["compile", "tests.cli.nets:none", *to, f.images], "none"),
        "factory-fails": (lambda f: ["compile", "tests.cli.nets:broken", *to, f.images],
                          "weights are lost"),
        "no-network": (lambda f: ["compile", "tests.cli.nets:number", *to, f.images],
                       "gives a int"),
        "no-colon": (lambda f: ["compile", "vgg", *to, f.images], "package.module:callable"),
        "no-pt2": (lambda f: ["compile", "none.pt2", "--out", "x.subrow", "--random-calibration"],
                   "none.pt2: no such file"),
        "not-a-pt2": (lambda f: ["compile", damaged(f, "a.pt2", bytes), "--out", "x.subrow", "--random-calibration"],
                      "not a file of torch.export"),
        "not-a-graph": (lambda f: ["compile", damaged(f, "a.graph", bytes), "--out", "x.subrow"], "not a Subrow Graph"),
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


def left_over(folder: Path) -> list[str]:
    """Every file and folder below a folder."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


@pytest.mark.parametrize("name", cases())
def test_error(name: str, run: Run, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where the command writes
    arguments, message = cases()[name]
    done = run(*arguments(files))
    assert done.code == 2, done
    text = " ".join(done.err.split())
    assert re.search(message, text), text
    assert "Traceback" not in done.err and left_over(tmp_path) == []
    if name not in ("no-verb", "no-argument", "bad-tile"):  # usage errors show the usage, too
        errors = [line for line in done.err.splitlines() if line.startswith("error:")]
        assert len(errors) == 1 and not done.out


def test_left_over_files_are_seen(run: Run, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What test_error looks for is there when a command leaves a part of its output behind."""

    def careless(path: Path, data: bytes) -> None:
        path.write_bytes(data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(programs, "write_atomic", careless)
    done = run("compile", MODEL, "--calibration", files.images, "--out", "x.subrow")
    assert done.code == 2 and left_over(tmp_path) == ["x.subrow"]


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
