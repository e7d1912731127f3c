"""Shapes and attributes of every operator: what is inferred equals what torch computes, and wrong ones are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from subrow.compress.execute import execute
from subrow.ir.dump import dump
from subrow.ir.graph import OPS, Graph, Node
from subrow.ir.shapes import infer
from subrow.ir.verify import GraphError, verify

RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 4, 11, 9)).astype(np.float32) * 3
Y = X[:, ::-1].copy()  # what the 1x1 convolution of graph_of makes of X
WEIGHT, BIAS = RNG.standard_normal((6, 2, 3, 5)).astype(np.float32), RNG.standard_normal(6).astype(np.float32)
FULL = RNG.standard_normal((3, 4, 2, 2)).astype(np.float32)
FC = RNG.standard_normal((3, 4 * 11 * 9)).astype(np.float32)
STATS = {k: RNG.uniform(0.5, 2, 4).astype(np.float32) for k in ("gamma", "beta", "mean", "var")}
T, F = torch.from_numpy, functional
BORDER = F.pad(T(X), (1, 2, 0, 1))

CASES: list[tuple[str, int, dict[str, Any], dict[str, np.ndarray], torch.Tensor]] = [
    ("conv", 1, {"stride": (2, 1), "pad": (0, 1, 1, 2), "groups": 2}, {"weight": WEIGHT, "bias": BIAS},
     F.conv2d(BORDER, T(WEIGHT), T(BIAS), (2, 1), groups=2)),
    ("conv", 1, {"stride": 3, "groups": 1, "act": "leaky", "slope": 0.2}, {"weight": FULL},
     F.leaky_relu(F.conv2d(T(X), T(FULL), stride=3), 0.2)),
    ("conv", 1, {"stride": 1, "groups": 1, "act": "relu6", "pool": True}, {"weight": FULL},
     F.max_pool2d(F.relu6(F.conv2d(T(X), T(FULL))), 2)),
    ("batch_norm", 1, {"eps": 1e-3}, STATS,
     F.batch_norm(T(X), T(STATS["mean"]), T(STATS["var"]), T(STATS["gamma"]), T(STATS["beta"]), eps=1e-3)),
    ("relu", 1, {}, {}, F.relu(T(X))),
    ("relu6", 1, {}, {}, T(np.clip(X, 0, 6))),
    ("leaky_relu", 1, {"slope": 0.1}, {}, T(np.where(X < 0, 0.1 * X, X))),
    ("max_pool", 1, {"kernel": 3, "stride": 2, "pad": (1, 1, 1, 1)}, {}, F.max_pool2d(T(X), 3, 2, 1)),
    ("max_pool", 1, {"kernel": (3, 4), "stride": (1, 2), "pad": (0, 1, 1, 2)}, {},
     F.max_pool2d(F.pad(T(X), (1, 2, 0, 1), value=-1e9), (3, 4), (1, 2))),
    ("avg_pool", 1, {"kernel": 3, "stride": 2, "pad": (1, 1, 1, 1), "count_include_pad": True}, {},
     F.avg_pool2d(T(X), 3, 2, 1)),
    ("avg_pool", 1, {"kernel": (2, 3), "stride": 1, "pad": (1, 1, 1, 1), "count_include_pad": False}, {},
     F.avg_pool2d(T(X), (2, 3), 1, 1, count_include_pad=False)),
    ("global_avg_pool", 1, {}, {}, T(X).mean((2, 3), keepdim=True)),
    ("upsample", 1, {"factor": 2}, {}, T(X.repeat(2, 2).repeat(2, 3))),
    ("concat", 2, {}, {}, torch.cat([T(X), T(Y)], 1)),
    ("add", 2, {}, {}, T(X + Y)),
    ("flatten", 1, {}, {}, T(X).flatten(1)),
]  # fmt: skip


def graph_of(op: str, count: int, attrs: dict[str, Any], params: dict[str, np.ndarray]) -> Graph:
    """The operator on the input, or on it and on Y, which a convolution that reverses the channels makes."""
    source = Node("x", "input", (), X.shape[1:])
    nodes, inputs = [source], ["x"]
    if count == 2:
        weight = np.eye(4, dtype=np.float32)[::-1].reshape(4, 4, 1, 1).copy()
        nodes.append(Node("y", "conv", ("x",), X.shape[1:], {"stride": 1, "groups": 1}, {"weight": weight}))
        inputs.append("y")
    node = Node("n", op, tuple(inputs), (), attrs, params)
    node = node.evolve(shape=infer(node, [X.shape[1:]] * count))
    return verify(Graph(op, (*nodes, node, Node("output", "output", ("n",), node.shape))))


@pytest.mark.parametrize("case", CASES, ids=lambda c: c[0])
def test_shape_and_numbers(case: tuple[str, int, dict[str, Any], dict[str, np.ndarray], torch.Tensor]) -> None:
    op, count, attrs, params, expected = case
    graph = graph_of(op, count, attrs, params)
    got = execute(graph, X)["output"]
    assert got.shape[1:] == graph.node("n").shape == tuple(expected.shape[1:])
    np.testing.assert_allclose(got, expected.numpy(), rtol=1e-4, atol=1e-4)
    assert op in dump(graph) and all(f"{k}=" in dump(graph) for k in attrs)


def test_linear() -> None:
    flat = Node("f", "flatten", ("x",), (396,))
    node = Node("n", "linear", ("f",), (3,), {}, {"weight": FC})
    graph = Graph("g", (Node("x", "input", (), X.shape[1:]), flat, node, Node("output", "output", ("n",), (3,))))
    np.testing.assert_allclose(execute(verify(graph), X)["output"], X.reshape(2, -1) @ FC.T, rtol=1e-4, atol=1e-4)


def test_every_operator_is_covered() -> None:
    assert {c[0] for c in CASES} | {"input", "output", "linear"} == set(OPS)


@pytest.mark.parametrize(("op", "attrs", "params", "message"), [
    ("conv", {"stride": 1, "groups": 3}, {"weight": FULL}, "3 groups does not take 4 channels"),
    ("conv", {"stride": 1, "groups": 2}, {"weight": WEIGHT[:5]}, "5 output channels do not divide into 2 groups"),
    ("conv", {"stride": 0, "groups": 1}, {"weight": FULL}, r"stride \(0, 0\)"),
    ("conv", {"stride": 1, "groups": 1, "act": "gelu"}, {"weight": FULL}, "act 'gelu', must be one of relu, relu6"),
    ("conv", {"stride": 1, "groups": 1, "act": "leaky"}, {"weight": FULL}, "slope None, must be 0..1"),
    ("conv", {"stride": 1, "groups": 1, "relu": True}, {"weight": FULL}, "unknown attribute 'relu'"),
    ("conv", {"stride": 1}, {"weight": FULL}, "attribute 'groups' is missing"),
    ("conv", {"stride": 1, "groups": 1}, {}, "parameter 'weight' is missing"),
    ("conv", {"stride": 1, "groups": 1}, {"weight": np.ones((2, 4, 12, 1), np.float32)}, "smaller than window"),
    ("leaky_relu", {"slope": -0.1}, {}, "slope -0.1"),
    ("max_pool", {"kernel": 2, "stride": 2, "pad": (2, 0, 0, 0)}, {}, "nothing but border"),
    ("avg_pool", {"kernel": 2, "stride": 2, "count_include_pad": 1}, {}, "count_include_pad 1"),
    ("upsample", {"factor": 3}, {}, "factor 3, must be 2"),
    ("batch_norm", {"eps": 0.0}, {**STATS, "var": np.zeros(4, np.float32)}, "variance . eps is 0"),
    ("relu", {"out_scale": 0.0}, {}, "out_scale 0.0"),
    ("flatten", {"start": 1}, {}, "unknown attribute 'start'; known: out_scale"),
])  # fmt: skip
def test_wrong_is_refused(op: str, attrs: dict[str, Any], params: dict[str, np.ndarray], message: str) -> None:
    node = Node("n", op, ("x",), (4, 11, 9), attrs, params)
    graph = Graph("g", (Node("x", "input", (), X.shape[1:]), node, Node("output", "output", ("n",), (4, 11, 9))))
    with pytest.raises(GraphError, match=f"Graph g after a pass: node n .*{message}"):
        verify(graph, "a pass")


def test_concat_of_other_sizes_is_refused() -> None:
    small = Node("s", "max_pool", ("x",), (4, 5, 4), {"kernel": 2, "stride": 2})
    node = Node("n", "concat", ("x", "s"), (8, 11, 9))
    graph = Graph("g", (Node("x", "input", (), X.shape[1:]), small, node, Node("output", "output", ("n",), node.shape)))
    with pytest.raises(GraphError, match="differ in height or width"):
        verify(graph)
