"""The emulator against the numpy reference, on hand-assembled layers, at the extremes and on broken instructions."""

from __future__ import annotations

import ctypes
import dataclasses

import numpy as np
import pytest

from subrow.devices import hlslib
from subrow.devices.base import pack_activation, quantise, unpack_activation
from subrow.devices.emulator import Emulator
from subrow.spec import hwconfig
from subrow.spec.errors import DeviceError, InputError, MissingTool, ProgramError, SubrowError
from subrow.spec.program import TensorInfo
from tests.devices.assemble import Layer, M, Shape, change, feeds_of, make_layer, program_of

HW = {name: hwconfig.load(name) for name in ("tiny", "wide", "pynq-z2")}

SHAPES = {
    "f2": Shape(tile=1, pad=1),
    "f2-sparse": Shape(tile=1, channels=20, outputs=20, sub_s=2, pad=1, ev=(0, 2), em=(0, 3), h=9, w=7),
    "f2-implicit": Shape(tile=1, channels=16, outputs=9, sub_s=5, implicit=True, pad=1, relu=True),
    "f2-blocks-pool": Shape(tile=1, channels=16, outputs=24, h=11, w=13, pad=1, pool=True, block=(2, 3), sub_s=3,
                            resident=False, em=(0, 2)),
    "f2-residual": Shape(tile=1, channels=16, outputs=16, h=10, w=6, pad=1, residual=True, block=(3, 2), sub_s=4),
    "f2-passes": Shape(tile=1, channels=16, outputs=76, h=9, w=11, pad=1, sub_s=3, block=(2, 3), pass_kgs=2,
                       residual=True, pool=True),
    "f2-grouped": Shape(tile=1, channels=32, outputs=32, pad=1, grouped=True, sub_s=4),
    "f4": Shape(tile=2, pad=1, ev=(0, 6)),
    "f4-sparse-blocks": Shape(tile=2, channels=16, outputs=16, h=14, w=10, sub_s=2, pad=1, ev=(1, 7), em=(0, 3),
                              block=(1, 2), resident=False),
    "f4-pool-residual": Shape(tile=2, channels=8, outputs=12, h=9, w=9, sub_s=3, pad=1, ev=(2, 6), block=(2, 1),
                              pool=True, residual=True, relu=True),
    "f4-no-padding": Shape(tile=2, channels=3, outputs=5, h=7, w=12, ev=(3, 6)),
    "pointwise": Shape(tile=0, channels=24, outputs=24, h=7, w=5, sub_s=3),
    "linear": Shape(tile=0, channels=64, outputs=10, h=1, w=1, sub_s=4),
    "direct-3x3-stride2": Shape(tile=0, channels=16, outputs=16, h=13, w=12, kernel=(3, 3), stride=2, pad=1, sub_s=2,
                                block=(2, 2)),
    "direct-7x7-stride2": Shape(tile=0, channels=3, outputs=16, h=17, w=15, kernel=(7, 7), stride=2, pad=3, sub_s=3,
                                implicit=True, pool=True, block=(2, 3)),
    "direct-1x3-shifts": Shape(tile=0, channels=8, outputs=8, kernel=(1, 3), pad=1, h=6, w=9, ev=(0, 3), em=(0, 3),
                               resident=False, block=(3, 1), residual=True),
    "direct-grouped": Shape(tile=0, channels=32, outputs=32, kernel=(3, 3), pad=1, grouped=True, sub_s=1,
                            h=6, w=6, block=(2, 2)),
    "max-3x3-stride2": Shape(tile=0, channels=20, outputs=20, h=13, w=12, kernel=(3, 3), stride=2, pad=1, sub_s=2,
                             block=(2, 2), max_window=True, ev=(0, 3), relu=True),
    "max-2x5": Shape(tile=0, channels=8, outputs=24, h=9, w=11, kernel=(2, 5), pad=1, sub_s=8, implicit=True,
                     residual=True, resident=False, block=(1, 3), max_window=True),
    "max-grouped": Shape(tile=0, channels=32, outputs=32, kernel=(3, 3), pad=1, grouped=True, sub_s=1, h=6, w=6,
                         max_window=True, pool=True),
    "f2-leaky": Shape(tile=1, channels=16, outputs=20, h=9, w=8, pad=1, sub_s=3, leaky=True, pool=True),
    "direct-leaky-residual": Shape(tile=0, channels=16, outputs=16, h=7, w=6, sub_s=3, leaky=True, residual=True),
    "f2-up": Shape(tile=1, channels=16, outputs=20, h=9, w=7, pad=1, sub_s=3, upsample=True, block=(2, 3)),
    "direct-up-residual": Shape(tile=0, channels=16, outputs=16, h=5, w=6, sub_s=3, upsample=True, residual=True),
    "whole-v": Shape(tile=0, channels=480, outputs=16, h=5, w=6, kernel=(3, 3), stride=2, pad=1, sub_s=1, whole_v=True,
                     block=(1, 2), resident=False),
    "whole-a": Shape(tile=0, channels=680, outputs=16, h=14, w=9, stride=2, sub_s=1, whole_a=True, block=(2, 3),
                     residual=True),
    "lanes": Shape(tile=3, channels=61, outputs=21, h=1, w=1, sub_s=3),
    "lanes-map-leaky": Shape(tile=3, channels=20, outputs=40, h=5, w=3, kernel=(5, 3), sub_s=2, ev=(0, 2), em=(0, 3),
                             leaky=True, residual=True, whole_v=True),
    "lanes-padded": Shape(tile=3, channels=16, outputs=29, h=2, w=3, kernel=(4, 5), pad=1, sub_s=8, implicit=True,
                          upsample=True),
    "many-tiles": Shape(tile=1, channels=8, outputs=8, h=21, w=19, pad=1, sub_s=2),
}


