"""Runs the benches of single modules, on hw/rtl or on the folder of --rtl."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sim.common.options import Options
from sim.common.units import folder_modules, run_unit


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With --rtl only the benches: lint and build tests are about hw/rtl and about this repository's tools."""
    if config.getoption("--rtl") is None:
        return
    benches = [i for i in items if "rtl" in getattr(i, "fixturenames", ())]
    config.hook.pytest_deselected(items=[i for i in items if i not in benches])
    items[:] = benches


@pytest.fixture
def rtl(request: pytest.FixtureRequest) -> Path | None:
    """The folder of --rtl; None: hw/rtl."""
    folder = request.config.getoption("--rtl")
    return None if folder is None else folder.resolve()


@pytest.fixture
def run(rtl: Path | None, seed: int) -> Callable[[str, Options], Path]:
    """run(module, options): its bench, or a skip when the folder of --rtl has no such module."""

    def run(top: str, options: Options) -> Path:
        if rtl is not None and f"subrow_{top}" not in folder_modules(rtl):
            pytest.skip(f"{rtl} has no subrow_{top}")
        return run_unit(top, options, seed=seed, rtl=rtl)

    return run
