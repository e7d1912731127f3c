"""Weights from files: .pth and .pt of torch.save, and .safetensors."""

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from models import ModelError

COUNTER = "num_batches_tracked"
"""What batch-norm counts while training; a file may leave it out."""

_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
_PREFIX = "module."  # of a network that was saved inside DataParallel
_TORCH = (".pth", ".pt", ".th")


def load_checkpoint(model: nn.Module, path: str | Path) -> nn.Module:
    """Fill `model` from a file with exactly its tensors and return it; floats of any precision become float32.

    A file of torch.save is read without running any code from it (weights_only). It may hold the tensors themselves or
    a dictionary with them under state_dict, model_state_dict, model or net, with or without the prefix `module.`.
    Raises ModelError, naming the file, the tensor and what is wrong.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"checkpoint {path} does not exist: give the path of a .pth, .pt, .th or .safetensors file")
    tensors = _plain(_read(path), path)
    check_tensors(model, tensors, path)
    model.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}, strict=False)
    return model


def storable_state(model: nn.Module) -> dict[str, Tensor]:
    """What a weights file holds: every parameter and batch-norm statistic rounded to float16, no counters."""
    state = model.state_dict()
    return {name: value.half().contiguous() for name, value in state.items() if not name.endswith(COUNTER)}


def save_weights(model: nn.Module, path: Path) -> None:
    """Write the storable state of a network as safetensors, aside first: a killed run leaves no half-written file."""
    aside = path.with_name(path.name + ".part")
    aside.write_bytes(save(storable_state(model)))
    os.replace(aside, path)


def check_tensors(model: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raise ModelError unless the file holds exactly the tensors of `model`, each of its shape and finite."""
    expected = {name: value for name, value in model.state_dict().items() if not name.endswith(COUNTER)}
    given = {name for name in tensors if not name.endswith(COUNTER)}
    missing, extra = sorted(expected.keys() - given), sorted(given - expected.keys())
    if missing or extra:
        raise ModelError(
            f"weights file {path} does not fit {type(model).__name__}: missing tensors {_some(missing)}, "
            f"unknown tensors {_some(extra)}; use the file that was saved from this network"
        )
    for name, value in expected.items():
        if tensors[name].shape != value.shape:
            raise ModelError(
                f"weights file {path}: tensor {name} has shape {tuple(tensors[name].shape)}, "
                f"{type(model).__name__} needs {tuple(value.shape)}; check width, input channels and number of classes"
            )
        if not torch.isfinite(tensors[name]).all():
            raise ModelError(f"weights file {path}: tensor {name} holds values that are not finite; train it again")


def _some(names: list[str], most: int = 6) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{rest}" if names else "none"


def _read(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if path.suffix in _TORCH:
            return torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        reason = str(error).strip().splitlines()
        raise ModelError(
            f"checkpoint {path} ({path.stat().st_size} bytes) cannot be read: "
            f"{reason[0] if reason else type(error).__name__}; give a file of tensors that is whole"
        ) from error
    raise ModelError(f"checkpoint {path}: suffix {path.suffix!r}, must be .pth, .pt, .th or .safetensors")


def _plain(document: Any, path: Path) -> dict[str, Tensor]:
    """The tensors by name, out of whatever they were wrapped in."""
    if isinstance(document, Mapping):
        inner = next((document[k] for k in _WRAPPERS if isinstance(document.get(k), Mapping)), document)
        if inner and all(isinstance(v, Tensor) for v in inner.values()):
            prefixed = all(str(k).startswith(_PREFIX) for k in inner)
            return {str(k)[len(_PREFIX) :] if prefixed else str(k): v for k, v in inner.items()}
    raise ModelError(f"checkpoint {path} holds no tensors by name; save model.state_dict()")
