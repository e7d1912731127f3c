"""The hardware handoff that Vivado writes beside a bitstream, as much of it as PYNQ reads: for simulated engines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from xml.etree import ElementTree as Xml

from subrow.devices.pynq.overlay import VLNV
from subrow.devices.registers import TABLE
from subrow.spec.hwconfig import HwConfig

RANGE = 0x1_0000
AXI = "xilinx.com:interface:aximm:1.0"


def handoff(hw: HwConfig, base: int) -> str:
    """A .hwh of a Zynq PS `ps` with one master, and an `engine` whose registers start at `base`."""
    top = Xml.Element("EDKSYSTEM", EDWVERSION="1.2", TIMESTAMP="", VIVADOVERSION="2022.1")
    _add(top, "SYSTEMINFO", ARCH="zynq", DEVICE="7z020", NAME="subrow", PACKAGE="clg400", SPEEDGRADE="-1")
    _add(top, "EXTERNALPORTS")
    _add(top, "EXTERNALINTERFACES")
    modules = _add(top, "MODULES")
    _processing_system(modules, hw, base)
    _engine(modules)
    return Xml.tostring(top, encoding="unicode", xml_declaration=True)


def _add(parent: Xml.Element, tag: str, **attributes: str) -> Xml.Element:
    return Xml.SubElement(parent, tag, attributes)


def _module(parent: Xml.Element, name: str, kind: str, vlnv: str) -> Xml.Element:
    return _add(parent, "MODULE", FULLNAME=f"/{name}", HWVERSION=vlnv.rpartition(":")[2], INSTANCE=name,
                IPTYPE="PERIPHERAL", IS_ENABLE="1", MODCLASS="PERIPHERAL", MODTYPE=kind, VLNV=vlnv)  # fmt: skip


def _parameters(module: Xml.Element, values: Mapping[str, str]) -> None:
    parameters = _add(module, "PARAMETERS")
    for name, value in values.items():
        _add(parameters, "PARAMETER", NAME=name, VALUE=value)


def _processing_system(modules: Xml.Element, hw: HwConfig, base: int) -> None:
    ps = _module(modules, "ps", "processing_system7", "xilinx.com:ip:processing_system7:5.5")
    clocks = {}
    for i in range(4):
        clocks[f"PCW_FPGA_FCLK{i}_ENABLE"] = str(int(i == 0))
        clocks[f"PCW_FCLK{i}_PERIPHERAL_DIVISOR0"] = "5"
        clocks[f"PCW_FCLK{i}_PERIPHERAL_DIVISOR1"] = "2"
        clocks[f"PCW_FCLK{i}_PERIPHERAL_CLKSRC"] = "IO PLL"
        clocks[f"PCW_ACT_FPGA{i}_PERIPHERAL_FREQMHZ"] = f"{hw.mhz:.6f}"
    _parameters(ps, clocks)
    _add(ps, "PORTS")
    interfaces = _add(ps, "BUSINTERFACES")
    _add(interfaces, "BUSINTERFACE", BUSNAME="registers", DATAWIDTH="32", NAME="M_AXI_GP0", TYPE="MASTER", VLNV=AXI)
    _add(_add(ps, "MEMORYMAP"), "MEMRANGE", ADDRESSBLOCK="reg0", BASENAME="C_BASEADDR", BASEVALUE=f"{base:#010x}",
         HIGHNAME="C_HIGHADDR", HIGHVALUE=f"{base + RANGE - 1:#010x}", INSTANCE="engine", IS_DATA="TRUE",
         IS_INSTRUCTION="TRUE", MASTERBUSINTERFACE="M_AXI_GP0", MEMTYPE="REGISTER",
         SLAVEBUSINTERFACE="s_axil")  # fmt: skip


def _engine(modules: Xml.Element) -> None:
    engine = _module(modules, "engine", "subrow_engine", VLNV)
    block = _add(_add(engine, "ADDRESSBLOCKS"), "ADDRESSBLOCK", ACCESS="", INTERFACE="s_axil", NAME="reg0",
                 RANGE=str(RANGE), USAGE="register")  # fmt: skip
    registers = _add(block, "REGISTERS")
    for name, entry in json.loads(TABLE.read_text()).items():
        register = _add(registers, "REGISTER", NAME=name)
        offset = f"{entry['offset']:#x}"
        for key, value in (("DESCRIPTION", entry["description"]), ("ADDRESS_OFFSET", offset), ("SIZE", "32"),
                           ("ACCESS", "read-write")):  # fmt: skip
            _add(register, "PROPERTY", NAME=key, VALUE=value)
    _parameters(engine, {})
    _add(engine, "PORTS")
    interfaces = _add(engine, "BUSINTERFACES")
    _add(interfaces, "BUSINTERFACE", BUSNAME="registers", DATAWIDTH="32", NAME="s_axil", TYPE="SLAVE", VLNV=AXI)
    _add(engine, "MEMORYMAP")
