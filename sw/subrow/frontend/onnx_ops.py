"""What each ONNX operator becomes in a Graph.

A handler takes a node and its attributes, appends nodes and returns the name of the tensor that holds the first output,
or None when that is a constant; it raises Refused with the reason where it cannot.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from subrow.frontend.build import Builder, Refused, as_bias, same_padding, window_attrs
from subrow.ir.graph import Shape, as_float32

STANDARD = ("", "ai.onnx")
FREE_BATCH = 1_000_003
"""Batch of a model that leaves it free: a prime, so that no product with another size looks like it."""

Attrs = dict[str, Any]


class Calls:
    """ONNX's tensors on one side, the Graph being built on the other."""

    def __init__(self, build: Builder, constants: dict[str, NDArray[Any]]) -> None:
        self.build, self.constants = build, constants
        self.names: dict[str, str] = {}  # ONNX tensor -> Graph tensor
        self.quantised: dict[str, tuple[float, int]] = {}  # ONNX tensors that hold integers: scale, zero point
        self.uses: Counter[str] = Counter()
        self.batch: int | None = None

    def has(self, node: onnx.NodeProto, i: int) -> bool:
        """Whether an optional input is there."""
        return i < len(node.input) and node.input[i] != ""

    def tensor(self, node: onnx.NodeProto, i: int = 0) -> str:
        name = node.input[i]
        if name in self.quantised:
            raise Refused(f"operand {name} holds integers; only DequantizeLinear may read it")
        if name not in self.names:
            raise Refused(f"operand {name} is not a tensor that depends on the input")
        return self.names[name]

    def shape(self, node: onnx.NodeProto, i: int = 0) -> Shape:
        return self.build.shape(self.tensor(node, i))

    def constant(self, node: onnx.NodeProto, i: int) -> NDArray[Any]:
        if node.input[i] not in self.constants:
            raise Refused(f"operand {node.input[i]} is not a constant of the file")
        return self.constants[node.input[i]]

    def params(self, node: onnx.NodeProto, **positions: int) -> dict[str, NDArray[np.float32]]:
        """Parameters by name from inputs by position; absent ones are left out."""
        return {k: as_float32(self.constant(node, i)) for k, i in positions.items() if self.has(node, i)}

    def add(self, node: onnx.NodeProto, op: str, params: dict[str, Any] | None = None, **attrs: Any) -> str:
        """Append a node that reads the first input."""
        return self.build.add(node.name or node.output[0], op, [self.tensor(node)], attrs, params)


Handler = Callable[[Calls, onnx.NodeProto, Attrs], str | None]


def _two(attrs: Attrs, name: str) -> tuple[int, int]:
    values = attrs.get(name, [1, 1])
    if len(values) != 2:
        raise Refused(f"{name} {list(values)}, only two dimensions are supported")
    return int(values[0]), int(values[1])


