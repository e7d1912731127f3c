"""The Vivado scripts, run under tclsh in a model of Vivado: files, block design, addresses, widths, clock, failures.

The model (vivado/*.tcl) refuses unknown commands, options, properties and pins, wrong types of pins, open pins,
interfaces without a partner and masters with the wrong address segment; test_a_broken_script_is_refused shows it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from subrow.bitstream import top, vivado
from subrow.devices.registers import VLNV
from subrow.devices.simlib import GEN
from tests.bitstream.recorder import BUILDS, Record, record, run, setting, write_inputs

REGISTERS = json.loads((GEN / "subrow_regs.json").read_text())


@pytest.fixture(scope="module", params=BUILDS)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Record]:
    out = tmp_path_factory.mktemp(request.param)
    return request.param, out, run(request.param, out)


def test_scripts_run_to_the_end(built: tuple[str, Path, Record]) -> None:
    name, out, made = built
    assert made.ok, made.message
    assert made.all("validated") == [()] and made.all("run") == [("synth_1",), ("impl_1",)]
    assert {p.path for p in vivado.products()} <= {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()}
    assert not list(out.rglob("*.part")), "a result was left half-made"


def test_every_file_that_is_read_exists_and_is_one_of_the_build(built: tuple[str, Path, Record]) -> None:
    name, out, made = built
    files = {Path(path) for (path,) in made.all("file")}
    sources = {p.resolve() for p in (out / "vivado" / "rtl").iterdir()}
    assert sources <= files and (out / "vivado" / "constraints.xdc").resolve() in files
    assert all(path.is_relative_to(out.resolve()) for path in files)


def test_widths_are_those_of_the_hwconfig(built: tuple[str, Path, Record]) -> None:
    name, _, made = built
    hw, board = setting(name)
    faces = {face: (mode, protocol, int(bits)) for face, mode, protocol, bits, _ in made.all("face")}
    weights = board.weight_ports_of(hw)
    assert len(weights) * board.port_bytes == max(hw.weight_bytes, board.port_bytes)
    assert faces == {
        "s_axil": ("slave", "AXI4LITE", 32), "m_axi_act": ("master", "AXI4", 8 * hw.act_port_bytes),
        **{f"m_axi_wgt{i}": ("master", "AXI4", 8 * hw.weight_bytes) for i in range(len(weights))},
    }  # fmt: skip
    assert ("project:", "part", hw.part) in [("project:", "part", p[0]) for p in made.all("part")]
    widths = {key: value for cell, key, value in made.all("config") if key.endswith("DATA_WIDTH")}
    assert set(widths.values()) == {str(8 * board.port_bytes)} and len(widths) == 1 + len(weights)


def test_clock_is_that_of_the_hwconfig(built: tuple[str, Path, Record]) -> None:
    name, _, made = built
    hw, _ = setting(name)
    keys = r"FPGA0_PERIPHERAL_FREQ|PL0_REF_CTRL__FREQ"
    asked = [float(value) for _, key, value in made.all("config") if re.search(keys, key)]
    assert asked == [hw.mhz]
    drivers = {source for source, _, kind in made.all("net") if kind == "clock"}
    assert len(drivers) == 1, "there is one clock"


def test_everything_is_connected_with_its_own_kind(built: tuple[str, Path, Record]) -> None:
    name, _, made = built
    hw, board = setting(name)
    nets = {sink: (source, kind) for source, sink, kind in made.all("net")}
    assert nets["engine/rst_n"] == ("reset/peripheral_aresetn", "reset_low")
    interrupts = [(source, sink) for source, sink, kind in made.all("net") if kind == "interrupt"]
    assert len(interrupts) == 1 and interrupts[0][0] == "engine/irq" and interrupts[0][1].startswith("ps/")
    cells = dict(made.all("cell"))
    assert cells["engine"] == VLNV
    ports = {to for _, to in made.all("intf") if to.startswith("ps/")}
    assert ports == {f"ps/{p.name}" for p in (board.act_port, *board.weight_ports_of(hw))}


def test_addresses_are_those_of_the_driver(built: tuple[str, Path, Record]) -> None:
    name, _, made = built
    hw, board = setting(name)
    spaces = {space: (segment, int(offset, 16), int(size, 16)) for space, segment, offset, size in made.all("address")}
    assert spaces.pop("ps/Data") == ("engine/s_axil/reg0", board.register_base, board.register_bytes)
    assert set(spaces) == {f"engine/{m}" for m in ("m_axi_act", *top.weight_names(len(board.weight_ports_of(hw))))}
    assert {v[1:] for v in spaces.values()} == {(0, board.memory_bytes)}
    table: dict[str, dict[str, str]] = {}
    for thing, key, value in made.all("property"):
        if thing.startswith("register:"):
            table.setdefault(thing.removeprefix("register:"), {})[key] = value
    assert {n: int(r["address_offset"], 16) for n, r in table.items()} == {n: r["offset"] for n, r in REGISTERS.items()}
    assert max(int(r["address_offset"], 16) for r in table.values()) < 1 << top.REGISTER_BITS <= board.register_bytes
    read_only = {n for n, r in REGISTERS.items() if {f["access"] for f in r["fields"].values()} == {"ro"}}
    assert {n for n, r in table.items() if r["access"] == "read-only"} == read_only


def test_the_board_file_is_used_where_vivado_has_it(tmp_path: Path) -> None:
    without = run("pynq-z2", tmp_path / "without")
    file = "tul.com.tw:pynq-z2:part0:1.0"
    there = run("pynq-z2", tmp_path / "there", boards=file)
    assert without.ok and there.ok
    assert ("project:", "board_part", file) in there.all("property")
    keys = {key for _, key, _ in without.all("config")} - {key for _, key, _ in there.all("config")}
    assert "PCW_UIPARAM_DDR_BUS_WIDTH" in keys, "without a board file the DDR is set by hand"
    assert ("ps", "PCW_UIPARAM_DDR_BUS_WIDTH", "16 Bit") in without.all("config")


def test_without_its_board_file_the_zcu104_is_refused(tmp_path: Path) -> None:
    made = run("zcu104", tmp_path, boards="")
    assert not made.ok and "board file xilinx.com:zcu104:part0:1.1 not found" in made.message and "xhub" in made.message


@pytest.mark.parametrize(("version", "word"), (
    ("2021.2", "too old"), ("2022.1", None), ("2025.2", None), ("2025.2.1", None), ("2026.1", "WARNING"),
))  # fmt: skip
def test_versions_of_vivado(version: str, word: str | None, tmp_path: Path) -> None:
    made = run("pynq-z2", tmp_path, version=version)
    assert made.ok == (word != "too old")
    assert (word or "subrow: results") in made.message
    assert ("WARNING" in made.message) == (word == "WARNING")


def test_negative_slack_fails_and_leaves_no_bitstream(tmp_path: Path) -> None:
    made = run("pynq-z2", tmp_path, slack=-0.123)
    assert not made.ok and "setup slack -0.123 ns at 150.0 MHz" in made.message and "clock.mhz" in made.message
    assert (tmp_path / "reports" / "timing.rpt").is_file() and not list(tmp_path.glob("subrow.*"))


def test_a_failed_run_names_its_log_and_the_next_run_goes_on_there(tmp_path: Path) -> None:
    made = run("pynq-z2", tmp_path, fail="impl_1")
    assert not made.ok and "impl_1: route_design ERROR; its log: " in made.message and "runme.log" in made.message
    again = record(tmp_path, {})
    assert again.ok and again.all("run") == [("impl_1",)] and "subrow: synthesis is done" in again.message
    settled = record(tmp_path, {})
    assert settled.ok and settled.all("run") == []
    settings = tmp_path / "vivado" / "settings.tcl"
    settings.write_text(re.sub(r"set cfg\(digest\) .*", "set cfg(digest) other", settings.read_text()))
    assert record(tmp_path, {}).all("run") == [("synth_1",), ("impl_1",)], "other settings: everything again"


BREAKS = {
    "a pin is left open": ("design.tcl", "    clock_pin engine/clk\n", "", "engine/clk.*is not connected"),
    "no interrupt": ("design.tcl", "    connect_bd_net [get_bd_pins engine/irq] [get_bd_pins ps/$ps(irq)]\n", "",
                     "IRQ_F2P .interrupt. is not connected"),
    "reset on a clock": ("design.tcl", "reset/peripheral_aresetn] [get_bd_pins engine/rst_n",
                         "ps/FCLK_CLK0] [get_bd_pins engine/rst_n", "engine/rst_n is reset_low, ps/FCLK_CLK0 is clock"),
    "wrong polarity": ("design.tcl", "reset/peripheral_aresetn]", "reset/peripheral_reset]",
                       "is reset_low.*is reset_high"),
    "no clock at a port": ("design.tcl", "    clock_pin ps/$clock\n", "", "S_AXI_HP0_ACLK.*is not connected"),
    "registers not reached": ("design.tcl", "    connect_through registers ps/$ps(gp) engine/s_axil\n", "",
                              "interface (ps/M_AXI_GP0|engine/s_axil) is not connected"),
    "slave to slave": ("design.tcl", "engine/$master ps/$port", "ps/$port engine/$master", "is no (master|slave)"),
    "no address": ("design.tcl", "    assign_bd_address -offset $cfg(register_base)",
                   "    list -offset $cfg(register_base)", "ps/Data has no address segment"),
    "another port's memory": ("settings.tcl", "{S_AXI_HP1/HP1_DDR_LOWOCM}", "{S_AXI_HP0/HP0_DDR_LOWOCM}",
                              "wgt0 is assigned ps/S_AXI_HP0/HP0_DDR_LOWOCM, but engine/m_axi_wgt0 reaches .*HP1"),
    "a port twice": ("settings.tcl", "{m_axi_wgt1} {S_AXI_HP2} {S_AXI_HP2_ACLK} {S_AXI_HP2/HP2_DDR_LOWOCM}",
                     "{m_axi_wgt1} {S_AXI_HP1} {S_AXI_HP1_ACLK} {S_AXI_HP1/HP1_DDR_LOWOCM}", "exists|is driven"),
    "unaligned window": ("settings.tcl", "register_range {0x10000}", "register_range {0x30000}", "not a power of two"),
    "wrong clock": ("settings.tcl", "clock_source {DDR PLL}", "clock_source {IO PLL}", "gives 142.857143 MHz.*150.0"),
    "no such PLL": ("settings.tcl", "clock_source {DDR PLL}", "clock_source {USB PLL}", "USB PLL is not legal"),
    "illegal width": ("settings.tcl", "port_bits {64}", "port_bits {128}", "DATA_WIDTH = 128 is not legal"),
    "unknown property": ("board.tcl", "CONFIG.PCW_USE_FABRIC_INTERRUPT", "CONFIG.PCW_USE_INTERRUPT", "no parameter"),
    "unknown IP": ("design.tcl", "proc_sys_reset:5.0", "proc_sys_reset:4.9", "no IP"),
    "unknown option": ("implement.tcl", "launch_runs $run -to_step $step", "launch_runs $run -to $step",
                       "unknown option '-to'"),
    "unknown command": ("design.tcl", "    validate_bd_design\n", "    check_bd_design\n", "invalid command name"),
    "missing source": ("settings.tcl", "{rtl/subrow_lane.sv}", "{rtl/subrow_line.sv}", "no file .*subrow_line.sv"),
    "missing constraints": ("settings.tcl", "{constraints.xdc}", "{other.xdc}", "no file .*other.xdc"),
    "SystemVerilog top": ("settings.tcl", "top {subrow_top}", "top {subrow_engine}", "must be Verilog"),
    "narrow data": ("rtl/subrow_top.v", "DATA_WIDTH 128", "DATA_WIDTH 64", "128 bits, DATA_WIDTH 64"),
    "interface off the clock": ("rtl/subrow_top.v", "s_axil:m_axi_act:", "s_axil:", "m_axi_act has no clock"),
    "implementation first": ("build.tcl", "step synthesis {synthesise [file join $work project]}\n", "",
                             "before synth_1"),
}  # fmt: skip


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_script_is_refused(name: str, tmp_path: Path) -> None:
    file, old, new, message = BREAKS[name]
    write_inputs("pynq-z2", tmp_path)
    path = tmp_path / "vivado" / file
    text = path.read_text()
    assert old in text, f"{file} has no {old!r}"
    path.write_text(text.replace(old, new))
    made = record(tmp_path, {})
    assert not made.ok, f"{name}: the model accepts it"
    assert re.search(message, made.message), made.message
