"""Register block and map from hw/regs/subrow_regs.rdl: `generate(out_dir)`.

Needs the extra `sim` (PeakRDL). Output depends on the description and on PeakRDL's version only.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from peakrdl_regblock import RegblockExporter
from peakrdl_regblock.cpuif.axi4lite import AXI4Lite_Cpuif_flattened
from peakrdl_regblock.udps import ALL_UDPS
from systemrdl import RDLCompiler
from systemrdl.node import AddrmapNode, FieldNode, RegNode
from systemrdl.rdltypes import OnWriteType

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "hw" / "regs" / "subrow_regs.rdl"
HEADER = "// GENERATED from hw/regs/subrow_regs.rdl by `make gen`: do not edit.\n"


def _access(field: FieldNode) -> str:
    if not field.is_sw_writable:
        return "ro"
    if field.get_property("singlepulse"):
        return "pulse"
    return "w1c" if field.get_property("onwrite") is OnWriteType.woclr else "rw"


def _register(reg: RegNode) -> dict[str, object]:
    fields = {
        f.inst_name: {
            "lsb": f.lsb, "width": f.width, "access": _access(f), "description": f.get_property("desc") or "",
        }
        for f in reg.fields()
    }
    return {"offset": reg.absolute_address, "description": reg.get_property("desc") or "", "fields": fields}


def _compile() -> AddrmapNode:
    compiler = RDLCompiler()
    for udp in ALL_UDPS:
        compiler.register_udp(udp, soft=False)
    compiler.compile_file(str(SOURCE))
    return compiler.elaborate(top_def_name="subrow_regs").top


def generate(out_dir: Path) -> list[Path]:
    """Write subrow_regs_pkg.sv, subrow_regs.sv and subrow_regs.json into `out_dir`; returns their paths."""
    top = _compile()
    out_dir.mkdir(parents=True, exist_ok=True)
    RegblockExporter().export(
        top, str(out_dir), cpuif_cls=AXI4Lite_Cpuif_flattened, default_reset_activelow=True, default_reset_async=False,
        address_width=12, reuse_hwif_typedefs=False,  # type names follow the hierarchy, not property hashes
    )
    written = [out_dir / "subrow_regs_pkg.sv", out_dir / "subrow_regs.sv"]
    for path in written:
        lines = (line.rstrip() for line in path.read_text(encoding="utf-8").splitlines())
        path.write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")
    table = {reg.inst_name: _register(reg) for reg in top.registers()}
    written.append(out_dir / "subrow_regs.json")
    written[-1].write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    return written


if __name__ == "__main__":
    for written_path in generate(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "hw" / "gen"):
        print(written_path)
