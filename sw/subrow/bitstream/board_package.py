"""The package that boards install: driver, checks and benchmark, without compiler and simulation, as a wheel.

Equal sources give equal bytes. It needs PYNQ and numpy, which PYNQ images have; on their Python 3.10 also tomli, a
small package without dependencies.
"""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from pathlib import Path

from subrow.toolenv import REPO_ROOT

SOURCE = REPO_ROOT / "sw" / "subrow"
PARTS = (
    "__init__.py", "toolenv.py", "board", "notebooks", "spec", "devices/__init__.py", "devices/base.py",
    "devices/engine.py", "devices/engine_device.py", "devices/registers.py",
    "devices/subrow_regs.json", "devices/pynq/__init__.py", "devices/pynq/device.py", "devices/pynq/lock.py",
    "devices/pynq/overlay.py", "devices/pynq/port.py", "devices/pynq/uio.py", "report/__init__.py", "report/verify.py",
)  # fmt: skip
KINDS = {".py", ".toml", ".json", ".ipynb"}
METADATA = """Metadata-Version: 2.1
Name: subrow-board
Version: {version}
Summary: Runs Subrow Programs on a PYNQ board
License: Apache-2.0
License-File: LICENSE
Requires-Python: >=3.10
Requires-Dist: numpy>=1.21
Requires-Dist: pynq>=3.1
Requires-Dist: tomli>=1.1; python_version < "3.11"
"""
WHEEL = "Wheel-Version: 1.0\nGenerator: subrow\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
ENTRY_POINTS = """[console_scripts]
subrow-board = subrow.board.command:main

[pynq.notebooks]
subrow = subrow.notebooks
"""
DATE = (1980, 1, 1, 0, 0, 0)  # the first that a zip file can say


def version() -> str:
    """That of the whole project."""
    text = (SOURCE / "__init__.py").read_text(encoding="utf-8")
    return text.partition('__version__ = "')[2].partition('"')[0]


def name() -> str:
    """The wheel's file name."""
    return f"subrow_board-{version()}-py3-none-any.whl"


def sources() -> dict[str, bytes]:
    """What the package holds by its path there; of a link, what it points to."""
    found: dict[str, bytes] = {}
    for part in PARTS:
        place = SOURCE / part
        for path in sorted(_below(place)) if place.is_dir() else [place]:
            found[f"subrow/{path.relative_to(SOURCE).as_posix()}"] = path.read_bytes()
    return found


def _below(folder: Path) -> list[Path]:
    """Sources in a folder and in the folders of it, links followed; without what editors and Python leave there."""
    found = []
    for path in folder.iterdir():
        if path.is_dir():
            found += [] if path.name.startswith((".", "__")) else _below(path)
        elif path.suffix in KINDS:
            found.append(path)
    return found


def wheel() -> bytes:
    """The wheel's bytes."""
    info = f"subrow_board-{version()}.dist-info"
    files = sources() | {
        f"{info}/METADATA": METADATA.format(version=version()).encode(), f"{info}/WHEEL": WHEEL.encode(),
        f"{info}/entry_points.txt": ENTRY_POINTS.encode(), f"{info}/LICENSE": (REPO_ROOT / "LICENSE").read_bytes(),
    }  # fmt: skip
    lines = [f"{path},sha256={_digest(data)},{len(data)}" for path, data in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*lines, f"{info}/RECORD,,", ""]).encode()
    result = io.BytesIO()
    with zipfile.ZipFile(result, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in files.items():
            entry = zipfile.ZipInfo(path, DATE)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o100644 << 16
            archive.writestr(entry, data)
    return result.getvalue()


def _digest(data: bytes) -> str:
    """SHA-256 as RECORD has it."""
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
