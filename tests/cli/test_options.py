"""Options and files that do not fit: found before the work, named in one line, never ignored."""

from __future__ import annotations

import io
import re
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import subrow
from subrow.console import load_array
from subrow.spec import program as programs
from subrow.spec.errors import InputError
from tests.cli.conftest import Files, Run
from tests.cli.nets import small
from tests.cli.test_cli import MODEL, left_over, subrow_process


@pytest.fixture(scope="session")
def graphs(files: Files) -> tuple[Path, Path]:
    """A pruned and a quantised Graph of the small network."""
    from subrow.api import compressed, quantised
    from subrow.ir.store import save_graph
    from subrow.spec import hwconfig

    hw, images = hwconfig.load("tiny"), np.load(files.images)
    pruned = compressed(small(), images, hw, "2/8", "f2", images)
    save_graph(pruned, files.folder / "p.graph", hw)
    save_graph(quantised(pruned, images, hw, calibration=images), files.folder / "q.graph", hw)
    return files.folder / "p.graph", files.folder / "q.graph"


def refused(run: Run, message: str, *arguments: object) -> None:
    done = run(*arguments)
    assert done.code == 2 and not done.out, done
    lines = [line for line in done.err.splitlines() if ": capture  " not in line]  # the bar of what had begun
    assert len(lines) == 1 and lines[0].startswith("error: "), done.err
    assert re.search(message, lines[0]), done.err


