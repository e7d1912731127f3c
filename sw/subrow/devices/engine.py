"""Driver of one engine: the register sequence that the Verilated RTL and a board share.

    engine = Engine(port, hw, "verilator")     # reset, ID and VERSION checked: nothing has been given an address yet
    engine.place(program, slots=2)             # buffers, addresses
    for outputs, cycles in engine.stream(images): ...
    engine.free()

A Port is how registers and shared memory are reached; there are two (devices/verilator.py, devices/pynq). With two
slots the next image is packed and the last one unpacked while the engine runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from subrow.devices.base import Int8Array, pack_activation, read_tensor
from subrow.devices.registers import field
from subrow.spec import isa
from subrow.spec.errors import DeviceError
from subrow.spec.hwconfig import HwConfig
from subrow.spec.program import PAGE, Program
from subrow.spec.program_check import region_of

ADDRESS_BITS = 40
MAX_LAYERS = (1 << 16) - 1
ERROR_NAMES = {1: "illegal opcode", 2: "AXI error", 3: "watchdog: no progress", 4: "address outside its buffers"}
UNITS = ("wfetch", "afetch", "rfetch", "itrans", "array", "otrans", "post", "awrite")
Images = Mapping[str, Int8Array]


class Buffer(Protocol):
    """Memory that host and engine share: uint8 `data` for the host, `address` for the engine."""

    @property
    def address(self) -> int:
        """First byte, as the engine counts."""

    @property
    def data(self) -> NDArray[np.uint8]:
        """All of it, uint8 [bytes]."""

    def flush(self, low: int, high: int) -> None:
        """Make bytes [low, high) that the host wrote visible to the engine."""

    def invalidate(self, low: int, high: int) -> None:
        """Make bytes [low, high) that the engine wrote visible to the host."""

    def free(self) -> None:
        """Give the memory back; `data` must not be used any more."""


class Port(Protocol):
    """How the registers and the memory of one engine are reached."""

    def read(self, register: str) -> int:
        """A register's 32 bits."""

    def write(self, register: str, value: int) -> None:
        """Set a register's 32 bits."""

    def allocate(self, size: int) -> Buffer:
        """Zeroed memory of at least `size` bytes at a multiple of PAGE. Raises DeviceError when there is none."""

    def begin(self) -> None:
        """Called before each start, when nothing is under way."""

    def wait(self) -> str | None:
        """Let the engine work until it has finished; text that says how long it was waited when it does not."""

    def note(self) -> str:
        """What else a person wants to know after a fault; may be empty."""


