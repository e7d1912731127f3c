"""Graph files: what is read is what was written; damage and other hardware are refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from subrow.api import compressed, quantised
from subrow.emit.lower import lower
from subrow.ir.dump import dump
from subrow.ir.graph import Graph
from subrow.ir.store import load_graph, save_graph
from subrow.spec import hwconfig
from subrow.spec.errors import ProgramError
from tests.cli.nets import small

HW = hwconfig.load("tiny")
IMAGES = np.random.default_rng(0).uniform(0, 1, (4, 8, 8, 8)).astype(np.float32)


def same(one: Graph, two: Graph) -> None:
    assert dump(one) == dump(two)
    for a, b in zip(one, two, strict=True):
        assert dict(a.attrs).keys() == dict(b.attrs).keys() and a.params.keys() == b.params.keys()
        for name in a.params:
            assert a.params[name].dtype == b.params[name].dtype
            np.testing.assert_array_equal(a.params[name], b.params[name])


def test_round_trip(tmp_path: Path) -> None:
    graph = compressed(small(), IMAGES, HW, "3/8", "f4", IMAGES)
    save_graph(graph, tmp_path / "g.graph", HW)
    stored = load_graph(tmp_path / "g.graph")
    assert stored.graph.stage == "compressed"
    same(graph, stored.graph)


@pytest.mark.parametrize("density", (None, "3/8"))
def test_integers_round_trip_without_float_weights(density: str | None, tmp_path: Path) -> None:
    graph = quantised(small(), IMAGES, HW, density, "f4", IMAGES)
    save_graph(graph, tmp_path / "g.graph", HW)
    stored = load_graph(tmp_path / "g.graph").graph
    assert stored.stage == "quantised" and lower(stored, HW).digest() == lower(graph, HW).digest()
    for a, b in zip(graph, stored, strict=True):
        assert a.op == b.op and a.inputs == b.inputs and a.shape == b.shape
        if a.op == "conv":
            assert a.params["weight"].shape == b.params["weight"].shape and ("mask" in a.params) == ("mask" in b.params)
            for field in dataclasses.fields(a.attrs["quant"]):
                one, two = (getattr(n.attrs["quant"], field.name) for n in (a, b))
                np.testing.assert_array_equal(one, two)
    whole = sum(v.nbytes for n in graph for v in n.params.values())
    assert (tmp_path / "g.graph").stat().st_size < whole


def test_hardware_with_the_same_numbers_takes_a_graph(tmp_path: Path) -> None:
    save_graph(compressed(small(), IMAGES, HW), tmp_path / "g.graph", HW)
    stored = load_graph(tmp_path / "g.graph")
    stored.check_hardware(hwconfig.load("pynq-z2"))
    with pytest.raises(ProgramError, match="made for HwConfig tiny with u_bits = 8, not for wide with 12"):
        stored.check_hardware(hwconfig.load("wide"))


def test_damage_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "g.graph"
    save_graph(compressed(small(), IMAGES, HW), path, HW)
    data = path.read_bytes()
    for name, content, message in (
        ("bit", data[:-5] + bytes([data[-5] ^ 1]) + data[-4:], "digest mismatch"),
        ("cut", data[:-100], "not a Subrow Graph"),
        ("empty", b"", "not a Subrow Graph"),
        ("other", save({"a": np.zeros(3, np.uint8)}, {"x": "y"}), "not a Subrow Graph"),
        ("version", data.replace(b'\\"format_version\\": 3', b'\\"format_version\\": 9'), "Graph format 9"),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ProgramError, match=message):
            load_graph(tmp_path / name)
    with pytest.raises(ProgramError, match="cannot read Graph: No such file"):
        load_graph(tmp_path / "none")
