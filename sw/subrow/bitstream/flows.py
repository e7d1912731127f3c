"""`subrow build` in one call: fill the folder, run the flow's tool, say what is made and what is missing."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from subrow.bitstream import board_package, folder, hls, open_flow, vivado
from subrow.bitstream.boards import Board
from subrow.bitstream.folder import Contents, File, Product
from subrow.spec import hwconfig
from subrow.spec.errors import MissingTool
from subrow.spec.hwconfig import HwConfig

FlowName = Literal["vivado", "open", "hls"]
PROGRAM = "program.subrow"
LABELS: dict[FlowName, str] = {
    "vivado": "scripts checked in a model of Vivado, not run in Vivado", "open": open_flow.LABEL,
    "hls": "an IP with registers of its own, no bitstream",
}
"""What is known of each flow's products."""


@dataclass(frozen=True)
class Flow:
    """A way to build: what its tool reads, makes, and how it is run in a folder.

    run raises MissingTool when the tool is not there, BuildError when it fails; both leave a folder to go on from.
    """

    inputs: tuple[File, ...]
    products: tuple[Product, ...]
    run: Callable[[Path], None]
    command: str


def flow_of(name: FlowName, hw: HwConfig, board: Board, root: Path, command: str) -> Flow:
    """The flow of that name for a HwConfig on a board. Raises ConfigError.

    root: of the tools, for the open flow; command: what makes its products, the call of `subrow build` itself.
    """
    board.check(hw)
    if name == "open":
        inputs = tuple(open_flow.files(hw, board))
        run = functools.partial(open_flow.run, inputs=inputs, hw=hw, root=root)
        return Flow(inputs, tuple(open_flow.products(command)), run, command)
    if name == "hls":
        return Flow(tuple(hls.files(hw, board)), tuple(hls.products()), hls.run, hls.COMMAND)
    return Flow(tuple(vivado.files(hw, board)), tuple(vivado.products()), vivado.run, vivado.COMMAND)


@dataclass(frozen=True)
class Result:
    """What a build left: the manifest, and why its tool did not run (None when it did)."""

    manifest: dict[str, Any]
    missing: str | None


def contents(flow: Flow, name: FlowName, hw: HwConfig, board: Board, program: bytes, digest: str) -> Contents:
    """Everything that the folder of this build holds, for the tools and for the board; program: the file's bytes,
    digest: the Program's."""
    about = {"board": board.name, "part": board.part, "flow": name, "label": LABELS[name], "hw": hw.name,
             "hw_hash": f"{hw.hash32:08x}", "program_digest": digest, "command": flow.command}  # fmt: skip
    board_files = (
        File(PROGRAM, program, "the Program that was given"),
        File(f"{hw.name}.toml", hwconfig.to_toml(hw).encode(), f"generated from HwConfig {hw.name}"),
        File(board_package.name(), board_package.wheel(), "sw/subrow: what of it runs on a board"),
    )
    return Contents(flow.inputs, board_files, flow.products, about)


def build(flow: Flow, content: Contents, out: Path) -> Result:
    """Fill the folder and run the flow's tool there, unless all its products are made.

    Raises InputError for a folder that is not of `subrow build`, BuildError when the tool fails, OSError.
    """
    folder.check(out)
    manifest = content.fill(out)
    if manifest["complete"]:
        return Result(manifest, None)
    try:
        flow.run(out)
    except MissingTool as error:
        return Result(manifest, str(error))
    finally:
        manifest = content.write_manifest(out)
    return Result(manifest, None)
