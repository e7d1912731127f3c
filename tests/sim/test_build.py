"""sim/common/build.py on a small counter: both kinds of build, their caches, their failures."""

from __future__ import annotations

import ctypes
import multiprocessing
import time
from pathlib import Path

import pytest

from sim.common.build import BenchFailed, build_bench, parameter_names, port_names, run_bench
from subrow.devices.verilate import verilate_shared
from subrow.toolenv import BuildError, MissingTool, find_tool, tool_env

pytestmark = pytest.mark.verilator

COUNTER = """
module counter #(parameter int unsigned Width = 8) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic             en_i,
  output logic [Width-1:0] count_o
);
  logic [Width-1:0] count_q;
  assign count_o = count_q;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) count_q <= '0;
    else if (en_i) count_q <= count_q + 1'b1;
  end
endmodule
"""

BENCH = """
import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge

async def reset(dut):
    cocotb.start_soon(Clock(dut.clk_i, 10, "ns", impl="gpi").start())
    dut.rst_ni.value = 0
    dut.en_i.value = 0
    await ClockCycles(dut.clk_i, 2)
    await FallingEdge(dut.clk_i)
    dut.rst_ni.value = 1

@cocotb.test()
async def counts(dut):
    await reset(dut)
    dut.en_i.value = 1
    await ClockCycles(dut.clk_i, 20)
    await FallingEdge(dut.clk_i)
    assert dut.count_o.value.to_unsigned() == 20 % (1 << len(dut.count_o))

@cocotb.test()
async def inner_signals_are_not_published(dut):
    assert not hasattr(dut, "count_q")
"""

FAILING = BENCH.replace("20 %", "21 %")

