"""What compression does to accuracy, in one run: SRBS beside what users would do instead, and the trained networks.

Tables: post-training (nothing retrained), search against uniform densities at equal cycles, and the networks that come
with the project. Test images of CIFAR-10 throughout; choices are made on training images alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.datasets import Dataset
from subrow.api import quantised
from subrow.compress.brevitas_ptq import brevitas_int8
from subrow.compress.recalibrate import recalibrate
from subrow.compress.srbs import parse_density, prunable, prune
from subrow.compress.stages import graph_accuracy, module_accuracy
from subrow.estimate import estimate_network, estimate_program
from subrow.evaluate import program_of
from subrow.explore.choose import uniform
from subrow.explore.search import ROUNDS, Pruner, for_budget
from subrow.explore.sensitivity import measure
from subrow.frontend.load import load_model
from subrow.frontend.torch_export import capture
from subrow.ir.graph import Graph, as_float32
from subrow.passes.choose_tile import TileName
from subrow.planning import lowered, with_tiles
from subrow.spec import hwconfig
from subrow.trained import WEIGHTS, Trained, trained

Say = Callable[[str], None]
Images = NDArray[np.float32]

HW, BASELINE = "pynq-z2", "dense16-pynq-z2"
FLOATS = ("resnet20_cifar10", "vgg_nagadomi_cifar10")
SEARCHED = FLOATS[0]
DENSITIES = ("4/8", "2/8")
BITS = (8, 4)
"""Of the weights of all layers but the first."""
UNIFORM = (5, 4, 3)
"""Weights of eight whose cycles are the budgets of the search."""
CALIBRATED_ON = 256  # training images
SEARCH_ON = 128


@dataclass(frozen=True)
class PostTraining:
    """One way to compress a trained network without training it further."""

    network: str
    method: str
    kept: float  # share of the weights of the pruned layers
    bits: str
    accuracy: float  # percent of the test images


@dataclass(frozen=True)
class Budget:
    """Search against the largest uniform density within as many cycles; float, before any retraining."""

    network: str
    budget: int
    searched_cycles: int
    searched_accuracy: float
    uniform_kept: str
    uniform_cycles: int
    uniform_accuracy: float


@dataclass(frozen=True)
class TrainedRow:
    """A network that comes with the project, in integers. Cycles of one image, estimated."""

    name: str
    float_accuracy: float
    accuracy: float
    kept: float
    cycles: int
    ms: float
    dense16_ms: float

    @property
    def drop(self) -> float:
        """Points lost against the float network."""
        return round(self.float_accuracy - self.accuracy, 2)

    @property
    def speed_up(self) -> float:
        """Against the dense 16-bit baseline."""
        return self.dense16_ms / self.ms


def unstructured(graph: Graph, share: float, images: Images) -> Graph:
    """The largest `share` of every prunable layer's spatial weights stays; batch-norm is estimated again."""
    changed = {}
    for name in prunable(graph, 8):
        weight = graph.node(name).params["weight"]
        order = np.argsort(np.abs(weight), axis=None)
        kept = weight.copy().ravel()
        kept[order[: round(weight.size * (1 - share))]] = 0
        changed[name] = graph.node(name).with_params(weight=as_float32(kept.reshape(weight.shape)))
    return recalibrate(graph.replace(changed), images)


def post_training(name: str, data: Dataset, say: Say) -> list[PostTraining]:
    """Every method on one float network."""
    hw, model = hwconfig.load(HW), trained(name).network()
    images = data.train.first(CALIBRATED_ON).images
    graph = with_tiles(lowered(capture(model, images[:2]), hw), "f2", hw, None, False)
    rows: list[PostTraining] = []

    def keep(method: str, kept: float, bits: str, accuracy: float) -> None:
        rows.append(PostTraining(name, method, kept, bits, round(accuracy, 2)))
        say(f"{name}, {method}, {bits}, {kept:.0%}: {accuracy:.2f} %")

    keep("float", 1, "float32", module_accuracy(model, data.test))
    keep("brevitas, post-training", 1, "8", module_accuracy(brevitas_int8(model, images), data.test))
    tiles: tuple[TileName, ...] = ("f2", "f4")
    for tile, bits in itertools.product(tiles, BITS):
        dense = quantised(model, images[:2], hw, None, tile, images, bits=bits)
        keep(f"Subrow, dense {tile.upper()}", 1, str(bits), graph_accuracy(dense, hw, data.test))
    for density in DENSITIES:
        s, length = parse_density(density)
        free = unstructured(graph, s / length, images)
        keep("unstructured magnitude", s / length, "float32", graph_accuracy(free, hw, data.test))
        plain = recalibrate(prune(graph, density), images)
        keep("SRBS magnitude, F2", s / length, "float32", graph_accuracy(plain, hw, data.test))
        for bits in BITS:
            ready = quantised(model, images[:2], hw, density, "f2", images, bits=bits)
            keep("SRBS compensated, F2", s / length, str(bits), graph_accuracy(ready, hw, data.test))
    return rows


def budgets(name: str, data: Dataset, say: Say) -> list[Budget]:
    """The search at the cycles of several uniform densities."""
    hw, images = hwconfig.load(HW), data.train.first(SEARCH_ON).images
    pruner = Pruner(capture(trained(name).network(), images[:2]), hw, "f2", False, images)
    found = measure(pruner.graph, images, hw, "f2", False, progress=lambda layer, _: say(f"{name}: prune {layer}"))
    rows = []
    for s in UNIFORM:
        limit = pruner.cycles({c.layer: s for c in found.curves})
        same = uniform(found, limit, pruner.cycles)
        assert same is not None  # s itself fits
        choice = for_budget(found, pruner, limit, ROUNDS, lambda label, _: say(f"{name}: {label}"))
        accuracy = [graph_accuracy(g, hw, data.test) for g in (choice.graph, pruner.pruned(same))]
        say(f"{name}, {limit:,} cycles: search {accuracy[0]:.2f} %, uniform {accuracy[1]:.2f} %")
        rows.append(Budget(name, limit, choice.cycles, round(accuracy[0], 2), f"{next(iter(same.values()))}/8",
                           pruner.cycles(same), round(accuracy[1], 2)))  # fmt: skip
    return rows


def trained_rows(data: Dataset, say: Say) -> list[TrainedRow]:
    """Every network in integers of models/weights that was trained on this data set."""
    rows = []
    for folder in sorted(p.parent for p in WEIGHTS.glob("*/card.json")):
        found = trained(folder)
        if not found.in_integers or not found.card["data"].startswith(data.name):
            continue
        say(f"{folder.name}: accuracy and cycles")
        rows.append(_trained_row(found, data))
    return rows


def _trained_row(found: Trained, data: Dataset) -> TrainedRow:
    stored, hw = found.graph(), hwconfig.load(HW)
    guess = estimate_program(program_of(found, hw), hw)
    wide = hwconfig.load(BASELINE)
    model: Any = load_model(found.card["network"], found.card.get("arguments", {}))
    baseline = estimate_network(capture(model, data.train.first(2).images), wide, None, "auto", False)
    accuracy = graph_accuracy(stored.graph, hw, data.test)
    densities = [d for d in found.card["density"].values() if d < 1]
    kept = float(np.mean(densities)) if densities else 1.0
    return TrainedRow(found.folder.name, found.card["float_accuracy"], round(accuracy, 2), kept, guess.cycles,
                      round(guess.ms, 4), round(baseline.ms, 4))  # fmt: skip
