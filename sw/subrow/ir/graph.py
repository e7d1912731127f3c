"""Graph: the network after capture. Nodes in execution order; a node's name is also its output tensor's name.

Operators and their attributes (shapes without the batch: (C, H, W), or (C,) once flattened):

| op | inputs | params | attrs |
|---|---|---|---|
| input | - | - | - |
| conv | x [, residual after `fuse`] | weight [K, C/groups, kh, kw], bias [K]? | stride, pad, groups |
| linear | x | weight [K, C], bias [K]? | - |
| batch_norm | x | gamma, beta, mean, var [C] | eps |
| relu, relu6 | x | - | - |
| leaky_relu | x | - | slope (x < 0 gives slope * x; 0 <= slope <= 1) |
| max_pool | x | - | kernel, stride, pad (never the maximum) |
| avg_pool | x | - | kernel, stride, pad, count_include_pad (zeros of the border count in the divisor) |
| global_avg_pool | x | - | - |
| upsample | x | - | factor 2 (nearest neighbour) |
| concat | x, ... | - | - (along the channels) |
| add | x, y | - | - |
| flatten | x | - | - |
| output | x | - | - |

kernel and stride are (rows, columns), or one number for both; pad is (top, left, bottom, right), default 0. Windows
that do not fit whole are dropped (no ceil_mode), and dilation is always 1.

Any node may carry `out_scale`: the real value of one int8 step of its output, where the network's file has it;
calibration takes it over. Passes add attributes to conv: `act` ("relu", "relu6", behind the residual; "leaky" with
`slope`, before it; absent: none), `pool` (bool: 2x2 maximum, stride 2, after the activation), `upsample` (bool: nearest
neighbour by 2, in the pool's place), `max_window` (rows, columns: stride and pad are those of windows of this size,
whose maximum the weights, 1x1, multiply; as in max_pool the border is never the maximum), `tile` ("direct", "f2",
"f4"), `density` (s, L), `bits` (of its integer weights; absent: u_bits of the HwConfig), `linear` (bool: from a linear
layer); and the parameter `u` [taps, K, C'] (Winograd-domain
weights in hardware tap order; direct: [1, K, C*kh*kw] in the engine's reduction order) with `mask` of the same shape
(bool) once the layer is pruned. Quantisation adds `quant`. Emission turns the input of a stem into the shape that it
has in memory; the conv that reads it then has `image_window` (C, rows, columns), its window over the image.
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
    "input", "conv", "linear", "batch_norm", "relu", "relu6", "leaky_relu", "max_pool", "avg_pool", "global_avg_pool",
    "upsample", "concat", "add", "flatten", "output",
)  # fmt: skip
ACTIVATIONS = {"relu": "relu", "relu6": "relu6", "leaky_relu": "leaky"}
"""Value of a conv's attribute `act` for each operator that is an activation."""
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


def pair(value: Any) -> tuple[int, int]:
    """(rows, columns) of a kernel or a stride that may be one number for both."""
    rows, columns = value if isinstance(value, (tuple, list)) else (value, value)
    return int(rows), int(columns)


def window(node: Node) -> tuple[int, int]:
    """(rows, columns) of a convolution's window: what its weights cover, or what a maximum is taken of before them."""
    return pair(node.attrs.get("max_window", node.params["weight"].shape[2:]))


def pads(node: Node) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) of a window's node."""
    top, left, bottom, right = node.attrs.get("pad", (0, 0, 0, 0))
    return int(top), int(left), int(bottom), int(right)


def as_float32(array: Any) -> NDArray[np.float32]:
    return np.ascontiguousarray(array, dtype=np.float32)