def _window(size: Shape, attrs: Attrs, kernel: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
    """Stride and (top, left, bottom, right) of a convolution or pool over (C, H, W)."""
    if _two(attrs, "dilations") != (1, 1):
        raise Refused(f"dilations {attrs['dilations']}, only 1 is supported")
    if len(size) != 3:
        raise Refused(f"input of shape {size} is not (C, H, W)")
    stride, auto = _two(attrs, "strides"), attrs.get("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        return stride, same_padding((size[1], size[2]), kernel, stride, auto == "SAME_LOWER")
    given = attrs.get("pads", (0, 0, 0, 0)) if auto == "NOTSET" else (0, 0, 0, 0)
    if len(given) != 4:
        raise Refused(f"pads {list(given)}, must be top, left, bottom, right")
    top, left, bottom, right = given
    return stride, (int(top), int(left), int(bottom), int(right))


def _conv(calls: Calls, node: onnx.NodeProto, attrs: Attrs) -> str:
    params = calls.params(node, weight=1, bias=2)
    shape = params["weight"].shape
    if len(shape) != 4:
        raise Refused(f"weight {shape}, only two dimensions are supported")
    stride, pad = _window(calls.shape(node), attrs, (shape[2], shape[3]))
    one = stride[0] if stride[0] == stride[1] else stride
    return calls.add(node, "conv", params, stride=one, pad=pad, groups=int(attrs.get("group", 1)))


def _pad(calls: Calls, node: onnx.NodeProto, attrs: Attrs) -> str:
    """Zeros around a map; widths are all low ends, then all high ends, of the axes named (all without a name)."""
    value = calls.constant(node, 2) if calls.has(node, 2) else np.zeros(1)
    if attrs.get("mode", "constant") != "constant" or value.any():
        raise Refused(f"mode {attrs.get('mode', 'constant')!r} with {value}, only zeros are supported")
    rank = len(calls.shape(node)) + 1
    axes = [int(a) % rank for a in calls.constant(node, 3)] if calls.has(node, 3) else list(range(rank))
    low, high = calls.constant(node, 1).reshape(2, -1).tolist()
    widths = {axis: (int(a), int(b)) for axis, a, b in zip(axes, low, high, strict=True) if a or b}
    if set(widths) - {2, 3}:
        raise Refused(f"of axes {sorted(widths)}, only height (2) and width (3) are supported")
    (top, bottom), (left, right) = widths.get(2, (0, 0)), widths.get(3, (0, 0))
    return calls.build.border(node.name or node.output[0], calls.tensor(node), (top, left, bottom, right))


def _gemm(calls: Calls, node: onnx.NodeProto, attrs: Attrs) -> str:
    if attrs.get("transA", 0):
        raise Refused("transA 1, only 0 is supported")
    weight = as_float32(calls.constant(node, 1)) * np.float32(attrs.get("alpha", 1.0))
    params = {"weight": as_float32(weight if attrs.get("transB", 0) else weight.T)}
    if calls.has(node, 2):
        bias = as_bias(calls.constant(node, 2), (len(params["weight"]),))
        if bias is None:
            raise Refused(f"C of shape {calls.constant(node, 2).shape}, must be one number for each output")
        params["bias"] = bias * np.float32(attrs.get("beta", 1.0))
    return _linear(calls, node, params)


def _matmul(calls: Calls, node: onnx.NodeProto, attrs: Attrs) -> str:
    weight = calls.constant(node, 1)
    if weight.ndim != 2:
        raise Refused(f"matrix of shape {weight.shape}, must be C x K")
    return _linear(calls, node, {"weight": as_float32(weight.T)})


def _linear(calls: Calls, node: onnx.NodeProto, params: dict[str, Any]) -> str:
    if len(calls.shape(node)) != 1:
        raise Refused(f"input of shape {calls.shape(node)}; flatten it first")
    return calls.add(node, "linear", params)


def _batch_norm(calls: Calls, node: onnx.NodeProto, attrs: Attrs) -> str:
    if attrs.get("training_mode", 0):
        raise Refused("training_mode 1; export the model in eval mode")
    params = calls.params(node, gamma=1, beta=2, mean=3, var=4)
    return calls.add(node, "batch_norm", params, eps=float(attrs.get("epsilon", 1e-5)))


def _relu(calls: Calls, node: onnx.NodeProto, attrs: Attrs) -> str:
    return calls.add(node, "relu")


def _clip(calls: Calls, node: onnx.NodeProto, attrs: Attrs) -> str:
    low, high = (float(calls.constant(node, i)) if calls.has(node, i) else None for i in (1, 2))
    unbounded = high is None or high >= float(np.finfo(np.float32).max)
    if low != 0 or not (unbounded or high == 6):
        raise Refused(f"limits {low} and {high}, only 0 and 6, or 0 alone, are supported")
    return calls.add(node, "relu" if unbounded else "relu6")


def _leaky_relu(calls: Calls, node: onnx.NodeProto, attrs: Attrs) -> str:
    return calls.add(node, "leaky_relu", slope=float(attrs.get("alpha", 0.01)))


def _pool(calls: Calls, node: onnx.NodeProto, attrs: Attrs) -> str:
    kernel, size = _two(attrs, "kernel_shape"), calls.shape(node)
    stride, pad = _window(size, attrs, kernel)
    window = window_attrs(size, kernel, stride, pad, bool(attrs.get("ceil_mode", 0)))
    if node.op_type == "MaxPool":
        return calls.add(node, "max_pool", **window)
    return calls.add(node, "avg_pool", **window, count_include_pad=bool(attrs.get("count_include_pad", 0)))


def _global_avg_pool(calls: Calls, node: onnx.NodeProto, attrs: Attrs) -> str:
    return calls.add(node, "global_avg_pool")


def _reduce_mean(calls: Calls, node: onnx.NodeProto, attrs: Attrs) -> str:
    size = calls.shape(node)
    axes = calls.constant(node, 1).ravel() if calls.has(node, 1) else attrs.get("axes", ())
    if len(size) != 3 or sorted(int(a) % 4 for a in axes) != [2, 3]:
        raise Refused(f"axes {[int(a) for a in axes]}, only height and width (2, 3) are supported")
    pooled = calls.add(node, "global_avg_pool")
    return pooled if attrs.get("keepdims", 1) else calls.build.add(f"{pooled}_flat", "flatten", [pooled])


def _flatten(calls: Calls, node: onnx.NodeProto, attrs: Attrs) -> str:
    size = calls.shape(node)
    if int(attrs.get("axis", 1)) % (len(size) + 1) != 1:
        raise Refused(f"axis {attrs['axis']}, only 1 is supported")
    return calls.tensor(node) if len(size) == 1 else calls.add(node, "flatten")


def _reshape(calls: Calls, node: onnx.NodeProto, attrs: Attrs) -> str:
    size, target = calls.shape(node), [int(d) for d in calls.constant(node, 1).ravel()]
    own = [calls.batch or FREE_BATCH, *size]
    if not attrs.get("allowzero", 0):
        target = [own[i] if d == 0 and i < len(own) else d for i, d in enumerate(target)]
    if target.count(-1) == 1:
        known = math.prod(d for d in target if d != -1)
        target[target.index(-1)] = math.prod(own) // known if known and math.prod(own) % known == 0 else -1
    if target == own:
        return calls.tensor(node)
    if target != [own[0], math.prod(size)]:
        raise Refused(f"from {size} to {list(calls.constant(node, 1).ravel())}; only flattening is supported")
    return calls.add(node, "flatten")


def _squeeze(calls: Calls, node: onnx.NodeProto, attrs: Attrs) -> str:
    axes = sorted(int(a) % 4 for a in calls.constant(node, 1).ravel()) if calls.has(node, 1) else []
    if axes != [2, 3] or calls.shape(node)[1:] != (1, 1):
        raise Refused(f"axes {axes} of {calls.shape(node)}; only the height and width of (C, 1, 1) can be removed")
    return calls.add(node, "flatten")


def _concat(calls: Calls, node: onnx.NodeProto, attrs: Attrs) -> str:
    if int(attrs["axis"]) % (len(calls.shape(node)) + 1) != 1:
        raise Refused(f"axis {attrs['axis']}, only the channels (1) are supported")
    inputs = [calls.tensor(node, i) for i in range(len(node.input))]
    return calls.build.add(node.name or node.output[0], "concat", inputs)


def _resize(calls: Calls, node: onnx.NodeProto, attrs: Attrs) -> str:
    size, mode = calls.shape(node), attrs.get("mode", "nearest")
    if mode != "nearest" or "axes" in attrs or len(size) != 3:
        raise Refused(f"mode {mode!r} of {size}, only 'nearest' over height and width is supported")
    if calls.has(node, 3):
        target = [int(d) for d in calls.constant(node, 3).ravel()][1:]
    elif calls.has(node, 2):
        scales = [float(s) for s in calls.constant(node, 2).ravel()]
        target = [int(math.floor(s * d)) for s, d in zip(scales[1:], size, strict=True)]
    else:
        raise Refused("neither scales nor sizes are given")
    if target != [size[0], 2 * size[1], 2 * size[2]]:
        raise Refused(f"from {size} to {target}, only twice the height and width are supported")
    for length in size[1:]:
        if not np.array_equal(_nearest(length, attrs), np.arange(2 * length) // 2):
            how = (attrs.get("coordinate_transformation_mode", "half_pixel"), attrs.get("nearest_mode"))
            raise Refused(f"{how} does not repeat every pixel twice")
    return calls.add(node, "upsample", factor=2)


def _nearest(length: int, attrs: Attrs) -> NDArray[np.int64]:
    """Source position of each of 2 * length pixels."""
    i = np.arange(2 * length, dtype=np.float64)
    places = {
        "half_pixel": (i + 0.5) / 2 - 0.5, "half_pixel_symmetric": (i + 0.5) / 2 - 0.5,
        "pytorch_half_pixel": (i + 0.5) / 2 - 0.5, "asymmetric": i / 2,
        "align_corners": i * (length - 1) / (2 * length - 1),
    }  # fmt: skip
    mode = attrs.get("coordinate_transformation_mode", "half_pixel")
    if mode not in places:
        raise Refused(f"coordinate_transformation_mode {mode!r} is not supported")
    x = places[mode]
    rounded = {
        "round_prefer_floor": np.ceil(x - 0.5), "round_prefer_ceil": np.floor(x + 0.5), "floor": np.floor(x),
        "ceil": np.ceil(x),
    }[attrs.get("nearest_mode", "round_prefer_floor")]  # fmt: skip
    return np.clip(rounded, 0, length - 1).astype(np.int64)


def _add(calls: Calls, node: onnx.NodeProto, attrs: Attrs) -> str:
    fixed = [i for i in (0, 1) if node.input[i] in calls.constants]
    if not fixed:
        return calls.build.add(node.name or node.output[0], "add", [calls.tensor(node, i) for i in (0, 1)])
    source = calls.tensor(node, 1 - fixed[0])
    shape, value = calls.build.shape(source), calls.constant(node, fixed[0])
    bias = as_bias(value, shape)
    if bias is None:
        raise Refused(f"constant of shape {value.shape} to {shape}; only one number for each channel is supported")
    before = calls.build.nodes.get(source)  # none inside a border, to which the constant is added, too
    if before is not None and before.op in ("conv", "linear") and calls.uses[node.input[1 - fixed[0]]] == 1:
        old = before.params.get("bias", np.zeros_like(bias))
        attrs = {k: v for k, v in before.attrs.items() if k != "out_scale"}  # that was of the sum without the bias
        calls.build.replace(before.with_params(bias=as_float32(old + bias)).evolve(attrs=attrs))
        return source
    if len(shape) != 3:
        raise Refused(f"constant to a tensor of shape {shape} that no MatMul makes for it alone")
    params = {"weight": np.ones((shape[0], 1, 1, 1), np.float32), "bias": bias}
    label, one = node.name or node.output[0], {"stride": 1, "pad": (0, 0, 0, 0), "groups": shape[0]}
    return calls.build.add(label, "conv", [source], one, params)


def _pass(calls: Calls, node: onnx.NodeProto, attrs: Attrs) -> str:
    return calls.tensor(node)


def _dropout(calls: Calls, node: onnx.NodeProto, attrs: Attrs) -> str:
    if calls.has(node, 2) and bool(calls.constant(node, 2)):
        raise Refused("training_mode true; export the model in eval mode")
    return calls.tensor(node)


def _shape(calls: Calls, node: onnx.NodeProto, attrs: Attrs) -> None:
    whole = [calls.batch or FREE_BATCH, *calls.shape(node)]
    part = whole[attrs.get("start", 0) : attrs.get("end", len(whole))]
    calls.constants[node.output[0]] = np.array(part, np.int64)


def _step(calls: Calls, node: onnx.NodeProto, attrs: Attrs) -> tuple[float, int, np.dtype[Any]]:
    """Scale, zero point and type of a tensor's quantiser."""
    scale = np.asarray(calls.constant(node, 1))
    own = np.int8 if attrs.get("output_dtype") == onnx.TensorProto.INT8 else np.uint8
    zero = np.asarray(calls.constant(node, 2)) if calls.has(node, 2) else np.zeros((), own)
    if scale.size != 1 or zero.size != 1:
        raise Refused(f"{scale.size} scales for one tensor of activations, only one is supported")
    if zero.dtype not in (np.int8, np.uint8):
        raise Refused(f"type {zero.dtype}, only int8 and uint8 are supported for activations")
    if not np.isfinite(float(scale.item())) or scale.item() <= 0:
        raise Refused(f"scale {scale.item()}, must be above 0")
    return float(scale.item()), int(zero.item()), zero.dtype


def _quantise(calls: Calls, node: onnx.NodeProto, attrs: Attrs) -> str:
    """Note the scale of the tensor; a range that starts at 0 cuts what is negative, as a ReLU does."""
    scale, zero, kind = _step(calls, node, attrs)
    limits = np.iinfo(kind)
    low, high = (limits.min - zero) * scale, (limits.max - zero) * scale
    source = calls.tensor(node)
    if low >= 0 and not _never_negative(calls, source):
        source = calls.build.add(f"{node.name or node.output[0]}_relu", "relu", [source])
    reach = high if kind == np.int8 and zero == 0 else max(-low, high)
    before = calls.build.behind(source)
    own = max(float(before.attrs.get("out_scale", 0.0)), reach / 127)
    calls.build.replace(before.with_attrs(out_scale=own))
    calls.quantised[node.output[0]] = scale, zero
    return source


def fold_quantiser(calls: Calls, node: onnx.NodeProto, attrs: Attrs) -> NDArray[Any]:
    """Constant integers from numbers, or numbers from integers; scales for the whole tensor or along one axis."""
    value, scale = calls.constant(node, 0), np.asarray(calls.constant(node, 1), np.float32)
    forth = node.op_type == "QuantizeLinear"
    zero = np.asarray(calls.constant(node, 2)) if calls.has(node, 2) else None
    kind = np.uint8 if zero is None else zero.dtype
    integers = kind if forth else value.dtype
    if attrs.get("block_size", 0) or scale.ndim > 1 or not np.issubdtype(integers, np.integer):
        raise Refused(f"{integers} with scales {scale.shape}; integers with one scale, or one a channel, are needed")
    if scale.ndim == 1 and scale.size > 1:
        axis = [1] * value.ndim
        axis[int(attrs.get("axis", 1))] = scale.size
        scale, zero = scale.reshape(axis), None if zero is None else zero.reshape(axis)
    start = np.float32(0) if zero is None else zero.astype(np.float32)
    if not forth:
        return (value.astype(np.float32) - start) * scale
    limits = np.iinfo(kind)
    return np.clip(np.rint(value / scale) + start, limits.min, limits.max).astype(kind)


def _never_negative(calls: Calls, name: str) -> bool:
    """Whether a tensor has no negative number; that of an input is taken from its quantiser."""
    node = calls.build.behind(name)
    if node.op in ("input", "relu", "relu6"):
        return True
    keeps = node.op in ("max_pool", "avg_pool", "global_avg_pool", "flatten", "upsample", "concat", "add")
    return keeps and all(_never_negative(calls, i) for i in node.inputs)


def _dequantise(calls: Calls, node: onnx.NodeProto, attrs: Attrs) -> str:
    scale, zero, _ = _step(calls, node, attrs)
    if node.input[0] not in calls.quantised:
        raise Refused(f"operand {node.input[0]} comes from no QuantizeLinear")
    if calls.quantised[node.input[0]] != (scale, zero):
        raise Refused(f"scale and zero point {(scale, zero)}, QuantizeLinear has {calls.quantised[node.input[0]]}")
    return calls.names[node.input[0]]


HANDLERS: dict[str, Handler] = {
    "Conv": _conv, "Pad": _pad, "Gemm": _gemm, "MatMul": _matmul, "BatchNormalization": _batch_norm, "Relu": _relu,
    "Clip": _clip, "LeakyRelu": _leaky_relu, "MaxPool": _pool, "AveragePool": _pool,
    "GlobalAveragePool": _global_avg_pool, "ReduceMean": _reduce_mean, "Flatten": _flatten, "Reshape": _reshape,
    "Squeeze": _squeeze, "Concat": _concat, "Resize": _resize, "Add": _add, "Identity": _pass, "Dropout": _dropout,
    "Shape": _shape, "QuantizeLinear": _quantise, "DequantizeLinear": _dequantise,
}  # fmt: skip
