"""A Program as text."""

from __future__ import annotations

from subrow.spec import isa
from subrow.spec.program import Program
from subrow.spec.winograd import TileKind, tile


def disassemble(program: Program) -> str:
    """Header, tensors, then every instruction with all its fields that are not zero."""
    lines = [
        f"program {program.name} for {program.hw_name} ({program.hw_digest[:8]}): {len(program.layers)} layers, "
        f"{program.weights.size} weight bytes, {program.arena_bytes} arena bytes"
    ]
    for kind, tensors in (("input", program.inputs), ("output", program.outputs)):
        for t in tensors:
            lines.append(f"{kind} {t.name} {'x'.join(map(str, t.shape))} scale {t.scale:.6g} at {t.offset:#x}")
    for number, (info, code) in enumerate(zip(program.layers, program.decoded(), strict=True)):
        s, sub_row = info.density
        lines.append("")
        lines.append(
            f"{number:4d} {info.name}: {info.kind} {info.tile} {info.in_channels}->{info.out_channels} "
            f"density {s}/{sub_row} {info.macs} macs"
        )
        lines += _fields(code)
    return "\n".join(lines) + "\n"


def _fields(code: isa.Instruction) -> list[str]:
    taps = tile(TileKind(code.tile)).taps if code.tile < 3 else isa.MAX_TAPS
    parts, arrays = [], []
    for f in isa.FIELDS:
        value = getattr(code, f.name)
        if f.count > 1:
            shown = value[:taps] if f.count == isa.MAX_TAPS else value
            arrays.append(f"       {f.name} = {' '.join(map(str, shown))}")
        elif value:
            parts.append(f"{f.name}={value:#x}" if f.name.endswith("_offset") else f"{f.name}={value}")
    lines, line = [], "      "
    for part in parts:
        if len(line) + len(part) > 118:
            lines.append(line)
            line = "      "
        line += f" {part}"
    return [*lines, line, *arrays]
