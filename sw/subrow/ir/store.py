"""A Graph as a file: safetensors with every parameter, and the nodes as one JSON document. Never a pickle."""

from __future__ import annotations

import dataclasses
import hashlib
import json
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

FORMAT_VERSION = 2
_KEY = "subrow_graph"
_ARRAYS = ("u", "bias", "mult", "shift")
_QUANT = "quant."


@dataclass(frozen=True)
class StoredGraph:
    """A Graph and the HwConfig that it was made for."""

    graph: Graph
    hw_name: str
    hw_digest: str

    def check_hardware(self, hw: HwConfig) -> None:
        """Raises ProgramError unless the Graph was made for exactly this HwConfig."""
        if self.hw_digest != hw.digest:
            raise ProgramError(
                f"Graph {self.graph.name} was made for HwConfig {self.hw_name} ({self.hw_digest[:8]}), not for "
                f"{hw.name} ({hw.digest[:8]}): make it again, or use --hw {self.hw_name}"
            )


def save_graph(graph: Graph, path: str | Path, hw: HwConfig) -> None:
    """Write the file aside and rename it into place; a killed run leaves no half-written Graph."""
    tensors: dict[str, NDArray[Any]] = {}
    nodes = []
    for node in graph:
        quant = node.attrs.get("quant")
        attrs = {k: v for k, v in node.attrs.items() if k != "quant"}
        arrays = dict(node.params)
        if isinstance(quant, Quant):
            fields = {f.name: getattr(quant, f.name) for f in dataclasses.fields(Quant)}
            arrays |= {_QUANT + name: fields.pop(name) for name in _ARRAYS}
            attrs["quant"] = fields
        tensors |= {f"{node.name}/{k}": np.ascontiguousarray(v) for k, v in arrays.items()}
        nodes.append({
            "name": node.name, "op": node.op, "inputs": node.inputs, "shape": node.shape, "attrs": attrs,
            "arrays": list(arrays),
        })  # fmt: skip
    document = {
        "format_version": FORMAT_VERSION, "name": graph.name, "hw_name": hw.name, "hw_digest": hw.digest,
        "nodes": nodes,
    }  # fmt: skip
    text = json.dumps(document)
    write_atomic(Path(path), save_tensors(tensors, {_KEY: text, "digest": _digest(text, tensors)}))


def _digest(text: str, tensors: dict[str, NDArray[Any]]) -> str:
    h = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        h.update(f"{name}{tensors[name].dtype}{tensors[name].shape}".encode())
        h.update(np.ascontiguousarray(tensors[name]).tobytes())
    return h.hexdigest()


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
        return StoredGraph(graph, document["hw_name"], document["hw_digest"])
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
        fields = _tuples(attrs["quant"])
        fields |= {name: arrays.pop(_QUANT + name) for name in _ARRAYS}
        attrs["quant"] = Quant(**fields)
    return Node(item["name"], item["op"], tuple(item["inputs"]), tuple(item["shape"]), attrs, arrays)
