"""The exact objective of a linear problem on its float rows.

``F(W, b) = (1/S) sum_i s_i l(W x_i + b, y_i) + (lam/2) |W|^2`` with ``S = sum_i s_i``; the intercept b
is not penalised. One read of X gives margins, value and gradient, with float64 arithmetic throughout.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mezzotint.kernels import ops, segment_bounds
from mezzotint.kernels.reference import losses
from mezzotint.kernels.threads import worthwhile
from mezzotint.linear.extent import Extent, column_extent
from mezzotint.packed import PackedMatrix, Source
from mezzotint.packed.pack import raise_if_bad
from mezzotint.packed.sources import chunks
from mezzotint.random import Stream, sample_rows

Coef = NDArray[np.float64]
_ONES = np.ones(2**14)
_SOME_ROWS = 4096
LEAST_SCALE = 1e-12  # of the objective at zero: gaps are relative to the objective, or to this if it is less


@dataclass(frozen=True, eq=False, kw_only=True)
class Problem:
    """A linear problem: float rows, labels, loss and penalty, and optionally the packed copy.

    Attributes
    ----------
    source : Source
        Float rows, shape (n, d).
    packed : PackedMatrix or None
        The low-bit copy that inner loops read.
    loss : str
        Pointwise loss: "logistic" with labels in {0, 1}; "squared", half the squared error; "softmax",
        multinomial; "squared_hinge" and "squared_epsilon_insensitive", half the squared distance of K margins
        from where a label (one against the rest) or an interval wants them; "hinge" and
        "epsilon_insensitive", that distance.
    y : ndarray of float64, shape (1, n), (K, n) or (2 K, n)
        Labels {0, 1} or class indices; targets of K outputs; lower and upper ends of K intervals.
    n_outputs : int
        K: 1, the number of targets or the number of classes.
    weights : ndarray of float64, shape (n,), or None
        Sample weights s_i >= 0, not all zero; None means ones.
    penalty : float
        lam >= 0.
    fit_intercept : bool
        Whether b is free; it is 0 otherwise.
    n_threads : int
        Threads; the results do not depend on it.
    frame : Frame or None
        The coordinates that `source` and `packed` are seen in, if not those of the data; see
        `mezzotint.linear.frame`.
    pinned : ndarray of float64, shape (d,), or None
        Further penalties on columns that others express, so that only one solution is left. They are no part
        of the objective: at the solution pinned weights are zero.
    known_extent : Extent or None
        How far the columns reach, if that is known.
    coef_dtype : type
        Type that the solution is rounded to, see `mezzotint.linear.rounded`.
    """

    source: Source
    packed: PackedMatrix | None
    loss: str
    y: NDArray[np.float64]
    n_outputs: int
    weights: NDArray[np.float64] | None
    penalty: float
    fit_intercept: bool
    n_threads: int
    frame: Any = None
    pinned: NDArray[np.float64] | None = None
    known_extent: Extent | None = None
    coef_dtype: type[np.float32] | type[np.float64] = np.float64

    @property
    def n_rows(self) -> int:
        """Number of samples n."""
        return int(self.y.shape[1])

    @property
    def n_columns(self) -> int:
        """Number of features d, without the intercept."""
        return self.source.shape[1]

    @cached_property
    def total_weight(self) -> float:
        """S, the sum of the sample weights."""
        return float(self.n_rows) if self.weights is None else fixed_sum(self.weights)

    @cached_property
    def some_rows(self) -> NDArray[np.int64]:
        """At most 4096 rows of positive weight, drawn by counter, shape (m,)."""
        eligible = np.arange(self.n_rows) if self.weights is None else np.flatnonzero(self.weights > 0)
        count = min(len(eligible), _SOME_ROWS)
        return eligible[np.sort(sample_rows(0, len(eligible), count, stream=Stream.SOME_ROWS))].astype(
            np.int64
        )

    @property
    def n_blocks(self) -> int:
        """Outputs with curvatures of their own: the targets of least squares share theirs."""
        return 1 if self.loss == "squared" else self.n_outputs

    @property
    def is_piecewise(self) -> bool:
        """Whether curvatures are 0 or 1, and switch where margins enter or leave an interval."""
        return self.loss in losses.PIECEWISE

    def labels_of(self, output: int) -> NDArray[np.float64]:
        """Labels or interval of one output of a piecewise loss, as a problem of its own has them."""
        if self.loss == "squared_hinge":
            return self.y if self.n_outputs == 1 else (self.y == output).astype(np.float64)
        return np.ascontiguousarray(self.y[[output, self.n_outputs + output]])

    @property
    def row_threads(self) -> int:
        """Threads for a pass over margins, which costs about 64 multiply-adds each."""
        return worthwhile(self.n_threads, 64 * self.n_outputs * self.n_rows)

    def loss_gradient_at_zero(self) -> NDArray[np.float32]:
        """Return ``s_i l'(0, y_i)`` for every output, shape (K, n)."""
        if self.loss == "logistic":
            slope = 0.5 - self.y
        elif self.loss == "squared":
            slope = -self.y
        elif self.is_piecewise:
            slope = losses.slopes(self.loss, np.zeros((self.n_outputs, self.n_rows)), self.y)
        else:
            slope = 1.0 / self.n_outputs - (self.y == np.arange(self.n_outputs)[:, None])
        weighted = slope if self.weights is None else slope * self.weights
        return weighted.astype(np.float32)

    @cached_property
    def extent(self) -> Extent:
        """How far the columns reach, of nearly all rows."""
        return self.known_extent or column_extent(self.source, self.packed, self.weights, 0)

    @cached_property
    def penalties(self) -> float | NDArray[np.float64]:
        """Lam, or what it is for each column of the frame: ``lam 4^-e_j``, shape (d,)."""
        if self.frame is None:
            return self.penalty
        scaled: NDArray[np.float64] = np.ldexp(self.penalty, -2 * self.frame.exponent)
        return scaled

    @cached_property
    def curvatures(self) -> float | NDArray[np.float64]:
        """Curvature of everything but the loss, by column: penalties, and pins if there are any."""
        return self.penalties if self.pinned is None else self.penalties + self.pinned

    def zeros(self) -> Coef:
        """Coefficients (K, d + 1) of all zeros."""
        return np.zeros((self.n_outputs, self.n_columns + 1))

    def penalised(self, v: Coef) -> Coef:
        """Lam * v with the intercept left out: the gradient of the penalty at v."""
        out = np.empty(v.shape)
        np.multiply(v[:, :-1], self.curvatures, out=out[:, :-1])
        out[:, -1] = 0.0
        return out

    def evaluate(self, coef: Coef, phi: NDArray[np.float64] | None = None) -> "Evaluation":
        """Read the float rows once; see `Evaluation`. `phi` (K, n) is overwritten if given."""
        if phi is None:
            phi = np.empty((self.n_outputs, self.n_rows))
        bounds = segment_bounds(*self.source.shape)
        n_threads = worthwhile(self.n_threads, 4 * coef.size * self.n_rows)  # twice, in float64
        values, gradients = [], []
        for segments, rows in chunks(self.source, bounds):
            value, gradient = ops().exact_pass(
                rows, bounds, segments, coef, self.loss, self.y, self.weights, phi, n_threads=n_threads
            )
            values.append(value)
            gradients.append(gradient)
        return self._assemble(coef, np.concatenate(values), np.concatenate(gradients), phi)

    def _assemble(
        self,
        coef: Coef,
        values: NDArray[np.float64],
        gradients: NDArray[np.float64],
        phi: NDArray[np.float64],
    ) -> "Evaluation":
        penalty_gradient = self.penalised(coef)
        value = fixed_sum(values) / self.total_weight + 0.5 * dot(penalty_gradient, coef)
        gradient = ops().tree_sum(gradients) / self.total_weight + penalty_gradient
        if not self.fit_intercept:
            gradient[:, -1] = 0.0
        return Evaluation(value=value, gradient=gradient, phi=phi, coef=coef)


