"""What a HwConfig's engine takes of a 7-series FPGA, *estimated* by Yosys: synthesis only, no placement, no timing."""

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
from subrow.spec.errors import MissingTool
from subrow.spec.hwconfig import HwConfig
from subrow.toolenv import REPO_ROOT, BuildError, cached_build, run_logged, source_digest, tool_env

ORIGIN = "estimated"
TOOL = "Yosys"
BUILD = REPO_ROOT / "build" / "area"
COLUMNS = ("DSP48E1", "RAMB36", "LUT", "of them memory", "FF")
LUT_RAMS = {"RAM32M": 4, "RAM64M": 4, "RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4, "RAM32X1S": 1, "RAM64X1S": 1,
            "RAM128X1S": 2, "RAM256X1S": 4, "SRL16E": 1, "SRLC16E": 1, "SRLC32E": 1}  # fmt: skip
"""LUTs that a distributed memory or shift register takes."""

_RUN = """
import sys
from pyosys import libyosys
design = libyosys.Design()
for command in open(sys.argv[1]):
    libyosys.run_pass(command.strip(), design)
"""


@dataclass(frozen=True)
class Area:
    """Cells of one module and everything below it."""

    dsp: int  # DSP48E1
    ramb: float  # RAMB36E1; a RAMB18E1 counts as half
    lut: int  # all LUTs, those of memories included
    lut_memory: int
    ff: int


PARTS: Mapping[str, Area] = {"xc7z020clg400-1": Area(220, 140, 53_200, 17_400, 106_400)}
"""What a part has, where it is known."""


def count(cells: Mapping[str, int]) -> Area:
    """Area of a netlist, from how often each 7-series cell occurs."""
    memory = sum(LUT_RAMS.get(name, 0) * n for name, n in cells.items())
    logic = sum(n for name, n in cells.items() if re.fullmatch(r"LUT[1-6]|INV", name))
    ff = sum(n for name, n in cells.items() if re.fullmatch(r"FD[RSCP]E", name))
    ramb = cells.get("RAMB36E1", 0) + cells.get("RAMB18E1", 0) / 2
    return Area(cells.get("DSP48E1", 0), ramb, logic + memory, memory, ff)


def estimate(hw: HwConfig, top: str = "subrow_engine", parameters: Mapping[str, int] | None = None) -> Area:
    """Area of a module with these parameters (default: all of the HwConfig, which the engine takes).

    Takes minutes for an engine; kept in build/area until a source, a parameter or Yosys changes. Raises MissingTool
    without pyosys, BuildError with the end of Yosys's log.
    """
    try:
        version = metadata.version("pyosys")
    except metadata.PackageNotFoundError:
        raise MissingTool("the wheel 'pyosys' is not installed: run `make setup` (extra `sim`)") from None
    values = hw.rtl_parameters() if parameters is None else parameters
    sources = [p for p in rtl_sources() if p.suffix == ".sv"]
    generics = " ".join(f"-G{name}={value}" for name, value in sorted(values.items()))
    commands = [
        f"read_slang --ignore-assertions --top {top} {generics} {' '.join(map(str, sources))}",
        f"synth_xilinx -family xc7 -flatten -noiopad -noclkbuf -top {top}",
    ]
    digest = source_digest(sources, commands[0].replace(str(REPO_ROOT), ""), commands[1], version)

    def build(part: Path) -> None:
        script, log = (part.with_name(part.name + end) for end in (".ys", ".log"))
        part.parent.mkdir(parents=True, exist_ok=True)
        log.unlink(missing_ok=True)
        script.write_text("\n".join([*commands, f"tee -q -o {part} stat -json"]) + "\n", encoding="utf-8")
        run_logged([sys.executable, "-c", _RUN, script], log, env=tool_env())

    path = cached_build(BUILD / f"{top}-{hw.name}.json", digest, build)
    document = json.loads(path.read_text(encoding="utf-8"))
    if "design" not in document:
        raise BuildError(f"{path}: Yosys wrote no statistics; remove the file and try again")
    return count(document["design"]["num_cells_by_type"])


UNITS = ("subrow_wfetch", "subrow_afetch", "subrow_rfetch", "subrow_itrans", "subrow_array", "subrow_otrans",
         "subrow_post", "subrow_awrite", "subrow_ctrl", "subrow_axi_read", "subrow_axi_write")  # fmt: skip
"""Units of docs/hardware.md; the buffers between them stand in subrow_engine."""


def estimate_unit(hw: HwConfig, unit: str) -> Area:
    """Area of one unit as the engine instantiates it."""
    text = (RTL / f"{unit}.sv").read_text(encoding="utf-8")
    taken = set(re.findall(r"^\s*parameter\s+int unsigned\s+(\w+)", text, re.M))
    return estimate(hw, unit, {k: v for k, v in hw.rtl_parameters().items() if k in taken})


def area_json(hw: HwConfig, areas: Mapping[str, Area]) -> dict[str, Any]:
    """Areas by module, with their origin and what the HwConfig's part has, where it is known."""
    part = PARTS.get(hw.part)
    return {
        "hw": hw.name, "origin": ORIGIN, "tool": TOOL, "modules": {name: asdict(a) for name, a in areas.items()},
        "part": hw.part, "part_has": None if part is None else asdict(part),
    }  # fmt: skip


def area_table(hw: HwConfig, areas: Mapping[str, Area]) -> Table:
    """One line for each module; percent of the HwConfig's part where it is known."""
    part = PARTS.get(hw.part)
    limits = (None,) * 5 if part is None else astuple(part)
    rows = [(name, *(_cell(v, n) for v, n in zip(astuple(a), limits, strict=True))) for name, a in areas.items()]
    return table(f"{hw.name}: area {ORIGIN} by {TOOL} (synthesis for xc7)", ("module",), COLUMNS, rows)


def _cell(value: float, limit: float | None) -> str:
    return f"{value:,.10g}" if limit is None else f"{value:,.10g} ({100 * value / limit:.0f} %)"
