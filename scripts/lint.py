"""Everything `make lint` checks: Python (ruff, mypy), RTL (Verilator -Wall, Verible), C++ (clang-format).

A kind of source that does not exist yet is skipped. `--fix` rewrites what the formatters can. Exit status 1 when
anything is wrong; every tool runs, so that one run shows all.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "sw"))

from subrow.spec.errors import MissingTool  # noqa: E402
from subrow.toolenv import find_tool, tool_env  # noqa: E402

CLANG_STYLE = "{BasedOnStyle: Google, ColumnLimit: 120}"
VERIBLE_RULES = ",".join([
    "line-length=length:120",
    "-unpacked-dimensions-range-ordering",
    "-parameter-name-style",  # derived localparams of packages follow the tables in sw/subrow/spec
])


def _run(label: str, command: list[str | Path]) -> bool:
    done = subprocess.run([str(c) for c in command], cwd=ROOT, env=tool_env(), capture_output=True, text=True,
                          check=False)
    print(f"{'ok  ' if done.returncode == 0 else 'FAIL'} {label}")
    if done.returncode != 0:
        print((done.stdout + done.stderr).rstrip())
    return done.returncode == 0


def _python(fix: bool) -> bool:
    ruff = _run("ruff", [sys.executable, "-m", "ruff", "check", *(["--fix"] if fix else []), "."])
    return _run("mypy", [sys.executable, "-m", "mypy"]) and ruff


def _rtl(_fix: bool) -> bool:
    """Each module of hw/rtl and hw/boards/rtl as a top of its own; then Verible on what is hand-written."""
    gen, rtl, boards = ROOT / "hw" / "gen", ROOT / "hw" / "rtl", ROOT / "hw" / "boards" / "rtl"
    modules = [*sorted(rtl.glob("**/*.sv")), *sorted(boards.glob("*.sv"))]
    waivers = [*sorted(gen.glob("*.vlt")), *sorted(rtl.glob("*.vlt"))]
    packages = sorted(p for p in [*gen.glob("*_pkg.sv"), *modules] if p.stem.endswith("_pkg"))
    folders = [word for d in sorted({gen, rtl, *(m.parent for m in modules)}) for word in ("-y", str(d))]
    good = True
    for top in [*(m for m in modules if m not in packages), gen / "subrow_regs.sv"]:
        command: list[str | Path] = [find_tool("verilator"), "--lint-only", "-Wall", "--quiet", *folders,
                                     "-Wno-UNUSEDPARAM",  # packages hold more than any one module uses
                                     *waivers, *packages, top, "--top-module", top.stem]
        good &= _run(f"verilator {top.relative_to(ROOT)}", command)
    if modules:
        good &= _run("verible-lint", [find_tool("verible-verilog-lint"), f"--rules={VERIBLE_RULES}", *modules])
    return good


def _cpp(fix: bool) -> bool:
    files = sorted(p for d in ("hw/hls", "sim") for e in ("h", "hpp", "cpp") for p in (ROOT / d).rglob(f"*.{e}"))
    tool = [str(find_tool("clang-format")), f"--style={CLANG_STYLE}"] if files else []
    bad = []
    for path in files:
        done = subprocess.run([*tool, *(["-i"] if fix else []), str(path)], capture_output=True, check=False)
        if done.returncode != 0 or not fix and done.stdout != path.read_bytes():
            bad.append(str(path.relative_to(ROOT)))
    if files:
        print(f"{'FAIL' if bad else 'ok  '} clang-format")
    if bad:
        print(f"not formatted: {', '.join(bad)}: run `{Path(sys.executable).name} scripts/lint.py --fix`")
    return not bad


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fix", action="store_true", help="let ruff and the formatters rewrite the files")
    fix = parser.parse_args().fix
    good = True
    for check in (_python, _rtl, _cpp):
        try:
            good &= check(fix)
        except MissingTool as error:
            print(f"FAIL {error}")
            good = False
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