def run_layers(hw_name: str, layers: list[Layer], ap_types: bool = False):
    with Emulator(HW[hw_name], ap_types=ap_types) as emulator:
        emulator.load(program_of(HW[hw_name], layers))
        return emulator.run(feeds_of(layers))


def fitted(hw_name: str, shape: Shape) -> Shape:
    """A grouped layer has one channel group of input per kg, so its inputs depend on the array's width."""
    if shape.grouped:
        return dataclasses.replace(shape, outputs=2 * HW[hw_name].channels)
    return shape


@pytest.mark.parametrize("hw_name", HW)
@pytest.mark.parametrize("name", SHAPES)
def test_equals_reference(name: str, hw_name: str) -> None:
    hw = HW[hw_name]
    layer = make_layer(hw, fitted(hw_name, SHAPES[name]), seed=sum(map(ord, name)))
    result = run_layers(hw_name, [layer])
    expected = layer.expected(hw)
    assert len(np.unique(expected)) > 4, "the test layer saturates: it would prove nothing"
    np.testing.assert_array_equal(result.outputs["y"][0], expected)
    record = result.records[0]
    assert record["issued"] == layer.issued
    assert record["cycles"] == 0
    assert record["weight_bytes"] == layer.packed.size * (1 if layer.ins.resident else
                                                          layer.ins.blocks_y * layer.ins.blocks_x)


@pytest.mark.parametrize("hw_name", ("tiny", "wide"))
@pytest.mark.parametrize("tile", (0, 1, 2))
def test_random_geometry(tile: int, hw_name: str, request: pytest.FixtureRequest) -> None:
    """Sizes, blocks and flags at random: what a list of cases forgets."""
    hw, rng = HW[hw_name], np.random.default_rng(tile + 1)
    for seed in range(25):
        kernel = (1, 1) if tile else tuple(int(k) for k in rng.integers(1, 4, 2))
        pad = int(rng.integers(0, 2)) if tile else int(rng.integers(0, min(kernel)))
        h, w = (int(n) for n in rng.integers(5, 15, 2))
        names = ("implicit", "resident", "residual", "pool", "relu", "whole_v", "whole_a", "narrow")
        flag = {n: bool(rng.integers(2)) for n in names}
        flag["max_window"] = tile == 0 and seed % 2 == 1
        shape = Shape(tile=tile, channels=int(rng.integers(1, 20)), outputs=int(rng.integers(1, 28)), h=h, w=w,
                      sub_s=int(rng.integers(1, 9)), kernel=kernel, pad=pad,
                      stride=1 if tile else int(rng.integers(1, 3)),
                      block=(int(rng.integers(1, 3)), int(rng.integers(1, 4))), ev=(0, 5), em=(0, 2), **flag)
        layer = make_layer(hw, shape, seed)
        np.testing.assert_array_equal(run_layers(hw_name, [layer]).outputs["y"][0], layer.expected(hw), str(shape))


