"""Deterministic initial weights."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def seeded(seed: int, build: Callable[[], Network]) -> Network:
    """build() in eval mode with torch's generator at `seed`; the caller's generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build().eval()
