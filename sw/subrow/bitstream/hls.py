"""What Vitis HLS makes an IP of: the engine in HLS C++ with a HwConfig's header, and the script that builds it.

The IP is a second implementation with registers of its own, not those of hw/regs, so no bitstream is made of it here.
"""

from __future__ import annotations

from pathlib import Path

from subrow.bitstream.boards import Board
from subrow.bitstream.folder import File, Product
from subrow.devices.hlslib import ISA_HEADER, config_header, sources
from subrow.spec.hwconfig import HwConfig
from subrow.toolenv import REPO_ROOT, find_tool, run_logged

COMMAND = "vitis_hls -f hls/build.tcl"
ORIGIN = "Vitis HLS"
IP = "subrow_hls_ip.zip"
EMULATOR_ONLY = ("capi.cpp", "capi.h")


def script(hw: HwConfig, board: Board) -> str:
    """The Tcl that synthesises the kernel for the board's part and clock and exports it as an IP."""
    return "\n".join([
        f"# HwConfig {hw.name}: the engine in HLS C++ as an IP. Generated; run `{COMMAND}` in the folder above.",
        "open_project -reset hls/work", "set_top subrow_engine", 'add_files hls/src/engine.cpp -cflags "-std=c++17"',
        "open_solution -reset solution -flow_target vivado", f"set_part {board.part}",
        f"create_clock -period {1000 / hw.mhz:.3f} -name default", "csynth_design",
        f"export_design -format ip_catalog -vendor subrow -library hls -output {IP}", "exit", "",
    ])  # fmt: skip


def files(hw: HwConfig, board: Board) -> list[File]:
    """Everything that Vitis HLS reads."""
    copies = [p for p in sources() if p.name not in EMULATOR_ONLY]
    result = [File(f"hls/src/{p.name}", p.read_bytes(), str(p.relative_to(REPO_ROOT))) for p in copies]
    assert any(p == ISA_HEADER for p in copies)
    generated = f"generated from HwConfig {hw.name}"
    result.append(File("hls/src/config.h", config_header(hw).encode(), generated))
    result.append(File("hls/build.tcl", script(hw, board).encode(), generated))
    return result


def products() -> list[Product]:
    """Everything that Vitis HLS makes for the user."""
    return [Product(IP, COMMAND, ORIGIN)]


def run(out: Path) -> None:
    """Run Vitis HLS in the folder, its output in out/hls/vitis_hls.log. Raises MissingTool, BuildError with its end."""
    run_logged([find_tool("vitis_hls"), "-f", "hls/build.tcl"], out.absolute() / "hls" / "vitis_hls.log", cwd=out)
