"""Bits of each layer's weights: what the user asks for, on the conv nodes that quantisation and emission read."""

from __future__ import annotations

from collections.abc import Mapping

from subrow.ir.graph import Graph
from subrow.spec.errors import ConfigError
from subrow.spec.hwconfig import NARROW_BITS, HwConfig, known

Bits = str | int | Mapping[str, int]
"""`8`, `4`, `conv2=4,fc=8`, `4,fc=8`; or bits by name of the layer, with "" for all layers but the first."""
ALL = ""


def parse_bits(bits: Bits) -> dict[str, int]:
    """Bits by layer, ALL for those without a word of their own. Raises ConfigError for what is none of `Bits`."""
    if isinstance(bits, Mapping):
        return dict(bits)
    found: dict[str, int] = {}
    for part in str(bits).split(","):
        name, _, value = part.rpartition("=")
        if not value.strip().isdigit() or name.strip() in found or (not name and "=" in part):
            raise ConfigError(
                f"bits {bits!r}: give the bits of all weights, such as 4, of single layers, such as conv2=4,fc=8, or "
                "both, such as 4,fc=8; inputs of layers have the bits of the HwConfig"
            )
        found[name.strip()] = int(value)
    return found


def check_stored(bits: Bits, hw: HwConfig) -> None:
    """Raises ConfigError unless the engine stores weights in these bits."""
    stored = (NARROW_BITS, hw.u_bits) if hw.narrow_u else (hw.u_bits,)
    for name, value in parse_bits(bits).items():
        if value not in stored:
            others = ", ".join(f"{c.name} ({_stored_text(c)})" for c in known() if c.name != hw.name)
            raise ConfigError(
                f"bits {value}{f' of layer {name}' if name else ''}: weights of HwConfig {hw.name} have "
                f"{_stored_text(hw)} bits; other HwConfigs: {others}"
            )


def _stored_text(hw: HwConfig) -> str:
    return f"{NARROW_BITS} or {hw.u_bits}" if hw.narrow_u else str(hw.u_bits)


def with_bits(graph: Graph, bits: Bits | None, hw: HwConfig) -> Graph:
    """The Graph with the attribute `bits` on conv nodes whose weights are to have fewer bits than the hardware.

    A number for all layers leaves the first one out: it is small, stays dense, and its errors reach all others. Raises
    ConfigError for a layer that there is not, naming those that there are.
    """
    if bits is None:
        return graph
    chosen = parse_bits(bits)
    layers = [n for n in graph if n.op == "conv"]
    unknown = sorted(chosen.keys() - {n.name for n in layers} - {ALL})
    if unknown:
        names = ", ".join(n.name for n in layers)
        raise ConfigError(f"bits of layer {unknown[0]}: no such layer; {graph.name} has {names}")
    changed = {}
    for place, node in enumerate(layers):
        own = chosen.get(node.name, chosen.get(ALL) if place else None)
        if own is not None:
            rest = {k: v for k, v in node.attrs.items() if k != "bits"}
            changed[node.name] = node.evolve(attrs=rest if own == hw.u_bits else {**rest, "bits": own})
    return graph.replace(changed)
