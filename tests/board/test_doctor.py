"""What doctor finds: a healthy simulated board, and one thing at a time that is wrong with it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from subrow.board import doctor
from subrow.board.doctor import Check, board_checks, healthy, host_checks
from subrow.devices.pynq.virtual import SimulatedPynq, VirtualDevice
from subrow.spec import hwconfig
from subrow.spec.errors import MissingTool
from tests.spec.program_files import HW, sample

PROGRAM = sample()


def found(open_device: Callable[[], SimulatedPynq]) -> dict[str, Check]:
    return {c.name: c for c in board_checks(open_device, PROGRAM)}


@pytest.mark.verilator
def test_a_healthy_simulated_board() -> None:
    checks = found(lambda: SimulatedPynq(HW))
    assert list(checks) == ["python", "pynq", "board image", "bitstream", "clock", "memory", "golden"]
    assert healthy(list(checks.values())) and not checks["board image"].ok
    assert checks["golden"].found == "0 of 90 output values differ" and checks["clock"].found == "100.00 MHz"


@pytest.mark.verilator
def test_wrong_bitstream_ends_the_checks() -> None:
    checks = found(lambda: SimulatedPynq(hwconfig.load("wide"), board=VirtualDevice(HW)))
    assert not checks["bitstream"].ok and "golden" not in checks
    assert "load the bitstream of this HwConfig" in checks["bitstream"].fix


@pytest.mark.verilator
def test_a_broken_engine_clock_or_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    board = VirtualDevice(HW)
    invalidate = board.invalidate

    def flips(bo: int, offset: int, ptr: int, size: int) -> None:
        board.chip.memory[bo + offset] ^= 1
        invalidate(bo, offset, ptr, size)

    monkeypatch.setattr(board, "invalidate", flips)
    monkeypatch.setattr(SimulatedPynq, "clock_mhz", lambda self: 50.0)
    checks = found(lambda: SimulatedPynq(HW, board=board))
    assert checks["memory"].found == "1 of 1048576 bytes differ" and not checks["memory"].ok
    assert not checks["golden"].ok and checks["golden"].found == "1 of 90 output values differ"
    assert not checks["clock"].ok and checks["clock"].found == "50.00 MHz" and "download=True" in checks["clock"].fix
    board.chip.stalls(1, 1.0)
    hangs = found(lambda: SimulatedPynq(HW, board=board, timeout_s=0.0002))
    assert "did not finish within 0.0002 s" in hangs["golden"].found
    assert not healthy(list(hangs.values()))


def test_host_checks_name_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise MissingTool(f"tool {name!r} not found on PATH: apt-get install {name}")

    assert healthy(host_checks())
    monkeypatch.setattr(doctor, "find_tool", missing)
    checks = {c.name: c for c in host_checks()}
    assert not healthy(list(checks.values()))
    assert checks["tool g++"] == Check("tool g++", False, "missing", "found", "apt-get install g++")
    assert not checks["tool vivado"].required


def test_reference_of_the_golden_test_is_the_emulator() -> None:
    from subrow.devices import open_device
    from subrow.spec.interpret import Interpreter
    from tests.spec.program_files import feeds

    with open_device("emulator", HW) as emulator:
        emulator.load(PROGRAM)
        expected = emulator.run(feeds()).outputs
    got = Interpreter(PROGRAM, HW).run({name: x[0] for name, x in feeds().items()})
    assert set(got) == set(expected)
    for name, x in got.items():
        np.testing.assert_array_equal(x, expected[name][0])
