"""The bench's layers: what stands in a row is what the counters say."""

from __future__ import annotations

import pytest

from subrow.bench.figures import STEPS, layer_figures
from subrow.bench.run import run
from subrow.spec import hwconfig
from subrow.spec.errors import InputError


@pytest.mark.verilator
def test_layer_figures() -> None:
    hw = hwconfig.load("tiny")
    said: list[str] = []
    rows = layer_figures(hw, ((16, 12),), ("f2",), said.append)
    assert [r.density for r in rows] == [f"{s}/8" for s in STEPS] and len(said) == len(STEPS)
    assert all(r.bit_exact and 0 < r.issue_rate <= 1 and r.cycles_per_second > 0 for r in rows)
    assert rows[0].ratio == 1 and all(r.ratio == pytest.approx(r.cycles / rows[0].cycles, abs=1e-4) for r in rows)
    assert [r.cycles for r in rows] == sorted((r.cycles for r in rows), reverse=True)


def test_unknown_part_is_refused() -> None:
    with pytest.raises(InputError, match="part 'nonsense'"):
        run(None, ("area", "nonsense"))  # type: ignore[arg-type]
