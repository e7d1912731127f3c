"""The HLS description of the engine (hw/hls) as a shared library: built with g++ for a HwConfig, called by ctypes."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
from pathlib import Path

from subrow.spec.errors import DeviceError, MissingTool
from subrow.spec.hwconfig import HwConfig
from subrow.toolenv import REPO_ROOT, cached_build, find_tool, host_digest, run_logged, source_digest

HLS = REPO_ROOT / "hw" / "hls"
ISA_HEADER = REPO_ROOT / "hw" / "gen" / "subrow_isa.h"
BUILD = REPO_ROOT / "build" / "hls"
FLAGS = (
    "-std=c++17", "-O3", "-march=native", "-fwrapv", "-fPIC", "-shared", "-fvisibility=default", "-fno-gnu-unique",
    "-Wall", "-Wextra", "-Wno-unknown-pragmas",
)
AP_FLAGS = (  # the vendor's headers are slow and warn; the optimiser must not see their aliasing
    "-std=c++17", "-O1", "-fwrapv", "-fno-strict-aliasing", "-fPIC", "-shared", "-fno-gnu-unique", "-w",
    "-DSUBROW_AP_TYPES",
)

STATUS_LAYER_SHIFT = 8  # of a status that `run` or `check` returns: code | layer << 8
U32, U64, BYTES = ctypes.c_uint32, ctypes.c_uint64, ctypes.c_void_p
SIGNATURES: dict[str, tuple[type | None, list[type]]] = {
    "config_hash": (U32, []),
    "check_text": (ctypes.c_char_p, [U32]),
    "check": (U32, [BYTES, U64, U64, U32]),
    "run": (U32, [BYTES, U64, BYTES, U64, U32, BYTES]),
    "top": (U32, [BYTES, BYTES, U64, U32, U64]),
    "afetch": (U32, [BYTES, BYTES, U64, U32, U32, U32, BYTES]),
    "itrans": (U32, [BYTES, BYTES, U32, U32, U32, BYTES]),
    "wfetch": (U32, [BYTES, BYTES, U64, U32, BYTES, BYTES, BYTES]),
    "array": (U32, [BYTES, BYTES, BYTES, BYTES, U32, U32, U32, U32, BYTES]),
    "otrans": (U32, [BYTES, BYTES, U32, U32, U32, U32, BYTES, BYTES, BYTES]),
    "rfetch": (U32, [BYTES, BYTES, U64, U32, U32, U32, BYTES]),
    "post": (U32, [BYTES, BYTES, BYTES, U32, BYTES, BYTES, U32, U32, U32, BYTES]),
    "awrite": (U32, [BYTES, BYTES, U32, U32, U32, BYTES, U64]),
}
"""hw/hls/capi.h, without the prefix `subrow_`."""


def sources() -> list[Path]:
    return [*sorted(HLS.glob("*.h")), *sorted(HLS.glob("*.cpp")), ISA_HEADER]


def config_header(hw: HwConfig) -> str:
    """config.h of any HwConfig; equal to hw/gen/configs for those that are committed."""
    lines = ["#pragma once", "#include <cstdint>", "namespace subrow {"]
    for name, value in hw.rtl_parameters().items():
        lines.append(f"constexpr {'int64_t' if name == 'ConfigHash' else 'int'} k{name} = {value};")
    return "\n".join([*lines, f"constexpr int kActBits = {hw.act_bits};", "}  // namespace subrow", ""])


def ap_types_dir() -> Path:
    """Folder of ap_int.h in the installed hls4ml. Raises MissingTool when there is none."""
    spec = importlib.util.find_spec("hls4ml")
    for root in (spec.submodule_search_locations or []) if spec else []:
        path = Path(root) / "templates" / "vivado" / "ap_types"
        if (path / "ap_int.h").is_file():
            return path
    raise MissingTool("the ap_int headers are not installed: pip install 'hls4ml==1.3.*' (development dependency)")


def build(hw: HwConfig, ap_types: bool = False) -> Path:
    """Path of the library; compiles when a source, the HwConfig, a flag, the CPU or g++ changed.

    Raises MissingTool without g++, BuildError with the compiler's log.
    """
    gxx = find_tool("g++")
    flags = [*AP_FLAGS, f"-I{ap_types_dir()}"] if ap_types else list(FLAGS)
    header = config_header(hw)
    digest = source_digest(sources(), header, flags, host_digest())
    folder = BUILD / digest

    def compile_to(part: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.h").write_text(header)
        log = folder / "build.log"
        log.unlink(missing_ok=True)
        files = sorted(HLS.glob("*.cpp"))
        run_logged([gxx, *flags, f"-I{folder}", f"-I{ISA_HEADER.parent}", f"-I{HLS}", *files, "-o", part], log)

    return cached_build(folder / "libsubrow.so", digest, compile_to)


class HlsLibrary:
    """The C functions of capi.h as attributes: `lib.run(...)` is `subrow_run`. Thread safe; ctypes releases the GIL."""

    def __init__(self, hw: HwConfig, ap_types: bool = False) -> None:
        self.hw = hw
        self.path = build(hw, ap_types)
        self._lib = ctypes.CDLL(str(self.path))
        for name, (result, arguments) in SIGNATURES.items():
            function = getattr(self._lib, f"subrow_{name}")
            function.restype, function.argtypes = result, arguments
        if self.config_hash() != hw.hash32:
            raise DeviceError(f"{self.path} was built for another HwConfig than {hw.name}: remove it")

    def __getattr__(self, name: str) -> ctypes._CFuncPtr:  # type: ignore[name-defined]
        if name not in SIGNATURES:
            raise AttributeError(name)
        return getattr(self._lib, f"subrow_{name}")

    def text(self, status: int) -> str:
        """English for a status of `run` or `check`."""
        return str(self.check_text(status & 255).decode())


@functools.lru_cache(maxsize=16)
def library(hw: HwConfig, ap_types: bool = False) -> HlsLibrary:
    """The library of a HwConfig, loaded once."""
    return HlsLibrary(hw, ap_types)
