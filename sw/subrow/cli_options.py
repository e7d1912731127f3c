"""Options that several commands share, and what is checked of them before any work starts."""

from __future__ import annotations

import tempfile
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from subrow.spec.errors import InputError


class Tile(StrEnum):
    auto = "auto"
    f2 = "f2"
    f4 = "f4"
    direct = "direct"


class DeviceName(StrEnum):
    emulator = "emulator"
    verilator = "verilator"
    pynq = "pynq"


class Against(StrEnum):
    estimate = "estimate"


ProgramPath = Annotated[Path, typer.Argument(help="a Program file (.subrow)")]
Model = Annotated[str, typer.Argument(
    help="package.module:callable, a .pt2 file of torch.export, or a .graph file of prune or quantize"
)]
GraphOut = Annotated[Path, typer.Option("--out", help="Graph file to write (.graph)")]
Hw = Annotated[str, typer.Option(help="HwConfig: a name in hw/configs, or a path to a .toml")]
ProgramHw = Annotated[str | None, typer.Option("--hw", help="HwConfig; without it, the one that the Program names")]
Density = Annotated[str | None, typer.Option(help="weights kept of every sub-row, s/L, such as 2/8; without it: dense")]
TileOption = Annotated[Tile, typer.Option(help="Winograd tile of 3x3 layers; auto chooses for each layer")]
Linear = Annotated[bool, typer.Option("--linear", help="prune linear layers, too")]
Bits = Annotated[str | None, typer.Option(
    help="bits of weights: 8, 4 (all layers but the first), or by layer, such as conv2=4,fc=8; without it: HwConfig's"
)]
Calibration = Annotated[Path | None, typer.Option(
    help=".npy with N x C x H x W images like those it will see, or labelled data as finetune takes: its first 64"
)]  # fmt: skip
RandomCalibration = Annotated[bool, typer.Option(
    "--random-calibration", help="calibrate on random images: for trials of speed only, accuracy will be poor"
)]
ShapeOption = Annotated[str | None, typer.Option("--shape", help="input C,H,W; without it, that of the calibration")]
Bitfile = Annotated[Path | None, typer.Option(help="the .bit of a board's build; without a board: simulated")]
Json = Annotated[bool, typer.Option("--json", help="one JSON document on standard output")]


def check_output(path: Path, option: str, suffix: str) -> None:
    """Raises InputError unless a file with this suffix can be written at path; leaves nothing behind."""
    if path.is_dir():
        raise InputError(f"{option} {path}: is a folder; give the path of a {suffix} file")
    if path.suffix != suffix:
        raise InputError(f"{option} {path}: must end in {suffix}")
    check_folder(path.parent, f"{option} {path}")


def check_folder(folder: Path, name: str) -> None:
    """Raises InputError unless files can be written in a folder, which may still have to be made; leaves nothing."""
    nearest = folder.absolute()
    while not nearest.exists():
        nearest = nearest.parent
    if not nearest.is_dir():
        raise InputError(f"{name}: {nearest} is a file, not a folder")
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise InputError(f"{name}: cannot write in folder {nearest}: {error.strerror}") from error
