"""Runs of consecutive activation words that the fetchers and the writer ask for, and the beats that hold them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True)
class Segments:
    """`rows` rows of `per_row` runs of `words` activation words each; one run is one request.

    first: word address of the first run; row_step, step: words from a row, a run to the next. port: words of a beat.
    """

    first: int
    rows: int
    row_step: int
    per_row: int
    step: int
    words: int
    port: int

    @property
    def requests(self) -> int:
        return self.rows * self.per_row

    @property
    def row_beats(self) -> list[int]:
        """Beats of each row."""
        if self.port == 1:
            return [self.per_row * self.words] * self.rows
        return [
            _beats((self.first + r * self.row_step) % self.port, self.step % self.port, self.per_row, self.words,
                   self.port)
            for r in range(self.rows)
        ]  # fmt: skip

    @property
    def beats(self) -> int:
        """Beats of all rows: each run takes those that hold its words, also in part."""
        return self.requests * self.words if self.port == 1 else sum(self.row_beats)

    def runs(self) -> Iterator[tuple[int, int]]:
        """First beat, and beats, of each run."""
        for r in range(self.rows):
            for i in range(self.per_row):
                at = self.first + r * self.row_step + i * self.step
                yield at // self.port, -(-(at % self.port + self.words) // self.port)


@lru_cache(maxsize=4096)
def _beats(phase: int, step: int, count: int, words: int, port: int) -> int:
    """Beats of `count` runs of `words` words, the first from word `phase` of a beat, each `step` words further."""
    whole, rest = divmod(count, port)  # the phases come back after `port` runs
    each = [-(-((phase + i * step) % port + words) // port) for i in range(port)]
    return whole * sum(each) + sum(each[:rest])
