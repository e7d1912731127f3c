"""Networks by name: `package.module:callable`, a .pt2 file of torch.export, or an .onnx file."""

from __future__ import annotations

import importlib
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from subrow.ir.graph import Graph
from subrow.spec.errors import InputError

Model = nn.Module | ExportedProgram | Graph


def load_model(spec: str, arguments: Mapping[str, Any] | None = None) -> Model:
    """The network that a name or a path stands for; a callable is called with the arguments. Raises InputError.

    An .onnx file is captured at once, so it also raises UnsupportedError.
    """
    if Path(spec).suffix == ".pt2":
        return _exported(Path(spec))
    if Path(spec).suffix == ".onnx":
        from subrow.frontend.onnx_file import capture_onnx

        return capture_onnx(spec)
    module_name, _, attribute = spec.partition(":")
    if not attribute:
        raise InputError(
            f"model {spec!r}: give package.module:callable, a .pt2 file of torch.export, an .onnx or a .graph file"
        )
    sys.path.insert(0, str(Path.cwd()))
    try:
        made = getattr(importlib.import_module(module_name), attribute)
        model = made if isinstance(made, nn.Module) else made(**(arguments or {}))
    except Exception as error:  # whatever a user's module raises is one line about their module
        raise InputError(f"model {spec!r}: {type(error).__name__}: {_first_line(error)}") from error
    finally:
        sys.path.remove(str(Path.cwd()))
    if not isinstance(model, (nn.Module, ExportedProgram)):
        raise InputError(f"model {spec!r}: gives a {type(model).__name__}, must give a torch.nn.Module")
    return model


def _exported(path: Path) -> ExportedProgram:
    if not path.is_file():
        raise InputError(f"model {path}: no such file")
    if not zipfile.is_zipfile(path):
        raise InputError(f"model {path}: not a file of torch.export.save: damaged, or of another format")
    try:
        return torch.export.load(path)
    except Exception as error:  # torch raises nearly anything on a damaged archive
        raise InputError(f"model {path}: torch.export cannot load it: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def input_shape(model: Model) -> tuple[int, ...] | None:
    """C x H x W (or C) of the first input of an exported program or of a Graph; None for a module, which has none."""
    if isinstance(model, Graph):
        return model.inputs[0].shape
    if not isinstance(model, ExportedProgram):
        return None
    wanted = {s.arg.name for s in model.graph_signature.input_specs if s.kind is InputKind.USER_INPUT}
    for node in model.graph.nodes:
        value = node.meta.get("val")
        if node.op == "placeholder" and node.name in wanted and isinstance(value, Tensor):
            return tuple(int(d) for d in value.shape[1:])
    raise InputError("the exported program has no tensor input")
