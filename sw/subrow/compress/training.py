"""The one training loop: float networks, masked and quantised ones; resumable, repeatable, on one device or several.

The epoch that does best on held-out images is kept. Every random draw of an epoch follows from the seed and the
epoch's number, so a run that was interrupted and resumed draws what an uninterrupted one would have drawn.
Under torchrun each process trains on its share of every batch and the gradients are averaged.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from subrow.compress.augment import Augment
from subrow.compress.batches import Batch, Source, drawn_from, steps
from subrow.compress.checkpoint import EpochLog, Progress, Settings, resume, save_checkpoint
from subrow.spec.errors import ConfigError, InputError

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(logits, images, labels) -> the batch's mean loss."""
Report = Callable[[str], None]


@dataclass(frozen=True)
class Schedule:
    """How a stage is trained. Batches are whole: images that do not fill one are left out of their epoch.

    epoch_images: training images drawn for an epoch, 0 for all; shorter epochs are checked and saved more often.
    """

    epochs: int
    seed: int = 1
    batch: int = 125
    optimizer: Literal["sgd", "adam"] = "sgd"
    peak_rate: float = 0.1
    warmup: float = 0.2
    momentum: float = 0.9
    weight_decay: float = 5e-4
    bf16: bool = False
    epoch_images: int = 0
    augment: Augment = Augment()

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "peak_rate"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"schedule: {name} is {getattr(self, name)}; it must be above 0")
        for name in ("warmup", "momentum"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"schedule: {name} is {getattr(self, name)}; it must be in [0, 1)")
        if self.optimizer not in ("sgd", "adam"):
            raise ConfigError(f"schedule: optimizer is {self.optimizer!r}; it must be 'sgd' or 'adam'")
        for name in ("weight_decay", "epoch_images", "seed"):
            if getattr(self, name) < 0:
                raise ConfigError(f"schedule: {name} is {getattr(self, name)}; it must be at least 0")

    def check(self, images: int, processes: int) -> None:
        """Raises ConfigError unless so many training images fill a batch, and a batch so many processes evenly."""
        found = min(images, self.epoch_images or images)
        if found < self.batch:
            raise ConfigError(f"schedule: batches of {self.batch} from {found} images; at most as many")
        if self.batch % processes:
            raise ConfigError(
                f"schedule: batch is {self.batch}, which {processes} processes cannot share evenly; give a multiple of "
                f"{processes}"
            )


def accuracy(model: nn.Module, source: Source, shared: bool = False) -> float:
    """Share of images whose largest logit is their label, in percent; eval mode. Leaves the mode alone.

    shared: each of several processes looks at its share of the images, and all of them get the result.
    """
    was_training, place = model.training, (rank(), processes()) if shared else (0, 1)
    model.eval()
    with torch.inference_mode():
        hits = torch.zeros((), dtype=torch.int64, device=source.device)
        for images, labels in source.all(*place):
            hits += (model(images).flatten(1).argmax(1) == labels).sum()
        if shared and distributed.is_initialized():
            distributed.all_reduce(hits)
    model.train(was_training)
    return 100.0 * int(hits) / len(source)


def learning_rate(schedule: Schedule, step: int, steps: int) -> float:
    """The rate of `step` (from 0) of `steps`: linear warm-up, then half a cosine down to 0."""
    warm = schedule.warmup * steps
    if step < warm:
        return schedule.peak_rate * (step + 1) / (warm + 1)
    return schedule.peak_rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm)))


def cross_entropy(smoothing: float = 0.0) -> Loss:
    """The loss of labels alone."""
    return lambda logits, images, labels: functional.cross_entropy(logits, labels, label_smoothing=smoothing)