@pytest.mark.parametrize("hw_name", ("tiny", "wide"))
def test_random_linear_layers(hw_name: str) -> None:
    """Windows of any size with one output pixel, inside the map or beyond it."""
    hw, rng = HW[hw_name], np.random.default_rng(3)
    for seed in range(25):
        h, w, pad = int(rng.integers(1, 6)), int(rng.integers(1, 6)), int(rng.integers(0, 2))
        names = ("implicit", "residual", "relu", "leaky", "upsample", "whole_v", "whole_a", "narrow")
        flag = {n: bool(rng.integers(2)) for n in names}
        shape = Shape(tile=3, channels=int(rng.integers(1, 40)), outputs=int(rng.integers(1, 40)), h=h, w=w,
                      kernel=(h + 2 * pad, w + 2 * pad), pad=pad, sub_s=int(rng.integers(1, hw.sub_row + 1)),
                      ev=(0, 4), em=(0, 3), **flag)
        layer = make_layer(hw, shape, seed)
        np.testing.assert_array_equal(run_layers(hw_name, [layer]).outputs["y"][0], layer.expected(hw), str(shape))


def test_chain_of_layers_and_many_images() -> None:
    hw = HW["tiny"]
    first = make_layer(hw, Shape(tile=1, channels=8, outputs=16, pad=1, relu=True, pool=True, h=12, w=12), 1)
    second = make_layer(hw, Shape(tile=2, channels=16, outputs=8, pad=1, sub_s=2, ev=(2, 5), h=6, w=6), 2)
    third = make_layer(hw, Shape(tile=0, channels=8, outputs=10, h=6, w=6, kernel=(6, 6), sub_s=1), 3)
    layers = [first, second, third]
    images = np.random.default_rng(0).integers(-127, 128, (7, 8, 12, 12)).astype(np.int8)
    with Emulator(hw, threads=3) as emulator:
        emulator.load(program_of(hw, layers))
        result = emulator.run(images)
    for i, image in enumerate(images):
        x = image
        for layer in layers:
            x = layer.expected(hw, x)
        np.testing.assert_array_equal(result.outputs["y"][i], x)
    assert [r["layer_id"] for r in result.records] == [0, 1, 2]
    assert [r["issued"] for r in result.records] == [layer.issued for layer in layers]
    np.testing.assert_array_equal(result.real(), result.outputs["y"] * np.float32(0.5))


def spatial_convolution(x: np.ndarray, g: np.ndarray) -> np.ndarray:
    """3x3, padding 1, in integers: shares nothing with the Winograd code."""
    padded = np.pad(x.astype(np.int64), ((0, 0), (1, 1), (1, 1)))
    h, w = x.shape[1:]
    return sum(np.einsum("kc,chw->khw", g[:, :, a, b], padded[:, a : a + h, b : b + w])
               for a in range(3) for b in range(3))


