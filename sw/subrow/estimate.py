"""How long a network takes on a HwConfig, layer by layer, by the cycle model: nothing is compiled, run or simulated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from subrow.compress.srbs import Density
from subrow.compress.weight_bits import Bits
from subrow.frontend.load import input_shape, load_model
from subrow.frontend.torch_export import capture
from subrow.ir.graph import Graph
from subrow.passes.choose_tile import TileName
from subrow.planning import plan_network
from subrow.spec.energy import Energy, energy_json, network_energy
from subrow.spec.errors import InputError
from subrow.spec.hwconfig import HwConfig
from subrow.spec.isa import Instruction
from subrow.spec.metadata import TILES
from subrow.spec.program import Program
from subrow.spec.roofline import Roofline, roofline, traffic
from subrow.spec.timing import estimate


@dataclass(frozen=True)
class Network:
    """A network that `subrow estimate` knows by name: where it is and its input C x H x W."""

    model: str
    shape: tuple[int, int, int]


_IMAGENET = (3, 224, 224)
NETWORKS = {
    "vgg16": Network("models.vgg16:vgg16", _IMAGENET),
    "vgg_nagadomi": Network("models.vgg_nagadomi:vgg_nagadomi", (3, 32, 32)),
    "resnet18": Network("models.resnet:resnet18", _IMAGENET),
    "resnet34": Network("models.resnet:resnet34", _IMAGENET),
    "resnet50": Network("models.resnet:resnet50", _IMAGENET),
    "resnet20": Network("models.resnet:resnet20", (3, 32, 32)),
}


@dataclass(frozen=True)
class LayerEstimate:
    """One layer, one image. bits: of its weights in memory. compute_cycles: array or transforms, memory_cycles: ports
    or bandwidth, each if nothing else took time; bytes moved through memory; bound: the resource that is busiest
    (spec/roofline.py).
    """

    name: str
    tile: str
    density: str
    bits: int
    cycles: int
    compute_cycles: int
    memory_cycles: int
    bytes: int
    bound: str
    figures: Roofline
    weight_bytes: int


@dataclass(frozen=True)
class NetworkEstimate:
    """A network on a HwConfig; every figure is estimated. cycles: of one image, with the turns between layers."""

    network: str
    hw: HwConfig
    cycles: int
    layers: tuple[LayerEstimate, ...]
    energy: Energy
    note: str = ""

    @property
    def ms(self) -> float:
        return self.cycles / self.hw.mhz / 1e3

    @property
    def fps(self) -> float:
        """Images per second, one after the other."""
        return 1e3 / self.ms


def estimate_instructions(
    network: str, names: Sequence[str], instructions: Sequence[Instruction], hw: HwConfig, note: str = ""
) -> NetworkEstimate:
    """The estimate of a network whose instructions are known."""
    result = estimate(instructions, hw)
    layers = tuple(_layer(*row, hw) for row in zip(names, instructions, result.layers, strict=True))
    return NetworkEstimate(network, hw, result.cycles, layers, network_energy(instructions, hw), note)


def _layer(name: str, ins: Instruction, cycles: int, hw: HwConfig) -> LayerEstimate:
    figures, moved = roofline(ins, hw), traffic(ins, hw)
    dense = bool(ins.implicit_index)
    return LayerEstimate(
        name=name, tile=TILES[ins.tile], density="dense" if dense else f"{ins.sub_s}/{hw.sub_row}",
        bits=hw.stored_bits(bool(ins.narrow_u)), cycles=cycles,
        compute_cycles=round(max(figures.compute, figures.transform)),
        memory_cycles=round(figures.memory_cycles), bytes=moved.total, bound=figures.bound, figures=figures,
        weight_bytes=moved.weights,
    )  # fmt: skip


def estimate_program(program: Program, hw: HwConfig) -> NetworkEstimate:
    """The estimate of a compiled Program."""
    program.check_hardware(hw)
    return estimate_instructions(program.name, [i.name for i in program.layers], program.decoded(), hw)


def estimate_network(
    graph: Graph, hw: HwConfig, density: Density | None, tile: TileName, linear: bool, note: str = "",
    progress: Callable[[str, float], None] | None = None, partial: bool = False, bits: Bits | None = None,
) -> NetworkEstimate:  # fmt: skip
    """The estimate of a captured Graph; partial: layers that fit no buffer are left out, and named in the note.

    Weights keep the values that they have: only shapes, tiles, densities and bits count. Raises UnsupportedError for
    what the engine lacks, ConfigError for bits of no layer, CapacityError for a layer that fits no buffer.
    """
    say = progress or (lambda text, share: None)
    if graph.stage != "captured":
        raise InputError(f"Graph {graph.name} is already {graph.stage}: compile it, then estimate the Program")
    say("tiles and blocks", 0.3)
    planned, out = plan_network(graph, tile, hw, density, linear, partial, bits)
    if out:
        note = "; ".join(filter(None, (note, f"left out, because they fit no buffer: {', '.join(out)}")))
    say("cycles", 0.9)
    return estimate_instructions(graph.name, [n.name for n, _ in planned], [i for _, i in planned], hw, note)


def captured(model: str, shape: Sequence[int] | None) -> Graph:
    """The Graph of a network by name or path (frontend.load); shape C x H x W unless it says so itself.

    Raises InputError when the shape is missing or another one.
    """
    loaded = load_model(model)
    own = input_shape(loaded)
    wanted = own if shape is None else tuple(shape)
    if wanted is None:
        raise InputError(f"model {model}: give the input's shape: --shape C,H,W")
    if own is not None and wanted != own:
        raise InputError(f"--shape {','.join(map(str, wanted))}: the input of {model} has shape {own}")
    return loaded if isinstance(loaded, Graph) else capture(loaded, np.zeros((1, *wanted), np.float32))


def named_network(name: str) -> Graph:
    """The captured Graph of a name in NETWORKS."""
    return captured(NETWORKS[name].model, NETWORKS[name].shape)


def to_json(result: NetworkEstimate) -> dict[str, Any]:
    """One document; `origin` says that everything is estimated."""
    keys = ("name", "tile", "density", "bits", "cycles", "compute_cycles", "memory_cycles", "bytes", "bound")
    return {
        "network": result.network, "hw": result.hw.name, "mhz": result.hw.mhz, "ms": round(result.ms, 4),
        "cycles": result.cycles, "fps": round(result.fps, 2), "note": result.note,
        "layers": [{k: getattr(layer, k) for k in keys} for layer in result.layers],
        "energy_uj": energy_json(result.energy),
        "origin": {k: "estimated" for k in ("ms", "cycles", "fps", "layers", "energy_uj")},
    }  # fmt: skip
