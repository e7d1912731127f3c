"""The benchmark of a device: which figures it gives, where they come from, and what is refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from subrow.board import start
from subrow.board.bench import bench, document, origin_of
from subrow.board.page import LAYER_HEAD, layer_rows, page, summary
from subrow.board.start import opener
from subrow.devices import open_device
from subrow.devices.pynq.device import Pynq
from subrow.devices.pynq.virtual import SimulatedPynq
from subrow.spec.errors import InputError
from subrow.spec.roofline import roofline
from tests.spec.program_files import HW, sample

PROGRAM = sample()


@pytest.mark.verilator
@pytest.mark.parametrize("name", ("verilator", "pynq"))
def test_simulated_figures_are_the_engines_cycles(name: str) -> None:
    with open_device(name, HW, **({"simulate": True} if name == "pynq" else {})) as device:
        found = bench(device, PROGRAM, 3)
    assert found.origin == "simulated" and found.cycles is not None
    ms = found.cycles / HW.mhz / 1e3
    assert found.latency == (ms, ms, pytest.approx(ms)) and found.throughput == pytest.approx(1e3 / ms)
    macs = sum(i.macs for i in PROGRAM.layers)
    assert found.gops == pytest.approx(2 * macs / ms / 1e6)
    assert [layer.counters["issued"] for layer in found.layers] == [round(roofline(i, HW).compute)
                                                                    for i in PROGRAM.decoded()]  # fmt: skip
    assert found.watts is None and found.gops_per_watt is None and found.energy.total > 0
    parts = [layer.energy.total for layer in found.layers]
    assert min(parts) > 0 and sum(parts) == pytest.approx(found.energy.total)
    written = document({"program": found})["program"]
    assert [i["energy_uj"]["total"] for i in written["layers"]] == pytest.approx(parts, abs=1e-3)
    assert written["origin"]["layers.energy_uj"] == "estimated" and "energy" not in written["layers"][0]
    text = page({"program": found})
    assert "<th>uJ (estimated)</th>" in text and f"<td>{parts[0]:.2f}</td></tr>" in text
    assert text.count("(simulated)") >= 5 and "measured" not in text and "(estimated)" in text
    assert all(len(row) == len(LAYER_HEAD) for row in layer_rows(found))


def test_the_emulators_wall_clock_is_measured_and_has_no_cycles() -> None:
    with open_device("emulator", HW) as device:
        found = bench(device, PROGRAM, 2)
    low, median, high = found.latency
    assert found.origin == "measured" and 0 < low <= median <= high and found.cycles is None
    assert all(layer.ms is None for layer in found.layers)


@pytest.mark.verilator
def test_a_board_with_a_sensor(monkeypatch: pytest.MonkeyPatch) -> None:
    """A board's own way, on the simulated engine: wall clock, and the power of its 12 V rail."""
    import pynq

    rail = SimpleNamespace(power=SimpleNamespace(value=4.0))
    monkeypatch.setattr(pynq, "get_rails", lambda: {"12V": rail})
    monkeypatch.setattr(SimulatedPynq, "watts", Pynq.watts)
    with SimulatedPynq(HW) as device:
        assert device.watts() == 4.0
        monkeypatch.setattr(pynq, "get_rails", lambda: {"5V": rail})
        assert device.watts() is None
        monkeypatch.setattr(pynq, "get_rails", lambda: {"12V": rail})
        device.simulated = False
        assert origin_of(device) == "measured"
        found = bench(device, PROGRAM, 2)
    assert found.watts == 4.0 and found.gops_per_watt == pytest.approx(found.gops / 4)
    rows = {name: cells for name, *cells in summary({"program": found})}
    assert rows["power"] == ["4.00 W (measured)"] and "GOP/s/W (measured)" in rows["efficiency"][0]
    assert document({"program": found})["program"]["origin"]["watts"] == "measured by the board"


def test_which_device_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    with pytest.raises(InputError, match="device emulator takes none"):
        opener("emulator", HW, Path("x.bit"), told.append)
    opener("pynq", HW, None, told.append)
    assert len(told) == 1 and "every figure is simulated" in told[0]
    monkeypatch.setattr(start, "on_board", lambda: True)
    with pytest.raises(InputError, match="give the bitfile"):
        opener("pynq", HW, None, told.append)
    with pytest.raises(InputError, match="0 images"), open_device("emulator", HW) as device:
        bench(device, PROGRAM, 0)
