"""The board's driver on the Verilated engine, through PYNQ's own Overlay, MMIO and buffers: the emulator's numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from subrow.devices import open_device
from subrow.devices.base import RunResult
from subrow.devices.handoff import handoff
from subrow.devices.pynq.device import Pynq
from subrow.devices.pynq.overlay import SubrowIP, SubrowOverlay
from subrow.devices.pynq.virtual import BASE, FIRST, SimulatedPynq, VirtualDevice, place
from subrow.devices.registers import VLNV, registers
from subrow.spec import isa
from subrow.spec.energy import network_energy
from subrow.spec.errors import ConfigError, DeviceError, InputError, MissingTool
from subrow.spec.program import Program
from tests.spec.program_files import HW, feeds, sample
from tests.system.test_demo import demo_program

pytestmark = pytest.mark.verilator
GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "boards.md").read_text()


def images(count: int) -> dict[str, np.ndarray]:
    """Different images for the two inputs of `sample`."""
    rng = np.random.default_rng(3)
    return {name: rng.integers(-127, 128, (count, *x.shape[1:])).astype(np.int8) for name, x in feeds().items()}


def emulated(program: Program, x: object) -> RunResult:
    with open_device("emulator", HW) as emulator:
        emulator.load(program)
        return emulator.run(x)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", (1, 2, 5))
@pytest.mark.parametrize("interrupts", (False, True))
def test_residual_network_equals_the_emulator(count: int, interrupts: bool) -> None:
    program, x = sample(), images(count)
    expected = emulated(program, x)
    with open_device("pynq", HW, simulate=True, interrupts=interrupts) as device:
        device.load(program)
        got = device.run(x)
    np.testing.assert_array_equal(got.outputs["y"], expected.outputs["y"])
    assert len(np.unique(got.outputs["y"])) > 5 and got.scales == expected.scales
    assert got.device == "pynq" and got.program_digest == program.digest() and got.hw_digest == HW.digest
    assert got.cycles is not None and len(got.cycles) == count and len(set(got.cycles)) == 1
    exact = ("layer_id", "issued", "read_bytes")
    for mine, theirs in zip(got.records, expected.records, strict=True):
        assert [mine[k] for k in exact] == [theirs[k] for k in exact] and mine["cycles"] > 0


def test_demo_network_equals_emulator_and_verilator() -> None:
    from models.fashion_mnist import test_images

    # its input lies where its output does: the next image must not overwrite the last one's output
    program, x = demo_program("f2", "4/8"), test_images().images[:4]
    with open_device("verilator", HW) as chip:
        chip.load(program)
        rtl = chip.run(x[:1])
    with open_device("pynq", HW, simulate=True) as device:
        device.load(program)
        got = device.run(x)
    np.testing.assert_array_equal(got.outputs["output"], emulated(program, x).outputs["output"])
    assert rtl.cycles is not None and got.cycles is not None
    assert abs(got.cycles[0] - rtl.cycles[0]) < 0.01 * rtl.cycles[0] and len(set(got.cycles)) == 1
    ms, spent = got.cycles[0] / HW.mhz / 1e3, network_energy(program.decoded(), HW, got.records).total
    for stated in (f"{ms:.3f} ms (simulated)", f"{1e3 / ms:.1f} images/s (simulated)", f"{spent:.1f} uJ (estimated)"):
        assert stated in GUIDE


def test_another_program_takes_the_place_of_the_first_and_all_memory_comes_back() -> None:
    program, x = sample(), images(1)
    with SimulatedPynq(HW) as device:
        device.load(program)
        first = device.board.allocated.copy()
        assert len(first) == 4 and min(first) == FIRST  # image, records, two arenas
        device.load(program)
        assert device.board.allocated == first
        with pytest.raises(InputError, match="inputs"):
            device.run(x["x"])
        device.run(x)
        device.close()
        device.close()
        assert device.board.allocated == {}
        with pytest.raises(DeviceError, match="no Program is loaded"):
            device.run(x)
        with pytest.raises(DeviceError, match="closed; open it again"):
            device.load(program)


def test_overlay_and_its_driver_are_those_of_pynq() -> None:
    board = VirtualDevice(HW)
    overlay = SubrowOverlay(board.bitfile, download=False, device=board)
    assert overlay.ip_dict["engine"]["phys_addr"] == BASE
    assert isinstance(overlay.subrow, SubrowIP) and overlay.engine is overlay.subrow
    assert overlay.subrow.read_register("ID") == HW.hash32
    assert overlay.subrow.read_register("VERSION") >> 16 == isa.ISA_VERSION
    names = overlay.ip_dict["engine"]["registers"]
    assert {n: r["address_offset"] for n, r in names.items()} == {n: r.offset for n, r in registers().items()}
    board.close()


@pytest.mark.parametrize(("change", "text"), (
    (lambda text: text.replace(VLNV, "other:ip:subrow_engine:1.0"), "0 engines of type"),
    (lambda text: text.replace(VLNV, "subrow:ip:subrow_engine:9.0"), "of another version than"),
))  # fmt: skip
@pytest.mark.filterwarnings("ignore:IP engine is of type")
def test_a_bitstream_without_the_engine(change, text: str) -> None:  # type: ignore[no-untyped-def]
    board = VirtualDevice(HW)
    board.bitfile.with_suffix(".hwh").write_text(change(handoff(HW, place(HW))))
    with pytest.raises(DeviceError, match=text):
        SimulatedPynq(HW, board=board)
    board.close()


def test_files_and_options_are_checked(tmp_path: Path) -> None:
    board = VirtualDevice(HW)
    with pytest.raises(DeviceError, match="x.bit does not exist: copy the .bit and the .hwh"):
        Pynq(HW, bitfile=tmp_path / "x.bit", device=board)
    (tmp_path / "x.bit").touch()
    with pytest.raises(DeviceError, match="x.hwh does not exist"):
        Pynq(HW, bitfile=tmp_path / "x.bit", device=board)
    with pytest.raises(DeviceError, match="timeout_s = 0"):
        SimulatedPynq(HW, board=board, timeout_s=0)
    with pytest.raises(ConfigError, match="bitfile is missing"):
        open_device("pynq", HW)
    board.close()


def test_without_pynq_there_is_no_pynq_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingTool, match="PYNQ is not installed"):
        open_device("pynq", HW, simulate=True)
