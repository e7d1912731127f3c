"""The compression bench on a small network: equal cycles, the right weights zeroed, a page of what was measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from models import datasets
from subrow.bench.compression import Setup, cards, largest, page, run, unstructured
from subrow.explore.search import Pruner
from subrow.spec import hwconfig
from subrow.trained import captured
from tests.models.cifar import write_pickles

ROOT = Path(__file__).resolve().parents[2]
NETWORK, HW = "tests.cli.nets:small_cifar", hwconfig.load("tiny")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> datasets.Dataset:
    folder = tmp_path_factory.mktemp("cifar")
    write_pickles(folder, 60)
    return datasets.load(folder)


def test_the_largest_weights_stay() -> None:
    weight = np.array([[3.0, -1.0], [0.5, -4.0]], np.float32)
    np.testing.assert_array_equal(largest(weight, 0.5), [[3, 0], [0, -4]])
    np.testing.assert_array_equal(largest(weight, 1.0), weight)
    assert weight[1, 0] == 0.5


def test_unstructured_pruning_removes_as_many_weights(data: datasets.Dataset) -> None:
    images = data.train.images[:8]
    pruner = Pruner(captured(NETWORK, images), HW, "f2", True, images)
    layers = [n.name for n in pruner.ready if n.op == "conv" and n.attrs["groups"] == 1][1:]
    graph = unstructured(pruner, dict.fromkeys(layers, 2))
    for name in layers:
        weight = graph.node(name).params["weight"]
        assert np.count_nonzero(weight) == round(weight.size / 4)


def test_the_document_and_its_page(data: datasets.Dataset) -> None:
    document = run(Setup(NETWORK, HW, data, 16, 10, "taylor", (2, 4)), "python bench", lambda text: None)
    json.dumps(document)
    assert document["held_out"] == 10 and [row["kept"] for row in document["rows"]] == [2, 4]
    dense = document["dense_cycles"]
    for row in document["rows"]:
        assert row["search_cycles"] <= row["budget"] < dense
        assert all(0 <= row[key] <= 100 for key in ("uniform", "search", "unstructured"))
    assert {c["name"] for c in document["trained"]} >= {"resnet20_cifar10_2of8", "vgg_nagadomi_cifar10_2of8"}
    text = page(document)
    assert f"| 2/8 | {document['rows'][0]['budget']:,} |" in text
    assert "| resnet20_cifar10_2of8 | 88.38 | 85.06 |" in text


def test_its_errors_are_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "scripts/bench_compression.py", "--data", tmp_path, "--out", tmp_path / "x.json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.returncode == 2 and done.stderr.startswith("error: data ") and len(done.stderr.splitlines()) == 1


def test_the_page_of_the_project_is_its_document() -> None:
    """And the cards in it are those that come with the project."""
    results = ROOT / "docs" / "results"
    document = json.loads((results / "compression.json").read_text())
    assert (results / "compression.md").read_text() == page(document)
    assert document["trained"] == cards()
