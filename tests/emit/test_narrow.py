"""Weight words in memory: units of 8 bytes, weights of 4 bits; what is packed is what the independent walk reads."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import subrow
from subrow import passes
from subrow.api import compressed, quantised
from subrow.compress.weight_bits import with_bits
from subrow.emit.disasm import describe, disassemble
from subrow.emit.pack import _words, pack_layer
from subrow.emit.plan import plan, shape_of
from subrow.planning import densities_of
from subrow.spec import hwconfig
from subrow.spec.errors import ConfigError, DeviceError, QuantisationError
from subrow.spec.hwconfig import HwConfig
from subrow.spec.interpret import Interpreter, _entries
from subrow.spec.roofline import traffic
from tests.cli.nets import small

HW = hwconfig.load("tiny")
IMAGES = np.random.default_rng(0).uniform(0, 1, (6, 8, 8, 8)).astype(np.float32)


@st.composite
def engines(draw: st.DrawFn) -> HwConfig:
    """Any array, width of weights and weight port that a HwConfig may have."""
    sub_row = draw(st.sampled_from((4, 8, 16)))
    channels = draw(st.sampled_from([c for c in (4, 8, 16, 32, 64) if c >= sub_row]))
    port = draw(st.sampled_from([b for b in (8, 16, 32, 64) if b <= 8 * sub_row]))
    bits = draw(st.integers(4, 16))
    return dataclasses.replace(
        HW, name="any", sub_row=sub_row, channels=channels, u_bits=bits, acc_bits=max(26, bits + 8), weight_bytes=port,
        narrow_u=bits > 4 and 2 * channels >= port,
    )  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(engines(), st.integers(1, 9), st.booleans(), st.booleans(), st.integers(0, 2**32 - 1))
def test_words_come_back(hw: HwConfig, count: int, implicit: bool, wish: bool, seed: int) -> None:
    narrow, rng = wish and hw.narrow_u, np.random.default_rng(seed)
    most = 1 << hw.stored_bits(narrow) - 1
    values = rng.integers(-most, most, (count, 4 * hw.channels))
    index = rng.integers(0, hw.sub_row, values.shape)
    packed = _words(values, None if implicit else index, narrow, hw)
    size = hw.weight_word_bytes(implicit, narrow)
    assert packed.size == hw.chunk_bytes(count, implicit, narrow) - hw.param_group_bytes
    assert packed.size % hw.weight_bytes == 0 and 0 <= packed.size - count * size < hw.weight_bytes
    assert size % 8 == 0 and size >= hw.weight_bytes and not packed[count * size :].any()
    got, places = _entries(packed[: count * size].reshape(count, size), hw, implicit, narrow)
    np.testing.assert_array_equal(got.reshape(values.shape), values)
    np.testing.assert_array_equal(places.reshape(values.shape), 0 if implicit else index)


@pytest.mark.parametrize(("name", "sizes"), [  # indices and 8 bits, 8 bits, indices and 4 bits, 4 bits: units
    ("pynq-z2", (11, 8, 7, 4)), ("zcu104", (48, 32, 32, 16)), ("tiny", (6, 4, 4, 2)), ("wide", (8, 6, 4, 2)),
])
def test_units_of_a_word(name: str, sizes: tuple[int, ...]) -> None:
    hw = hwconfig.load(name)
    got = [hw.weight_word_bytes(implicit, narrow) for narrow in (False, True) for implicit in (False, True)]
    assert got == [8 * n for n in sizes]


def test_narrow_weights_need_room_and_bits() -> None:
    with pytest.raises(ConfigError, match=r"precision.narrow_u = True: must be false with u_bits = 4"):
        dataclasses.replace(HW, u_bits=4)
    with pytest.raises(ConfigError, match=r"those of a word \(16 bytes\) a whole beat"):
        dataclasses.replace(HW, weight_bytes=32)


@pytest.mark.parametrize("tile", ("f2", "f4"))
@pytest.mark.parametrize("density", (None, (2, 8)))
def test_program_is_what_was_planned(tile: str, density: tuple[int, int] | None) -> None:
    lowered = passes.lower_linear(compressed(small(), IMAGES, HW, None, tile))  # type: ignore[arg-type]
    fused = passes.run(with_bits(lowered, "4", HW), passes.AFTER_COMPRESSION)
    planned = plan(fused, HW, densities_of(lowered, density, False))
    program = subrow.compile(small(), IMAGES, HW, density, tile, IMAGES, bits="4")  # type: ignore[arg-type]
    for (_, ins), real in zip(planned, program.decoded(), strict=True):
        assert (ins.narrow_u, ins.chunk_words) == (real.narrow_u, real.chunk_words)
        assert traffic(ins, HW) == traffic(real, HW)
    assert [i.narrow_u for _, i in planned] == [0, 1, 1]


@pytest.mark.parametrize("hw_name", ("tiny", "wide", "pynq-z2"))
@pytest.mark.parametrize("density", (None, "2/8"))
def test_emulator_equals_the_walk_through_the_image(hw_name: str, density: str | None) -> None:
    hw = hwconfig.load(hw_name)
    program = subrow.compile(small(), IMAGES, hw, density, "f2", IMAGES, bits="4")
    scale = program.inputs[0].scale
    image = np.clip(np.floor(IMAGES[:1] / scale + 0.5), -127, 127).astype(np.int8)
    with subrow.open_device("emulator", hw) as device:
        device.load(program)
        got = device.run(image).outputs
    want = Interpreter(program, hw).run({program.inputs[0].name: image[0]})
    for name, values in want.items():
        np.testing.assert_array_equal(got[name][0], values)


def test_narrow_layers_take_fewer_bytes_and_say_so() -> None:
    wide, narrow = (subrow.compile(small(), IMAGES, HW, "2/8", "f2", IMAGES, bits=b) for b in (None, "4"))
    assert [i.details["bits"] for i in narrow.layers] == [8, 4, 4]
    assert narrow.layers[0].details["weight_bytes"] == wide.layers[0].details["weight_bytes"]
    assert all(b.details["weight_bytes"] < a.details["weight_bytes"]
               for a, b in zip(wide.layers[1:], narrow.layers[1:], strict=True))
    assert "density 2/8 4 bits" in disassemble(narrow) and "narrow_u=1" in disassemble(narrow)
    assert [layer["weights"]["bits"] for layer in describe(narrow)["layers"]] == [8, 4, 4]


def test_an_engine_without_narrow_weights_takes_the_same_numbers_in_whole() -> None:
    plain = dataclasses.replace(HW, name="plain", narrow_u=False)
    graph = quantised(small(), IMAGES, HW, "2/8", "f2", IMAGES, bits="4")
    program = subrow.compile(graph, None, plain)
    assert not any(i.narrow_u for i in program.decoded())
    from tests.devices.assemble import change

    with subrow.open_device("emulator", plain) as device:
        device.load(program)
        with pytest.raises(DeviceError, match="weights are in 4 bits, which this engine does not read"):
            device.load(change(program, 1, narrow_u=1))


def test_weights_beyond_their_bits_are_not_packed() -> None:
    graph = with_bits(quantised(small(), IMAGES, HW, None, "f2", IMAGES), "4", HW)
    node = next(n for n in graph if n.attrs.get("bits"))
    with pytest.raises(QuantisationError, match=f"layer {node.name}: weight .* exceeds the 4 bits"):
        pack_layer(node, shape_of(node, HW), HW)
