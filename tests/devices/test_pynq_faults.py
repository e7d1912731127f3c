"""What goes wrong on a board, made to go wrong: each time one clear error, and an engine that runs again."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from subrow.devices.pynq.virtual import FIRST, SimulatedPynq, VirtualDevice
from subrow.spec import hwconfig, isa, program
from subrow.spec.errors import DeviceError, ProgramError
from subrow.spec.program import PAGE
from tests.devices.assemble import change
from tests.devices.test_program_fuzz import changed_tensors
from tests.spec.program_files import HW, document_of, feeds, sample, signed, written

pytestmark = pytest.mark.verilator
PROGRAM = sample()


@pytest.fixture
def board() -> Iterator[VirtualDevice]:
    device = VirtualDevice(HW, memory_bytes=1 << 19)
    yield device
    device.close()


@pytest.fixture
def device(board: VirtualDevice, tmp_path: Path) -> Iterator[SimulatedPynq]:
    """Loaded, and its first run as `good`."""
    with SimulatedPynq(HW, board=board, timeout_s=0.002, watchdog=20_000, lock_folder=tmp_path) as opened:
        opened.load(PROGRAM)
        yield opened


def outputs(device: SimulatedPynq) -> np.ndarray:
    return device.run(feeds()).outputs["y"]


def arena(board: VirtualDevice) -> int:
    return board.chip.read("ACT_ADDR_LO")


def test_wrong_bitstream_is_refused_before_any_memory(board: VirtualDevice) -> None:
    with pytest.raises(DeviceError, match=rf"engine ID {HW.hash32:08x} is not HwConfig wide .*load the bitstream"):
        SimulatedPynq(hwconfig.load("wide"), board=board)
    assert board.allocated == {}
    SimulatedPynq(HW, board=board).close()  # the lock was given back


def test_wrong_version_is_refused_before_any_memory(board: VirtualDevice) -> None:
    board.overrides["VERSION"] = (isa.ISA_VERSION - 1) << 16
    text = f"decodes instruction format {isa.ISA_VERSION - 1}, this Subrow writes {isa.ISA_VERSION}"
    with pytest.raises(DeviceError, match=text):
        SimulatedPynq(HW, board=board)
    assert board.allocated == {}


@pytest.mark.parametrize("interrupts", (False, True))
def test_an_engine_that_never_ends_is_a_time_out(board: VirtualDevice, interrupts: bool) -> None:
    with SimulatedPynq(HW, board=board, timeout_s=0.0005, watchdog=0, interrupts=interrupts) as device:
        device.load(PROGRAM)
        good = outputs(device)
        board.chip.stalls(1, 1.0)
        how = "waiting for its interrupt" if interrupts else "polling STATUS"
        text = rf"did not finish within 0.0005 s \({how}\) in layer 0 .*STATE.*subrow.bit"
        with pytest.raises(DeviceError, match=text):
            outputs(device)
        board.chip.stalls(1, 0.0)
        np.testing.assert_array_equal(outputs(device), good)


def test_an_interrupt_that_gets_lost_is_told_from_an_engine_that_hangs(board: VirtualDevice) -> None:
    class Lost:
        def wait(self, seconds: float) -> bool:
            board.advance(100_000)
            return False

        def close(self) -> None:
            """Nothing to do."""

    with SimulatedPynq(HW, board=board) as device:
        device._found._port._interrupt = Lost()  # type: ignore[attr-defined]
        device.load(PROGRAM)
        with pytest.raises(DeviceError, match="has finished, but its interrupt did not arrive within 10 s"):
            outputs(device)


def test_the_engines_own_watchdog(device: SimulatedPynq, board: VirtualDevice) -> None:
    good = outputs(device)
    board.chip.stalls(1, 1.0)
    with pytest.raises(DeviceError, match=r"error 3 \(watchdog: no progress\) in layer 0 \(layer0\).*idle units"):
        outputs(device)
    board.chip.stalls(1, 0.0)
    np.testing.assert_array_equal(outputs(device), good)


@pytest.mark.parametrize(("response", "port"), ((2, 0), (3, 0), (2, 2)))
def test_bus_errors(device: SimulatedPynq, board: VirtualDevice, response: int, port: int) -> None:
    good = outputs(device)
    place = PROGRAM.inputs[0].offset if port == 0 else PROGRAM.decoded()[0].out_offset
    low = sorted(board.allocated)[2] + place  # of the first arena
    board.chip.fault(low, low + 8, response)
    with pytest.raises(DeviceError, match=rf"error 2 \(AXI error\).*AXI response {response} on port {port}"):
        outputs(device)
    board.chip.fault(0, 0, 0)
    np.testing.assert_array_equal(outputs(device), good)


def test_a_corrupt_image_in_memory(device: SimulatedPynq, board: VirtualDevice) -> None:
    """The opcode of the second instruction is damaged after it was loaded: the engine says so; a load mends it."""
    good = outputs(device)
    board.chip.memory[min(board.allocated) + isa.INSTRUCTION_BYTES] ^= 2
    with pytest.raises(DeviceError, match=r"error 1 \(illegal opcode\) in layer 1 \(layer1\)"):
        outputs(device)
    device.load(PROGRAM)
    np.testing.assert_array_equal(outputs(device), good)


def test_an_interrupted_run_stops_the_engine(device: SimulatedPynq, board: VirtualDevice,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    good, read = outputs(device), board._read

    def ctrl_c(address: int) -> int:
        if board.chip.read("STATUS") & 1:
            raise KeyboardInterrupt
        return read(address)

    monkeypatch.setattr(board, "_read", ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        outputs(device)
    monkeypatch.undo()
    assert board.chip.read("STATUS") == 0
    np.testing.assert_array_equal(outputs(device), good)


def test_what_a_killed_process_left_running_is_stopped(board: VirtualDevice, tmp_path: Path) -> None:
    first = SimulatedPynq(HW, board=board, lock_folder=tmp_path / "..")
    first.load(PROGRAM)
    good = outputs(first)
    board.chip.write("CTRL", 1)
    assert board.chip.read("STATUS") & 1
    before = board.chip.memory.copy()
    with SimulatedPynq(HW, board=board, lock_folder=tmp_path) as second:  # another lock: the first one has died
        assert board.chip.read("STATUS") == 0
        board.advance(20_000)
        np.testing.assert_array_equal(board.chip.memory, before)
        second.load(PROGRAM)
        np.testing.assert_array_equal(outputs(second), good)


def test_two_processes_at_once(board: VirtualDevice, tmp_path: Path) -> None:
    hold = """
        import sys
        from pathlib import Path
        from subrow.devices.pynq.lock import EngineLock
        lock = EngineLock("pynq-simulated", Path(sys.argv[1]))
        print("held", flush=True)
        sys.stdin.read()
    """
    other = subprocess.Popen([sys.executable, "-c", textwrap.dedent(hold), str(tmp_path)], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)  # fmt: skip
    assert other.stdout is not None and other.stdout.readline() == "held\n"
    with pytest.raises(DeviceError, match=rf"in use by process {other.pid} .*close its device"):
        SimulatedPynq(HW, board=board, lock_folder=tmp_path)
    assert board.chip.read("CTRL") == 0 and board.allocated == {}
    other.kill()  # the kernel releases its lock
    other.communicate()
    with SimulatedPynq(HW, board=board, lock_folder=tmp_path), pytest.raises(DeviceError, match="in use by process"):
        SimulatedPynq(HW, board=board, lock_folder=tmp_path)


def test_no_memory_left(tmp_path: Path) -> None:
    small = VirtualDevice(HW, memory_bytes=FIRST + 6 * PAGE)  # image, records, one arena
    with SimulatedPynq(HW, board=small, lock_folder=tmp_path) as device:
        with pytest.raises(DeviceError, match="no contiguous memory for a buffer of .* bytes.*CMA"):
            device.load(PROGRAM)
        assert small.allocated == {}
    small.close()


def test_a_buffer_that_the_engine_cannot_take(device: SimulatedPynq, board: VirtualDevice,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    room = board._room
    for wrong in (64, 1 << 40):
        monkeypatch.setattr(board, "_room", lambda size, wrong=wrong: room(size) + wrong)
        monkeypatch.setattr(board, "flush", lambda *_: pytest.fail("an address was used before it was checked"))
        with pytest.raises(DeviceError, match="must start at a multiple of 4096 and end below"):
            device.load(PROGRAM)
        assert board.allocated == {}
        monkeypatch.undo()


def refused(load: Callable[[], object], board: VirtualDevice, text: str) -> None:
    before = board.chip.memory.copy()
    with pytest.raises((DeviceError, ProgramError), match=text):
        load()
    assert board.allocated == {}
    np.testing.assert_array_equal(board.chip.memory, before)


def test_damaged_programs_never_reach_the_memory(board: VirtualDevice, tmp_path: Path) -> None:
    path = tmp_path / "p.subrow"
    PROGRAM.save(path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with SimulatedPynq(HW, board=board, lock_folder=tmp_path) as device:
        refused(lambda: device.load(program.load(path)), board, "digest mismatch")
        far = change(PROGRAM, 0, out_offset=0xFFFFFFF8)
        refused(lambda: device.load(far), board, "the output lies outside the arena")
        wide = hwconfig.load("wide")
        other = type(PROGRAM)(**{**vars(PROGRAM), "hw_digest": wide.digest, "hw_name": "wide"})
        refused(lambda: device.load(other), board, "compiled for HwConfig wide")


def test_programs_from_anywhere_touch_nothing_but_their_buffers(board: VirtualDevice, tmp_path: Path) -> None:
    """Changed instructions and weights with a valid digest: refused, or run without a byte outside of what they own."""
    rng, taken = np.random.default_rng(6), 0
    poison = rng.integers(0, 256, board.chip.memory.size, dtype=np.uint8)
    board.chip.memory[:] = poison
    with SimulatedPynq(HW, board=board, lock_folder=tmp_path, timeout_s=0.002, watchdog=20_000) as device:
        for _ in range(150):
            path = written(tmp_path, signed(document_of(PROGRAM), PROGRAM, **changed_tensors(PROGRAM, rng)))
            try:
                device.load(program.load(path))
            except (ProgramError, DeviceError):
                continue
            image = device.program.image()
            outputs(device)
            taken += 1
            np.testing.assert_array_equal(board.chip.memory[min(board.allocated) :][: image.size], image)
            for low, size in board.allocated.items():
                board.chip.memory[low : low + size] = poison[low : low + size]
            np.testing.assert_array_equal(board.chip.memory, poison)
    assert 30 < taken < 140
