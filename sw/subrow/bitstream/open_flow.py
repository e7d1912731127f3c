"""A bitstream for the PYNQ-Z2 without vendor tools: Yosys, nextpnr, the project's own FASM tool, prjxray's writer.

Built, not hardware-tested: the bitstream is decoded again and every feature compared, but none was loaded on a board.
"""

from __future__ import annotations

import json
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from subrow.area import MUX8, RUN_COMMANDS
from subrow.bitstream import fasm, netlist_faults, xray
from subrow.bitstream.boards import Board, fabric_clock
from subrow.bitstream.folder import File, Product, digest_of
from subrow.bitstream.open_tools import PLACE_AND_ROUTE, READ_BITS, WRITE_BITS, OpenTools
from subrow.bitstream.vivado import BOARDS, rtl_files
from subrow.devices.handoff import Place, handoff
from subrow.spec.errors import ConfigError, MissingTool
from subrow.spec.hwconfig import HwConfig
from subrow.spec.program import write_atomic
from subrow.toolenv import REPO_ROOT, BuildError, cached_build, run_logged

LABEL = "built, not hardware-tested"
ORIGIN = "Yosys, nextpnr, prjxray"
TOP = "subrow_pynq_z2"
BOARD = "pynq-z2"
PORT_BYTES = 8
SMALL = BOARDS / BOARD / "small" / "subrow_engine.sv"
"""Stand-in of the engine for a small design that goes through the whole flow in minutes."""
PLACER = "static"
"""nextpnr's placer: the engine has no pads to start from; its wires come out 0.6 times as long as by the default."""


def check(hw: HwConfig, board: Board) -> None:
    """Raises ConfigError unless the open flow can build this HwConfig for this board."""
    if board.name != BOARD:
        raise ConfigError(f"--flow open: board {board.name} is not supported: only {BOARD}; use --flow vivado")
    if hw.weight_bytes != PORT_BYTES or hw.act_port_bytes > PORT_BYTES:
        raise ConfigError(
            f"HwConfig {hw.name}: memory.weight_bytes = {hw.weight_bytes}, array.sub_row = {hw.sub_row}: --flow open "
            f"needs {PORT_BYTES} and 4 or {PORT_BYTES}, the bytes of a memory port; use pynq-z2-open, or --flow vivado"
        )


def files(hw: HwConfig, board: Board, small: bool = False) -> list[File]:
    """What the tools read: RTL, constraints; and the hardware description, which no tool makes.

    small: with the stand-in of the engine that has its registers, one DSP and one block RAM.
    """
    check(hw, board)
    extra = [*sorted((BOARDS / "rtl").glob("subrow_axi3_*.sv")), BOARDS / "rtl" / "subrow_zynq7.sv",
             BOARDS / BOARD / "primitives.v", BOARDS / BOARD / f"{TOP}.sv"]  # fmt: skip
    sources = [(place, SMALL if small and p.name == SMALL.name else p) for place, p in rtl_files(extra)]
    result = [File(f"open/{place}", p.read_bytes(), str(p.relative_to(REPO_ROOT))) for place, p in sources]
    generated = f"generated from HwConfig {hw.name}"
    clock = f"create_clock -period {1000 / hw.mhz:.3f} [get_nets clk]\n"
    result.append(File("open/clock.xdc", clock.encode(), generated))
    result.append(File("open/synthesis.ys", "\n".join(synthesis(hw, [f.path for f in result])).encode(), generated))
    result.append(File("open/mux8.v", MUX8.encode(), "subrow.area"))
    result.append(File("subrow.hwh", handoff(hw, where(hw, board)).encode(), generated))
    return result


def where(hw: HwConfig, board: Board) -> Place:
    """Where the hardware description says that the engine is. Raises ConfigError for a clock that cannot be made."""
    return Place(board.part, board.board_part, board.register_base, board.register_bytes, fabric_clock(hw.mhz))


def products(command: str) -> list[Product]:
    """What the tools make for the user."""
    return [Product(p, command, ORIGIN) for p in ("subrow.bit", "reports/open.json", "reports/nextpnr.log")]


def synthesis(hw: HwConfig, sources: list[str]) -> list[str]:
    """Yosys commands from the RTL to open/work/netlist.json, run in the build's folder."""
    # No shift registers in LUTs: nextpnr may place one beside a memory of LUTs whose write enable it then must share.
    values = " ".join(f"-G{name}=32'd{value}" for name, value in hw.rtl_parameters().items())
    rtl = " ".join(s for s in sources if s.endswith((".sv", ".v")))
    flow = f"synth_xilinx -flatten -noiopad -noclkbuf -nosrl -abc9 -family xc7 -top {TOP}"
    return [
        f"read_slang --ignore-assertions --top {TOP} {values} {rtl}", f"{flow} -run :map_cells", "simplemap t:$mux",
        "muxcover -nodecode -nopartial -mux8=600", "techmap -map open/mux8.v t:$_MUX8_", "opt_clean",
        f"{flow} -run map_cells:", "write_json open/work/netlist.json", "",
    ]  # fmt: skip


