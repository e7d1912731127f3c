"""What Vivado builds a bitstream from: Tcl, RTL, the Verilog top, settings; and its run."""

from __future__ import annotations

from pathlib import Path

from subrow.bitstream.boards import CLOCK_ERROR, Board, fabric_clock
from subrow.bitstream.folder import File, Product, digest_of
from subrow.bitstream.top import TOP, verilog, weight_names
from subrow.devices.handoff import DESIGN, IP_NAME, IP_VERSION
from subrow.devices.registers import access_of, table
from subrow.devices.simlib import rtl_sources
from subrow.spec.hwconfig import HwConfig
from subrow.toolenv import REPO_ROOT, find_tool, run_logged

COMMAND = "vivado -mode batch -source vivado/build.tcl"
ORIGIN = "Vivado"
BOARDS = REPO_ROOT / "hw" / "boards"


def memory_paths(hw: HwConfig, board: Board) -> list[tuple[str, str, str, str]]:
    """Master of the engine, port of the processing system, its clock pin, its address segment: one for each path."""
    ports = board.weight_ports_of(hw)
    pairs = [("m_axi_act", board.act_port), *zip(weight_names(len(ports)), ports, strict=True)]
    return [(master, port.name, port.clock, port.segment) for master, port in pairs]


def _word(text: object) -> str:
    """One word of Tcl: braces keep everything as it is, so the text must hold none, and no backslash."""
    plain = str(text)
    if any(c in plain for c in "{}\\\n"):
        raise ValueError(f"{plain!r} cannot stand in Tcl settings")
    return f"{{{plain}}}"


def _list(*items: str) -> str:
    return "{" + " ".join(map(_word, items)) + "}"


def settings(hw: HwConfig, board: Board, sources: list[str]) -> str:
    """settings.tcl without its digest: the array `cfg` that the scripts of hw/boards read."""
    values: dict[str, object] = {
        "hw": hw.name, "hash": f"{hw.hash32:08x}", "design": DESIGN, "top": TOP, "ip_name": IP_NAME,
        "ip_version": IP_VERSION, "part": board.part, "board_part": board.board_part, "mhz": hw.mhz,
        "clock_error": CLOCK_ERROR, "port_bits": 8 * board.port_bytes, "register_base": f"{board.register_base:#010x}",
        "register_range": f"{board.register_bytes:#x}", "memory_range": f"{board.memory_bytes:#x}",
        "constraints": "constraints.xdc",
    }  # fmt: skip
    if board.name == "pynq-z2":
        values["clock_source"] = fabric_clock(hw.mhz).source
    lines = ["# What vivado/build.tcl builds. Generated; do not edit.", "array set cfg {"]
    lines += [f"    {name} {_word(value)}" for name, value in values.items()]
    lines += ["    sources {", *(f"        {_word(s)}" for s in sources), "    }"]
    lines += ["    memory {", *(f"        {_list(*path)}" for path in memory_paths(hw, board)), "    }"]
    rows = [_list(name, f"{entry['offset']:#x}", access_of(entry["fields"].values()), entry["description"])
            for name, entry in table().items()]  # fmt: skip
    lines += ["    registers {", *(f"        {row}" for row in rows), "    }", "}"]
    return "\n".join(lines) + "\n"


def rtl_files(extra: list[Path]) -> list[tuple[str, Path]]:
    """The engine's SystemVerilog and these files, by their place below vivado/: packages first."""
    paths = [p for p in rtl_sources() if p.suffix == ".sv"]
    return [(f"rtl/{p.name}", p) for p in [*paths, *extra]]


def _copy(place: str, path: Path) -> File:
    return File(f"vivado/{place}", path.read_bytes(), str(path.relative_to(REPO_ROOT)))


def files(hw: HwConfig, board: Board) -> list[File]:
    """Everything that Vivado reads."""
    ports = len(board.weight_ports_of(hw))
    spread = [BOARDS / "rtl" / "subrow_spread.sv"] if ports > 1 else []
    rtl = rtl_files(spread)
    result = [_copy(place, path) for place, path in rtl]
    result.append(File(f"vivado/rtl/{TOP}.v", verilog(hw, ports).encode(), f"generated from HwConfig {hw.name}"))
    for path in sorted([*(BOARDS / "common").glob("*.tcl"), *(BOARDS / board.name).glob("*.tcl"),
                        *(BOARDS / board.name).glob("*.xdc")]):  # fmt: skip
        result.append(_copy(path.name, path))
    text = settings(hw, board, [*(place for place, _ in rtl), f"rtl/{TOP}.v"])
    digest = digest_of([*result, File("settings", text.encode(), "")])
    text += f"set cfg(digest) {digest}\n"
    result.append(File("vivado/settings.tcl", text.encode(), f"generated from HwConfig {hw.name}"))
    return result


def products() -> list[Product]:
    """Everything that Vivado makes for the user."""
    names = ("subrow.bit", "subrow.hwh", *(f"reports/{n}.rpt" for n in ("timing", "utilization", "power", "drc")),
             "reports/slack.txt")  # fmt: skip
    return [Product(name, COMMAND, ORIGIN) for name in names]


def run(out: Path) -> None:
    """Run Vivado in the folder, its output in out/vivado/vivado.log. Raises MissingTool, BuildError with its end."""
    tool = find_tool("vivado")
    run_logged([tool, "-mode", "batch", "-source", "vivado/build.tcl", "-nojournal", "-log", "vivado/vivado-tool.log"],
               out.absolute() / "vivado" / "vivado.log", cwd=out)  # fmt: skip
