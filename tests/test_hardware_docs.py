"""hw/README.md says what is there: every module with its bench, error codes, state dump; hw/gen is fresh."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from sim.common.units import BENCHES, BOARD_RTL, GEN, PARTS, RTL, bench_module
from subrow.toolenv import REPO_ROOT, tool_env

README = (REPO_ROOT / "hw" / "README.md").read_text()
ENGINE = (RTL / "subrow_engine.sv").read_text()
MODULES = sorted(p.stem for folder in (RTL, BOARD_RTL) for p in folder.glob("*.sv"))
ROW = re.compile(r"^\| `(subrow_\w+)` \| (.+?) \| (.+?) \| (.+?) \|$", re.M)
ROWS = {m[1]: (m[2], m[3], m[4]) for m in ROW.finditer(README)}


def benches_of(module: str) -> list[str]:
    return re.findall(r"`(test_\w+)`", ROWS[module][1])


def inside(top: str) -> set[str]:
    """Modules in a bench, its top among them."""
    return {f"subrow_{p}" for p in (top, *PARTS[top])} | ({"subrow_regs"} if "ctrl" in PARTS[top] else set())


def test_one_row_per_module() -> None:
    assert set(ROWS) == {*MODULES, "subrow_regs"}
    assert len(ROW.findall(README)) == len(ROWS), "a module has two rows"


@pytest.mark.parametrize("module", [*MODULES, "subrow_regs"])
def test_the_named_benches_contain_the_module(module: str) -> None:
    benches = benches_of(module)
    assert benches, f"{module} has no bench"
    for bench in benches:
        assert (BENCHES / f"{bench}.py").is_file(), f"{bench} does not exist"
        tops = [top for top in PARTS if bench_module(top) == bench]
        assert any(module in inside(top) for top in tops), f"{bench} does not contain {module}"
        own = any(module == f"subrow_{top}" for top in tops)
        assert own != ROWS[module][1].startswith("covered by"), f"{module}: covered, or with a bench of its own?"


def test_every_bench_is_named() -> None:
    named = {bench for module in ROWS for bench in benches_of(module)}
    assert named == {p.stem for p in BENCHES.glob("test_*.py")}


def test_status_names_the_hls_header() -> None:
    headers = {m[1] for _, _, status in ROWS.values() for m in re.finditer(r"`(\w+\.h)`", status)}
    described = {f"{m.removeprefix('subrow_')}.h" for m in ROWS} & {p.name for p in (REPO_ROOT / "hw/hls").glob("*.h")}
    assert headers == described


def test_error_codes_are_those_of_the_control_unit() -> None:
    table = dict(re.findall(r"^\| (\d) \| (\w+)", README.split("## Errors")[1].split("| port")[0], re.M))
    source = (RTL / "subrow_ctrl.sv").read_text()
    found = re.findall(r"Error(Opcode|Axi|Watchdog|Bounds) = 8'd(\d)", source)
    codes = {int(code): name.lower() for name, code in found}
    words = {"illegal": "opcode", "AXI": "axi", "watchdog": "watchdog", "address": "bounds"}
    assert {int(code): words[word] for code, word in table.items()} == codes
    errors = re.search(r"\.axi_error_i\(\{(.+?)\}\)", ENGINE)
    assert errors is not None
    ports = dict(re.findall(r"^\| (\d) \| (\w+)", README.split("| port in")[1].split("## ")[0], re.M))
    order = [name.strip() for name in errors[1].split(",")][::-1]
    assert order == ["act_read_error", "wgt_read_error", "write_error"]
    assert ports == {"0": "activation", "1": "weight", "2": "writes"}


def state_fields(low: int) -> list[str]:
    """Signals of one STATE register, lowest bits first."""
    text = re.search(rf"state_live\[{low + 31}:{low}\] = \{{(.+?)\}};", ENGINE, re.S)
    assert text is not None
    return [re.sub(r"\[7:0\]", "", name).strip() for name in text[1].split(",")][::-1]


def test_state_dump_is_that_of_the_engine() -> None:
    table = README.split("`STATE0`, one")[1]
    cells = {int(bit): name for bit, name in re.findall(r"\| (\d+) \| `(\w+)` (?=\|)", table)}
    assert [cells[bit] for bit in range(32)] == state_fields(0)
    for register in (1, 2, 3):
        names = re.findall(rf"^\| `STATE{register}` \| [\d:]+ \| `(.+?)`", README, re.M)
        assert names == state_fields(32 * register)


def test_generated_files_are_fresh() -> None:
    done = subprocess.run([sys.executable, str(REPO_ROOT / "scripts" / "gen.py"), "--check"], capture_output=True,
                          text=True, env=tool_env(), check=False)
    assert done.returncode == 0, done.stderr
    assert GEN.is_dir()