def test_unrounded_f2_is_the_spatial_convolution() -> None:
    """With 12-bit U and 10-bit V nothing rounds: U = (2G) g (2G)^T, Y = 4 * convolution, times 1/4 at the end."""
    from subrow.spec.winograd import TileKind, transform_weights
    from tests.devices.assemble import _group_words, pack_params, pack_words

    hw, rng = HW["wide"], np.random.default_rng(5)
    layer = make_layer(hw, Shape(tile=1, channels=8, outputs=8, pad=1, h=7, w=9, implicit=True))
    for extreme in (False, True):
        g = rng.choice([-127, 127], (8, 8, 3, 3)) if extreme else rng.integers(-127, 128, (8, 8, 3, 3))
        x = rng.choice([-127, 127], (8, 7, 9)) if extreme else rng.integers(-127, 128, (8, 7, 9))
        u = np.round(4 * transform_weights(TileKind.F2, g.astype(float))).astype(np.int64)
        shift = np.full(8, 17 + 11)  # mult 2^15: Y / 2^13 = convolution / 2^11
        params = pack_params(np.zeros(8, np.int64), np.full(8, 1 << 15), shift)
        words = pack_words(hw, _group_words(1, u[:, :, None, :]), None)
        exact = dataclasses.replace(layer, x=x.astype(np.int8), packed=np.concatenate([params, words]))
        got = run_layers("wide", [exact]).outputs["y"][0]
        expected = np.clip((spatial_convolution(x, g) + (1 << 10)) >> 11, -127, 127)
        assert len(np.unique(expected)) > 15
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("hw_name", ("tiny", "wide"))
@pytest.mark.parametrize("tile", (0, 1, 2))
def test_extreme_values(tile: int, hw_name: str) -> None:
    """All weights and inputs at the ends of their ranges: no sum may overflow."""
    hw = HW[hw_name]
    shape = Shape(tile=tile, channels=64, outputs=8, h=2 * M[tile] + 2, w=2 * M[tile] + 2, pad=1 if tile else 0,
                  extreme=True, ev=(4, 6) if tile == 2 else (0, 1), em=(0, 2), residual=True,
                  block=(1, 2))
    for seed in range(3):
        layer = make_layer(hw, shape, seed)
        np.testing.assert_array_equal(run_layers(hw_name, [layer]).outputs["y"][0], layer.expected(hw))


BAD_FIELDS = [
    ("opcode", 0, "opcode"), ("opcode", 2, "opcode"), ("tile", 3, "linear layer"), ("stride", 0, "stride"),
    ("stride", 2, "stride"), ("stride", 3, "stride"), ("kernel_h", 3, "stride"), ("sub_s", 0, "sub_s"),
    ("sub_s", 9, "sub_s"), ("in_h", 0, "size is 0"), ("blocks_x", 0, "size is 0"), ("block_th", 0, "size is 0"),
    ("out_h", 4095, "out_h"), ("kgs", 3, "kgs"), ("pass_kgs", 3, "pass_kgs"), ("pass_kgs", 0, "size is 0"),
    ("v_words", 7, "v_words"), ("red_words", 4096, "v_words"),
    ("v_kstep", 1, "v_words"), ("chunk_words", 65535, "chunk_words"), ("in_row_bytes", 8, "row size"),
    ("out_row_bytes", 1 << 20, "output lies outside"), ("blocks_y", 3, "blocks_y"),
    ("q_count", (1, 1, 1, 1), "q_count"), ("upsample", 1, "out_h"),
    ("pad_top", 63, "no input row"), ("act_min", 127, None), ("res_shift", 63, "shift"), ("layer_id", 1, "layer_id"),
    ("in_offset", 4, "multiple"), ("in_offset", 1 << 31, "input lies outside"),
    ("out_offset", 0xFFFFFFF8, "output lies outside"), ("weight_offset", 0xFFFFFFF8, "image"),
    ("weight_offset", 3, "multiple"), ("layer_id", 32767, "layer_id"), ("max_window", 1, "Winograd layer"),
]


@pytest.mark.parametrize(("field", "value", "text"), BAD_FIELDS)
def test_bad_instruction_is_an_error_not_a_crash(field: str, value: object, text: str | None) -> None:
    hw = HW["tiny"]
    program = program_of(hw, [make_layer(hw, Shape(tile=1, channels=16, outputs=16, pad=1))])
    with Emulator(hw) as emulator:
        if text is None:  # legal, if odd
            emulator.load(change(program, 0, **{field: value}))
            return
        with pytest.raises(DeviceError, match=text) as error:
            emulator.load(change(program, 0, **{field: value}))
        assert "layer0" in str(error.value)


