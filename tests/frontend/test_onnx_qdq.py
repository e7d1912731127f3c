"""QDQ models: weights as the file's integers mean them, its scales as calibration, ReLUs hidden in quantisers."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import subrow
from subrow import passes
from subrow.api import quantised
from subrow.compress.calibrate import activation_scales
from subrow.compress.execute import as_batch, execute
from subrow.frontend.onnx_file import capture_onnx
from subrow.ir.graph import Graph
from subrow.ir.store import load_graph, save_graph
from subrow.passes.choose_tile import choose_tile
from subrow.spec import hwconfig
from tests.frontend.onnx_models import Writer, reference

X = np.random.default_rng(3).uniform(0, 1, (4, 8, 12, 12)).astype(np.float32)
HW = hwconfig.load("tiny")


def through(w: Writer, x: str, scale: float, zero: int = 0, kind: type = np.int8) -> str:
    """A tensor through QuantizeLinear and DequantizeLinear."""
    step = (w.const(scale), w.const(zero, kind))
    return w.node("DequantizeLinear", w.node("QuantizeLinear", x, *step), *step)


def weight(w: Writer, k: int, c: int, size: int, stored: bool) -> str:
    """int8 weights with a scale for each output channel, as integers (stored) or as floats to be quantised."""
    scales = w.const(w.rng.uniform(0.5, 1.5, k) / (127 * np.sqrt(c * size * size) / 3))
    zero = w.const(np.zeros(k), np.int8)
    if stored:
        integers = w.const(w.rng.integers(-127, 128, (k, c, size, size)), np.int8)
    else:
        integers = w.node("QuantizeLinear", w.random(k, c, size, size, scale=0.1), scales, zero, axis=0)
    return w.node("DequantizeLinear", integers, scales, zero, axis=0)


def network(stored: bool = True, unsigned: bool = True, opset: int = 19) -> onnx.ModelProto:
    """Two convolutions with a shortcut, a pool and a linear layer; ReLUs are the quantisers' when unsigned."""
    w = Writer((4, 8, 12, 12), seed=5)
    kind, low = (np.uint8, 0) if unsigned else (np.int8, -128)
    x = through(w, "x", 1 / 255, low, kind)
    bias = w.node("DequantizeLinear", w.const(w.rng.integers(-2000, 2000, 16), np.int32), w.const(1e-4))
    a = w.node("Conv", x, weight(w, 16, 8, 3, stored), bias, pads=[1, 1, 1, 1], name="a")
    a = through(w, a if unsigned else w.node("Relu", a), 0.02, low, kind)
    b = through(w, w.node("Conv", a, weight(w, 16, 16, 3, stored), pads=[1, 1, 1, 1], name="b"), 0.06)
    y = through(w, w.node("Relu", w.node("Add", a, b, name="add"), name="relu"), 0.03, low, kind)
    y = through(w, w.node("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2]), 0.03, low, kind)
    y = through(w, w.node("Flatten", w.node("GlobalAveragePool", y, name="mean")), 0.02, low, kind)
    matrix = w.node("DequantizeLinear", w.const(w.rng.integers(-127, 128, (5, 16)), np.int8), w.const(0.003))
    return w.model(through(w, w.node("Gemm", y, matrix, w.random(5), transB=1, name="fc"), 0.05), opset=opset)


def fused(graph: Graph) -> Graph:
    return passes.run(choose_tile(passes.lower_linear(graph), "f2", HW), passes.AFTER_COMPRESSION)


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("unsigned", [True, False])
def test_numbers_scales_and_relus(stored: bool, unsigned: bool) -> None:
    model = network(stored, unsigned)
    graph = capture_onnx(network(stored, unsigned, opset=13 if stored else 19))
    want = reference(model, X)[0]
    got = next(iter(execute(graph, X).values()))
    assert np.linalg.norm(got - want) < 0.03 * np.linalg.norm(want)  # all but the file's own rounding of activations
    ready = fused(graph)
    scales = activation_scales(ready, as_batch(ready, X))
    reach = 255 / 127  # of an unsigned step on our 127 positive ones
    names = {n.name for n in ready}
    assert scales["x"] == pytest.approx(reach / 255)
    assert scales["a"] == pytest.approx(0.02 * reach)
    assert scales["b"] == pytest.approx(0.03 * reach), "the fused layer has the scale of the pool behind it"
    assert scales["mean"] == pytest.approx(0.02 * reach), "that of the flatten"
    assert scales["fc"] == pytest.approx(0.05)
    acts = {n.name: n.attrs.get("act") for n in ready if n.op == "conv"}
    assert acts == {"a": "relu", "b": "relu", "mean": None, "fc": None}, "no second ReLU for what is never negative"
    assert names == {"x", "a", "b", "mean", "fc", *(n.name for n in graph.outputs)}


def test_asymmetric_range_and_both_kinds_of_bias() -> None:
    """A zero point between the ends is no ReLU; its longer side sets the scale. MatMul and Add share no scale."""
    w = Writer((4, 8, 12, 12), seed=6)
    x = through(w, w.node("Conv", "x", weight(w, 8, 8, 1, True), name="a"), 0.02, 100, np.uint8)
    flat = w.node("Flatten", w.node("GlobalAveragePool", x))
    y = through(w, w.node("MatMul", flat, w.random(8, 5), name="fc"), 0.5)
    graph = capture_onnx(w.model(through(w, w.node("Add", y, w.random(5)), 0.03)))
    assert "relu" not in {n.op for n in graph}
    assert graph.node("a").attrs["out_scale"] == pytest.approx(155 * 0.02 / 127)
    assert graph.node("fc").attrs["out_scale"] == pytest.approx(0.03) and "bias" in graph.node("fc").params


def test_emulator_follows_the_file() -> None:
    """int8 on the engine against int8 of the file: both round, nothing else differs."""
    model = network()
    program = subrow.compile(capture_onnx(model), X, HW, None, "f2")
    assert program.inputs[0].scale == pytest.approx(1 / 127) and program.outputs[0].scale == pytest.approx(0.05)
    with subrow.open_device("emulator", HW) as device:
        device.load(program)
        got = device.run(X).real().reshape(4, 5)
    want = reference(model, X)[0]
    assert np.linalg.norm(got - want) < 0.05 * np.linalg.norm(want)


def test_scales_survive_the_graph_file(tmp_path) -> None:  # type: ignore[no-untyped-def]
    graph = capture_onnx(network())
    save_graph(graph, tmp_path / "g.graph", HW)
    stored = load_graph(tmp_path / "g.graph").graph
    assert {n.name: n.attrs.get("out_scale") for n in stored} == {n.name: n.attrs.get("out_scale") for n in graph}
    assert quantised(stored, X, HW).stage == "quantised"
