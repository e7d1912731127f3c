"""The stages of a recipe: a float network trained, a pruned Graph retrained, a quantised Graph trained in integers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from subrow.compress.integer_network import IntegerNetwork
from subrow.compress.sparse_network import SparseNetwork
from subrow.compress.training import (
    Data,
    EpochLog,
    Loss,
    Report,
    Schedule,
    accuracy,
    cross_entropy,
    distillation,
    rank,
    start_processes,
    train,
)
from subrow.ir.graph import Graph
from subrow.spec.errors import ConfigError
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
    """What all stages share: images to learn from and to choose the epoch by, on one device, and where state goes."""

    data: Data
    holdout: Data
    folder: Path
    report: Report = print
    teacher: nn.Module | None = None

    def run(self, model: nn.Module, stage: Stage, name: str) -> list[EpochLog]:
        """Train a module in place; it ends with the weights of its best epoch, on its device."""
        model.to(self.data.images.device)
        loss = stage.loss(self.teacher)
        return train(model, self.data, self.holdout, stage.schedule, loss, self.folder / f"{name}.pt", self.report).log

    def retrain(self, graph: Graph, stage: Stage) -> tuple[Graph, list[EpochLog]]:
        """A pruned Graph before batch-norm is folded, with its kept weights trained."""
        network = SparseNetwork(graph)
        log = self.run(network, stage, "sparse")
        return network.to_graph(), log

    def train_integers(
        self, graph: Graph, hw: HwConfig, stage: Stage, bits: dict[str, int] | None = None
    ) -> tuple[Graph, list[EpochLog]]:
        """A quantised Graph with its integers trained."""
        network = IntegerNetwork(graph, hw, bits)
        log = self.run(network, stage, "integers")
        return network.to_graph(), log


def make_trainer(
    train_images: Any, holdout: Any, folder: Path, device: str, report: Report, teacher: nn.Module | None
) -> Trainer:
    """A Trainer on `cpu`, `cuda` or `auto` (a GPU if there is one), from arrays (images, labels)."""
    start_processes()
    where = chosen_device(device)
    if teacher is not None:
        teacher.to(where, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    return Trainer(Data.of(train_images, where), Data.of(holdout, where), folder, report, teacher)


def chosen_device(name: str) -> str:
    """`cpu`, or the GPU of this process. Raises ConfigError for a GPU that is not there."""
    if name not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"device {name!r}: must be auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device cuda: torch finds no GPU; use --device cpu, or a torch build for your GPU")
    chosen = name if name != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    return f"cuda:{rank() % torch.cuda.device_count()}" if chosen == "cuda" else chosen


def module_accuracy(model: nn.Module, images: tuple[Any, Any], device: str = "cpu") -> float:
    """Accuracy in percent of a float network."""
    return accuracy(model.to(device).eval(), Data.of(images, device))


def graph_accuracy(graph: Graph, hw: HwConfig, images: tuple[Any, Any], device: str = "cpu") -> float:
    """Accuracy in percent of a Graph as torch computes it: in integers once quantised, in float before."""
    return module_accuracy(
        IntegerNetwork(graph, hw) if graph.stage == "quantised" else SparseNetwork(graph), images, device
    )
