"""Parts of grouped layers and of concatenations: where they begin, what they share, what disasm says of them."""

from __future__ import annotations

import numpy as np
import pytest

import subrow
from subrow.api import quantised
from subrow.emit.arena import allocate
from subrow.emit.disasm import describe, disassemble
from subrow.emit.slices import own_blocks, part_sizes, parts
from subrow.ir.graph import Graph, Node
from subrow.passes import AFTER_COMPRESSION, run
from subrow.spec import hwconfig
from tests.concat_nets import Dense, Parted, Skip

HW, BOARD = hwconfig.load("tiny"), hwconfig.load("pynq-z2")  # both L = 8; 8 and 16 output channels at once


def grouped(groups: int, inputs: int, outputs: int) -> Node:
    """A 1x1 layer with so many channels in each group."""
    weight = np.arange(groups * outputs * inputs, dtype=np.float32).reshape(-1, inputs, 1, 1)
    attrs = {"stride": 1, "groups": groups}
    return Node("g", "conv", ("x",), (groups * outputs, 4, 4), attrs, {"weight": weight, "bias": weight[:, 0, 0, 0]})


@pytest.mark.parametrize(
    ("groups", "inputs", "outputs"),
    [(64, 1, 1), (136, 1, 1), (13, 1, 1), (6, 4, 4), (6, 12, 6), (2, 16, 24), (8, 3, 5), (1, 24, 9), (20, 1, 2)],
)
@pytest.mark.parametrize("hw", (HW, BOARD), ids=lambda h: h.name)
def test_parts_cover_the_layer_and_begin_at_blocks(
    groups: int, inputs: int, outputs: int, hw: hwconfig.HwConfig
) -> None:
    node = grouped(groups, inputs, outputs)
    sizes = part_sizes(node, hw)
    assert sizes[0] == groups and sizes == sorted(set(sizes), reverse=True)
    for size in sizes:
        cut = parts(node, size, hw.sub_row)
        for name in ("weight", "bias"):
            np.testing.assert_array_equal(np.concatenate([p.node.params[name] for p in cut]), node.params[name])
        first = 0
        for part in cut:
            assert part.source * hw.sub_row == first * inputs and part.target * hw.sub_row == first * outputs
            assert part.output == "g" and part.node.shape[0] == part.node.attrs["groups"] * outputs
            first += part.node.attrs["groups"]
        assert first == groups


@pytest.mark.parametrize(
    ("groups", "inputs", "outputs", "tiny", "board"),
    [(32, 1, 1, 1, 2), (24, 1, 1, 1, 3), (4, 16, 8, 2, 4), (4, 8, 16, 4, 1), (2, 16, 16, 4, 2), (4, 4, 4, 1, 2)],
)
def test_blocks_that_an_output_channel_group_reads(
    groups: int, inputs: int, outputs: int, tiny: int, board: int
) -> None:
    """All of the layer's, unless groups of 8 or 16 output channels read as many blocks each, side by side."""
    node = grouped(groups, inputs, outputs)
    assert (own_blocks(node, HW), own_blocks(node, BOARD)) == (tiny, board)


def images(channels: int) -> np.ndarray:
    return np.random.default_rng(channels).uniform(-1, 1, (2, channels, 6, 5)).astype(np.float32)


def test_what_a_concat_reads_has_its_place_in_it() -> None:
    graph: Graph = run(subrow.api.compressed(Dense().eval(), images(3), HW), AFTER_COMPRESSION)
    slots, total = allocate(graph, 8)
    wide = [n for n in graph if n.op == "concat"][-1]
    row = 5 * 5 * 8  # blocks of 16 + 3 * 8 channels, columns, L
    stem, *layers = (slots[n.name] for n in graph if n.op == "conv")
    assert all(s.row_bytes == row for s in (stem, *layers, slots[wide.name]))
    assert [s.offset - slots[wide.name].offset for s in (stem, *layers)] == [0, 80, 120, 160]
    assert total == 256 + 1216  # image: 6 rows of 5 words; 6 rows of the concatenation; in whole alignments


def test_disasm_says_how_large_parts_are() -> None:
    program = subrow.compile(Skip().eval(), images(8), HW)
    layers = {i["name"]: i for i in describe(program)["layers"]}
    assert layers["a"]["input"] == {"offset": layers["a"]["input"]["offset"], "bytes": 6 * 5 * 8}
    place = layers["a"]["output"]
    assert place["bytes"] == 2 * 6 * 5 * 8 and place["row_bytes"] == 6 * 5 * 8
    assert layers["b"]["residual"] == place == layers["b"]["input"]
    assert layers["b"]["output"]["offset"] == place["offset"] + 2 * 5 * 8
    assert "bytes from row to row" not in disassemble(program)  # the output is the whole concatenation


def test_an_output_may_be_a_part() -> None:
    graph = quantised(Parted().eval(), images(8), HW)
    program = subrow.compile(graph, None, HW)
    _, part = program.outputs
    assert part.row_bytes == 2 * 5 * 8
    assert f"at {part.offset:#x}, {part.row_bytes} bytes from row to row" in disassemble(program)
    by_name = {t["name"]: t for t in describe(program)["memory"]["arena"]["tensors"]}
    assert by_name["b"]["bytes"] == 6 * 5 * 8 and by_name["b"]["row_bytes"] == part.row_bytes
