"""Program files: damage is seen, every metadata field has one type and range, metadata and instructions agree."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from subrow.spec import hwconfig, program
from subrow.spec.errors import ProgramError
from subrow.spec.isa import Instruction
from subrow.spec.program_check import Region, check_structure
from tests.spec.program_files import changed, document_of, sample, signed, written

Change = Callable[[dict[str, Any]], object]


def load_bytes(data: bytes) -> program.Program:
    with tempfile.TemporaryDirectory() as folder:
        return program.load(written(Path(folder), data))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("program") / "p"
    sample().save(path)
    return path.read_bytes()


def test_round_trip(saved: bytes) -> None:
    got, want = load_bytes(saved), sample()
    for field in dataclasses.fields(want):
        np.testing.assert_array_equal(getattr(got, field.name), getattr(want, field.name))
    assert got.digest() == want.digest() == load_bytes(signed(document_of(want), want)).digest()


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_bit_flips_never_pass(saved: bytes, data: st.DataObject) -> None:
    bit = data.draw(st.integers(0, 8 * len(saved) - 1))
    damaged = bytearray(saved)
    damaged[bit // 8] ^= 1 << bit % 8
    try:
        got = load_bytes(bytes(damaged))
    except ProgramError:
        return
    assert got.digest() == sample().digest()  # only white space of the header may change unseen


@given(data=st.data())
@settings(max_examples=50, deadline=None)
def test_truncation_is_refused(saved: bytes, data: st.DataObject) -> None:
    with pytest.raises(ProgramError):
        load_bytes(saved[: data.draw(st.integers(0, len(saved) - 1))])


def test_wrong_version_digest_and_hardware(saved: bytes) -> None:
    for old, new in ((b": 2", b": 9"), (b": 2", b": 2.0"), (b": 2", b": true")):
        document = document_of(sample()) | {"format_version": json.loads(new[2:])}
        with pytest.raises(ProgramError, match="this Subrow reads 2 / 7: compile the network again"):
            load_bytes(signed(document, sample()))
        assert old in saved
    digest = sample().digest().encode()
    with pytest.raises(ProgramError, match="digest"):
        load_bytes(saved.replace(digest, digest[::-1]))
    with pytest.raises(ProgramError, match="--hw wide"):
        sample().check_hardware(hwconfig.load("wide"))


DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize("text", (
    DEEP, '{"a":' * 100_000, "[]", "null", "1", '{"format_version": NaN}', '"' + "9" * 5000, "9" * 5000,
))  # fmt: skip
def test_header_that_is_no_document(text: str) -> None:
    tensors = {"instructions": sample().instructions, "weights": sample().weights}
    with pytest.raises(ProgramError, match=r"p\.subrow: .*(nested|header is corrupt|not a JSON object)"):
        load_bytes(save(tensors, {"subrow": text}))
    with pytest.raises(ProgramError, match=r"p\.subrow: .*(nested|header is corrupt)"):
        load_bytes(len(text).to_bytes(8, "little") + text.encode())


def test_tensors_are_those_two_and_bytes() -> None:
    document, base = document_of(sample()), sample()
    with pytest.raises(ProgramError, match="tensors .*'more'.*must be instructions and weights"):
        load_bytes(signed(document, base, more=np.zeros(3, np.uint8)))
    for bad in (base.instructions[:, :64], base.instructions[0]):
        with pytest.raises(ProgramError, match="instructions are"):
            load_bytes(signed(document, base, instructions=bad))
    with pytest.raises(ProgramError, match="weights are"):
        load_bytes(signed(document, base, weights=base.weights.reshape(2, -1)))
    for name, kind in (("instructions", np.int16), ("weights", np.float32), ("weights", np.int8)):
        with pytest.raises(ProgramError, match=f"tensor '{name}' is not an array of U8"):
            load_bytes(signed(document, base, **{name: getattr(base, name).astype(kind)}))
    with pytest.raises(ProgramError, match="3 layer names for 2 instructions"):
        load_bytes(signed(document, base, instructions=base.instructions[:2]))


def set_at(*path: Any) -> Change:
    """Puts the last item at the place that the others name."""
    *places, last, value = path

    def change(document: dict[str, Any]) -> None:
        target: Any = document
        for place in places:
            target = target[place]
        target[last] = value

    return change


NAN, INF = float("nan"), float("inf")
NOT_TEXT = (3, None, True, ["a"], {}, "", "a\nb", "\ud800", "x" * 501)
NOT_COUNT = (0, -1, 1.5, 2.0, True, None, "8", [8], 1 << 70)
BAD_VALUES: list[tuple[tuple[Any, ...], str, tuple[Any, ...]]] = [
    (("name",), "name = ", NOT_TEXT),
    (("hw_name",), "hw_name = ", (*NOT_TEXT, "../tiny", "a b")),
    (("hw_digest",), "hw_digest = ", (*NOT_TEXT, "0" * 63, "G" * 64)),
    (("arena_bytes",), "arena_bytes = ", (*NOT_COUNT, 1 << 33)),
    *(((key,), rf"{key} = ", (None, {}, "ab", 3)) for key in ("inputs", "outputs", "layers")),
    (("inputs", 0), r"inputs\[0\] = ", (None, [], "ab", 3)),
    (("outputs", 0, "name"), r"outputs\[0\]\.name = ", NOT_TEXT),
    (("inputs", 1, "scale"), r"inputs\[1\]\.scale = ", (0.0, -1.0, 1e39, 1e-39, 1, True, None, "1.0", [1.0])),
    (("inputs", 0, "shape"), r"inputs\[0\]\.shape = ", ([1, 2], [1, 2, 3, 4], 3, None, {}, "abc")),
    *((("outputs", 0, "shape", i), r"outputs\[0\]\.shape = ", NOT_COUNT) for i in range(3)),
    (("inputs", 0, "row_bytes"), r"inputs\[0\]\.row_bytes = ", (-1, 1.0, True, None, "0", [0], 1 << 33)),
    (("inputs", 0, "space_to_depth"), r"inputs\[0\]\.space_to_depth = ", (*NOT_COUNT, 3)),
    (("inputs", 0, "offset"), r"inputs\[0\]\.offset = ", (-1, 1.0, True, None, "0", [0], 1 << 33)),
    (("layers", 1), r"layers\[1\] = ", (None, [], "ab", 3)),
    (("layers", 2, "name"), r"layers\[2\]\.name = ", NOT_TEXT),
    (("layers", 2, "kind"), r"layers\[2\]\.kind = ", ("pool", 3, None, ["conv"], {})),
    (("layers", 2, "tile"), r"layers\[2\]\.tile = ", ("f3", 2, None, ["f2"], {})),
    (("layers", 0, "density"), r"layers\[0\]\.density = ", ([2], [2, 8, 8], 2, None)),
    (("layers", 0, "density", 0), r"layers\[0\]\.density = ", NOT_COUNT),
    *((("layers", 0, key), rf"layers\[0\]\.{key} = ", NOT_COUNT) for key in ("macs", "in_channels", "out_channels")),
    (("layers", 0, "details"), r"layers\[0\]\.details = ", (None, [], "ab", 3)),
    *((("layers", 0, "details", key), rf"layers\[0\]\.details\.{key} = ", NOT_COUNT)
      for key in ("groups", "weight_bytes", "stride")),
    *((("layers", 0, "details", key), rf"layers\[0\]\.details\.{key} = ", (0, 1, None, "true", [True]))
      for key in ("pool", "relu", "residual")),
    *((("layers", 0, "details", key), rf"layers\[0\]\.details\.{key} = ", ([1], [1, 2, 3, 4], 3, None, [0, 1, 1]))
      for key in ("kernel", "blocks", "input", "output")),
    (("layers", 0, "details", "other"), r"layers\[0\]\.details\.other = ", ({}, [[1]], [{}])),
]  # fmt: skip


@pytest.mark.parametrize(("path", "text", "values"), BAD_VALUES, ids=lambda p: ".".join(map(str, p))[:30])
def test_wrong_value_names_its_field(path: tuple[Any, ...], text: str, values: tuple[Any, ...]) -> None:
    for value in values:
        with pytest.raises(ProgramError, match=rf"p\.subrow: {text}.*must be"):
            load_bytes(changed(set_at(*path, value)))


@pytest.mark.parametrize("value", (NAN, INF, -INF))
def test_nan_and_infinity_are_not_json(value: float) -> None:
    with pytest.raises(ProgramError, match="is no JSON number"):
        load_bytes(changed(set_at("inputs", 0, "scale", value)))


@pytest.mark.parametrize("path", ((), ("inputs", 1), ("outputs", 0), ("layers", 2)))
def test_missing_and_unknown_keys(path: tuple[Any, ...]) -> None:
    base: Any = document_of(sample())
    for place in path:
        base = base[place]
    where = r"metadata" if not path else rf"{path[0]}\[{path[1]}\]"

    def target(document: Any) -> Any:
        for place in path:
            document = document[place]
        return document

    for key in set(base) - {"format_version", "isa_version"}:
        with pytest.raises(ProgramError, match=rf"{where}: key '{key}' is missing"):
            load_bytes(changed(lambda d, key=key: target(d).pop(key)))  # type: ignore[misc]
    with pytest.raises(ProgramError, match=rf"{where}: unknown key 'more'; known: .*name"):
        load_bytes(changed(lambda d: target(d).update(more=1)))


def twice(key: str) -> Change:
    return lambda d: d[key].append(d[key][0])


CONTRADICTIONS: dict[str, tuple[Change, str]] = {
    "no inputs": (lambda d: d.update(inputs=[]), "0 inputs"),
    "no outputs": (lambda d: d.update(outputs=[]), "0 outputs"),
    "no layers": (lambda d: d.update(layers=[]), "0 layer names for 3 instructions"),
    "one layer more": (twice("layers"), "4 layer names for 3 instructions"),
    "input twice": (twice("inputs"), "input x appears 2 times"),
    "output twice": (twice("outputs"), "output y appears 2 times"),
    "input in squares": (set_at("inputs", 0, "space_to_depth", 2), r"input x is 6 x 3 x 3 words"),
    "output in squares": (set_at("outputs", 0, "space_to_depth", 2), "output y: space_to_depth = 2, must be 1"),
    "window over another image": (
        set_at("layers", 2, "details", "image_window", [4, 5, 5]), r"image_window = \[4, 5, 5\].*window of 3 x 3"),
    "input moved": (set_at("inputs", 0, "offset", 8), r"input x is .*bytes 8\.\."),
    "input elsewhere": (set_at("inputs", 0, "offset", 4096), "arena has"),
    "input on the other": (lambda d: d["inputs"][1].update(offset=0), "inputs x .* and r1 .* overlap"),
    "input on a layer's output": (
        lambda d: d["inputs"][1].update(offset=d["inputs"][1]["offset"] - 640), "before any layer has read it|overlap"),
    "input narrower": (set_at("inputs", 0, "shape", 2, 5), "input x is 2 x 6 x 5 words"),
    "input lower": (set_at("inputs", 0, "shape", 1, 5), "input x is 2 x 5 x 6 words"),
    "residual higher": (set_at("inputs", 1, "shape", 1, 7), "input r1 is 2 x 7 x 6 words|overlap"),
    "input of another block": (set_at("inputs", 0, "shape", 0, 8), "input x is 1 x 6 x 6 words"),
    "input that nobody reads": (
        lambda d: d["inputs"].append(
            {"name": "z", "shape": [8, 1, 1], "scale": 1.0, "row_bytes": 0, "offset": d["arena_bytes"],
             "space_to_depth": 1})
        or d.update(arena_bytes=d["arena_bytes"] + 8), "no layer reads input z"),
    "input missing": (lambda d: d["inputs"].pop(), "that nothing has written before"),
    "output moved": (set_at("outputs", 0, "offset", 8), r"output y is .*no layer leaves"),
    "output transposed": (set_at("outputs", 0, "shape", [10, 1, 9]), r"output y is .*no layer leaves"),
    "output of more channels": (set_at("outputs", 0, "shape", 0, 17), r"arena|no layer leaves"),
    "arena too small": (lambda d: d.update(arena_bytes=d["arena_bytes"] - 1), "tensor y takes arena bytes"),
    "arena too large": (lambda d: d.update(arena_bytes=d["arena_bytes"] + 4096), "its tensors end at byte"),
    "tile": (set_at("layers", 0, "tile", "f4"), "layer layer0: tile = f4, but the instruction says tile 1"),
    "density": (set_at("layers", 1, "density", [2, 8]), r"layer layer1: density = \(2, 8\).*3/8"),
    "sub-row": (set_at("layers", 1, "density", [3, 4]), r"layer layer1: density = \(3, 4\).*3/8"),
    "input channels": (set_at("layers", 0, "in_channels", 17), "layer layer0: in_channels = 17"),
    "output channels": (set_at("layers", 2, "out_channels", 8), "layer layer2: out_channels = 8"),
    "macs": (lambda d: d["layers"][2].update(macs=d["layers"][2]["macs"] + 1), "layer layer2: macs = "),
    "linear": (set_at("layers", 2, "kind", "linear"), "layer layer2: kind = linear"),
    "channelwise": (set_at("layers", 2, "kind", "channelwise"), "layer layer2: kind = channelwise"),
    "groups": (set_at("layers", 0, "details", "groups", 7), "layer layer0: details.groups = 7"),
    "groups and macs": (set_at("layers", 1, "details", "groups", 2), "layer layer1: macs = "),
    "kernel": (set_at("layers", 2, "details", "kernel", [3, 2]), r"layer layer2: details.kernel = \[3, 2\]"),
    "stride": (set_at("layers", 2, "details", "stride", 1), "layer layer2: details.stride = 1"),
    "relu": (set_at("layers", 0, "details", "relu", False), "layer layer0: details.relu = False"),
    "pool": (set_at("layers", 0, "details", "pool", True), "layer layer0: details.pool = True"),
    "residual": (set_at("layers", 1, "details", "residual", False), "layer layer1: details.residual = False"),
    "blocks": (set_at("layers", 1, "details", "blocks", [1, 1]), "layer layer1: details.blocks"),
    "input shape": (set_at("layers", 1, "details", "input", [12, 6, 7]), "layer layer1: details.input"),
    "output shape": (set_at("layers", 1, "details", "output", [15, 6, 6]), "layer layer1: details.output"),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_metadata_that_contradicts_the_instructions(name: str) -> None:
    change, text = CONTRADICTIONS[name]
    with pytest.raises(ProgramError, match=rf"p\.subrow: .*({text})"):
        load_bytes(changed(change))


def coded(layer: int, **fields: object) -> program.Program:
    base = sample()
    codes = base.instructions.copy()
    values = dict(base.decoded()[layer].values) | fields
    codes[layer] = np.frombuffer(Instruction(values).encode(), np.uint8)
    return dataclasses.replace(base, instructions=codes)


@pytest.mark.parametrize(("layer", "field", "value", "text"), (
    (1, "layer_id", 0, "layer layer1: number = 1, but the instruction says layer_id 0"),
    (0, "tile", 3, "layer layer0: tile = f2, but the instruction says tile 3"),
    (2, "in_row_bytes", 7, "layer layer2: in_row_bytes = 7"),
    (2, "in_row_bytes", 88, "layer layer2: in_row_bytes = 88 for 2 x 6 words of 8 channels.*at least 96"),
    (2, "in_row_bytes", 192, "layer layer2 reads .* that nothing has written before"),
    (0, "in_cb", 0, "layer layer0: in_row_bytes|layer layer0: in_channels"),
    (1, "out_offset", 0, "layer layer2 reads .* that nothing has written before"),
    (1, "out_offset", 8, "layer layer1 writes .* over .* that it reads"),
    (0, "out_offset", 0, "layer layer0 writes .* over .* that it reads"),
    (1, "in_offset", 1 << 31, "that nothing has written before"),
    (1, "res_offset", 0, "no layer reads input r1"),
    (1, "res_offset", 8, "layer layer1 reads .*, input x is"),
))  # fmt: skip
def test_instruction_that_contradicts_the_rest(layer: int, field: str, value: int, text: str) -> None:
    with pytest.raises(ProgramError, match=text):
        check_structure(coded(layer, **{field: value}), whole=True)


def test_a_cut_program_may_leave_inputs_unread() -> None:
    base = sample()
    first = base.decoded()[0]
    output = program.TensorInfo("t", (16, first.out_h, first.out_w), 1.0, first.out_offset)
    cut = dataclasses.replace(base, instructions=base.instructions[:1], layers=base.layers[:1], outputs=(output,))
    check_structure(cut, whole=False)
    with pytest.raises(ProgramError, match="no layer reads input r1"):
        check_structure(cut, whole=True)


def region(low: int, blocks: int, rows: int, row_bytes: int = 0) -> Region:
    return Region(low, blocks, rows, 3, 8, row_bytes or blocks * 24)


@settings(deadline=None)
@given(st.data())
def test_overlap_of_slices_is_that_of_their_bytes(data: st.DataObject) -> None:
    """Dense tensors and slices of equal and of different row sizes, against sets of bytes."""
    pair = []
    for _ in range(2):
        blocks, rows = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 4))
        gap = data.draw(st.sampled_from((0, 24, 48)))
        pair.append(region(8 * data.draw(st.integers(0, 40)), blocks, rows, 24 * blocks + gap))
    a, b = ({byte for low, high in r.spans() for byte in range(low, high)} for r in pair)
    assert pair[0].overlaps(pair[1]) == pair[1].overlaps(pair[0]) == bool(a & b)
    if pair[0].within(pair[1], 0):
        assert a <= b
