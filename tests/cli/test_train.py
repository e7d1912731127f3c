"""finetune and evaluate, from a folder of images to a Program; killed, resumed, and in two processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import subrow
import subrow.api
from models import datasets
from models.checkpoint import save_weights
from models.vgg_nagadomi import VggNagadomi
from subrow.ir.store import save_graph
from subrow.spec import hwconfig
from subrow.spec.errors import InputError
from subrow.trained import trained
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
hw = "tiny"
start = "START"
teacher = "START"
[prune]
density = "4/8"
steps = ["6/8"]
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


def test_from_images_to_a_program(data: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "float.toml").write_text(FLOAT)
    done = run("finetune", "--recipe", tmp_path / "float.toml", "--data", data, "--out", tmp_path / "f", "--json")
    assert done.code == 0 and done.json["float_accuracy"] > 40, done.err
    (tmp_path / "int.toml").write_text(INTEGER.replace("START", str(tmp_path / "f")))
    command = ["finetune", "--recipe", tmp_path / "int.toml", "--data", data, "--out", tmp_path / "i"]
    first = run(*command, "--json")
    assert first.code == 0, first.err
    card = json.loads((tmp_path / "i" / "card.json").read_text())
    assert card["float_accuracy"] == done.json["float_accuracy"]
    assert card["epochs"] == {"sparse 6/8": 1, "sparse": 2, "integer": 1}
    assert card["density"]["features.conv3_1"] == 0.5 and card["density"]["features.conv1_1"] == 1.0
    check = ("evaluate", tmp_path / "i", "--data", data, "--json")
    results = [run(*check, "--device", device).json for device in ("torch", "emulator")]
    assert results[0]["accuracy"] == results[1]["accuracy"] == pytest.approx(card["accuracy"], abs=0.01)
    assert results[1] == {"accuracy": results[0]["accuracy"], "n": 40, "device": "emulator", "split": "test"}
    assert card["network"] == "models.vgg_nagadomi:VggNagadomi" and card["arguments"]["width"] == 0.125
    assert card["command"].endswith(f"--data PATH --out {tmp_path / 'i'}")
    before = (tmp_path / "i" / "model.safetensors").read_bytes()
    again = run(*command)
    assert again.code == 2 and "holds checkpoints of an earlier run; give --resume" in again.err
    (tmp_path / "i" / "checkpoints" / "integer.pt").unlink()
    resumed = run(*command, "--resume")
    assert resumed.code == 0 and "resumed after epoch 2" in resumed.err
    after = (tmp_path / "i" / "model.safetensors").read_bytes()
    assert len(after) == len(before) and run(*check).json == results[0]
    with monkeypatch.context() as patch:  # weights are new when the run ends: the folder is not whole
        patch.setattr("subrow.finetune._measured", lambda *_: (_ for _ in ()).throw(InputError("out of luck")))
        assert "out of luck" in run(*command, "--resume").err and not (tmp_path / "i" / "card.json").exists()
    changed = tmp_path / "other" / "int.toml"
    changed.parent.mkdir()
    changed.write_text((tmp_path / "int.toml").read_text().replace('"4/8"', '"2/8"'))
    refused = run("finetune", "--recipe", changed, *command[3:], "--resume")
    assert refused.code == 2 and "prune.density is 4/8 there and 2/8 here" in refused.err, refused.err


def test_a_recipe_gives_the_same_weights_every_time(data: Path, tmp_path: Path, run: Run) -> None:
    """Its seed decides the first weights, too."""
    weights = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / "r.toml").write_text(f"seed = {seed}\n" + FLOAT.replace("epochs = 4", "epochs = 1"))
        assert run("finetune", "--recipe", tmp_path / "r.toml", "--data", data, "--out", tmp_path / name).code == 0
        weights.append((tmp_path / name / "model.safetensors").read_bytes())
    assert weights[0] == weights[1] != weights[2]


FURTHER = """
hw = "tiny"
start = "START"
weight_bits = {"features.conv3_1" = 4}
[integer]
epochs = 1
batch = 19
optimizer = "adam"
peak_rate = 0.001
weight_decay = 0.0
augment = {shift = 0, flip = false}
"""


def test_integers_are_trained_further(data: Path, tmp_path: Path, run: Run) -> None:
    """A recipe goes on from a stored Graph: pattern and tiles stay, bits and integers change."""
    write_graph(tmp_path / "start", run, data)
    (tmp_path / "r.toml").write_text(FURTHER.replace("START", str(tmp_path / "start")))
    command = ("finetune", "--recipe", tmp_path / "r.toml", "--data", data, "--out", tmp_path / "o", "--json")
    done = run(*command)
    assert done.code == 0, done.err
    assert done.json["float_accuracy"] == 77.0 and done.json["epochs"] == {"integer": 1}
    assert done.json["bits"]["features.conv3_1"] == 4 and done.json["bits"]["features.conv3_2"] == 3  # of the start
    before, after = (trained(tmp_path / name).graph().graph for name in ("start", "o"))
    for one, two in zip(before, after, strict=True):
        if one.op == "conv":
            u = two.attrs["quant"].u
            assert one.attrs["tile"] == two.attrs["tile"]
            assert "mask" not in one.params or not u[~one.params["mask"]].any()
    first, second = (g.node("features.conv3_3").attrs["quant"] for g in (before, after))
    assert (first.u != second.u).any() or (first.bias != second.bias).any()
    assert abs(after.node("features.conv3_1").attrs["quant"].u).max() == 7
    accuracy = run("evaluate", tmp_path / "o", "--data", data, "--device", "emulator", "--json").json["accuracy"]
    assert accuracy == pytest.approx(done.json["accuracy"], abs=0.01)
    for extra, message in (
        ('[prune]\ndensity = "4/8"', "is pruned and in integers already, so that [prune] has no effect"),
        ('[float]\nepochs = 1', "needs [prune], with a tile"),
    ):
        (tmp_path / "x.toml").write_text((tmp_path / "r.toml").read_text() + extra)
        refused = run("finetune", "--recipe", tmp_path / "x.toml", *command[3:5], "--out", tmp_path / "x")
        assert refused.code == 2 and message in refused.err, refused.err


def write_graph(folder: Path, run: Run, data: Path) -> None:
    """A trained network in integers, untrained in truth: pruned, quantised, with a card."""
    images = datasets.load(data).train.images[:32]
    model = VggNagadomi(width=0.125).eval()
    graph = subrow.api.quantised(model, images, "tiny", "4/8", "f2", images, linear=True)
    save_graph(graph, folder / "model.safetensors", hwconfig.load("tiny"))
    card = {
        "network": "models.vgg_nagadomi:VggNagadomi", "arguments": {"width": 0.125}, "float_accuracy": 77.0,
        "bits": {"features.conv3_2": 3},
    }  # fmt: skip
    (folder / "card.json").write_text(json.dumps(card))


@pytest.mark.parametrize(("old", "new", "message"), [
    ('hw = "tiny"', 'hw = "tinny"', "tinny"),
    ('"4/8"', '"4/16"', "HwConfig tiny has sub-rows of L = 8 weights: 2/8 keeps the same share"),
    ('teacher = "START"', "", "distil is 1.0, but there is no teacher"),
    ('teacher = "START"', 'teacher = "nobody"', "trained network nobody: not found"),
    ("[integer]", "[integer]\nepoch_images = 9", "batches of 19 from 9 images"),
    ("[prune]", 'weight_bits = {nothing = 4}\n[prune]', "weight_bits: bits of layer nothing: no such layer; VggNag"),
    ("linear = true", "linear = 1", "linear is 1; it must be true or false"),
    ('start = "START"', 'network = "models.vgg_nagadomi:VggNagadomi"\narguments = {classes = 7}',
     "has 7 outputs, but there are labels up to 9"),
    ('start = "START"', 'network = "models.vgg_nagadomi:VggNagadomi"\narguments = {in_channels = 1}',
     "does not take images of 3x32x32"),
])  # fmt: skip
def test_mistakes_in_any_table_are_found_before_training(
    old: str, new: str, message: str, data: Path, tmp_path: Path, run: Run
) -> None:
    text = INTEGER.replace("[sparse]", "[float]\nepochs = 1\nbatch = 19\n[sparse]")
    assert old in text
    text = text.replace('steps = ["6/8"]\n', "")
    write_float(tmp_path / "f")
    (tmp_path / "r.toml").write_text(text.replace(old, new).replace("START", str(tmp_path / "f")))
    done = run("finetune", "--recipe", tmp_path / "r.toml", "--data", data, "--out", tmp_path / "o")
    assert done.code == 2 and message in done.err and '"epoch"' not in done.err, done.err
    assert not (tmp_path / "o").exists()


def write_float(folder: Path) -> None:
    """A trained network in float whose card says no accuracy."""
    folder.mkdir()
    save_weights(VggNagadomi(width=0.125), folder / "model.safetensors")
    (folder / "card.json").write_text(
        json.dumps({"network": "models.vgg_nagadomi:VggNagadomi", "arguments": {"width": 0.125}})
    )


def test_weights_of_another_network_are_one_error(data: Path, tmp_path: Path, run: Run) -> None:
    write_float(tmp_path / "f")
    card = tmp_path / "f" / "card.json"
    card.write_text(card.read_text().replace("0.125", "0.25"))
    done = run("evaluate", tmp_path / "f", "--data", data)
    assert done.code == 2 and "check width, input channels and number of classes" in done.err, done.err
    card.write_text('{"network": 3}')
    done = run("evaluate", tmp_path / "f", "--data", data)
    assert done.code == 2 and "card.json: damaged, or does not say its network" in done.err, done.err


def test_evaluate_a_program(data: Path, tmp_path: Path, run: Run) -> None:
    """No warning about a device that nobody chose; a Program for a HwConfig elsewhere is told where that is."""
    config = tmp_path / "own.toml"
    config.write_text((hwconfig.CONFIG_DIR / "tiny.toml").read_text().replace('name = "tiny"', 'name = "own"'))
    images = datasets.load(data).test.images[:8]
    program = tmp_path / "p.subrow"
    subrow.compile(VggNagadomi(width=0.125).eval(), images, config, tile="f2", calibration=images).save(program)
    done = run("evaluate", program, "--data", data, "--hw", config, "--json")
    assert done.code == 0 and done.json["device"] == "emulator" and done.err == "", done.err
    for arguments, message in (
        (("evaluate", program, "--data", data), "own"),
        (("evaluate", program, "--data", data, "--hw", config, "--device", "torch"), "runs on the emulator alone"),
        (("evaluate", "vgg_nagadomi_quarter_fmnist", "--data", data, "--hw", "tiny"), "--hw: no effect"),
        (("evaluate", "vgg_nagadomi_quarter_fmnist", "--data", data), "does not take images of 3x32x32"),
    ):
        refused = run(*arguments)
        assert refused.code == 2 and message in refused.err and len(refused.err.splitlines()) == 1, refused.err


def test_programs_of_all_networks_need_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    command = [sys.executable, "scripts/programs.py", "--out", str(tmp_path / "file" / "x")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.returncode == 1 and "Traceback" not in done.stderr and "is a file, not a folder" in done.stderr


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
    for option, value in (("--budget-ms", "nan"), ("--budget-ms", 0), ("--budget-ms", "inf"),
                          ("--budget-accuracy", "nan"), ("--budget-accuracy", 101)):  # fmt: skip
        wrong = run(*command, option, value)
        assert wrong.code == 2 and f"{option} {float(value)}: must be a number above 0" in wrong.err, wrong.err
    both = run(*command, "--budget-ms", 1, "--budget-accuracy", 50)
    assert both.code == 2 and "give one of them" in both.err
    asked = run(*command, "--budget-accuracy", 99.9)
    assert asked.code == 2 and "ask for less" in asked.err
