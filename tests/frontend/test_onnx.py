"""ONNX: the same numbers as the reference evaluator of onnx, and one error that names what is not supported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import subrow
from subrow import passes
from subrow.compress.execute import execute
from subrow.frontend.load import input_shape, load_model
from subrow.frontend.onnx_file import capture_onnx
from subrow.ir.graph import Graph
from subrow.source import Compression, source_of
from subrow.spec.errors import InputError, UnsupportedError
from tests.frontend.onnx_models import Writer, reference


def everything(opset: int, batch: int | str = 2) -> onnx.ModelProto:
    """Each supported operator at least once."""
    w = Writer((batch, 3, 18, 16))
    x = w.node("Clip", w.batch_norm(w.conv("x", 8, 3, (7, 7), strides=[2, 2], pads=[3, 3, 3, 3]), 8, epsilon=1e-3),
               w.const(0), w.const(6))  # fmt: skip
    depthwise = w.node("LeakyRelu", w.conv(x, 8, 8, (3, 3), group=8, auto_pad="SAME_UPPER"), alpha=0.2)
    grouped = w.conv(x, 12, 8, (2, 3), group=4, auto_pad="SAME_LOWER", name="grouped")
    small = w.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    up = w.node("Resize", w.node("AveragePool", small, kernel_shape=[3, 3], pads=[1, 1, 1, 1]), "",
                w.const([1, 1, 2, 2]))  # fmt: skip
    cut = w.node("AveragePool", up, kernel_shape=[2, 1], auto_pad="VALID", count_include_pad=1)
    x = w.node("Add", w.node("Relu", x), depthwise)
    x = w.node("Concat", x, grouped, axis=1)
    x = w.node("MaxPool", x, kernel_shape=[1, 1])
    x = w.node("Add", x, w.random(20, 1, 1))  # no convolution before it alone
    x = w.node("AveragePool", x, kernel_shape=[1, 1], auto_pad="SAME_UPPER")
    x = w.node("Concat", x, w.node("Identity", x), axis=-3)
    x = w.node("Dropout", w.node("Conv", x, w.random(6, 40, 1, 1), strides=[2, 1]))
    x = w.node("Add", w.node("Conv", x, w.random(6, 6, 1, 1)), w.random(1, 6, 1, 1))
    x, y = w.node("GlobalAveragePool", x), w.node("GlobalAveragePool", cut)
    x = w.node("Concat", w.node("Flatten", x), w.node("Reshape", y, w.const([0, -1], np.int64)), axis=1)
    hidden = w.node("Gemm", x, w.random(14, 10), w.random(10), alpha=0.5, beta=2.0)
    x = w.node("Relu", w.node("Add", w.random(10), w.node("MatMul", hidden, w.random(10, 10))))
    made = w.node("Constant", value=onnx.numpy_helper.from_array(np.ones((4, 10), np.float32)))
    logits = w.node("Gemm", x, w.node("Transpose", w.node("Transpose", made)), w.const([[1, 2, 3, 4]]), transB=1)
    return w.model(logits, hidden, opset=opset)


@pytest.mark.parametrize("opset", [13, 15, 17, 18, 19, 21, 22])
def test_same_numbers_through_the_passes(opset: int) -> None:
    model = everything(opset)
    x = np.random.default_rng(1).standard_normal((2, 3, 18, 16)).astype(np.float32)
    expected = reference(everything(max(opset, 15)), x)  # at 13 the evaluator runs batch-norm in training mode
    graph = capture_onnx(model)
    assert [n.name for n in graph.outputs] == [o.name for o in model.graph.output]
    assert graph.node("grouped").attrs["groups"] == 4
    for stage in (graph, passes.run(graph)):
        for got, want in zip(execute(stage, x).values(), expected, strict=True):
            np.testing.assert_allclose(got.reshape(want.shape), want, rtol=1e-3, atol=1e-4)


def test_free_batch_and_files(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(everything(17, "N"), path)
    graph = load_model(str(path))
    assert isinstance(graph, Graph) and graph.name == "net" and input_shape(graph) == (3, 18, 16)
    x = np.random.default_rng(1).standard_normal((3, 3, 18, 16)).astype(np.float32)
    want = reference(everything(17, 3), x)[0]
    np.testing.assert_allclose(next(iter(execute(graph, x).values())), want, rtol=1e-3, atol=1e-4)


def dynamic_flatten(factor: bool) -> onnx.ModelProto:
    """x.view(x.size(0), -1) as exporters with a free batch write it; with factor: x.view(4 * x.size(0), -1)."""
    w = Writer(("N", 4, 3, 3))
    size = w.node("Gather", w.node("Shape", "x"), w.const(0, np.int64), axis=0)
    if factor:
        size = w.node("Mul", size, w.const(4, np.int64))
    target = w.node("Concat", w.node("Unsqueeze", size, w.const([0], np.int64)), w.const([-1], np.int64), axis=0)
    return w.model(w.node("Reshape", "x", target))


def test_flatten_with_a_computed_batch() -> None:
    x = np.random.default_rng(1).standard_normal((2, 4, 3, 3)).astype(np.float32)
    model = dynamic_flatten(factor=False)
    np.testing.assert_array_equal(next(iter(execute(capture_onnx(model), x).values())), reference(model, x)[0])
    with pytest.raises(UnsupportedError, match="only flattening"):
        capture_onnx(dynamic_flatten(factor=True))


@pytest.mark.parametrize(("target", "flat"), [
    ([2, -1], True), ([-1, 36], True), ([0, 36], True), ([2, 4, 3, 3], False), ([0, 0, -1, 3], False),
])  # fmt: skip
def test_reshape(target: list[int], flat: bool) -> None:
    w = Writer((2, 4, 3, 3))
    model = w.model(w.node("Relu", w.node("Reshape", "x", w.const(target, np.int64))))
    graph = capture_onnx(model)
    assert [n.op for n in graph] == ["input", *(["flatten"] if flat else []), "relu", "output"]
    x = np.random.default_rng(1).standard_normal((2, 4, 3, 3)).astype(np.float32)
    np.testing.assert_array_equal(next(iter(execute(graph, x).values())), reference(model, x)[0])


MODES = [
    ("half_pixel", "round_prefer_floor", True), ("asymmetric", "floor", True), ("asymmetric", "ceil", False),
    ("half_pixel", "floor", False), ("pytorch_half_pixel", "round_prefer_ceil", True),
    ("half_pixel_symmetric", "round_prefer_floor", True), ("align_corners", "floor", False),
]  # fmt: skip


@pytest.mark.parametrize("sizes", [False, True])
@pytest.mark.parametrize(("place", "rounding", "good"), MODES)
def test_resize(place: str, rounding: str, good: bool, sizes: bool) -> None:
    """Every way to say it is accepted exactly when it repeats each pixel."""
    w = Writer((1, 2, 5, 4))
    to = ("", w.const([1, 2, 10, 8], np.int64)) if sizes else (w.const([1, 1, 2, 2]),)
    how = {"coordinate_transformation_mode": place, "nearest_mode": rounding}
    model = w.model(w.node("Resize", "x", "", *to, **how), opset=19)
    x = np.random.default_rng(1).standard_normal((1, 2, 5, 4)).astype(np.float32)
    repeated = x.repeat(2, 2).repeat(2, 3)
    assert np.array_equal(reference(model, x)[0], repeated) == good
    if good:
        np.testing.assert_array_equal(next(iter(execute(capture_onnx(model), x).values())), repeated)
    else:
        with pytest.raises(UnsupportedError, match="does not repeat every pixel"):
            capture_onnx(model)


def test_mean_and_squeeze() -> None:
    x = np.random.default_rng(1).standard_normal((2, 4, 3, 5)).astype(np.float32)
    for opset in (17, 18):
        w = Writer((2, 4, 3, 5))
        axes = (w.const([2, 3], np.int64),) if opset == 18 else ()
        keep = {} if opset == 18 else {"axes": [-1, -2]}
        flat = w.node("ReduceMean", "x", *axes, keepdims=0, **keep)
        high = w.node("Squeeze", w.node("ReduceMean", "x", *axes, **keep), w.const([2, 3], np.int64))
        model = w.model(flat, high, opset=opset)
        for got, want in zip(execute(capture_onnx(model), x).values(), reference(model, x), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("opset", [13, 18])
def test_zeros_in_front_of_convolutions(opset: int) -> None:
    w = Writer((2, 4, 6, 7))
    widths = ([1, 2, 0, 3], [2, 3]) if opset == 18 else ([0, 0, 1, 2, 0, 0, 0, 3], None)
    inputs = [w.const(widths[0], np.int64), w.const(0.0), *([w.const(widths[1], np.int64)] if widths[1] else [])]
    padded = w.node("Pad", "x", *inputs)
    direct = w.conv(padded, 8, 4, (3, 3), strides=[2, 2], pads=[0, 0, 1, 0])
    model = w.model(direct, w.node("Add", padded, w.random(1, 4, 1, 1)), opset=opset)
    graph, x = capture_onnx(model), np.random.default_rng(2).standard_normal((2, 4, 6, 7)).astype(np.float32)
    assert graph.nodes[1].attrs["pad"] == (1, 2, 1, 3)
    for got, want in zip(execute(graph, x).values(), reference(model, x), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


Build = Callable[[Writer], str]
REFUSED: dict[str, tuple[Build, str]] = {
    "dilation": (lambda w: w.conv("x", 4, 4, (3, 3), dilations=[2, 2]), r"dilations \[2, 2\]"),
    "softmax": (lambda w: w.node("Softmax", "x"), "op Softmax: not supported"),
    "pad value": (lambda w: w.node("Pad", "x", w.const([0, 0, 1, 1] * 2, np.int64), w.const(1.0)), "only zeros"),
    "pad channels": (lambda w: w.node("Pad", "x", w.const([0, 1, 0, 0] * 2, np.int64)), "only height"),
    "pad pool": (lambda w: w.node("MaxPool", w.node("Pad", "x", w.const([0, 0, 1, 1] * 2, np.int64)),
                                  kernel_shape=[2, 2]), "only convolutions"),
    "ceil": (lambda w: w.node("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1), "ceil_mode"),
    "clip": (lambda w: w.node("Clip", "x", w.const(-1), w.const(1)), r"limits -1.0 and 1.0"),
    "add": (lambda w: w.node("Add", "x", w.random(2, 4, 6, 6)), "one number for each channel"),
    "concat": (lambda w: w.node("Concat", "x", "x", axis=2), "axis 2, only the channels"),
    "flatten": (lambda w: w.node("Flatten", "x", axis=2), "axis 2, only 1"),
    "linear": (lambda w: w.node("Resize", "x", "", w.const([1, 1, 2, 2]), mode="linear"), "mode 'linear'"),
    "three": (lambda w: w.node("Resize", "x", "", w.const([1, 1, 3, 3])), "only twice"),
    "training": (lambda w: w.batch_norm("x", 4, training_mode=1), "training_mode"),
    "dropout": (lambda w: w.node("Dropout", "x", w.const(0.5), w.const(True, bool)), "training_mode"),
    "indices": (lambda w: w.node("MaxPool", "x", kernel_shape=[2, 2], outputs=2) and w.node(
        "Cast", w.nodes[-1].output[1], to=TensorProto.FLOAT), "op Cast: not supported"),
    "weights": (lambda w: w.node("Conv", "x", "x"), "operand x is not a constant"),
    "gemm": (lambda w: w.node("Gemm", w.node("Flatten", "x"), w.random(144, 3), transA=1), "transA"),
    "flat": (lambda w: w.node("MatMul", "x", w.random(6, 3)), "flatten it first"),
    "slope": (lambda w: w.node("LeakyRelu", "x", alpha=2.0), "slope 2.0"),
    "per-axis": (lambda w: w.node("QuantizeLinear", "x", w.const([1] * 4), w.const([0] * 4, np.int8)), "4 scales"),
    "integers": (lambda w: w.node("MaxPool", w.node("QuantizeLinear", "x", w.const(1), w.const(0, np.int8)),
                                  kernel_shape=[2, 2]), "holds integers"),
    "rescale": (lambda w: w.node("DequantizeLinear", w.node("QuantizeLinear", "x", w.const(1), w.const(0, np.int8)),
                                 w.const(2), w.const(0, np.int8)), "QuantizeLinear has"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    build, reason = REFUSED[name]
    w = Writer((2, 4, 6, 6))
    last = build(w)
    results = [helper.make_tensor_value_info(last, TensorProto.FLOAT, None)]
    graph = helper.make_graph(w.nodes, "test", w.inputs, results, w.initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(UnsupportedError, match=f"(?s)test: node {w.nodes[-1].name}, .*{reason}.*Supported: Add,"):
        capture_onnx(model)


def test_one_error_names_all_and_nothing_behind_them() -> None:
    w = Writer((1, 3, 8, 8))
    x = w.node("Relu", w.node("Sigmoid", "x", name="first"))
    y = w.node("HardSwish", x, name="second")
    with pytest.raises(UnsupportedError) as caught:
        capture_onnx(w.model(y))
    text = str(caught.value)
    assert "node first, op Sigmoid" in text and "node second, op HardSwish" in text and "node relu" not in text


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none.onnx: no such file"):
        load_model(str(tmp_path / "none.onnx"))
    (tmp_path / "bad.onnx").write_bytes(b"PK\x03\x04 something else")
    with pytest.raises(InputError, match="bad.onnx: not a whole and valid ONNX file"):
        load_model(str(tmp_path / "bad.onnx"))
    data = everything(17).SerializeToString()
    (tmp_path / "cut.onnx").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="cut.onnx: not a whole and valid ONNX file"):
        load_model(str(tmp_path / "cut.onnx"))
    for opset in (12, 23):
        w = Writer((1, 3, 8, 8))
        with pytest.raises(UnsupportedError, match=f"opset {opset}, supported: 13..22"):
            capture_onnx(w.model(w.node("Relu", "x"), opset=opset))


@pytest.mark.parametrize(("shape", "kind", "message"), [
    (("N", 3, "H", 8), TensorProto.FLOAT, "FLOAT N x 3 x H x 8; must be FLOAT"),
    ((1, 3, 8), TensorProto.FLOAT, "FLOAT 1 x 3 x 8"), ((1, 3, 8, 8), TensorProto.UINT8, "UINT8 1 x 3 x 8 x 8"),
])  # fmt: skip
def test_bad_inputs(shape: tuple[int | str, ...], kind: int, message: str) -> None:
    w = Writer((1, 3, 8, 8))
    w.inputs = [helper.make_tensor_value_info("x", kind, shape)]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "test", w.inputs, [
        helper.make_tensor_value_info("y", kind, shape)])  # fmt: skip
    with pytest.raises(InputError, match=message):
        capture_onnx(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))


def test_compiles_and_runs(tmp_path: Path) -> None:
    """A file through the loader, compiled, on the emulator."""
    w = Writer((1, 8, 8, 8))
    x = w.node("Relu", w.conv("x", 16, 8, (3, 3), pads=[1, 1, 1, 1]))
    x = w.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    onnx.save(w.model(w.node("Gemm", w.node("Flatten", x), w.random(5, 256, scale=0.1), transB=1)), tmp_path / "m.onnx")
    images = np.random.default_rng(2).uniform(0, 1, (8, 8, 8, 8)).astype(np.float32)
    source = source_of(str(tmp_path / "m.onnx"), "tiny", Compression(None, "auto", False), None, True, None)
    assert source.calibration.shape[1:] == (8, 8, 8)
    program = subrow.compile(load_model(str(tmp_path / "m.onnx")), images, "tiny")
    with subrow.open_device("emulator", "tiny") as device:
        device.load(program)
        got = device.run(images).real().reshape(8, 5)
    want = reference(onnx.load(tmp_path / "m.onnx"), images[:1])[0]
    assert program.name == "m"
    assert np.linalg.norm(got[:1] - want) < 0.05 * np.linalg.norm(want)
