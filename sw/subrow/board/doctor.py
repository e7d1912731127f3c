"""Whether this machine, and the board that it may be, has what it needs: a list of checks, each with a way out."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from subrow.devices.base import quantise
from subrow.spec.errors import MissingTool, SubrowError
from subrow.spec.interpret import Interpreter
from subrow.spec.program import Program
from subrow.toolenv import find_tool, tool_versions

if TYPE_CHECKING:
    from subrow.devices.pynq.device import Pynq

BOARD_NAME = Path("/proc/device-tree/chosen/pynq_board")  # only PYNQ images have it
DDR_BYTES = 1 << 20
CLOCK_ERROR = 0.01
PYNQ_VERSIONS = ("3.1", "4.0")
HOST_PYTHON, BOARD_PYTHON = (3, 11), (3, 10)


@dataclass(frozen=True)
class Check:
    """One finding. required: without it something of the purpose that was asked for does not work at all."""

    name: str
    ok: bool
    found: str
    expected: str
    fix: str
    required: bool = True


def on_board() -> bool:
    """Whether this is a board with a PYNQ image."""
    return BOARD_NAME.is_file()


def healthy(checks: list[Check]) -> bool:
    """Whether everything that is required is there."""
    return all(c.ok for c in checks if c.required)


def host_checks() -> list[Check]:
    """Python, packages and tools for compiling, emulating, simulating and building bitstreams."""
    return [_python(HOST_PYTHON, "install it, then `make setup PYTHON=python3.11`"), *_packages(), *_tools()]


def _python(oldest: tuple[int, int], fix: str) -> Check:
    version = platform.python_version()
    new = tuple(map(int, version.split(".")[:2])) >= oldest
    return Check("python", new, version, f"{oldest[0]}.{oldest[1]} or newer", fix)


def _packages() -> Iterator[Check]:
    for name, required in (("numpy", True), ("torch", True), ("onnx", True), ("scipy", True), ("cocotb", False),
                           ("pyosys", False), ("pynq", False)):  # fmt: skip
        found = _version(name)
        yield Check(f"package {name}", found != "missing", found, "installed", "run `make setup`", required)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"


def _tools() -> Iterator[Check]:
    """The first ones for every use, those for bitstreams only where one is built."""
    for name in ("g++", "make", "perl", "verilator"):
        yield _tool(name, True)
    for name in ("vivado", "vitis_hls", "nextpnr-himbaechel-xilinx", "xc7frames2bit", "tclsh"):
        yield _tool(name, False)


def _tool(name: str, required: bool) -> Check:
    try:
        found = f"{find_tool(name)} {tool_versions().get(name, '')}".strip()
        return Check(f"tool {name}", True, found, "found", "", required)
    except MissingTool as error:
        return Check(f"tool {name}", False, "missing", "found", str(error).rpartition("PATH: ")[2], required)


def board_checks(open_device: Callable[[], Pynq], program: Program) -> list[Check]:
    """A board with its bitstream, or the simulated one: versions, match, clock, memory, and one image of a Program
    against the numpy reference, every value of every output.

    open_device opens it for the Program's HwConfig; what it raises is the finding, and the end.
    """
    checks = [_python(BOARD_PYTHON, "take a PYNQ image 3.1 or newer"), _pynq(), _image()]
    try:
        device = open_device()
    except SubrowError as error:
        return [*checks, Check("bitstream", False, str(error), f"HwConfig {program.hw_name}", _way_out(error))]
    with device:
        checks.append(Check("bitstream", True, device.hw.name, f"HwConfig {program.hw_name}", ""))
        for test in (_clock, _memory, _golden):
            checks.append(test(device, program))
    return checks


def _way_out(error: SubrowError) -> str:
    """What comes after the last colon of an error: they end with what to do."""
    return str(error).rpartition(": ")[2]


def _pynq() -> Check:
    found = _version("pynq")
    return Check("pynq", found.startswith(PYNQ_VERSIONS), found, " or ".join(PYNQ_VERSIONS),
                 "PYNQ-Z2: image 3.1; ZCU104: image 4.0")  # fmt: skip


def _image() -> Check:
    found = BOARD_NAME.read_text().strip("\0\n ") if on_board() else "none: no board"
    return Check("board image", on_board(), found, "a PYNQ image", "boot the board from a PYNQ image", required=False)


def _clock(device: Pynq, program: Program) -> Check:
    mhz = device.clock_mhz()
    right = abs(mhz - device.hw.mhz) <= CLOCK_ERROR * device.hw.mhz
    fix = "load the bitstream with download=True: it sets the clock"
    return Check("clock", right, f"{mhz:.2f} MHz", f"{device.hw.mhz:.2f} MHz", fix)


def _memory(device: Pynq, program: Program) -> Check:
    """A buffer of random bytes, through the cache to memory and back."""
    try:
        wrong = device.memory_errors(np.random.default_rng(1).integers(0, 256, DDR_BYTES, dtype=np.uint8))
    except SubrowError as error:
        return Check("memory", False, str(error), f"{DDR_BYTES} bytes", _way_out(error))
    fix = "power the board off and on; when it stays, its memory is bad"
    return Check("memory", wrong == 0, f"{wrong} of {DDR_BYTES} bytes differ", "0 bytes differ", fix)


def _golden(device: Pynq, program: Program) -> Check:
    """One random image: the device against the numpy reference, which decodes the Program by itself."""
    rng = np.random.default_rng(2)
    feed = {t.name: quantise(rng.uniform(-t.scale * 127, t.scale * 127, (1, *t.shape)), t) for t in program.inputs}
    fix = "build the bitstream again; a run that differs twice points to its timing or to the board's memory"
    try:
        device.load(program)
        got = device.run(feed).outputs
    except SubrowError as error:
        return Check("golden", False, str(error), f"{program.name} runs", fix)
    walk = Interpreter(program, device.hw, keep=False)  # a board has little memory
    wanted = walk.run({name: x[0] for name, x in feed.items()})
    values = sum(x.size for x in wanted.values())
    wrong = sum(int((got[name][0] != x).sum()) for name, x in wanted.items())
    return Check("golden", wrong == 0, f"{wrong} of {values} output values differ", "0 output values differ", fix)
