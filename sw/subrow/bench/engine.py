"""Whole networks on the boards' engines: cycles of one image, simulated where that takes minutes, else estimated."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from subrow import passes
from subrow.api import compile
from subrow.bench.calibrate import FEW, SHORT, TOLERANCE
from subrow.bench.figures import Say
from subrow.bench.figures import simulate as run_both
from subrow.compress.quantise import quantise
from subrow.compress.recalibrate import recalibrate
from subrow.compress.srbs import Density, prunable, prune
from subrow.compress.weight_bits import with_bits
from subrow.devices.base import RunResult
from subrow.emit.lower import lower
from subrow.emit.plan import misfits
from subrow.estimate import NETWORKS, estimate_network, named_network
from subrow.planning import densities_of, lowered, with_tiles
from subrow.spec import hwconfig
from subrow.spec.errors import CapacityError, ConfigError
from subrow.spec.hwconfig import HwConfig
from subrow.spec.origins import ESTIMATED, SIMULATED
from subrow.spec.program import Program, write_atomic
from subrow.spec.timing import Estimate, estimate
from subrow.toolenv import REPO_ROOT, source_digest

BOARDS = ("pynq-z2", "zcu104")
BASELINES = {board: f"dense16-{board}" for board in BOARDS}
ORDER = ("resnet20", "vgg_nagadomi", "resnet18", "resnet34", "resnet50", "vgg16")
EIGHTHS = (8, 2)
"""Weights that stay of every eight; 8 is dense."""
_IMAGES = 2  # for scales and batch-norm statistics; the first one is simulated
_PRODUCTS_PER_SECOND = 80e6  # of the simulated array, about: decides what is simulated, nothing else
_SOURCES = ("hw/gen", "hw/rtl", "sim/chip", "sw/subrow/compress", "sw/subrow/emit", "sw/subrow/passes",
            "sw/subrow/spec", "models")  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One network on one HwConfig; `eighths` of every eight weights stay in each pruned layer.

    linear: of the linear layers' weights, None: as of all others. bits: of the weights of all layers but the first,
    None: those of the HwConfig.
    """

    network: str
    hw: str
    eighths: int
    bits: int | None = None
    linear: int | None = None

    @property
    def name(self) -> str:
        bits = "" if self.bits is None else f"-{self.bits}bit"
        linear = "" if self.linear is None else f"-linear{self.linear}of8"
        return f"{self.network}-{self.hw}-{self.eighths}of8{bits}{linear}"

    @property
    def density(self) -> str:
        """As tables have it."""
        return f"{self.eighths}/8" + ("" if self.linear is None else f", linear {self.linear}/8")

    @property
    def command(self) -> str:
        """What makes this run again."""
        bits = "" if self.bits is None else f" --bits {self.bits}"
        linear = "" if self.linear is None else f" --linear-density {self.linear}/8"
        chosen = f"--network {self.network} --hw {self.hw} --density {self.eighths}/8{bits}{linear}"
        return f"python scripts/bench_engine.py {chosen}"

    def pair(self, hw: HwConfig, linear: bool = False) -> Density | None:
        """The density of layers, or of linear ones, in the HwConfig's sub-rows; None for dense."""
        eighths = self.linear if linear and self.linear is not None else self.eighths
        return None if eighths == 8 else (eighths * hw.sub_row // 8, hw.sub_row)


NARROW = (
    Case("vgg_nagadomi", "pynq-z2", 2, 4), Case("vgg_nagadomi", "pynq-z2", 2, 4, 1), Case("resnet18", "pynq-z2", 2, 4),
    Case("resnet50", "pynq-z2", 2, 4),
)  # fmt: skip
"""Cases of 4-bit weights that the whole bench has beside those of the HwConfig's own bits."""


@dataclass(frozen=True)
class Run:
    """Figures of one case.

    bits: of weights (of all layers but the first) and of transformed inputs. ms, cycles: of one image; origin says
    where both come from. estimated_cycles: by the cycle model. worst_layer_error: estimated / simulated - 1 of the
    layer that is furthest off among those of SHORT cycles or more; beyond: layers outside the cycle model's tolerance.
    bit_exact: whether all output bytes of the simulated RTL and the emulator are equal. The last three are None where
    nothing was simulated. cycles_per_second: of simulation, by processor time. left_out: layers that fit no buffer.
    key: digest of sources.
    """

    network: str
    hw: str
    density: str
    bits: tuple[int, int]
    ms: float
    cycles: int
    origin: str
    estimated_cycles: int
    worst_layer_error: float | None
    beyond: tuple[str, ...] | None
    bit_exact: bool | None
    cycles_per_second: int | None
    left_out: tuple[str, ...]
    commit: str
    command: str
    key: str


def cases(
    networks: Sequence[str] = (), hws: Sequence[str] = (), densities: Sequence[int] = (), bits: int | None = None,
    linear: int | None = None,
) -> list[Case]:
    """The cases with these names, all of them where a list is empty; with bits or linear, the boards' cases so.

    Raises ConfigError for an unknown name.
    """
    known = (*BOARDS, *BASELINES.values())
    _check("network", networks, ORDER)
    _check("HwConfig", hws, known)
    _check("density", [f"{d}/8" for d in densities], [f"{d}/8" for d in EIGHTHS])
    special = bits is not None or linear is not None
    chosen = [
        Case(network, hw, eighths, bits, linear)
        for network in networks or ORDER for hw in hws or known for eighths in densities or EIGHTHS
        if hw in BOARDS or (eighths == 8 and not special)
    ]  # fmt: skip
    return chosen if special or networks or hws or densities else [*chosen, *NARROW]


def _check(what: str, given: Sequence[str], known: Sequence[str]) -> None:
    for name in given:
        if name not in known:
            raise ConfigError(f"{what} {name!r}: known to this bench are {', '.join(known)}")


def images_for(network: str) -> NDArray[np.float32]:
    """Random images, the same ones at every call."""
    shape = (_IMAGES, *NETWORKS[network].shape)
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def program_of(case: Case, images: NDArray[np.float32]) -> Program:
    """The case's Program: random weights, the largest ones stay. Raises CapacityError when a layer fits no buffer."""
    hw, graph = hwconfig.load(case.hw), named_network(case.network)
    pair, linear = case.pair(hw), case.pair(hw, linear=True)
    if pair is None or linear is None:
        return compile(graph, images, hw, bits=case.bits)
    graph = with_tiles(with_bits(lowered(graph, hw), case.bits, hw), "auto", hw, pair, True)
    names = prunable(graph, hw.sub_row, linear=True)
    graph = prune(graph, pair, [n for n in names if not graph.node(n).attrs.get("linear")])
    graph = prune(graph, linear, [n for n in names if graph.node(n).attrs.get("linear")])
    graph = passes.run(recalibrate(graph, images), passes.AFTER_COMPRESSION)
    return lower(quantise(graph, hw, images), hw)


def run_case(case: Case, seconds: float, say: Say) -> Run:
    """One image: simulated and compared with the emulator when that should take at most `seconds`, else estimated."""
    hw = hwconfig.load(case.hw)
    graph = lowered(named_network(case.network), hw)
    pair = case.pair(hw)
    out = misfits(passes.run(graph, passes.AFTER_COMPRESSION), hw, densities_of(graph, pair, True))
    if out or (seconds <= 0 and case.linear is None):
        return _estimated(case, hw, say)
    say(f"{case.name}: compile")
    images = images_for(case.network)
    try:
        program = program_of(case, images)
    except CapacityError:
        return _estimated(case, hw, say)
    guess = estimate(program.decoded(), hw)
    if guess.cycles * hw.multipliers > seconds * _PRODUCTS_PER_SECOND:
        return _run(case, hw, guess.cycles)
    return simulate(case, program, images[:1], guess, say)


def _estimated(case: Case, hw: HwConfig, say: Say) -> Run:
    """By the cycle model, without the layers that fit no buffer. Raises ConfigError for a density of linear layers."""
    if case.linear is not None:
        raise ConfigError(f"case {case.name}: with layers that fit no buffer all have one density; leave out linear")
    say(f"{case.name}: estimate")
    pair = case.pair(hw)
    graph = named_network(case.network)
    result = estimate_network(graph, hw, pair, "auto", pair is not None, partial=True, bits=case.bits)
    _, _, names = result.note.partition("left out, because they fit no buffer: ")
    return _run(case, hw, result.cycles, left_out=tuple(filter(None, names.split(", "))))


def simulate(case: Case, program: Program, image: NDArray[np.float32], guess: Estimate, say: Say) -> Run:
    """One image on the emulator and in the simulated RTL."""
    hw = hwconfig.load(case.hw)
    say(f"{case.name}: emulator and simulated RTL, about {guess.cycles:,} cycles")
    got, exact, speed = run_both(hw, program, image)
    assert got.cycles is not None
    worst, beyond = errors(program, guess, got)
    return _run(
        case, hw, guess.cycles, simulated=got.cycles[0], worst=worst, beyond=beyond, exact=exact, speed=round(speed)
    )


def errors(program: Program, guess: Estimate, got: RunResult) -> tuple[float, tuple[str, ...]]:
    """(error of the estimate in the layer of SHORT cycles or more that is furthest off, layers beyond tolerance)."""
    worst, beyond = 0.0, []
    for info, cycles, record in zip(program.layers, guess.layers, got.records, strict=True):
        simulated = record["cycles"]
        error = cycles / simulated - 1
        if simulated >= SHORT and abs(error) > abs(worst):
            worst = error
        if abs(cycles - simulated) > (TOLERANCE * simulated if simulated >= SHORT else FEW):
            beyond.append(info.name)
    return worst, tuple(beyond)


def _run(
    case: Case, hw: HwConfig, estimated: int, simulated: int | None = None, worst: float | None = None,
    beyond: tuple[str, ...] | None = None, exact: bool | None = None, speed: int | None = None,
    left_out: tuple[str, ...] = (),
) -> Run:  # fmt: skip
    cycles = estimated if simulated is None else simulated
    return Run(
        network=case.network, hw=hw.name, density=case.density, bits=(case.bits or hw.u_bits, hw.v_bits),
        ms=round(cycles / hw.mhz / 1e3, 4), cycles=cycles, origin=ESTIMATED if simulated is None else SIMULATED,
        estimated_cycles=estimated, worst_layer_error=None if worst is None else round(worst, 5), beyond=beyond,
        bit_exact=exact, cycles_per_second=speed, left_out=left_out, commit=commit(), command=case.command,
        key=sources_key(hw),
    )  # fmt: skip


def commit() -> str:
    """The commit of the sources, with `+` when files differ from it."""
    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=REPO_ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", *_SOURCES)
    return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")


def sources_key(hw: HwConfig) -> str:
    """Digest of what cycles and outputs depend on: runs of other sources, or of another HwConfig, are made again."""
    files = (p for d in _SOURCES for p in sorted((REPO_ROOT / d).rglob("*")) if p.is_file() and p.suffix != ".pyc")
    return source_digest(files, hw.digest)


def stored(folder: Path, case: Case) -> Run | None:
    """The run of an earlier bench of the same sources."""
    path = folder / f"{case.name}.json"
    if not path.is_file():
        return None
    run = read_run(json.loads(path.read_text(encoding="utf-8")))
    return run if run.key == sources_key(hwconfig.load(case.hw)) else None


def store(folder: Path, case: Case, run: Run) -> None:
    write_atomic(folder / f"{case.name}.json", (json.dumps(asdict(run), indent=2) + "\n").encode())


def read_run(values: dict[str, object]) -> Run:
    """A Run from JSON, in which tuples are lists."""
    return Run(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})  # type: ignore[arg-type]
