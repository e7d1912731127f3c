"""The cycle model against the simulated RTL, layer by layer: how far it is off, and where."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from subrow.api import compile
from subrow.bench.figures import layer_graph
from subrow.devices import open_device
from subrow.ir.graph import Graph, Node, as_float32
from subrow.passes.choose_tile import TileName
from subrow.spec import hwconfig
from subrow.spec.errors import CapacityError, ConfigError
from subrow.spec.program import Program
from subrow.spec.timing import estimate

Case = tuple[str, Program, NDArray[np.float32]]
SETS = ("demo", "layers", "random")
TOLERANCE, SHORT, FEW = 0.03, 1000, 30
"""A layer may be off by TOLERANCE; one of fewer than SHORT cycles by FEW cycles."""
BOARD_LAYERS = ((64, 56), (128, 28), (256, 14))


@dataclass(frozen=True)
class Row:
    """One layer, or a whole run (layer = ""), estimated and simulated."""

    case: str
    layer: str
    estimated: int
    simulated: int

    @property
    def error(self) -> float:
        """estimated / simulated - 1."""
        return self.estimated / self.simulated - 1

    @property
    def within(self) -> bool:
        """Whether the error is within tolerance."""
        if self.simulated < SHORT:
            return abs(self.estimated - self.simulated) <= FEW
        return abs(self.error) <= TOLERANCE


def compare(case: str, program: Program, images: NDArray[np.float32]) -> list[Row]:
    """Every layer of a Program, then the whole run, for one image."""
    hw = hwconfig.load(program.hw_name)
    guess = estimate(program.decoded(), hw)
    with open_device("verilator", hw) as chip:
        chip.load(program)
        result = chip.run(images[:1])
    assert result.cycles is not None
    layers = [
        Row(case, info.name, cycles, record["cycles"])
        for info, cycles, record in zip(program.layers, guess.layers, result.records, strict=True)
    ]
    return [*layers, Row(case, "", guess.cycles, result.cycles[0])]


def cases(names: Sequence[str], count: int, seed: int) -> Iterator[Case]:
    """Programs of the named sets; `count` random ones from `seed` on. Raises ConfigError for an unknown set."""
    for name in names:
        if name == "demo":
            yield from _demo()
        elif name == "layers":
            yield from _layers()
        elif name == "random":
            yield from (c for s in range(seed, seed + count) if (c := random_case(s)) is not None)
        else:
            raise ConfigError(f"set {name!r}: known sets are {', '.join(SETS)}")


def _demo() -> Iterator[Case]:
    from models.fashion_mnist import calibration_images
    from models.vgg_nagadomi import vgg_nagadomi_quarter

    images = calibration_images().images[:16]
    tiles: tuple[TileName, ...] = ("f2", "f4", "direct", "auto")
    for tile in tiles:
        for density in (None, "4/8", "2/8", "1/8"):
            program = compile(vgg_nagadomi_quarter(), images, "tiny", density, tile)
            yield f"demo {tile} {density or 'dense'}", program, images


def _layers() -> Iterator[Case]:
    hw = hwconfig.load("pynq-z2")
    tiles: tuple[TileName, ...] = ("f2", "f4")
    for tile in tiles:
        for channels, size in BOARD_LAYERS:
            x = np.random.default_rng(1).standard_normal((1, 8, size, size)).astype(np.float32)
            for density, bits in itertools.product((None, "4/8", "2/8", "1/8"), (8, 4)):
                try:
                    program = compile(layer_graph(channels, size), x, hw, density, tile, bits=bits)
                except CapacityError:
                    continue  # a dense F(4x4) chunk of many channels fits no ring
                yield f"{channels} ch {size}x{size} {tile} {density or 'dense'}, {bits} bits", program, x


def random_case(seed: int) -> Case | None:
    """A layer of random shape and bits behind a 1x1 layer, with residual, pools, stride or none; None if none fits."""
    rng = np.random.default_rng(seed)
    hw = hwconfig.load(("tiny", "pynq-z2")[int(rng.integers(2))])
    graph = _random_graph(rng)
    x = rng.standard_normal((1, *graph.inputs[0].shape)).astype(np.float32)
    density = (None, "4/8", "2/8", "1/8")[int(rng.integers(4))]
    tile: TileName = ("auto", "f2", "f4", "direct")[int(rng.integers(4))]
    bits = (4, 8)[int(rng.integers(2))]
    case = f"random {seed} on {hw.name}, {tile} {density or 'dense'}, {bits} bits"
    try:
        return case, compile(graph, x, hw, density, tile, bits=bits), x
    except CapacityError:
        return None


def _random_graph(rng: np.random.Generator) -> Graph:
    kernel = int(rng.choice([1, 3, 3, 5]))
    height, width = (int(v) for v in rng.integers(kernel + 3, 30, 2))
    stride = int(rng.choice([1, 1, 2]))
    channels, outputs = int(rng.integers(8, 49)), int(rng.integers(1, 65))
    residual = stride == 1 and rng.random() < 0.4
    outputs = channels if residual else outputs
    pad = kernel // 2
    out = tuple((d + 2 * pad - kernel) // stride + 1 for d in (height, width))
    nodes = [
        Node("x", "input", (), (8, height, width)), _conv(rng, "first", "x", channels, 8, 1, 1, (height, width)),
        _conv(rng, "layer", "first", outputs, channels, kernel, stride, out),
    ]  # fmt: skip
    if residual:
        nodes.append(Node("sum", "add", ("layer", "first"), nodes[-1].shape))
    nodes.append(Node("act", "relu", (nodes[-1].name,), nodes[-1].shape))
    if min(out) >= 2 and rng.random() < 0.4:
        shape = (outputs, out[0] // 2, out[1] // 2)
        nodes.append(Node("pooled", "max_pool", ("act",), shape, {"kernel": 2, "stride": 2}))
    if rng.random() < 0.4:
        nodes.append(_windows(rng, nodes[-1]))
    return Graph("random", (*nodes, Node("y", "output", (nodes[-1].name,), nodes[-1].shape)))


def _windows(rng: np.random.Generator, source: Node) -> Node:
    """A max pool with any other window."""
    kernel, stride = (3, 2) if rng.random() < 0.5 else (int(rng.choice([2, 3, 5])), 1)
    pad = kernel // 2
    c, h, w = source.shape
    out = ((n + 2 * pad - kernel) // stride + 1 for n in (h, w))
    attrs = {"kernel": kernel, "stride": stride, "pad": (pad,) * 4}
    return Node("maximum", "max_pool", (source.name,), (c, *out), attrs)


def _conv(rng: np.random.Generator, name: str, source: str, outputs: int, inputs: int, kernel: int, stride: int,
          size: Sequence[int]) -> Node:  # fmt: skip
    weight = rng.standard_normal((outputs, inputs, kernel, kernel)) / np.sqrt(inputs * kernel**2)
    attrs = {"stride": stride, "pad": (kernel // 2,) * 4, "groups": 1}
    return Node(name, "conv", (source,), (outputs, size[0], size[1]), attrs, {"weight": as_float32(weight)})


def run(names: Sequence[str], count: int, seed: int, say: Callable[[str], None]) -> bool:
    """Print every layer and the worst errors; whether all layers are within tolerance."""
    rows: list[Row] = []
    for case, program, images in cases(names, count, seed):
        say(case)
        for row in compare(case, program, images):
            mark = " " if row.within else "!"
            say(f"{mark} {row.layer or 'whole run':24} estimated {row.estimated:9,} simulated {row.simulated:9,} "
                f"{100 * row.error:+7.2f} %")  # fmt: skip
            rows.append(row)
    layers = [r for r in rows if r.layer]
    bad = [r for r in layers if not r.within]
    say(f"{len(layers)} layers, {len(bad)} beyond {100 * TOLERANCE:g} % ({FEW} cycles below {SHORT:,})")
    for row in sorted(layers, key=lambda r: -abs(r.error))[:5]:
        say(f"worst: {row.case}, {row.layer}: {row.estimated:,} for {row.simulated:,}, {100 * row.error:+.2f} %")
    return not bad

