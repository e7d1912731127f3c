"""Properties of the specification: rounding, Winograd and instructions."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subrow.spec import isa
from subrow.spec.errors import ProgramError, QuantisationError
from subrow.spec.formats import clamp, round_shift, scale_to_fixed, signed_max
from subrow.spec.winograd import TileKind, as_float, as_int, tap_order, tile, transform_weights


@given(st.integers(-(2**40), 2**40), st.integers(0, 30))
def test_round_shift(x: int, n: int) -> None:
    assert int(round_shift(np.int64(x), n)) == (Fraction(x, 2**n) + Fraction(int(n > 0), 2)).__floor__()


@given(st.integers(-(2**40), 2**40), st.integers(2, 40))
def test_clamp(x: int, bits: int) -> None:
    assert abs(int(clamp(np.int64(x), bits))) == min(abs(x), signed_max(bits))


@given(st.floats(1e-9, 60000))
def test_scale_to_fixed(scale: float) -> None:
    mult, shift = scale_to_fixed(scale)
    assert 0 <= mult < 1 << 16 and 0 <= shift <= 47
    assert abs(mult / 2**shift - scale) <= scale * 2**-15 + 2**-47


@pytest.mark.parametrize("scale", [-1.0, float("nan"), float("inf"), 1e9])
def test_bad_scale(scale: float) -> None:
    with pytest.raises(QuantisationError):
        scale_to_fixed(scale)


@pytest.mark.parametrize("kind", [TileKind.F2, TileKind.F4])
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_winograd_is_convolution(kind: TileKind, seed: int) -> None:
    rng, t = np.random.default_rng(seed), tile(kind)
    x, g = rng.integers(-127, 128, (t.alpha, t.alpha)), rng.integers(-127, 128, (3, 3))
    rows, columns = zip(*tap_order(kind), strict=True)
    v = as_int(t.bt) @ x @ as_int(t.bt).T
    m = np.zeros((t.alpha, t.alpha))
    m[list(rows), list(columns)] = transform_weights(kind, g[None, None].astype(float))[:, 0, 0]
    y = as_float(t.at) @ (m * v) @ as_float(t.at).T
    direct = [[(x[i : i + 3, j : j + 3] * g).sum() for j in range(t.m)] for i in range(t.m)]
    np.testing.assert_allclose(y, direct, rtol=1e-9, atol=1e-6)
    assert np.abs(v).max() <= t.input_growth * 127


@st.composite
def instructions(draw: st.DrawFn) -> isa.Instruction:
    values = {}
    for f in isa.FIELDS:
        items = draw(st.lists(st.integers(f.low, f.high), min_size=f.count, max_size=f.count))
        values[f.name] = items[0] if f.count == 1 else tuple(items)
    return isa.Instruction(values)


@given(instructions())
@settings(max_examples=50, deadline=None)
def test_instruction_round_trip(instruction: isa.Instruction) -> None:
    assert isa.decode(instruction.encode()) == instruction


@pytest.mark.parametrize("field", isa.FIELDS, ids=lambda f: f.name)
def test_instruction_refuses_overflow(field: isa.Field) -> None:
    for value in (field.low - 1, field.high + 1):
        with pytest.raises(ProgramError, match=field.name):
            isa.Instruction({field.name: value if field.count == 1 else (value,)})
