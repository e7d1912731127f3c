"""Checkpoints of a training run: what it carries from one epoch to the next, and the settings it belongs to."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from subrow.spec.errors import ConfigError, InputError

EpochLog = dict[str, float | int]
"""One epoch: epoch (from 1), learning_rate at its end, train_loss, holdout_accuracy (percent), seconds."""
Settings = Mapping[str, Any]
"""What the result of a run depends on, by name: numbers, texts, and mappings of them."""


@dataclass
class Progress:
    """What a run carries from one epoch to the next."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    best: dict[str, Tensor] = field(default_factory=dict)
    log: list[EpochLog] = field(default_factory=list)


def flat(settings: Settings, prefix: str = "") -> dict[str, Any]:
    """Settings without nesting: the keys of an inner mapping follow its own name and a dot."""
    result: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            result |= flat(value, f"{prefix}{name}.")
        else:
            result[f"{prefix}{name}"] = list(value) if isinstance(value, tuple) else value
    return result


def save_checkpoint(progress: Progress, settings: Settings, path: Path) -> None:
    """Write the run's state aside, then rename: an interruption leaves the old checkpoint or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".part")
    state = {
        "settings": flat(settings),
        "model": progress.model.state_dict(),
        "optimizer": progress.optimizer.state_dict(),
        "best": progress.best,
        "log": progress.log,
    }
    torch.save(state, aside)
    os.replace(aside, path)


def resume(progress: Progress, settings: Settings, path: Path) -> None:
    """Fill `progress` from a checkpoint, on whatever device that was written.

    Raises ConfigError for one of other settings, naming the first that differs, and InputError for a damaged one.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        there, model, optimizer, best, log = (state[k] for k in ("settings", "model", "optimizer", "best", "log"))
        _compare(there, flat(settings), path)
        progress.model.load_state_dict(model)
        progress.optimizer.load_state_dict(optimizer)
        progress.best, progress.log = best, list(log)
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, IndexError,
            pickle.UnpicklingError) as error:  # fmt: skip
        lines = str(error).strip().splitlines()
        raise InputError(
            f"checkpoint {path} ({path.stat().st_size} bytes): damaged, or of another version "
            f"({lines[0] if lines else type(error).__name__}); delete it to start its stage afresh"
        ) from error


def _compare(there: Mapping[str, Any], here: Mapping[str, Any], path: Path) -> None:
    for name in sorted(there.keys() | here.keys()):
        if there.get(name) != here.get(name):
            raise ConfigError(
                f"checkpoint {path}: {name} is {there.get(name)} there and {here.get(name)} here; give the same "
                "values, another folder, or delete the file to start afresh"
            )
