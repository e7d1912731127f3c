"""ONNX models for tests, written node by node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

FLOAT = TensorProto.FLOAT


class Writer:
    """Collects nodes and constants of one model."""

    def __init__(self, shape: Sequence[int | str], seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.inputs = [helper.make_tensor_value_info("x", FLOAT, shape)]
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def const(self, value: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def random(self, *shape: int, scale: float = 1.0) -> str:
        return self.const(self.rng.standard_normal(shape) * scale)

    def node(self, op: str, *inputs: str, outputs: int = 1, name: str | None = None, **attrs: Any) -> str:
        label = name or f"{op.lower()}{len(self.nodes)}"
        result = [f"{label}_out", *(f"{label}_out{i}" for i in range(1, outputs))]
        self.nodes.append(helper.make_node(op, list(inputs), result, name=label, **attrs))
        return result[0]

    def conv(self, x: str, k: int, c: int, kernel: tuple[int, int], **attrs: Any) -> str:
        groups = attrs.get("group", 1)
        scale = 1 / np.sqrt(c / groups * kernel[0] * kernel[1])
        return self.node("Conv", x, self.random(k, c // groups, *kernel, scale=scale), self.random(k), **attrs)

    def batch_norm(self, x: str, c: int, **attrs: Any) -> str:
        var = self.const(self.rng.uniform(0.5, 2, c))
        return self.node("BatchNormalization", x, self.random(c), self.random(c), self.random(c), var, **attrs)

    def model(self, *outputs: str, opset: int = 17) -> onnx.ModelProto:
        results = [helper.make_tensor_value_info(o, FLOAT, ("any", "size")) for o in outputs]
        graph = helper.make_graph(self.nodes, "test", self.inputs, results, self.initializers)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        onnx.checker.check_model(made)
        return made


def reference(model: onnx.ModelProto, x: np.ndarray) -> list[np.ndarray]:
    return ReferenceEvaluator(model).run(None, {"x": x})
