"""What each ATen operator of an exported network becomes in a Graph.

A handler takes the exported node and its arguments, defaults filled in, appends nodes and returns the name of the
tensor that holds the result; it raises Refused with the reason where it cannot.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from subrow.frontend.build import Builder, Refused, equal_windows, same_padding, window_attrs
from subrow.ir.graph import Shape


class Calls:
    """The exported graph's names on one side, the Graph being built on the other."""

    def __init__(self, build: Builder) -> None:
        self.build = build
        self.names: dict[str, str] = {}  # exported node -> Graph tensor
        self.arrays: dict[str, Tensor] = {}

    def name(self, item: Any) -> str:
        """The module's path where torch knows one that is still free, else the exported name."""
        path, kind = list((item.meta.get("nn_module_stack") or {"": ("", "")}).values())[-1][:2]
        leaf = str(getattr(kind, "__module__", kind)).startswith("torch.nn.")
        return str(path) if path and leaf and self.build.is_free(str(path)) else str(item.name)

    def tensor(self, value: Any) -> str:
        if not hasattr(value, "name") or value.name not in self.names:
            raise Refused(f"operand {value} is not a tensor that depends on the input")
        return self.names[value.name]

    def array(self, value: Any) -> NDArray[np.float32]:
        if not hasattr(value, "name") or value.name not in self.arrays:
            raise Refused(f"operand {value} is not a parameter of the network")
        return np.ascontiguousarray(self.arrays[value.name].detach().cpu().float().numpy())

    def params(self, **values: Any) -> dict[str, NDArray[np.float32]]:
        return {k: self.array(v) for k, v in values.items() if v is not None}

    def shape(self, value: Any) -> Shape:
        return self.build.shape(self.tensor(value))

    def add(self, item: Any, op: str, inputs: Sequence[Any], params: dict[str, Any] | None = None, **attrs: Any) -> str:
        """Append a node that reads exported values."""
        return self.build.add(self.name(item), op, [self.tensor(i) for i in inputs], attrs, params)


Handler = Callable[[Calls, Any, list[Any]], str]


def two(value: Any) -> tuple[int, int]:
    """(rows, columns) of an argument that may be one number; Refused for another count."""
    items = [int(v) for v in (value if isinstance(value, (list, tuple)) else [value])]
    if len(items) not in (1, 2):
        raise Refused(f"{items} has {len(items)} dimensions, only two are supported")
    return items[0], items[-1]


def _conv(calls: Calls, item: Any, args: list[Any]) -> str:
    x, weight, bias, stride, padding, dilation, groups = args[:7]
    params = calls.params(weight=weight, bias=bias)
    kernel, size, steps = params["weight"].shape[2:], calls.shape(x), two(stride)
    if len(kernel) != 2 or len(size) != 3:
        raise Refused(f"kernel {kernel} on an input {size}, only two dimensions are supported")
    if two(dilation) != (1, 1):
        raise Refused(f"dilation {two(dilation)}, only 1 is supported")
    if padding == "same":  # torch allows it with stride 1 only
        pad = same_padding((size[1], size[2]), (kernel[0], kernel[1]), steps)
    else:
        pad = (0, 0, 0, 0) if padding == "valid" else two(padding) * 2
    one = steps[0] if steps[0] == steps[1] else steps
    return calls.add(item, "conv", [x], params, stride=one, pad=pad, groups=int(groups))


def _convolution(calls: Calls, item: Any, args: list[Any]) -> str:
    x, weight, bias, stride, padding, dilation, transposed, _, groups = args[:9]
    if transposed:
        raise Refused("transposed convolution")
    return _conv(calls, item, [x, weight, bias, stride, padding, dilation, groups])


def _batch_norm(calls: Calls, item: Any, args: list[Any]) -> str:
    x, gamma, beta, mean, var, training, _, eps = args[:8]
    if training or mean is None:
        raise Refused("batch-norm in training mode; call model.eval() before exporting")
    stats = calls.params(mean=mean, var=var)
    ones = np.ones_like(stats["mean"])
    affine = calls.params(gamma=gamma, beta=beta)
    params = {"gamma": affine.get("gamma", ones), "beta": affine.get("beta", ones * 0), **stats}
    return calls.add(item, "batch_norm", [x], params, eps=float(eps))


