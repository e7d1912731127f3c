"""The cycle model: its memory, its limits, and its figures against the cycles that the RTL is on record with."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from subrow.spec import hwconfig
from subrow.spec.errors import ProgramError
from subrow.spec.isa import Instruction
from subrow.spec.timing import estimate, head_start, quick_cycles
from subrow.spec.timing.memory import Memory, shares
from tests.devices.assemble import Shape, make_layer, program_of
from tests.system.test_rtl_equals_emulator import SHAPES

HW = hwconfig.load("tiny")
GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "cycles.json").read_text())


def instruction(shape: Shape) -> Instruction:
    return program_of(HW, [make_layer(HW, shape, 1)]).decoded()[0]


def changed(ins: Instruction, **fields: object) -> Instruction:
    return Instruction({**ins.values, **fields})


@pytest.mark.parametrize("name", SHAPES)
def test_layers_on_record_are_within_tolerance(name: str) -> None:
    (got,) = estimate([instruction(SHAPES[name])], HW).layers
    assert abs(got - GOLDEN[name]) <= max(30, 0.03 * GOLDEN[name])


def test_a_layer_with_nothing_in_its_way_is_exact() -> None:
    for name in ("f2-dense", "f2-1/8", "f4-4/8", "direct-3x3-s2", "grouped", "max-3x3-s2"):
        assert estimate([instruction(SHAPES[name])], HW).layers == (GOLDEN[name],), name


def test_the_run_is_longer_than_its_layers_and_prefetch_helps() -> None:
    ins = instruction(Shape(tile=1, channels=16, outputs=16, h=16, w=16, pad=1))
    alone, twice = estimate([ins], HW), estimate([ins, ins], HW)
    assert alone.cycles > alone.layers[0]
    assert 0 <= twice.layers[0] - alone.layers[0] <= 20, "the next instruction comes before the first weights"
    assert twice.layers[1] < alone.layers[0], "weights of the second come during the first"
    assert twice.cycles > sum(twice.layers)


def test_a_layer_whose_weights_never_fit_the_ring_is_an_error() -> None:
    ins = instruction(SHAPES["f2-dense"])
    with pytest.raises(ProgramError, match="layer 0: the cycle model stops"):
        estimate([changed(ins, chunk_words=HW.weight_words + 1)], HW)


def test_more_memory_bandwidth_is_never_slower() -> None:
    ins = instruction(Shape(tile=2, channels=32, outputs=32, h=16, w=16, pad=1, resident=False, block=(2, 2)))
    cycles = [estimate([ins], dataclasses.replace(HW, bandwidth_gbs=b)).layers[0] for b in (0.4, 0.8, 1.6, 3.2)]
    assert cycles == sorted(cycles, reverse=True) and cycles[0] > 2 * cycles[2]


# --- choices ------------------------------------------------------------------------------------------------------

LARGE = Shape(tile=1, channels=16, outputs=24, h=64, w=48, pad=1, sub_s=2, block=(4, 3), resident=False)


def test_quick_cycles_of_a_layer_with_many_blocks_are_near() -> None:
    ins = instruction(LARGE)
    assert ins.blocks_y * ins.blocks_x * ins.kgs > 100, "so large that blocks are left out"
    quick, full = quick_cycles(ins, HW), estimate([ins], HW).layers[0]
    assert quick is not None and abs(quick / full - 1) < 0.03


def test_quick_cycles_of_a_small_layer_are_those_of_the_model() -> None:
    ins = instruction(SHAPES["f2-2/8-blocks"])
    assert quick_cycles(ins, HW) == estimate([ins], HW).layers[0]


def test_quick_cycles_end_at_the_bound() -> None:
    ins = instruction(SHAPES["f2-2/8-blocks"])
    full = quick_cycles(ins, HW)
    assert full is not None
    assert quick_cycles(ins, HW, bound=full) == full and quick_cycles(ins, HW, bound=full / 2) is None


def test_weights_that_are_there_shorten_a_layer() -> None:
    ins = instruction(Shape(tile=1, channels=16, outputs=16, h=8, w=8, pad=1))
    head = head_start(ins, ins, HW)
    with_head, without = quick_cycles(ins, HW, head), quick_cycles(ins, HW)
    assert head > 100 and with_head is not None and without is not None and with_head < without
    assert abs(with_head - estimate([ins, ins], HW).layers[1]) <= 15


# --- memory -------------------------------------------------------------------------------------------------------


def test_shares_use_all_bandwidth_and_starve_nobody() -> None:
    for widths, bandwidth in (((8, 16, 8), 14.0), ((8, 8, 8), 16.0)):
        got = shares(widths, (1.0, 1.0, 1.0), bandwidth)
        moved = sum(w * g for w, g in zip(widths, got, strict=True))
        assert moved == pytest.approx(bandwidth, rel=0.05) and min(got) > 0.2


def times(memory: Memory, stream: str, words: list[int]) -> list[float]:
    """When the stream's first n words are over, for each n."""
    found: list[float] = []
    getattr(memory, stream).on_mark = lambda tag, time: found.append(time)
    for n in words:
        getattr(memory, stream).mark(n, 0)
    while memory.step():
        pass
    return found


def test_one_stream_moves_a_word_per_cycle() -> None:
    memory = Memory(HW)
    memory.act.add(10, 100)
    assert times(memory, "act", [1, 50, 100]) == pytest.approx([11, 60, 110])


def test_three_streams_share_once_the_bucket_is_empty() -> None:
    memory = Memory(HW)
    for stream in (memory.act, memory.wgt, memory.out):
        stream.add(0, 400)
    (end,) = times(memory, "act", [400])
    full = memory.capacity / (24 - memory.bandwidth)  # cycles until the bucket is empty
    assert end == pytest.approx(full + (400 - full) * 1.5, rel=0.02)


def test_short_bursts_wait_for_a_place() -> None:
    memory = Memory(HW)
    memory.act.add(0, 16, bursts=[1] * 16)
    ends = times(memory, "act", list(range(1, 17)))
    assert ends[7] <= 16, "the first eight find a place"
    assert ends[8] >= ends[0] + HW.latency_cycles, "the ninth waits for the first one's"
