"""Options that every test shares."""

from __future__ import annotations

import random
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=None, help="seed of every random choice; a failing bench prints it")
    parser.addoption("--rtl", type=Path, default=None, help="folder of RTL that the benches run on instead of hw/rtl")


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The --seed option, or a fresh one; printed so that a failure can be replayed."""
    given = request.config.getoption("--seed")
    value = random.SystemRandom().randrange(1, 1 << 31) if given is None else given
    print(f"seed {value}: replay with --seed {value}")
    return value