# --- options without effect ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "named"),
    [(("--density", "4/8"), "--density"), (("--tile", "f4"), "--tile"), (("--linear",), "--linear")],
)
@pytest.mark.parametrize("verb", ("quantize", "compile"))
def test_pruned_graph_takes_no_option_of_pruning(
    verb: str, options: tuple[str, ...], named: str, run: Run, files: Files, graphs: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / ("x.graph" if verb == "quantize" else "x.subrow")
    message = f"{named}: no effect on .*p.graph, which is already pruned"
    refused(run, message, verb, graphs[0], "--calibration", files.images, "--out", out, *options)


def test_quantised_graph_takes_no_calibration(
    run: Run, files: Files, graphs: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "x.subrow"
    for options in (("--calibration", files.images), ("--random-calibration",), ("--shape", "8,8,8")):
        refused(run, f"{options[0]}: no effect on .*already quantised", "compile", graphs[1], "--out", out, *options)
    assert run("compile", graphs[1], "--out", out).code == 0 and programs.load(out).layers


def test_quantised_graph_is_not_quantised_again(run: Run, graphs: tuple[Path, Path], tmp_path: Path) -> None:
    refused(run, "q.graph: is already quantised; compile it", "quantize", graphs[1], "--out", tmp_path / "x.graph")
    assert not left_over(tmp_path)


def test_pruned_graph_is_not_pruned_again(run: Run, files: Files, graphs: tuple[Path, Path], tmp_path: Path) -> None:
    refused(run, "already pruned", "prune", graphs[0], "--density", "2/8", "--calibration", files.images, "--out",
            tmp_path / "x.graph")  # fmt: skip


def test_linear_without_density_and_two_calibrations(run: Run, files: Files, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "x.subrow", "--calibration", files.images)
    refused(run, "--linear: no effect without --density", "compile", MODEL, *out, "--linear")
    refused(run, "--random-calibration: no effect together with --calibration", "compile", MODEL, *out,
            "--random-calibration")  # fmt: skip


def test_verify_takes_random_images_or_given_ones(run: Run, files: Files) -> None:
    given = ("verify", files.program, "--input", files.images)
    refused(run, "--images: no effect with --input", *given, "--images", 2)
    refused(run, "--seed: no effect with --input", *given, "--seed", 0)
    refused(run, "input 'input' is given twice", *given, "--input", f"input={files.images}")


def test_same_program_twice(run: Run, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(files.folder)
    refused(run, "small.subrow: given 2 times", "report", files.program, "small.subrow", "--input", files.images,
            "--out", tmp_path)  # fmt: skip


# --- density ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("density", "message"),
    [("2/4", "L = 8 weights: 4/8 keeps the same share"), ("8/16", "4/8 keeps"), ("1/16", "give s/8"),
     ("1/3", "give s/8")],
)  # fmt: skip
def test_density_of_another_sub_row(density: str, message: str, run: Run, files: Files, tmp_path: Path) -> None:
    refused(run, f"density {density}: HwConfig tiny has sub-rows of .*{message}", "compile", MODEL, "--density",
            density, "--calibration", files.images, "--out", tmp_path / "x.subrow")  # fmt: skip


@pytest.mark.parametrize("verb", ("prune", "quantize", "compile"))
def test_nothing_to_prune(verb: str, run: Run, tmp_path: Path) -> None:
    out = tmp_path / ("x.subrow" if verb == "compile" else "x.graph")
    refused(run, "nothing to prune in Sequential: layer 0 is the first.*layer 1 has 4 input channels, fewer than L = 8"
            r".*layer 3 is linear \(option linear", verb, "tests.cli.nets:narrow", "--density", "4/8",
            "--random-calibration", "--shape", "3,4,4", "--out", out)  # fmt: skip


# --- outputs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "suffix"),
    [("prune", ".graph"), ("quantize", ".graph"), ("compile", ".subrow"), ("simulate", ".npy"), ("report", None)],
)
def test_outputs_are_checked_before_anything_is_read(verb: str, suffix: str | None, run: Run, tmp_path: Path) -> None:
    """The inputs do not exist, so an error about the output means that it came first."""
    arguments = {
        "prune": ("no.module:net", "--density", "4/8", "--out"), "quantize": ("no.module:net", "--out"),
        "compile": ("no.module:net", "--out"), "simulate": ("none.subrow", "--input", "none.npy", "--output"),
        "report": ("none.subrow", "--input", "none.npy", "--out"),
    }[verb]  # fmt: skip
    (tmp_path / "file").touch()
    name = "y" + (suffix or "")
    refused(run, "file is a file, not a folder", verb, *arguments, tmp_path / "file" / "sub" / name)
    refused(run, "cannot write in folder /proc", verb, *arguments, Path("/proc/none") / name)
    if suffix is not None:
        (tmp_path / f"folder{suffix}").mkdir()
        refused(run, "is a folder", verb, *arguments, tmp_path / f"folder{suffix}")
        refused(run, f"must end in \\{suffix}", verb, *arguments, tmp_path / "y.bin")
    done = run(verb, *arguments, tmp_path / "new" / name)
    assert done.code == 2 and "none" in done.err + "none" * ("no.module" in done.err), done.err
    assert not (tmp_path / "new").exists()


def test_a_new_folder_is_made(run: Run, graphs: tuple[Path, Path], tmp_path: Path) -> None:
    assert run("compile", graphs[1], "--out", tmp_path / "a" / "b" / "x.subrow").code == 0
    assert left_over(tmp_path) == ["a", "a/b", "a/b/x.subrow"]


# --- arrays -------------------------------------------------------------------------------------------------------


def npy(shape: str, data: bytes = b"", descr: str = "'<f4'") -> bytes:
    """A .npy file whose header is what a test wants it to be."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


def archive() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.zeros(3))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (npy("(1000000, 1000000, 9)", b"1234"), "1000000x1000000x9 of float32, 36000000000000 bytes, but only 4"),
        (npy("(99999999999999999999999,)"), "but only 0 follow"),
        (npy("(3,)", b"12345678"), "3 of float32, 12 bytes, but only 8 follow: truncated"),
        (npy("(-3,)", b"12345678"), "not a readable .npy file"),
        (npy("(3"), "damaged header"),
        (npy("oops"), "damaged header"),
        (npy("(1,)", b"x" * 8, "'|O'"), "type object, must be floating point or integer"),
        (npy("(1,)", b"x" * 8, "'<U2'"), "must be floating point or integer"),
        (npy("(2,)")[:20], "not a readable .npy file"),
        (b"", "not a readable .npy file"),
        (archive(), "an archive of several arrays"),
    ],
)
def test_damaged_arrays(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "[red]x.npy"
    path.write_bytes(data)
    with pytest.raises(InputError) as error:
        load_array(path, "labels")
    assert f"labels {path}: " in str(error.value) and message in str(error.value)


@pytest.mark.parametrize("array", [np.arange(6).reshape(2, 3), np.ones((2, 2), bool), np.asfortranarray(np.eye(3))])
def test_whole_arrays_are_read(array: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", array)
    np.testing.assert_array_equal(load_array(tmp_path / "x.npy"), array)


def changed_images(change: Callable[[np.ndarray], np.ndarray], files: Files, path: Path) -> Path:
    np.save(path, change(np.load(files.images)))
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[:, :3], r"\(6, 3, 8, 8\): 3 channels, but the first convolution of Sequential takes 8"),
        (lambda x: x.astype(np.float64) * 1e300, r"calibration .*c.npy: holds values up to 1e\+300|c.npy: .*e\+299"),
        (lambda x: x[0], r"c.npy: shape \(8, 8, 8\), must be N x C x H x W"),
        (lambda x: x[:0], r"c.npy: shape \(0, 8, 8, 8\), must be"),
    ],
)
def test_calibration_that_does_not_fit(
    change: Callable[[np.ndarray], np.ndarray], message: str, run: Run, files: Files, tmp_path: Path
) -> None:
    path = changed_images(change, files, tmp_path / "c.npy")
    refused(run, message, "compile", MODEL, "--calibration", path, "--out", tmp_path / "x.subrow")


def test_hw_that_is_a_folder(run: Run, files: Files, tmp_path: Path) -> None:
    refused(run, "is a folder; give a name .*tiny.* or the path of a .toml", "verify", files.program, "--hw", tmp_path)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((6, 1), np.int64), r"shape \(6, 1\), must be \[6\]"),
        (np.zeros(6), "labels are float64, must be integers 0..4"),
        (np.array([0, 1, -1, 0, 0, 0]), "label -1 of image 2 is outside 0..4"),
        (np.array([0, 1, 2, 3, 4, 5]), "label 5 of image 5 is outside 0..4"),
    ],
)
def test_labels(labels: np.ndarray, message: str, run: Run, files: Files, tmp_path: Path) -> None:
    np.save(tmp_path / "l.npy", labels)
    done = run("report", files.program, "--input", files.images, "--labels", tmp_path / "l.npy", "--out", tmp_path)
    assert done.code == 2 and re.search(message, done.err), done
    assert left_over(tmp_path) == ["l.npy"]


# --- images beyond the representable range ------------------------------------------------------------------------


def test_saturated_images_are_told_once(run: Run, files: Files, tmp_path: Path) -> None:
    bytes_ = changed_images(lambda x: np.round(255 * x).astype(np.uint8), files, tmp_path / "u8.npy")
    done = run("verify", files.program, "--input", bytes_, "--json")
    assert done.code == 0 and done.json["saturated"]["input"] > 0.98
    warned = [line for line in done.err.splitlines() if line.startswith("warning:")]
    assert len(warned) == 1
    assert re.search(r"input input: 99\.\d % of the values saturate: they lie in 0..255, .* represents -(1|0.99)",
                     warned[0]), warned  # fmt: skip
    assert "warning" not in run("verify", files.program, "--input", files.images).err


@pytest.mark.verilator
def test_saturated_images_in_simulate_and_report(run: Run, files: Files, tmp_path: Path) -> None:
    bytes_ = changed_images(lambda x: np.round(255 * x[:1]).astype(np.uint8), files, tmp_path / "u8.npy")
    one = run("simulate", files.program, "--input", bytes_, "--json")
    two = run("report", files.program, "--input", bytes_, "--out", tmp_path, "--json")
    assert one.code == two.code == 0
    assert one.err.count("warning: input input: ") == two.err.count("warning: input input: ") == 1
    shares = one.json["saturated"], two.json["programs"][0]["saturated"]
    assert shares[0] == shares[1] and shares[0]["input"] > 0.98


# --- how the command ends -----------------------------------------------------------------------------------------


def test_negative_seed(run: Run, files: Files) -> None:
    done = run("verify", files.program, "--seed", -1)
    assert done.code == 2 and "--seed" in done.err and "0" in done.err and "Traceback" not in done.err


def test_markup_in_names_is_text(run: Run, files: Files, graphs: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "[red]a[/] :smile:.subrow"
    done = run("compile", graphs[1], "--out", out)
    assert done.code == 0 and f"{out}: Sequential" in done.out and out.exists()
    assert f"{tmp_path}/[/x].subrow: cannot read" in run("verify", tmp_path / "[/x].subrow").err


def test_closed_pipe_ends_quietly(files: Files) -> None:
    process = subrow_process("disasm", files.program, "--json", prelude="import subrow.emit.disasm")
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait(120) == -signal.SIGPIPE


def test_unexpected_exception_is_one_line(run: Run, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> None:
        raise ZeroDivisionError("division [by] zero")

    monkeypatch.setattr(programs, "load", fail)
    done = run("disasm", files.program)
    assert done.code == 70 and done.err.startswith("internal error: ZeroDivisionError: division [by] zero; run ")
    assert done.err.count("\n") == 1
    shown = run("--traceback", "disasm", files.program)
    assert shown.code == 70 and "Traceback (most recent call last)" in shown.err and "in fail" in shown.err


def test_interrupt(run: Run, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(programs, "load", stop)
    done = run("disasm", files.program)
    assert done.code == 130 and "Traceback" not in done.err


# --- from Python --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "example", "message"),
    [
        (None, np.zeros((1, 8, 8, 8)), "model is NoneType 'None': give a torch.nn.Module"),
        (small, np.zeros((1, 8, 8, 8)), "model is function .*; call it to make the network"),
        (small(), None, "images are NoneType: give an array or a tensor N x C x H x W"),
        (small(), "x.npy", "images are str"),
        (small(), np.zeros((0, 8, 8, 8)), r"images are of shape \(0, 8, 8, 8\)"),
        (small(), np.zeros((1, 3, 8, 8)), "3 channels, but the first convolution of Sequential takes 8"),
        (small(), np.full((2, 8, 8, 8), np.nan), "image 0 holds NaN, infinity or a value too large"),
        (small(), np.full((2, 8, 8, 8), 1e300), "image 0 holds NaN, infinity or a value too large"),
    ],
)
def test_compile_from_python(model: object, example: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        subrow.compile(model, example)  # type: ignore[arg-type]