@dataclass(frozen=True, eq=False, kw_only=True)
class Evaluation:
    """The exact objective at one point.

    Attributes
    ----------
    value : float
        F.
    gradient : ndarray of float64, shape (K, d + 1)
        Gradient of F; the last column is 0 without an intercept.
    phi : ndarray of float64, shape (K, n)
        Margins.
    coef : ndarray of float64, shape (K, d + 1)
        The point.
    """

    value: float
    gradient: Coef
    phi: NDArray[np.float64]
    coef: Coef


def _are_float32(weights: Coef) -> bool:
    with np.errstate(over="ignore"):
        return np.array_equal(weights, weights.astype(np.float32))


def centred_over_classes(problem: Problem, point: Evaluation) -> Evaluation:
    """Take the shift of all classes together that lets them sum to zero: it changes no probability.

    For the penalised weights the optimum is like that by itself; unpenalised ones and intercepts need it.
    Margins are left as they are: all classes' are off by the same.
    """
    if problem.loss != "softmax":
        return point
    mean = point.coef.sum(axis=0, keepdims=True) / problem.n_outputs
    if problem.penalty > 0 and problem.coef_dtype is np.float32 and _are_float32(point.coef[:, :-1]):
        mean[:, :-1] = 0.0  # what rounding left of it: they are to stay float32 numbers
    pull = problem.penalised(mean)
    return Evaluation(
        value=point.value - 0.5 * problem.n_outputs * dot(pull, mean),
        gradient=point.gradient - pull,
        phi=point.phi,
        coef=point.coef - mean,
    )


