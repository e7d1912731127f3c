"""A Program as text, and as a document for scripts."""

from __future__ import annotations

import dataclasses
from typing import Any

from subrow.spec import isa
from subrow.spec.metadata import tensor_bytes
from subrow.spec.program import LayerInfo, Program, TensorInfo
from subrow.spec.winograd import TileKind, tile


def disassemble(program: Program) -> str:
    """Header, tensors, then every instruction with all its fields that are not zero."""
    lines = [
        f"program {program.name} for {program.hw_name} ({program.hw_digest[:8]}): {len(program.layers)} layers, "
        f"{program.weights.size} weight bytes, {program.arena_bytes} arena bytes"
    ]
    for kind, tensors in (("input", program.inputs), ("output", program.outputs)):
        for t in tensors:
            rows = f", {t.row_bytes} bytes from row to row" if t.row_bytes else ""
            shape = "x".join(map(str, t.shape)) + (f" as {'x'.join(map(str, t.stored))}" if t.stored != t.shape else "")
            lines.append(f"{kind} {t.name} {shape} scale {t.scale:.6g} at {t.offset:#x}{rows}")
    for number, (info, code) in enumerate(zip(program.layers, program.decoded(), strict=True)):
        s, sub_row = info.density
        lines.append("")
        lines.append(
            f"{number:4d} {info.name}: {info.kind} {info.tile} {info.in_channels}->{info.out_channels} "
            f"density {s}/{sub_row}{_bits(info)} {info.macs} macs"
        )
        lines += _fields(code)
    return "\n".join(lines) + "\n"


def _bits(info: LayerInfo) -> str:
    """Bits of the weights in memory, where the Program says them."""
    return f" {info.details['bits']} bits" if "bits" in info.details else ""


def _fields(code: isa.Instruction) -> list[str]:
    taps = tile(TileKind(code.tile)).taps
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


def describe(program: Program) -> dict[str, Any]:
    """The Program as JSON values: memory map, inputs and outputs, layers, every instruction field by name.

    Offsets and sizes are bytes: those of instructions and weights from the program base, those of tensors from the
    arena base. A tensor takes whole blocks of L channels. Some channel blocks of a wider tensor have `row_bytes`, from
    one row to the next, and `bytes` without what lies between. `weights.bytes` is None where the Program does not say.
    """
    codes = program.decoded()
    layers = [_layer(program, number, code) for number, code in enumerate(codes)]
    return {
        "name": program.name, "hw": program.hw_name, "hw_digest": program.hw_digest, "digest": program.digest(),
        "memory": {
            "instructions": {"offset": 0, "bytes": int(program.instructions.size)},
            "weights": {"offset": program.weight_base, "bytes": int(program.weights.size)},
            "arena": {"bytes": program.arena_bytes, "tensors": _tensors(program, layers)},
        },
        "inputs": [dataclasses.asdict(t) for t in program.inputs],
        "outputs": [dataclasses.asdict(t) for t in program.outputs],
        "layers": layers,
        "instructions": [dict(code.values) for code in codes],
    }  # fmt: skip


def _layer(program: Program, number: int, code: isa.Instruction) -> dict[str, Any]:
    info: LayerInfo = program.layers[number]
    sub_row = info.density[1]
    source = _place(code.in_offset, code.in_h, code.in_cb * code.in_w * sub_row, code.in_row_bytes)
    target = _place(code.out_offset, code.out_h, code.out_cb * code.out_w * sub_row, code.out_row_bytes)
    added = _place(code.res_offset, code.conv_h, code.out_cb * code.conv_w * sub_row, code.res_row_bytes)
    return {
        "name": info.name, "kind": info.kind, "tile": info.tile, "density": f"{info.density[0]}/{info.density[1]}",
        "macs": info.macs, "in_channels": info.in_channels, "out_channels": info.out_channels,
        "instruction_offset": number * isa.INSTRUCTION_BYTES,
        "weights": {
            "offset": code.weight_offset, "bytes": info.details.get("weight_bytes"), "bits": info.details.get("bits"),
        },
        "input": source, "residual": added if code.residual else None, "output": target,
    }  # fmt: skip


def _place(offset: int, rows: int, used: int, row_bytes: int) -> dict[str, int]:
    """Place of a tensor with so many bytes in each row; `row_bytes` only where there are others between its rows."""
    place = {"offset": offset, "bytes": rows * used}
    return place if row_bytes in (0, used) else place | {"row_bytes": row_bytes}


def _tensors(program: Program, layers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Tensors of the arena in the order in which they are written: the inputs, then each layer's output."""
    sub_row = program.layers[0].density[1]

    def given(t: TensorInfo) -> dict[str, Any]:
        rows = t.stored[1]
        return {"name": t.name, **_place(t.offset, rows, tensor_bytes(t.stored, sub_row) // rows, t.row_bytes)}

    return [*map(given, program.inputs), *({"name": i["name"], **i["output"]} for i in layers)]
