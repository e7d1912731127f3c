"""Options that every test shares."""

from __future__ import annotations

import random
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=None, help="seed of every random choice; a failing bench prints it")
    parser.addoption("--rtl", type=Path, default=None, help="folder of RTL that the benches run on instead of hw/rtl")
    parser.addoption("--tools", type=Path, default=Path("/"), help="root of the Debian tree with the open flow's tools")


def pytest_configure(config: pytest.Config) -> None:
    """A folder of RTL without any module that has a bench would skip everything and pass."""
    folder = config.getoption("--rtl")
    if folder is None:
        return
    from sim.common.units import PARTS, folder_modules

    if not any(f"subrow_{top}" in folder_modules(folder) for top in PARTS):
        raise pytest.UsageError(f"--rtl {folder}: no file there is named after a module that has a bench")


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The --seed option, or a fresh one; printed so that a failure can be replayed."""
    given = request.config.getoption("--seed")
    value = random.SystemRandom().randrange(1, 1 << 31) if given is None else given
    print(f"seed {value}: replay with --seed {value}")
    return value
