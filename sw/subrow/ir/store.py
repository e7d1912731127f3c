"""A Graph as a file: safetensors with every parameter, and the nodes as one JSON document. Never a pickle."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from subrow.ir.graph import Graph, Node
from subrow.ir.verify import verify
from subrow.ir.weights import Quant
from subrow.spec.errors import ProgramError, SubrowError
from subrow.spec.hwconfig import HwConfig
from subrow.spec.program import write_atomic

FORMAT_VERSION = 3
_KEY = "subrow_graph"
_ARRAYS = ("u", "bias", "mult", "shift")
_QUANT = "quant."
_HEADER_LIMIT = 100_000_000  # of the safetensors format
_NUMERICS = ("sub_row", "act_bits", "u_bits", "v_bits", "acc_bits", "y_bits")


@dataclass(frozen=True)
class StoredGraph:
    """A Graph and what it was made for: the name of a HwConfig and the numbers that its integers depend on."""

    graph: Graph
    hw_name: str
    numerics: dict[str, int]

    def check_hardware(self, hw: HwConfig) -> None:
        """Raises ProgramError unless L and all widths of numbers are those that the Graph was made for.

        Sizes of the array and the buffers may differ: tiles were then chosen for other hardware, but fit its numbers.
        """
        for name, made in self.numerics.items():
            if getattr(hw, name) != made:
                raise ProgramError(
                    f"Graph {self.graph.name} was made for HwConfig {self.hw_name} with {name} = {made}, not for "
                    f"{hw.name} with {getattr(hw, name)}: make it again, or use --hw {self.hw_name}"
                )


def save_graph(graph: Graph, path: str | Path, hw: HwConfig) -> None:
    """Write the file aside and rename it into place; a killed run leaves no half-written Graph.

    Of a quantised layer the integers are kept, in as few bytes as hold them, and no float weights.
    """
    tensors: dict[str, NDArray[Any]] = {}
    nodes = []
    for node in graph:
        attrs, arrays = dict(node.attrs), dict(node.params)
        quant = attrs.pop("quant", None)
        if isinstance(quant, Quant):
            arrays, attrs["quant"] = _quantised(node, quant)
        tensors |= {f"{node.name}/{k}": np.ascontiguousarray(v) for k, v in arrays.items()}
        nodes.append({
            "name": node.name, "op": node.op, "inputs": node.inputs, "shape": node.shape, "attrs": attrs,
            "arrays": list(arrays),
        })  # fmt: skip
    document = {
        "format_version": FORMAT_VERSION, "name": graph.name, "hw_name": hw.name,
        "numerics": {name: getattr(hw, name) for name in _NUMERICS}, "nodes": nodes,
    }  # fmt: skip
    text = json.dumps(document)
    write_atomic(Path(path), save_tensors(tensors, {_KEY: text, "digest": _digest(text, tensors)}))


def _quantised(node: Node, quant: Quant) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The arrays of a quantised layer, weights that are kept alone, and its other fields."""
    fields = {f.name: getattr(quant, f.name) for f in dataclasses.fields(Quant)}
    arrays = {_QUANT + name: _narrow(fields.pop(name)) for name in _ARRAYS}
    fields |= {"u_shape": quant.u.shape, "weight_shape": node.params["weight"].shape}
    mask = node.params.get("mask")
    if mask is not None:
        arrays["mask"] = np.packbits(mask)
        arrays[_QUANT + "u"] = arrays[_QUANT + "u"][mask]
    return arrays, fields


def _narrow(values: NDArray[np.int64]) -> NDArray[Any]:
    """The same integers in the narrowest signed type that holds them."""
    kinds = (np.int8, np.int16, np.int32, np.int64)
    low, high = values.min(initial=0), values.max(initial=0)
    return values.astype(next(k for k in kinds if np.iinfo(k).min <= low and high <= np.iinfo(k).max))


def _digest(text: str, tensors: dict[str, NDArray[Any]]) -> str:
    h = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        h.update(f"{name}{tensors[name].dtype}{tensors[name].shape}".encode())
        h.update(np.ascontiguousarray(tensors[name]).tobytes())
    return h.hexdigest()


def is_graph(path: str | Path) -> bool:
    """Whether a file is a safetensors file with a Graph in it; says nothing about its being whole."""
    with Path(path).open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        return size < _HEADER_LIMIT and f'"{_KEY}"'.encode() in file.read(size)


def load_graph(path: str | Path) -> StoredGraph:
    """Read and check a Graph file. Raises ProgramError, naming the file and what is wrong."""
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ProgramError(f"{path}: cannot read Graph: {error.strerror}") from error
    try:
        tensors = load_tensors(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
        text, document = header[_KEY], json.loads(header[_KEY])
        if document["format_version"] != FORMAT_VERSION:
            raise ProgramError(
                f"{path}: Graph format {document['format_version']}, this Subrow reads {FORMAT_VERSION}: make it again"
            )
        if header["digest"] != _digest(text, tensors):
            raise ProgramError(f"{path}: digest mismatch: the file was changed or damaged; make it again")
        nodes = tuple(_node(item, tensors) for item in document["nodes"])
        graph = verify(Graph(document["name"], nodes), f"loading {path}")
        return StoredGraph(graph, document["hw_name"], {k: int(document["numerics"][k]) for k in _NUMERICS})
    except SubrowError:
        raise
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProgramError(f"{path}: not a Subrow Graph, or corrupt ({error!r})") from error


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has lists where nodes have tuples."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}


def _node(item: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> Node:
    arrays = {k: tensors[f"{item['name']}/{k}"] for k in item["arrays"]}
    attrs: dict[str, Any] = _tuples(item["attrs"])
    if "quant" in attrs:
        attrs["quant"], arrays = _integers(_tuples(attrs["quant"]), arrays)
    return Node(item["name"], item["op"], tuple(item["inputs"]), tuple(item["shape"]), attrs, arrays)


def _integers(fields: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> tuple[Quant, dict[str, NDArray[Any]]]:
    """The integers of a layer and its parameters; float weights, which nothing reads any more, are zeros."""
    shape = fields.pop("u_shape")
    params = {"weight": np.broadcast_to(np.float32(0), fields.pop("weight_shape"))}
    values = {name: arrays[_QUANT + name].astype(np.int64) for name in _ARRAYS}
    if "mask" in arrays:
        size = math.prod(shape)
        params["mask"] = np.unpackbits(arrays["mask"], count=size).astype(bool).reshape(shape)
        kept, values["u"] = values["u"], np.zeros(shape, np.int64)
        values["u"][params["mask"]] = kept
    fields |= {**values, "u": values["u"].reshape(shape)}
    return Quant(**fields), params
