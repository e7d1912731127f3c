"""Recipes: how a network is trained, pruned and made integer, as one TOML file."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from subrow.compress.augment import Augment
from subrow.compress.stages import Stage
from subrow.compress.training import Schedule
from subrow.spec.errors import ConfigError

STAGES = ("float", "sparse", "integer")
"""Tables of a recipe that train, in the order in which they run."""


@dataclass(frozen=True)
class Pruning:
    """The pattern: density s/L, tile of every 3x3 layer, whether linear layers are pruned, calibration images."""

    density: str | None = None
    tile: str = "auto"
    linear: bool = False
    calibration: int = 256


@dataclass(frozen=True)
class Recipe:
    """A recipe file.

    network: `module:callable`, called with `arguments`. start and teacher: names of trained networks, whose weights are
    started from and distilled from. weight_bits: bits of the weights of some layers, by node name.
    """

    name: str
    network: str
    arguments: dict[str, Any] = dataclasses.field(default_factory=dict)
    hw: str = "pynq-z2"
    seed: int = 1
    start: str | None = None
    teacher: str | None = None
    prune: Pruning | None = None
    weight_bits: dict[str, int] = dataclasses.field(default_factory=dict)
    stages: dict[str, Stage] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.stages:
            raise ConfigError(f"recipe {self.name}: trains nothing; give at least one table of {', '.join(STAGES)}")
        if "sparse" in self.stages and (self.prune is None or self.prune.density is None):
            raise ConfigError(f"recipe {self.name}: the table sparse needs [prune] with a density")
        if "integer" in self.stages and self.prune is None:
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
    seed = document.get("seed", 1)
    stages = {name: _stage(document.pop(name), seed, f"recipe {path}, [{name}]") for name in STAGES if name in document}
    if "prune" in document:
        document["prune"] = _fill(Pruning, document["prune"], f"recipe {path}, [prune]")
    recipe: Recipe = _fill(Recipe, {"name": path.stem, **document, "stages": stages}, f"recipe {path}")
    return recipe


def _stage(table: Any, seed: int, where: str) -> Stage:
    """A stage's table: keys of Stage, of Schedule and a table `augment` side by side."""
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: is {table!r}; it must be a table")
    values = dict(table)
    own = {f.name: values.pop(f.name) for f in dataclasses.fields(Stage) if f.name in values}
    if "augment" in values:
        values["augment"] = _fill(Augment, values["augment"], f"{where}.augment")
    schedule = _fill(Schedule, {"seed": seed, **values}, where)
    return Stage(schedule=schedule, **own)


def _fill(kind: Any, values: Any, where: str) -> Any:
    """An instance of a dataclass from a table, with every key known and of its default's type."""
    if not isinstance(values, dict):
        raise ConfigError(f"{where}: is {values!r}; it must be a table")
    known = {f.name: f for f in dataclasses.fields(kind)}
    unknown = sorted(values.keys() - known.keys())
    if unknown:
        raise ConfigError(f"{where}: unknown key {unknown[0]!r}; known: {', '.join(known)}")
    missing = [n for n, f in known.items() if n not in values and _required(f)]
    if missing:
        raise ConfigError(f"{where}: key {missing[0]!r} is missing")
    for name, value in values.items():
        default = known[name].default
        wanted = type(default) if default not in (None, dataclasses.MISSING) else None
        right = wanted is None or isinstance(value, wanted) or (wanted is float and type(value) is int)
        if not right or (isinstance(value, bool) and wanted in (int, float)):
            raise ConfigError(f"{where}: {name} is {value!r}; it must be a {getattr(wanted, '__name__', wanted)}")
    return kind(**values)


def _required(entry: Any) -> bool:
    missing = dataclasses.MISSING
    return entry.default is missing and entry.default_factory is missing
