"""The training loop: resumable, repeatable, honest about bad settings; recipes say what they need."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from subrow.compress.augment import Augment, augment
from subrow.compress.recipe import load_recipe
from subrow.compress.stages import Stage
from subrow.compress.training import Data, Schedule, accuracy, cross_entropy, distillation, learning_rate, train
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
    square = augment(torch.ones(40, 1, 16, 16) + torch.zeros(40, 1, 1, 1), Augment(0, False, 4), one)
    assert (square == 1).all()  # the mean of equal pixels
    mixed = augment(torch.arange(4.0).reshape(4, 1, 1, 1).expand(4, 1, 2, 2), Augment(0, False, mix=1.0), one)
    assert len(mixed.unique()) > 3 and mixed.min() >= 0 and mixed.max() <= 3


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
    ("epochs = 3", "epochs = 3\nbatch = '8'", "batch is '8'; it must be a int"),
    ("shift = 2", "shift = 99", r"augment: shift is 99; it must be in \[0, 45\]"),
    ("shift = 2", "mix = 0.5", "mix needs distil = 1, not 0.5"),
    ('density = "2/8"', "", r"the table sparse needs \[prune\] with a density"),
    ('network = "models.resnet:resnet20"', "", "key 'network' is missing"),
    ("[sparse]", "[sparce]", "unknown key 'sparce'"),
    ("[sparse]", "[sparse", "not TOML"),
    ("distil = 0.5", "optimizer = 'lion'", "optimizer is 'lion'; it must be 'sgd' or 'adam'"),
    ("[prune]", "weight_bits = {a = 1}\n[prune]", r"weight_bits of a is 1; it must be in 2..8"),
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
    assert isinstance(load_model(recipe.network, recipe.arguments), nn.Module)
    for name in (recipe.start, recipe.teacher):
        assert name is None or (RECIPES / f"{name}.toml").is_file() or name in known()
