"""The hardware description (.hwh) of a bitstream that no vendor tool made: what PYNQ reads of one, and no more.

The engine has the name, type and addresses that Vivado gives it, so that one driver serves both.
"""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree

from subrow.devices.registers import VLNV, access_of, table
from subrow.spec.hwconfig import HwConfig

DESIGN, ENGINE, PS = "subrow", "engine", "ps"
_, _, IP_NAME, IP_VERSION = VLNV.split(":")


@dataclass(frozen=True)
class FabricClock:
    """FCLK0 of a Zynq-7000: a PLL by Vivado's name, divided by two numbers of 1..63."""

    source: str
    divisors: tuple[int, int]
    mhz: float


@dataclass(frozen=True)
class Place:
    """Where the engine is: its device by the vendor's name, board file ("": none), register window, clock."""

    part: str
    board_part: str
    base: int
    size: int  # bytes
    clock: FabricClock


def _node(parent: ElementTree.Element, tag: str, **attributes: object) -> ElementTree.Element:
    return ElementTree.SubElement(parent, tag, {k: str(v) for k, v in attributes.items()})


def _parameters(parent: ElementTree.Element, **values: object) -> None:
    group = _node(parent, "PARAMETERS")
    for name, value in values.items():
        _node(group, "PARAMETER", NAME=name, VALUE=value)


def _properties(parent: ElementTree.Element, **values: object) -> None:
    for name, value in values.items():
        _node(parent, "PROPERTY", NAME=name, VALUE=value)


def _range(place: Place) -> dict[str, str]:
    return {"BASEVALUE": f"0x{place.base:08X}", "HIGHVALUE": f"0x{place.base + place.size - 1:08X}"}


def _registers(parent: ElementTree.Element) -> None:
    group = _node(parent, "REGISTERS")
    for name, entry in table().items():
        register = _node(group, "REGISTER", NAME=name)
        _properties(register, DESCRIPTION=entry["description"], ADDRESS_OFFSET=entry["offset"], SIZE=32,
                    ACCESS=access_of(entry["fields"].values()), IS_ENABLED="true", RESET_VALUE="0x0")  # fmt: skip
        fields = _node(register, "FIELDS")
        for part, bits in entry["fields"].items():
            _properties(
                _node(fields, "FIELD", NAME=part), DESCRIPTION=bits["description"], ADDRESS_OFFSET=entry["offset"],
                ACCESS=access_of([bits]), BIT_OFFSET=bits["lsb"], BIT_WIDTH=bits["width"],
            )  # fmt: skip


def _engine(modules: ElementTree.Element, hw: HwConfig, place: Place) -> None:
    module = _node(modules, "MODULE", FULLNAME=f"/{ENGINE}", HWVERSION=IP_VERSION, INSTANCE=ENGINE, IPTYPE="PERIPHERAL",
                   IS_ENABLE=1, MODCLASS="PERIPHERAL", MODTYPE=IP_NAME, VLNV=VLNV)  # fmt: skip
    blocks = _node(module, "ADDRESSBLOCKS")
    block = _node(blocks, "ADDRESSBLOCK", ACCESS="read-write", INTERFACE="s_axil", NAME="reg0",
                  RANGE=place.size, USAGE="register")  # fmt: skip
    _registers(block)
    window = _range(place)
    _parameters(module, Component_Name=f"{DESIGN}_{ENGINE}_0", C_BASEADDR=window["BASEVALUE"],
                C_HIGHADDR=window["HIGHVALUE"], HW_CONFIG=hw.name, HW_HASH=f"0x{hw.hash32:08X}")  # fmt: skip
    ports = _node(module, "PORTS")
    _node(ports, "PORT", DIR="I", NAME="clk", SIGIS="clk", SIGNAME=f"{PS}_FCLK_CLK0")
    irq = _node(ports, "PORT", DIR="O", NAME="irq", SENSITIVITY="LEVEL_HIGH", SIGIS="INTERRUPT",
                SIGNAME=f"{ENGINE}_irq")  # fmt: skip
    _node(_node(irq, "CONNECTIONS"), "CONNECTION", INSTANCE=PS, PORT="IRQ_F2P")
    faces = _node(module, "BUSINTERFACES")
    face = _node(faces, "BUSINTERFACE", BUSNAME="registers_M00_AXI", DATAWIDTH=32, NAME="s_axil", TYPE="SLAVE",
                 VLNV="xilinx.com:interface:aximm:1.0")  # fmt: skip
    _parameters(face, PROTOCOL="AXI4LITE", DATA_WIDTH=32)
    _node(face, "PORTMAPS")


