"""Block sizes: how a layer's tiles are cut so that every buffer limit of docs/hardware.md holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from subrow.spec.hwconfig import HwConfig
from subrow.spec.timing.geometry import Axis, Span, spans_of
from subrow.spec.winograd import TAP_LANES, Tile, TileKind

_OPEN_BURSTS = 8  # of one AXI reader or writer
_DRAM_BURST = 64  # bytes: eight beats of a 64-bit memory
_BLOCK_OVERHEAD = 12  # cycles in which a unit turns to the next block


@dataclass(frozen=True)
class Geometry:
    """What tiling needs to know of a layer and one of its loop orders; sizes in pixels, words as in the instruction.

    resident: the weights of pass_kgs output channel groups stay while all blocks stream by, pass after pass; otherwise
    each block fetches all weights again.
    """

    name: str
    tile: Tile
    in_h: int
    in_w: int
    in_cb: int
    conv_h: int
    conv_w: int
    out_h: int
    out_w: int
    kernel: tuple[int, int]
    stride: int
    pad_top: int
    pad_left: int
    pool: bool
    upsample: bool
    max_window: bool
    residual: bool
    v_words: int
    steps: int  # array steps of one tile group, tap group and output channel group
    kgs: int
    pass_kgs: int
    chunk_bytes: int
    chunk_words: int
    resident: bool

    @property
    def ext(self) -> tuple[int, int]:
        """Window growth in rows and columns: the kernel, or 3 for Winograd."""
        return self.kernel if self.tile.alpha == self.tile.m else (3, 3)


@dataclass(frozen=True)
class Blocks:
    """The chosen cut: tiles of a block, number of blocks, tile groups of the four kinds of block.

    whole_v, whole_a: a block has all of the V buffer, or of the activation buffer, because half of it is too small.
    """

    th: int
    tw: int
    ny: int
    nx: int
    q_count: tuple[int, int, int, int]
    whole_v: bool
    whole_a: bool


def loop_orders(g: Geometry, hw: HwConfig, grouped: bool) -> list[Geometry]:
    """The layer in every loop order that its weights allow."""
    together = min(hw.weight_words // g.chunk_words, hw.param_groups)
    ahead = min(hw.weight_words // (2 * g.chunk_words), hw.param_groups // 2)  # the next pass's weights load meanwhile
    orders = [replace(g, resident=False, pass_kgs=g.kgs)]
    if g.kgs <= together:
        orders.append(replace(g, resident=True, pass_kgs=g.kgs))
    if not grouped:
        passes = {-(-g.kgs // n) for n in (together, ahead) if 0 < n < g.kgs}
        orders += [replace(g, resident=True, pass_kgs=-(-g.kgs // n)) for n in sorted(passes)]
    return orders


Cycles = Callable[[Geometry, Blocks, float | None], float | None]
"""Cycles of a layer in a loop order and cut; None when there are more than the bound."""

EXACT = 8
"""Candidates, those with the least rough cost, that the cycle model compares."""


def choose(orders: Sequence[Geometry], hw: HwConfig, cycles: Cycles | None = None) -> tuple[Geometry, Blocks] | None:
    """The cheapest legal loop order and cut, None when even one tile does not fit.

    A rough cost ranks all of them; `cycles` decides between the first few.
    """
    found = sorted((c for g in orders for c in _candidates(g, hw)), key=lambda c: c[0])
    if not found:
        return None
    if cycles is None or len(found) == 1:
        return found[0][1:]
    best, least = found[0][1:], cycles(*found[0][1:], None)
    for _, g, blocks in found[1:EXACT]:
        count = cycles(g, blocks, least)
        if count is not None and (least is None or count < least):
            best, least = (g, blocks), count
    return best


def rough_cycles(orders: Sequence[Geometry], hw: HwConfig) -> float:
    """The least rough cost of a layer in any of the orders and cuts, infinite when even one tile does not fit."""
    return min((cost for g in orders for cost, _, _ in _candidates(g, hw)), default=math.inf)


def any_block(g: Geometry, hw: HwConfig) -> bool:
    """Whether some cut is legal."""
    return next(_candidates(g, hw), None) is not None


def excess(g: Geometry, hw: HwConfig) -> str:
    """Why not even a block of one tile fits."""
    return _excess(g, hw, _spans(g, 1, 0), _spans(g, 1, 1)) or "a block of one tile lies outside the image"


def _candidates(g: Geometry, hw: HwConfig) -> Iterator[tuple[float, Geometry, Blocks]]:
    """Every legal cut with its rough cost in cycles."""
    rows, columns = -(-g.conv_h // g.tile.m), -(-g.conv_w // g.tile.m)
    column_cuts = [(n, _spans(g, n, 1)) for n in _sizes(columns)]
    for th in _sizes(rows):
        ys = _spans(g, th, 0)
        if min(min(s.inputs, s.out) for s in ys) < 1:
            continue
        for tw, xs in column_cuts:
            if min(min(s.inputs, s.out) for s in xs) < 1 or _excess(g, hw, ys, xs) is not None:
                continue
            q = tuple(-(-y.tiles * x.tiles // hw.tiles) for y in (ys[0], ys[-1]) for x in (xs[0], xs[-1]))
            whole_v, whole_a = 2 * _v_words(g, hw, ys, xs) > hw.v_words, 2 * _act_words(g, ys, xs) > hw.act_words
            blocks = Blocks(th, tw, len(ys), len(xs), (q[0], q[1], q[2], q[3]), whole_v, whole_a)
            yield _cost(g, hw, ys, xs, blocks), g, blocks


def _sizes(tiles: int) -> list[int]:
    """Tiles per block for every number of equal blocks, fewest blocks first."""
    return sorted({-(-tiles // n) for n in range(1, tiles + 1)} - set(range(1024, tiles + 1)), reverse=True)


def _spans(g: Geometry, size: int, axis: int) -> list[Span]:
    """The layer's rows (axis 0) or columns (1) in blocks of `size` tiles."""
    cut = (
        Axis(g.conv_h, g.out_h, g.in_h, g.pad_top, g.ext[0]), Axis(g.conv_w, g.out_w, g.in_w, g.pad_left, g.ext[1])
    )[axis]  # fmt: skip
    return spans_of(cut, g.tile, g.stride, g.pool, size)