def _synthesise(out: Path, key: str) -> dict[str, Any]:
    """Cells of the top's netlist, by name. Raises MissingTool, BuildError."""
    try:
        version = metadata.version("pyosys")
    except metadata.PackageNotFoundError:
        raise MissingTool("the wheel 'pyosys' is not installed: run `make setup` (extra `sim`)") from None

    work = out / "open" / "work"

    def build(part: Path) -> None:
        run_logged([sys.executable, "-c", RUN_COMMANDS, "open/synthesis.ys"], work / "yosys.log", cwd=out)
        (work / "netlist.json").replace(part)

    path = cached_build(work / "netlist.json", f"{key}-{version}", build)
    modules = json.loads(path.read_text(encoding="utf-8"))["modules"]
    if TOP not in modules:
        raise BuildError(f"{path}: Yosys wrote no netlist of {TOP}")
    return {"path": path, "cells": modules[TOP]["cells"]}


def _route(out: Path, key: str, netlist: Path, hw: HwConfig, tools: OpenTools) -> tuple[Path, Path]:
    """Place and route; paths of the FASM and of nextpnr's report. Raises MissingTool, BuildError."""
    work = out / "open" / "work"
    log, report = work / "nextpnr.log", work / f"timing-{key}.json"
    device = hw.part.split("clg")[0]

    def build(part: Path) -> None:
        log.unlink(missing_ok=True)
        run_logged(
            [*tools.command(PLACE_AND_ROUTE), "--device", hw.part, "--chipdb", tools.chip_database(device), "--json",
             netlist, "-o", f"xdc={out / 'open' / 'clock.xdc'}", "-o", f"fasm={part}", "--freq", str(hw.mhz),
             "--placer", PLACER, "--report", report, "--timing-allow-fail"], log, cwd=out,
        )  # fmt: skip

    path = cached_build(work / "routed.fasm", key, build)
    if not report.is_file():
        raise BuildError(f"{report} is gone, remove {path} and build again")
    return path, report


def timing(report: dict[str, Any], hw: HwConfig) -> float:
    """MHz of the fabric by nextpnr's report, an estimate that leaves out DSPs, block RAM and the PS.

    Raises BuildError when it is less than the HwConfig's clock.
    """
    clocks = report.get("fmax", {})
    if not clocks:
        raise BuildError("nextpnr reports no clock: the netlist has no registers")
    slowest = min(float(c["achieved"]) for c in clocks.values())
    if slowest < hw.mhz:
        raise BuildError(f"timing: nextpnr estimates {slowest:.1f} MHz for the fabric, HwConfig {hw.name} asks for "
                         f"{hw.mhz} MHz: lower clock.mhz")  # fmt: skip
    return slowest


def _write_bits(out: Path, key: str, features: list[fasm.Feature], hw: HwConfig, tools: OpenTools) -> xray.Comparison:
    """FASM to out/subrow.bit, decode it again and compare. Raises FasmError, MissingTool, BuildError."""
    work = out / "open" / "work"
    database = xray.Database(tools.bit_database(), hw.part)
    features = list(dict.fromkeys([*features, *database.required()]))
    frames, bits, listing = work / "subrow.frm", work / "subrow.bit", work / "subrow.bits"
    write_atomic(frames, xray.frames_text(xray.assemble(database, features)).encode())
    part = ["--part_file", str(database.part_file)]
    log = work / "prjxray.log"
    run_logged([*tools.command(WRITE_BITS), "--part_name", hw.part, *part, "--frm_file", frames.name, "--output_file",
                bits.name], log, cwd=work)  # fmt: skip
    run_logged([*tools.command(READ_BITS), *part, "-o", listing.name, "-y", "-z", bits.name], log, cwd=work)
    compared = xray.compare(database, features, xray.read_bits(listing.read_text(encoding="utf-8")))
    listing.unlink()
    if not compared.equal:
        raise BuildError(
            f"{bits}: decoded again it differs from its FASM: {len(compared.lost)} features lost, {compared.missing} "
            f"bits missing, {compared.extra} bits too many"
        )
    write_atomic(out / "subrow.bit", bits.read_bytes())
    return compared


def run(out: Path, inputs: tuple[File, ...], hw: HwConfig, root: Path) -> None:
    """Build out/subrow.bit and out/reports. An interrupted run goes on behind its last finished step.

    Raises MissingTool before any work when a tool is missing; BuildError, NetlistError and FasmError with the reason.
    """
    out, tools = out.absolute(), OpenTools(root)
    tools.check()
    key = digest_of(inputs)[:16]
    (out / "open" / "work").mkdir(parents=True, exist_ok=True)
    netlist = _synthesise(out, key)
    constants = netlist_faults.check(netlist["cells"])
    routed, report = _route(out, key, netlist["path"], hw, tools)
    with open(routed, encoding="utf-8") as lines:
        features = fasm.parse(lines)
    ties = netlist_faults.tie_offs(features, constants)
    document = json.loads(report.read_text(encoding="utf-8"))
    mhz = timing(document, hw)
    compared = _write_bits(out, key, [*features, *ties], hw, tools)
    log = out / "open" / "work" / "nextpnr.log"
    write_atomic(out / "reports" / "nextpnr.log", log.read_bytes() if log.is_file() else b"")
    write_atomic(out / "reports" / "open.json", (json.dumps({
        "label": LABEL, "hw": hw.name, "hw_hash": f"{hw.hash32:08x}", "part": hw.part, "clock_mhz": hw.mhz,
        "fabric_mhz": round(mhz, 1), "origin": {"fabric_mhz": "estimated"}, "features": compared.features,
        "features_lost": len(compared.lost), "bits_missing": compared.missing, "bits_extra": compared.extra,
        "dsp_tie_offs": len(ties), "utilization": document.get("utilization", {}),
    }, indent=2) + "\n").encode())  # fmt: skip