def test_buffers_that_overflow() -> None:
    hw = HW["tiny"]
    cases = {
        "activation buffer": Shape(tile=0, channels=64, outputs=8, h=40, w=40, sub_s=1, block=(4, 10), stride=2),
        "V buffer": Shape(tile=1, channels=64, outputs=8, h=16, w=16, sub_s=1, pad=1),
        "its buffer": Shape(tile=0, channels=1, outputs=8, h=60, w=60, sub_s=1, block=(30, 12)),
        "weight ring": Shape(tile=2, channels=64, outputs=32, h=8, w=8, pad=1),
        "parameter ring": Shape(tile=0, channels=8, outputs=264, h=2, w=2, sub_s=1),
    }
    with Emulator(hw) as emulator:
        for text, shape in cases.items():
            with pytest.raises(DeviceError, match=text):
                emulator.load(program_of(hw, [make_layer(hw, shape)]))
        for flag, text in (("whole_a", "activation buffer"), ("whole_v", "V buffer")):
            shape = SHAPES[flag.replace("_", "-")]
            emulator.load(program_of(hw, [make_layer(hw, shape)]))
            with pytest.raises(DeviceError, match=text):
                emulator.load(change(program_of(hw, [make_layer(hw, shape)]), 0, **{flag: 0}))