HARNESS = """
#include "Vcounter.h"
#include "verilated.h"
extern "C" unsigned run(unsigned cycles) {
    VerilatedContext context;
    Vcounter top(&context);
    for (unsigned t = 0; t < cycles + 1; ++t) {
        top.rst_ni = t != 0;
        top.en_i = 1;
        top.clk_i = 0; top.eval();
        top.clk_i = 1; top.eval();
    }
    return top.count_o;
}
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "counter.sv"
    path.write_text(COUNTER)
    (tmp_path / "bench_counter.py").write_text(BENCH)
    (tmp_path / "bench_failing.py").write_text(FAILING)
    (tmp_path / "harness.cpp").write_text(HARNESS)
    return path


def test_bench_builds_once_and_passes(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "of the caller"))  # must not hide the bench
    bench = build_bench("counter", [source], {"Width": 4}, tmp_path / "build")
    binary = bench.directory / "counter"
    first = binary.stat().st_mtime_ns
    results = run_bench(bench, "bench_counter", python_path=[tmp_path], seed=3)
    assert results.is_file()
    build_bench("counter", [source], {"Width": 4}, tmp_path / "build")
    assert binary.stat().st_mtime_ns == first, "an unchanged bench was built again"
    source.write_text(COUNTER + "// changed\n")
    build_bench("counter", [source], {"Width": 4}, tmp_path / "build")
    assert binary.stat().st_mtime_ns != first, "a changed source was not built again"


def test_failing_bench_tells_seed_replay_and_waves(source: Path, tmp_path: Path) -> None:
    bench = build_bench("counter", [source], {"Width": 5}, tmp_path / "build")
    with pytest.raises(BenchFailed) as caught:
        run_bench(bench, "bench_failing", python_path=[tmp_path], seed=11)
    text = str(caught.value)
    assert "seed 11" in text and "--seed 11" in text and "counts" in text and "AssertionError" in text
    waves = Path(next(line for line in text.splitlines() if line.startswith("waves: ")).removeprefix("waves: "))
    assert waves.stat().st_size > 0


def test_bench_without_tests_fails(source: Path, tmp_path: Path) -> None:
    (tmp_path / "bench_empty.py").write_text("import cocotb\n")
    bench = build_bench("counter", [source], None, tmp_path / "build")
    with pytest.raises(BenchFailed):
        run_bench(bench, "bench_empty", python_path=[tmp_path], seed=1, waves_on_failure=False)


def test_bench_that_hangs_is_stopped(source: Path, tmp_path: Path) -> None:
    (tmp_path / "bench_hangs.py").write_text(
        "import cocotb, time\n@cocotb.test()\nasync def hangs(dut):\n    time.sleep(60)\n"
    )
    bench = build_bench("counter", [source], None, tmp_path / "build")
    with pytest.raises(BenchFailed, match="no end within 2 s"):
        run_bench(bench, "bench_hangs", python_path=[tmp_path], seed=1, timeout_s=2, waves_on_failure=False)


def test_broken_source_shows_the_compilers_words(source: Path, tmp_path: Path) -> None:
    source.write_text(COUNTER.replace("1'b1;", "nonsense;"))
    with pytest.raises(BuildError, match="nonsense"):
        build_bench("counter", [source], None, tmp_path / "build")
    with pytest.raises(BuildError, match="nonsense"):
        verilate_shared("counter", [source], tmp_path / "harness.cpp", tmp_path / "libcounter.so")


def test_shared_library_counts_and_is_cached(source: Path, tmp_path: Path) -> None:
    def build(width: int) -> Path:
        return verilate_shared(
            "counter", [source], tmp_path / "harness.cpp", tmp_path / "libcounter.so", params={"Width": width}
        )

    library = build(8)
    assert ctypes.CDLL(str(library)).run(300) == 300 % 256
    first = library.stat().st_mtime_ns
    assert build(8).stat().st_mtime_ns == first, "an unchanged library was built again"
    assert ctypes.CDLL(str(build(4))).run(20) == 4, "a changed parameter was not built"


def _ask(arguments: tuple[str, str, str]) -> int:
    source, harness, out = arguments
    return ctypes.CDLL(str(verilate_shared("counter", [source], harness, out))).run(5)


def test_two_processes_may_ask_for_one_library(source: Path, tmp_path: Path) -> None:
    arguments = (str(source), str(tmp_path / "harness.cpp"), str(tmp_path / "libshared.so"))
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(_ask, [arguments] * 2, chunksize=1) == [5, 5]


def test_a_killed_build_is_made_again(source: Path, tmp_path: Path) -> None:
    """Killed with Verilator or g++ at work: nothing has the library's name, and the next call builds it."""
    arguments = (str(source), str(tmp_path / "harness.cpp"), str(tmp_path / "libkilled.so"))
    process = multiprocessing.get_context("spawn").Process(target=_ask, args=(arguments,))
    process.start()
    end = time.monotonic() + 120
    while not any(p.stat().st_size for p in tmp_path.glob("libkilled*.part.obj/build.log")):
        assert process.is_alive() and time.monotonic() < end
        time.sleep(0.01)
    process.kill()
    process.join()
    assert not list(tmp_path.glob("libkilled-*.so"))
    assert _ask(arguments) == 5
    assert len(list(tmp_path.glob("libkilled-*.so"))) == 1


def test_port_names(source: Path) -> None:
    assert port_names(source, "counter") == ["clk_i", "rst_ni", "en_i", "count_o"]
    with pytest.raises(BuildError, match="module other is not declared"):
        port_names(source, "other")


def test_parameter_names(source: Path) -> None:
    assert parameter_names(source, "counter") == ["Width"]
    source.write_text(COUNTER.replace("#(parameter int unsigned Width = 8)",
                                      "#(parameter int A = 1, B = 2, localparam int Width = A)"))
    assert parameter_names(source, "counter") == ["A", "B"]


def test_missing_tool_says_what_to_do() -> None:
    with pytest.raises(MissingTool, match="no-such-tool.*not found on PATH"):
        find_tool("no-such-tool")


def test_environment_does_not_leak_an_outer_make(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAKEFLAGS", "-j2 --jobserver-auth=3,4 -- ARGS=-x")
    monkeypatch.setenv("MAKELEVEL", "1")
    env = tool_env()
    assert env["MAKEFLAGS"] == "CFG_CXXFLAGS_PCH_I=-include" and "MAKELEVEL" not in env
