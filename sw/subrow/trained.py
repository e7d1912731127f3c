"""Trained networks: folders with model.safetensors, float weights or the integers of a Graph, and card.json."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from subrow.frontend.load import load_model
from subrow.frontend.torch_export import capture
from subrow.ir.graph import Graph
from subrow.ir.store import StoredGraph, is_graph, load_graph
from subrow.spec.errors import InputError

if TYPE_CHECKING:
    from torch import nn

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS, TRAINED, RECIPES = ROOT / "models" / "weights", ROOT / "build" / "train", ROOT / "models" / "recipes"
"""Where networks come with the project, where recipes leave theirs, and the recipes."""


@dataclass(frozen=True)
class Trained:
    """One folder: its card, and the path of its weights."""

    folder: Path
    card: dict[str, Any]

    @property
    def weights(self) -> Path:
        return self.folder / "model.safetensors"

    @property
    def in_integers(self) -> bool:
        """Whether it is a quantised Graph; else it has float weights."""
        return is_graph(self.weights)

    def network(self) -> nn.Module:
        """The float network with its weights, in eval mode. Raises InputError when the folder holds a Graph."""
        from models import ModelError
        from models.checkpoint import load_checkpoint

        if self.in_integers:
            raise InputError(f"{self.folder}: holds a quantised Graph, not float weights")
        model: Any = load_model(*self.source())
        try:
            return load_checkpoint(model, self.weights).eval()
        except ModelError as error:
            raise InputError(str(error)) from error

    def source(self) -> tuple[str, dict[str, Any]]:
        """`module:callable` of the float network, and the arguments that it was called with."""
        return self.card["network"], dict(self.card.get("arguments", {}))

    def digest(self) -> str:
        """Of the weights' file."""
        return hashlib.blake2b(self.weights.read_bytes(), digest_size=8).hexdigest()

    def graph(self) -> StoredGraph:
        """The quantised Graph. Raises ProgramError when the folder holds float weights."""
        return load_graph(self.weights)


def trained(name: str | Path) -> Trained:
    """A folder by its path, or by its name in models/weights or build/train. Raises InputError."""
    places = [Path(name), WEIGHTS / name, TRAINED / name]
    folder = next((p for p in places if (p / "card.json").is_file() and (p / "model.safetensors").is_file()), None)
    if folder is None:
        recipe = RECIPES / f"{Path(name).name}.toml"
        way = f"give a folder with model.safetensors and card.json, or one of {', '.join(known()) or 'none'}"
        if recipe.is_file():
            way = f"train it with `subrow finetune --recipe {recipe.relative_to(ROOT)} --data PATH`"
        raise InputError(f"trained network {name}: not found; {way}")
    try:
        card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
        if not isinstance(card["network"], str) or not isinstance(card.get("arguments", {}), dict):
            raise TypeError("network must be a text, arguments a table")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / 'card.json'}: damaged, or does not say its network ({error!r})") from error
    return Trained(folder, card)


def captured(model: str, images: NDArray[Any]) -> Graph:
    """The float Graph of a trained network, or of what frontend.load reads, for images [N, C, H, W]."""
    loaded = load_model(model) if ":" in model or Path(model).suffix in (".pt2", ".onnx") else trained(model).network()
    return loaded if isinstance(loaded, Graph) else capture(loaded, images[:2])


def known() -> list[str]:
    """Names of the trained networks that are there."""
    return sorted({p.parent.name for place in (WEIGHTS, TRAINED) for p in place.glob("*/card.json")})
