"""Make the package that boards install: the driver, the checks and the benchmark, without compiler and simulation.

    python scripts/board_package.py [--out build/board]    writes subrow_board-<version>-py3-none-any.whl there

On the board: `pip install --no-deps subrow_board-*.whl`. It needs PYNQ and numpy, which PYNQ images have; on their
Python 3.10 also tomli, a small package without dependencies.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "sw" / "subrow"
PARTS = (
    "__init__.py", "toolenv.py", "board", "notebooks", "spec", "devices/__init__.py", "devices/base.py",
    "devices/engine.py", "devices/engine_device.py", "devices/registers.py", "devices/subrow_regs.json",
    "devices/pynq/__init__.py", "devices/pynq/device.py", "devices/pynq/lock.py", "devices/pynq/overlay.py",
    "devices/pynq/port.py", "devices/pynq/uio.py", "report/__init__.py", "report/verify.py",
)  # fmt: skip
PROJECT = """[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "subrow-board"
version = "{version}"
description = "Runs Subrow Programs on a PYNQ board"
license = "Apache-2.0"
license-files = ["LICENSE"]
requires-python = ">=3.10"
dependencies = ["numpy>=1.21", "pynq>=3.1", "tomli>=1.1; python_version < '3.11'"]

[project.scripts]
subrow-board = "subrow.board.command:main"

[project.entry-points."pynq.notebooks"]
subrow = "subrow.notebooks"

[tool.setuptools.packages.find]
include = ["subrow*"]

[tool.setuptools.package-data]
subrow = ["devices/subrow_regs.json", "spec/*.toml", "spec/configs/*.toml", "notebooks/*.ipynb"]
"""


def version() -> str:
    """That of the whole project."""
    text = (SOURCE / "__init__.py").read_text()
    return text.partition('__version__ = "')[2].partition('"')[0]


def stage(folder: Path) -> None:
    """The sources of the package, with what links point to in place of the links."""
    for part in PARTS:
        source, target = SOURCE / part, folder / "subrow" / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
        else:
            shutil.copyfile(source, target)
    shutil.copyfile(ROOT / "LICENSE", folder / "LICENSE")
    (folder / "pyproject.toml").write_text(PROJECT.format(version=version()))


def build(out: Path) -> Path:
    """The wheel's path. Raises CalledProcessError when pip fails; what it said is on standard error."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="subrow-board-") as name:
        stage(Path(name) / "source")
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps",
                   "--no-build-isolation", "--wheel-dir", f"{name}/wheel", f"{name}/source"]  # fmt: skip
        subprocess.run(command, check=True)
        (made,) = (Path(name) / "wheel").glob("*.whl")
        part = out / f".{made.name}.part"
        shutil.copyfile(made, part)
        return part.replace(out / made.name)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "board")
    print(build(parser.parse_args().out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
