"""A search's cycles are those of the Program that comes of it, and a budget holds for that Program."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from torch import nn

import subrow
from subrow.compress.execute import execute
from subrow.compress.srbs import prune
from subrow.estimate import estimate_program
from subrow.explore import search
from subrow.explore.sensitivity import Curve, Sensitivity, measure, tiled
from subrow.frontend.torch_export import capture
from subrow.ir.graph import Graph
from subrow.spec import hwconfig
from subrow.spec.errors import ConfigError, UnsupportedError
from tests.cli.nets import small_cifar

HW = hwconfig.load("tiny")


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(3).random((8, 3, 32, 32), dtype=np.float32)


@pytest.fixture(scope="module")
def graph(images: np.ndarray) -> Graph:
    return capture(small_cifar(), images[:2])


@pytest.mark.parametrize("tile", ("f2", "auto"))
def test_a_choice_costs_what_its_program_costs(tile: str, graph: Graph, images: np.ndarray) -> None:
    pruner = search.Pruner(graph, HW, tile, True, images)
    found = measure(graph, images, HW, tile, True, kept=(2, 4))
    dense = {c.layer: 8 for c in found.curves}
    assert found.cycles(dense) == pruner.cycles(dense)  # the turns between layers are in `rest`
    least, most = (pruner.cycles({c.layer: s for c in found.curves}) for s in (2, 8))
    for budget in np.linspace(least, most, 5).astype(int)[1:]:
        choice = search.for_budget(found, pruner, int(budget))
        program = subrow.compile(choice.graph, None, HW, calibration=images)
        assert choice.cycles == estimate_program(program, HW).cycles <= budget


def test_bits_count_in_cycles_and_reach_the_program(graph: Graph, images: np.ndarray) -> None:
    hw = dataclasses.replace(HW, name="slow", bandwidth_gbs=0.2)  # bound by bytes
    wide, narrow = (measure(graph, images, hw, "f2", True, kept=(2,), importance="taylor", bits=b) for b in (None, "4"))
    assert all(n.cycles <= w.cycles for n, w in zip(narrow.curves, wide.curves, strict=True)) and narrow != wide
    assert [c.divergence for c in narrow.curves] == [c.divergence for c in wide.curves]
    pruner = search.Pruner(graph, hw, "f2", True, images, "4")
    choice = search.for_budget(narrow, pruner, narrow.cycles({c.layer: 2 for c in narrow.curves}))
    program = subrow.compile(choice.graph, None, hw, calibration=images)
    assert choice.cycles == estimate_program(program, hw).cycles
    assert [i.details["bits"] for i in program.layers][1:] == [4] * (len(program.layers) - 1)


class Overlapping(search.Pruner):
    """Layers cost 50 cycles more together than their curves say, wherever anything is pruned."""

    def cycles(self, chosen: dict[str, int]) -> int:
        return sum(chosen.values()) * 100 + (50 if min(chosen.values()) < 8 else 0)

    def pruned(self, chosen: dict[str, int]) -> Graph:
        return self.graph


def test_a_budget_holds_where_curves_promise_too_much(graph: Graph, images: np.ndarray) -> None:
    curves = tuple(Curve(name, (2, 4, 8), (2.0, 1.0, 0.0), (200, 400, 800)) for name in "ab")
    pruner, found = Overlapping(graph, HW, "f2", True, images), Sensitivity(8, curves, 0)
    assert search.for_budget(found, pruner, 1600).kept == {"a": 8, "b": 8}
    exact = search.for_budget(found, pruner, 1250)
    assert exact.cycles == 1250 and sorted(exact.kept.values()) == [4, 8]
    assert search.for_budget(found, pruner, 1249).cycles <= 1249
    with pytest.raises(ConfigError, match="the fewest that pruning reaches|raise the budget"):
        search.for_budget(found, pruner, 449)


class Two(nn.Module):
    """Two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.a(x)
        return x, self.b(x)


