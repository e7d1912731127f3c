"""What compression cost a network, layer by layer: weights removed, rounding, the error of the outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subrow.compress.execute import execute
from subrow.emit.lower import lower
from subrow.ir.graph import Graph, Node
from subrow.ir.weights import Quant, mask_of, real_u, weight_bits
from subrow.spec.hwconfig import HwConfig
from subrow.spec.interpret import Interpreter

IMAGES = 8  # images that output errors are taken from, if there are as many


def images_used(images: NDArray[Any]) -> int:
    """Images that output errors are taken from."""
    return min(IMAGES, len(images))


@dataclass(frozen=True)
class PruneLoss:
    """One layer: weights in its own domain, how many stay, and the relative change of all of them (2-norm)."""

    name: str
    tile: str
    density: str
    weights: int
    kept: int
    weight_error: float


@dataclass(frozen=True)
class QuantLoss:
    """One layer: bits of its weights, their relative error (2-norm), and its output's against the float network."""

    name: str
    tile: str
    density: str
    bits: int
    weight_error: float
    output_error: float


def relative(got: NDArray[Any], wanted: NDArray[Any]) -> float:
    """|got - wanted| / |wanted|, 2-norms."""
    norm = float(np.linalg.norm(wanted.astype(np.float64)))
    return float(np.linalg.norm(got.astype(np.float64) - wanted.astype(np.float64))) / norm if norm else 0.0


def density_text(node: Node, hw: HwConfig) -> str:
    s, length = node.attrs.get("density", (hw.sub_row, hw.sub_row))
    return f"{s}/{length}"


def prune_losses(dense: Graph, pruned: Graph, hw: HwConfig) -> list[PruneLoss]:
    """Every conv of a pruned Graph against the same Graph before pruning."""
    rows = []
    for node in pruned:
        if node.op != "conv":
            continue
        before, after = (real_u(n, hw.sub_row) for n in (dense.node(node.name), node))
        mask = mask_of(node, hw.sub_row)
        kept = after.size if mask is None else int(mask.sum())
        rows.append(
            PruneLoss(node.name, node.attrs.get("tile", "direct"), density_text(node, hw), after.size, kept,
                      relative(after, before))
        )
    return rows


def output_error(before: Graph, after: Graph, images: NDArray[Any]) -> float:
    """Relative error of the outputs of one float Graph against another's on a few images."""
    sample = images[:IMAGES]
    wanted, got = execute(before, sample), execute(after, sample)
    return relative(*(np.concatenate([v.ravel() for v in outputs.values()]) for outputs in (got, wanted)))


def quant_losses(graph: Graph, hw: HwConfig, images: NDArray[Any]) -> list[QuantLoss]:
    """Every layer of a quantised Graph: integers (the numpy reference on its Program) against floats."""
    sample = np.asarray(images[:IMAGES], np.float32)
    wanted = execute(graph, sample, all_tensors=True)
    program = lower(graph, hw)
    walk, scale = Interpreter(program, hw), program.inputs[0].scale
    integers = np.clip(np.floor(sample.astype(np.float64) / scale + 0.5), -127, 127).astype(np.int8)
    name = program.inputs[0].name
    tensors = [list(walk.layers({name: image.reshape(program.inputs[0].shape)})) for image in integers]
    rows = []
    for node in (n for n in graph if n.op == "conv"):
        quant: Quant = node.attrs["quant"]
        own = [i for i, info in enumerate(program.layers) if info.details.get("part_of", info.name) == node.name]
        whole = [np.concatenate([t[i][: program.layers[i].out_channels] for i in own]) for t in tensors]
        got = (np.stack(whole) * quant.out_scale).reshape(wanted[node.name].shape)
        rows.append(
            QuantLoss(node.name, node.attrs.get("tile", "direct"), density_text(node, hw), weight_bits(node, hw),
                      _weight_error(node, quant, hw), relative(got, wanted[node.name]))
        )
    return rows


def _weight_error(node: Node, quant: Quant, hw: HwConfig) -> float:
    """Weights that the integers stand for: mult / 2^shift = s_x * s_u * 2^e0 / s_out (docs/numerics.md)."""
    step = quant.mult / np.exp2(quant.shift.astype(np.float64)) * quant.out_scale / quant.in_scale
    tap = np.exp2(np.array(quant.em, np.float64) - np.array(quant.ev, np.float64))
    return relative(quant.u * tap[:, None, None] * step[None, :, None], real_u(node, hw.sub_row))