def _pad(calls: Calls, item: Any, args: list[Any]) -> str:
    """constant_pad_nd; its widths come from the last dimension on, each low end first."""
    x, widths, value = args[0], [int(w) for w in args[1]], args[2]
    if value:
        raise Refused(f"with {value}, only zeros are supported")
    if any(widths[4:]):
        raise Refused(f"{widths} of channels or of the batch, only height and width are supported")
    left, right, top, bottom = [*widths, 0, 0, 0, 0][:4]
    return calls.build.border(calls.name(item), calls.tensor(x), (top, left, bottom, right))


def _functional_pad(calls: Calls, item: Any, args: list[Any]) -> str:
    x, widths, mode, value = args[:4]
    if mode != "constant":
        raise Refused(f"mode {mode!r}, only zeros are supported")
    return _pad(calls, item, [x, widths, value or 0])


def _relu(calls: Calls, item: Any, args: list[Any]) -> str:
    return calls.add(item, "relu", args[:1])


def _relu6(calls: Calls, item: Any, args: list[Any]) -> str:
    return calls.add(item, "relu6", args[:1])


def _clamp(calls: Calls, item: Any, args: list[Any]) -> str:
    """hardtanh and clamp: ReLU6 from 0 to 6, ReLU from 0 alone."""
    low, high = args[1], args[2] if len(args) > 2 else None
    if low != 0 or high not in (None, 6) and high != math.inf:
        raise Refused(f"limits {low} and {high}, only 0 and 6, or 0 alone, are supported")
    return calls.add(item, "relu6" if high == 6 else "relu", args[:1])


def _leaky_relu(calls: Calls, item: Any, args: list[Any]) -> str:
    return calls.add(item, "leaky_relu", args[:1], slope=float(args[1]))


def _max_pool(calls: Calls, item: Any, args: list[Any]) -> str:
    x, kernel, stride, padding, dilation, ceil = args[:6]
    if two(dilation) != (1, 1):
        raise Refused(f"dilation {two(dilation)}, only 1 is supported")
    attrs = window_attrs(calls.shape(x), two(kernel), two(stride or kernel), two(padding) * 2, ceil)
    return calls.add(item, "max_pool", [x], **attrs)


def _avg_pool(calls: Calls, item: Any, args: list[Any]) -> str:
    x, kernel, stride, padding, ceil, include, divisor = args[:7]
    if divisor is not None:
        raise Refused(f"divisor_override {divisor}")
    attrs = window_attrs(calls.shape(x), two(kernel), two(stride or kernel), two(padding) * 2, ceil)
    return calls.add(item, "avg_pool", [x], **attrs, count_include_pad=bool(include))


def _adaptive_avg_pool(calls: Calls, item: Any, args: list[Any]) -> str:
    size, output = calls.shape(args[0]), two(args[1])
    window = equal_windows(size, output)
    if output == (1, 1) and len(size) == 3:
        return calls.add(item, "global_avg_pool", args[:1])
    if window is None:
        return calls.tensor(args[0])
    attrs = window_attrs(size, window, window, (0, 0, 0, 0), False)
    return calls.add(item, "avg_pool", args[:1], **attrs, count_include_pad=True)


def _mean(calls: Calls, item: Any, args: list[Any]) -> str:
    rank = len(calls.shape(args[0])) + 1
    dims = sorted(int(d) % rank for d in args[1] or ()) if len(args) > 1 else []
    if rank != 4 or dims != [2, 3]:
        raise Refused("mean over other dimensions than height and width")
    pooled = calls.add(item, "global_avg_pool", args[:1])
    return pooled if args[2] else calls.build.add(f"{pooled}_flat", "flatten", [pooled])


