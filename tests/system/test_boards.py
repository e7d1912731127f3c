"""The boards' HwConfigs and their dense 16-bit baselines: they elaborate; the RTL equals emulator and reference."""

from __future__ import annotations

import numpy as np
import pytest
from torch import nn

import subrow
from subrow.report.verify import as_inputs, verify
from subrow.spec import hwconfig
from tests.devices.assemble import Shape, feeds_of, make_layer, program_of
from tests.nets import randomised
from tests.sim.test_elaboration import lint

pytestmark = pytest.mark.verilator

BASELINES = {"pynq-z2": "dense16-pynq-z2", "zcu104": "dense16-zcu104"}
SIMULATED = ["dense16-pynq-z2", pytest.param("zcu104", marks=pytest.mark.slow)]  # building zcu104 takes minutes


@pytest.mark.parametrize("name", sorted(p.stem for p in hwconfig.CONFIG_DIR.glob("*.toml")))
def test_every_configuration_elaborates_without_warnings(name: str) -> None:
    """But for one input of subrow_lane, which only packed products use."""
    hw = hwconfig.load(name)
    said = [text for text in lint("engine", hw.rtl_parameters()).splitlines() if text.startswith("%")]
    if hw.products_per_dsp == 1:
        said = [text for text in said if "not used: 'acc_first_i'" not in text and "Exiting due to 1" not in text]
    assert said == []


@pytest.mark.parametrize("board", BASELINES)
def test_the_baseline_has_the_dsps_and_memory_of_its_board(board: str) -> None:
    ours, dense = hwconfig.load(board), hwconfig.load(BASELINES[board])
    assert (ours.products_per_dsp, dense.products_per_dsp) == (2, 1)
    assert ours.multipliers == 2 * dense.multipliers
    same = ("mhz", "board", "part", "bandwidth_gbs", "latency_cycles", "weight_bytes", "burst_beats", "act_bits")
    assert [getattr(ours, key) for key in same] == [getattr(dense, key) for key in same]


@pytest.mark.parametrize("name", SIMULATED)
@pytest.mark.parametrize("tile", (0, 1, 2))
def test_one_layer(name: str, tile: int, seed: int) -> None:
    """Every tile, more than one output channel group and block, a residual: equal to the numpy reference."""
    hw = hwconfig.load(name)
    wide = 2 * hw.channels
    sparse = hw.sub_row // 4 if hw.products_per_dsp == 2 else hw.sub_row
    shape = Shape(tile=tile, channels=2 * hw.sub_row + 4, outputs=wide - 4, h=11, w=13, pad=int(tile > 0), sub_s=sparse,
                  residual=True, block=(2, 2), ev=(2, 6), em=(0, 1))
    layer = make_layer(hw, shape, seed)
    reference = layer.expected(hw)
    assert len(np.unique(reference)) > 20
    program = program_of(hw, [layer])
    for device in ("emulator", "verilator"):
        with subrow.open_device(device, hw) as opened:
            opened.load(program)
            result = opened.run(feeds_of([layer]))
        np.testing.assert_array_equal(result.outputs["y"][0], reference)
        assert result.records[0]["issued"] == layer.issued


@pytest.mark.parametrize("name", SIMULATED)
def test_small_network(name: str) -> None:
    """Compiled, every layer of the RTL against the interpreter, the output against the emulator."""
    hw = hwconfig.load(name)
    model = randomised(nn.Sequential(
        nn.Conv2d(3, 24, 3, 2, 1), nn.ReLU(), nn.Conv2d(24, 40, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(40, 72, 1), nn.Flatten(), nn.Linear(72 * 49, 10),
    ))  # fmt: skip
    x = np.random.default_rng(3).standard_normal((4, 3, 28, 28)).astype(np.float32)
    density = f"{hw.sub_row // 4}/{hw.sub_row}" if hw.products_per_dsp == 2 else None
    program = subrow.compile(model, x, hw, density)
    with subrow.open_device("emulator", hw) as emulator, subrow.open_device("verilator", hw) as chip:
        emulator.load(program)
        chip.load(program)
        expected, got = emulator.run(x[:2]), chip.run(x[:2])
        checks = verify(program, chip, as_inputs(program, {program.inputs[0].name: x[:1]}))
    for output, values in expected.outputs.items():
        np.testing.assert_array_equal(got.outputs[output], values)
    assert len(checks) == len(program.layers) and all(c.equal for c in checks)