def test_random_corruption_never_crashes() -> None:
    """Any bit pattern either runs inside its memory or is refused."""
    hw, rng = HW["tiny"], np.random.default_rng(0)
    shape = Shape(tile=1, channels=16, outputs=16, pad=1, block=(2, 2), residual=True, h=9, w=9)
    program = program_of(hw, [make_layer(hw, shape)])
    refused = 0
    with Emulator(hw) as emulator:
        feeds = {i.name: np.ones((1, *i.shape), np.int8) for i in program.inputs}
        for _ in range(400):
            codes = program.instructions.copy()
            for _ in range(int(rng.integers(1, 4))):
                bit = int(rng.integers(0, 842))
                codes[0, bit // 8] ^= 1 << bit % 8
            try:
                emulator.load(dataclasses.replace(program, instructions=codes))
            except SubrowError:
                refused += 1
                continue
            emulator.run(feeds)
    assert refused > 100


def test_a_shift_too_large_in_the_weights_is_refused() -> None:
    hw = HW["tiny"]
    program = program_of(hw, [make_layer(hw, Shape())])
    weights = program.weights.copy()
    weights[6] = 63
    with Emulator(hw) as emulator, pytest.raises(DeviceError, match="shift exceeds 47"):
        emulator.load(dataclasses.replace(program, weights=weights))


def test_weights_whose_sums_can_overflow_are_refused() -> None:
    """The sums of docs/numerics.md on the real weights, at the limit of acc_bits and of y_bits."""
    hw = HW["tiny"]
    most = (1 << hw.acc_bits - 1) // (hw.u_max * hw.v_max)
    with Emulator(hw) as emulator:
        emulator.load(program_of(hw, [make_layer(hw, Shape(tile=0, channels=most, h=1, w=1, extreme=True))]))
        with pytest.raises(DeviceError, match=r"layer 0 \(layer0\): products can sum to more than acc_bits hold"):
            emulator.load(program_of(hw, [make_layer(hw, Shape(tile=0, channels=most + 1, h=1, w=1, extreme=True))]))
        for tile in (0, 1, 2):
            layer = make_layer(hw, Shape(tile=tile, channels=8, pad=1 if tile else 0, extreme=True))
            bias = np.abs(layer.bias).max()
            growth = {0: 1, 1: 9, 2: 361}[tile]  # of the pixel that all taps reach with their largest factors
            fits = [e for e in range(16) if (8 * hw.u_max * hw.v_max * growth << e) + bias < 1 << hw.y_bits - 1]
            emulator.load(change(program_of(hw, [layer]), 0, em=(max(fits),) * 36))
            if tile:
                assert max(fits) < 15
                with pytest.raises(DeviceError, match="outputs can reach more than y_bits hold"):
                    emulator.load(change(program_of(hw, [layer]), 0, em=(max(fits) + 1,) * 36))


def test_program_for_other_hardware_or_bad_tensors() -> None:
    program = program_of(HW["tiny"], [make_layer(HW["tiny"], Shape())])
    with Emulator(HW["wide"]) as emulator, pytest.raises(ProgramError, match="compiled for HwConfig tiny"):
        emulator.load(program)
    outside = dataclasses.replace(program, outputs=(TensorInfo("y", (8, 60, 60), 1.0, 0),))
    with Emulator(HW["tiny"]) as emulator:
        with pytest.raises(ProgramError, match="tensor y"):
            emulator.load(outside)
        with pytest.raises(DeviceError, match="no Program"):
            emulator.run(np.zeros((1, 8, 8, 8)))


def test_inputs_are_checked_and_quantised() -> None:
    info = TensorInfo("x", (2, 1, 2), 0.5, 0)
    real = np.array([0.25, -0.25, 0.24, -0.26, 1e9, -1e9, 0, 1], np.float32).reshape(2, 2, 1, 2)
    assert quantise(real, info).ravel().tolist() == [1, 0, 0, -1, 127, -127, 0, 2]
    assert quantise(real[0], info).shape == (1, 2, 1, 2)
    for bad, text in ((np.zeros((1, 3, 1, 2)), "shape"), (np.full((1, 2, 1, 2), np.nan), "NaN"),
                      (np.zeros((1, 2, 1, 2), complex), "type")):
        with pytest.raises(InputError, match=text):
            quantise(bad, info)
    hw = HW["tiny"]
    with Emulator(hw) as emulator:
        emulator.load(program_of(hw, [make_layer(hw, Shape())]))
        with pytest.raises(InputError, match="inputs"):
            emulator.run({"z": np.zeros((1, 8, 8, 8))})
        with pytest.raises(InputError, match="at least 1"):
            emulator.run(np.zeros((0, 8, 8, 8)))


def test_memory_layout_round_trip() -> None:
    x = np.random.default_rng(0).integers(-127, 128, (2, 11, 3, 5)).astype(np.int8)
    packed = pack_activation(x, 8)
    assert packed.shape == (2, 3, 2, 5, 8)
    assert packed[1, 2, 1, 4, 2] == x[1, 10, 2, 4] and not packed[:, :, 1, :, 3:].any()
    np.testing.assert_array_equal(unpack_activation(packed[1].ravel(), (11, 3, 5), 8), x[1])


def pointer(array: np.ndarray) -> int:
    return array.ctypes.data


@pytest.mark.parametrize("name", ("f2-residual", "f4-pool-residual", "direct-3x3-stride2", "f4-sparse-blocks",
                                  "lanes-map-leaky", "whole-v", "whole-a"))
@pytest.mark.parametrize("hw_name", ("tiny", "pynq-z2"))
def test_unit_functions_together_are_the_engine(hw_name: str, name: str) -> None:
    """The functions that the RTL benches compare with, chained in the order of the loop nest, give the same arena."""
    hw, lib = HW[hw_name], hlslib.library(HW[hw_name])
    layer = make_layer(hw, SHAPES[name], 11)
    program, feeds = program_of(hw, [layer]), feeds_of([layer])
    ins, code, image = program.decoded()[0], program.instructions[0].copy(), program.image()
    arena = np.zeros(program.arena_bytes, np.uint8)
    for info in program.inputs:
        data = pack_activation(feeds[info.name][0], hw.sub_row).view(np.uint8).ravel()
        arena[info.offset : info.offset + data.size] = data
    L, groups = hw.sub_row, {0: 1, 1: 4, 2: 9, 3: 1}[ins.tile]
    abuf = np.zeros((8, hw.act_words, L), np.int8)
    vbuf = np.zeros((hw.tiles, hw.v_words, 4, L), np.int16)
    rbuf, obuf = np.zeros((hw.out_words, L), np.int8), np.zeros((hw.out_words, L), np.int8)
    uwords = np.zeros((ins.chunk_words, 4, hw.channels), np.int16)
    iwords, params = np.zeros(uwords.shape, np.uint8), np.zeros(hw.channels, np.uint64)
    m = np.zeros((groups, hw.tiles * hw.channel_blocks, 4, L), np.int64)
    most = 16 * hw.tiles * hw.channel_blocks
    count = ctypes.c_uint32()
    c = pointer(code)
    for by in range(ins.blocks_y):
        for bx in range(ins.blocks_x):
            last = 2 * (by == ins.blocks_y - 1) + (bx == ins.blocks_x - 1)
            assert lib.afetch(c, pointer(arena), arena.size, by, bx, 0, pointer(abuf)) == 0
            assert lib.itrans(c, pointer(abuf), by, bx, 0, pointer(vbuf)) == 0
            for kg in range(ins.kgs):
                words = pointer(uwords), pointer(iwords)
                assert lib.wfetch(c, pointer(image), image.size, kg, *words, pointer(params)) == 0
                assert lib.rfetch(c, pointer(arena), arena.size, by, bx, kg, pointer(rbuf)) == 0
                ends = []
                for q in range(ins.q_count[last]):
                    y, meta = np.zeros((most, L), np.int64), np.zeros((most, 7), np.int32)
                    stream = pointer(y), pointer(meta)
                    assert lib.array(c, pointer(vbuf), *words, by, bx, kg, q, pointer(m)) == 0
                    assert lib.otrans(c, pointer(m), by, bx, kg, q, *stream, ctypes.addressof(count)) == 0
                    ends += meta[: count.value, 6].tolist()
                    assert lib.post(c, *stream, count.value, pointer(params), pointer(rbuf), by, bx, kg,
                                    pointer(obuf)) == 0
                assert sum(ends) == ends[-1] == 1
                assert lib.awrite(c, pointer(obuf), by, bx, kg, pointer(arena), arena.size) == 0
    out = program.outputs[0]
    end = out.offset + ins.out_row_bytes * ins.out_h
    np.testing.assert_array_equal(unpack_activation(arena[out.offset : end], out.shape, L), layer.expected(hw))
    assert lib.array(c, pointer(vbuf), pointer(uwords), pointer(iwords), 99, 0, 0, 0, pointer(m)) != 0


def test_top_function_runs_from_memory_and_writes_records() -> None:
    """The function that Vitis HLS synthesises: program at an offset, records behind the arena, bad opcode stops it."""
    hw, lib = HW["tiny"], hlslib.library(HW["tiny"])
    first = make_layer(hw, Shape(tile=1, channels=8, outputs=16, pad=1, h=6, w=6), 1)
    second = make_layer(hw, Shape(tile=0, channels=16, outputs=8, h=6, w=6, sub_s=2), 2)
    program = program_of(hw, [first, second])
    with Emulator(hw) as emulator:
        emulator.load(program)
        expected = emulator.run(first.x)
    records_at, base = -(-program.arena_bytes // 64) * 64, 8192
    act = np.zeros(records_at + 128, np.uint8)
    data = pack_activation(first.x, hw.sub_row).view(np.uint8).ravel()
    act[: data.size] = data
    wgt = np.concatenate([np.zeros(base, np.uint8), program.image()])
    assert lib.top(pointer(act), pointer(wgt), base, 2, records_at) == 0
    out = program.outputs[0]
    got = unpack_activation(act[out.offset : program.arena_bytes], out.shape, hw.sub_row)
    np.testing.assert_array_equal(got, expected.outputs["y"][0])
    records = act[records_at:].view("<u8").reshape(2, 8)
    assert records.tolist() == [list(r.values()) for r in expected.records]
    wgt[base + 128] ^= 3  # opcode of the second layer: 1 becomes 2
    assert lib.top(pointer(act), pointer(wgt), base, 2, records_at) == 1 | 1 << 8


def test_library_is_rebuilt_for_another_config() -> None:
    other = dataclasses.replace(HW["tiny"], name="other", tiles=4, mhz=50.0)
    assert hlslib.build(HW["tiny"]) == hlslib.build(HW["tiny"]) != hlslib.build(other)
    layer = make_layer(other, Shape(tile=1, channels=16, outputs=16, pad=1), 3)
    with Emulator(other) as emulator:
        emulator.load(program_of(other, [layer]))
        np.testing.assert_array_equal(emulator.run(layer.x).outputs["y"][0], layer.expected(other))


@pytest.mark.hls
@pytest.mark.parametrize("hw_name", ("tiny", "wide"))
def test_ap_types_equal_native(hw_name: str) -> None:
    try:
        hlslib.ap_types_dir()
    except MissingTool as error:
        pytest.skip(str(error))
    for name, shape in SHAPES.items():
        layer = make_layer(HW[hw_name], fitted(hw_name, shape), 7)
        native, exact = run_layers(hw_name, [layer]), run_layers(hw_name, [layer], ap_types=True)
        np.testing.assert_array_equal(native.outputs["y"], exact.outputs["y"], name)
        assert native.records == exact.records