def _linear(calls: Calls, item: Any, args: list[Any]) -> str:
    size = calls.shape(args[0])
    if len(size) != 1:
        raise Refused(f"input of shape {size}; flatten it first")
    return calls.add(item, "linear", args[:1], calls.params(weight=args[1], bias=args[2]))


def _add(calls: Calls, item: Any, args: list[Any]) -> str:
    if args[2] != 1:
        raise Refused(f"alpha {args[2]}, only 1 is supported")
    return calls.add(item, "add", args[:2])


def _concat(calls: Calls, item: Any, args: list[Any]) -> str:
    rank = len(calls.shape(args[0][0])) + 1
    if int(args[1]) % rank != 1:
        raise Refused(f"dimension {args[1]}, only the channels (1) are supported")
    return calls.add(item, "concat", args[0])


def _upsample(calls: Calls, item: Any, args: list[Any]) -> str:
    """upsample_nearest2d in both of its forms; what it does is in the shapes."""
    size, result = calls.shape(args[0]), _shape_of(item)
    if len(size) != 3 or result[1:] != (2 * size[1], 2 * size[2]):
        raise Refused(f"from {size} to {result}, only twice the height and width are supported")
    return calls.add(item, "upsample", args[:1], factor=2)


def _flatten(calls: Calls, item: Any, args: list[Any]) -> str:
    source, shape = calls.tensor(args[0]), _shape_of(item)
    if int(item.meta["val"].shape[0]) != int(item.args[0].meta["val"].shape[0]):
        raise Refused("changes the batch dimension")
    if shape == calls.build.shape(source):
        return source
    if len(shape) != 1:
        raise Refused(f"reshape from {calls.build.shape(source)} to {shape}; only flattening is supported")
    return calls.add(item, "flatten", args[:1])


def _squeeze(calls: Calls, item: Any, args: list[Any]) -> str:
    """Behind a global pool; a dimension at a time leaves (C, 1) in between, which stays (C, 1, 1) here."""
    source = calls.tensor(args[0])
    shape, batch = calls.build.shape(source), int(item.args[0].meta["val"].shape[0])
    if int(item.meta["val"].shape[0]) != batch or math.prod(shape) != shape[0]:
        raise Refused(f"of a tensor {shape}; only the height and width of (C, 1, 1) can be removed")
    return source if len(_shape_of(item)) != 1 else calls.add(item, "flatten", args[:1])


def _dropout(calls: Calls, item: Any, args: list[Any]) -> str:
    if args[2]:
        raise Refused("dropout in training mode; call model.eval() before exporting")
    return calls.tensor(args[0])


def _pass(calls: Calls, item: Any, args: list[Any]) -> str:
    return calls.tensor(args[0])


def _shape_of(item: Any) -> Shape:
    return tuple(int(d) for d in item.meta["val"].shape[1:])


HANDLERS: dict[str, Handler] = {
    "conv2d": _conv, "convolution": _convolution, "constant_pad_nd": _pad, "pad": _functional_pad,
    "batch_norm": _batch_norm, "linear": _linear,
    "relu": _relu, "relu_": _relu, "relu6": _relu6, "relu6_": _relu6, "hardtanh": _clamp, "hardtanh_": _clamp,
    "clamp": _clamp, "clamp_": _clamp, "clamp_min": _clamp, "clamp_min_": _clamp,
    "leaky_relu": _leaky_relu, "leaky_relu_": _leaky_relu,
    "max_pool2d": _max_pool, "avg_pool2d": _avg_pool, "adaptive_avg_pool2d": _adaptive_avg_pool, "mean": _mean,
    "add": _add, "add_": _add, "cat": _concat, "concat": _concat, "concatenate": _concat,
    "upsample_nearest2d": _upsample, "_upsample_nearest_exact2d": _upsample,
    "flatten": _flatten, "view": _flatten, "reshape": _flatten, "squeeze": _squeeze,
    "dropout": _dropout, "dropout_": _dropout, "feature_dropout": _dropout, "feature_dropout_": _dropout,
    "alias": _pass, "clone": _pass, "contiguous": _pass, "detach": _pass,
}  # fmt: skip
"""By the operator's name; a name that ends in _ works in place."""
