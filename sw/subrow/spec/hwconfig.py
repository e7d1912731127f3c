"""HwConfig: everything in hw/ that has a width, read from hw/configs/*.toml."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import reprlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from subrow.spec import toml
from subrow.spec.errors import ConfigError
from subrow.spec.winograd import TAP_LANES

NARROW_BITS = 4
"""Bits of a weight in memory in a layer with narrow_u."""
UNIT_BYTES = 8
"""A weight word in memory takes whole units of so many bytes."""
_MOST_BYTES = 1 << 16  # of a file; those that exist have 1,000
CONFIG_DIR = (Path(__file__).parent / "configs").resolve()  # hw/configs, also where only the package is installed


def _require(ok: bool, key: str, value: object, limit: str) -> None:
    if not ok:
        raise ConfigError(f"HwConfig {key} = {value!r}: must be {limit}")


def _is_pow2(n: int) -> bool:
    return n > 0 and n & (n - 1) == 0


@dataclass(frozen=True)
class HwConfig:
    """One hardware build. Units stand in the field comments; `load` reads and checks a TOML file.

    Raises ConfigError, naming the key, the value and the legal range.
    """

    name: str
    # [array]
    channels: int  # Pk, output channels in parallel; a power of two, at least sub_row
    tiles: int  # Pn, tiles in parallel; even, because two tiles share a DSP
    sub_row: int  # L, input channels in a sub-row; also the channels of one activation word
    # [precision]
    act_bits: int  # activations in memory
    u_bits: int  # transformed weights
    v_bits: int  # transformed inputs
    acc_bits: int  # array accumulators
    y_bits: int  # output transform and requantiser input
    narrow_u: bool  # the engine also reads layers whose weights stand in memory in NARROW_BITS
    # [buffers]
    act_words: int  # activation words per bank (8 banks), both halves
    v_words: int  # V-buffer words, both halves
    weight_words: int  # weight ring, words of 4 * channels weights
    param_groups: int  # parameter ring, groups of `channels` channels
    out_words: int  # output and residual buffers, activation words, both halves
    # [memory]
    weight_bytes: int  # width of the weight port
    burst_beats: int  # longest AXI burst
    bandwidth_gbs: float  # all ports together, 1e9 bytes per second
    latency_cycles: int  # first beat of a read after its address
    # [clock] [board]
    mhz: float
    board: str
    part: str
    # [memory], with a default: configurations that leave it out keep their digest
    act_port_words: int = 1  # activation words (sub_row bytes each) in a beat of the activation port

    def __post_init__(self) -> None:
        req = _require
        req(bool(self.name) and self.name.replace("-", "").isalnum(), "name", self.name, "letters, digits and '-'")
        req(self.sub_row in (4, 8, 16), "array.sub_row", self.sub_row, "4, 8 or 16")
        req(
            _is_pow2(self.channels) and self.sub_row <= self.channels <= 128,
            "array.channels", self.channels, f"a power of two, sub_row = {self.sub_row}..128",
        )
        req(self.tiles % 2 == 0 and 2 <= self.tiles <= 32, "array.tiles", self.tiles, "even, 2..32")
        req(self.act_bits == 8, "precision.act_bits", self.act_bits, "8")
        req(4 <= self.u_bits <= 16, "precision.u_bits", self.u_bits, "4..16")
        req(self.act_bits <= self.v_bits <= 16, "precision.v_bits", self.v_bits, "act_bits..16")
        low = self.u_bits + self.v_bits
        req(low <= self.acc_bits <= 40, "precision.acc_bits", self.acc_bits, f"{low} (u_bits + v_bits)..40")
        req(self.acc_bits <= self.y_bits <= 48, "precision.y_bits", self.y_bits, f"{self.acc_bits} (acc_bits)..48")
        for key in ("act_words", "v_words", "weight_words", "param_groups", "out_words"):
            value = getattr(self, key)
            req(_is_pow2(value) and 4 <= value <= 65536, f"buffers.{key}", value, "a power of two, 4..65536")
        wide = 8 * self.sub_row
        req(
            _is_pow2(self.weight_bytes) and 8 <= self.weight_bytes <= min(64, wide),
            "memory.weight_bytes", self.weight_bytes, f"a power of two, 8..{min(64, wide)} (8 * sub_row)",
        )
        req(self.act_port_words in (1, 2, 4), "memory.act_port_words", self.act_port_words, "1, 2 or 4")
        least = 4 * self.act_port_words * self.channel_blocks
        req(self.out_words >= least, "buffers.out_words", self.out_words,
            f"at least {least} (4 * act_port_words * channels / sub_row)")
        req(self.burst_beats in (4, 8, 16), "memory.burst_beats", self.burst_beats, "4, 8 or 16 (AXI3 limit)")
        req(0 < self.bandwidth_gbs <= 1000, "memory.bandwidth_gbs", self.bandwidth_gbs, "above 0, at most 1000")
        req(1 <= self.latency_cycles <= 1000, "memory.latency_cycles", self.latency_cycles, "1..1000")
        req(1 <= self.mhz <= 1000, "clock.mhz", self.mhz, "1..1000")
        room = NARROW_BITS * TAP_LANES * self.channels // 8  # bytes of a word's weights in 4 bits
        req(
            not self.narrow_u or (self.u_bits > NARROW_BITS and room >= self.weight_bytes),
            "precision.narrow_u", self.narrow_u,
            f"false with u_bits = {self.u_bits} and weight_bytes = {self.weight_bytes}: narrow weights need more than "
            f"{NARROW_BITS} u_bits, and those of a word ({room} bytes) a whole beat",
        )

    # ---- derived widths -------------------------------------------------------------------------------------------
    @property
    def idx_bits(self) -> int:
        """Bits of a weight's position in its sub-row: log2(L)."""
        return self.sub_row.bit_length() - 1

    @property
    def act_word_bytes(self) -> int:
        """Bytes of one activation word: L channels of one pixel."""
        return self.sub_row * self.act_bits // 8

    @property
    def act_port_bytes(self) -> int:
        """Width of the activation port."""
        return self.act_port_words * self.act_word_bytes

    @property
    def channel_blocks(self) -> int:
        """Activation words that the array's output channels fill: Pk / L."""
        return self.channels // self.sub_row

    @property
    def multipliers(self) -> int:
        return TAP_LANES * self.channels * self.tiles

    @property
    def products_per_dsp(self) -> int:
        """2 when two neighbouring tiles fit one 25 x 18 multiplier and their sums its 48-bit accumulator, else 1."""
        shift = self.u_bits + self.v_bits + 1
        return 2 if shift + self.v_bits <= 25 and shift + self.acc_bits <= 48 else 1

    @property
    def v_max(self) -> int:
        return (1 << (self.v_bits - 1)) - 1

    @property
    def u_max(self) -> int:
        return (1 << (self.u_bits - 1)) - 1

    def stored_bits(self, narrow: bool) -> int:
        """Bits of a weight in memory."""
        return NARROW_BITS if narrow else self.u_bits

    def weight_word_bits(self, implicit_index: bool, narrow: bool = False) -> int:
        """Bits of one weight word in memory, before padding; not narrow: those of a word of the weight ring, too."""
        index = 0 if implicit_index else self.idx_bits
        return TAP_LANES * self.channels * (self.stored_bits(narrow) + index)

    def weight_word_bytes(self, implicit_index: bool, narrow: bool) -> int:
        """Bytes of one weight word in memory: whole units of UNIT_BYTES, at least one beat of the weight port."""
        units = -(-self.weight_word_bits(implicit_index, narrow) // (8 * UNIT_BYTES))
        return max(units * UNIT_BYTES, self.weight_bytes)

    @property
    def param_group_bytes(self) -> int:
        """Bytes of the parameters of `channels` channels, 8 bytes each: always whole beats."""
        return self.channels * 8

    def weight_beats(self, words: int, implicit_index: bool, narrow: bool) -> int:
        """Beats of the weight port that hold the first `words` words of a chunk."""
        return -(-words * self.weight_word_bytes(implicit_index, narrow) // self.weight_bytes)

    def chunk_bytes(self, chunk_words: int, implicit_index: bool, narrow: bool) -> int:
        """Bytes of one output channel group in memory: parameters, then weight words, in whole beats."""
        return self.param_group_bytes + self.weight_beats(chunk_words, implicit_index, narrow) * self.weight_bytes

    def rtl_parameters(self) -> dict[str, int]:
        """Parameters of the SystemVerilog top module; the modules below take the ones that they need."""
        return {
            "Channels": self.channels,
            "Tiles": self.tiles,
            "SubRow": self.sub_row,
            "UBits": self.u_bits,
            "VBits": self.v_bits,
            "AccBits": self.acc_bits,
            "YBits": self.y_bits,
            "NarrowU": int(self.narrow_u),
            "ActWords": self.act_words,
            "VWords": self.v_words,
            "WeightWords": self.weight_words,
            "ParamGroups": self.param_groups,
            "OutWords": self.out_words,
            "WeightBytes": self.weight_bytes,
            "BurstBeats": self.burst_beats,
            "PortWords": self.act_port_words,
            "ConfigHash": self.hash32,
        }

    @property
    def bytes_per_cycle(self) -> float:
        return self.bandwidth_gbs * 1e3 / self.mhz

    @cached_property
    def digest(self) -> str:
        """Hex SHA-256 of every field but those at their default; its first 8 digits go into the ID register."""
        chosen = (f for f in dataclasses.fields(self) if getattr(self, f.name) != f.default)
        text = ";".join(f"{f.name}={getattr(self, f.name)!r}" for f in chosen)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def hash32(self) -> int:
        return int(self.digest[:8], 16)


def to_toml(hw: HwConfig) -> str:
    """TOML that `parse` reads as the same HwConfig, given its name."""
    lines = []
    for section, keys in _SECTIONS.items():
        lines += [f"[{section}]", *(f"{key} = {json.dumps(getattr(hw, key))}" for key in keys), ""]
    return "\n".join(lines)


_SECTIONS: dict[str, tuple[str, ...]] = {
    "array": ("channels", "tiles", "sub_row"),
    "precision": ("act_bits", "u_bits", "v_bits", "acc_bits", "y_bits", "narrow_u"),
    "buffers": ("act_words", "v_words", "weight_words", "param_groups", "out_words"),
    "memory": ("weight_bytes", "burst_beats", "bandwidth_gbs", "latency_cycles", "act_port_words"),
    "clock": ("mhz",),
    "board": ("board", "part"),
}

_DEFAULTS = frozenset(f.name for f in dataclasses.fields(HwConfig) if f.default is not dataclasses.MISSING)


def _typed(name: str, section: str, key: str, value: Any) -> Any:
    kind = HwConfig.__annotations__[key]
    if kind == "float" and type(value) is int and abs(value) < 1 << 53:
        value = float(value)
    if type(value).__name__ != kind or (kind == "float" and not math.isfinite(value)):
        kinds = {"int": "an integer", "bool": "true or false", "float": "a finite number", "str": "a string"}
        raise ConfigError(f"HwConfig {name}: {section}.{key} = {reprlib.repr(value)}: must be {kinds[kind]}")
    return value


def parse(text: str, name: str) -> HwConfig:
    """HwConfig from TOML text; unknown, missing and mistyped keys are errors that name the key."""
    try:
        data = toml.loads(text)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, or a number of too many digits
        raise ConfigError(f"HwConfig {name}: not valid TOML: {error}") from error
    unknown = set(data) - set(_SECTIONS)
    if unknown:
        raise ConfigError(f"HwConfig {name}: unknown section {sorted(unknown)[0]!r}; known: {sorted(_SECTIONS)}")
    values: dict[str, Any] = {"name": name}
    for section, keys in _SECTIONS.items():
        table = data.get(section)
        if not isinstance(table, dict):
            problem = "is missing" if table is None else "is not a section"
            raise ConfigError(f"HwConfig {name}: section [{section}] {problem}; needed: {', '.join(_SECTIONS)}")
        extra = set(table) - set(keys)
        if extra:
            raise ConfigError(f"HwConfig {name}: unknown key {section}.{sorted(extra)[0]}; known: {list(keys)}")
        for key in keys:
            if key not in table:
                if key in _DEFAULTS:
                    continue
                raise ConfigError(f"HwConfig {name}: key {section}.{key} is missing")
            values[key] = _typed(name, section, key, table[key])
    return HwConfig(**values)


def load(source: str | Path | HwConfig) -> HwConfig:
    """HwConfig by name (`tiny`: hw/configs/tiny.toml), by path, or as it is.

    Raises ConfigError when there is no such file, listing the names that exist, and naming the file and the key when
    it cannot be read or is not a HwConfig.
    """
    if isinstance(source, HwConfig):
        return source
    path = Path(source)
    if path.suffix != ".toml":
        path = CONFIG_DIR / f"{source}.toml"
    if path.is_dir() or not path.exists():
        names = ", ".join(sorted(p.stem for p in CONFIG_DIR.glob("*.toml")))
        reason = "is a folder" if path.is_dir() else "does not exist"
        raise ConfigError(
            f"HwConfig {str(source)!r}: {path} {reason}; known names: {names}; or give a path to a .toml"
        )
    try:
        return parse(_text(path), path.stem)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def known() -> list[HwConfig]:
    """Every HwConfig of hw/configs, by name."""
    return [load(path) for path in sorted(CONFIG_DIR.glob("*.toml"))]


def _text(path: Path) -> str:
    """A file's text. Raises ConfigError unless it is UTF-8 of at most _MOST_BYTES."""
    try:
        with open(path, "rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot read HwConfig: {error.strerror}") from error
    if len(data) > _MOST_BYTES:
        raise ConfigError(f"more than {_MOST_BYTES} bytes: not a HwConfig")
    if not data.strip():
        raise ConfigError("the file is empty; start from a copy of hw/configs/tiny.toml")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"not UTF-8 text: byte {error.start} is {data[error.start]:#04x}") from error
