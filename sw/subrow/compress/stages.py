"""The stages of a recipe: a float network trained, a pruned Graph retrained, a quantised Graph trained in integers."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from subrow.compress.batches import Source, source_of
from subrow.compress.checkpoint import EpochLog, Settings
from subrow.compress.integer_network import IntegerNetwork
from subrow.compress.sparse_network import SparseNetwork
from subrow.compress.training import (
    Loss,
    Report,
    Schedule,
    accuracy,
    cross_entropy,
    distillation,
    start_processes,
    train,
)
from subrow.ir.graph import Graph
from subrow.spec.errors import ConfigError, InputError
from subrow.spec.hwconfig import HwConfig


@dataclass(frozen=True)
class Stage:
    """A schedule and what is minimised: (1 - distil) * cross-entropy + distil * distillation at `temperature`."""

    schedule: Schedule
    smoothing: float = 0.0
    distil: float = 0.0
    temperature: float = 4.0

    def __post_init__(self) -> None:
        for name, limit in (("smoothing", 1.0), ("distil", 1.0)):
            if not 0 <= getattr(self, name) <= limit:
                raise ConfigError(f"stage: {name} is {getattr(self, name)}; it must be in [0, {limit:g}]")
        if self.schedule.augment.mix and self.distil < 1:
            raise ConfigError(f"stage: mix needs distil = 1, not {self.distil}: labels do not hold for mixed pictures")
        if self.temperature <= 0:
            raise ConfigError(f"stage: temperature is {self.temperature}; it must be above 0")

    def loss(self, teacher: nn.Module | None) -> Loss:
        """The loss of this stage. Raises ConfigError when it needs a teacher and there is none."""
        if not self.distil:
            return cross_entropy(self.smoothing)
        if teacher is None:
            raise ConfigError(f"stage: distil is {self.distil}, but there is no teacher; start from trained weights")
        return distillation(teacher, self.distil, self.temperature, self.smoothing)


@dataclass(frozen=True)
class Trainer:
    """What all stages share: images to learn from and to choose the epoch by, on one device, and where state goes.

    settings: what the result of a stage depends on beside its table, by stage; a checkpoint of others is refused.
    """

    data: Source
    holdout: Source
    folder: Path
    report: Report = print
    teacher: nn.Module | None = None
    settings: Mapping[str, Settings] = field(default_factory=dict)

    def run(self, model: nn.Module, stage: Stage, name: str, step: str = "") -> list[EpochLog]:
        """Train a module in place; it ends with the weights of its best epoch, on its device.

        name: the stage, after which its checkpoint is called; step tells apart several runs of one stage.
        """
        model.to(self.data.device)
        loss = stage.loss(self.teacher)
        own = {f.name: getattr(stage, f.name) for f in dataclasses.fields(stage) if f.name != "schedule"}
        known, path = {**own, **self.settings.get(name, {})}, self.folder / f"{name}{step}.pt"
        return train(model, self.data, self.holdout, stage.schedule, loss, path, self.report, known).log

    def retrain(self, graph: Graph, stage: Stage, step: str = "") -> tuple[Graph, list[EpochLog]]:
        """A pruned Graph before batch-norm is folded, with its kept weights trained."""
        network = SparseNetwork(graph)
        log = self.run(network, stage, "sparse", step)
        return network.to_graph(), log

    def train_integers(self, graph: Graph, hw: HwConfig, stage: Stage) -> tuple[Graph, list[EpochLog]]:
        """A quantised Graph with its integers trained."""
        network = IntegerNetwork(graph, hw)
        log = self.run(network, stage, "integer")
        return network.double().to_graph(), log


def make_trainer(
    train_images: Any, holdout: Any, folder: Path, device: str, report: Report, teacher: nn.Module | None,
    settings: Mapping[str, Settings] | None = None,
) -> Trainer:  # fmt: skip
    """A Trainer on `cpu`, `cuda` or `auto` (a GPU if there is one), from arrays (images, labels) or files."""
    where = chosen_device(device)
    start_processes(where)
    if teacher is not None:
        teacher.to(where, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    data, held_back = source_of(train_images, where), source_of(holdout, where)
    return Trainer(data, held_back, folder, report, teacher, settings or {})


def check_fits(model: object, images: Any, name: str) -> None:
    """Raises InputError unless a module takes these images and has an output for each of their labels."""
    if not isinstance(model, nn.Module):
        raise InputError(f"{name} is a {type(model).__name__}; give a torch.nn.Module, which can learn")
    source = source_of(images)
    sample = source.sample(2).to(next((p.device for p in model.parameters()), "cpu"))
    was_training = model.training
    try:
        with torch.inference_mode():
            outputs = model.eval()(sample).flatten(1).shape[1]
    except (RuntimeError, ValueError, IndexError) as error:
        shape, reason = "x".join(map(str, sample.shape[1:])), str(error).strip().splitlines()[0]
        raise InputError(f"{name} does not take images of {shape} ({reason}); give the data it was made for") from error
    finally:
        model.train(was_training)
    most = source.most()
    if most >= outputs:
        raise InputError(f"{name} has {outputs} outputs, but there are labels up to {most}: give data of its classes")


def chosen_device(name: str) -> str:
    """`cpu`, or the GPU that torchrun leaves to this process. Raises ConfigError for a GPU that is not there."""
    if name not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"device {name!r}: must be auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device cuda: torch finds no GPU; use --device cpu, or a torch build for your GPU")
    chosen = name if name != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    if chosen == "cpu":
        return chosen
    place, count = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
    if place >= count:
        raise ConfigError(f"device {name}: process {place} of this machine has no GPU of its own, there are {count}")
    return f"cuda:{place}"


def module_accuracy(model: nn.Module, images: Any, device: str = "cpu", name: str = "") -> float:
    """Accuracy in percent of a network. Raises InputError when images or labels are not for it."""
    check_fits(model, images, name or f"network {type(model).__name__}")
    return accuracy(model.to(device).eval(), source_of(images, device))


def graph_accuracy(graph: Graph, hw: HwConfig, images: Any, device: str = "cpu") -> float:
    """Accuracy in percent of a Graph as torch computes it: in integers once quantised, in float before."""
    model = IntegerNetwork(graph, hw) if graph.stage == "quantised" else SparseNetwork(graph)
    return module_accuracy(model, images, device, f"Graph {graph.name}")
