"""What a HwConfig's engine takes of an FPGA, *estimated* by Yosys: synthesis only, no placement, no timing."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.table import Table

from subrow.console import table
from subrow.devices.simlib import RTL, rtl_sources
from subrow.netlist import Depth, depth
from subrow.spec.errors import MissingTool, SubrowError
from subrow.spec.hwconfig import HwConfig
from subrow.toolenv import REPO_ROOT, BuildError, cached_build, run_logged, source_digest, tool_env

ORIGIN = "estimated"
TOOL = "Yosys"
BUILD = REPO_ROOT / "build" / "area"
FAMILIES = {"xc7": "DSP48E1", "xcup": "DSP48E2"}
"""FPGA families by Yosys's names (7 series, UltraScale+), and their DSP block."""
LUT_RAMS = {"RAM32M": 4, "RAM64M": 4, "RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4, "RAM32X1S": 1, "RAM64X1S": 1,
            "RAM128X1S": 2, "RAM256X1S": 4, "RAM256X1D": 8, "RAM512X1S": 8, "RAM32M16": 8, "RAM64M8": 8,
            "SRL16E": 1, "SRLC16E": 1, "SRLC32E": 1}  # fmt: skip
"""LUTs that a distributed memory or shift register takes."""

RUN_COMMANDS = """
import sys
from pyosys import libyosys
design = libyosys.Design()
for command in open(sys.argv[1]):
    libyosys.run_pass(command.strip(), design)
"""
"""Runs a file of Yosys commands, one a line, in one design."""

# An 8:1 multiplexer is two LUT6 and a MUXF7, as Vivado maps it; Yosys by itself spends a third LUT.
MUX8 = r"""
module \$_MUX8_ (input A, B, C, D, E, F, G, H, S, T, U, output Y);
  wire low  = T ? (S ? D : C) : (S ? B : A);
  wire high = T ? (S ? H : G) : (S ? F : E);
  MUXF7 _TECHMAP_REPLACE_ (.I0(low), .I1(high), .S(U), .O(Y));
endmodule
"""
"""Verilog that maps Yosys' 8:1 multiplexer, for `techmap -map`."""


@dataclass(frozen=True)
class Area:
    """Cells of one module and everything below it."""

    dsp: int  # DSP48E1, DSP48E2
    ramb: float  # RAMB36; a RAMB18 counts as half
    lut: int  # all LUTs, those of memories included
    lut_memory: int
    ff: int
    uram: int = 0  # URAM288, UltraScale+ only


@dataclass(frozen=True)
class Estimate:
    """One module: what it takes, and its longest path between registers."""

    area: Area
    depth: Depth


PARTS: Mapping[str, Area] = {
    "xc7z020clg400-1": Area(220, 140, 53_200, 17_400, 106_400),
    "xczu7ev-ffvc1156-2-e": Area(1_728, 312, 230_400, 101_760, 460_800, 96),
}
"""What a part has, where it is known."""


def family_of(hw: HwConfig) -> str:
    """Family of the HwConfig's part; 7 series where it names none."""
    return "xcup" if hw.part.startswith(("xczu", "xck26", "xcku", "xcvu", "xcau")) else "xc7"


def count(cells: Mapping[str, int]) -> Area:
    """Area of a netlist, from how often each cell occurs."""
    memory = sum(LUT_RAMS.get(name, 0) * n for name, n in cells.items())
    logic = sum(n for name, n in cells.items() if re.fullmatch(r"LUT[1-6]|INV", name))
    ff = sum(n for name, n in cells.items() if re.fullmatch(r"FD[RSCP]E", name))
    ramb = sum(cells.get(f"RAMB36E{n}", 0) + cells.get(f"RAMB18E{n}", 0) / 2 for n in (1, 2))
    dsp = cells.get("DSP48E1", 0) + cells.get("DSP48E2", 0)
    return Area(dsp, ramb, logic + memory, memory, ff, cells.get("URAM288", 0))


def synthesis(top: str, family: str, uram: bool, mux8: Path) -> list[str]:
    """Yosys commands from the elaborated design to a netlist of the family's cells.

    Yosys packs registers and accumulators into a DSP48E1 only; a DSP48E2 takes all of it, so UltraScale+ has the DSPs
    of 7 series until its own memories are mapped. Raises SubrowError for a family that is not known.
    """
    if family not in FAMILIES:
        raise SubrowError(f"FPGA family {family!r}: must be one of {', '.join(FAMILIES)}")
    if uram and family != "xcup":
        raise SubrowError(f"UltraRAM in family {family!r}: only xcup has it")
    flow = f"synth_xilinx -flatten -noiopad -noclkbuf -top {top}"
    late = f"{flow} -family {family}{' -uram' if uram else ''}"
    return [
        f"{flow} -family xc7 -run :map_memory", f"{late} -run map_memory:map_cells", "simplemap t:$mux",
        "muxcover -nodecode -nopartial -mux8=600", f"techmap -map {mux8} t:$_MUX8_", "opt_clean",
        f"{late} -run map_cells:",
    ]  # fmt: skip


def sources_of(top: str) -> list[Path]:
    """The packages, the module, and every module that it or one below it instantiates."""
    known = {path.stem: path for path in rtl_sources() if path.suffix == ".sv"}
    needed, todo = {name for name in known if name.endswith("_pkg")}, [top]
    while todo:
        name = todo.pop()
        if name not in needed and name in known:
            needed.add(name)
            code = re.sub(r"//.*", "", known[name].read_text(encoding="utf-8"))
            todo += re.findall(r"\bsubrow_\w+\b", code)
    return [path for name, path in known.items() if name in needed]


