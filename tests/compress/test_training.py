"""The training loop: resumable, repeatable, honest about bad settings; recipes say what they need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from subrow.compress.augment import Augment, augment
from subrow.compress.batches import Data
from subrow.compress.recipe import ITSELF, load_recipe
from subrow.compress.stages import Stage, Trainer, check_fits, chosen_device
from subrow.compress.training import (
    Schedule,
    accuracy,
    cross_entropy,
    distillation,
    learning_rate,
    start_processes,
    train,
)
from subrow.frontend.load import load_model
from subrow.spec.errors import ConfigError, InputError
from subrow.trained import RECIPES, known


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2),
        nn.Linear(4, 3),
    )  # fmt: skip


def data(count: int = 60) -> Data:
    generator = torch.Generator().manual_seed(4)
    labels = torch.arange(count) % 3
    return Data(torch.rand(count, 1, 8, 8, generator=generator) + labels[:, None, None, None] * 0.3, labels)


class Killed(Exception):
    """A run that ends in the middle."""


@pytest.mark.parametrize("optimizer", ("sgd", "adam"))
def test_a_killed_run_resumes_to_the_same_weights(optimizer: str, tmp_path: Path) -> None:
    schedule = Schedule(4, batch=10, optimizer=optimizer, peak_rate=0.01, augment=Augment(2, True, 3, 0.1, 5, 0.1))

    def killed(line: str) -> None:
        if '"epoch": 2' in line:
            raise Killed

    whole = train(network(), data(), data(30), schedule, cross_entropy(), tmp_path / "a.pt", lambda text: None)
    with pytest.raises(Killed):
        train(network(), data(), data(30), schedule, cross_entropy(), tmp_path / "b.pt", killed)
    torch.manual_seed(99)
    resumed = train(network(), data(), data(30), schedule, cross_entropy(), tmp_path / "b.pt", lambda text: None)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    same = [{k: v for k, v in e.items() if k != "seconds"} for log in (whole.log, resumed.log) for e in log]
    assert same[:4] == same[4:]


def test_the_best_epoch_on_held_out_images_is_kept(tmp_path: Path) -> None:
    schedule = Schedule(8, batch=10, optimizer="adam", peak_rate=0.05, augment=Augment(0, False))
    done = train(network(), data(), data(30), schedule, cross_entropy(), tmp_path / "a.pt", lambda text: None)
    best = max(e["holdout_accuracy"] for e in done.log)
    assert round(accuracy(done.model, data(30)), 2) == best > 60


def test_a_checkpoint_of_another_schedule_is_refused(tmp_path: Path) -> None:
    train(network(), data(), data(30), Schedule(1, batch=10), cross_entropy(), tmp_path / "a.pt", lambda text: None)
    with pytest.raises(ConfigError, match="a.pt: peak_rate is 0.1 there and 0.2 here; give the same"):
        train(network(), data(), data(30), Schedule(1, batch=10, peak_rate=0.2), cross_entropy(), tmp_path / "a.pt")


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    """The loss, the network that it is taught by, the data: all that the result depends on."""

    def trainer(**settings: object) -> Trainer:
        known = {"float": {"digest": {"data": "a", **settings}}}
        return Trainer(data(), data(30), tmp_path, lambda text: None, network(), known)

    stage = Stage(Schedule(1, batch=10), distil=0.5)
    trainer().run(network(), stage, "float")
    trainer().run(network(), stage, "float")
    for other, changed, message in (
        (replace(stage, distil=0.6), {}, "distil is 0.5 there and 0.6 here"),
        (replace(stage, smoothing=0.1), {}, "smoothing is 0.0 there and 0.1 here"),
        (replace(stage, schedule=Schedule(1, batch=10, augment=Augment(3))), {}, "augment.shift is 4 there and 3 here"),
        (stage, {"data": "b"}, "digest.data is a there and b here"),
        (stage, {"teacher": "c"}, "digest.teacher is None there and c here"),
    ):
        with pytest.raises(ConfigError, match=message):
            trainer(**changed).run(network(), other, "float")


@pytest.mark.parametrize("damage", (lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"no archive at all"))
def test_a_damaged_checkpoint_is_one_error(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path, how = tmp_path / "a.pt", Schedule(2, batch=10)
    train(network(), data(), data(30), how, cross_entropy(), path, lambda text: None)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=r"a.pt \(\d+ bytes\): damaged, or of another version .*; delete it"):
        train(network(), data(), data(30), how, cross_entropy(), path)


def test_a_checkpoint_does_not_ask_for_the_device_that_wrote_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def load(path: Path, **options: object) -> object:
        asked.append(options.get("map_location"))
        return original(path, **options)

    original = torch.load
    monkeypatch.setattr(torch, "load", load)
    for _ in range(2):
        train(network(), data(), data(30), Schedule(1, batch=10), cross_entropy(), tmp_path / "a.pt", lambda text: None)
    assert asked == ["cpu"]


def test_short_epochs_draw_fewer_images(tmp_path: Path) -> None:
    seen = []

    def loss(logits: torch.Tensor, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        seen.append(len(labels))
        return nn.functional.cross_entropy(logits, labels)

    how = Schedule(2, batch=10, epoch_images=35)
    train(network(), data(), data(30), how, loss, tmp_path / "a.pt", lambda text: None)
    assert seen == [10] * 6
    with pytest.raises(ConfigError, match="batches of 40 from 35 images"):
        replace(how, batch=40).check(60, 1)
    with pytest.raises(ConfigError, match="batch is 10, which 3 processes cannot share evenly; give a multiple of 3"):
        how.check(60, 3)


@pytest.mark.parametrize(("name", "rank", "gpus", "chosen"), [
    ("cpu", "1", 2, "cpu"), ("auto", "1", 2, "cuda:1"), ("cuda", None, 1, "cuda:0"), ("auto", "0", 0, "cpu"),
])  # fmt: skip
def test_each_process_gets_its_own_gpu_of_the_machine(
    name: str, rank: str | None, gpus: int, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("LOCAL_RANK", rank)
    assert chosen_device(name) == chosen


def test_a_process_without_a_gpu_of_its_own_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(ConfigError, match="process 1 of this machine has no GPU of its own, there are 1"):
        chosen_device("cuda")


@pytest.mark.parametrize(("device", "backend"), [("cpu", "gloo"), ("cuda:1", "nccl")])
def test_processes_on_a_cpu_need_no_gpu(device: str, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.distributed, "is_torchelastic_launched", lambda: True)
    monkeypatch.setattr(torch.distributed, "init_process_group", started.append)
    start_processes(device)
    assert started == [backend]


def test_images_and_labels_must_be_for_the_network() -> None:
    images = torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 2, 1])
    check_fits(network(), images, "net")
    with pytest.raises(InputError, match="net does not take images of 3x8x8 .*; give the data it was made for"):
        check_fits(network(), (torch.rand(4, 3, 8, 8), images[1]), "net")
    with pytest.raises(InputError, match="net has 3 outputs, but there are labels up to 3"):
        check_fits(network(), (images[0], images[1] + 1), "net")


def test_a_loss_that_is_no_number_stops(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="training loss became nan in epoch 1"):
        train(network(), data(), data(), Schedule(1, batch=10), lambda a, b, c: a.sum() * torch.nan, tmp_path / "a.pt")


def test_learning_rate_rises_and_falls() -> None:
    rates = [learning_rate(Schedule(1, warmup=0.25), step, 40) for step in range(40)]
    assert rates.index(max(rates)) == 10 and rates[9] < 0.1 and rates[-1] < 0.001 and rates[0] < 0.01


def test_distillation_is_zero_for_the_teacher_itself() -> None:
    teacher, images = network().eval(), torch.rand(8, 1, 8, 8)
    logits, labels = teacher(images), torch.zeros(8, dtype=torch.int64)
    alone = distillation(teacher, 1.0, 3.0)(logits, images, labels)
    assert alone.abs() < 1e-6 and distillation(teacher, 1.0, 3.0)(logits + torch.rand(8, 3), images, labels) > 0.01
    half = distillation(teacher, 0.5, 3.0)(logits, images, labels)
    torch.testing.assert_close(half, 0.5 * nn.functional.cross_entropy(logits, labels))


def test_augment_draws_nothing_for_what_is_off() -> None:
    images, one, two = torch.rand(6, 3, 8, 8), torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    torch.testing.assert_close(augment(images, Augment(0, False), one), images)
    changed = augment(images, Augment(0, False, 4, 0.2, 10, 0.3, 0.5), two)
    assert changed.shape == images.shape and not torch.allclose(changed, images) and torch.isfinite(changed).all()
    mixed = augment(torch.arange(4.0).reshape(4, 1, 1, 1).expand(4, 1, 2, 2), Augment(0, False, mix=1.0), one)
    assert len(mixed.unique()) > 3 and mixed.min() >= 0 and mixed.max() <= 3


@pytest.mark.parametrize("side", (1, 3, 4, 8))
def test_cutout_is_a_square_of_its_side(side: int) -> None:
    images = torch.arange(200 * 16 * 16.0).reshape(200, 1, 16, 16)
    holes = augment(images, Augment(0, False, side), torch.Generator().manual_seed(2)) == images.mean()
    rows, columns = holes[:, 0].any(2).sum(1), holes[:, 0].any(1).sum(1)
    assert int(rows.max()) == int(columns.max()) == side
    assert (holes.flatten(1).sum(1) == rows * columns).all() and (rows < side).any() == (side > 1)  # cut at the border


RECIPE = """
network = "models.resnet:resnet20"
[prune]
density = "2/8"
[sparse]
epochs = 3
distil = 0.5
augment = {shift = 2}
"""


def test_recipe(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text(RECIPE)
    recipe = load_recipe(path)
    assert recipe.name == "r" and recipe.stages["sparse"] == Stage(Schedule(3, augment=Augment(2)), distil=0.5)


@pytest.mark.parametrize(("old", "new", "message"), [
    ("epochs = 3", "epoch = 3", r"\[sparse\]: unknown key 'epoch'; known: epochs, seed"),
    ("epochs = 3", "", r"\[sparse\]: key 'epochs' is missing"),
    ("epochs = 3", "epochs = 0", "epochs is 0; it must be above 0"),
    ("epochs = 3", "epochs = 3\nbatch = '8'", "batch is '8'; it must be a whole number"),
    ("epochs = 3", "epochs = 3\nbatch = true", "batch is True; it must be a whole number"),
    ("epochs = 3", "epochs = 3\npeak_rate = nan", "peak_rate is nan; it must be a finite number"),
    ("epochs = 3", "epochs = 3\nwarmup = inf", "warmup is inf; it must be a finite number"),
    ("epochs = 3", "epochs = 3\nepoch_images = -1", "epoch_images is -1; it must be at least 0"),
    ("epochs = 3", "epochs = 3\nschedule = 1", "unknown key 'schedule'"),
    ("distil = 0.5", "distil = 'half'", r"\[sparse\]: distil is 'half'; it must be a finite number"),
    ("distil = 0.5", "temperature = true", "temperature is True; it must be a finite number"),
    ('density = "2/8"', 'density = "2/8"\ntile = "f3"', "tile is 'f3'; it must be 'auto' or 'f2' or 'f4' or 'direct'"),
    ('density = "2/8"', 'density = "9/8"', r"\[prune\]: density 9/8: s must be 1..L"),
    ('density = "2/8"', "density = 2", "density is 2; it must be a text"),
    ('density = "2/8"', 'density = "2/8"\ncalibration = 0', "calibration is 0; it must be at least 1"),
    ('density = "2/8"', 'density = "2/8"\nsteps = ["4/8", "6/8"]', "must fall, with the same L, to density 2/8"),
    ('density = "2/8"', 'density = "2/8"\nsteps = ["2/8"]', "must fall, with the same L, to density 2/8"),
    ('density = "2/8"', 'density = "2/8"\nsteps = "4/8"', "steps is '4/8'; it must be a list, each a text"),
    ("[sparse]", 'steps = ["4/8"]\n[float]', "steps of .prune. need the table sparse"),
    ("[prune]", "stages = {}\n[prune]", "unknown key 'stages'; stages are the tables float, sparse, integer"),
    ("[prune]", "name = 3\n[prune]", "name is 3; it must be a text"),
    ("[prune]", "name = 'a/b'\n[prune]", "'a/b': the name names a folder: letters, digits"),
    ("[prune]", "seed = 'x'\n[prune]", "seed is 'x'; it must be a whole number"),
    ("[prune]", "hw = 3\n[prune]", "hw is 3; it must be a text"),
    ("[prune]", "start = 'x'\n[prune]", "give one of network and start"),
    ("[prune]", "weight_bits = {a = 4}\n[prune]", "weight_bits have no effect without the table integer"),
    ("[prune]", "weight_bits = {a = 4.5}\n[prune]", "weight_bits is {'a': 4.5}; it must be a table of a whole number"),
    ("[prune]", "teacher = 'itself'\n[prune]", "teacher itself needs trained weights: give checkpoint or start"),
    ('network = "models.resnet:resnet20"', "start = 'x'\ncheckpoint = 'y.pth'", "start has weights of its own"),
    ("shift = 2", "shift = 99", r"augment: shift is 99; it must be in \[0, 45\]"),
    ("shift = 2", "mix = 0.5", "mix needs distil = 1, not 0.5"),
    ('density = "2/8"', "", r"the table sparse needs \[prune\] with a density"),
    ('network = "models.resnet:resnet20"', "", "give one of network and start, the trained network to go on from"),
    ("[sparse]", "[sparce]", "unknown key 'sparce'"),
    ("[sparse]", "[sparse", "not TOML"),
    ("distil = 0.5", "optimizer = 'lion'", "optimizer is 'lion'; it must be 'sgd' or 'adam'"),
    ("[prune]", "weight_bits = {a = 1}\n[integer]\nepochs = 1\n[prune]", r"weight_bits of a is 1; it must be in 2..8"),
])  # fmt: skip
def test_mistakes_in_a_recipe_are_named(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert old in RECIPE
    path = tmp_path / "r.toml"
    path.write_text(RECIPE.replace(old, new))
    with pytest.raises(ConfigError, match=message):
        load_recipe(path)


def test_distillation_without_a_teacher_is_refused() -> None:
    with pytest.raises(ConfigError, match="there is no teacher"):
        Stage(Schedule(1), distil=0.5).loss(None)


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda p: p.stem)
def test_recipes_of_the_project_are_whole(path: Path) -> None:
    """Their networks can be built, and every start and teacher is there or has a recipe."""
    recipe = load_recipe(path)
    assert recipe.network is None or isinstance(load_model(recipe.network, recipe.arguments), nn.Module)
    for name in (recipe.start, recipe.teacher):
        assert name in (None, ITSELF) or (RECIPES / f"{name}.toml").is_file() or name in known()
