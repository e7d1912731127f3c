"""What the AXI benches share: legal bursts and random requests."""

from __future__ import annotations

import random

PAGE = 4096
ANYWHERE = {"first_i": 0, "last_i": (1 << 28) - 1}
"""Windows that hold every page."""


def check_burst(addr: int, length: int, size: int, kind: int, width: int, most: int) -> None:
    """INCR, full width, aligned, at most `most` beats, never across a multiple of most * width."""
    assert kind == 1 and 1 << size == width and addr % width == 0, f"burst {addr:#x}: type {kind}, size {size}"
    assert length <= most, f"burst of {length} beats"
    span = most * width
    assert addr // span == (addr + length * width - 1) // span, f"burst at {addr:#x}, {length} beats crosses {span}"


def random_request(rand: random.Random, width: int) -> tuple[int, int]:
    """(word-aligned address of 40 bits, beats)"""
    beats = rand.choice((1, 2, 3, rand.randint(1, 20), rand.randint(20, 150)))
    return rand.randrange(1 << 30) * width % (1 << 39) + (1 << 39) * rand.randint(0, 1), beats


def request_in(rand: random.Random, pages: list[int], width: int) -> tuple[int, int]:
    """A request that starts in one of these pages and may run beyond its end."""
    return rand.choice(pages) * PAGE + rand.randrange(PAGE // width) * width, rand.choice((1, 3, rand.randint(1, 300)))


def pages_of(addr: int, beats: int, width: int) -> set[int]:
    """Pages that a request touches."""
    return set(range(addr // PAGE, (addr + beats * width - 1) // PAGE + 1))
