"""The Hessian of a multinomial problem on all rows, with the curvature between its classes, factorised.

Between two classes that share their rows the diagonal blocks show curvature where there is none (both margins
may grow together), and Newton's method with blocks alone crawls. Here the matrix is whole:

    H_kl = (1/S) sum_i s_i p_ik ([k = l] - p_il) (a_i, 1) (a_i, 1)^T + [k = l] lam I

for centred rows a_i. Shifting all classes together changes nothing; that direction is given curvature, which
steps along gradients (whose classes sum to zero) never meet.
"""

import itertools

import numpy as np
from numpy.typing import NDArray

from mezzotint.kernels import ops
from mezzotint.kernels.threads import worthwhile
from mezzotint.linear.factors import Added, CentredRows, CholeskyFactors, Penalty, weighted_mean
from mezzotint.linear.objective import Coef
from mezzotint.packed import Source

Array = NDArray[np.float64]

_MOST_UNKNOWNS = 2048
_MOST_WORK = 4e11  # multiply-adds of a build
_CHUNK_VALUES = 2**22  # curvatures held at a time


def is_affordable(n_rows: int, n_columns: int, n_outputs: int) -> bool:
    """Whether the whole Hessian of a problem of this shape can be built and factorised."""
    unknowns = n_outputs * (n_columns + 1)
    return unknowns <= _MOST_UNKNOWNS and unknowns * unknowns * (n_rows / 4 + unknowns / 3) <= _MOST_WORK


def remainders(p: Array) -> Array:
    """Return ``1 - p`` for probabilities (K, S) as the sum of the others: accurate, and all of one kind.

    Probabilities in float32 sum to 1 up to 1e-7; what is left of that would curve directions that are flat.
    """
    below, above = np.zeros_like(p), np.zeros_like(p)
    for k in range(1, len(p)):  # np.cumsum along columns takes ten times as long
        np.add(below[k - 1], p[k - 1], out=below[k])
        np.add(above[-k], p[-k], out=above[-k - 1])
    out: Array = below + above
    return out


class CoupledCurvature:
    """The Hessian of all rows; `build` it for current probabilities, then `solve`.

    Parameters
    ----------
    source : Source
        All rows, shape (n, d).
    weights : ndarray of float64, shape (n,)
        Sample weights.
    total : float
        Their sum.
    penalty : float or ndarray of float64, shape (d,)
        lam, or of each column.
    fit_intercept : bool
        Whether there are intercepts.
    n_threads : int
        Threads.
    """

    max_factors = 1

    def __init__(
        self,
        source: Source,
        weights: Array,
        total: float,
        penalty: Penalty,
        *,
        fit_intercept: bool,
        n_threads: int,
    ) -> None:
        self._mean = weighted_mean(source, weights) if fit_intercept else np.zeros(source.shape[1])
        self._rows = CentredRows(source, self._mean, np.dtype(np.float64), keep=False)
        self._weights = weights / total
        self._penalty = penalty
        self._fit_intercept = fit_intercept
        self._threads = n_threads
        self._factors: CholeskyFactors | None = None
        n, d = source.shape
        self.build_cost = n * d * d

    @property
    def is_exact(self) -> bool:
        """Whether nothing that matters was added to the Hessian to factorise it."""
        return self._factors is not None and self._factors.is_exact

    def hidden(self, step: Coef, curvatures: Penalty) -> float:
        """What the curvature that was added to H may hide, see `Added.hidden`."""
        if self._factors is None:
            raise RuntimeError("build comes before hidden")
        added = self._factors.added
        shape = step.shape
        own = Added(added.amount.reshape(shape)[:, :-1], added.least.reshape(shape)[:, :-1])
        return own.hidden(step[:, :-1], curvatures)

    def build(self, probabilities: Array) -> int:
        """Factorise for probabilities of shape (K, n); returns the number of factorisations."""
        k, d = len(probabilities), self._rows.n_columns
        pairs = list(itertools.combinations_with_replacement(range(k), 2))
        blocks = np.zeros((len(pairs), d + 1, d + 1))
        rest = remainders(probabilities)
        step = max(1, _CHUNK_VALUES // len(pairs))
        for part, rows in self._rows:
            for start in range(0, len(rows), step):
                here = rows[start : start + step]
                at = slice(part.start + start, part.start + start + len(here))
                p, s = probabilities[:, at], self._weights[at]
                curvature = np.stack([s * p[a] * (rest[a, at] if a == b else -p[b]) for a, b in pairs])
                self._add(blocks, here, curvature)
        self._factors = CholeskyFactors(self._whole(blocks, pairs, k)[None], np.zeros((1, 1)), self._threads)
        return 1

    def _add(self, blocks: Array, rows: Array, curvature: Array) -> None:
        bordered = np.column_stack([rows, np.ones(len(rows))])
        n_threads = worthwhile(self._threads, blocks.size / 2 * len(rows))
        ops().add_grams(blocks, bordered, curvature, n_threads=n_threads)

    def _whole(self, blocks: Array, pairs: list[tuple[int, int]], k: int) -> Array:
        size = blocks.shape[1]
        whole = np.zeros((k, size, k, size))
        for block, (a, b) in zip(blocks, pairs, strict=True):
            whole[a, :, b, :] = whole[b, :, a, :] = block
        own, diagonal = np.arange(k), np.arange(size)
        average = whole[own[:, None], diagonal, own[:, None], diagonal].mean(axis=0)
        unpenalised = np.append(np.broadcast_to(self._penalty, (size - 1,)) == 0, True)
        lifted = np.where(unpenalised, np.where(average > 0, average, 1.0), 0.0)
        whole[:, diagonal, :, diagonal] += lifted[:, None, None]
        whole[own[:, None], diagonal[:-1], own[:, None], diagonal[:-1]] += self._penalty
        if not self._fit_intercept:
            whole[:, -1, :, :] = whole[:, :, :, -1] = 0.0
            whole[own, -1, own, -1] = 1.0
        return whole.reshape(k * size, k * size)

    def solve(self, r: Coef) -> Coef:
        """Return ``H^-1 r`` for r of shape (K, d + 1); where nothing is penalised its classes sum to zero."""
        if self._factors is None:
            raise RuntimeError("build comes before solve")
        right = r.copy()
        right[:, :-1] -= self._mean * r[:, -1:]
        out: Coef = self._factors.solve(right.reshape(1, -1)).reshape(r.shape)
        out[:, -1] -= np.array([float(ops().dot(np.ascontiguousarray(row[:-1]), self._mean)) for row in out])
        if not self._fit_intercept:
            out[:, -1] = 0.0
        out -= out.sum(axis=0) / len(out)
        return out