def distillation(teacher: nn.Module, weight: float, temperature: float, smoothing: float = 0.0) -> Loss:
    """(1 - weight) * cross-entropy + weight * T^2 * KL(teacher, student) at temperature T.

    Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015. The teacher is frozen, in eval mode.
    """
    teacher.eval()

    def loss(logits: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        with torch.no_grad():
            soft = functional.log_softmax(teacher(images).flatten(1).float() / temperature, 1)
        own = functional.log_softmax(logits / temperature, 1)
        kl = functional.kl_div(own, soft, reduction="batchmean", log_target=True) * temperature**2
        return (1 - weight) * functional.cross_entropy(logits, labels, label_smoothing=smoothing) + weight * kl

    return loss


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Decay on tensors of weights alone; `rate` is a parameter's own factor on the learning rate.

    A parameter may carry `rate_factor`: learned scales move in other units than weights.
    """
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for parameter in (p for p in model.parameters() if p.requires_grad):
        factor = float(getattr(parameter, "rate_factor", 1.0))
        groups.setdefault((factor, parameter.ndim > 1), []).append(parameter)
    return [
        {"params": members, "rate": factor, "weight_decay": weight_decay if decayed else 0.0}
        for (factor, decayed), members in groups.items()
    ]


def _optimizer(model: nn.Module, schedule: Schedule, fused: bool) -> torch.optim.Optimizer:
    groups = parameter_groups(model, schedule.weight_decay)
    if schedule.optimizer == "adam":
        return torch.optim.AdamW(groups, lr=schedule.peak_rate, betas=(schedule.momentum, 0.999), fused=fused)
    nesterov = schedule.momentum > 0
    return torch.optim.SGD(groups, lr=schedule.peak_rate, momentum=schedule.momentum, nesterov=nesterov, fused=fused)


def train(
    model: nn.Module, data: Source, holdout: Source, schedule: Schedule, loss: Loss, checkpoint: Path,
    report: Report = print, settings: Settings | None = None,
) -> Progress:  # fmt: skip
    """Train for the epochs that are left, writing `checkpoint` after each; the result holds the best weights.

    settings: what the result depends on beside the schedule and the number of processes. Raises ConfigError for a
    batch that does not fit and for a checkpoint of other settings, InputError for a damaged one and when the loss is
    no number.
    """
    schedule.check(len(data), processes())
    known = {**asdict(schedule), "processes": processes(), **(settings or {})}
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    progress = Progress(model, _optimizer(model, schedule, data.device.type == "cuda"))
    if checkpoint.is_file():
        resume(progress, known, checkpoint)
        report(f"resumed after epoch {len(progress.log)} from {checkpoint}")
    forward = _prepared(model, data, schedule)
    for epoch in range(len(progress.log) + 1, schedule.epochs + 1):
        entry = _run_epoch(progress, forward, data, holdout, schedule, loss, epoch)
        best_before = max((past["holdout_accuracy"] for past in progress.log), default=-1.0)
        if entry["holdout_accuracy"] > best_before:
            progress.best = {name: value.clone() for name, value in model.state_dict().items()}
        progress.log.append(entry)
        if rank() == 0:
            save_checkpoint(progress, known, checkpoint)
            report(json.dumps(entry))
    model.load_state_dict(progress.best)
    _agree(model)
    return progress


def seed_weights(seed: int) -> None:
    """Makes what is drawn next from torch's own generator, such as the first weights of a network, repeatable."""
    torch.manual_seed(seed)


def start_processes(device: str) -> None:
    """Join the processes that torchrun started, if it did; once in each process, for `cpu` or a GPU."""
    if distributed.is_torchelastic_launched() and not distributed.is_initialized():
        distributed.init_process_group("gloo" if device == "cpu" else "nccl")


def rank() -> int:
    """Number of this process, 0 when it is alone: process 0 writes files and reports."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def _agree(model: nn.Module) -> None:
    """The state of process 0 in all processes, whose batch-norm statistics have drifted apart."""
    if distributed.is_initialized():
        for value in model.state_dict().values():
            distributed.broadcast(value, 0)


def processes() -> int:
    """How many processes share the work."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def _prepared(model: nn.Module, data: Source, schedule: Schedule) -> Callable[[Tensor], Tensor]:
    """The model as a step calls it: wrapped for several processes, or on a GPU as one graph of all its kernels.

    Small networks are bound by kernel launches: a captured graph makes ResNet-20 several times faster.
    """
    model.train()
    if distributed.is_initialized():
        wrapped: Callable[[Tensor], Tensor] = nn.parallel.DistributedDataParallel(model)
        return wrapped
    if data.device.type != "cuda":
        return cast(Callable[[Tensor], Tensor], model)
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    sample = data.sample(schedule.batch).contiguous(memory_format=torch.channels_last)
    with _autocast(sample, schedule):
        graphed = cast(Callable[[Tensor], Tensor], torch.cuda.make_graphed_callables(model, (sample,)))
    model.load_state_dict(kept)  # the capture's warm-up moved the batch-norm statistics
    return graphed


def _autocast(images: Tensor, schedule: Schedule) -> torch.autocast:
    return torch.autocast(images.device.type, torch.bfloat16, enabled=schedule.bf16, cache_enabled=False)


def _run_epoch(
    progress: Progress, forward: Callable[[Tensor], Tensor], data: Source, holdout: Source, schedule: Schedule,
    loss: Loss, epoch: int,
) -> EpochLog:  # fmt: skip
    """One pass over the shuffled training images, then the accuracy on the held-out ones."""
    start, count = time.perf_counter(), steps(data, schedule)
    torch.manual_seed(drawn_from(schedule, epoch))  # dropout draws from the global generator
    progress.model.train()
    total, rate = torch.zeros((), device=data.device), 0.0
    for index, batch in enumerate(data.epoch(schedule, epoch, rank(), processes())):
        rate = learning_rate(schedule, (epoch - 1) * count + index, schedule.epochs * count)
        total += _step(progress, forward, batch, rate, schedule, loss)
    mean = _mean_over_processes(total / count)
    if not math.isfinite(mean):
        raise InputError(f"training loss became {mean} in epoch {epoch} at learning rate {rate:.4f}; lower peak_rate")
    _agree(progress.model)
    return {
        "epoch": epoch,
        "learning_rate": round(rate, 6),
        "train_loss": round(mean, 4),
        "holdout_accuracy": round(accuracy(progress.model, holdout, shared=True), 2),
        "seconds": round(time.perf_counter() - start, 1),
    }


def _mean_over_processes(value: Tensor) -> float:
    if distributed.is_initialized():
        distributed.all_reduce(value)
    return float(value) / processes()


def _step(
    progress: Progress, forward: Callable[[Tensor], Tensor], batch: Batch, rate: float,
    schedule: Schedule, loss: Loss,
) -> Tensor:  # fmt: skip
    """One step of the optimiser at learning rate `rate`; returns the batch's mean loss."""
    for group in progress.optimizer.param_groups:
        group["lr"] = rate * group["rate"]
    images = batch[0].contiguous(memory_format=torch.channels_last)
    with _autocast(images, schedule):
        logits = forward(images)
        value = loss(logits.flatten(1).float(), images, batch[1])
    progress.optimizer.zero_grad(set_to_none=True)
    value.backward()
    progress.optimizer.step()
    return value.detach()