def _ps(modules: ElementTree.Element, place: Place) -> None:
    module = _node(modules, "MODULE", FULLNAME=f"/{PS}", HWVERSION="5.5", INSTANCE=PS, IPTYPE="PERIPHERAL",
                   IS_ENABLE=1, MODCLASS="PERIPHERAL", MODTYPE="processing_system7",
                   VLNV="xilinx.com:ip:processing_system7:5.5")  # fmt: skip
    clock = place.clock
    values: dict[str, object] = {}
    for i in range(4):  # PYNQ asks for all four
        a, b = clock.divisors if i == 0 else (1, 1)
        values |= {f"PCW_FPGA_FCLK{i}_ENABLE": int(i == 0), f"PCW_FCLK{i}_PERIPHERAL_DIVISOR0": a,
                   f"PCW_FCLK{i}_PERIPHERAL_DIVISOR1": b,
                   f"PCW_FCLK{i}_PERIPHERAL_CLKSRC": clock.source if i == 0 else "IO PLL"}  # fmt: skip
    values["PCW_ACT_FPGA0_PERIPHERAL_FREQMHZ"] = f"{clock.mhz:.6f}"
    _parameters(module, **values)
    ports = _node(module, "PORTS")
    _node(ports, "PORT", CLKFREQUENCY=round(clock.mhz * 1e6), DIR="O", NAME="FCLK_CLK0", SIGIS="clk",
          SIGNAME=f"{PS}_FCLK_CLK0")  # fmt: skip
    irq = _node(ports, "PORT", DIR="I", LEFT=0, NAME="IRQ_F2P", RIGHT=0, SENSITIVITY="LEVEL_HIGH", SIGIS="INTERRUPT",
                SIGNAME=f"{ENGINE}_irq")  # fmt: skip
    _node(_node(irq, "CONNECTIONS"), "CONNECTION", INSTANCE=ENGINE, PORT="irq")
    faces = _node(module, "BUSINTERFACES")
    face = _node(faces, "BUSINTERFACE", BUSNAME=f"{PS}_M_AXI_GP0", DATAWIDTH=32, NAME="M_AXI_GP0", TYPE="MASTER",
                 VLNV="xilinx.com:interface:aximm:1.0")  # fmt: skip
    _parameters(face, PROTOCOL="AXI3", DATA_WIDTH=32)
    _node(face, "PORTMAPS")
    memory = _node(module, "MEMORYMAP")
    _node(
        memory, "MEMRANGE", ADDRESSBLOCK="reg0", **_range(place), INSTANCE=ENGINE, IS_DATA="TRUE",
        IS_INSTRUCTION="TRUE", MASTERBUSINTERFACE="M_AXI_GP0", MEMTYPE="REGISTER", SLAVEBUSINTERFACE="s_axil",
    )  # fmt: skip


def handoff(hw: HwConfig, place: Place) -> str:
    """The .hwh of a HwConfig on a Zynq-7000."""
    root = ElementTree.Element("EDKSYSTEM", {"EDWVERSION": "1.2", "TIMESTAMP": "0", "VIVADOVERSION": "none"})
    device = place.part.split("clg")[0]
    package, speed = place.part.removeprefix(device).split("-")
    _node(root, "SYSTEMINFO", ARCH="zynq", BOARD=place.board_part, DEVICE=device.removeprefix("xc"), NAME=DESIGN,
          PACKAGE=package, SPEEDGRADE=f"-{speed}")  # fmt: skip
    _node(root, "EXTERNALPORTS")
    _node(root, "EXTERNALINTERFACES")
    modules = _node(root, "MODULES")
    _engine(modules, hw, place)
    _ps(modules, place)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=False) + "\n"
