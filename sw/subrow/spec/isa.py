"""The instruction: one layer command of 128 bytes. This table is its only definition.

`hw/gen` holds the C++ and SystemVerilog views that scripts/gen.py makes from it. Numbers are little endian; field i
starts at the bit where field i - 1 ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from subrow.spec.errors import ProgramError

ISA_VERSION = 7
INSTRUCTION_BYTES = 128
MAX_TAPS = 36
OPCODE_LAYER = 1
RECORD_BYTES = 64


@dataclass(frozen=True)
class Field:
    """One bit field; `count` > 1 makes an array of that many equal fields."""

    name: str
    bits: int
    doc: str
    count: int = 1
    signed: bool = False

    @property
    def low(self) -> int:
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        return (1 << (self.bits - int(self.signed))) - 1


F = Field
FIELDS: tuple[Field, ...] = (
    F("opcode", 4, "1: layer; anything else stops the engine with error ILLEGAL_OPCODE"),
    F("tile", 2, "0: direct 2x2 quad, 1: F(2x2,3x3), 2: F(4x4,3x3), 3: one pixel, its reduction on four lanes"),
    F("implicit_index", 1, "1: step j of a sub-row takes channel j, and weight words carry no indices"),
    F("narrow_u", 1, "1: weights stand in memory in 4 bits; 0: in u_bits of the HwConfig"),
    F("resident", 1, "1: the weights of a pass are fetched once and stay; 0: fetched again for every block"),
    F("residual", 1, "1: add the tensor at res_offset"),
    F("pool", 1, "1: 2x2 maximum, stride 2, after the activation"),
    F("upsample", 1, "1: every output pixel is written as a square of 2x2; not with pool"),
    F("max_window", 1, "1: a direct layer reduces over the maximum of each window, not over its pixels"),
    F("leaky", 1, "1: sums below 0 take the channel's second multiplier, before the residual is added"),
    F("whole_v", 1, "1: a block's V has the whole V buffer to itself; 0: half of it, beside the next block's"),
    F("whole_a", 1, "1: a block's input has the whole activation buffer to itself; 0: half of it"),
    F("stride", 2, "input step of a direct layer: 1 or 2"),
    F("sub_s", 5, "steps per sub-row, 1..L"),
    F("layer_id", 15, "index of the counter record"),
    F("in_offset", 32, "input tensor: byte offset from the arena base"),
    F("out_offset", 32, "output tensor: byte offset from the arena base"),
    F("res_offset", 32, "residual tensor: byte offset from the arena base"),
    F("weight_offset", 32, "first chunk: byte offset from the program base"),
    F("in_h", 12, "input rows"),
    F("in_w", 12, "input columns"),
    F("in_cb", 12, "input channel blocks: ceil(C / L)"),
    F("conv_h", 12, "output rows before pooling"),
    F("conv_w", 12, "output columns before pooling"),
    F("out_h", 12, "output rows in memory"),
    F("out_w", 12, "output columns in memory"),
    F("out_cb", 12, "output channel blocks: ceil(K / L)"),
    F("kgs", 12, "output channel groups: ceil(K / Pk)"),
    F("pass_kgs", 12, "output channel groups of one pass over all blocks: kgs, or fewer when resident"),
    F("kernel_h", 6, "window rows of a direct or linear layer, else 1"),
    F("kernel_w", 6, "window columns of a direct or linear layer, else 1"),
    F("pad_top", 6, "zero rows above the input"),
    F("pad_left", 6, "zero columns left of the input"),
    F("in_row_words", 24, "activation words of an input row: in_cb * in_w"),
    F("in_row_bytes", 24, "from one input row to the next: in_row_words * L, or more when the input is a slice"),
    F("out_row_bytes", 24, "from one output row to the next: out_cb * out_w * L, or more when the output is a slice"),
    F("res_row_bytes", 24, "from one residual row to the next: out_cb * conv_w * L, or more"),
    F("v_words", 16, "V words of a tile and tap group: in_cb * kernel_h * kernel_w, linear a fourth, max_window in_cb"),
    F("red_words", 16, "V words that one output channel group reduces over"),
    F("v_kstep", 16, "first V word of group kg is kg * v_kstep: 0, or red_words for grouped layers"),
    F("chunk_words", 16, "weight words of one output channel group"),
    F("block_th", 10, "tile rows of a block"),
    F("block_tw", 10, "tile columns of a block"),
    F("blocks_y", 10, "blocks from top to bottom"),
    F("blocks_x", 10, "blocks from left to right"),
    F("q_count", 12, "tile groups of a block: interior, last column, last row, last row and column", count=4),
    F("act_min", 8, "lower clamp: 0 for ReLU, else -127", signed=True),
    F("act_max", 8, "upper clamp: 127 unless the activation saturates earlier", signed=True),
    F("res_mult", 16, "residual multiplier"),
    F("res_shift", 6, "residual right shift"),
    F("ev", 4, "right shift of V per tap position", count=MAX_TAPS),
    F("em", 4, "left shift of M per tap position", count=MAX_TAPS),
)
FIELD_BY_NAME = {f.name: f for f in FIELDS}
USED_BITS = sum(f.bits * f.count for f in FIELDS)
assert USED_BITS <= 8 * INSTRUCTION_BYTES

RECORD_FIELDS: tuple[str, ...] = (
    "layer_id",
    "cycles",  # from the layer's dispatch to its last write response
    "issued",  # cycles in which the array issued products
    "starved_input",  # the array waited for V
    "starved_weights",  # the array waited for weights
    "blocked_output",  # the array waited for the output side
    "read_bytes",  # activation and residual bytes read
    "weight_bytes",  # weight-port bytes read for this layer
)
"""Counter record: RECORD_BYTES / 8 little-endian 64-bit words, written at RECORD_ADDR + 64 * layer_id."""


def offsets() -> dict[str, int]:
    """First bit of every field."""
    result, position = {}, 0
    for f in FIELDS:
        result[f.name] = position
        position += f.bits * f.count
    return result


@dataclass(frozen=True)
class Instruction:
    """Field values by name; missing fields are 0. Raises ProgramError when a value does not fit its field."""

    values: Mapping[str, Any]

    def __post_init__(self) -> None:
        for name, value in self.values.items():
            f = FIELD_BY_NAME.get(name)
            if f is None:
                raise ProgramError(f"instruction has no field {name!r}")
            items = [value] if f.count == 1 else list(value)
            if len(items) > f.count:
                raise ProgramError(f"instruction field {name}: {len(items)} values, at most {f.count}")
            for item in items:
                if not f.low <= int(item) <= f.high:
                    raise ProgramError(f"instruction field {name} = {item}: outside {f.low}..{f.high}")

    def __getattr__(self, name: str) -> Any:
        f = FIELD_BY_NAME.get(name)
        if f is None or name == "values":
            raise AttributeError(name)
        items = [int(i) for i in self.values.get(name, ())] if f.count > 1 else []
        value = tuple(items + [0] * (f.count - len(items))) if f.count > 1 else int(self.values.get(name, 0))
        self.__dict__[name] = value  # the cycle model asks for the same few fields again and again
        return value

    def encode(self) -> bytes:
        word, position = 0, 0
        for f in FIELDS:
            items = [getattr(self, f.name)] if f.count == 1 else getattr(self, f.name)
            for item in items:
                word |= (item & ((1 << f.bits) - 1)) << position
                position += f.bits
        return word.to_bytes(INSTRUCTION_BYTES, "little")


def decode(data: bytes) -> Instruction:
    """Instruction from 128 bytes. Raises ProgramError on another length or on bits set beyond the last field."""
    if len(data) != INSTRUCTION_BYTES:
        raise ProgramError(f"instruction of {len(data)} bytes, must be {INSTRUCTION_BYTES}")
    word = int.from_bytes(data, "little")
    if word >> USED_BITS:
        raise ProgramError(f"instruction has bits set beyond bit {USED_BITS - 1}: corrupt or of another version")
    values: dict[str, Any] = {}
    for f in FIELDS:
        items = []
        for _ in range(f.count):
            raw = word & ((1 << f.bits) - 1)
            word >>= f.bits
            items.append(raw - (1 << f.bits) if f.signed and raw >> (f.bits - 1) else raw)
        values[f.name] = items[0] if f.count == 1 else tuple(items)
    return Instruction(values)


def decode_all(data: bytes) -> Iterable[Instruction]:
    if len(data) % INSTRUCTION_BYTES:
        raise ProgramError(f"instruction image of {len(data)} bytes is not a multiple of {INSTRUCTION_BYTES}")
    return [decode(data[i : i + INSTRUCTION_BYTES]) for i in range(0, len(data), INSTRUCTION_BYTES)]
