"""Curvature of a row sample, factorised: the preconditioner of Newton-PCG.

M = A^T Omega A / sum(s) + rho I over the sampled rows A, one block per output, with the intercept as an
unpenalised column of ones that is eliminated in block form. Rows are never rounded here, which makes M the
reference that curvature from rounded data is checked against.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mezzotint.kernels import ops
from mezzotint.linear.factors import (
    CentredRows,
    CholeskyGrams,
    Grams,
    Penalty,
    WoodburyGrams,
    centre,
    factor_of,
    weighted_mean,
)
from mezzotint.linear.objective import Coef, fixed_sum
from mezzotint.packed import Source

_FLOAT64_BELOW = 256  # columns up to which the factor is kept in float64
_KEPT_VALUES = 2**20  # of centred rows that are kept whatever they are for
_MAX_FACTOR_VALUES = 2**26  # over all outputs; beyond it outputs share factors


class SampleCurvature:
    """Preconditioner from a row sample; `build` it for the current curvatures, then `solve`.

    It is block-diagonal over the outputs. Outputs of equal curvature (several targets of least squares)
    share one factor; classes have one each, or share them in groups where memory would not suffice.

    Parameters
    ----------
    source : Source
        Sampled rows, shape (S, d).
    weights : ndarray of float64, shape (S,)
        Their sample weights.
    total : float
        What sums over the sample are divided by.
    penalty : float or ndarray of float64, shape (d,)
        lam, or of each column.
    fit_intercept : bool
        Rows are centred, so that the intercept decouples from large column means.
    held_out : ndarray of shape (h, d) or None
        Further rows; with fewer sampled rows than columns they measure the energy outside the sample's span.
    coupled : bool
        Outputs are classes of one distribution: shifting all together leaves the loss as it is.
    exact : bool
        The sample is all rows: M holds the Hessian's diagonal blocks themselves, factorised in float64.
    n_threads : int
        Threads.
    """

    def __init__(
        self,
        source: Source,
        weights: NDArray[np.float64],
        total: float,
        penalty: Penalty,
        *,
        fit_intercept: bool,
        held_out: NDArray[Any] | None,
        coupled: bool,
        exact: bool,
        n_threads: int,
    ) -> None:
        self._weights = weights
        self._total = total
        self._coupled = coupled
        self._mean = weighted_mean(source, weights) if fit_intercept else None
        shape = source.shape
        dtype = np.dtype(np.float64 if exact or min(shape) <= _FLOAT64_BELOW else np.float32)
        self._grams: Grams
        if shape[0] < shape[1]:
            held = None if held_out is None or exact else centre(held_out, self._mean, dtype)
            rows = centre(source.block(0, shape[0]), self._mean, dtype)
            self._grams = WoodburyGrams(rows, penalty, held, n_threads)
        else:
            rows_in_parts = CentredRows(
                source, self._mean, dtype, keep=not exact or shape[0] * shape[1] <= _KEPT_VALUES
            )
            self._grams = CholeskyGrams(rows_in_parts, penalty, n_threads)
        self._blocks: _Bordered | None = None
        self._relative: NDArray[np.float64] | None = None
        self.max_factors = max(1, _MAX_FACTOR_VALUES // min(shape) ** 2)
        self.build_cost = _build_cost(*shape)

    def build(self, curvature: NDArray[np.float64]) -> int:
        """Factorise for pointwise curvatures; returns the number of factorisations.

        Parameters
        ----------
        curvature : ndarray of float64, shape (1, S) or (K, S)
            Diagonal curvature l'' (softmax: p (1 - p)) of the sampled rows, shared by the outputs or not.
        """
        n_outputs = len(curvature)
        alike = bool((curvature == curvature[0]).all())  # classes at zero coefficients
        n_factors = 1 if alike else min(n_outputs, self.max_factors)
        omega = curvature * (self._weights / self._total)
        shared = np.zeros((n_factors, omega.shape[1]))
        member = factor_of(n_outputs, n_factors)
        for output, factor in enumerate(member.tolist()):
            shared[factor] += omega[output] / (member == factor).sum()
        self._blocks = _Bordered(self._grams, shared, self._mean)
        means = np.array([fixed_sum(row) for row in omega])
        of_factors = np.array([max(fixed_sum(row), 1e-300) for row in shared])
        self._relative = None if n_factors == n_outputs else np.maximum(means / of_factors[member], 1e-3)
        return n_factors

    @property
    def is_exact(self) -> bool:
        """Whether nothing that matters was added to the matrices to factorise them."""
        return self._blocks is not None and self._blocks.is_exact

    def hidden(self, step: Coef, curvatures: Penalty) -> float:
        """What the curvature that was added to M may hide of ``r M^-1 r``, for ``step = M^-1 r``."""
        if self._blocks is None:
            raise RuntimeError("build comes before hidden")
        return self._blocks.added.hidden(step[:, :-1], curvatures)

    def solve(self, r: Coef) -> Coef:
        """Return ``M^-1 r`` for r of shape (K, d + 1), block elimination of the intercept included."""
        if self._blocks is None:
            raise RuntimeError("build comes before solve")
        out = self._blocks.solve(r)
        if self._relative is not None:
            out /= self._relative[:, None]
        if self._coupled:  # the blocks do not know of this null direction
            out -= out.sum(axis=0) / len(out)
        return out


class _Bordered:
    """Factors of the blocks, each bordered by the unpenalised intercept."""

    def __init__(self, grams: Grams, omega: NDArray[np.float64], mean: NDArray[np.float64] | None) -> None:
        self._beta = None if mean is None else np.array([_curvature_of_intercept(row) for row in omega])
        self._factors = grams.factor(omega, self._beta)
        self.is_exact, self.added = self._factors.is_exact, self._factors.added
        # Column of the intercept in the coordinates of the caller, whose rows are not centred.
        self._shift = None
        if mean is not None and self._beta is not None:
            self._shift = mean + self._factors.m / self._beta[:, None]

    def solve(self, r: Coef) -> Coef:
        out = np.zeros_like(r)
        if self._shift is None or self._beta is None:
            out[:, :-1] = self._factors.solve(np.ascontiguousarray(r[:, :-1]))
            return out
        member = factor_of(len(r), len(self._beta))
        shift = self._shift[member]
        u = self._factors.solve(r[:, :-1] - shift * r[:, -1:])
        out[:, :-1] = u
        out[:, -1] = r[:, -1] / self._beta[member] - ops().dots(shift, u)
        return out


def _curvature_of_intercept(omega: NDArray[np.float64]) -> float:
    """Sum of the sampled rows' curvatures; one row's worth where none is curved.

    Others may be, and an intercept without any curvature would take a step without end. The coefficients need
    no such help: their penalty curves them, and any more would make the gap seem smaller than it is.
    """
    return fixed_sum(omega) or 1.0 / len(omega)


def _build_cost(n_sample: int, n_columns: int) -> float:
    """Multiply-adds of one build."""
    if n_sample < n_columns:
        return n_sample**3 / 3
    return n_sample * n_columns**2 / 2 + n_columns**3 / 3
