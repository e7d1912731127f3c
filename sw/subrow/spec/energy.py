"""Energy of a layer from what the engine did: products, bytes in buffers and in memory, times published coefficients.

Everything here is *estimated*: the coefficients (energy.toml, each with its source) are those of another process and
know neither wires nor clocks nor static power, so that joules are an order of magnitude and only ratios of two Programs
mean something. Static power is left out: it would favour whatever is faster.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

from subrow.spec import toml
from subrow.spec.errors import ConfigError
from subrow.spec.hwconfig import HwConfig
from subrow.spec.isa import Instruction
from subrow.spec.roofline import roofline, tile_groups, traffic
from subrow.spec.timing.geometry import Geometry
from subrow.spec.winograd import TAP_LANES

TABLE = Path(__file__).with_name("energy.toml")
_KEYS = {
    "arithmetic": ("multiply_pj_8x8", "add_pj_per_bit"), "buffer": ("pj_per_byte",), "memory": ("pj_per_byte",),
}  # fmt: skip


@dataclass(frozen=True)
class Coefficients:
    """Picojoules of one operation, and where the figures of each section come from."""

    multiply_8x8: float
    add_bit: float
    buffer_byte: float
    memory_byte: float
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Activity:
    """What a layer did for one image: products and sums of the array, bytes through the buffers on chip, in memory."""

    products: int
    buffer_bytes: int
    memory_bytes: int


@dataclass(frozen=True)
class Energy:
    """Microjoules of one image, or of one layer of it; estimated."""

    multiply: float
    add: float
    buffers: float
    memory: float

    @property
    def total(self) -> float:
        """All of it."""
        return sum(astuple(self))


def coefficients(path: Path = TABLE) -> Coefficients:
    """The table. Raises ConfigError, naming the key, unless every figure is a positive number with a source."""
    try:
        data = toml.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: not an energy table: {error}") from error
    values = []
    for section, keys in _KEYS.items():
        table = data.get(section, {})
        if not isinstance(table, dict) or set(table) != {*keys, "source"} or not str(table["source"]).strip():
            raise ConfigError(f"{path}: section [{section}] must have {', '.join(keys)} and a source")
        for key in keys:
            if type(table[key]) is not float or not 0 < table[key] < 1e6:
                raise ConfigError(f"{path}: {section}.{key} = {table[key]!r}: must be a number above 0, below 1e6 pJ")
            values.append(table[key])
    multiply, add, buffer, memory = values
    return Coefficients(multiply, add, buffer, memory, tuple(data[section]["source"] for section in _KEYS))


def activity(ins: Instruction, hw: HwConfig, record: Mapping[str, int] | None = None) -> Activity:
    """What a layer does, from its counter record (isa.RECORD_FIELDS) where there is one, else from its instruction.

    The hardware counts array steps and the bytes of both ports; what it writes, and what passes through its buffers,
    follows from the instruction.
    """
    moved = traffic(ins, hw)
    steps = record["issued"] if record else round(roofline(ins, hw).compute)
    read = record["read_bytes"] + record["weight_bytes"] if record else moved.read + moved.weights
    return Activity(steps * hw.multipliers, _buffers(ins, hw, steps) + read + moved.written, read + moved.written)


def _buffers(ins: Instruction, hw: HwConfig, steps: int) -> int:
    """Bytes that pass between the units: into and out of the activation, V, weight, M and output buffers."""
    g = Geometry(ins, hw)
    lanes = TAP_LANES * hw.sub_row  # values of a V word
    tiles = tile_groups(ins)
    v_words = tiles * hw.tiles * g.tile.groups * ins.v_words * len(g.passes)
    made = v_words * lanes * (hw.act_bits + hw.v_bits) // 8  # read from the activation buffer, written as V
    used = steps * (hw.tiles * lanes * hw.v_bits + hw.weight_word_bits(bool(ins.implicit_index))) // 8
    sums = 2 * tiles * ins.kgs * g.tile.groups * g.nk * lanes * hw.acc_bits // 8
    return made + used + sums


def energy(done: Activity, hw: HwConfig, table: Coefficients) -> Energy:
    """Microjoules of an activity."""
    multiply = table.multiply_8x8 * hw.u_bits * hw.v_bits / 64
    return Energy(
        multiply=done.products * multiply * 1e-6,
        add=done.products * table.add_bit * hw.acc_bits * 1e-6,
        buffers=done.buffer_bytes * table.buffer_byte * 1e-6,
        memory=done.memory_bytes * table.memory_byte * 1e-6,
    )


def total(parts: Iterable[Energy]) -> Energy:
    """Sum of layers."""
    return Energy(*(sum(column) for column in zip(*(astuple(p) for p in parts), strict=True)))


def layer_energies(
    instructions: Sequence[Instruction], hw: HwConfig, records: Sequence[Mapping[str, int]] | None = None
) -> tuple[Energy, ...]:
    """Each layer for one image: from the records of a run, or without them from the instructions alone."""
    table = coefficients()
    found: Sequence[Mapping[str, int] | None] = records or [None] * len(instructions)
    return tuple(energy(activity(i, hw, r), hw, table) for i, r in zip(instructions, found, strict=True))


def network_energy(
    instructions: Sequence[Instruction], hw: HwConfig, records: Sequence[Mapping[str, int]] | None = None
) -> Energy:
    """One image of a network: all of its layers."""
    return total(layer_energies(instructions, hw, records))


def energy_json(spent: Energy) -> dict[str, float]:
    """Microjoules by part, and in all."""
    return {name: round(value, 3) for name, value in (*asdict(spent).items(), ("total", spent.total))}
