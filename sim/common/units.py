"""Builds and runs the bench of any module of the engine, for a HwConfig, on hw/rtl or on another folder."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from sim.common.build import BUILD_DIR, Bench, build_bench, parameter_names, run_bench
from sim.common.options import ENV, Options
from subrow.devices.hlslib import library
from subrow.spec.hwconfig import HwConfig, load
from subrow.toolenv import REPO_ROOT, source_digest

RTL = REPO_ROOT / "hw" / "rtl"
BOARD_RTL = REPO_ROOT / "hw" / "boards" / "rtl"
GEN = REPO_ROOT / "hw" / "gen"
BENCHES = REPO_ROOT / "sim" / "benches"
PACKAGE = GEN / "subrow_pkg.sv"

PARTS: dict[str, tuple[str, ...]] = {
    "mac1": (), "mac2": (), "block_iter": (), "wfetch": ("wfetch_data",), "axi_read": (),
    "axi_write": ("fifo",), "arb2": ("fifo",), "ctrl": ("fifo",),
    "afetch": ("block_iter", "fifo", "lanes", "run"), "rfetch": ("block_iter", "fifo", "lanes", "run"),
    "itrans": ("block_iter", "bt", "itrans_data"),
    "array": ("lane", "mac1", "mac2"), "otrans": ("block_iter", "otrans_data"), "post": ("block_iter",),
    "awrite": ("block_iter", "fifo", "run"),
}
"""Modules with a bench of their own -> the modules inside them."""
PARTS["engine"] = tuple(sorted(p.stem.removeprefix("subrow_") for p in RTL.glob("*.sv") if p.stem != "subrow_engine"))
PARTS["zynq7"] = ("axi3_lite", "axi3_read", "axi3_write", "engine", *PARTS["engine"])
PARTS["spread"] = ("fifo",)
WRAPPERS = {name: REPO_ROOT / "sim" / "wrappers" / f"subrow_{name}_ids.sv" for name in ("engine", "zynq7")}
"""Modules that the bench sees through a wrapper."""
REGISTERS = [GEN / "subrow_regs_pkg.sv", GEN / "regs.vlt", RTL / "lint.vlt", GEN / "subrow_regs.sv"]


def _config(name: str, **fields: object) -> HwConfig:
    return dataclasses.replace(load("tiny"), name=name, **fields)  # type: ignore[arg-type]


CONFIGS: dict[str, HwConfig] = {
    # rings and buffers so small that every layer fills them
    "small8": _config("small8", act_words=512, v_words=512, weight_words=64, param_groups=4, out_words=256),
    # one product per DSP, wide numbers, tiles that are no power of two, a weight port wider than the activation port
    # and words of 7 units on beats of 4, without narrow weights
    "small4": _config("small4", sub_row=4, channels=8, tiles=6, u_bits=12, v_bits=10, acc_bits=32, y_bits=48,
                      narrow_u=False,
                      act_words=512, v_words=512, weight_words=64, param_groups=4, out_words=512, weight_bytes=32,
                      burst_beats=4),
    # four channel blocks
    "blocks4": _config("blocks4", sub_row=4, channels=16, act_words=512, v_words=512, weight_words=64, param_groups=4,
                       out_words=1024, y_bits=48),
    # words that leave 0 to 3 of the 4 units of a beat, weights whose bits are no multiple of 4
    "gear": _config("gear", sub_row=4, channels=16, u_bits=9, act_words=512, v_words=512, weight_words=64,
                    param_groups=4, out_words=512, weight_bytes=32),
    # the weight words of pynq-z2: 11 units on beats of 2
    "pair": _config("pair", channels=16, act_words=512, v_words=512, weight_words=64, param_groups=4, out_words=512,
                    weight_bytes=16),
    # the whole engine, quick to build
    "micro": _config("micro", sub_row=4, act_words=512, v_words=512, weight_words=256, param_groups=8, out_words=512),
    # the widest words, the narrowest numbers
    "broad": _config("broad", sub_row=16, channels=32, tiles=4, u_bits=4, v_bits=8, acc_bits=16, y_bits=24,
                     narrow_u=False,
                     act_words=512, v_words=512, weight_words=128, param_groups=8, out_words=1024, weight_bytes=64),
    # activation ports of two and four words, one and two channel blocks
    "port2": _config("port2", sub_row=4, act_port_words=2, act_words=512, v_words=512, weight_words=64, param_groups=4,
                     out_words=512),
    "port4": _config("port4", act_port_words=4, act_words=512, v_words=512, weight_words=64, param_groups=4,
                     out_words=256),
    **{name: load(name) for name in ("tiny", "pynq-z2", "wide")},
}


def bench_module(top: str) -> str:
    """Cocotb module in sim/benches; the two multipliers share one."""
    return "test_mac2" if top == "mac1" else f"test_{top}"


def folder_modules(folder: Path) -> dict[str, Path]:
    """Sources of a folder by the name of their module."""
    return {p.stem: p for p in sorted([*folder.glob("*.sv"), *folder.glob("*.v")])}


def bench_sources(top: str, parts: Sequence[str], rtl: Path | None = None) -> list[Path]:
    """Package, modules of hw/rtl, the top last. rtl: that folder's modules instead, all of them; it has the top."""
    folders = {p.stem: p.parent for folder in (BOARD_RTL, RTL) for p in folder.glob("*.sv")}
    ours = {name: folders.get(name, RTL) / f"{name}.sv" for name in (f"subrow_{p}" for p in (*parts, top))}
    theirs = {} if rtl is None else folder_modules(rtl)
    packages = [PACKAGE, *(REGISTERS if top in WRAPPERS else [])]
    common = [p for p in packages if p.stem not in theirs]
    return [*common, *(p for name, p in ours.items() if name not in theirs), *theirs.values()]


def build_unit(top: str, params: Mapping[str, int], rtl: Path | None = None, build_dir: Path | None = None) -> Bench:
    """Bench of subrow_<top>, with those of the parameters that it declares. Each RTL folder has builds of its own."""
    if build_dir is None:
        build_dir = BUILD_DIR if rtl is None else BUILD_DIR / f"rtl-{source_digest([], str(rtl))[:8]}"
    name = f"subrow_{top}"
    sources = bench_sources(top, PARTS[top], rtl)
    declared = parameter_names(next(p for p in sources if p.stem == name), name)
    chosen = {k: v for k, v in params.items() if k in declared}
    return build_bench(name, sources, chosen, build_dir, WRAPPERS.get(top))


def run_unit(top: str, options: Options, *, seed: int, rtl: Path | None = None,
             testcase: str | Sequence[str] | None = None, build_dir: Path | None = None, waves: bool = True) -> Path:
    """Build, then run the module's bench; see run_bench. Parameters: the HwConfig's, then options.params."""
    hw_params: dict[str, int] = {}
    if options.hw is not None:
        hw_params = options.hw.rtl_parameters()
        library(options.hw)  # built here, not inside the simulator's time limit
    bench = build_unit(top, {**hw_params, **options.params}, rtl, build_dir)
    return run_bench(
        bench, bench_module(top), python_path=[BENCHES, REPO_ROOT / "sw", REPO_ROOT], seed=seed, testcase=testcase,
        env={ENV: json.dumps(options.document())}, waves_on_failure=waves and not options.corrupt,
        replay_options=() if rtl is None else ("--rtl", str(rtl)),
    )