def estimate(
    hw: HwConfig, top: str = "subrow_engine", parameters: Mapping[str, int] | None = None, *,
    family: str | None = None, uram: bool = False,
) -> Estimate:  # fmt: skip
    """Area and depth of a module with these parameters (default: all of the HwConfig, which the engine takes).

    family: of FAMILIES, None for that of the HwConfig's part; uram: put large memories into UltraRAM. Takes minutes for
    an engine; kept in build/area until a source, a parameter or Yosys changes. Raises MissingTool without pyosys,
    SubrowError for a family or a memory that there is not, BuildError with the end of Yosys's log.
    """
    try:
        version = metadata.version("pyosys")
    except metadata.PackageNotFoundError:
        raise MissingTool("the wheel 'pyosys' is not installed: run `make setup` (extra `sim`)") from None
    family = family_of(hw) if family is None else family
    values = hw.rtl_parameters() if parameters is None else parameters
    sources = sources_of(top)
    generics = " ".join(f"-G{name}=32'd{value}" for name, value in sorted(values.items()))
    read = f"read_slang --ignore-assertions --top {top} {generics} {' '.join(map(str, sources))}"
    flow = synthesis(top, family, uram, Path("mux8.v"))
    texts = (read.replace(str(REPO_ROOT), ""), *flow, MUX8, version)
    digest = source_digest([*sources, Path(__file__).with_name("netlist.py")], *texts)

    def build(part: Path) -> None:
        script, log, mux8, netlist = (part.with_suffix(f"{part.suffix}{end}") for end in (".ys", ".log", ".v", ".net"))
        part.parent.mkdir(parents=True, exist_ok=True)
        mux8.write_text(MUX8, encoding="utf-8")
        commands = [read, *synthesis(top, family, uram, mux8), f"write_json {netlist}"]
        script.write_text("\n".join(commands) + "\n", encoding="utf-8")
        run_logged([sys.executable, "-c", RUN_COMMANDS, script], log, env=tool_env())
        document = json.dumps(_document(netlist, top))
        for path in (script, log, mux8, netlist):
            path.unlink()
        part.write_text(document, encoding="utf-8")

    BUILD.mkdir(parents=True, exist_ok=True)
    path = cached_build(BUILD / f"{top}-{hw.name}-{family}.json", digest, build)
    document = json.loads(path.read_text(encoding="utf-8"))
    return Estimate(count(document["cells"]), Depth(**document["depth"]))


def _document(netlist: Path, top: str) -> dict[str, Any]:
    """What estimate keeps of a netlist: cells by type, and the depth."""
    modules = json.loads(netlist.read_text(encoding="utf-8"))["modules"] if netlist.exists() else {}
    if top not in modules:
        raise BuildError(f"{netlist}: Yosys wrote no netlist of {top}")
    cells: dict[str, int] = {}
    for cell in modules[top]["cells"].values():
        cells[cell["type"]] = cells.get(cell["type"], 0) + 1
    return {"cells": cells, "depth": asdict(depth(modules[top]))}


UNITS = ("subrow_wfetch", "subrow_afetch", "subrow_rfetch", "subrow_itrans", "subrow_array", "subrow_otrans",
         "subrow_post", "subrow_awrite", "subrow_ctrl", "subrow_axi_read", "subrow_axi_write")  # fmt: skip
"""Units of docs/hardware.md; the buffers between them stand in subrow_engine."""


def estimate_unit(hw: HwConfig, unit: str, *, family: str | None = None, uram: bool = False) -> Estimate:
    """Area and depth of one unit as the engine instantiates it; see estimate."""
    text = (RTL / f"{unit}.sv").read_text(encoding="utf-8")
    taken = set(re.findall(r"^\s*parameter\s+int unsigned\s+(\w+)", text, re.M))
    parameters = {k: v for k, v in hw.rtl_parameters().items() if k in taken}
    return estimate(hw, unit, parameters, family=family, uram=uram)


def area_json(hw: HwConfig, estimates: Mapping[str, Estimate], family: str | None = None) -> dict[str, Any]:
    """Areas and depths by module, with their origin and what the HwConfig's part has, where it is known."""
    part = PARTS.get(hw.part)
    return {
        "hw": hw.name, "origin": ORIGIN, "tool": TOOL, "family": family or family_of(hw),
        "modules": {name: asdict(e.area) for name, e in estimates.items()},
        "depth": {name: asdict(e.depth) for name, e in estimates.items()},
        "part": hw.part, "part_has": None if part is None else asdict(part),
    }  # fmt: skip


def area_table(hw: HwConfig, estimates: Mapping[str, Estimate], family: str | None = None) -> Table:
    """One line for each module; percent of the HwConfig's part where it is known."""
    family = family or family_of(hw)
    columns = [FAMILIES[family], "RAMB36", "LUT", "of them memory", "FF", *(["URAM"] if family == "xcup" else [])]
    part = PARTS.get(hw.part) if family == family_of(hw) else None
    limits = (None,) * 6 if part is None else astuple(part)
    rows = [(name, *map(_cell, astuple(e.area)[: len(columns)], limits)) for name, e in estimates.items()]
    return table(f"{hw.name}: area {ORIGIN} by {TOOL} (synthesis for {family})", ("module",), columns, rows)


def depth_table(hw: HwConfig, estimates: Mapping[str, Estimate]) -> Table:
    """The longest path of each module."""
    rows = [(name, e.depth.start, e.depth.end, str(e.depth.levels), str(e.depth.cells))
            for name, e in estimates.items()]  # fmt: skip
    title = f"{hw.name}: longest paths, {ORIGIN} by {TOOL}"
    return table(title, ("module", "from", "to"), ("LUT levels", "cells"), rows)


def _cell(value: float, limit: float | None) -> str:
    return f"{value:,.10g}" if limit is None or limit == 0 else f"{value:,.10g} ({100 * value / limit:.0f} %)"