class Engine:
    """One engine behind a Port. Not thread safe.

    watchdog: cycles without progress after which the engine stops with an error, 0 = never. Construction resets the
    engine, whatever a process that died has left it doing, and raises DeviceError when its ID is not that of the
    HwConfig or its instruction format is another version.
    """

    def __init__(self, port: Port, hw: HwConfig, name: str, watchdog: int) -> None:
        self._port, self._hw, self._name, self._watchdog = port, hw, name, watchdog
        self._buffers: list[Buffer] = []
        self._check_identity()
        self.reset()

    def _check_identity(self) -> None:
        found, version = self._port.read("ID"), field("VERSION", "major").of(self._port.read("VERSION"))
        if found != self._hw.hash32:
            raise DeviceError(
                f"{self._name}: engine ID {found:08x} is not HwConfig {self._hw.name} ({self._hw.hash32:08x}): load "
                "the bitstream of this HwConfig, or compile the network for the one that is loaded"
            )
        if version != isa.ISA_VERSION:
            raise DeviceError(
                f"{self._name}: the engine decodes instruction format {version}, this Subrow writes "
                f"{isa.ISA_VERSION}: build the bitstream again, or install the Subrow that it was built with"
            )

    def reset(self) -> None:
        """Stop whatever runs and forget it. Reads under way end in nothing, writes change nothing any more."""
        self._port.write("CTRL", field("CTRL", "soft_reset").mask)
        self._port.read("STATUS")  # the write has arrived
        self._port.write("CTRL", 0)
        self._clear()

    def _clear(self) -> None:
        self._port.write("STATUS", field("STATUS", "done").mask | field("STATUS", "error").mask)

    # ---- memory -------------------------------------------------------------------------------------------------
    def place(self, program: Program, slots: int) -> None:
        """Give the engine a Program that has been checked for this HwConfig, and `slots` arenas.

        Raises DeviceError when memory is short or lies where the engine cannot reach; then nothing stays allocated.
        """
        layers = len(program.layers)
        if layers > MAX_LAYERS:
            raise DeviceError(f"{self._name}: Program {program.name} has {layers} layers, at most {MAX_LAYERS}")
        self.free()
        try:
            image = program.image()
            self._image = self._allocate(image)
            self._records = self._allocate(np.zeros(isa.RECORD_BYTES * layers, np.uint8))
            self._arenas = [self._allocate(np.zeros(program.arena_bytes, np.uint8)) for _ in range(slots)]
        except BaseException:
            self.free()
            raise
        self._program = program
        self._address("PROG", self._image, image.size)
        self._address("RECORD", self._records, isa.RECORD_BYTES * layers)
        self._port.write("LAYERS", layers)
        self._port.write("WATCHDOG", self._watchdog)
        self._port.write("IRQ_ENABLE", field("IRQ_ENABLE", "done").mask | field("IRQ_ENABLE", "error").mask)

    def _allocate(self, content: NDArray[np.uint8]) -> Buffer:
        """A buffer with this content. All of it is flushed, so that no line of the host's cache overwrites what the
        engine writes later."""
        buffer = self._port.allocate(content.size)
        self._buffers.append(buffer)
        if buffer.address % PAGE or buffer.address + content.size > 1 << ADDRESS_BITS:
            raise DeviceError(
                f"{self._name}: buffer of {content.size} bytes at {buffer.address:#x}: must start at a multiple of "
                f"{PAGE} and end below 2^{ADDRESS_BITS}"
            )
        buffer.data[: content.size] = content
        buffer.flush(0, content.size)
        return buffer

    def _address(self, name: str, buffer: Buffer, size: int) -> None:
        """Where a buffer is, and its pages as the window that the engine must not leave, whatever the Program says."""
        self._port.write(f"{name}_ADDR_LO", buffer.address & 0xFFFFFFFF)
        self._port.write(f"{name}_ADDR_HI", buffer.address >> 32)
        self._port.write(f"{name}_FIRST", buffer.address // PAGE)
        self._port.write(f"{name}_LAST", (buffer.address + size - 1) // PAGE)

    def free(self) -> None:
        """Give all buffers back; may be called twice."""
        for buffer in self._buffers:
            buffer.free()
        self._buffers = []

    # ---- runs ---------------------------------------------------------------------------------------------------
    def stream(self, images: Sequence[Images]) -> Iterator[tuple[dict[str, Int8Array], int]]:
        """Outputs int8 [C, H, W] by name, and cycles, of each image (int8 [C, H, W] by input name), in order.

        Raises DeviceError, with the layer, the counters and the state of every unit, when the engine reports a fault or
        does not finish. Whatever ends a run early, Ctrl-C as well, the engine is reset before the error goes on.
        """
        slots, count = len(self._arenas), len(images)
        self._prepare(0, images[0])
        before: int | None = None  # cycles of an image whose outputs are still in the other arena
        for i in range(count):
            slot = i % slots
            with self._reset_on_error():
                self._start(slot)
                if before is not None:
                    last = self._outputs((i - 1) % slots)
                if slots > 1 and i + 1 < count:
                    self._prepare((i + 1) % slots, images[i + 1])
                cycles = self._finish()
            if before is not None:
                yield last, before
            before = cycles
            if slots == 1:
                yield self._outputs(0), cycles
                before = None
                if i + 1 < count:
                    self._prepare(0, images[i + 1])
        if before is not None:
            yield self._outputs((count - 1) % slots), before

    @contextmanager
    def _reset_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.reset()
            raise

    def _prepare(self, slot: int, images: Images) -> None:
        arena = self._arenas[slot]
        for t in self._program.inputs:
            words = pack_activation(images[t.name], self._hw.sub_row).view(np.uint8).ravel()
            arena.data[t.offset : t.offset + words.size] = words
            arena.flush(t.offset, t.offset + words.size)

    def _start(self, slot: int) -> None:
        self._port.begin()
        self._address("ACT", self._arenas[slot], self._program.arena_bytes)
        self._port.write("CTRL", field("CTRL", "start").mask)

    def _finish(self) -> int:
        """Cycles of the run that has been started, once it has ended."""
        overdue = self._port.wait()
        status = self._port.read("STATUS")
        if field("STATUS", "error").of(status):
            code = field("STATUS", "error_code").of(status)
            raise self._fault(f"engine stopped with error {code} ({ERROR_NAMES.get(code, 'unknown')})")
        done = field("STATUS", "done").of(status)
        if overdue:
            what = "engine has finished, but its interrupt did not arrive" if done else "engine did not finish"
            raise self._fault(f"{what} {overdue}")
        if not done:
            raise self._fault(f"engine says neither done nor error (STATUS {status:08x})")
        cycles = self._port.read("CYCLES_LO") | self._port.read("CYCLES_HI") << 32
        self._clear()
        return cycles

    def _outputs(self, slot: int) -> dict[str, Int8Array]:
        arena, sub_row = self._arenas[slot], self._hw.sub_row
        for t in self._program.outputs:
            place = region_of(t, sub_row)
            arena.invalidate(place.low, place.high)
        # Copies: a small tensor is a view of the arena, which the next image overwrites and `free` unmaps.
        return {t.name: read_tensor(arena.data, t, sub_row).copy() for t in self._program.outputs}

    def records(self) -> tuple[dict[str, int], ...]:
        """Counter record of each layer (isa.RECORD_FIELDS) of the last run."""
        layers = len(self._program.layers)
        self._records.invalidate(0, isa.RECORD_BYTES * layers)
        raw = np.frombuffer(self._records.data[: isa.RECORD_BYTES * layers].tobytes(), "<u8").reshape(layers, -1)
        return tuple(dict(zip(isa.RECORD_FIELDS, map(int, row), strict=True)) for row in raw)

    def _fault(self, what: str) -> DeviceError:
        """An error with all that the registers say of a run that did not end well."""
        read, program = self._port.read, self._program
        layer = read("LAYER")
        name = program.layers[layer].name if layer < len(program.layers) else "?"
        states = [read(f"STATE{i}") for i in range(4)]
        idle = [unit for i, unit in enumerate(UNITS) if states[0] >> i & 1]
        axi, note = read("AXI_ERRORS"), self._port.note()
        response, port = (field("AXI_ERRORS", part).of(axi) for part in ("resp", "port"))
        return DeviceError(
            f"{self._name}: {what} in layer {layer} ({name}); AXI response {response} on port {port}; "
            f"cycles {read('CYCLES_LO')}; idle units: {', '.join(idle) or 'none'}; "
            f"STATE {' '.join(f'{s:08x}' for s in states)}{note and '; '}{note}"
        )
