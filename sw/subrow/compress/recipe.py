"""Recipes: how a network is trained, pruned and made integer, as one TOML file."""

from __future__ import annotations

import dataclasses
import math
import re
import tomllib
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from subrow.compress.augment import Augment
from subrow.compress.srbs import parse_density
from subrow.compress.stages import Stage
from subrow.compress.training import Schedule
from subrow.spec.errors import ConfigError

STAGES = ("float", "sparse", "integer")
"""Tables of a recipe that train, in the order in which they run."""
ITSELF = "itself"
"""A recipe's teacher: the float network that it starts from, before anything of it is pruned or trained."""


@dataclass(frozen=True)
class Pruning:
    """The pattern: density s/L, tile of every 3x3 layer, whether linear layers are pruned, calibration images.

    steps: densities on the way to the last one, falling; after each the kept weights are trained for step_epochs, as
    [sparse] says, before more of them go. Without steps all go at once.
    """

    density: str | None = None
    steps: list[str] = dataclasses.field(default_factory=list)
    step_epochs: int = 1
    tile: Literal["auto", "f2", "f4", "direct"] = "auto"
    linear: bool = False
    calibration: int = 256

    def __post_init__(self) -> None:
        if self.density is not None:
            parse_density(self.density)
        for name in ("calibration", "step_epochs"):
            if getattr(self, name) < 1:
                raise ConfigError(f"prune: {name} is {getattr(self, name)}; it must be at least 1")
        if self.steps:
            densities = [parse_density(d) for d in (*self.steps, *([self.density] if self.density else []))]
            falling = all(a[0] > b[0] and a[1] == b[1] for a, b in zip(densities, densities[1:], strict=False))
            if self.density is None or not falling:
                raise ConfigError(f"prune: steps {self.steps} must fall, with the same L, to density {self.density}")


@dataclass(frozen=True)
class Recipe:
    """A recipe file.

    network: `module:callable`, called with `arguments`, its weights from its seed or from the file `checkpoint`, such
    as one of torchvision; or start: name of a trained network, with its weights. Where those are the integers of a
    Graph, [integer] goes on from them. teacher: name of the trained network that is distilled from, or `itself`.
    weight_bits: bits of the weights of some layers in [integer], by node name.
    """

    name: str
    network: str | None = None
    arguments: dict[str, Any] = dataclasses.field(default_factory=dict)
    hw: str = "pynq-z2"
    seed: int = 1
    start: str | None = None
    checkpoint: str | None = None
    teacher: str | None = None
    prune: Pruning | None = None
    weight_bits: dict[str, int] = dataclasses.field(default_factory=dict)
    stages: dict[str, Stage] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.-]*\w", self.name):
            raise ConfigError(f"recipe {self.name!r}: the name names a folder: letters, digits and _ . - alone")
        if (self.network is None) == (self.start is None):
            raise ConfigError(f"recipe {self.name}: give one of network and start, the trained network to go on from")
        if self.start is not None and self.arguments:
            raise ConfigError(f"recipe {self.name}: arguments have no effect with start, whose network has its own")
        if self.checkpoint is not None and self.start is not None:
            raise ConfigError(f"recipe {self.name}: checkpoint fills network; start has weights of its own: give one")
        if self.teacher == ITSELF and self.checkpoint is None and self.start is None:
            raise ConfigError(f"recipe {self.name}: teacher itself needs trained weights: give checkpoint or start")
        if self.seed < 0:
            raise ConfigError(f"recipe {self.name}: seed is {self.seed}; it must be at least 0")
        if self.weight_bits and "integer" not in self.stages:
            raise ConfigError(f"recipe {self.name}: weight_bits have no effect without the table integer")
        if not self.stages:
            raise ConfigError(f"recipe {self.name}: trains nothing; give at least one table of {', '.join(STAGES)}")
        if self.prune is not None and self.prune.steps and "sparse" not in self.stages:
            raise ConfigError(f"recipe {self.name}: steps of [prune] need the table sparse, which trains between them")
        if "sparse" in self.stages and (self.prune is None or self.prune.density is None):
            raise ConfigError(f"recipe {self.name}: the table sparse needs [prune] with a density")
        if "integer" in self.stages and self.prune is None and (self.start is None or "float" in self.stages):
            raise ConfigError(f"recipe {self.name}: the table integer needs [prune], with a tile and perhaps a density")
        for node, bits in self.weight_bits.items():
            if not 2 <= bits <= 8:
                raise ConfigError(f"recipe {self.name}: weight_bits of {node} is {bits}; it must be in 2..8")


