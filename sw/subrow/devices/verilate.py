"""Verilates RTL into a shared library behind a C ABI.

Contract: a build is repeated only when a source's content, a parameter, a flag or a tool has changed; several
processes may ask for the same build at once; failures raise with the end of the log.

    lib = verilate_shared("counter", ["hw/rtl/counter.sv"], "harness.cpp", ROOT / "build/sim/libcounter.so")
    ctypes.CDLL(str(lib)).tick(1000)
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from subrow.toolenv import BuildError, cached_build, find_tool, host_digest, run_logged, source_digest, tool_env

PathLike: TypeAlias = str | Path
# Set-up code of a model is half of it and runs once: it is not worth the compiler's time.
MAKE_FLAGS = "OPT_FAST='-O3 -march=native' OPT_GLOBAL=-O2 OPT_SLOW=-O1"
# Weak and unique symbols of two Verilated libraries in one process must not be merged.
SHARED_FLAGS = ("-fPIC", "-fno-gnu-unique", "-fno-semantic-interposition")


def sv_literal(value: object) -> str:
    """A parameter value as SystemVerilog writes it."""
    if isinstance(value, str):
        return f'"{value}"'
    return str(int(value)) if isinstance(value, bool) else str(value)


@functools.cache
def verilator_version() -> str:
    """What `verilator --version` says; raises MissingTool without Verilator."""
    return subprocess.run([str(find_tool("verilator")), "--version"], capture_output=True, text=True, check=True,
                          env=tool_env()).stdout.strip()


def source_paths(files: Sequence[PathLike]) -> list[Path]:
    """Absolute paths; raises BuildError for the first that is missing."""
    paths = [Path(f).resolve() for f in files]
    for path in paths:
        if not path.is_file():
            raise BuildError(f"source file {path} does not exist")
    return paths


def headers(includes: Sequence[Path]) -> list[Path]:
    """Everything that may be included from these folders, for the digest."""
    return sorted(p for d in includes for p in d.iterdir() if p.suffix in (".svh", ".vh", ".h", ".hpp", ".inc"))


def _options(parameters: Mapping[str, object], defines: Mapping[str, object], includes: Sequence[Path]) -> list[str]:
    return [
        *(f"-G{k}={sv_literal(v)}" for k, v in sorted(parameters.items())),
        *(f"-D{k}={v}" for k, v in sorted(defines.items())),
        *(f"-I{d}" for d in includes),
    ]


def verilate_shared(
    top: str,
    sources: Sequence[PathLike],
    harness_cpp: PathLike,
    out: PathLike,
    defines: Mapping[str, object] | None = None,
    params: Mapping[str, object] | None = None,
    *,
    includes: Sequence[PathLike] = (),
    trace: bool = False,
    cflags: Sequence[str] = (),
    verilator_args: Sequence[str] = (),
    jobs: int | None = None,
) -> Path:
    """Build V<top> and a harness into a shared library; returns its path, which is `out` with a digest in the name.

    The harness includes "V<top>.h" and exports plain `extern "C"` functions.
    trace: with VCD tracing compiled in; VM_TRACE is 1 in the harness then, and 0 otherwise.
    """
    files = source_paths(sources)
    harness = source_paths([harness_cpp])[0]
    dirs = [Path(d).resolve() for d in includes]
    library = Path(out).resolve()
    flags = [*SHARED_FLAGS, *(f"-I{d}" for d in dirs), f"-I{harness.parent}", *cflags]
    args = [
        "--cc", "--exe", "--build", "-j", str(jobs or os.cpu_count() or 1), "-O3", "--x-assign", "fast",
        "--x-initial", "fast", "--no-assert", "--output-split", "20000", "--top-module", top, "--prefix", f"V{top}",
        *(["--trace", "--trace-structs"] if trace else ["--no-trace"]),
        *_options(dict(params or {}), dict(defines or {}), dirs), *verilator_args,
        "-CFLAGS", " ".join(flags), "-MAKEFLAGS", MAKE_FLAGS, "-LDFLAGS", "-shared -Wl,-Bsymbolic",
    ]
    digest = source_digest([*files, harness, *headers([*dirs, harness.parent])], args, verilator_version(),
                           host_digest())

    def build(part: Path) -> None:
        work = part.with_name(part.name + ".obj")  # stays for its log when the build fails
        log = work / "build.log"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        run_logged([find_tool("verilator"), *args, "--Mdir", work, "-o", work / "lib.so",
                    *(f for f in files if f.suffix == ".vlt"), *(f for f in files if f.suffix != ".vlt"), harness], log)
        shutil.move(work / "lib.so", part)
        shutil.rmtree(work)

    return cached_build(library, digest, build)
