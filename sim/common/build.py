"""Builds Verilated RTL as a cocotb bench, and runs it.

Contract: a build is repeated only when a source's content, a parameter, a flag or a tool has changed; several
processes may ask for the same build at once; failures raise with the end of the log.

    bench = build_bench("counter", ["hw/rtl/counter.sv"], {"Width": 8})
    run_bench(bench, "bench_counter", python_path=[Path("sim/counter")], seed=7)
"""

from __future__ import annotations

import functools
import os
import random
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from subrow.devices.verilate import PathLike, headers, source_paths, sv_literal, verilator_version
from subrow.spec.errors import SubrowError
from subrow.toolenv import (
    OUTER_MAKE_VARIABLES,
    REPO_ROOT,
    BuildError,
    file_lock,
    find_tool,
    source_digest,
    tool_env,
)

BUILD_DIR = REPO_ROOT / "build" / "sim"


class BenchFailed(SubrowError):
    """A bench ran and a check in it failed, or it did not end."""


@dataclass(frozen=True)
class Bench:
    """A built simulator for cocotb; `run_bench` runs it."""

    top: str  # module that cocotb sees
    directory: Path
    waves: bool
    traced: Callable[[], Bench]  # builds the same with waves, for a run that failed


def _header(source: Path, module: str) -> tuple[Any, Any]:
    """Syntax of a module's header, without elaboration, and the tree that must outlive it.

    Raises BuildError when the file does not declare the module.
    """
    from pyslang import syntax

    tree = syntax.SyntaxTree.fromText(source.read_text(encoding="utf-8"))  # fromFile keeps what it read before
    for member in [tree.root] if hasattr(tree.root, "header") else getattr(tree.root, "members", ()):
        header = getattr(member, "header", None)
        if header is not None and header.name.valueText == module:
            return header, tree
    raise BuildError(f"module {module} is not declared in {source}")


def port_names(source: Path, module: str) -> list[str]:
    """Names of a module's ANSI ports."""
    header, _tree = _header(source, module)
    ports = getattr(header.ports, "ports", [])
    names = [p.declarator.name.valueText for p in ports if hasattr(p, "declarator")]
    if not names:
        raise BuildError(f"module {module} in {source} has no ANSI ports: cocotb would see nothing")
    return names


def parameter_names(source: Path, module: str) -> list[str]:
    """Names of the parameters in a module's header; localparams are not among them."""
    header, _tree = _header(source, module)
    found = []
    for declaration in getattr(header.parameters, "declarations", []):
        if hasattr(declaration, "declarators") and declaration.keyword.valueText == "parameter":
            found += [d.name.valueText for d in declaration.declarators if hasattr(d, "name")]
    return found


def _find_module(sources: Sequence[Path], module: str) -> Path:
    for path in sources:
        if path.stem == module:
            return path
    raise BuildError(f"no source file named {module}.sv among {', '.join(p.name for p in sources)}")


# ---- cocotb ---------------------------------------------------------------------------------------------------------
def _runner(timeout_s: float | None = None, env: Mapping[str, str] | None = None):
    """cocotb's Verilator runner with our tools, environment and time limit (it has no hook for them)."""
    from cocotb_tools.runner import Verilator

    class Runner(Verilator):
        def _simulator_in_path_build_only(self) -> None:
            self.executable = str(find_tool("verilator"))

        def _set_env_common(self) -> None:
            super()._set_env_common()
            libs = self.env["PATH"].rsplit(os.pathsep, 1)[1]
            for name in OUTER_MAKE_VARIABLES:
                self.env.pop(name, None)
            ours = tool_env()
            ours.pop("PYTHONPATH", None)  # the runner has put the benches into its own
            self.env.update(ours, PATH=ours["PATH"] + os.pathsep + libs, PYTHONHASHSEED="0")
            self.env.update(env or {})

        def _get_sim_cmd_prefix(self) -> list[str]:
            return [] if timeout_s is None else ["timeout", "-k", "5", str(timeout_s)]

    return Runner()


def build_bench(
    top: str,
    sources: Sequence[PathLike],
    parameters: Mapping[str, object] | None = None,
    build_dir: PathLike = BUILD_DIR,
    toplevel_wrapper: PathLike | None = None,
    *,
    defines: Mapping[str, object] | None = None,
    includes: Sequence[PathLike] = (),
    waves: bool = False,
    verilator_args: Sequence[str] = (),
) -> Bench:
    """Build `top` for cocotb in a folder of `build_dir` that belongs to this top and these parameters.

    sources: packages first, .vlt control files anywhere; the top's file is named after it.
    toplevel_wrapper: an SV file, named after its module, that instantiates `top`; cocotb then sees its ports.
    Only the ports of the module that cocotb sees are published: anything else stays optimised, and invisible.
    """
    params, defs = dict(parameters or {}), dict(defines or {})
    files = source_paths([*sources, *([toplevel_wrapper] if toplevel_wrapper else [])])
    dirs = [Path(d).resolve() for d in includes]
    seen = Path(toplevel_wrapper).stem if toplevel_wrapper else top
    args = [
        "--no-public-flat-rw", "--assert", "-O3", "--x-assign", "unique", "--x-initial", "unique",
        "--output-split", "0",  # one file: otherwise precompiled headers cost more than the model
        *(["--trace-structs"] if waves else []),
        "-CFLAGS", "-O2", *verilator_args,
    ]
    variant = source_digest([], seen, sorted(params.items()), sorted(defs.items()), waves, args)[:8]
    directory = Path(build_dir).resolve() / f"{seen}-{variant}"
    digest = source_digest([*files, *headers(dirs)], args, [str(d) for d in dirs], verilator_version(), sys.version)
    traced = functools.partial(
        build_bench, top, sources, params, build_dir, toplevel_wrapper, defines=defs, includes=includes, waves=True,
        verilator_args=verilator_args,
    )
    bench = Bench(seen, directory, waves, traced)
    stamp = directory / "subrow.digest"
    with file_lock(directory.with_name(directory.name + ".lock")):
        if stamp.is_file() and stamp.read_text(encoding="utf-8") == digest:
            return bench
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        control = directory / "ports.vlt"
        lines = [f'public_flat_rw -module "{seen}" -var "{p}"' for p in port_names(_find_module(files, seen), seen)]
        control.write_text("`verilator_config\n" + "\n".join(lines) + "\n", encoding="utf-8")
        log = directory / "build.log"
        try:
            _runner().build(
                sources=[control, *(f for f in files if f.suffix == ".vlt"), *(f for f in files if f.suffix != ".vlt")],
                includes=dirs, defines=defs, parameters={k: sv_literal(v) for k, v in params.items()},
                hdl_toplevel=seen, build_args=args, build_dir=directory, waves=waves, timescale=("1ns", "1ps"),
                log_file=log,
            )
        except RuntimeError as error:
            raise BuildError(f"building bench {seen}: {error}; end of {log}:\n{_tail(log)}") from None
        stamp.write_text(digest, encoding="utf-8")
    return bench


