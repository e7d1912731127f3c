"""The integer program against every combination, and knees of curves whose knee is known."""

from __future__ import annotations

import ctypes
import itertools

import numpy as np
import pytest

from subrow.explore.choose import divergence, knees, quiet_library, uniform, within
from subrow.explore.sensitivity import Curve, Sensitivity
from subrow.spec.errors import ConfigError

KEPT = (1, 2, 4, 8)


def random_curves(seed: int, layers: int = 4) -> Sensitivity:
    rng = np.random.default_rng(seed)
    curves = []
    for i in range(layers):
        falling = np.sort(rng.random(3) * rng.choice([0.1, 1, 5]))[::-1]
        rising = np.sort(rng.integers(100, 5000, 4))
        curves.append(Curve(f"l{i}", KEPT, (*map(float, falling), 0.0), tuple(map(int, rising))))
    return Sensitivity(8, tuple(curves), 321)


@pytest.mark.parametrize("seed", range(8))
def test_no_combination_within_the_budget_is_better(seed: int) -> None:
    found = random_curves(seed)
    names = [c.layer for c in found.curves]
    every = [dict(zip(names, combination, strict=True)) for combination in itertools.product(KEPT, repeat=len(names))]
    for budget in np.quantile([found.cycles(c) for c in every], (0.05, 0.3, 0.7)).astype(int):
        chosen = within(found, int(budget))
        allowed = [c for c in every if found.cycles(c) <= budget]
        assert found.cycles(chosen) <= budget
        assert divergence(found, chosen) == pytest.approx(min(divergence(found, c) for c in allowed))
        same = uniform(found, int(budget))
        assert same is None or divergence(found, same) >= divergence(found, chosen) - 1e-12


def test_a_budget_that_nothing_reaches_is_refused() -> None:
    found = random_curves(1)
    least = found.rest + sum(min(c.cycles) for c in found.curves)
    assert found.cycles(within(found, least)) == least and uniform(found, least - 1) is None
    with pytest.raises(ConfigError, match=f"budget {least - 1:,} cycles: the fewest .* are {least:,}"):
        within(found, least - 1)


@pytest.mark.parametrize(("curve", "knee"), [
    (lambda s: 1 / s, 3), (lambda s: np.exp(-3.0 * s), 2), (lambda s: np.where(s >= 5, 0.0, 5.0 - s), 5),
])  # fmt: skip
def test_knee(curve: object, knee: int) -> None:
    kept = tuple(range(1, 9))
    values = curve(np.array(kept, np.float64))  # type: ignore[operator]
    found = Sensitivity(8, (Curve("a", kept, tuple(values), kept),), 0)
    assert knees(found, np.inf) == {"a": knee}


def test_a_cap_overrules_the_knee() -> None:
    found = Sensitivity(8, (Curve("a", KEPT, (9.0, 1.0, 0.5, 0.0), KEPT),), 0)
    assert knees(found, np.inf) == {"a": 2} and knees(found, 0.6) == {"a": 4} and knees(found, 0.1) == {"a": 8}


def test_a_library_that_prints_does_not_spoil_a_document(capfd: pytest.CaptureFixture[str]) -> None:
    puts = ctypes.CDLL(None).puts
    with quiet_library():
        puts(b"chatter")
    print("document")
    captured = capfd.readouterr()
    assert captured.out == "document\n" and "chatter" in captured.err
