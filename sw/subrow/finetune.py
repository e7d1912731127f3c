"""A recipe from start to end: float training, pruning, retraining under the mask, training in integers, export.

A stage's checkpoint holds its finished state, too, so that a killed run resumes with the stage, and the epoch, where it
was; pruning and quantisation between the stages are repeated, with the same result.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from subrow.api import compressed, quantised
from subrow.compress.recipe import Recipe
from subrow.compress.stages import Trainer, graph_accuracy, make_trainer, module_accuracy
from subrow.compress.training import rank
from subrow.frontend.load import load_model
from subrow.ir.graph import Graph
from subrow.ir.store import save_graph
from subrow.spec import hwconfig
from subrow.spec.errors import InputError
from subrow.spec.program import write_atomic
from subrow.trained import trained

if TYPE_CHECKING:
    from collections.abc import Callable

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


def finetune(job: Job, resume: bool) -> dict[str, Any] | None:
    """Run a recipe and return its card; None in all but the first of several processes.

    Raises InputError when checkpoints are there and `resume` is false.
    """
    if not resume and any(job.work.glob("*.pt")):
        raise InputError(f"{job.work}: holds checkpoints of an earlier run; give --resume, or remove the folder")
    recipe, logs = job.recipe, Logs()
    teacher = None if recipe.teacher is None else trained(recipe.teacher).network()
    trainer = make_trainer(job.data.train, job.data.holdout, job.work, job.device, job.report, teacher)
    model = _start(recipe)
    if "float" in recipe.stages:
        logs["float"] = trainer.run(model, recipe.stages["float"], "float")
    graph = None if recipe.prune is None else _integers(job, trainer, model.cpu().eval(), logs)
    if rank():
        return None
    job.out.mkdir(parents=True, exist_ok=True)
    if graph is None:
        return _export(job, logs, _store_float(job, model))
    save_graph(graph, job.out / "model.safetensors", hwconfig.load(recipe.hw))
    return _export(job, logs, _measured(job, graph))


def _start(recipe: Recipe) -> Any:
    """The network that the recipe starts from."""
    if recipe.start is not None:
        return trained(recipe.start).network()
    return load_model(recipe.network, recipe.arguments)


def _integers(job: Job, trainer: Trainer, model: Any, logs: Logs) -> Graph:
    """The network pruned, retrained and quantised as the recipe says."""
    recipe, pruning = job.recipe, job.recipe.prune
    assert pruning is not None
    hw, images = hwconfig.load(recipe.hw), job.data.train.images[: pruning.calibration]
    density, tile = pruning.density, pruning.tile
    graph = compressed(model, images, hw, density, tile, images, pruning.linear)  # type: ignore[arg-type]
    if "sparse" in recipe.stages:
        graph, logs["sparse"] = trainer.retrain(graph, recipe.stages["sparse"])
    graph = quantised(graph, images, hw)
    if "integer" in recipe.stages:
        graph, logs["integer"] = trainer.train_integers(graph, hw, recipe.stages["integer"], recipe.weight_bits)
    return graph


def _store_float(job: Job, model: Any) -> dict[str, Any]:
    """Write float16 weights; what was measured with them as stored."""
    from models.checkpoint import load_checkpoint, save_weights

    path = job.out / "model.safetensors"
    save_weights(model.cpu(), path)
    load_checkpoint(model, path)
    reached = round(module_accuracy(model, job.data.test, "cpu"), 2)
    return {"float_accuracy": reached, "accuracy": reached, "density": 1.0, "bits": "float16"}


def _measured(job: Job, graph: Graph) -> dict[str, Any]:
    """Accuracy, density and bits of a quantised Graph."""
    hw, layers = hwconfig.load(job.recipe.hw), [n for n in graph if n.op == "conv"]
    bits = {n.name: job.recipe.weight_bits.get(n.name, hw.u_bits) for n in layers}
    start = job.recipe.start
    return {
        "float_accuracy": None if start is None else trained(start).card["float_accuracy"],
        "accuracy": round(graph_accuracy(graph, hw, job.data.test, "cpu"), 2),
        "density": {n.name: n.attrs.get("density", (1, 1))[0] / n.attrs.get("density", (1, 1))[1] for n in layers},
        "bits": bits, "tile": {n.name: n.attrs["tile"] for n in layers},
    }  # fmt: skip


def _export(job: Job, logs: Logs, measured: dict[str, Any]) -> dict[str, Any]:
    """Write card.json, last of all: a folder with a card is whole."""
    recipe, data = job.recipe, job.data
    used = f"{len(data.train.labels):,} training images, {len(data.holdout.labels):,} held out to choose the epoch"
    card = {
        "name": recipe.name, "network": recipe.network, "arguments": recipe.arguments, **measured,
        "accuracy_unit": f"percent of {len(data.test.labels):,} test images, measured with the weights as stored",
        "data": f"{data.name}: {used}, {len(data.test.labels):,} test images",
        "seed": recipe.seed, "hw": recipe.hw, "start": recipe.start, "teacher": recipe.teacher,
        "epochs": {stage: len(log) for stage, log in logs.items()}, "command": job.command, "log": logs,
    }  # fmt: skip
    write_atomic(job.out / "card.json", (json.dumps(card, indent=1) + "\n").encode())
    return card
