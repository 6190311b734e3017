"""What a solver returns: coefficients, a status in words, a certificate and a trace."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

_FAR = 100.0  # times a tolerance that are far above it


class Status(Enum):
    """How a solver ended, in words."""

    CONVERGED = "converged: the estimated gap to the optimum is below the tolerance"
    FLOOR = "stopped at the floor of float64 arithmetic: the exact objective no longer falls"
    ITERATION_LIMIT = "stopped at max_iter: the best point found is returned; raise max_iter or tol"
    STALLED = "stopped without progress above the tolerance: the best point found is returned"
    SEPARABLE = "has no minimum: the classes can be separated and nothing holds the weights; give a finite C"
    FINISHED = "finished its passes: an answer of stochastic gradient descent, which has no certificate"
    RATE_TOO_LARGE = "diverged: the rate is larger than this data allows; give ZipML a smaller rate, or None"
    NO_MINIMUM = (
        "diverged: with so few rows for so few bits noise drowns the data; give more of either, or a penalty"
    )

    @classmethod
    def _missing_(cls, value: object) -> "Status | None":
        return cls.__members__.get(value) if isinstance(value, str) else None

    # Saved by name: words may change, files stay readable. skops asks for one form, pickle for the other.
    def __reduce__(self) -> tuple[type["Status"], tuple[str]]:
        return Status, (self.name,)

    def __reduce_ex__(self, protocol: object) -> tuple[type["Status"], tuple[str]]:
        return self.__reduce__()


@dataclass(frozen=True, kw_only=True)
class Iteration:
    """One exact pass: where the solver stood and what it had cost so far.

    Attributes
    ----------
    objective : float
        Exact objective F (float data, float64 sums), including the penalty.
    gradient_norm : float
        Euclidean norm of its gradient.
    gap_estimate : float
        Estimate of F - F*.
    seconds : float
        Wall-clock since the solver started, packing included if it packed.
    bytes_read : int
        Bytes of samples read so far, float and packed.
    coef : ndarray of shape (K, d + 1) or None
        Coefficients, kept only if the trace was asked to (benchmarks).
    """

    objective: float
    gradient_norm: float
    gap_estimate: float
    seconds: float
    bytes_read: int
    coef: NDArray[np.float64] | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class Flows:
    """Bytes that a descent moved, as ZipML counts them.

    Attributes
    ----------
    samples : int
        From the store of samples to where gradients are computed.
    model : int
        From the store of the model to there.
    gradient : int
        From there to where the model is updated.
    """

    samples: int
    model: int
    gradient: int


@dataclass(frozen=True, kw_only=True)
class Result:
    """The solution of a linear problem and the evidence for it.

    Attributes
    ----------
    coef : ndarray of float64, shape (K, d + 1)
        Coefficients, the intercept last (0 if none was fitted). Where ``coef_`` is float32 these are its
        numbers, and estimate and bounds hold for them.
    status : Status
        How the solver ended.
    objective : float
        Exact F at `coef`.
    gap_estimate : float
        Newton decrement, an estimate of F - F*; within a factor of three in our tests. NaN of "zipml".
    gap_bound : float
        Upper bound of F - F* that follows from strong convexity, ``|g|^2 / (2 lam)``, or of losses with a
        kink the duality gap; inf if lam = 0, and of "zipml".
    coef_bound : float
        Upper bound of the Euclidean distance of the weights (without intercept) to the optimum's,
        ``|g| / lam``, or ``sqrt(2 gap_bound / lam)``; inf if lam = 0, and of "zipml".
    solver : str
        The path taken: "newton", "halp", "exact", "svrg-float32", "multipliers" or "zipml".
    n_iter : int
        Outer iterations.
    trace : tuple of Iteration
        One entry per exact pass.
    exact_passes, packed_passes, factorisations : int
        Reads of the float rows, reads of the packed copy, builds of the preconditioner.
    intercept_slope : float
        Euclidean norm of the derivatives of F by the intercepts where the solver ended; NaN of "zipml" and of
        losses with a kink.
    at_zero : float
        F at zero coefficients, targets centred; NaN of "zipml".
    flows : Flows or None
        Bytes moved by ``solver="zipml"``.
    solution : {"exact", "unbiased", "quantised"}
        Which problem was solved: the one on the float data; by gradients that are unbiased estimates of
        its; the one on the values that the codes stand for.
    """

    coef: NDArray[np.float64]
    status: Status
    objective: float
    gap_estimate: float
    gap_bound: float
    coef_bound: float
    solver: str
    n_iter: int
    trace: tuple[Iteration, ...]
    exact_passes: int = 0
    packed_passes: int = 0
    factorisations: int = 0
    intercept_slope: float = np.nan
    at_zero: float = np.nan
    flows: Flows | None = None
    solution: str = "exact"

    def is_far(self, tol: float) -> bool:
        """Whether the gap may be far above a relative tolerance, as its bound says, or else its estimate."""
        gap = self.gap_bound if np.isfinite(self.gap_bound) else self.gap_estimate
        return self.scale > 0 and not gap <= _FAR * tol * self.scale

    @property
    def scale(self) -> float:
        """What gaps are relative to: the objective, or a millionth of what it is at zero, if that is more.

        Where a fit is perfect there is nothing else to be relative to; 0 where it is perfect at zero.
        """
        return max(abs(self.objective), 0.0 if np.isnan(self.at_zero) else 1e-6 * self.at_zero)

    def __str__(self) -> str:
        return (
            f"{self.status.value} (F = {self.objective:.10g}, estimated gap {self.gap_estimate:.1e}, "
            f"bound {self.gap_bound:.1e}, {self.n_iter} iterations by {self.solver!r})"
        )


Report = Callable[[int, Iteration], None]  # called after each exact pass with its number
