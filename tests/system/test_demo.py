"""The demo, small; and the whole demo network bit-exact in the RTL for both tiles, every density, with stalls."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from models.fashion_mnist import calibration_images, test_images
from models.vgg_nagadomi import vgg_nagadomi_quarter
from subrow import demo, passes
from subrow.compress.quantise import quantise
from subrow.compress.srbs import prune
from subrow.devices import open_device
from subrow.devices.verilator import Verilator
from subrow.emit.lower import lower
from subrow.frontend.torch_export import capture
from subrow.passes.choose_tile import TileName
from subrow.report.verify import verify
from subrow.spec import hwconfig
from subrow.spec import program as programs
from subrow.spec.errors import InputError

pytestmark = pytest.mark.verilator

HW = hwconfig.load("tiny")
STALLS = 0.25


def demo_program(tile: TileName, density: str | None) -> programs.Program:
    """The demo network with largest weights kept: fast to make, as hard to run as a better one."""
    images = calibration_images().images[:8]
    graph = passes.choose_tile(passes.lower_linear(capture(vgg_nagadomi_quarter(), images)), tile)
    graph = graph if density is None else prune(graph, density, linear=True)
    return lower(quantise(passes.run(graph, passes.AFTER_COMPRESSION), HW, images), HW)


@pytest.mark.parametrize("density", (None, "1/8", "2/8", "4/8"))
@pytest.mark.parametrize("tile", ("f2", "f4"))
def test_demo_network_is_bit_exact(tile: TileName, density: str | None, seed: int) -> None:
    """Outputs with and without stalls, and every layer's whole tensor under stalls."""
    program = demo_program(tile, density)
    images = test_images().images[:3]
    with open_device("emulator", HW) as emulator:
        emulator.load(program)
        expected = emulator.run(images).outputs["output"]
    assert len(np.unique(expected)) > 5
    with open_device("verilator", HW) as chip:
        chip.load(program)
        got = chip.run(images)
        np.testing.assert_array_equal(got.outputs["output"], expected)
    with Verilator(HW, stalls=(seed, STALLS)) as stalled:
        stalled.load(program)
        slow = stalled.run(images[:1])
        np.testing.assert_array_equal(slow.outputs["output"], expected[:1])
        assert slow.cycles is not None and got.cycles is not None and slow.cycles[0] > got.cycles[0]
        feed = {"x": stalled.quantised_inputs(images[:1])["x"]}
        checks = verify(program, stalled, feed)
    assert [c for c in checks if not c.equal] == [] and len(checks) == 11


def test_small_demo(tmp_path: Path) -> None:
    options = demo.Options(out=tmp_path, tiles=("f2",), densities=(None, "4/8"), calibration=16, images=40, simulate=1)
    text = io.StringIO()
    made = demo.run(options, Console(file=io.StringIO()), Console(file=text, width=100))
    assert made == json.loads((tmp_path / "report.json").read_text())
    assert made["bit_exact"] is True and made["simulated_images"] == 1
    assert made["float_accuracy"] >= 80 and made["int8_accuracy"]["f2"] >= 80
    (srbs,) = made["srbs"]
    assert (srbs["density"], srbs["tile"]) == ("4/8", "f2") and 0 < srbs["cycles"] < 0.65 * srbs["dense_cycles"]
    assert [layer["density"] for layer in made["layers"]] == ["8/8"] + 10 * ["4/8"]
    assert sum(layer["cycles"] for layer in made["layers"]) <= srbs["cycles"]
    bounds = {"compute", "transform", "input", "weights", "output", "memory"}
    assert {layer["bound"] for layer in made["layers"]} <= bounds
    assert "f2 4/8" in text.getvalue() and "bit-exact" in text.getvalue()
    assert "<svg" in (tmp_path / "report.html").read_text()
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "calibration.npy", "images.npy", "labels.npy", "report.html", "report.json", "vgg-f2-4of8.subrow",
        "vgg-f2-dense.subrow",
    ]  # fmt: skip
    assert programs.load(tmp_path / "vgg-f2-4of8.subrow").hw_name == "tiny"


def test_demo_refuses_impossible_numbers(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="simulated <= images <= 1000"):
        demo.run(demo.Options(out=tmp_path, images=2000), Console(), Console())
    assert not list(tmp_path.iterdir())
