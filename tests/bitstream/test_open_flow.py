"""The open flow without its tools: what it refuses, what it repairs, its hardware description, its messages."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from subrow.bitstream import netlist_faults, open_flow
from subrow.bitstream.boards import PYNQ_Z2, ZCU104, fabric_clock
from subrow.bitstream.fasm import Feature, parse
from subrow.bitstream.open_tools import OpenTools
from subrow.devices.handoff import handoff
from subrow.devices.simlib import GEN
from subrow.spec import hwconfig
from subrow.spec.errors import ConfigError, MissingTool
from subrow.toolenv import BuildError

HW = hwconfig.load("pynq-z2-open")
REGISTERS = json.loads((GEN / "subrow_regs.json").read_text())
# Of a routed design of 1 DSP: nextpnr's lines of its modes. INMODE is 00100, ALUMODE 0000, OPMODE 01?0101.
RECORDED = """
DSP_R_X25Y110.DSP48.DSP_1.AREG_0
DSP_R_X25Y110.DSP48.DSP_1.USE_DPORT[0]
DSP_R_X25Y110.DSP48.DSP_1.ZALUMODEREG[0]
DSP_R_X25Y110.DSP48.DSP_1.ZINMODEREG[0]
DSP_R_X25Y110.DSP48.DSP_1.ZIS_INMODE_INVERTED[2]
DSP_R_X25Y110.DSP48.DSP_1.ZIS_OPMODE_INVERTED[0]
DSP_R_X25Y110.DSP48.DSP_1.ZIS_OPMODE_INVERTED[2]
DSP_R_X25Y110.DSP48.DSP_1.ZIS_OPMODE_INVERTED[4]
DSP_R_X25Y110.DSP48.DSP_1.ZIS_OPMODE_INVERTED[5]
DSP_R_X25Y110.DSP48.DSP_1.ZOPMODEREG[0]
DSP_R_X25Y110.DSP_1_CEALUMODE.DSP_GND_R
"""


def dsp(**changes: Any) -> dict[str, Any]:
    """A DSP cell as Yosys writes it, with these pins or parameters changed."""
    pins: dict[str, list[Any]] = {"INMODE": ["0", "0", "1", "0", "0"], "ALUMODE": ["0"] * 4,
                                  "OPMODE": ["1", "0", "1", "0", 31, "1", "0"]}  # fmt: skip
    parameters = {"AREG": "0", "BREG": "1", "MREG": "1", "PREG": "1"}
    for name, value in changes.items():
        (pins if name in pins else parameters)[name] = value
    return {"type": "DSP48E1", "parameters": {k: v for k, v in parameters.items() if v}, "connections": pins}


def ram(**widths: int) -> dict[str, Any]:
    return {"type": "RAMB36E1", "parameters": {k: f"{v:b}" for k, v in widths.items()}, "connections": {}}


def test_tie_offs_of_a_recorded_dsp() -> None:
    features = parse(RECORDED.splitlines())
    ties = netlist_faults.tie_offs(features, netlist_faults.check({"d": dsp()}))
    names = {str(f).removeprefix("DSP_R_X25Y110.") for f in ties}
    ones = {"INMODE2"}
    pins = [*(f"INMODE{i}" for i in range(5)), "ALUMODE2", "ALUMODE3", "OPMODE6"]
    assert {n for n in names if n.startswith("DSP_1_")} == {
        f"DSP_1_{pin}.DSP_{'VCC' if pin in ones else 'GND'}_R" for pin in pins}  # fmt: skip
    assert {n for n in names if n.startswith("DSP48")} == {f"DSP48.DSP_1.ZIS_{p[:-1]}_INVERTED[{p[-1]}]" for p in pins}


def test_constants_that_differ_from_the_netlist_are_refused() -> None:
    features = parse(RECORDED.splitlines())
    for cells in ({"d": dsp(INMODE=["0"] * 5)}, {}, {"d": dsp(), "e": dsp()}):
        with pytest.raises(netlist_faults.NetlistError, match="1 DSPs in the FASM"):
            netlist_faults.tie_offs(features, netlist_faults.check(cells))


@pytest.mark.parametrize(("cell", "message"), (
    (dsp(INMODE=["0", 77, "1", "0", "0"]), r"cell x: DSP48E1 pin INMODE\[1\] is driven by logic"),
    (dsp(OPMODE=["0", "0", "0", "0", "0", "0", 5]), r"OPMODE\[6\] is driven"), (dsp(MREG=""), "without parameter MREG"),
    (ram(READ_WIDTH_A=36, WRITE_WIDTH_B=9), "WRITE_WIDTH_B = 9"), (ram(READ_WIDTH_A=1), "READ_WIDTH_A = 1"),
))  # fmt: skip
def test_cells_that_the_tools_get_wrong_are_refused(cell: dict[str, Any], message: str) -> None:
    with pytest.raises(netlist_faults.NetlistError, match=message):
        netlist_faults.check({"x": cell})


def test_other_cells_pass() -> None:
    cells = {"r": ram(READ_WIDTH_A=36, WRITE_WIDTH_B=72, READ_WIDTH_B=0), "o": dsp(OPMODE=[1, 2, 3, 4, 5, 6, "0"]),
             "l": {"type": "LUT6", "parameters": {}, "connections": {}}}  # fmt: skip
    assert netlist_faults.check(cells) == Counter({(False, False, True, False, False, False, False, False): 1})


def test_both_sides_and_both_dsps_are_tied_by_their_own_names() -> None:
    features = [Feature("DSP_L_X1Y5", "DSP48.DSP_0.AREG_0"), Feature("DSP_R_X2Y5", "DSP48.DSP_1.AREG_2")]
    ties = netlist_faults.tie_offs(features, Counter({(False,) * 8: 2}))
    assert {f.name for f in ties if f.tile == "DSP_L_X1Y5"} >= {"DSP_0_OPMODE6.DSP_GND_L"}
    assert {f.name for f in ties if f.tile == "DSP_R_X2Y5"} >= {"DSP_1_OPMODE6.DSP_GND_R"}


# ---- hardware description -------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def tree() -> ElementTree.Element:
    return ElementTree.fromstring(handoff(HW, open_flow.where(HW, PYNQ_Z2)))


def values(module: ElementTree.Element) -> dict[str, str]:
    return {p.get("NAME", ""): p.get("VALUE", "") for p in module.findall("./PARAMETERS/PARAMETER")}


def test_hwh_has_what_pynq_looks_for(tree: ElementTree.Element) -> None:
    assert tree.find("EXTERNALPORTS") is not None and tree.find("EXTERNALINTERFACES") is not None
    info = tree.find("SYSTEMINFO")
    assert info is not None and (info.get("DEVICE"), info.get("PACKAGE")) == ("7z020", "clg400")
    modules = {m.get("MODTYPE"): m for m in tree.iter("MODULE")}
    assert set(modules) == {"subrow_engine", "processing_system7"}
    engine, ps = modules["subrow_engine"], modules["processing_system7"]
    assert engine.get("VLNV") == "subrow:ip:subrow_engine:1.0" and engine.get("FULLNAME") == "/engine"
    ranges = [dict(r.attrib) for r in ps.findall("./MEMORYMAP/MEMRANGE")]
    found = [(r["INSTANCE"], int(r["BASEVALUE"], 16), int(r["HIGHVALUE"], 16), r["SLAVEBUSINTERFACE"]) for r in ranges]
    assert found == [
        ("engine", PYNQ_Z2.register_base, PYNQ_Z2.register_base + PYNQ_Z2.register_bytes - 1, "s_axil")]  # fmt: skip
    nets = {(m.get("INSTANCE"), p.get("NAME")): p.get("SIGNAME") for m in modules.values() for p in m.iter("PORT")}
    assert nets["engine", "irq"] == nets["ps", "IRQ_F2P"] and nets["engine", "clk"] == nets["ps", "FCLK_CLK0"]
    assert values(engine)["HW_HASH"] == f"0x{HW.hash32:08X}"


def test_hwh_has_the_registers(tree: ElementTree.Element) -> None:
    found = {}
    for register in tree.iter("REGISTER"):
        fields = {
            f.get("NAME"): {p.get("NAME"): p.get("VALUE") for p in f.findall("PROPERTY")}
            for f in register.iter("FIELD")
        }
        properties = {p.get("NAME"): p.get("VALUE") for p in register.findall("PROPERTY")}
        found[register.get("NAME")] = (int(properties["ADDRESS_OFFSET"] or -1), {
            n: (int(f["BIT_OFFSET"] or 0), int(f["BIT_WIDTH"] or 0)) for n, f in fields.items()})  # fmt: skip
    assert found == {n: (r["offset"], {f: (e["lsb"], e["width"]) for f, e in r["fields"].items()})
                     for n, r in REGISTERS.items()}  # fmt: skip


def test_hwh_sets_the_clock(tree: ElementTree.Element) -> None:
    ps = next(m for m in tree.iter("MODULE") if m.get("MODTYPE") == "processing_system7")
    clocks = values(ps)
    divisor = int(clocks["PCW_FCLK0_PERIPHERAL_DIVISOR0"]) * int(clocks["PCW_FCLK0_PERIPHERAL_DIVISOR1"])
    assert clocks["PCW_FCLK0_PERIPHERAL_CLKSRC"] == "IO PLL" and 1000 / divisor == HW.mhz
    assert [clocks[f"PCW_FPGA_FCLK{i}_ENABLE"] for i in range(4)] == ["1", "0", "0", "0"]


@pytest.mark.parametrize(
    ("mhz", "source", "made"), ((150.0, "DDR PLL", 150), (100.0, "IO PLL", 100), (142.86, "IO PLL", 142.857))
)
def test_clock_is_divided_from_a_pll(mhz: float, source: str, made: float) -> None:
    clock = fabric_clock(mhz)
    assert clock.source == source and clock.mhz == pytest.approx(made, abs=1e-3) and clock.mhz <= mhz
    assert all(1 <= d <= 63 for d in clock.divisors)


def test_a_clock_that_no_pll_gives_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"clock.mhz = 190.0: the nearest that the board's PLLs give is 185.714 MHz"):
        fabric_clock(190.0)


# ---- messages -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("name", "board", "message"), (
    ("zcu104", ZCU104, "only pynq-z2"), ("pynq-z2", PYNQ_Z2, "memory.weight_bytes = 16.*use pynq-z2-open"),
))  # fmt: skip
def test_what_the_open_flow_cannot_build_is_named(name: str, board: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_flow.files(hwconfig.load(name), board)


def test_missing_tools_say_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(
        MissingTool, match=r"nextpnr-himbaechel-xilinx, prjxray, prjxray-database.*scripts/open_tools.sh"
    ):
        OpenTools(tmp_path).check()


def test_timing_that_fails_names_the_clock() -> None:
    assert open_flow.timing({"fmax": {"clk": {"achieved": 61.5, "constraint": 50}}}, HW) == 61.5
    with pytest.raises(BuildError, match="nextpnr estimates 30.5 MHz .* asks for 31.25 MHz: lower clock.mhz"):
        open_flow.timing({"fmax": {"clk": {"achieved": 30.5}, "other": {"achieved": 80}}}, HW)
    with pytest.raises(BuildError, match="no clock"):
        open_flow.timing({}, HW)


def test_synthesis_reads_the_files_of_the_build() -> None:
    files = {f.path: f for f in open_flow.files(HW, PYNQ_Z2)}
    read = files["open/synthesis.ys"].data.decode().splitlines()[0].split()
    sources = [w for w in read if w.startswith("open/rtl/")]
    assert (
        set(sources) == {p for p in files if p.startswith("open/rtl/")} and "-GConfigHash=32'd" + str(HW.hash32) in read
    )
    assert sources.index("open/rtl/subrow_pkg.sv") == 0