def _tail(log: Path, lines: int = 60) -> str:
    if not log.is_file():
        return "(no log)"
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def _verdict(results: Path, exit_text: str) -> str:
    """Empty when every test of a results file passed, at least one ran and the simulator ended well."""
    cases = list(ElementTree.parse(results).getroot().iter("testcase")) if results.is_file() else []
    failed = [c.get("name", "?") for c in cases if c.find("failure") is not None or c.find("error") is not None]
    if failed:
        return f"{len(failed)} of {len(cases)} tests failed: {', '.join(failed)}"
    if exit_text:
        return exit_text
    return "" if any(c.find("skipped") is None for c in cases) else "no test ran"


def run_bench(
    bench: Bench,
    test_module: str,
    *,
    python_path: Sequence[PathLike] = (),
    seed: int | None = None,
    testcase: str | Sequence[str] | None = None,
    env: Mapping[str, str] | None = None,
    plusargs: Sequence[str] = (),
    run_dir: PathLike | None = None,
    timeout_s: float = 600,
    waves_on_failure: bool = True,
    replay_options: Sequence[str] = (),
) -> Path:
    """Run a cocotb module on a built bench; returns the results file (JUnit XML).

    The seed (chosen when None) is printed and sets Python's and the simulator's random values, also those of
    registers without reset. On failure the run is repeated with waves, and BenchFailed carries the end of the log,
    where the waves are, and the command that replays the run.
    """
    seed = random.SystemRandom().randrange(1, 1 << 31) if seed is None else seed
    where = Path(run_dir).resolve() if run_dir else _run_dir(bench, test_module, seed)
    where.mkdir(parents=True, exist_ok=True)
    log, results = where / "run.log", where / "results.xml"
    print(f"bench {bench.top}: module {test_module}, seed {seed}, log {log}")
    exit_text = ""
    added = [str(Path(p).resolve()) for p in python_path]
    sys.path[:0] = added  # the runner hands sys.path to the simulator's interpreter
    try:
        _runner(timeout_s, env).test(
            test_module, bench.top, hdl_toplevel_lang="verilog", testcase=testcase, seed=seed,
            plusargs=["+verilator+rand+reset+2", f"+verilator+seed+{seed % (1 << 31) or 1}", *plusargs],
            waves=bench.waves, build_dir=bench.directory, test_dir=where, results_xml=str(results), log_file=log,
        )
    except (RuntimeError, SystemExit) as error:
        timed_out = str(error).endswith((" 124", " 137"))
        exit_text = f"no end within {timeout_s} s" if timed_out else f"the simulator stopped: {error}"
    finally:
        del sys.path[: len(added)]
    problem = _verdict(results, exit_text)
    if not problem:
        return results
    message = [f"bench {bench.top}, module {test_module}, seed {seed}: {problem}",
               f"replay: {_replay(seed, replay_options)}"]
    if bench.waves:
        message.append(f"waves: {where / 'dump.vcd'}")
    elif waves_on_failure:
        again = functools.partial(
            run_bench, test_module=test_module, python_path=python_path, seed=seed, testcase=testcase, env=env,
            plusargs=plusargs, run_dir=where / "waves", timeout_s=timeout_s,
        )
        message.append(_record_waves(bench, again, where / "waves" / "dump.vcd"))
    raise BenchFailed("\n".join([*message, f"end of {log}:", _tail(log)]))


def _run_dir(bench: Bench, test_module: str, seed: int) -> Path:
    test = os.environ.get("PYTEST_CURRENT_TEST", "").rsplit("::", 1)[-1].split(" ")[0]
    name = "".join(c if c.isalnum() or c in "._-" else "_" for c in test or test_module)
    return bench.directory / "runs" / f"{name}-{seed}-{os.getpid()}"


def _replay(seed: int, options: Sequence[str]) -> str:
    node = os.environ.get("PYTEST_CURRENT_TEST", "").rsplit(" ", 1)[0]
    if not node:
        return f"the same call with seed={seed}"
    return f".venv/bin/python -m pytest '{node}' {' '.join(['--seed', str(seed), *options])}"


def _record_waves(bench: Bench, again: Callable[[Bench], Path], waves: Path) -> str:
    try:
        again(bench.traced())
    except BenchFailed:
        return f"waves: {waves}"
    except BuildError as error:
        return f"waves: could not be built: {error}"
    return "waves: the repeated run passed, so the failure does not depend on the seed alone"
