"""The energy model: its table, its arithmetic on one layer, and that fewer weights take less."""

from __future__ import annotations

from pathlib import Path

import pytest

from subrow.spec import energy
from subrow.spec.energy import Activity, activity, coefficients, network_energy
from subrow.spec.errors import ConfigError
from subrow.spec.roofline import roofline, traffic
from tests.devices.assemble import Shape, make_layer
from tests.spec.program_files import HW

DENSE = make_layer(HW, Shape(tile=1, channels=16, outputs=16, h=16, w=16, pad=1, implicit=True, block=(4, 8))).ins


def test_coefficients_are_those_of_their_sources() -> None:
    table = coefficients()
    assert table.multiply_8x8 == 0.2 and table.add_bit * 8 == pytest.approx(0.03)
    assert 32 * table.add_bit == pytest.approx(0.1, rel=0.25)
    assert 16 * table.multiply_8x8 == pytest.approx(3.1, rel=0.05)
    assert table.buffer_byte * 8 == 10 and table.memory_byte == 8 * 70
    assert all("pJ" in s for s in table.sources) and "ISCA 2012" in table.sources[2]


def test_one_layer_by_hand() -> None:
    """64 tiles of F(2x2) in 32 groups of 2; 2 words of 8 channels, 4 tap groups, 2 groups of 8 channels out."""
    done = activity(DENSE, HW)
    steps = 32 * 4 * 2 * 8 * 2
    assert steps == round(roofline(DENSE, HW).compute) and done.products == steps * 4 * 8 * 2
    moved = traffic(DENSE, HW)
    assert done.memory_bytes == moved.total
    v = 32 * 2 * 4 * 2 * 32 * 2  # V words of 32 values: one byte read, one byte written
    used = steps * (2 * 32 + 32)  # V of two tiles, 32 weights
    sums = 2 * 32 * 2 * 4 * 2 * 32 * HW.acc_bits // 8
    assert done.buffer_bytes == v + used + sums + moved.total
    spent = energy.energy(Activity(1000, 2000, 3000), HW, coefficients())
    assert spent.multiply == pytest.approx(2e-4) and spent.add == pytest.approx(1000 * 0.00375 * HW.acc_bits * 1e-6)
    assert spent.buffers == pytest.approx(2.5e-3) and spent.memory == pytest.approx(1.68)
    assert spent.total == pytest.approx(spent.multiply + spent.add + spent.buffers + spent.memory)


def test_records_take_the_place_of_the_instruction() -> None:
    record = {"issued": 7, "read_bytes": 100, "weight_bytes": 50}
    done = activity(DENSE, HW, record)
    assert done.products == 7 * HW.multipliers and done.memory_bytes == 150 + traffic(DENSE, HW).written
    assert network_energy([DENSE], HW, [record]).total < network_energy([DENSE], HW).total


def test_sparse_takes_less_of_everything() -> None:
    sparse = make_layer(HW, Shape(tile=1, channels=16, outputs=16, h=16, w=16, pad=1, sub_s=2, block=(4, 8))).ins
    few, all_of_them = network_energy([sparse], HW), network_energy([DENSE, DENSE], HW)
    assert few.multiply == pytest.approx(all_of_them.multiply / 8)
    assert few.total < network_energy([DENSE], HW).total < all_of_them.total


@pytest.mark.parametrize(("change", "text"), (
    (("8x8 = 0.2", "8x8 = -0.2"), "arithmetic.multiply_pj_8x8 = -0.2"),
    (("8x8 = 0.2", '8x8 = "x"'), "must be a number above 0"),
    (("pj_per_byte = 560.0", ""), r"section .memory. must have pj_per_byte and a source"),
    (("source = ", "origin = "), "and a source"), (("[buffer]", "[buffer"), "not an energy table"),
))  # fmt: skip
def test_a_table_that_is_wrong(tmp_path: Path, change: tuple[str, str], text: str) -> None:
    path = tmp_path / "energy.toml"
    path.write_text(energy.TABLE.read_text().replace(*change, 1))
    with pytest.raises(ConfigError, match=text):
        coefficients(path)
