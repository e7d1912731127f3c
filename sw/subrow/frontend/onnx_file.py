"""ONNX to Graph: float models, and quantised ones written with QuantizeLinear and DequantizeLinear (QDQ).

Of a QDQ model the weights are taken as the numbers that they stand for, and the scales of its tensors become the nodes'
`out_scale`, which calibration takes over. A quantiser whose range starts at 0 is a ReLU for the node before it; that an
input lies in the range of its quantiser is taken for granted. The batch dimension is stripped.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from subrow.frontend import onnx_ops
from subrow.frontend.build import Builder, Refused
from subrow.ir.graph import Graph
from subrow.ir.verify import verify
from subrow.spec.errors import InputError, UnsupportedError

OPSETS = (13, 22)
SUPPORTED = ", ".join(sorted({*onnx_ops.HANDLERS, "Constant"})) + ", and anything that depends on constants alone"


def capture_onnx(source: str | Path | onnx.ModelProto, name: str | None = None) -> Graph:
    """Graph of an ONNX model: a file, or a model in memory.

    Inputs must be float32, N x C x H x W or N x C, with only N free. Raises InputError when the file cannot be read or
    an input is of another kind, and one UnsupportedError that names every node that the Graph has no operator for.
    """
    model = source if isinstance(source, onnx.ModelProto) else _load(Path(source))
    label = name or (model.graph.name if isinstance(source, onnx.ModelProto) else Path(source).stem) or "network"
    opset = next((o.version for o in model.opset_import if o.domain in onnx_ops.STANDARD), 0)
    if not OPSETS[0] <= opset <= OPSETS[1]:
        raise UnsupportedError(
            f"network {label}: ONNX opset {opset}, supported: {OPSETS[0]}..{OPSETS[1]}; convert the file with "
            "onnx.version_converter, or export it again"
        )
    return verify(_Capture(model, opset).graph(label))


def _load(path: Path) -> onnx.ModelProto:
    if not path.is_file():
        raise InputError(f"model {path}: no such file")
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError, OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()
        raise InputError(
            f"model {path}: not a whole and valid ONNX file: {reason[0] if reason else type(error).__name__}"
        ) from error
    return model


class _Capture(onnx_ops.Calls):
    """One pass over the nodes, which ONNX keeps in execution order."""

    def __init__(self, model: onnx.ModelProto, opset: int) -> None:
        self.model, self.opset = model, opset
        graph = model.graph
        self.constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        inputs = [i for i in graph.input if i.name not in self.constants]
        super().__init__(Builder([*(i.name for i in inputs), *(o.name for o in graph.output)]), self.constants)
        self.uses = Counter([*(i for n in graph.node for i in n.input), *(o.name for o in graph.output)])
        self.lost: set[str] = set()  # tensors behind a refused node
        for item in inputs:
            self._input(item)

    def graph(self, name: str) -> Graph:
        refused: list[str] = []
        for node in self.model.graph.node:
            try:
                self._node(node)
            except Refused as reason:
                label = node.name or (node.output[0] if node.output else "without a name")
                refused.append(f"node {label}, op {node.op_type}: {reason}")
                self.lost.update(node.output)
        if refused:
            raise UnsupportedError(f"network {name}: {'; '.join(refused)}. Supported: {SUPPORTED}")
        for item in self.model.graph.output:
            if item.name not in self.names:
                raise UnsupportedError(f"network {name}: output {item.name} does not depend on an input")
            self.build.output(item.name, self.names[item.name])
        return self.build.graph(name)

    def _input(self, item: onnx.ValueInfoProto) -> None:
        tensor = item.type.tensor_type
        sizes = [d.dim_value if d.HasField("dim_value") else d.dim_param or "?" for d in tensor.shape.dim]
        kind = onnx.TensorProto.DataType.Name(tensor.elem_type)
        fixed = all(isinstance(s, int) and s > 0 for s in sizes[1:])
        if tensor.elem_type != onnx.TensorProto.FLOAT or len(sizes) not in (2, 4) or not fixed:
            shape = " x ".join(map(str, sizes))
            raise InputError(
                f"input {item.name}: {kind} {shape}; must be FLOAT N x C x H x W (or N x C) with only N free: "
                "export the model again with a fixed image size"
            )
        batch = sizes[0] if isinstance(sizes[0], int) and sizes[0] > 0 else onnx_ops.FREE_BATCH
        if self.batch not in (None, batch):
            raise InputError(f"input {item.name}: batch {batch}, another input has {self.batch}: must be equal")
        self.batch = batch
        self.names[item.name] = self.build.input(item.name, tuple(int(s) for s in sizes[1:]))

    def _node(self, node: onnx.NodeProto) -> None:
        handler = onnx_ops.HANDLERS.get(node.op_type) if node.domain in onnx_ops.STANDARD else None
        if node.domain not in onnx_ops.STANDARD:
            raise Refused(f"domain {node.domain!r} is not supported")
        fixed = all(i in self.constants for i in node.input if i)
        if fixed and not node.op_type.startswith("Random") and not any(a.HasField("g") for a in node.attribute):
            self._fold(node)
            return
        if handler is None:
            raise Refused("not supported")
        if any(i in self.lost for i in node.input):  # the node before it was refused already
            self.lost.update(node.output)
            return
        result = handler(self, node, _attributes(node))
        if result is not None:
            self.names[node.output[0]] = result

    def _fold(self, node: onnx.NodeProto) -> None:
        """A node that depends on constants alone, computed now."""
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):  # the evaluator has them for late opsets only
            self.constants[node.output[0]] = onnx_ops.fold_quantiser(self, node, _attributes(node))
            return
        names = [i for i in node.input if i]
        values = {i: np.asarray(self.constants[i]) for i in names}
        infos = [helper.make_tensor_value_info(
            i, helper.np_dtype_to_tensor_dtype(v.dtype), list(v.shape)) for i, v in values.items()]  # fmt: skip
        outputs = [onnx.ValueInfoProto(name=o) for o in node.output if o]
        graph = helper.make_graph([node], "constant", infos, outputs)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)])
        try:
            results = list(ReferenceEvaluator(model).run(None, values))
        except Exception as error:  # the evaluator raises whatever numpy does on what does not fit
            reason = str(error).strip().splitlines()
            raise Refused(f"of constants: {reason[0] if reason else type(error).__name__}") from error
        self.constants.update(zip([o.name for o in outputs], results, strict=True))


def _attributes(node: onnx.NodeProto) -> onnx_ops.Attrs:
    values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return {k: v.decode() if isinstance(v, bytes) else v for k, v in values.items()}
