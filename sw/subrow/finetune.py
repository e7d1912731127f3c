"""A recipe from start to end: float training, pruning, retraining under the mask, training in integers, export.

A stage's checkpoint holds its finished state, too, so that a killed run resumes with the stage, and the epoch, where it
was; pruning and quantisation between the stages are repeated, with the same result.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from subrow.api import compressed, density_for, quantised
from subrow.compress.integer_network import check_trainable
from subrow.compress.recalibrate import recalibrate
from subrow.compress.recipe import ITSELF, STAGES, Recipe
from subrow.compress.sparse_network import check_single
from subrow.compress.srbs import check_prunable, prune
from subrow.compress.stages import (
    Trainer,
    check_fits,
    chosen_device,
    graph_accuracy,
    make_trainer,
    module_accuracy,
)
from subrow.compress.training import processes, rank, seed_weights
from subrow.compress.weight_bits import with_bits
from subrow.frontend.load import load_model
from subrow.frontend.torch_export import capture
from subrow.ir.graph import Graph
from subrow.ir.store import save_graph
from subrow.ir.verify import verify
from subrow.ir.weights import weight_bits
from subrow.passes import AFTER_COMPRESSION
from subrow.passes import run as run_passes
from subrow.planning import lowered, plan_network, with_tiles
from subrow.spec import hwconfig
from subrow.spec.errors import ConfigError, InputError
from subrow.spec.hwconfig import HwConfig
from subrow.spec.program import write_atomic
from subrow.trained import Trained, trained

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from models.datasets import Dataset

Logs = dict[str, list[dict[str, float | int]]]


@dataclass(frozen=True)
class Job:
    """A recipe on one data set: work holds checkpoints, out gets model.safetensors and card.json."""

    recipe: Recipe
    data: Dataset
    work: Path
    out: Path
    device: str
    command: str
    report: Callable[[str], None]


@dataclass(frozen=True)
class Setting:
    """What a recipe starts from, all of it read and found to fit before anything is trained.

    One of model (float) and graph (quantised); network and arguments: where the model comes from.
    """

    hw: HwConfig
    model: Any
    graph: Graph | None
    network: str
    arguments: dict[str, Any]
    teacher: Any
    start_card: Mapping[str, Any]
    digests: dict[str, str]


def finetune(job: Job, resume: bool) -> dict[str, Any] | None:
    """Run a recipe and return its card; None in all but the first of several processes.

    Raises InputError when checkpoints are there and `resume` is false; ConfigError, before any training, for a mistake
    in any table of the recipe.
    """
    if not resume and any(job.work.glob("*.pt")):
        raise InputError(f"{job.work}: holds checkpoints of an earlier run; give --resume, or remove the folder")
    recipe, logs, ready = job.recipe, Logs(), _prepared(job)
    settings = {stage: _settings(recipe, ready, stage) for stage in recipe.stages}
    trainer = make_trainer(
        job.data.train, job.data.holdout, job.work, job.device, job.report, ready.teacher, settings
    )
    for stage in recipe.stages.values():
        stage.loss(ready.teacher)
        stage.schedule.check(len(job.data.train.labels), processes())
    if "float" in recipe.stages:
        logs["float"] = trainer.run(ready.model, recipe.stages["float"], "float")
    graph = _integers(job, ready, trainer, logs)
    if rank():
        return None
    job.out.mkdir(parents=True, exist_ok=True)
    (job.out / "card.json").unlink(missing_ok=True)  # a folder with a card is whole: none while weights change
    if graph is None:
        return _export(job, ready, logs, _store_float(job, ready.model))
    save_graph(graph, job.out / "model.safetensors", ready.hw)
    return _export(job, ready, logs, _measured(job, ready, graph))


def _prepared(job: Job) -> Setting:
    """Everything that the recipe names. Raises SubrowError for what is missing or does not fit."""
    recipe, data = job.recipe, job.data
    hw = hwconfig.load(recipe.hw)
    start = None if recipe.start is None else trained(recipe.start)
    teacher = None if recipe.teacher in (None, ITSELF) else trained(str(recipe.teacher))
    network, arguments = (recipe.network, recipe.arguments) if start is None else start.source()
    graph, model, taught = None, None, None if teacher is None else teacher.network()
    if start is not None and start.in_integers:
        if recipe.teacher == ITSELF:
            raise ConfigError(f"recipe {recipe.name}: teacher itself: start {recipe.start} is in integers; name the "
                              "float network that it came from")  # fmt: skip
        graph = _start_graph(recipe, start, hw)
        _check_bits(recipe, graph, hw)
    else:
        seed_weights(recipe.seed)
        model = _fresh(recipe) if start is None else start.network()
        check_fits(model, data.train, f"network {network}")
        if recipe.prune is not None:
            _check_plan(recipe, model, data.train.first(2).images, hw)
        elif "integer" in recipe.stages:
            raise ConfigError(
                f"recipe {recipe.name}: start {recipe.start} has float weights; [integer] needs [prune], with a tile"
            )
        taught = copy.deepcopy(model).eval() if recipe.teacher == ITSELF else taught
    if taught is not None:
        check_fits(taught, data.train, f"teacher {recipe.teacher}")
    found = {"start": start, "teacher": teacher}
    digests = {name: each.digest() for name, each in found.items() if each is not None}
    digests["data"] = _digest_of(data)
    if recipe.checkpoint is not None:
        digests["checkpoint"] = hashlib.blake2b(Path(recipe.checkpoint).read_bytes(), digest_size=8).hexdigest()
    return Setting(hw, model, graph, str(network), arguments, taught, {} if start is None else start.card, digests)


def _fresh(recipe: Recipe) -> Any:
    """The recipe's network with its first weights: of a file, or of its seed."""
    from models import ModelError
    from models.checkpoint import load_checkpoint

    model: Any = load_model(str(recipe.network), recipe.arguments)
    try:
        return model if recipe.checkpoint is None else load_checkpoint(model, recipe.checkpoint)
    except ModelError as error:
        raise InputError(f"recipe {recipe.name}: {error}") from error


