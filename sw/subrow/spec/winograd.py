"""Winograd matrices from an exact Cook-Toom construction, tap order and growth bounds.

F(m x m, r x r): Y = A^T [ (G g G^T) * (B^T x B) ] A, after A. Lavin and S. Gray, "Fast Algorithms for
Convolutional Neural Networks", CVPR 2016. Everything is rational arithmetic, so nothing here rounds.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import numpy as np
from numpy.typing import NDArray

Matrix = tuple[tuple[Fraction, ...], ...]


def _polynomial(roots: list[Fraction]) -> list[Fraction]:
    """Coefficients, constant first, of the product of (x - root)."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *coefficients]
        coefficients = [s - root * c for s, c in zip(shifted, [*coefficients, Fraction(0)], strict=True)]
    return coefficients


def cook_toom(m: int, r: int, points: tuple[int, ...]) -> tuple[Matrix, Matrix, Matrix]:
    """(B^T, G, A^T) of F(m, r) at the given finite points plus infinity; B^T and A^T are integers.

    The sign of a point's row is chosen so that the divisor at the point 0 is positive.
    Raises ValueError unless there are m + r - 2 distinct points.
    """
    n = m + r - 1
    if len(set(points)) != n - 1:
        raise ValueError(f"F({m},{r}) needs {n - 1} distinct points, got {points}")
    a = [Fraction(p) for p in points]
    b_rows, g_rows = [], []
    for i, point in enumerate(a):
        others = a[:i] + a[i + 1 :]
        divisor = Fraction(1)
        for other in others:
            divisor *= point - other
        sign = -1 if point == 0 and divisor < 0 else 1
        b_rows.append(tuple(sign * c for c in [*_polynomial(others), Fraction(0)]))
        g_rows.append(tuple(sign * point**j / divisor for j in range(r)))
    b_rows.append(tuple(_polynomial(a)))
    g_rows.append(tuple(Fraction(int(j == r - 1)) for j in range(r)))
    a_rows = tuple(
        tuple([*(point**i for point in a), Fraction(int(i == m - 1))]) for i in range(m)
    )
    return tuple(b_rows), tuple(g_rows), a_rows


class TileKind(enum.IntEnum):
    """Run-time tile size of a layer; the value is the instruction's `tile` field."""

    DIRECT = 0  # F(2x2,1x1): a 2x2 quad of output pixels, identity transforms
    F2 = 1  # F(2x2,3x3)
    F4 = 2  # F(4x4,3x3)
    LINEAR = 3  # one output pixel: a direct tile whose four lanes share the reduction, and whose pixel (0, 0) adds them


@dataclass(frozen=True)
class Tile:
    """One tile size: m outputs per side, alpha inputs per side, `groups` groups of 4 taps."""

    kind: TileKind
    m: int
    r: int
    bt: Matrix
    g: Matrix
    at: Matrix

    @property
    def alpha(self) -> int:
        return self.m + self.r - 1

    @property
    def taps(self) -> int:
        return self.alpha**2

    @property
    def groups(self) -> int:
        return self.taps // TAP_LANES

    @property
    def input_growth(self) -> int:
        """max |B^T x B| / max |x|: the squared largest absolute row sum of B^T."""
        return int(max(sum(abs(c) for c in row) for row in self.bt)) ** 2

    @property
    def output_growth(self) -> int:
        """max |A^T M A| / max |M|."""
        return int(max(sum(abs(c) for c in row) for row in self.at)) ** 2


TAP_LANES = 4
"""Taps that the array processes at once: divides 16 and 36, and equals the 2x2 quad of a direct layer."""


@cache
def tile(kind: TileKind) -> Tile:
    """The Tile of a kind."""
    kind = TileKind(kind)
    if kind in (TileKind.DIRECT, TileKind.LINEAR):
        identity = tuple(tuple(Fraction(int(i == j)) for j in range(2)) for i in range(2))
        ones = ((Fraction(1),), (Fraction(1),))
        total = ((Fraction(1), Fraction(1)), (Fraction(0), Fraction(0)))
        return Tile(kind, 2, 1, identity, ones, identity if kind is TileKind.DIRECT else total)
    points = (0, 1, -1) if kind is TileKind.F2 else (0, 1, -1, 2, -2)
    m = 2 if kind is TileKind.F2 else 4
    bt, g, at = cook_toom(m, 3, points)
    return Tile(kind, m, 3, bt, g, at)


def as_float(matrix: Matrix) -> NDArray[np.float64]:
    return np.array([[float(c) for c in row] for row in matrix])


def as_int(matrix: Matrix) -> NDArray[np.int64]:
    """The matrix as integers; raises ValueError when an entry is a fraction."""
    if any(c.denominator != 1 for row in matrix for c in row):
        raise ValueError("matrix has fractions")
    return np.array([[int(c) for c in row] for row in matrix], dtype=np.int64)


@cache
def tap_order(kind: TileKind) -> tuple[tuple[int, int], ...]:
    """(row, column) of the transformed tile for each hardware tap position p = 4 * group + lane.

    F(4x4) has rows of six taps on four lanes: each pair of rows takes three groups, namely columns 0..3 of the first
    row, columns 0..3 of the second, then columns 4, 5 of both.
    """
    t = tile(kind)
    if t.alpha <= TAP_LANES:
        return tuple((i, j) for i in range(t.alpha) for j in range(t.alpha))
    order: list[tuple[int, int]] = []
    for i in range(0, t.alpha, 2):
        order += [(i, j) for j in range(4)] + [(i + 1, j) for j in range(4)]
        order += [(i, 4), (i, 5), (i + 1, 4), (i + 1, 5)]
    return tuple(order)


def transform_weights(kind: TileKind, weights: NDArray[np.floating]) -> NDArray[np.float64]:
    """U[p, k, c] = (G g G^T) in hardware tap order, from g[k, c, r, r] (float64).

    A direct tile takes g[k, c] or g[k, c, 1, 1] and returns one tap, which all four lanes share.
    """
    t = tile(kind)
    g = np.asarray(weights, dtype=np.float64)
    if t.kind is TileKind.DIRECT:
        return g.reshape(1, g.shape[0], g.shape[1])
    gm = as_float(t.g)
    u = np.einsum("ia,kcab,jb->ijkc", gm, g, gm)
    rows, columns = zip(*tap_order(kind), strict=True)
    return u[list(rows), list(columns)]


def output_tap_weights(kind: TileKind) -> NDArray[np.int64]:
    """|A^T[a, i] A^T[b, j]| as [m * m, taps] in hardware tap order: the growth of each output in each tap."""
    at = as_int(tile(kind).at)
    rows, columns = zip(*tap_order(kind), strict=True)
    both = np.einsum("ai,bj->abij", np.abs(at), np.abs(at))[:, :, list(rows), list(columns)]
    return both.reshape(-1, both.shape[-1])
