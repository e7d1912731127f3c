"""The boards that a bitstream can be built for: parts, ports of their processing system, addresses."""

from __future__ import annotations

from dataclasses import dataclass

from subrow.devices.handoff import FabricClock
from subrow.spec.errors import ConfigError, InputError
from subrow.spec.hwconfig import HwConfig


@dataclass(frozen=True)
class MemoryPort:
    """A port of the processing system to its DDR memory, by Vivado's names."""

    name: str
    clock: str  # pin
    segment: str  # of addresses: the memory as seen through this port


@dataclass(frozen=True)
class Board:
    """A board: bytes of its memory ports, addresses in its processing system."""

    name: str
    part: str
    board_part: str  # of the board file; versions behind it are taken as they come
    port_bytes: int  # widest memory port of the processing system
    act_port: MemoryPort
    weight_ports: tuple[MemoryPort, ...]
    register_base: int
    register_bytes: int
    memory_bytes: int  # from address 0

    def weight_ports_of(self, hw: HwConfig) -> tuple[MemoryPort, ...]:
        """Memory ports that carry the weight port of this HwConfig: as many as it is wide. Raises ConfigError."""
        count = max(1, hw.weight_bytes // self.port_bytes)
        if count > len(self.weight_ports):
            raise ConfigError(
                f"HwConfig {hw.name}: memory.weight_bytes = {hw.weight_bytes}: board {self.name} has "
                f"{len(self.weight_ports)} weight ports of {self.port_bytes} bytes, so at most "
                f"{len(self.weight_ports) * self.port_bytes}"
            )
        return self.weight_ports[:count]

    def check(self, hw: HwConfig) -> None:
        """Raises ConfigError unless the HwConfig is one for this board and its part."""
        if hw.board != self.name:
            raise ConfigError(
                f"HwConfig {hw.name} is for board {hw.board!r}, not {self.name!r}: compile the network with a HwConfig "
                f"whose [board] board is {self.name!r} (`subrow compile --hw {self.name}`)"
            )
        if hw.part != self.part:
            raise ConfigError(f"HwConfig {hw.name}: board.part = {hw.part!r}: board {self.name} has {self.part}")
        if hw.act_port_bytes > self.port_bytes:
            raise ConfigError(
                f"HwConfig {hw.name}: array.sub_row = {hw.sub_row}, memory.act_port_words = {hw.act_port_words}: the "
                f"activation port has {hw.act_port_bytes} bytes, a memory port of {self.name} {self.port_bytes}"
            )
        self.weight_ports_of(hw)


def _hp7(index: int) -> MemoryPort:
    return MemoryPort(f"S_AXI_HP{index}", f"S_AXI_HP{index}_ACLK", f"S_AXI_HP{index}/HP{index}_DDR_LOWOCM")


def _hp8(index: int) -> MemoryPort:
    return MemoryPort(f"S_AXI_HP{index}_FPD", f"saxihp{index}_fpd_aclk", f"SAXIGP{index + 2}/HP{index}_DDR_LOW")


PYNQ_Z2 = Board(
    name="pynq-z2", part="xc7z020clg400-1", board_part="tul.com.tw:pynq-z2:part0:1.0", port_bytes=8,
    act_port=_hp7(0), weight_ports=(_hp7(1), _hp7(2)), register_base=0x43C0_0000, register_bytes=0x1_0000,
    memory_bytes=512 << 20,
)  # fmt: skip
ZCU104 = Board(
    name="zcu104", part="xczu7ev-ffvc1156-2-e", board_part="xilinx.com:zcu104:part0:1.1", port_bytes=16,
    # The weights take all four HP ports; the activations have HPC0 to themselves, and no access of theirs is coherent.
    act_port=MemoryPort("S_AXI_HPC0_FPD", "saxihpc0_fpd_aclk", "SAXIGP0/HPC0_DDR_LOW"),
    weight_ports=tuple(_hp8(i) for i in range(4)), register_base=0xA000_0000, register_bytes=0x1_0000,
    memory_bytes=2 << 30,
)  # fmt: skip
BOARDS = (PYNQ_Z2, ZCU104)


def board_of(name: str) -> Board:
    """The board of that name. Raises InputError."""
    for board in BOARDS:
        if board.name == name:
            return board
    raise InputError(f"board {name!r}: must be one of {', '.join(b.name for b in BOARDS)}")


PLLS = {"IO PLL": 1000.0, "DDR PLL": 1050.0, "ARM PLL": 1300.0}
"""MHz of the PLLs of a PYNQ-Z2 as its boot loader sets them (crystal 50 MHz)."""
CLOCK_ERROR = 0.005  # share by which a clock may miss what the HwConfig says


def fabric_clock(mhz: float) -> FabricClock:
    """The divided PLL that comes nearest to mhz without passing it. Raises ConfigError when it misses by over 0.5 %."""
    options = [FabricClock(name, (a, b), pll / (a * b)) for name, pll in PLLS.items()
               for a in range(1, 64) for b in range(1, a + 1)]  # fmt: skip
    fitting = [c for c in options if c.mhz <= mhz * 1.000001]
    best = max(fitting, key=lambda c: c.mhz, default=options[-1])
    if not mhz * (1 - CLOCK_ERROR) <= best.mhz <= mhz * 1.000001:
        raise ConfigError(f"clock.mhz = {mhz}: the nearest that the board's PLLs give is {best.mhz:.3f} MHz; use that")
    return best
