"""torch.export to Graph. The batch dimension is stripped; every example has the batch first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from subrow.ir.graph import Graph, Node, Shape
from subrow.ir.verify import verify
from subrow.spec.errors import InputError, UnsupportedError

SUPPORTED = (
    "Conv2d 3x3 stride 1 padding 0 or 1, Conv2d 1x1 stride 1 or 2 padding 0, MaxPool2d 2x2 stride 2, "
    "AdaptiveAvgPool2d(1) or mean over height and width, Linear, ReLU, BatchNorm in eval mode, "
    "addition of two tensors, flatten, Dropout in eval mode"
)


class _Refused(Exception):
    """Why one node cannot be captured."""


def capture(model: nn.Module | ExportedProgram, example: Tensor | NDArray[Any], name: str | None = None) -> Graph:
    """Graph of a network. example: one batch of inputs, N x C x H x W, of any N; its values are not used.

    A Module is captured in eval mode and left as it was. Raises one UnsupportedError that names every node that the
    engine cannot run, and lists what it can.
    """
    program = model if isinstance(model, ExportedProgram) else _export(model, torch.as_tensor(np.asarray(example)))
    label = name or (type(model).__name__ if isinstance(model, nn.Module) else "network")
    return verify(_Capture(program).graph(label))


def _export(model: nn.Module, example: Tensor) -> ExportedProgram:
    training = {m: m.training for m in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            return torch.export.export(model, (example.float(),))
    except (RuntimeError, TypeError, ValueError) as error:
        raise UnsupportedError(
            f"{type(model).__name__}: torch.export cannot capture it for an input of shape {tuple(example.shape)}: "
            f"{str(error).splitlines()[0] if str(error) else type(error).__name__}; supported: {SUPPORTED}"
        ) from error
    finally:
        for module, mode in training.items():
            module.training = mode


def _pair(value: Any) -> tuple[int, ...]:
    items = list(value) if isinstance(value, (list, tuple)) else [value]
    return (int(items[0]), int(items[-1])) if items else ()


class _Capture:
    """One pass over the exported graph."""

    def __init__(self, program: ExportedProgram) -> None:
        self.program = program
        self.names: dict[str, str] = {}  # exported node -> Graph tensor
        self.shapes: dict[str, Shape] = {}
        self.arrays: dict[str, Tensor] = {}
        self.nodes: list[Node] = []
        self.ops: dict[str, Callable[[Any, list[Any]], Node | str]] = {
            "conv2d": self._conv, "convolution": self._convolution, "batch_norm": self._batch_norm,
            "relu": self._relu, "relu_": self._relu, "max_pool2d": self._max_pool,
            "adaptive_avg_pool2d": self._adaptive_pool, "mean": self._mean, "linear": self._linear, "add": self._add,
            "add_": self._add, "flatten": self._flatten, "view": self._flatten, "reshape": self._flatten,
            "dropout": self._dropout, "dropout_": self._dropout, "feature_dropout": self._dropout,
            "alias": self._pass, "clone": self._pass, "contiguous": self._pass,
        }  # fmt: skip

    def graph(self, name: str) -> Graph:
        for spec in self.program.graph_signature.input_specs:
            self._bind(spec)
        refused: list[str] = []
        for item in self.program.graph.nodes:
            if item.op == "placeholder":
                self._placeholder(item)
            elif item.op == "call_function":
                self._call(item, refused)
            elif item.op == "output" and not refused:
                self._outputs(item)
        if refused:
            raise UnsupportedError(f"network {name}: {'; '.join(refused)}. Supported: {SUPPORTED}")
        return Graph(name, tuple(self.nodes))

    def _bind(self, spec: Any) -> None:
        if spec.kind in (InputKind.PARAMETER, InputKind.BUFFER):
            source = self.program.state_dict if spec.target in self.program.state_dict else self.program.constants
            self.arrays[spec.arg.name] = source[spec.target]
        elif spec.kind is InputKind.CONSTANT_TENSOR:
            self.arrays[spec.arg.name] = self.program.constants[spec.target]

    def _placeholder(self, item: Any) -> None:
        if item.name in self.arrays:
            return
        value = item.meta.get("val")
        if not isinstance(value, Tensor) or value.ndim not in (2, 4):
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise InputError(f"input {item.name}: {shape}; must be a tensor N x C x H x W (or N x C)")
        self._append(item, Node(item.name, "input", (), tuple(int(d) for d in value.shape[1:])))

    def _name(self, item: Any) -> str:
        """The module's path where torch knows one that is still free, else the exported name."""
        path, kind = list((item.meta.get("nn_module_stack") or {"": ("", "")}).values())[-1][:2]
        leaf = str(getattr(kind, "__module__", kind)).startswith("torch.nn.")
        free = path and leaf and all(n.name != path for n in self.nodes)
        return str(path) if free else str(item.name)

    def _append(self, item: Any, node: Node) -> None:
        self.nodes.append(node)
        self.names[item.name] = node.name
        self.shapes[node.name] = node.shape

    def _call(self, item: Any, refused: list[str]) -> None:
        target = getattr(item.target, "_opname", None) or str(item.target)
        try:
            handler = self.ops.get(target)
            if handler is None:
                raise _Refused("not supported")
            args = self._arguments(item)
            result = handler(item, args)
        except _Refused as reason:
            refused.append(f"node {item.name}, op {item.target}: {reason}")
            self.names[item.name] = item.name
            value = item.meta.get("val")
            self.shapes[item.name] = tuple(int(d) for d in value.shape[1:]) if isinstance(value, Tensor) else ()
            return
        if isinstance(result, str):
            self.names[item.name] = result
            return
        self._append(item, result)
        if target.endswith("_"):  # in place: later readers of the argument see the new value
            self.names[item.args[0].name] = result.name

    def _arguments(self, item: Any) -> list[Any]:
        """Positional arguments with defaults filled in from the operator's schema."""
        args = list(item.args)
        for parameter in item.target._schema.arguments[len(args) :]:
            args.append(item.kwargs.get(parameter.name, parameter.default_value))
        return args

    def _outputs(self, item: Any) -> None:
        values = item.args[0] if isinstance(item.args[0], (tuple, list)) else (item.args[0],)
        for i, value in enumerate(values):
            source = self._in(value)
            name = "output" if len(values) == 1 else f"output{i}"
            self.nodes.append(Node(name, "output", (source,), self.shapes[source]))

    def _in(self, value: Any) -> str:
        if not hasattr(value, "name") or value.name not in self.names:
            raise _Refused(f"operand {value} is not a tensor that depends on the input")
        return self.names[value.name]

    def _array(self, value: Any) -> NDArray[np.float32]:
        if not hasattr(value, "name") or value.name not in self.arrays:
            raise _Refused(f"operand {value} is not a parameter of the network")
        return np.ascontiguousarray(self.arrays[value.name].detach().cpu().float().numpy())

    def _params(self, **values: Any) -> dict[str, NDArray[np.float32]]:
        return {k: self._array(v) for k, v in values.items() if v is not None}

    def _shape_of(self, item: Any) -> Shape:
        return tuple(int(d) for d in item.meta["val"].shape[1:])

    def _conv(self, item: Any, args: list[Any]) -> Node:
        x, weight, bias, stride, padding, dilation, groups = args[:7]
        if isinstance(padding, str):
            size = self._array(weight).shape[-1]
            padding = {"valid": 0, "same": size // 2}[padding]
        params = self._params(weight=weight, bias=bias)
        kernel = params["weight"].shape[2:]
        s, p, d = _pair(stride), _pair(padding), _pair(dilation)
        ok = (kernel == (3, 3) and s == (1, 1) and p in ((0, 0), (1, 1))) or (
            kernel == (1, 1) and s in ((1, 1), (2, 2)) and p == (0, 0)
        )
        if not ok or d != (1, 1) or groups != 1:
            raise _Refused(f"kernel {kernel}, stride {s}, padding {p}, dilation {d}, groups {groups}")
        attrs = {"stride": s[0], "pad": (p[0], p[1], p[0], p[1]), "groups": 1}
        return Node(self._name(item), "conv", (self._in(x),), self._shape_of(item), attrs, params)

    def _convolution(self, item: Any, args: list[Any]) -> Node:
        x, weight, bias, stride, padding, dilation, transposed, _, groups = args[:9]
        if transposed:
            raise _Refused("transposed convolution")
        return self._conv(item, [x, weight, bias, stride, padding, dilation, groups])

    def _batch_norm(self, item: Any, args: list[Any]) -> Node:
        x, gamma, beta, mean, var, training, _, eps = args[:8]
        if training or mean is None:
            raise _Refused("batch-norm in training mode; call model.eval() before exporting")
        stats = self._params(mean=mean, var=var)
        ones = np.ones_like(stats["mean"])
        affine = self._params(gamma=gamma, beta=beta)
        params = {"gamma": affine.get("gamma", ones), "beta": affine.get("beta", ones * 0), **stats}
        return Node(self._name(item), "batch_norm", (self._in(x),), self._shape_of(item), {"eps": float(eps)}, params)

    def _relu(self, item: Any, args: list[Any]) -> Node:
        return Node(self._name(item), "relu", (self._in(args[0]),), self._shape_of(item))

    def _max_pool(self, item: Any, args: list[Any]) -> Node:
        kernel, stride, padding, dilation = (_pair(a) for a in args[1:5])
        stride, ceil = stride or kernel, args[5]
        if kernel != (2, 2) or stride != (2, 2) or padding != (0, 0) or dilation != (1, 1):
            raise _Refused(f"kernel {kernel}, stride {stride}, padding {padding}, dilation {dilation}")
        source = self._in(args[0])
        if ceil and any(d % 2 for d in self.shapes[source][1:]):
            raise _Refused(f"ceil_mode on an odd map {self.shapes[source]}")
        return Node(self._name(item), "max_pool", (source,), self._shape_of(item), {"kernel": 2, "stride": 2})

    def _adaptive_pool(self, item: Any, args: list[Any]) -> Node:
        if _pair(args[1]) != (1, 1):
            raise _Refused(f"output size {tuple(args[1])}, only 1x1 is supported")
        return Node(self._name(item), "global_avg_pool", (self._in(args[0]),), self._shape_of(item))

    def _mean(self, item: Any, args: list[Any]) -> Node:
        source = self._in(args[0])
        dims = sorted(int(d) % 4 for d in args[1] or ()) if len(args) > 1 and len(self.shapes[source]) == 3 else []
        if dims != [2, 3]:
            raise _Refused("mean over other dimensions than height and width")
        c = self.shapes[source][0]
        name = self._name(item)
        pooled = Node(name, "global_avg_pool", (source,), (c, 1, 1))
        if args[2]:
            return pooled
        self._append(item, pooled)
        return Node(f"{name}_flat", "flatten", (name,), (c,))

    def _linear(self, item: Any, args: list[Any]) -> Node:
        source = self._in(args[0])
        if len(self.shapes[source]) != 1:
            raise _Refused(f"input of shape {self.shapes[source]}; flatten it first")
        params = self._params(weight=args[1], bias=args[2])
        return Node(self._name(item), "linear", (source,), self._shape_of(item), {}, params)

    def _add(self, item: Any, args: list[Any]) -> Node:
        if args[2] != 1:
            raise _Refused(f"alpha {args[2]}, only 1 is supported")
        x, y = self._in(args[0]), self._in(args[1])
        if self.shapes[x] != self.shapes[y]:
            raise _Refused(f"shapes {self.shapes[x]} and {self.shapes[y]} differ; broadcasting is not supported")
        return Node(self._name(item), "add", (x, y), self._shape_of(item))

    def _flatten(self, item: Any, args: list[Any]) -> Node | str:
        source, shape = self._in(args[0]), self._shape_of(item)
        batch = int(item.args[0].meta["val"].shape[0])
        if int(item.meta["val"].shape[0]) != batch:
            raise _Refused("changes the batch dimension")
        if shape == self.shapes[source]:
            return source
        if len(shape) != 1:
            raise _Refused(f"reshape from {self.shapes[source]} to {shape}; only flattening is supported")
        return Node(self._name(item), "flatten", (source,), shape)

    def _dropout(self, item: Any, args: list[Any]) -> str:
        if args[2]:
            raise _Refused("dropout in training mode; call model.eval() before exporting")
        return self._in(args[0])

    def _pass(self, item: Any, args: list[Any]) -> str:
        return self._in(args[0])
