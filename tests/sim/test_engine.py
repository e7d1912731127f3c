"""The whole engine behind cocotbext-axi equals the emulator, and comes back from resets and errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sim.common.build import BenchFailed
from sim.common.options import Options
from sim.common.units import CONFIGS, folder_modules, run_unit
from subrow.devices.base import pack_activation
from subrow.devices.hlslib import library
from subrow.spec.isa import RECORD_FIELDS
from subrow.spec.metadata import tensor_bytes
from tests.devices.assemble import Shape, feeds_of, make_layer, program_of

pytestmark = pytest.mark.verilator

HW = CONFIGS["micro"]
FIRST = Shape(tile=1, channels=8, outputs=12, h=8, w=8, pad=1, sub_s=2, block=(2, 2), resident=False, relu=True)
SECOND = Shape(tile=2, channels=12, outputs=8, h=8, w=8, pad=1, sub_s=3, residual=True, pool=True, ev=(2, 5))


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two layers, their input, and what the emulator leaves in memory."""
    layers = [make_layer(HW, FIRST, 1), make_layer(HW, SECOND, 2)]
    built, feeds = program_of(HW, layers), feeds_of(layers)
    image, before = built.image(), np.zeros(built.arena_bytes, np.uint8)
    for t in built.inputs:
        before[t.offset : t.offset + tensor_bytes(t.shape, HW.sub_row)] = pack_activation(
            feeds[t.name][0], HW.sub_row).view(np.uint8).ravel()
    after, records = before.copy(), np.zeros((len(layers), len(RECORD_FIELDS)), np.uint64)
    status = library(HW).run(image.ctypes.data, image.size, after.ctypes.data, after.size, len(layers),
                             records.ctypes.data)
    assert status == 0, library(HW).text(status)
    codes = built.decoded()
    assert all(len(np.unique(after[i.out_offset : i.out_offset + i.out_h * i.out_row_bytes])) > 10 for i in codes)
    path = tmp_path_factory.mktemp("engine") / "program.npz"
    np.savez(
        path, image=image, before=before, after=after, records=records, weight_offset=codes[0].weight_offset,
        inputs=[(i.in_offset, i.in_offset + i.in_h * i.in_row_bytes) for i in codes],
        outputs=[(i.out_offset, i.out_offset + i.out_h * i.out_row_bytes) for i in codes],
    )
    return path


def run(program: Path, seed: int, rtl: Path | None, **options: object) -> None:
    if rtl is not None and "subrow_engine" not in folder_modules(rtl):
        pytest.skip(f"{rtl} has no subrow_engine")
    testcase = options.pop("testcase", None)
    chosen = Options(HW, data={"program": str(program)}, **options)  # type: ignore[arg-type]
    run_unit("engine", chosen, seed=seed, rtl=rtl, testcase=testcase)  # type: ignore[arg-type]


def test_engine(program: Path, seed: int, rtl: Path | None) -> None:
    run(program, seed, rtl, rounds=1)


def test_engine_behind_the_ports_of_a_zynq7(program: Path, seed: int, rtl: Path | None) -> None:
    """AXI3 registers, activations of 4 bytes on a port of 8; memory below 4 GiB, as those ports see it."""
    if rtl is not None:
        pytest.skip(f"{rtl}: the ports of a board are not part of it")
    run_unit("zynq7", Options(HW, data={"program": str(program), "base": 0x1000_0000}), seed=seed)


def test_a_corrupted_golden_behind_the_ports_fails(program: Path, rtl: Path | None) -> None:
    if rtl is not None:
        pytest.skip(f"{rtl}: the ports of a board are not part of it")
    options = Options(HW, corrupt=True, data={"program": str(program), "base": 0x1000_0000})
    with pytest.raises(BenchFailed, match="differ from the emulator"):
        run_unit("zynq7", options, seed=1, testcase="two_layers/pattern=none")


@pytest.mark.slow
def test_engine_under_many_resets(program: Path, seed: int, rtl: Path | None) -> None:
    run(program, seed, rtl, rounds=30)


def test_a_corrupted_golden_fails(program: Path, rtl: Path | None) -> None:
    with pytest.raises(BenchFailed, match="differ from the emulator"):
        run(program, 1, rtl, corrupt=True, testcase="two_layers/pattern=none")