def test_networks_with_several_outputs_are_refused(images: np.ndarray) -> None:
    with pytest.raises(UnsupportedError, match="1 inputs and 2 outputs; networks that learn"):
        measure(capture(Two().eval(), images[:2]), images, HW, "f2", False)


def test_gradients_foretell_small_divergences(graph: Graph) -> None:
    """At 7/8 the second-order term is most of it; dense costs nothing, and fewer weights cost more."""
    images = np.random.default_rng(4).random((64, 3, 32, 32), dtype=np.float32)
    swept, guessed = (
        measure(graph, images, HW, "f2", True, (2, 7), importance=how) for how in ("sweep", "taylor")
    )
    assert [c.cycles for c in swept.curves] == [c.cycles for c in guessed.curves]
    for one, two in zip(swept.curves, guessed.curves, strict=True):
        assert two.divergence[2] == 0 and two.divergence[0] > two.divergence[1] > 0
        plain = plain_divergence(graph, one.layer, images)
        assert plain / 2 < two.divergence[1] < plain * 2, (one.layer, plain, two.divergence)


def plain_divergence(graph: Graph, layer: str, images: np.ndarray) -> float:
    """KL of one layer pruned to 7/8, batch-norm left as it is."""
    ready = tiled(graph, HW, "f2", True)
    one, two = (
        torch.from_numpy(next(iter(execute(g, images).values()))).flatten(1).double().log_softmax(1)
        for g in (ready, prune(ready, (7, 8), [layer]))
    )
    return float((one.exp() * (one - two)).sum(1).mean())


class Interacting(search.Pruner):
    """Pruning "a" and "b" together costs ten times what each costs alone, as no curve of a single layer can say."""

    def cycles(self, chosen: dict[str, int]) -> int:
        return sum(chosen.values()) * 100

    def pruned(self, chosen: dict[str, int]) -> Graph:
        return self.graph

    def divergence(self, chosen: dict[str, int]) -> float:
        lost = {name: (8 - s) / 8 for name, s in chosen.items()}
        return lost["a"] + lost["b"] + 1.5 * lost["c"] + 1.5 * lost["d"] + 20 * lost["a"] * lost["b"]


def test_rounds_find_what_layers_do_together(graph: Graph, images: np.ndarray) -> None:
    pruner, kept = Interacting(graph, HW, "f2", True, images), (2, 4, 6, 8)
    dense = dict.fromkeys("abcd", 8)
    curves = tuple(
        Curve(n, kept, tuple(pruner.divergence({**dense, n: s}) for s in kept), tuple(s * 100 for s in kept))
        for n in "abcd"
    )
    found, budget = Sensitivity(8, curves, 0), 2000
    plain = search.for_budget(found, pruner, budget)
    assert plain.kept["a"] + plain.kept["b"] < 12  # both lose, as their own curves promise
    seen: list[str] = []
    better = search.for_budget(found, pruner, budget, 4, lambda label, share: seen.append(label))
    every = ({n: s for n, s in zip("abcd", choice, strict=True)} for choice in itertools.product(kept, repeat=4))
    least = min(pruner.divergence(c) for c in every if pruner.cycles(c) <= budget)
    assert least <= pruner.divergence(better.kept) < 1.1 * least < pruner.divergence(plain.kept)
    assert better.cycles <= budget and "around a" in seen
    assert pruner.divergence(search.for_budget(found, pruner, budget, 9).kept) <= pruner.divergence(better.kept)


def test_a_choice_is_measured_as_it_is_pruned(graph: Graph, images: np.ndarray) -> None:
    pruner = search.Pruner(graph, HW, "f2", True, images)
    found = measure(graph, images, HW, "f2", True, kept=(2, 4))
    first = found.curves[0]
    alone = {c.layer: 8 for c in found.curves} | {first.layer: 2}
    assert pruner.divergence(alone) == pytest.approx(first.divergence[0], rel=1e-6)
    assert pruner.divergence({c.layer: 8 for c in found.curves}) == first.divergence[-1] == 0