class Evaluator:
    """Evaluates a problem, counts the reads, and leaves the margins of a point that is kept alone.

    Two arrays of margins are enough: of the point where a solver stands, and of the next one.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._margins: list[NDArray[np.float64]] = []
        self.n_passes = 0

    def __call__(self, coef: Coef, beside: Evaluation | None = None) -> Evaluation:
        """Read the float rows once; every evaluation but `beside` loses its margins."""
        self.n_passes += 1
        free = [phi for phi in self._margins if beside is None or phi is not beside.phi]
        if not free:
            free = [np.empty((self._problem.n_outputs, self._problem.n_rows))]
            self._margins += free
        return self._problem.evaluate(coef, free[0])

    def objective_at_zero(self) -> float:
        """F at zero coefficients, which costs no read."""
        problem = self._problem
        phi = self._margins[0] if self._margins else np.empty((problem.n_outputs, problem.n_rows))
        phi[:] = 0.0
        found = ops().loss_sum(problem.loss, phi, problem.y, problem.weights) / problem.total_weight
        self._margins = [phi]
        return float(found)


def separates(problem: Problem, phi: NDArray[np.float64]) -> bool:
    """Whether margins (K, n) put every row of positive weight on the side of its label.

    Then multiples of their coefficients bring a logistic loss as near to zero as one likes.
    """
    counted = slice(None) if problem.weights is None else problem.weights > 0
    labels, rows = problem.y[0, counted].astype(np.int64), phi[:, counted]
    if len(rows) == 1:
        return bool(((2 * labels - 1) * rows[0] > 0).all())
    at = np.arange(len(labels))
    own, others = rows[labels, at], rows.copy()
    others[labels, at] = -np.inf
    return bool((own > others.max(axis=0)).all())


def margins(source: Source, coef: Coef, n_threads: int, *, checked: bool = True) -> NDArray[np.float64]:
    """Return ``coef [X 1]^T`` in float64, shape (K, n), reading the rows in blocks.

    Raises
    ------
    DataError
        If a row holds NaN or infinity; rows that have been seen before need not be `checked`.
    """
    n = source.shape[0]
    bounds = segment_bounds(*source.shape)
    out, zeros = np.empty((len(coef), n)), np.zeros((len(coef), n))
    for segments, rows in chunks(source, bounds):
        if checked:
            raise_if_bad(ops().first_nonfinite(rows, n_threads=n_threads), rows, int(bounds[segments[0]]))
        ops().exact_pass(rows, bounds, segments, coef, "squared", zeros, None, out, n_threads=n_threads)
    return out


def dot(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Inner product in a fixed order (BLAS orders depend on the machine)."""
    return float(ops().dot(a, b))


def norm(a: NDArray[np.float64]) -> float:
    """Euclidean norm in a fixed order."""
    return float(np.sqrt(dot(a, a)))


def fixed_sum(a: NDArray[np.floating]) -> float:
    """Sum in float64 and in a fixed order, without a copy of a long vector."""
    flat = a.reshape(-1)
    if len(flat) <= len(_ONES):
        return dot(np.ascontiguousarray(flat, dtype=np.float64), _ONES[: len(flat)])
    parts = [flat[start : start + len(_ONES)] for start in range(0, len(flat), len(_ONES))]
    sums = [dot(np.ascontiguousarray(part, dtype=np.float64), _ONES[: len(part)]) for part in parts]
    return dot(np.array(sums), np.ones(len(sums)))