def _v_words(g: Geometry, hw: HwConfig, ys: list[Span], xs: list[Span]) -> int:
    """V words of the largest block in each bank of the V buffer."""
    tiles = max(s.tiles for s in ys) * max(s.tiles for s in xs)
    return g.tile.groups * g.v_words * -(-tiles // hw.tiles)


def _act_words(g: Geometry, ys: list[Span], xs: list[Span]) -> int:
    """Activation words of the largest block in each of the eight banks."""
    return -(-max(s.inputs for s in ys) // 8) * g.in_cb * max(s.inputs for s in xs)


def _excess(g: Geometry, hw: HwConfig, ys: list[Span], xs: list[Span]) -> str | None:
    """Which limit the largest block breaks, or None."""
    v, a = _v_words(g, hw, ys, xs), _act_words(g, ys, xs)
    if v > hw.v_words:
        return f"{v} V words, limit v_words = {hw.v_words}; use a smaller tile or raise v_words"
    if a > hw.act_words:
        return f"{a} activation words per bank, limit act_words = {hw.act_words}; raise act_words"
    kinds = ["conv", "out"] if g.residual else ["out"]
    pixels = max(max(getattr(s, k) for s in ys) * max(getattr(s, k) for s in xs) for k in kinds)
    words = pixels * hw.channel_blocks
    if 2 * words > hw.out_words:
        return f"{words} output words, limit out_words / 2 = {hw.out_words // 2}; raise out_words"
    q = v // (g.tile.groups * g.v_words)
    if max(len(ys), len(xs)) > 1023 or q > 4095:
        return f"{len(ys)} x {len(xs)} blocks of {q} tile groups, limits 1023 and 4095; use a smaller map"
    return None


def _cost(g: Geometry, hw: HwConfig, ys: list[Span], xs: list[Span], blocks: Blocks) -> float:
    """Estimated cycles: the slowest unit of each block, plus what no other work hides at the layer's two ends."""
    ends = _first_group(g, hw, xs[0]) + ys[-1].out * xs[-1].out * hw.channel_blocks + 3 * hw.latency_cycles
    passes, rest = divmod(g.kgs, g.pass_kgs)
    cost = sum(n * _pass_cost(g, hw, (ys, xs), kgs, blocks) for n, kgs in ((passes, g.pass_kgs), (1, rest)) if kgs)
    return ends + max(cost, _bytes(g, hw, ys, xs) / hw.bytes_per_cycle)


def _pass_cost(g: Geometry, hw: HwConfig, spans: tuple[list[Span], list[Span]], kgs: int, blocks: Blocks) -> float:
    """Cycles of all blocks for kgs output channel groups."""
    cost, columns = 0.0, _kinds(spans[1])
    for y, ny in _kinds(spans[0]):
        for x, nx in columns:
            cost += ny * nx * (max(_unit_cycles(g, hw, y, x, kgs, blocks)) + _BLOCK_OVERHEAD)
    if not g.resident:
        return cost
    weights = kgs * _chunk_cycles(g, hw)
    # Half the ring must stay free for them to load behind what ran before.
    hidden = 2 * g.pass_kgs * g.chunk_words <= hw.weight_words
    return max(cost, weights) if hidden else cost + weights


def _bytes(g: Geometry, hw: HwConfig, ys: list[Span], xs: list[Span]) -> float:
    """Bytes that the layer moves through memory."""
    passes = -(-g.kgs // g.pass_kgs)
    read = sum(s.inputs for s in ys) * sum(s.inputs for s in xs) * g.in_cb * passes
    outputs = g.out_h * g.out_w + (g.conv_h * g.conv_w if g.residual else 0)
    weights = g.kgs * g.chunk_bytes * (1 if g.resident else len(ys) * len(xs))
    return (read + outputs * g.kgs * hw.channel_blocks) * hw.act_word_bytes + weights


def _chunk_cycles(g: Geometry, hw: HwConfig) -> float:
    """Shortest time in which the weights of one output channel group arrive."""
    return g.chunk_bytes / min(hw.bytes_per_cycle, hw.weight_bytes)


def _first_group(g: Geometry, hw: HwConfig, x: Span) -> float:
    """Cycles before the array starts: the rows of the first tiles, then the transform of one tile group."""
    rows = min((g.tile.m - 1) * g.stride + g.ext[0], g.in_h)
    return rows * x.inputs * g.in_cb + hw.tiles * _window_cycles(g)


def _window_cycles(g: Geometry) -> int:
    """Cycles of the input transform for one tile: columns read or groups written, whichever are more."""
    if g.tile.kind is TileKind.LINEAR:
        return TAP_LANES * g.v_words
    windows = g.kernel[0] * g.kernel[1] if g.tile.alpha == g.tile.m else 1
    return g.in_cb * windows * max(g.tile.alpha, g.tile.groups)


def _unit_cycles(g: Geometry, hw: HwConfig, y: Span, x: Span, kgs: int, blocks: Blocks) -> tuple[float, ...]:
    """Cycles of each unit in one block: array, weights, reads, transform, output transform, writes.

    Where a block has a whole buffer, what fills it waits for what empties it, but for the first part of the block.
    """
    tiles, outputs = y.tiles * x.tiles, kgs * hw.channel_blocks
    drain = hw.tiles * hw.channel_blocks
    # Shortest time of a row's segment: open bursts hide the latency, and DRAM moves whole bursts.
    segment = max(hw.latency_cycles / _OPEN_BURSTS + 1, _DRAM_BURST / hw.act_word_bytes)
    grow = 2 if g.upsample else 1
    q = -(-tiles // hw.tiles)
    array, transform = q * g.tile.groups * max(g.steps, drain) * kgs, tiles * _window_cycles(g)
    reads = y.inputs * max(x.inputs, segment) * g.in_cb
    return (
        max(array + transform / q, transform + array / (q * kgs)) if blocks.whole_v else array,
        0.0 if g.resident else kgs * _chunk_cycles(g, hw),
        max(reads + transform / y.tiles, transform + reads / y.tiles) if blocks.whole_a else reads,
        transform,
        tiles * outputs * max(g.tile.groups, g.tile.m**2),
        (grow * y.out * max(grow * x.out, segment) + _BLOCK_OVERHEAD) * outputs,
    )


def _kinds(spans: list[Span]) -> list[tuple[Span, int]]:
    """Spans of different sizes with how often they occur."""
    kinds: dict[tuple[int, int, int], tuple[Span, int]] = {}
    for s in spans:
        size = s.tiles, s.inputs, s.out
        kinds[size] = s, kinds[size][1] + 1 if size in kinds else 1
    return list(kinds.values())
