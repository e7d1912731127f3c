"""What both front ends build a Graph with: unique names, inferred shapes, and the reason why a node is refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subrow.ir.graph import Graph, Node, Shape
from subrow.ir.shapes import GraphError, infer, window_shape
from subrow.spec.errors import UnsupportedError

SUPPORTED = (
    "Conv2d of any kernel, stride, padding (zeros padded in front of it, too) and groups with dilation 1, Linear, "
    "BatchNorm in eval mode, "
    "ReLU, ReLU6, LeakyReLU, MaxPool2d, AvgPool2d, AdaptiveAvgPool2d whose windows are all equal, mean over height and "
    "width, addition of two tensors of one shape, concatenation of channels, nearest upsampling by 2, flatten, "
    "Dropout in eval mode"
)


Border = tuple[int, int, int, int]
"""Pixels added at the top, left, bottom and right of a map."""
_BORDER = "reads a tensor padded with zeros; only convolutions add such padding"


class Refused(Exception):
    """Why one node cannot be captured."""


class Builder:
    """Nodes in execution order. reserved: names that only inputs and outputs may take."""

    def __init__(self, reserved: Iterable[str] = ()) -> None:
        self.nodes: dict[str, Node] = {}
        self._reserved = set(reserved)
        self._bordered: dict[str, tuple[str, Border]] = {}  # tensors with a border of zeros, which only nodes add

    def shape(self, name: str) -> Shape:
        """Shape of a tensor without the batch."""
        if name not in self._bordered:
            return self.nodes[name].shape
        source, (top, left, bottom, right) = self._bordered[name]
        c, h, w = self.shape(source)
        return c, h + top + bottom, w + left + right

    def is_free(self, name: str) -> bool:
        return name not in self.nodes and name not in self._reserved and name not in self._bordered

    def unique(self, name: str) -> str:
        """The name, with a number behind it where it is taken."""
        free, count = name, 0
        while not self.is_free(free):
            count += 1
            free = f"{name}_{count}"
        return free

    def input(self, name: str, shape: Shape) -> str:
        self.nodes[name] = Node(name, "input", (), shape)
        return name

    def border(self, name: str, source: str, border: Border) -> str:
        """A tensor (C, H, W) with zeros around it, which the convolutions that read it add as their padding."""
        if len(self.shape(source)) != 3:
            raise Refused(f"of a tensor {self.shape(source)}; only (C, H, W) can be padded")
        if min(border) < 0:
            raise Refused(f"by {border} (top, left, bottom, right); it cannot cut pixels off")
        name = self.unique(name)
        self._bordered[name] = source, border
        return name

    def behind(self, name: str) -> Node:
        """The node whose values a tensor holds, inside its border if it has one."""
        return self.behind(self._bordered[name][0]) if name in self._bordered else self.nodes[name]

    def output(self, name: str, source: str) -> None:
        """Name a result of the network. Raises UnsupportedError where zeros surround it."""
        if source in self._bordered:
            raise UnsupportedError(f"output {name}: {_BORDER}")
        self._reserved.discard(name)
        name = self.unique(name)
        self.nodes[name] = Node(name, "output", (source,), self.shape(source))

    def add(
        self, name: str, op: str, inputs: Sequence[str], attrs: Mapping[str, Any] | None = None,
        params: Mapping[str, NDArray[Any]] | None = None,
    ) -> str:  # fmt: skip
        """Append a node and return its tensor's name. Raises Refused when its inputs or parameters do not fit."""
        while any(i in self._bordered for i in inputs):
            if op != "conv":
                raise Refused(_BORDER)
            source, border = self._bordered[inputs[0]]
            pad = tuple(a + b for a, b in zip((attrs or {})["pad"], border, strict=True))
            inputs, attrs = [source], {**(attrs or {}), "pad": pad}
        node = Node(self.unique(name), op, tuple(inputs), (), attrs or {}, params or {})
        try:
            node = node.evolve(shape=infer(node, [self.shape(i) for i in inputs]))
        except GraphError as error:
            raise Refused(str(error).partition(": ")[2]) from error
        self.nodes[node.name] = node
        return node.name

    def replace(self, node: Node) -> None:
        """Exchange the node of the same name; its shape must stay."""
        self.nodes[node.name] = node

    def placeholder(self, name: str, shape: Shape) -> str:
        """Stand in for a node that was refused, so that the nodes behind it can be looked at, too."""
        return self.input(self.unique(name), shape)

    def graph(self, name: str) -> Graph:
        return Graph(name, tuple(self.nodes.values()))


def window_attrs(
    size: Shape, kernel: tuple[int, int], stride: tuple[int, int], pad: tuple[int, int, int, int], ceil: bool
) -> dict[str, Any]:
    """Attributes of a pool over a map (C, H, W). Raises Refused where ceil_mode would add a window."""
    if len(size) != 3:
        raise Refused(f"input of shape {size} is not (C, H, W)")
    if ceil:
        padded = (size[1] + pad[0] + pad[2] - kernel[0], size[2] + pad[1] + pad[3] - kernel[1])
        if any(p % s for p, s in zip(padded, stride, strict=True)):
            whole = window_shape((size[1], size[2]), kernel, stride, pad)
            raise Refused(f"ceil_mode adds a window that is not whole to the {whole[0]} x {whole[1]} of input {size}")
    return {"kernel": kernel, "stride": stride, "pad": pad}


def equal_windows(size: Shape, output: tuple[int, int]) -> tuple[int, int] | None:
    """Kernel and stride of an adaptive pool from (C, H, W) to an output size; None when nothing changes.

    Raises Refused unless all windows are equal.
    """
    if len(size) != 3:
        raise Refused(f"input of shape {size} is not (C, H, W)")
    if size[1:] == output:
        return None
    if size[1] % output[0] or size[2] % output[1]:
        raise Refused(f"output size {output} does not divide the map {size}, so its windows differ")
    return size[1] // output[0], size[2] // output[1]


def same_padding(
    size: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], lower: bool = False
) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) that give ceil(size / stride) windows; an odd rest goes to the end, or with lower to
    the start."""
    total = [max((-(-d // s) - 1) * s + k - d, 0) for d, k, s in zip(size, kernel, stride, strict=True)]
    first = [-(-t // 2) if lower else t // 2 for t in total]
    return first[0], first[1], total[0] - first[0], total[1] - first[1]


def as_bias(value: NDArray[Any], shape: Shape) -> NDArray[np.float32] | None:
    """A constant that adds one number to each channel of a tensor, as a vector [C]; None when it is none."""
    values = np.asarray(value, np.float32)
    full = len(shape) + 1
    if values.ndim > full:
        return None
    values = values.reshape((1,) * (full - values.ndim) + values.shape)
    if values.shape[1] not in (1, shape[0]) or values.size != values.shape[1]:
        return None
    return np.broadcast_to(values.ravel(), (shape[0],)).copy()

