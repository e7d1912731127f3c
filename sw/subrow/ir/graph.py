"""Graph: the network after capture. Nodes in execution order; a node's name is also its output tensor's name.

Operators and their attributes (shapes without the batch: (C, H, W)):

| op | inputs | params | attrs |
|---|---|---|---|
| input | - | - | shape |
| conv | x [, residual after `fuse`] | weight [K, C/groups, kh, kw], bias [K]? | stride, pad (t, l, b, r), groups |
| linear | x | weight [K, C], bias [K]? | - |
| batch_norm | x | gamma, beta, mean, var [C] | eps |
| relu | x | - | - |
| max_pool | x | - | kernel 2, stride 2 |
| global_avg_pool | x | - | - |
| add | x, y | - | - |
| flatten | x | - | - |
| output | x | - | - |

Passes add attributes to conv: `relu` (bool), `pool` (bool), `tile` ("direct", "f2", "f4"), `density` (s, L); and the
parameter `u` [taps, K, C'] (Winograd-domain weights in hardware tap order; direct: [1, K, C*kh*kw] in the engine's
reduction order) with `mask` of the same shape (bool) once the layer is pruned. Quantisation adds `quant`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from subrow.spec.errors import UnsupportedError

OPS = (
    "input", "conv", "linear", "batch_norm", "relu", "max_pool", "global_avg_pool", "add", "flatten", "output",
)  # fmt: skip
Shape = tuple[int, ...]
Stage = Literal["captured", "compressed", "quantised"]


@dataclass(frozen=True)
class Node:
    """One operator. shape is that of its output, without the batch."""

    name: str
    op: str
    inputs: tuple[str, ...]
    shape: Shape
    attrs: Mapping[str, Any] = field(default_factory=dict)
    params: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.op not in OPS:
            known = ", ".join(OPS)
            raise UnsupportedError(f"node {self.name}: operator {self.op!r} is not supported; supported: {known}")

    def evolve(self, **changes: Any) -> Node:
        """A copy with fields replaced."""
        return dataclasses.replace(self, **changes)

    def with_attrs(self, **attrs: Any) -> Node:
        return self.evolve(attrs={**self.attrs, **attrs})

    def with_params(self, **params: NDArray[Any]) -> Node:
        return self.evolve(params={**self.params, **params})


@dataclass(frozen=True)
class Graph:
    """Nodes in execution order. Immutable: passes build new Graphs."""

    name: str
    nodes: tuple[Node, ...]

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def node(self, name: str) -> Node:
        """The node of that name; KeyError when there is none."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)

    @property
    def inputs(self) -> tuple[Node, ...]:
        return tuple(n for n in self.nodes if n.op == "input")

    @property
    def outputs(self) -> tuple[Node, ...]:
        return tuple(n for n in self.nodes if n.op == "output")

    @property
    def stage(self) -> Stage:
        """How far compilation has come: tiles are chosen before pruning, `quant` is set after it."""
        convs = [n for n in self.nodes if n.op == "conv"]
        if any("quant" in n.attrs for n in convs):
            return "quantised"
        return "compressed" if any("tile" in n.attrs for n in convs) else "captured"

    def consumers(self, name: str) -> tuple[Node, ...]:
        return tuple(n for n in self.nodes if name in n.inputs)

    def replace(self, nodes: Mapping[str, Node]) -> Graph:
        """The Graph with the named nodes exchanged (same names, same order)."""
        return Graph(self.name, tuple(nodes.get(n.name, n) for n in self.nodes))


def as_float32(array: Any) -> NDArray[np.float32]:
    return np.ascontiguousarray(array, dtype=np.float32)
