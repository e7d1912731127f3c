"""Bits of each layer: what the option says, which layers it reaches, and integers that keep to them."""

from __future__ import annotations

import numpy as np
import pytest

import subrow
from subrow.api import compressed, quantised
from subrow.compress.quantise import quantise
from subrow.compress.weight_bits import Bits, check_stored, parse_bits, with_bits
from subrow.ir.graph import Graph
from subrow.ir.store import load_graph, save_graph
from subrow.ir.verify import GraphError, verify
from subrow.spec import hwconfig
from subrow.spec.errors import ConfigError, QuantisationError
from tests.cli.nets import small

HW = hwconfig.load("tiny")
IMAGES = np.random.default_rng(0).uniform(0, 1, (6, 8, 8, 8)).astype(np.float32)


def layers(graph: Graph) -> list[str]:
    return [n.name for n in graph if n.op == "conv"]


def bits_of(graph: Graph) -> list[int | None]:
    return [n.attrs.get("bits") for n in graph if n.op == "conv"]


@pytest.mark.parametrize(("bits", "found"), [
    ("4", {"": 4}), (8, {"": 8}), ("a.b=4,c=8", {"a.b": 4, "c": 8}), ("4, c=8", {"": 4, "c": 8}), ({"a": 3}, {"a": 3}),
])
def test_what_bits_say(bits: Bits, found: dict[str, int]) -> None:
    assert parse_bits(bits) == found


@pytest.mark.parametrize("bits", ("", "x", "4,8", "a=", "=4", "a=4,a=8", "-4", "4.0", "a=b=c"))
def test_what_bits_cannot_say(bits: str) -> None:
    with pytest.raises(ConfigError, match="give the bits of all weights, such as 4, of single layers"):
        parse_bits(bits)


def test_only_what_the_engine_stores() -> None:
    check_stored("4,x=8", HW)
    check_stored("12", hwconfig.load("wide"))
    with pytest.raises(ConfigError, match="bits 6 of layer x: weights of HwConfig tiny have 4 or 8 bits; other HwConf"):
        check_stored("x=6", HW)
    with pytest.raises(ConfigError, match=r"HwConfig pynq-z2-open have 8 bits; .*pynq-z2 \(4 or 8\), .*wide \(4 or"):
        check_stored("4", hwconfig.load("pynq-z2-open"))


def test_a_number_for_all_leaves_the_first_layer() -> None:
    graph = compressed(small(), IMAGES, HW, None, "f2", bits="4")
    first, *rest = layers(graph)
    assert bits_of(graph) == [None, *[4] * len(rest)]
    assert bits_of(with_bits(graph, f"{rest[0]}=8", HW)) == [None, None, *[4] * len(rest[1:])]
    assert bits_of(with_bits(graph, f"8,{first}=4", HW)) == [4, *[None] * len(rest)]
    with pytest.raises(ConfigError, match=f"bits of layer nothing: no such layer; .* has {first}"):
        with_bits(graph, "nothing=4", HW)


@pytest.mark.parametrize("tile", ("f2", "f4", "direct"))
@pytest.mark.parametrize("density", (None, "4/8"))
def test_weights_keep_to_their_bits(tile: str, density: str | None) -> None:
    graph = quantised(small(), IMAGES, HW, density, tile, IMAGES, bits="4")  # type: ignore[arg-type]
    most = [int(np.abs(n.attrs["quant"].u).max()) for n in graph if n.op == "conv"]
    assert most[0] > 7 and all(4 <= m <= 7 for m in most[1:])


def test_fewer_bits_cost_little_where_there_are_many_scales() -> None:
    """Each tap and each channel has a scale of its own: the error of 4 bits is some percent, not a half."""
    from subrow.losses import quant_losses

    rows = {b: quant_losses(quantised(small(), IMAGES, HW, None, "f2", IMAGES, bits=b), HW, IMAGES) for b in (4, 8)}
    assert [r.bits for r in rows[4]] == [8, 4, 4] and [r.bits for r in rows[8]] == [8, 8, 8]
    assert 1.5 * rows[8][1].weight_error < rows[4][1].weight_error < 0.3
    assert rows[4][-1].output_error < 0.3


def test_bits_are_part_of_a_stored_graph(tmp_path) -> None:
    graph = quantised(small(), IMAGES, HW, "2/8", "f2", IMAGES, bits=4)
    save_graph(graph, tmp_path / "x.graph", HW)
    loaded = load_graph(tmp_path / "x.graph").graph
    assert bits_of(loaded) == bits_of(graph)
    assert subrow.compile(loaded, None, HW).digest() == subrow.compile(graph, None, HW).digest()


def test_a_quantised_graph_takes_no_bits() -> None:
    graph = quantised(small(), IMAGES, HW, None, "f2", IMAGES)
    with pytest.raises(ConfigError, match="already quantised: give no bits"):
        subrow.compile(graph, None, HW, bits=4)


def test_a_pruned_graph_takes_bits() -> None:
    pruned = compressed(small(), IMAGES, HW, "2/8", "f2", IMAGES)
    assert bits_of(quantised(pruned, IMAGES, HW, calibration=IMAGES, bits=4))[1:] == [4, 4]


def test_more_bits_than_the_engine_has_are_refused() -> None:
    graph = compressed(small(), IMAGES, HW, None, "f2")
    name = layers(graph)[1]
    with pytest.raises(QuantisationError, match=f"layer {name}: weights of 12 bits, u_bits = 8"):
        quantise(with_bits(graph, {name: 12}, HW), HW, IMAGES)
    node = graph.node(name).with_attrs(bits="4")
    with pytest.raises(GraphError, match="bits '4', must be an integer, 2..16"):
        verify(graph.replace({name: node}))
