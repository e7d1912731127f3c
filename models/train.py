"""Training of a classifier on Fashion-MNIST, on one CPU thread, resumable and repeatable.

The last 5,000 training images are held out; the epoch that does best on them is kept. Test images are looked at once,
when the chosen weights have been rounded to the precision in which they are stored.

Every random draw of an epoch follows from the seed and the epoch's number, so a run that was interrupted and resumed
draws what an uninterrupted one would have drawn.
"""

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from models import ModelError, fashion_mnist
from models.checkpoint import save_weights
from models.vgg_nagadomi import TrainingDropout, load_weights

EpochLog = dict[str, float | int]
"""One epoch: epoch (from 1), learning_rate at its end, train_loss, holdout_accuracy (percent), seconds."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the trained weights, beside the network and the data."""

    epochs: int = 18
    seed: int = 1
    batch: int = 128
    peak_rate: float = 0.1
    warmup: float = 0.2
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.05
    max_shift: int = 2

    def __post_init__(self) -> None:
        for field in ("epochs", "batch", "peak_rate"):
            if getattr(self, field) <= 0:
                raise ModelError(f"Recipe: {field} is {getattr(self, field)}; it must be above 0")
        for field in ("warmup", "momentum", "label_smoothing"):
            if not 0 <= getattr(self, field) < 1:
                raise ModelError(f"Recipe: {field} is {getattr(self, field)}; it must be in [0, 1)")

    def describe(self) -> str:
        """The recipe in one sentence, for a model card."""
        return (
            f"SGD with Nesterov momentum {self.momentum}, weight decay {self.weight_decay}, batches of {self.batch}; "
            f"learning rate linear from 0 to {self.peak_rate} over the first {self.warmup:.0%} of the steps, then a "
            f"cosine to 0; cross-entropy with label smoothing {self.label_smoothing}; shifts by up to {self.max_shift} "
            "pixels and horizontal flips; float32; the epoch with the best accuracy on the last "
            f"{fashion_mnist.HOLDOUT} training images, which are held out"
        )


@dataclass(frozen=True)
class Data:
    """Images (N x 1 x 32 x 32, float32 in [0, 1]) and labels (N, int64)."""

    images: Tensor
    labels: Tensor


@dataclass
class Progress:
    """What a run carries from one epoch to the next."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    best: dict[str, Tensor]
    log: list[EpochLog]


def load_data(folder: Path) -> tuple[Data, Data, Data]:
    """The training images without the held-out ones, the held-out ones, and the test images."""
    train = as_data(fashion_mnist.load_split("train", folder))
    test = as_data(fashion_mnist.load_split("test", folder))
    cut = len(train.labels) - fashion_mnist.HOLDOUT
    return Data(train.images[:cut], train.labels[:cut]), Data(train.images[cut:], train.labels[cut:]), test


def as_data(labelled: fashion_mnist.LabelledImages) -> Data:
    """The same images and labels as tensors."""
    return Data(torch.from_numpy(labelled.images), torch.from_numpy(labelled.labels))


def accuracy(model: nn.Module, data: Data, batch: int = 500) -> float:
    """Share of images whose largest logit is their label, in percent; float32, eval mode. Leaves the mode alone."""
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        hits = sum(
            int((model(images).argmax(1) == labels).sum().item())
            for images, labels in zip(torch.split(data.images, batch), torch.split(data.labels, batch), strict=True)
        )
    model.train(was_training)
    return 100.0 * hits / len(data.labels)


def augment(images: Tensor, max_shift: int, generator: torch.Generator) -> Tensor:
    """Each image (N x C x H x W) shifted by up to `max_shift` pixels each way and, one time in two, mirrored."""
    count, _, height, width = images.shape
    padded = functional.pad(images, (max_shift,) * 4)
    shifts = torch.randint(0, 2 * max_shift + 1, (2, count, 1), generator=generator)
    mirrored = torch.rand(count, 1, generator=generator) < 0.5
    rows = shifts[0] + torch.arange(height)
    columns = torch.where(mirrored, torch.arange(width - 1, -1, -1), torch.arange(width)) + shifts[1]
    picked = padded[torch.arange(count)[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return picked.permute(0, 3, 1, 2)


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """The rate of `step` (from 0) of `steps`: linear warm-up, then half a cosine down to 0."""
    warm = recipe.warmup * steps
    if step < warm:
        return recipe.peak_rate * (step + 1) / (warm + 1)
    return recipe.peak_rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm)))


def train(
    model: nn.Module,
    train_data: Data,
    holdout: Data,
    recipe: Recipe,
    checkpoint: Path,
    report: Callable[[str], None] = print,
) -> Progress:
    """Train for the epochs that are left, writing `checkpoint` after each; the result holds the best weights."""
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=recipe.peak_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=True,
    )
    progress = Progress(model, optimizer, {}, [])
    if checkpoint.is_file():
        _resume(progress, recipe, checkpoint)
        report(f"resumed after epoch {len(progress.log)} from {checkpoint}")
    for epoch in range(len(progress.log) + 1, recipe.epochs + 1):
        entry = _run_epoch(progress, train_data, holdout, recipe, epoch)
        best_before = max((past["holdout_accuracy"] for past in progress.log), default=-1.0)
        if entry["holdout_accuracy"] > best_before:
            progress.best = {name: value.clone() for name, value in model.state_dict().items()}
        progress.log.append(entry)
        _save_checkpoint(progress, recipe, checkpoint)
        report(json.dumps(entry))
    return progress


def _run_epoch(progress: Progress, data: Data, holdout: Data, recipe: Recipe, epoch: int) -> EpochLog:
    """One pass over the shuffled training images, then the accuracy on the held-out ones."""
    start = time.perf_counter()
    drawn_from = recipe.seed * 1_000 + epoch
    torch.manual_seed(drawn_from)  # dropout draws from the global generator
    generator = torch.Generator().manual_seed(drawn_from)
    batches = torch.split(torch.randperm(len(data.labels), generator=generator), recipe.batch)
    progress.model.train()
    total_loss, rate = 0.0, 0.0
    for index, chosen in enumerate(batches):
        rate = learning_rate(recipe, (epoch - 1) * len(batches) + index, recipe.epochs * len(batches))
        images = augment(data.images[chosen], recipe.max_shift, generator)
        total_loss += _step(progress, images, data.labels[chosen], rate, recipe) * len(chosen)
    return {
        "epoch": epoch,
        "learning_rate": round(rate, 6),
        "train_loss": round(total_loss / len(data.labels), 4),
        "holdout_accuracy": round(accuracy(progress.model, holdout), 2),
        "seconds": round(time.perf_counter() - start, 1),
    }


def _step(progress: Progress, images: Tensor, labels: Tensor, rate: float, recipe: Recipe) -> float:
    """One step of the optimiser at learning rate `rate`; returns the batch's mean loss."""
    for group in progress.optimizer.param_groups:
        group["lr"] = rate
    logits = progress.model(images.contiguous(memory_format=torch.channels_last))
    loss = functional.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
    if not math.isfinite(loss.item()):
        raise ModelError(f"training loss became {loss.item()} at learning rate {rate:.4f}; lower the peak rate")
    progress.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    progress.optimizer.step()
    return loss.item()