def load_recipe(path: str | Path) -> Recipe:
    """Read a recipe file. Raises ConfigError, naming the file, the table, the key and what is known."""
    path = Path(path)
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"recipe {path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"recipe {path}: not TOML ({error})") from error
    if "stages" in document:
        raise ConfigError(f"recipe {path}: unknown key 'stages'; stages are the tables {', '.join(STAGES)}")
    seed = document.get("seed", 1)
    stages = {name: _stage(document.pop(name), seed, f"recipe {path}, [{name}]") for name in STAGES if name in document}
    if "prune" in document:
        document["prune"] = _fill(Pruning, document["prune"], f"recipe {path}, [prune]")
    recipe: Recipe = _fill(Recipe, {"name": path.stem, **document, "stages": stages}, f"recipe {path}")
    return recipe


def _stage(table: Any, seed: Any, where: str) -> Stage:
    """A stage's table: keys of Stage, of Schedule and a table `augment` side by side."""
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: is {table!r}; it must be a table")
    values = dict(table)
    own = {f.name: values.pop(f.name) for f in dataclasses.fields(Stage) if f.name in values and f.name != "schedule"}
    if "augment" in values:
        values["augment"] = _fill(Augment, values["augment"], f"{where}.augment")
    stage: Stage = _fill(Stage, {**own, "schedule": _fill(Schedule, {"seed": seed, **values}, where)}, where)
    return stage


def _fill(kind: Any, values: Any, where: str) -> Any:
    """An instance of a dataclass from a table, with every key known and of its field's type."""
    if not isinstance(values, dict):
        raise ConfigError(f"{where}: is {values!r}; it must be a table")
    known, hints = {f.name: f for f in dataclasses.fields(kind)}, typing.get_type_hints(kind)
    unknown = sorted(values.keys() - known.keys())
    if unknown:
        raise ConfigError(f"{where}: unknown key {unknown[0]!r}; known: {', '.join(known)}")
    missing = [n for n, f in known.items() if n not in values and _required(f)]
    if missing:
        raise ConfigError(f"{where}: key {missing[0]!r} is missing")
    for name, value in values.items():
        if not _is(value, hints[name]):
            raise ConfigError(f"{where}: {name} is {value!r}; it must be {_says(hints[name])}")
    try:
        return kind(**values)
    except ConfigError as error:
        raise ConfigError(str(error) if where in str(error) else f"{where}: {error}") from error


def _is(value: Any, hint: Any) -> bool:
    """Whether a value of a TOML document is of a field's type; whole numbers are numbers, NaN and infinity none."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return value in inner
    if origin is types.UnionType:
        return any(_is(value, each) for each in inner)
    if origin is list:
        return isinstance(value, list) and all(_is(v, inner[0]) for v in value)
    if origin is dict:
        return isinstance(value, dict) and all(_is(k, inner[0]) and _is(v, inner[1]) for k, v in value.items())
    if hint is float:
        return type(value) in (int, float) and math.isfinite(value)
    return hint is Any or (type(value) is hint if hint in (int, bool, str) else isinstance(value, hint))


def _says(hint: Any) -> str:
    """A field's type as a message has it."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return " or ".join(map(repr, inner))
    if origin is types.UnionType:
        return " or ".join(_says(each) for each in inner if each is not type(None))
    if origin is list:
        return f"a list, each {_says(inner[0])}"
    if origin is dict:
        return f"a table of {'anything' if inner[1] is Any else _says(inner[1])}"
    names = {int: "a whole number", float: "a finite number", bool: "true or false", str: "a text"}
    return names.get(hint, f"a table of {getattr(hint, '__name__', hint)}")


def _required(entry: Any) -> bool:
    missing = dataclasses.MISSING
    return entry.default is missing and entry.default_factory is missing