def _start_graph(recipe: Recipe, start: Trained, hw: HwConfig) -> Graph:
    """The quantised Graph that training in integers goes on from."""
    other = [stage for stage in recipe.stages if stage != "integer"] + ["prune"] * (recipe.prune is not None)
    if other:
        raise ConfigError(
            f"recipe {recipe.name}: start {recipe.start} is pruned and in integers already, so that [{other[0]}] has "
            "no effect; give [integer] alone, or start from float weights"
        )
    stored = start.graph()
    stored.check_hardware(hw)
    check_trainable(stored.graph)
    return stored.graph


def _check_plan(recipe: Recipe, model: Any, images: Any, hw: HwConfig) -> None:
    """Raises SubrowError unless the network, pruned as the recipe says, fits the hardware and the stages to come."""
    pruning = recipe.prune
    assert pruning is not None
    density = None if pruning.density is None else density_for(pruning.density, hw)
    graph = capture(model, images)
    check_single(graph)
    if density is not None:
        check_prunable(lowered(graph, hw), density, pruning.linear)
    plan_network(graph, pruning.tile, hw, density, pruning.linear)
    tiled = with_tiles(lowered(graph, hw), pruning.tile, hw, density, pruning.linear)
    _check_bits(recipe, tiled, hw)
    if "integer" in recipe.stages:
        check_trainable(run_passes(tiled, AFTER_COMPRESSION))


def _check_bits(recipe: Recipe, graph: Graph, hw: HwConfig) -> None:
    """Raises ConfigError for weight_bits of a layer that there is not."""
    try:
        with_bits(graph, recipe.weight_bits, hw)
    except ConfigError as error:
        raise ConfigError(f"recipe {recipe.name}, weight_bits: {error}") from error


def _digest_of(data: Dataset) -> str:
    """Of the images and labels that are learned from and chosen by."""
    digest = hashlib.blake2b(digest_size=8)
    for part in (*data.train.parts(), *data.holdout.parts()):
        digest.update(part)
    return digest.hexdigest()


def _settings(recipe: Recipe, ready: Setting, stage: str) -> dict[str, Any]:
    """What the result of a stage depends on beside its own table: the recipe so far, weights, data."""
    before = {
        name: dataclasses.asdict(recipe.stages[name])
        for name in STAGES[: STAGES.index(stage)] if name in recipe.stages
    }  # fmt: skip
    result: dict[str, Any] = {
        "network": ready.network, "arguments": ready.arguments, "digest": ready.digests, "before": before
    }  # fmt: skip
    if stage != "float":
        result |= {"hw": recipe.hw, "prune": recipe.prune and dataclasses.asdict(recipe.prune)}
    if stage == "integer":
        result["weight_bits"] = _bits(recipe, ready)
    return result


def _bits(recipe: Recipe, ready: Setting) -> dict[str, int]:
    """Bits of the weights of layers that have fewer than the hardware: those of the start, then the recipe's."""
    before = ready.start_card.get("bits") if ready.graph is not None else None
    return {**(before if isinstance(before, dict) else {}), **recipe.weight_bits}


