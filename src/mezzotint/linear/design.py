"""The two sides of the data as a solver sees them: products with the packed copy or with the float rows.

A Design multiplies; it knows nothing of losses. Sums run over rows and are not divided by anything.
Coefficients are (K, d + 1) with the intercept last, row arrays are (K, n) float32.
"""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mezzotint.kernels import ops, segment_bounds
from mezzotint.kernels.threads import worthwhile
from mezzotint.linear.objective import Problem
from mezzotint.packed import PackedMatrix, Source
from mezzotint.packed.sources import chunks

Coef = NDArray[np.float64]
RowArray = NDArray[np.float32]


class Design(Protocol):
    """Products of a matrix ``[X 1]`` with vectors."""

    pass_bytes: int  # read by one product
    n_passes: int  # products so far

    def margins(self, v: Coef, out: RowArray) -> None:
        """Write ``out = v [X 1]^T``."""

    def gradient(self, c: RowArray) -> Coef:
        """Return ``c [X 1]``."""

    def curvature(self, v: Coef, weights: RowArray, probabilities: RowArray | None, out: RowArray) -> Coef:
        """Write the margins of `v` into `out` and return ``(D out) [X 1]`` in one read.

        D is diag(weights), or for probabilities p the softmax curvature ``weights * (diag(p) - p p^T)``.
        """


class PackedDesign:
    """Products with the codes of a PackedMatrix."""

    def __init__(self, packed: PackedMatrix, n_threads: int) -> None:
        self._args = (packed.codes, packed.layout, packed.offset, packed.scale)
        self._threads = worthwhile(n_threads, packed.layout.n_rows * packed.layout.n_columns)
        self.pass_bytes = packed.layout.n_bytes
        self.n_passes = 0

    def margins(self, v: Coef, out: RowArray) -> None:
        """Write ``out = v [X 1]^T``."""
        self.n_passes += 1
        ops().packed_margins(*self._args, v, out, n_threads=self._threads)

    def gradient(self, c: RowArray) -> Coef:
        """Return ``c [X 1]``."""
        self.n_passes += 1
        return _total(ops().packed_gradient(*self._args, c, n_threads=self._threads), self._threads)

    def curvature(self, v: Coef, weights: RowArray, probabilities: RowArray | None, out: RowArray) -> Coef:
        """Margins and curvature product in one read of the codes."""
        self.n_passes += 1
        partials = ops().packed_curvature(
            *self._args, v, weights, probabilities, out, n_threads=self._threads
        )
        return _total(partials, self._threads)


class FloatDesign:
    """Products with float rows: the row sample, small problems, and the baseline without a packed copy."""

    def __init__(self, source: Source, n_threads: int) -> None:
        self._source = source
        self._bounds = segment_bounds(*source.shape)
        self._threads = worthwhile(n_threads, source.shape[0] * source.shape[1])
        self.pass_bytes = source.shape[0] * source.shape[1] * source.dtype.itemsize
        self.n_passes = 0

    def margins(self, v: Coef, out: RowArray) -> None:
        """Write ``out = v [X 1]^T``."""
        self._each_chunk("float_margins", v, out)

    def gradient(self, c: RowArray) -> Coef:
        """Return ``c [X 1]``."""
        return _total(np.concatenate(self._each_chunk("float_gradient", c)), self._threads)

    def curvature(self, v: Coef, weights: RowArray, probabilities: RowArray | None, out: RowArray) -> Coef:
        """Margins and curvature product in one read of the rows."""
        partials = self._each_chunk("float_curvature", v, weights, probabilities, out)
        return _total(np.concatenate(partials), self._threads)

    def _each_chunk(self, name: str, *arguments: Any) -> list[Any]:  # noqa: ANN401
        self.n_passes += 1
        kernel = getattr(ops(), name)
        return [
            kernel(rows, self._bounds, segments, *arguments, n_threads=self._threads)
            for segments, rows in chunks(self._source, self._bounds)
        ]


def design_of(problem: Problem) -> Design:
    """Products with the coarsest copy a problem has."""
    if problem.packed is not None:
        return PackedDesign(problem.packed, problem.n_threads)
    return FloatDesign(problem.source, problem.n_threads)


def _total(partials: NDArray[np.float64], n_threads: int) -> Coef:
    total: Coef = ops().tree_sum(partials, n_threads=worthwhile(n_threads, 4 * partials.size))
    return total
