"""torch.export to Graph. The batch dimension is stripped; every example has the batch first."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from subrow.frontend import torch_ops
from subrow.frontend.build import SUPPORTED, Builder, Refused
from subrow.ir.graph import Graph, Shape
from subrow.ir.verify import verify
from subrow.spec.errors import InputError, UnsupportedError


def capture(model: nn.Module | ExportedProgram, example: Tensor | NDArray[Any], name: str | None = None) -> Graph:
    """Graph of a network. example: one batch of inputs, N x C x H x W, of any N; its values are not used.

    A Module is captured in eval mode and left as it was. Raises one UnsupportedError that names every node that the
    Graph has no operator for, and lists what it has.
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


class _Capture(torch_ops.Calls):
    """One pass over the exported graph."""

    def __init__(self, program: ExportedProgram) -> None:
        values = next(item.args[0] for item in program.graph.nodes if item.op == "output")
        self.outputs = list(values) if isinstance(values, (tuple, list)) else [values]
        many = len(self.outputs) > 1
        self.output_names = [f"output{i}" if many else "output" for i in range(len(self.outputs))]
        super().__init__(Builder(self.output_names))
        self.program = program

    def graph(self, name: str) -> Graph:
        for spec in self.program.graph_signature.input_specs:
            self._bind(spec)
        refused: list[str] = []
        for item in self.program.graph.nodes:
            if item.op == "placeholder":
                self._placeholder(item)
            elif item.op == "call_function":
                self._call(item, refused)
        if refused:
            raise UnsupportedError(f"network {name}: {'; '.join(refused)}. Supported: {SUPPORTED}")
        for output, value in zip(self.output_names, self.outputs, strict=True):
            self.build.output(output, self._result(value))
        return self.build.graph(name)

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
        self.names[item.name] = self.build.input(item.name, _shape_of(item))

    def _call(self, item: Any, refused: list[str]) -> None:
        target = getattr(item.target, "_opname", None) or str(item.target)
        try:
            handler = torch_ops.HANDLERS.get(target)
            if handler is None:
                raise Refused("not supported")
            result = handler(self, item, _arguments(item))
        except Refused as reason:
            refused.append(f"node {item.name}, op {item.target}: {reason}")
            result = self.build.placeholder(item.name, _shape_of(item) or (1,))
        self.names[item.name] = result
        if target.endswith("_"):  # in place: later readers of the argument see the new value
            self.names[item.args[0].name] = result

    def _result(self, value: Any) -> str:
        try:
            return self.tensor(value)
        except Refused as reason:
            raise UnsupportedError(f"output {value}: {reason}; a network must return tensors") from reason


def _arguments(item: Any) -> list[Any]:
    """Positional arguments with defaults filled in from the operator's schema."""
    args = list(item.args)
    for parameter in item.target._schema.arguments[len(args) :]:
        args.append(item.kwargs.get(parameter.name, parameter.default_value))
    return args


def _shape_of(item: Any) -> Shape:
    value = item.meta.get("val")
    return tuple(int(d) for d in value.shape[1:]) if isinstance(value, Tensor) else ()
