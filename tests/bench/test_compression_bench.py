"""The bench of compression: its own pruner, its tables, and what it says when something is missing."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from subrow.bench import compression
from subrow.bench.compression import Budget, PostTraining, TrainedRow
from subrow.bench.compression_run import document, markdown, run
from subrow.compress.srbs import prunable
from subrow.frontend.torch_export import capture
from subrow.planning import lowered, with_tiles
from subrow.spec import hwconfig
from subrow.spec.errors import InputError, MissingTool


def test_unstructured_keeps_the_largest_weights_of_every_prunable_layer() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
                            nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16)).eval()  # fmt: skip
    x = np.random.default_rng(0).standard_normal((4, 3, 8, 8)).astype(np.float32)
    hw = hwconfig.load("tiny")
    graph = with_tiles(lowered(capture(network, x), hw), "f2", hw, None, False)
    (name,) = prunable(graph, 8)
    before = graph.node(name).params["weight"]
    after = compression.unstructured(graph, 0.25, x).node(name).params["weight"]
    kept = after != 0
    assert kept.sum() == before.size // 4 and np.array_equal(after[kept], before[kept])
    assert np.abs(before[kept]).min() >= np.abs(before[~kept]).max()


ROWS = (
    [PostTraining("net", "SRBS", 0.25, "8", 81.25)],
    [Budget("net", 1000, 990, 82.0, "3/8", 980, 80.5)],
    [TrainedRow("net_2of8", 90.5, 90.0, 0.25, 1000, 0.5, 2.5)],
)


def test_document_and_page_hold_every_figure() -> None:
    found = document("CIFAR-10", 5000, *ROWS)
    assert found["trained"][0]["drop"] == 0.5 and found["trained"][0]["speed_up"] == 5.0
    assert found["budgets"][0]["searched_accuracy"] == 82.0 and found["data"] == "CIFAR-10, 5,000 test images"
    assert found["origin"]["accuracy"] == "measured" and found["origin"]["cycles"] == "estimated"
    page = markdown("CIFAR-10", *ROWS)
    for row in ("| net | SRBS | 25 % | 8 | 81.25 |", "| net | 1,000 | 990 | 82.00 | 3/8 | 980 | 80.50 |",
                "| net_2of8 | 25 % | 90.50 | 90.00 | 0.50 | 1,000 | 0.500 | 2.500 | 5.00x |"):  # fmt: skip
        assert row in page
    assert "Search" not in markdown("CIFAR-10", ROWS[0], [], [])


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="part 'nothing'"):
        run(tmp_path, tmp_path / "c.json", ("nothing",))
    with pytest.raises(InputError, match="no data set there"):
        run(tmp_path, tmp_path / "c.json", ("trained",))
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "brevitas" else real(name))
    with pytest.raises(MissingTool, match="requirements-peers.txt"):
        run(tmp_path, tmp_path / "c.json", ("post-training",))
    assert not list(tmp_path.iterdir())
