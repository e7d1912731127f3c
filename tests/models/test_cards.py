"""Trained networks that come with the project: cards are whole, integers compile, the guide says what the cards say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from subrow.estimate import estimate_program
from subrow.evaluate import program_of
from subrow.spec import hwconfig
from subrow.trained import WEIGHTS, trained

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "training.md").read_text()
NAMES = sorted(p.parent.name for p in WEIGHTS.glob("*/card.json"))


@pytest.mark.parametrize("name", NAMES)
def test_card_and_weights(name: str) -> None:
    found = trained(name)
    for key in ("float_accuracy", "accuracy", "data", "seed", "epochs", "command", "log"):
        assert key in found.card, key
    if not found.in_integers:
        found.network()
        return
    hw = hwconfig.load("pynq-z2")
    estimate = estimate_program(program_of(found, hw), hw)
    row = re.search(rf"^\| {name} \| (\S+) \| (\S+) \| \S+ \| (\S+) \| (\S+) \|$", GUIDE, re.M)
    assert row is not None
    card = found.card
    assert row.groups() == (
        f"{card['float_accuracy']:.2f}", f"{card['accuracy']:.2f}", f"{estimate.cycles:,}", f"{estimate.ms:.3f}"
    )  # fmt: skip
    pruned = [n for n in found.graph().graph if "mask" in n.params]
    assert pruned and all(card["density"][n.name] == n.attrs["density"][0] / n.attrs["density"][1] for n in pruned)


def test_weights_are_not_too_many() -> None:
    assert sum(p.stat().st_size for p in WEIGHTS.rglob("*.safetensors")) <= 24e6
