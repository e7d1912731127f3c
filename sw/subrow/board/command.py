"""`subrow-board`: what `subrow` does with a device, on a board, without compiler and without what prints tables.

Exit codes are those of `subrow`: 0 done, 1 a check failed, 2 usage or input error, 3 a needed tool is missing.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from subrow.board.accuracy import in_batches, program_accuracy
from subrow.board.bench import bench, document
from subrow.board.doctor import board_checks, healthy
from subrow.board.page import LAYER_HEAD, layer_rows, layers_title, page, summary, verdict
from subrow.board.start import opener, origin
from subrow.report.verify import random_batches, verify_batches
from subrow.spec import hwconfig
from subrow.spec import program as programs
from subrow.spec.errors import InputError, MissingTool, SubrowError
from subrow.spec.program import Program, write_atomic

if TYPE_CHECKING:
    from subrow.devices.base import Device
    from subrow.devices.pynq.device import Pynq

_MAX_IMAGES = 1 << 32  # bytes of a .npy


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.verb(options)
    except SubrowError as error:
        print(f"error: {' '.join(str(error).splitlines())}", file=sys.stderr)
        return 3 if isinstance(error, MissingTool) else 2
    except KeyboardInterrupt:
        return 130
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="subrow-board", description="Run Subrow Programs on this board.")
    verbs = parser.add_subparsers(required=True)
    for verb, text in VERBS.items():
        sub = verbs.add_parser(verb.__name__[1:], help=text)
        sub.add_argument("program", type=Path, help="a Program file (.subrow)")
        sub.add_argument("--bitfile", type=Path, help="the .bit of the build, with its .hwh beside it")
        sub.add_argument("--hw", help="HwConfig by name or path; without it, the one that the Program names")
        sub.set_defaults(verb=verb)
        if verb is not _run:
            sub.add_argument("--json", action="store_true", help="one JSON document on standard output")
        if verb is _bench:
            sub.add_argument("--dense", type=Path, help="a dense Program of the same network, as baseline")
            sub.add_argument("--images", type=int, default=100, help="images, of random numbers (default: 100)")
            sub.add_argument("--out", type=Path, help="folder for bench.json and bench.html")
        if verb is _verify:
            sub.add_argument("--images", type=int, default=4, help="images, of random numbers (default: 4)")
            sub.add_argument("--seed", type=int, default=1, help="of the random numbers (default: 1)")
        if verb in (_run, _evaluate):
            sub.add_argument("--input", type=Path, required=True, help=".npy, N x C x H x W")
        if verb is _evaluate:
            sub.add_argument("--labels", type=Path, required=True, help=".npy, N integers")
        if verb is _run:
            sub.add_argument("--output", type=Path, required=True, help=".npy for the outputs, real numbers")
    return parser


def _open(path: Path, options: argparse.Namespace) -> tuple[Program, Device]:
    program = programs.load(path)
    hw = hwconfig.load(options.hw or program.hw_name)
    program.check_hardware(hw)
    return program, opener("pynq", hw, options.bitfile, lambda text: print(f"warning: {text}", file=sys.stderr))()


def _doctor(options: argparse.Namespace) -> int:
    program = programs.load(options.program)
    checks = board_checks(lambda: cast("Pynq", _open(options.program, options)[1]), program)
    if options.json:
        print(json.dumps({"checks": [dataclasses.asdict(c) for c in checks], "ok": healthy(checks)}, indent=2))
    else:
        for c in checks:
            state = "ok     " if c.ok else "WRONG  " if c.required else "-      "
            print(f"{state}{c.name:12} {c.found}{'' if c.ok else f'; {c.fix}'}")
    return 0 if healthy(checks) else 1


def _verify(options: argparse.Namespace) -> int:
    if options.images < 1 or options.seed < 0:
        raise InputError(f"--images {options.images}, --seed {options.seed}: must be at least 1 and at least 0")
    program, device = _open(options.program, options)
    with device:
        device.check_program(program)  # whole, before its first layers run
        rows = verify_batches(program, device, random_batches(program, options.images, options.seed))
    equal = all(r.equal for r in rows)
    if options.json:
        found = {"images": options.images, "equal": equal, "origin": origin("pynq", options.bitfile)}
        print(json.dumps({**found, "layers": [dataclasses.asdict(r) for r in rows]}, indent=2))
    else:
        for r in rows:
            print(f"{'equal  ' if r.equal else 'DIFFERS'} {r.name:24} {r.compared:>12,} bytes {r.first or ''}".rstrip())
    return 0 if equal else 1


def _evaluate(options: argparse.Namespace) -> int:
    images, labels = _array(options.input), _array(options.labels)
    if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
        raise InputError(f"{options.labels}: {labels.dtype} {labels.shape}: must be {images.shape[:1]} integers")
    program, device = _open(options.program, options)
    accuracy = program_accuracy(program, device.hw, in_batches(images, labels.astype(np.int64)), lambda hw: device)
    label = origin("pynq", options.bitfile)
    if options.json:
        print(json.dumps({"accuracy": accuracy, "n": len(labels), "device": device.name, "origin": label}, indent=2))
    else:
        print(f"accuracy {accuracy:.2f} % of {len(labels):,} images on {device.name} ({label})")
    return 0


def _bench(options: argparse.Namespace) -> int:
    results = {}
    for name, path in (("program", options.program), ("dense", options.dense)):
        if path is not None:
            program, device = _open(path, options)
            with device:
                results[name] = bench(device, program, options.images)
    found = document(results)
    if options.out is not None:
        write_atomic(options.out / "bench.json", (json.dumps(found, indent=2) + "\n").encode())
        write_atomic(options.out / "bench.html", page(results).encode())
    if options.json:
        print(json.dumps(found, indent=2))
        return 0
    for label, *cells in [("", *results), *summary(results)]:
        print(f"{label:18}" + "".join(f"{cell:32}" for cell in cells).rstrip())
    print(f"\n{layers_title(results['program'])}")
    for label, *cells in (LAYER_HEAD, *layer_rows(results["program"])):
        print(f"{label:24}" + "".join(f"{cell:>15}" for cell in cells).rstrip())
    if found["speedup"] is not None:
        print(verdict(found, results["program"].origin))
    return 0


def _run(options: argparse.Namespace) -> int:
    images = _array(options.input)
    program, device = _open(options.program, options)
    with device:
        device.load(program)
        result = device.run(images)
    with open(options.output.with_suffix(".part"), "wb") as file:
        np.save(file, result.real(), allow_pickle=False)
    options.output.with_suffix(".part").replace(options.output)
    cycles = result.cycles or ()
    print(f"{len(images)} images, {sorted(cycles)[len(cycles) // 2]:,} cycles each; wrote {options.output}")
    return 0


def _array(path: Path) -> np.ndarray:
    """The array of a .npy. Raises InputError unless it is one of numbers; pickles are never read."""
    try:
        if path.stat().st_size > _MAX_IMAGES:
            raise InputError(f"{path}: more than {_MAX_IMAGES} bytes: run it in parts")
        array: np.ndarray = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot read it: {error}; give a .npy of numbers") from error
    return array


VERBS = {
    _doctor: "check the board", _verify: "compare every layer with the reference", _evaluate: "accuracy on a .npy",
    _bench: "measure a Program", _run: "run images of a .npy",
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
