"""The command that builds bitstreams: `subrow build`."""

from __future__ import annotations

import shlex
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from subrow.cli_options import Json, ProgramHw, check_folder
from subrow.console import print_json, say
from subrow.source import load_program, refuse
from subrow.spec.errors import MissingTool

if TYPE_CHECKING:
    from subrow.bitstream.flows import Result


class BoardName(StrEnum):
    pynq_z2 = "pynq-z2"
    zcu104 = "zcu104"


class FlowOption(StrEnum):
    vivado = "vivado"
    open = "open"
    hls = "hls"


def build(
    board: Annotated[BoardName, typer.Option(help="the board")],
    path: Annotated[Path, typer.Option("--program", help="a Program compiled for a HwConfig of that board")],
    out: Annotated[Path, typer.Option("--out", help="folder to fill: a new one, or one of an earlier build to go on")],
    flow: Annotated[FlowOption, typer.Option(
        help="vivado; open: Yosys and nextpnr, pynq-z2 only; hls: only an IP, by Vitis HLS"
    )] = FlowOption.vivado,
    hw: ProgramHw = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="write nothing, say what would be made")] = False,
    tools: Annotated[Path | None, typer.Option(help="with --flow open: root of the Debian tree with the tools")] = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Build the bitstream that runs a Program on a board: RTL, scripts, manifest.json, and the tool's run.

    Without the tool everything is generated all the same, the command to run is said, and the exit code is 3.
    """
    from subrow.bitstream import flows
    from subrow.bitstream.boards import board_of

    if flow != FlowOption.open:
        refuse({"--tools": tools}, f"with --flow {flow.value}")
    check_folder(out, f"--out {out}")
    program, config = load_program(path, hw)
    chosen = board_of(board.value)
    again = shlex.join(["subrow", "build", "--board", board.value, "--program", str(path), "--out", str(out), "--flow",
                        flow.value])  # fmt: skip
    made = flows.flow_of(flow.value, config, chosen, tools or Path("/"), again)
    content = flows.contents(made, flow.value, config, chosen, path.read_bytes(), program.digest())
    result = flows.Result(content.manifest(None), None) if dry_run else flows.build(made, content, out)
    if as_json:
        print_json(result.manifest)
    else:
        _show(result, out, dry_run)
    if result.missing is not None:
        raise MissingTool(result.missing + _elsewhere(flow, out, made.command))


def _elsewhere(flow: FlowOption, out: Path, command: str) -> str:
    """The way out for tools that need nothing of Subrow: run them on the machine that has them."""
    if flow == FlowOption.open:
        return ""
    return f"; or copy {out} to a machine that has it, run there `{command}`, copy it back and run `subrow build` again"


def _show(result: Result, out: Path, dry_run: bool) -> None:
    manifest: dict[str, Any] = result.manifest
    board, hw = f"{manifest['board']} ({manifest['part']})", f"{manifest['hw']} ({manifest['hw_hash']})"
    say(f"{'would build' if dry_run else 'build of'} {hw} for {board}, flow {manifest['flow']}: {manifest['label']}")
    made = [a for a in manifest["artefacts"] if a["state"] == "made"]
    for artefact in manifest["artefacts"]:
        if artefact["state"] != "made" and not (dry_run and artefact["sha256"]):
            say(f"  {artefact['path']}: {artefact['state']}")
    if dry_run:
        say(f"  and {sum(a['sha256'] is not None for a in manifest['artefacts'])} files for it; nothing was written")
    else:
        say(f"{len(made)} of {len(manifest['artefacts'])} artefacts made: {out / 'manifest.json'}")
