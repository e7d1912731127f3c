"""The compute units of one layer as recurrences over blocks, tile rows and tile groups.

Each unit runs ahead as far as the times that it waits for are known, and appends its own counters' times: entry i of a
list is the cycle in which the counter shows i + 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from subrow.spec.timing import latency as lat
from subrow.spec.timing.geometry import Block, Geometry

if TYPE_CHECKING:
    from subrow.spec.timing.streams import WeightStream


class Counters:
    """Times at which the counters between the units show 1, 2, 3, …"""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.act_free: list[int] = []
        self.q_ready: list[int] = []
        self.v_free: list[int] = []
        self.m_ready: list[int] = []
        self.m_free: list[int] = []
        self.o_ready: list[int] = []
        self.o_free: list[int] = []
        self.r_ready: list[int] = []


class Windows:
    """The input transform: tile rows wait for their input rows, blocks for a free half of the V buffer."""

    def __init__(self, g: Geometry, counters: Counters, dispatch: int) -> None:
        self.g, self.c = g, counters
        self.total = len(g.blocks) * len(g.passes)
        self.index = 0  # block of all passes
        self.ty = 0
        self.tile = 0  # of the block
        self.rows_base = 0
        self.time = dispatch + lat.FIRST_BLOCK + lat.FREE_TO_WINDOW  # of the next window's first column
        self.opened = False
        # From a window's last cycle: its last column read, to the counters.
        last_column = 0 if g.linear else g.tile.alpha - g.window
        self.to_ready = last_column + lat.COLUMN_TO_READY + (g.tile.alpha if g.linear else g.window)
        self.halves = 1 if g.ins.whole_v else 2  # blocks that the V buffer holds
        self.to_free = last_column + lat.COLUMN_TO_FREE

    def advance(self) -> bool:
        """Go on until something unknown is needed; whether anything was done."""
        moved = False
        while self.index < self.total:
            block = self.g.blocks[self.index % len(self.g.blocks)]
            if not self.opened:
                if self.index >= self.halves:
                    if len(self.c.v_free) <= self.index - self.halves:
                        return moved
                    self.time = max(self.time, self.c.v_free[self.index - self.halves] + lat.FREE_TO_WINDOW)
                self.opened = True
            while self.ty < block.y.tiles:
                if not self._tile_row(block):
                    return moved
                moved = True
            self._close(block)
        return moved

    def _tile_row(self, block: Block) -> bool:
        """One row of tiles; False while an input row's time is unknown."""
        g, rows = self.g, self.c.rows
        needed = self._needed(block, self.ty)
        if len(rows) < self.rows_base + needed[-1][1]:
            return False
        start = self.time
        for offset, count, late in needed:
            if count > 0:
                start = max(start, rows[self.rows_base + count - 1] + lat.ROWS_TO_WINDOW + late - offset)
        first, n = self.ty * block.x.tiles, block.x.tiles
        total = block.y.tiles * n
        while self.tile < first + n:  # tile groups that end in this row
            last = min(self.tile + g.hw.tiles, total)
            if last > first + n:
                break
            self.c.q_ready.append(start + (last - first) * g.tile_cycles - 1 + self.to_ready)
            self.tile = last
        self.time = start + n * g.tile_cycles
        self.ty += 1
        return True

    def _needed(self, block: Block, ty: int) -> list[tuple[int, int, int]]:
        """(cycles after the row's first window, rows that must be there, extra cycles) in the row's first tile."""
        g = self.g
        if g.linear:
            return [(0, block.y.inputs, lat.ALL_ROWS)]
        origin = min(block.y.origin, 0) + ty * g.tile.m * g.ins.stride  # first window row, from the buffer's first row
        high = g.ins.stride if g.direct else g.tile.alpha - 1
        result = []
        for ky in range(g.ins.kernel_h if g.direct else 1):
            count = max(origin + ky + high + 1, 0)
            late = lat.ALL_ROWS if count > block.y.inputs else 0
            result.append((ky * g.ins.kernel_w * g.window, min(count, block.y.inputs), late))
        return result

    def _close(self, block: Block) -> None:
        end = self.time - 1
        self.c.act_free.append(end + self.to_free)
        self.time = end + lat.BLOCK_TO_WINDOW
        self.rows_base += block.y.inputs
        self.index, self.ty, self.tile, self.opened = self.index + 1, 0, 0, False