def _integers(job: Job, ready: Setting, trainer: Trainer, logs: Logs) -> Graph | None:
    """The network pruned, retrained and quantised as the recipe says; None for one that stays float."""
    recipe, pruning, hw, graph = job.recipe, job.recipe.prune, ready.hw, ready.graph
    if pruning is not None:
        images = job.data.train.first(pruning.calibration).images
        graph = quantised(_pruned(recipe, ready, trainer, images, logs), images, hw, bits=recipe.weight_bits)
    if graph is not None and "integer" in recipe.stages:
        graph = with_bits(graph, _bits(recipe, ready), hw)
        graph, logs["integer"] = trainer.train_integers(graph, hw, recipe.stages["integer"])
    return graph


def _pruned(recipe: Recipe, ready: Setting, trainer: Trainer, images: Any, logs: Logs) -> Graph:
    """The network pruned, at once or in steps, its kept weights trained after each; dense without a density."""
    pruning, sparse, model = recipe.prune, recipe.stages.get("sparse"), ready.model.cpu().eval()
    assert pruning is not None
    if pruning.density is None:
        return compressed(model, images, ready.hw, None, pruning.tile, images, pruning.linear)
    last = density_for(pruning.density, ready.hw)
    graph = with_tiles(lowered(capture(model, images), ready.hw), pruning.tile, ready.hw, last, pruning.linear)
    for text in (*pruning.steps, pruning.density):
        density = density_for(text, ready.hw)
        graph = verify(prune(graph, density, linear=pruning.linear, images=images), "prune")
        graph = verify(recalibrate(graph, images), "recalibrate")
        if sparse is not None and density != last:
            short = dataclasses.replace(sparse.schedule, epochs=pruning.step_epochs)
            stage = dataclasses.replace(sparse, schedule=short)
            graph, logs[f"sparse {text}"] = trainer.retrain(graph, stage, f"-{density[0]}of{density[1]}")
    if sparse is not None:
        graph, logs["sparse"] = trainer.retrain(graph, sparse)
    return graph


def _store_float(job: Job, model: Any) -> dict[str, Any]:
    """Write float16 weights; what was measured with them as stored."""
    from models.checkpoint import load_checkpoint, save_weights

    path = job.out / "model.safetensors"
    save_weights(model.cpu(), path)
    load_checkpoint(model, path)
    reached = round(module_accuracy(model, job.data.test, chosen_device(job.device)), 2)
    return {"float_accuracy": reached, "accuracy": reached, "density": 1.0, "bits": "float16"}


def _measured(job: Job, ready: Setting, graph: Graph) -> dict[str, Any]:
    """Accuracy, density and bits of a quantised Graph; the float accuracy is that of the network before pruning."""
    layers = [n for n in graph if n.op == "conv"]
    before = ready.start_card.get("float_accuracy")
    if ready.model is not None:
        before = round(module_accuracy(ready.model, job.data.test, chosen_device(job.device)), 2)
    return {
        "float_accuracy": before,
        "accuracy": round(graph_accuracy(graph, ready.hw, job.data.test, chosen_device(job.device)), 2),
        "density": {n.name: n.attrs.get("density", (1, 1))[0] / n.attrs.get("density", (1, 1))[1] for n in layers},
        "bits": {n.name: weight_bits(n, ready.hw) for n in layers},
        "tile": {n.name: n.attrs["tile"] for n in layers},
    }


def _export(job: Job, ready: Setting, logs: Logs, measured: dict[str, Any]) -> dict[str, Any]:
    """Write card.json, last of all: a folder with a card is whole."""
    recipe, data = job.recipe, job.data
    used = f"{len(data.train.labels):,} training images, {len(data.holdout.labels):,} held out to choose the epoch"
    card = {
        "name": recipe.name, "network": ready.network, "arguments": ready.arguments, **measured,
        "accuracy_unit": f"percent of {len(data.test.labels):,} test images, measured with the weights as stored",
        "data": f"{data.name}: {used}, {len(data.test.labels):,} test images",
        "seed": recipe.seed, "hw": recipe.hw, "start": recipe.start, "checkpoint": recipe.checkpoint,
        "teacher": recipe.teacher, "epochs": {stage: len(log) for stage, log in logs.items()},
        "command": job.command, "log": logs,
    }  # fmt: skip
    write_atomic(job.out / "card.json", (json.dumps(card, indent=1) + "\n").encode())
    return card
