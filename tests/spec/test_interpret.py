"""The independent walk: weights decoded from hand-assembled images, and cut Programs that keep their weights' place."""

from __future__ import annotations

import dataclasses
import tracemalloc

import numpy as np
import pytest

from subrow.report.verify import until
from subrow.spec import hwconfig, interpret, reference
from subrow.spec.errors import ProgramError
from subrow.spec.interpret import Interpreter, decode_weights
from tests.devices.assemble import Shape, change, feeds_of, make_layer, program_of

SHAPES = {
    "f2-sparse": Shape(tile=1, channels=20, outputs=20, sub_s=3, pad=1, ev=(0, 2), em=(0, 3), h=9, w=7),
    "f2-implicit": Shape(tile=1, channels=16, outputs=9, sub_s=5, implicit=True, pad=1),
    "f4-pool-residual": Shape(tile=2, channels=8, outputs=12, h=9, w=9, sub_s=3, pad=1, pool=True, residual=True),
    "direct-window": Shape(tile=0, channels=12, outputs=24, h=9, w=7, kernel=(3, 2), stride=2, pad=1, sub_s=2),
    "linear": Shape(tile=0, channels=64, outputs=10, h=1, w=1, sub_s=4),
    "lanes": Shape(tile=3, channels=20, outputs=10, h=3, w=5, kernel=(3, 5), sub_s=3),
    "f2-narrow": Shape(tile=1, channels=20, outputs=20, sub_s=3, pad=1, narrow=True, em=(0, 3), h=9, w=7),
    "direct-narrow-implicit": Shape(tile=0, channels=16, outputs=20, sub_s=7, implicit=True, narrow=True, h=5, w=7),
    "lanes-narrow": Shape(tile=3, channels=100, outputs=20, h=1, w=1, sub_s=1, narrow=True),
    "grouped": Shape(tile=0, channels=16, outputs=16, h=6, w=6, kernel=(3, 3), pad=1, grouped=True, sub_s=1),
}


@pytest.mark.parametrize("hw_name", ("tiny", "wide"))
@pytest.mark.parametrize("name", SHAPES)
def test_decodes_what_the_assembler_packed(name: str, hw_name: str) -> None:
    hw = hwconfig.load(hw_name)
    layer = make_layer(hw, SHAPES[name], 3)
    program = program_of(hw, [layer])
    got = decode_weights(program.decoded()[0], program.image(), hw)
    k, c = len(layer.bias), len(layer.x)
    values = got.u[:k, :c] if layer.ins.tile in (0, 3) else got.u[:, :k, :c]
    np.testing.assert_array_equal(values, layer.u)
    assert np.abs(got.u).sum() == np.abs(layer.u).sum()
    for field in ("bias", "mult", "shift"):
        np.testing.assert_array_equal(getattr(got, field)[:k], getattr(layer, field))
    (y,) = Interpreter(program, hw).layers({n: x[0] for n, x in feeds_of([layer]).items()})
    np.testing.assert_array_equal(y[:k], layer.expected(hw))


@pytest.mark.parametrize("hw_name", ("tiny", "wide"))
@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("part", (1, 3000))
def test_a_layer_in_parts_gives_the_same(name: str, hw_name: str, part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    hw = hwconfig.load(hw_name)
    layer = make_layer(hw, dataclasses.replace(SHAPES[name], outputs=3 * hw.channels), 3)
    program, feed = program_of(hw, [layer]), {n: x[0] for n, x in feeds_of([layer]).items()}
    expected = next(Interpreter(program, hw).layers(feed))
    monkeypatch.setattr(interpret, "PART_WEIGHTS", part)
    monkeypatch.setattr(reference, "BAND_VALUES", part)
    assert part > 1 or name == "grouped" or len(list(interpret.parts_of(program.decoded()[0], hw))) == 3
    (y,) = Interpreter(program, hw, keep=False).layers(feed)
    np.testing.assert_array_equal(y, expected)


def test_memory_does_not_grow_with_the_layers_weights() -> None:
    """Two million weights: kept, 8 bytes each and their float copy; in parts, what PART_WEIGHTS takes."""
    hw = hwconfig.load("tiny")
    layer = make_layer(hw, Shape(tile=0, channels=1024, outputs=2048, h=1, w=1, sub_s=2), 5)
    program, feed = program_of(hw, [layer]), {n: x[0] for n, x in feeds_of([layer]).items()}
    peaks, outputs = [], []
    for keep in (True, False):
        tracemalloc.start()
        outputs.append(next(iter(Interpreter(program, hw, keep).layers(feed))))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    np.testing.assert_array_equal(*outputs)
    assert peaks[0] > 16 * layer.u.size and peaks[1] < 6 * 8 * interpret.PART_WEIGHTS < 1.5 * peaks[0], peaks


def test_memory_does_not_grow_with_the_layers_map() -> None:
    """Of a large map the transformed values and the sums of a part are held, not all of them."""
    hw = hwconfig.load("tiny")
    layer = make_layer(hw, Shape(tile=2, channels=32, outputs=32, h=160, w=160, pad=1), 5)
    program, feed = program_of(hw, [layer]), {n: x[0] for n, x in feeds_of([layer]).items()}
    whole = 8 * 32 * 36 * 40 * 40  # bytes of the transformed input
    tracemalloc.start()
    next(iter(Interpreter(program, hw, keep=False).layers(feed)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * whole, (peak, whole)


def test_cut_program_keeps_the_address_of_its_weights() -> None:
    """40 layers take two pages of instructions; cut after one layer they take one."""
    hw = hwconfig.load("tiny")
    layers = [make_layer(hw, Shape(tile=1, pad=1, sub_s=2, relu=True), seed) for seed in range(40)]
    program = program_of(hw, layers)
    cut = until(program, 0, hw)
    assert cut.weight_base < program.weight_base
    low = program.weight_base
    np.testing.assert_array_equal(cut.image()[low:], program.image()[low:])
    assert cut.outputs[0].shape == (8, 8, 8) and len(cut.layers) == 1


def test_inconsistent_instruction_is_refused() -> None:
    hw = hwconfig.load("tiny")
    program = program_of(hw, [make_layer(hw, Shape(tile=1, pad=1), 1)])
    with pytest.raises(ProgramError, match="chunk_words 1, the reduction needs 32"):
        Interpreter(change(program, 0, chunk_words=1), hw)
    with pytest.raises(ProgramError, match="weights end at byte"):
        Interpreter(change(program, 0, weight_offset=1 << 20), hw)
    with pytest.raises(ProgramError, match="compiled for HwConfig tiny"):
        Interpreter(program, hwconfig.load("wide"))
