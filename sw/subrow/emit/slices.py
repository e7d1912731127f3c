"""Layers of several groups cut into parts: each an instruction over some channel blocks of wider tensors."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from math import gcd, lcm

from subrow.ir.graph import Node
from subrow.ir.weights import Quant
from subrow.spec.hwconfig import HwConfig


@dataclass(frozen=True)
class Part:
    """What one instruction computes of a conv node: the output channels of some of its groups.

    node: the conv node with the weights of these alone, named after the channels, as in `pool[0:64]`, unless it has
    all of them; output: the tensor that it writes, the whole node's; source, target: first channel block that it reads,
    and that it writes and adds.
    """

    node: Node
    output: str
    source: int = 0
    target: int = 0


def part_sizes(node: Node, hw: HwConfig) -> list[int]:
    """Groups that a part may have, most first: all of them, or runs that begin at whole blocks on both sides.

    About equal parts for every number of parts, also rounded up to whole output channel groups of the array; and what
    is left over from those by itself.
    """
    total, weight = node.attrs["groups"], node.params["weight"]
    inputs, outputs = weight.shape[1], len(weight) // total  # channels of a group
    aligned = lcm(hw.sub_row // gcd(hw.sub_row, inputs), hw.sub_row // gcd(hw.sub_row, outputs))
    whole = lcm(aligned, hw.channels // gcd(hw.channels, outputs))
    sizes = {total, total // whole * whole or total}
    for step in (aligned, whole):
        runs = -(-total // step)
        sizes |= {min(total, -(-runs // count) * step) for count in range(1, runs + 1)}
    return sorted(sizes, reverse=True)


def parts(node: Node, groups: int, sub_row: int) -> list[Part]:
    """The node in parts of so many groups, one of `part_sizes`; the last may have fewer."""
    total, weight = node.attrs["groups"], node.params["weight"]
    if groups == total:
        return [Part(node, node.name)]
    inputs, outputs = weight.shape[1], len(weight) // total
    result = []
    for first in range(0, total, groups):
        part = _cut(node, first, min(groups, total - first))
        result.append(Part(part, node.name, first * inputs // sub_row, first * outputs // sub_row))
    return result


def _cut(node: Node, first: int, groups: int) -> Node:
    """The node with the weights of some groups."""
    outputs = len(node.params["weight"]) // node.attrs["groups"]
    low, high = first * outputs, (first + groups) * outputs
    attrs = {**node.attrs, "groups": groups}
    if "quant" in attrs:
        attrs["quant"] = _cut_quant(attrs["quant"], slice(low, high))
    return node.evolve(
        name=f"{node.name}[{low}:{high}]", shape=(high - low, *node.shape[1:]), attrs=attrs,
        params={name: value[low:high] for name, value in node.params.items()},
    )  # fmt: skip


def _cut_quant(quant: Quant, channels: slice) -> Quant:
    return dataclasses.replace(
        quant, u=quant.u[:, channels], bias=quant.bias[channels], mult=quant.mult[channels], shift=quant.shift[channels]
    )


def own_blocks(node: Node, hw: HwConfig) -> int:
    """Input channel blocks that one output channel group of a grouped layer reads.

    Where output channel groups read different blocks, the same number each, side by side and in order: that number.
    Else all blocks of the layer; the weights between its groups are then zeros.
    """
    k, inputs = node.params["weight"].shape[:2]
    outputs = k // node.attrs["groups"]
    blocks, kgs = -(-inputs * node.attrs["groups"] // hw.sub_row), -(-k // hw.channels)
    own, rest = divmod(blocks, kgs)
    for kg in range(kgs):
        low = kg * hw.channels // outputs * inputs // hw.sub_row
        last = (min((kg + 1) * hw.channels, k) - 1) // outputs
        if rest or low < kg * own or -(-(last + 1) * inputs // hw.sub_row) > (kg + 1) * own:
            return blocks
    return own
