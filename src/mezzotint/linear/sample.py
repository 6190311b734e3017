"""Row samples: how many rows the preconditioner is built from, and which."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mezzotint.kernels.layout import ROW_GROUP
from mezzotint.linear.objective import Problem, dot, fixed_sum
from mezzotint.packed import ArraySource, PackedMatrix, Source
from mezzotint.packed.matrix import HeldCodes
from mezzotint.random import Stream, sample_rows, uniforms

_HELD_OUT = 128
_MAX_CANDIDATES = 2**17
_FLOPS, _BANDWIDTH = 60e9, 25e9  # of a typical core: they weigh costs against each other, nothing is timed


@dataclass(frozen=True, eq=False, kw_only=True)
class RowSample:
    """Sampled rows with their labels and weights.

    Attributes
    ----------
    index : ndarray of int64, shape (S,)
        Increasing row numbers; rows of weight zero are never drawn.
    source : Source
        The sampled rows; the problem's own source if every row is in the sample, so that nothing is copied.
    weights : ndarray of float64, shape (S,)
        Their sample weights; divided by the chance of being drawn where that differs between rows.
    total : float
        What sums over the sample are divided by to estimate weighted means over all rows.
    held_out : ndarray of shape (h, d) or None
        Other rows, used to measure what the sample does not see.
    """

    index: NDArray[np.int64]
    source: Source
    weights: NDArray[np.float64]
    total: float
    held_out: NDArray[Any] | None

    @property
    def rows(self) -> NDArray[Any]:
        """The sampled rows as one array."""
        return self.source.block(0, self.source.shape[0])

    @property
    def is_everything(self) -> bool:
        """Whether every row is in the sample."""
        return self.held_out is None


def sample_size(n_rows: int, n_columns: int, bits: int, n_blocks: int = 1) -> int:
    """Rows to sample: the least cost of factorisations, packed passes and solves.

    Fewer rows make cheaper factors but more iterations; the relative numbers of iterations (1 at six
    times the columns) are measured ones, see docs/log.md.

    Parameters
    ----------
    n_rows, n_columns : int
        Shape of the data.
    bits : int
        Bits per value of the copy that inner loops read.
    n_blocks : int
        Diagonal blocks to factorise: the classes of a multinomial problem.
    """
    d = n_columns
    options = [(12 * d, 0.83), (8 * d, 0.9), (6 * d, 1.0), (4 * d, 1.17), (3 * d, 1.4), (2 * d, 1.9)]
    options += [(min(1024, d // 2), 2.6), (min(512, d // 4), 3.3)]
    floor = min(8192, 2**20 // d) if d <= 512 else 256  # rare columns of narrow data must be seen
    best_cost, best_size = np.inf, n_rows
    for size, iterations in options:
        size = min(n_rows, max(size, floor))
        cost = _cost(size, d, 1.0 if size == n_rows else iterations, n_rows * d * bits / 8, n_blocks)
        if cost < best_cost:
            best_cost, best_size = cost, size
    return best_size


def _cost(size: int, d: int, iterations: float, packed_bytes: float, n_blocks: int) -> float:
    wide = size < d
    factor = size * size * d / 2 + 2 * size**3 / 3 if wide else 2 * (size * d * d / 2 + d**3 / 3)
    solve_bytes = n_blocks * min(size, d) * d * 8
    products = packed_bytes * max(1.0, n_blocks / 4)  # many classes are bound by arithmetic
    return n_blocks * factor / _FLOPS + 22 * iterations * (products + solve_bytes) / _BANDWIDTH


def draw_sample(problem: Problem, size: int, seed: int) -> RowSample:
    """Draw `size` rows of positive weight without replacement, and a few more to hold out."""
    weights = problem.weights
    eligible = None if weights is None else np.flatnonzero(weights > 0)
    n_eligible = problem.n_rows if eligible is None else len(eligible)
    if size >= n_eligible:
        return everything(problem)
    drawn = np.sort(
        sample_rows(seed, n_eligible, min(n_eligible, size + _HELD_OUT), stream=Stream.ROW_SAMPLE)
    )
    held = np.zeros(len(drawn), dtype=bool)
    held[np.linspace(0, len(drawn) - 1, len(drawn) - size).astype(np.int64)] = True
    drawn = drawn if eligible is None else eligible[drawn].astype(np.int64)
    index = drawn[~held]
    sampled = np.ones(len(index)) if weights is None else weights[index]
    return RowSample(
        index=index,
        source=ArraySource(problem.source.rows(index)),
        weights=sampled,
        total=fixed_sum(sampled),
        held_out=problem.source.rows(drawn[held]),
    )


def everything(problem: Problem) -> RowSample:
    """All rows as a sample."""
    return RowSample(
        index=np.arange(problem.n_rows),
        source=problem.source,
        weights=np.ones(problem.n_rows) if problem.weights is None else problem.weights,
        total=problem.total_weight,
        held_out=None,
    )


def candidate_rows(problem: Problem, seed: int) -> NDArray[np.int64]:
    """Return at most 2**17 rows of positive weight to draw from: it bounds the memory that drawing takes.

    Drawn by counter: every fixed stride shares a factor with somebody's interleaved folds.
    """
    weights = problem.weights
    eligible = np.arange(problem.n_rows) if weights is None else np.flatnonzero(weights > 0)
    if len(eligible) > _MAX_CANDIDATES:
        drawn = sample_rows(seed, len(eligible), _MAX_CANDIDATES, stream=Stream.CANDIDATES)
        eligible = eligible[np.sort(drawn)]
    return eligible.astype(np.int64)


def draw_by_curvature(
    problem: Problem, candidates: NDArray[np.int64], curvature: NDArray[np.float64], size: int, seed: int
) -> RowSample:
    """Draw about `size` rows with chances proportional to their curvature, mixed with a tenth of uniform.

    Where margins are large few rows curve the objective; a uniform sample would hold hardly any of them.
    Systematic sampling: one row per equal share of the cumulated chances; repeated rows count repeatedly.

    Parameters
    ----------
    problem : Problem
    candidates : ndarray of int64, shape (m,)
        Rows to draw from.
    curvature : ndarray of float64, shape (m,)
        ``l''_i`` of the candidates, summed over the outputs.
    size : int
        Draws.
    seed : int
        Of the one random offset.
    """
    weights = np.ones(len(candidates)) if problem.weights is None else problem.weights[candidates]
    total = fixed_sum(weights)
    chance = weights * (0.9 / dot(weights, curvature) * curvature + 0.1 / total)
    cumulated = np.cumsum(chance)
    points = (np.arange(size) + uniforms(seed, 0, 1, stream=Stream.CURVATURE_SAMPLE)[0]) * (
        cumulated[-1] / size
    )
    drawn, count = np.unique(np.searchsorted(cumulated, points), return_counts=True)
    drawn = np.minimum(drawn, len(candidates) - 1)
    index = candidates[drawn]
    return RowSample(
        index=index,
        source=ArraySource(problem.source.rows(index)),
        weights=weights[drawn] * count / (size * chance[drawn]),
        total=total,
        held_out=np.empty((0, problem.n_columns)),
    )


def thinned(problem: Problem, share: int, seed: int) -> Problem:
    """Keep one in `share` of the groups of 16 rows that have a positive weight, packed codes included.

    Drawn by counter, not the head, so that sorted data are thinned evenly. Copies about 1/share of the codes.
    """
    groups = _weighted_groups(problem)
    count = max(1, -(-len(groups) // share))
    groups = groups[np.sort(sample_rows(seed, len(groups), count, stream=Stream.THINNED))]
    index = (groups[:, None] * ROW_GROUP + np.arange(ROW_GROUP)).ravel()
    index = index[index < problem.n_rows].astype(np.int64)
    packed = None if problem.packed is None else _thinned_codes(problem.packed, groups, len(index))
    source = problem.source if packed is not None else ArraySource(problem.source.rows(index))
    weights = None if problem.weights is None else problem.weights[index]
    y = np.ascontiguousarray(problem.y[:, index])
    return replace(problem, source=source, packed=packed, y=y, weights=weights)


def _weighted_groups(problem: Problem) -> NDArray[np.int64]:
    """Groups of 16 rows, of which at least one has a positive weight."""
    count = -(-problem.n_rows // ROW_GROUP)
    if problem.weights is None:
        return np.arange(count, dtype=np.int64)
    starts = np.arange(0, problem.n_rows, ROW_GROUP)
    return np.flatnonzero(np.maximum.reduceat(problem.weights, starts) > 0).astype(np.int64)


def _thinned_codes(packed: PackedMatrix, groups: NDArray[np.int64], n_rows: int) -> PackedMatrix:
    layout = replace(packed.layout, n_rows=n_rows)
    codes = packed.codes.reshape(-1, ROW_GROUP * packed.layout.row_bytes)[groups].reshape(-1)
    return replace(packed, held=HeldCodes(codes), layout=layout, source=None)
