"""finetune and evaluate, from a folder of images to a Program; killed, resumed, and in two processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.models.cifar import write_pickles

ROOT = Path(__file__).resolve().parents[2]
FLOAT = """
network = "models.vgg_nagadomi:VggNagadomi"
arguments = {width = 0.125, conv_dropout = 0.0, fc_dropout = 0.0}
hw = "tiny"
[float]
epochs = 4
batch = 19
peak_rate = 0.05
augment = {shift = 0, flip = false}
"""
INTEGER = """
network = "models.vgg_nagadomi:VggNagadomi"
arguments = {width = 0.125}
hw = "tiny"
start = "START"
teacher = "START"
[prune]
density = "4/8"
tile = "f2"
linear = true
calibration = 64
[sparse]
epochs = 2
batch = 19
peak_rate = 0.02
distil = 1.0
augment = {shift = 0, flip = false, mix = 0.2}
[integer]
epochs = 1
batch = 19
optimizer = "adam"
peak_rate = 0.001
weight_decay = 0.0
distil = 0.5
augment = {shift = 0, flip = false}
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cifar")
    write_pickles(folder, 40)
    return folder


def test_from_images_to_a_program(data: Path, tmp_path: Path, run: Run) -> None:
    (tmp_path / "float.toml").write_text(FLOAT)
    done = run("finetune", "--recipe", tmp_path / "float.toml", "--data", data, "--out", tmp_path / "f", "--json")
    assert done.code == 0 and done.json["float_accuracy"] > 40, done.err
    (tmp_path / "int.toml").write_text(INTEGER.replace("START", str(tmp_path / "f")))
    command = ["finetune", "--recipe", tmp_path / "int.toml", "--data", data, "--out", tmp_path / "i"]
    first = run(*command, "--json")
    assert first.code == 0, first.err
    card = json.loads((tmp_path / "i" / "card.json").read_text())
    assert card["float_accuracy"] == done.json["float_accuracy"] and card["epochs"] == {"sparse": 2, "integer": 1}
    assert card["density"]["features.conv3_1"] == 0.5 and card["density"]["features.conv1_1"] == 1.0
    check = ("evaluate", tmp_path / "i", "--data", data, "--json")
    results = [run(*check, "--device", device).json for device in ("torch", "emulator")]
    assert results[0]["accuracy"] == results[1]["accuracy"] == pytest.approx(card["accuracy"], abs=0.01)
    assert results[1] == {"accuracy": results[0]["accuracy"], "n": 40, "device": "emulator", "split": "test"}
    before = (tmp_path / "i" / "model.safetensors").read_bytes()
    again = run(*command)
    assert again.code == 2 and "holds checkpoints of an earlier run; give --resume" in again.err
    (tmp_path / "i" / "checkpoints" / "integers.pt").unlink()
    resumed = run(*command, "--resume")
    assert resumed.code == 0 and "resumed after epoch 2" in resumed.err
    after = (tmp_path / "i" / "model.safetensors").read_bytes()
    assert len(after) == len(before) and run(*check).json == results[0]


def test_two_processes(data: Path, tmp_path: Path) -> None:
    (tmp_path / "float.toml").write_text(FLOAT.replace("epochs = 4", "epochs = 1").replace("batch = 19", "batch = 38"))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    command += ["subrow.cli", "finetune", "--recipe", tmp_path / "float.toml", "--data", data, "--device", "cpu"]
    command += ["--out", tmp_path / "f"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT / 'sw'}:{ROOT}"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("accuracy") == 1 and done.stderr.count('"epoch": 1') == 1
    assert json.loads((tmp_path / "f" / "card.json").read_text())["epochs"] == {"float": 1}


def test_errors(data: Path, tmp_path: Path, run: Run) -> None:
    (tmp_path / "int.toml").write_text(INTEGER.replace("START", "nobody"))
    for arguments, message in (
        (("finetune", "--recipe", tmp_path / "none.toml", "--data", data), "none.toml: cannot be read"),
        (("finetune", "--recipe", tmp_path / "int.toml", "--data", tmp_path), "no data set there"),
        (("finetune", "--recipe", tmp_path / "int.toml", "--data", data, "--out", tmp_path / "o"),
         "trained network nobody: not found; give a folder with model.safetensors and card.json"),
        (("evaluate", "nobody", "--data", data), "trained network nobody: not found"),
        (("evaluate", "vgg_nagadomi_quarter_fmnist", "--data", data, "--device", "emulator"), "holds float weights"),
    ):  # fmt: skip
        done = run(*arguments)
        assert done.code == 2 and message in done.err and len(done.err.splitlines()) == 1, done.err
    assert not (tmp_path / "o" / "card.json").exists()


def test_search(data: Path, tmp_path: Path, run: Run) -> None:
    """A time between the slowest and the fastest is kept, an impossible one refused; the Graph has the densities."""
    from subrow.ir.store import load_graph

    model = "tests.cli.nets:small_cifar"
    command = ("search", model, "--data", data, "--hw", "tiny", "--images", 16, "--json")
    knees = run(*command)
    assert knees.code == 0, knees.err
    curves = knees.json["layers"]
    assert all(c["kept"] == list(range(1, 9)) and c["divergence"][-1] == 0 for c in curves)
    fastest, slowest = (sum(f(c["cycles"]) for c in curves) for f in (min, max))
    rest = knees.json["cycles"] - sum(c["cycles"][c["chosen"] - 1] for c in curves)
    budget = rest + (fastest + slowest) // 2
    ms = budget / 100e3
    done = run(*command, "--budget-ms", ms, "--out", tmp_path / "s.graph")
    assert done.code == 0 and done.json["cycles"] <= budget and done.json["uniform"]["cycles"] <= done.json["cycles"]
    graph = load_graph(tmp_path / "s.graph").graph
    for curve in done.json["layers"]:
        density = graph.node(curve["layer"]).attrs.get("density", (8, 8))
        assert density == (curve["chosen"], 8)
    refused = run(*command, "--budget-ms", (rest + fastest - 1000) / 100e3)
    assert refused.code == 2 and "the fewest that pruning reaches" in refused.err
    both = run(*command, "--budget-ms", 1, "--budget-accuracy", 50)
    assert both.code == 2 and "give one of them" in both.err
    asked = run(*command, "--budget-accuracy", 99.9)
    assert asked.code == 2 and "ask for less" in asked.err
