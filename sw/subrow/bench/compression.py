"""What pruning costs before any retraining: searched densities, one density everywhere, unstructured, none at all."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.datasets import Dataset, Labelled
from subrow.api import quantised
from subrow.bench.engine import commit
from subrow.compress.recalibrate import recalibrate
from subrow.compress.stages import graph_accuracy
from subrow.explore.search import Pruner, check_labels, for_budget
from subrow.explore.sensitivity import Importance, Sensitivity, measure
from subrow.ir.graph import Graph, as_float32
from subrow.spec.hwconfig import HwConfig
from subrow.trained import WEIGHTS, captured, trained

KEPT = (2, 3, 4, 6)
"""Weights of each sub-row whose cycles, everywhere, are the budgets."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class Row:
    """One budget. Accuracies in percent of held-out images (measured, float), cycles of one image (estimated).

    uniform: s of every L weights in each layer. search: the densities that the integer program chooses for as many
    cycles. unstructured: the smallest spatial weights of each layer zeroed, as many as uniform removes; the engine
    cannot skip them, so they have no cycles.
    """

    kept: int
    budget: int
    uniform: float
    search: float
    search_cycles: int
    unstructured: float
    densities: dict[str, int]


@dataclass(frozen=True)
class Setup:
    """What is measured: a trained float network, images without labels to prune with, held-out ones to count."""

    network: str
    hw: HwConfig
    data: Dataset
    calibration: int
    limit: int
    importance: Importance
    kept: tuple[int, ...] = KEPT

    @property
    def holdout(self) -> Labelled:
        images, labels = self.data.holdout
        return Labelled(images[: self.limit], labels[: self.limit])


def run(setup: Setup, command: str, say: Say) -> dict[str, Any]:
    """The document of docs/results/compression.json. Raises InputError for data that is not the network's."""
    images = setup.data.train.images[: setup.calibration]
    pruner = Pruner(captured(setup.network, images), setup.hw, "f2", True, images)
    check_labels(pruner, setup.holdout)
    say(f"{setup.network}: importance of its layers by {setup.importance}")
    found = measure(pruner.graph, images, setup.hw, "f2", True, importance=setup.importance)
    say("dense, in float and in int8")
    dense = graph_accuracy(pruner.ready, setup.hw, setup.holdout)
    int8 = graph_accuracy(quantised(pruner.graph, images, setup.hw, None, "f2", images), setup.hw, setup.holdout)
    rows = [_row(setup, pruner, found, s, say) for s in setup.kept]
    return {
        "network": setup.network, "hw": setup.hw.name, "data": setup.data.name, "held_out": len(setup.holdout.labels),
        "calibration": setup.calibration, "importance": setup.importance, "seed": 1,
        "float": round(dense, 2), "int8": round(int8, 2), "dense_cycles": pruner.cycles({}),
        "rows": [asdict(row) for row in rows], "trained": cards(),
        "command": command, "commit": commit(), "host": platform.machine(),
        "origin": {
            "float": "measured", "int8": "measured", "uniform": "measured", "search": "measured",
            "unstructured": "measured", "trained": "measured", "budget": "estimated", "search_cycles": "estimated",
            "dense_cycles": "estimated",
        },
    }  # fmt: skip


def _row(setup: Setup, pruner: Pruner, found: Sensitivity, kept: int, say: Say) -> Row:
    layers = {c.layer: kept for c in found.curves}
    budget, holdout = pruner.cycles(layers), setup.holdout
    say(f"{kept}/{found.sub_row}: {budget:,} cycles")
    choice = for_budget(found, pruner, budget)
    same, chosen, loose = (
        round(graph_accuracy(graph, setup.hw, holdout), 2)
        for graph in (pruner.pruned(layers), choice.graph, unstructured(pruner, layers))
    )
    return Row(kept, budget, same, chosen, choice.cycles, loose, choice.kept)


def unstructured(pruner: Pruner, kept: dict[str, int]) -> Graph:
    """The Graph with the smallest spatial weights of each layer zeroed, kept[layer] of L left on average."""
    length = pruner.hw.sub_row
    changed = {}
    for name, s in kept.items():
        node = pruner.ready.node(name)
        changed[name] = node.with_params(weight=as_float32(largest(node.params["weight"], s / length)))
    return recalibrate(pruner.ready.replace(changed), pruner.images)


def largest(weight: NDArray[Any], share: float) -> NDArray[Any]:
    """A copy with that share of the weights, the largest, kept and the others 0."""
    keep = round(weight.size * share)
    result = np.zeros(weight.size, weight.dtype)
    chosen = np.argsort(-np.abs(weight.ravel()), kind="stable")[:keep]
    result[chosen] = weight.ravel()[chosen]
    return result.reshape(weight.shape)


def cards() -> list[dict[str, Any]]:
    """The networks that come with the project in integers: accuracies of their cards, on all test images."""
    found = [trained(p.parent) for p in sorted(WEIGHTS.glob("*/card.json"))]
    keys = ("float_accuracy", "accuracy", "seed", "epochs", "command")
    return [{"name": t.folder.name, **{k: t.card.get(k) for k in keys}} for t in found if t.in_integers]


def page(document: dict[str, Any]) -> str:
    """The document as Markdown."""
    lines = [
        f"# Compression of {document['network']}",
        "",
        f"Accuracy is *measured* in percent of {document['held_out']:,} held-out images of {document['data']}, before",
        f"any retraining; cycles of one image are *estimated* for `{document['hw']}`. Importance of layers: "
        f"`{document['importance']}`;",
        f"pruned on {document['calibration']} images. The budget of a row is the cycles of one density in every layer.",
        "",
        f"Dense: {document['float']:.2f} in float, {document['int8']:.2f} in int8 on F(2x2), "
        f"{document['dense_cycles']:,} cycles.",
        "",
        "| kept | budget | one density | search | its cycles | unstructured |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['kept']}/8 | {r['budget']:,} | {r['uniform']:.2f} | {r['search']:.2f} | {r['search_cycles']:,} | "
        f"{r['unstructured']:.2f} |"
        for r in document["rows"]
    ]
    lines += [
        "",
        "Unstructured: the smallest spatial weights of each layer zeroed, as many; the engine cannot skip those.",
        "",
        "Retrained networks in integers, *measured* on all test images:",
        "",
        "| network | float | int8 |",
        "|---|---|---|",
        *(f"| {t['name']} | {t['float_accuracy']:.2f} | {t['accuracy']:.2f} |" for t in document["trained"]),
        "",
        f"`{document['command']}`, commit {document['commit']}",
        "",
    ]
    return "\n".join(lines)


def page_path(out: Path) -> Path:
    """The page beside a document."""
    return out.with_suffix(".md")