def _save_checkpoint(progress: Progress, recipe: Recipe, path: Path) -> None:
    """Write the run's state aside, then rename: an interruption leaves the old checkpoint or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".part")
    state = {
        "recipe": asdict(recipe),
        "model": progress.model.state_dict(),
        "optimizer": progress.optimizer.state_dict(),
        "best": progress.best,
        "log": progress.log,
    }
    torch.save(state, aside)
    os.replace(aside, path)


def _resume(progress: Progress, recipe: Recipe, path: Path) -> None:
    """Fill `progress` from a checkpoint, which must be of the same recipe."""
    state: dict[str, Any] = torch.load(path, weights_only=True)
    for field, value in asdict(recipe).items():
        if state["recipe"].get(field) != value:
            raise ModelError(
                f"checkpoint {path}: {field} is {state['recipe'].get(field)} there and {value} here; "
                "give the same values, another --checkpoint, or delete the file to start afresh"
            )
    progress.model.load_state_dict(state["model"])
    progress.optimizer.load_state_dict(state["optimizer"])
    progress.best, progress.log = state["best"], state["log"]


def export(progress: Progress, recipe: Recipe, test: Data, folder: Path, command: str) -> dict[str, Any]:
    """Write the best weights (model.safetensors) and what was measured with them as stored (card.json)."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / "model.safetensors"
    progress.model.load_state_dict(progress.best)
    save_weights(progress.model, weights)
    load_weights(progress.model, weights)
    card = {
        "float_accuracy": round(accuracy(progress.model, test), 2),
        "float_accuracy_1000": round(accuracy(progress.model, as_data(fashion_mnist.test_images())), 2),
        "accuracy_unit": "percent; weights as stored, float32 arithmetic on a CPU",
        "data": (
            "Fashion-MNIST: 55,000 training images; the last 5,000 of the training split chose the epoch; "
            "float_accuracy on all 10,000 test images, float_accuracy_1000 on the 1,000 in "
            "models/data/fashion_mnist_test1000.npz"
        ),
        "licence": "Fashion-MNIST: MIT, copyright 2017 Zalando SE; these weights: as the rest of this repository",
        "seed": recipe.seed,
        "epochs": recipe.epochs,
        "epoch_chosen": max(progress.log, key=lambda entry: entry["holdout_accuracy"])["epoch"],
        "command": command,
        "recipe": recipe.describe(),
        "dropout": [layer.probability for layer in progress.model.modules() if isinstance(layer, TrainingDropout)],
        "parameters": sum(parameter.numel() for parameter in progress.model.parameters()),
        "precision": "float16",
        "log": progress.log,
    }
    aside = folder / "card.json.part"
    aside.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    os.replace(aside, folder / "card.json")
    return card