class Array:
    """The multiplier array: one (block, kg, q) unit after the other."""

    def __init__(self, g: Geometry, counters: Counters, weights: WeightStream, dispatch: int) -> None:
        self.g, self.c, self.weights = g, counters, weights
        self.pass_index = self.block = self.kg = self.q = 0
        self.q_base = 0  # tile groups of the blocks before
        self.unit = 0
        self.group = 0
        self.time = dispatch + 1  # first cycle in which the next step may issue
        self.group_end = dispatch - g.nk  # last step of the tap group before
        self.done = False
        self.pace = max(g.steps, g.nk)

    def advance(self) -> bool:
        """Run units until something unknown is needed; whether anything was done."""
        moved = False
        while not self.done and self._unit():
            moved = True
        return moved

    def _unit(self) -> bool:
        c, g = self.c, self.g
        index = self.q_base + self.q
        if index >= len(c.q_ready) or self.unit - 1 > len(c.m_free):
            return False
        half = c.m_free[self.unit - 2] if self.unit >= 2 else 0
        start = max(self.time, c.q_ready[index])
        if self._first_use() and self.weights.late(self._word(g.ins.chunk_words)):
            if not self._starved(start, half):
                return False
        else:
            end = max(start + g.steps - 1, self.group_end + g.nk, half)
            self.group_end = end + (g.tile.groups - 1) * self.pace
        self.time = self.group_end + 1
        c.m_ready.append(self.group_end + lat.STEP_TO_READY + g.nk)
        self._next()
        return True

    def _first_use(self) -> bool:
        """Whether this unit is the first to read its chunk since wfetch brought it."""
        return self.q == 0 and (self.block == 0 or not self.g.ins.resident)

    def _chunk(self) -> int:
        """Index of the unit's chunk in the layer's weight stream."""
        g = self.g
        return g.passes[self.pass_index].kg0 + self.kg + (0 if g.ins.resident else self.block * g.ins.kgs)

    def _word(self, words: int) -> int:
        """Beats of the layer's stream up to the chunk's first `words` words."""
        return self._chunk() * self.g.chunk_beats + self.g.param_beats + self.g.word_beats(words)

    def _starved(self, start: int, half: int) -> bool:
        """A unit whose weights are still on their way, tap group by tap group; False when it must wait."""
        g = self.g
        if self.group == 0:
            time = self.weights.time(self._word(1))
            if time is None:
                return False
            start = max(start, time)
        else:
            start = self.time
        while self.group < g.tile.groups:
            words = (self.group + 1) * g.steps
            time = self.weights.time(self._word(-(-words // 4) if g.direct else words))
            if time is None:
                self.time = start
                return False
            end = max(start + g.steps - 1, self.group_end + g.nk, time, half)
            self.group_end = end
            start = end + 1
            self.group += 1
        self.group = 0
        return True

    def _next(self) -> None:
        """Turn to the next unit; release what the one before held."""
        g, here = self.g, self.g.passes[self.pass_index]
        block = g.blocks[self.block]
        self.unit += 1
        self.q += 1
        if self.q < block.q:
            return
        self.q = 0
        self.kg += 1
        if not g.ins.resident:
            self.weights.release_words(g.ins.chunk_words, self.time)
        if self.kg < here.kgs:
            return
        self.kg = 0
        self.q_base += block.q
        self.c.v_free.append(self.time)
        if g.ins.resident and block.pass_end:
            self.weights.release_words(here.kgs * g.ins.chunk_words, self.time)
        self.block += 1
        if self.block == len(g.blocks):
            self.block = 0
            self.pass_index += 1
            self.done = self.pass_index == len(g.passes)


class Output:
    """Output transform and requantiser: tiles leave one after the other; a (block, kg) unit waits for its half."""

    def __init__(self, g: Geometry, counters: Counters, weights: WeightStream, dispatch: int) -> None:
        self.g, self.c, self.weights = g, counters, weights
        self.pass_index = self.block = self.kg = self.q = 0
        self.unit = self.out_unit = 0
        self.block_valid = self.post_valid = dispatch + lat.FIRST_BLOCK
        self.copies = [dispatch, dispatch, dispatch]  # of the last tiles, newest last
        self.pixels = dispatch  # copy of the last tile, moved by what its first pixel waited
        self.done = False

    def advance(self) -> bool:
        """Go on until something unknown is needed; whether anything was done."""
        moved = False
        while not self.done and self._unit():
            moved = True
        return moved

    def _ready(self) -> int | None:
        """Cycle from which the requantiser takes the (block, kg) unit's first pixel; None while unknown."""
        c, o = self.c, self.out_unit
        ready = self.post_valid
        if o >= 2:
            if len(c.o_free) < o - 1:
                return None
            ready = max(ready, c.o_free[o - 2])
        if self.g.ins.residual:
            if len(c.r_ready) <= o:
                return None
            ready = max(ready, c.r_ready[o])
        return ready

    def _unit(self) -> bool:
        g, c = self.g, self.c
        if self.unit >= len(c.m_ready):
            return False
        ready = self._ready() if self.q == 0 else 0
        if ready is None:
            return False
        block, kg = g.blocks[self.block], g.passes[self.pass_index].kg0 + self.kg
        valid = min(g.hw.tiles, block.y.tiles * block.x.tiles - self.q * g.hw.tiles)
        tiles, reads, size = valid * g.kbs(kg), g.reads, g.tile.m**2
        first = max(c.m_ready[self.unit], self.block_valid)  # first word read
        copies = self.copies
        row = max(copies[-1] + reads - 1, first + reads - 1 + lat.ISSUE_TO_ROW)
        copy = max(row + lat.ROW_TO_COPY, self.pixels + size)
        pixels = max(copy, ready - lat.COPY_TO_PIXEL)
        copies.append(copy)
        if tiles > 1:
            copy = max(copy + reads, pixels + size)
            row, pixels, pace = copies[-1] + reads - 1, copy, max(reads, size)
            copies.append(copy)
            if tiles > 2:
                row = copy + (tiles - 3) * pace + reads - 1
                copies += [copy + pace * i for i in range(max(tiles - 4, 1), tiles - 1)]
                copy = pixels = copies[-1]
        # Two reads fit into the stages before a full row transform: the last are then issued two tiles ahead.
        issue = row - lat.ISSUE_TO_ROW if reads > 2 else max(copies[-3], first + tiles * reads - 1)
        del copies[:-3]
        self.pixels = pixels
        c.m_free.append(issue + 1)
        self._next(block, issue, pixels + lat.COPY_TO_PIXEL + size - 1)
        return True

    def _next(self, block: Block, issue: int, taken: int) -> None:
        """Turn to the next unit; `issue`: last word read, `taken`: last pixel taken by the requantiser."""
        g, here = self.g, self.g.passes[self.pass_index]
        self.unit += 1
        self.q += 1
        if self.q < block.q:
            return
        self.q = 0
        self.kg += 1
        self.out_unit += 1
        self.c.o_ready.append(taken + lat.PIXEL_TO_READY)
        if not g.ins.resident:
            self.weights.release_groups(1, taken + lat.PIXEL_TO_FREE)
        if self.kg < here.kgs:
            return
        self.kg = 0
        self.block_valid = issue + lat.NEXT_BLOCK
        self.post_valid = taken + lat.NEXT_BLOCK
        if g.ins.resident and block.pass_end:
            self.weights.release_groups(here.kgs, taken + lat.PIXEL_TO_FREE)
        self.block += 1
        if self.block == len(g.blocks):
            self.block = 0
            self.pass_index += 1
            self.done = self.pass_index == len(g.passes)
