"""Program files with a valid digest and arbitrary content: refused, or the same numbers on every device."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from subrow.devices import open_device
from subrow.devices.base import Device
from subrow.spec import isa, program
from subrow.spec.errors import DeviceError, InputError, ProgramError
from subrow.spec.interpret import Interpreter
from tests.spec.program_files import HW, document_of, feeds, sample, signed, written

ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, 2, 7, 8, 9, 64, -1, 0.5, 1.0, 1e30, 1 << 31, 1 << 40, "", "x", "layer0", "f2", "f4",
    "conv", [], [1], [8, 8], [2, 8], [8, 6, 6], {}, {"a": 1},
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of everything in a JSON document."""
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from places(item, (*path, key))


def mutate(document: dict[str, Any], rng: np.random.Generator) -> None:
    """One change somewhere: another value, a number a little off, an item removed, doubled, or exchanged."""
    paths = list(places(document))
    *way, last = paths[int(rng.integers(len(paths)))]
    target: Any = document
    for step in way:
        target = target[step]
    value, kind = target[last], int(rng.integers(5))
    if kind == 0 and isinstance(value, (int, float)):
        target[last] = value + type(value)(rng.integers(-2, 3))
    elif kind == 1:
        del target[last]
    elif kind == 2 and isinstance(target, list):
        target.append(copy.deepcopy(value))
    elif kind == 3 and isinstance(value, list):
        rng.shuffle(value)
    else:
        target[last] = ODD_VALUES[int(rng.integers(len(ODD_VALUES)))]


def run(device: Device, path: Path, images: list[np.ndarray]) -> np.ndarray | None:
    """The integers of the one output; None when the file, or images of these shapes, are refused."""
    try:
        loaded = program.load(path)
        device.load(loaded)
        names = [t.name for t in loaded.inputs]
        (output,) = device.run(dict(zip(names, images, strict=True))).outputs.values()
    except (ProgramError, DeviceError, InputError) as error:
        assert len(str(error)) < 2000
        return None
    return output


def test_changed_metadata_is_refused_or_changes_no_number(tmp_path: Path) -> None:
    base, rng, images = sample(), np.random.default_rng(1), list(feeds().values())
    passed = 0
    with open_device("emulator", HW) as emulator:
        expected = run(emulator, written(tmp_path, signed(document_of(base), base)), images)
        assert expected is not None
        for _ in range(800):
            document = document_of(base)
            mutate(document, rng)
            got = run(emulator, written(tmp_path, signed(document, base)), images)
            if got is not None:
                passed += 1
                # a changed channel count of an output shows more or fewer channels of the same tensor
                k = min(got.shape[1], expected.shape[1])
                np.testing.assert_array_equal(got[:, :k], expected[:, :k], json.dumps(document))
    assert 10 < passed < 400


def changed_tensors(base: program.Program, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Instructions and weights with one field, bit or byte changed."""
    codes, weights = base.instructions.copy(), base.weights.copy()
    kind, layer = int(rng.integers(4)), int(rng.integers(len(codes)))
    if kind == 0:
        bit = int(rng.integers(isa.USED_BITS))
        codes[layer, bit // 8] ^= 1 << bit % 8
    elif kind == 1:
        weights[rng.integers(weights.size)] ^= 1 << int(rng.integers(8))
    else:
        field = isa.FIELDS[int(rng.integers(len(isa.FIELDS)))]
        values = dict(base.decoded()[layer].values)
        items = list(values[field.name]) if field.count > 1 else [values[field.name]]
        place = int(rng.integers(len(items)))
        step = int(rng.integers(-8, 9)) if kind == 2 else int(rng.integers(field.low, field.high + 1))
        items[place] = int(np.clip(items[place] + step if kind == 2 else step, field.low, field.high))
        values[field.name] = tuple(items) if field.count > 1 else items[0]
        codes[layer] = np.frombuffer(isa.Instruction(values).encode(), np.uint8)
    return {"instructions": codes, "weights": weights}


def reference_output(loaded: program.Program, images: list[np.ndarray]) -> np.ndarray:
    inputs = {t.name: x[0] for t, x in zip(loaded.inputs, images, strict=True)}
    *_, last = Interpreter(loaded, HW).layers(inputs)
    return last[np.newaxis, : loaded.outputs[0].shape[0]]


def accepted(tmp_path: Path, device: Device, count: int, seed: int) -> Iterator[tuple[Path, np.ndarray]]:
    """Files with changed instructions or weights that the device takes, of `count` tried, and its outputs."""
    base, rng, images = sample(), np.random.default_rng(seed), list(feeds().values())
    for _ in range(count):
        path = written(tmp_path, signed(document_of(base), base, **changed_tensors(base, rng)))
        got = run(device, path, images)
        if got is not None:
            yield path, got


def test_changed_instructions_are_refused_or_mean_what_they_say(tmp_path: Path) -> None:
    images, taken, others = list(feeds().values()), 0, 0
    with open_device("emulator", HW) as emulator:
        original = run(emulator, written(tmp_path, signed(document_of(sample()), sample())), images)
        for path, got in accepted(tmp_path, emulator, 800, 2):
            np.testing.assert_array_equal(got, reference_output(program.load(path), images), str(path))
            taken += 1
            others += not np.array_equal(got, original)
    assert 100 < taken < 700 and others > 20


@pytest.mark.verilator
def test_changed_instructions_run_alike_in_the_rtl(tmp_path: Path) -> None:
    images, taken = list(feeds().values()), 0
    with open_device("emulator", HW) as emulator, open_device("verilator", HW) as chip:
        for path, got in accepted(tmp_path, emulator, 200, 3):
            np.testing.assert_array_equal(run(chip, path, images), got)
            taken += 1
    assert taken > 40


@pytest.mark.verilator
def test_what_the_emulator_refuses_the_rtl_refuses(tmp_path: Path) -> None:
    """One bit of an instruction at a time, without the digest in the way."""
    base, rng, refused = sample(), np.random.default_rng(4), 0
    with open_device("emulator", HW) as emulator, open_device("verilator", HW) as chip:
        for _ in range(60):
            path = written(tmp_path, signed(document_of(base), base, **changed_tensors(base, rng)))
            texts = []
            for device in (emulator, chip):
                try:
                    device.load(program.load(path))
                except (ProgramError, DeviceError) as error:
                    texts.append(str(error).removeprefix(f"{device.name}: "))
            assert len(set(texts)) <= 1 and len(texts) in (0, 2), texts
            refused += bool(texts)
    assert refused > 10
