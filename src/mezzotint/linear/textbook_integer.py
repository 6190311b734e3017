"""LM-HALP: HALP for linear models in integer arithmetic, and the float64 emulation it equals bit for bit.

For f_i(w) = l(x_i.w) the margin splits as x_i.(w~ + z) = phi_i + x_i.z, where phi = X w~ is cached once per
epoch and x_i.z is an integer dot product of two low-precision vectors. One step multiplies the row by one
rounded scalar, subtracts it and a constant from the offset, and rounds the offset back to its grid.

Formats (in the paper's order)
------------------------------
============== ================= ====================================================================
data           (s_x, b_x)        samples, quantised once before training
offset         (s_k, b)          z; s_k = ||g~|| / (mu (2**(b-1) - 1)), new in every epoch
scalar step    (s_p, p)          step * (l'(phi_i + x_i.z) - l'(phi_i)), one per inner step
product        (s_x s_p, wide)   scalar times row, the accumulator and the constant step * g~
============== ================= ====================================================================

The product's quantum s_g = s_x s_p makes every multiplication exact, and s_k / s_g is a power of two, so that
rounding the accumulator to the offset's grid is: add random low bits, shift right, saturate.

References
----------
C. De Sa et al., arXiv:1803.03383, the version of HALP for linear models; two public ports differ in the rule
for s_g: github.com/JianGoForIt/halp ``optim/lm_halp.py`` has rule "A", a Julia port has rule "B".
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import DataError, ParameterError
from mezzotint.formats import FixedPoint, Rounding, decode, encode
from mezzotint.linear.textbook_problem import LinearProblem, Vector
from mezzotint.linear.textbook_run import (
    EpochDraws,
    EpochOutcome,
    Option,
    TextbookResult,
    check_positive,
    run,
    warn_if_clipped,
)
from mezzotint.random import to_uniform

__all__ = ["QuantisedFeatures", "Widths", "lm_halp", "quantise_features"]

Codes = NDArray[np.signedinteger[Any]]


class QuantisedFeatures(NamedTuple):
    """Samples as codes of one fixed-point grid.

    Examples
    --------
    >>> data = quantise_features(np.eye(2), bits=8, random_bits=np.full((2, 2), 2**31, np.uint32))
    >>> data.codes.tolist()
    [[127, 0], [0, 127]]
    """

    codes: Codes
    """Shape (n, d), int8 or int16."""
    grid: FixedPoint

    def values(self) -> Vector:
        """Return the quantised samples as float64, exactly."""
        return decode(self.codes, self.grid)


def quantise_features(features: Vector, *, bits: int, random_bits: NDArray[np.uint32]) -> QuantisedFeatures:
    """Round samples to the grid that spans their largest magnitude, stochastically.

    Parameters
    ----------
    features : ndarray of float64, shape (n, d)
        Samples, finite and not all zero.
    bits : int
        Width of a code, 2 to 16.
    random_bits : ndarray of uint32, shape (n, d)
        One word per number.

    Returns
    -------
    QuantisedFeatures
        Codes and their grid.

    Raises
    ------
    DataError
        If a sample is not finite, or all are zero.
    ParameterError
        If the random bits have another dtype or shape.

    Examples
    --------
    >>> word = np.full((1, 1), 2**31, np.uint32)
    >>> quantise_features(np.array([[1.27]]), bits=8, random_bits=word).codes.tolist()
    [[127]]
    """
    bound = float(np.max(np.abs(features), initial=0.0))
    if not 0.0 < bound < np.inf:
        raise DataError(f"the largest magnitude of the samples is {bound}; it must be positive and finite")
    grid = FixedPoint.spanning(bits=bits, bound=bound)
    return QuantisedFeatures(encode(features, grid, Rounding.STOCHASTIC, random_bits).codes, grid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Widths:
    """Bit widths of LM-HALP and the rule that ties the product's quantum to the offset's.

    Parameters
    ----------
    offset : int
        Bits b of the offset z, 2 to 16.
    data : int
        Bits b_x of the samples, 2 to 16.
    step : int
        Bits p of the scalar step, 2 to 16; rule A sets p = b whatever is given.
    rule : {"A", "B"}, default "B"
        A: s_g = s_k / 2**b. The range of the scalar step is s_k / (2 s_x): right only where data and offset
        have the same width. B: s_g = s_k * 2**(b + 2 - b_x - p), so that the largest product is twice the
        largest offset, for any widths.

    Raises
    ------
    ParameterError
        If a width or the rule is not allowed.

    Examples
    --------
    >>> Widths(offset=8, data=8, step=8).shift
    6
    >>> Widths(offset=8, data=8, step=8, rule="A").shift
    8
    """

    offset: int
    data: int
    step: int
    rule: Literal["A", "B"] = "B"

    def __post_init__(self) -> None:
        for name in ("offset", "data", "step"):
            if not 2 <= getattr(self, name) <= 16:
                raise ParameterError(f"{name} width came as {getattr(self, name)!r}; it must be 2 to 16 bits")
        if self.rule not in ("A", "B"):
            raise ParameterError(f"rule came as {self.rule!r}; allowed are 'A' and 'B'")
        if self.rule == "A":
            object.__setattr__(self, "step", self.offset)

    @property
    def shift(self) -> int:
        """Exponent of s_k / s_g: bits that rounding the accumulator drops (below zero, it adds zeros)."""
        return self.offset if self.rule == "A" else self.step + self.data - 2 - self.offset

    @property
    def constant_bits(self) -> int:
        """Width of the constant part step * g~ in product quanta: that of the largest product."""
        return self.step + self.data - 1

    def dot_bound(self, n_features: int) -> int:
        """Largest magnitude of an integer dot product of a row and an offset of this length."""
        return n_features << (self.data - 1 + self.offset - 1)

    def update_bound(self) -> int:
        """Largest magnitude of the accumulator of one update, random bits included."""
        left, right = max(self.shift, 0), max(-self.shift, 0)
        product = 1 << (self.step - 1 + self.data - 1)
        constant = 1 << (self.constant_bits - 1)
        return (1 << (self.offset - 1 + left)) + ((product + constant) << right) + (1 << left)


def lm_halp(
    data: QuantisedFeatures,
    targets: Vector,
    start: Vector,
    draws: Iterable[EpochDraws],
    *,
    step: float,
    mu: float,
    widths: Widths,
    loss: Literal["squared", "logistic"] = "squared",
    arithmetic: Literal["integer", "float64"] = "integer",
    option: Option = "I",
) -> TextbookResult:
    """Run HALP for a linear model whose inner loop is integer arithmetic.

    Per step: dot = x_i.z; beta = step * (l'(phi_i + dot) - l'(phi_i)); gamma = Q(beta), p bits;
    z <- Q(z - gamma x_i - h), b bits, where h = Q(step * g~). All three roundings are stochastic.

    Parameters
    ----------
    data : QuantisedFeatures
        Samples, shape (n, d), of the width that ``widths`` says.
    targets : ndarray of float64, shape (n,)
        Targets; -1 or 1 for the logistic loss.
    start : ndarray of float64, shape (d,)
        First centre.
    draws : iterable of EpochDraws
        One entry per epoch, with bits for the offset, the scalar steps and the constant.
    step, mu, option
        As for `mezzotint.linear.textbook.halp`.
    widths : Widths
        Bits of the offset, the data and the scalar step, and the rule for the quanta.
    loss : {"squared", "logistic"}, default "squared"
        As for `LinearProblem`.
    arithmetic : {"integer", "float64"}, default "integer"
        Integer: int8 or int16 storage, int32 accumulators where they provably suffice, int64 elsewhere.
        Float64: the same numbers held in doubles. Results are equal bit for bit.

    Returns
    -------
    TextbookResult
        Record of the run on the quantised samples, with clipped offsets, steps and constants counted.

    Raises
    ------
    ParameterError
        If a parameter is outside its set, the data have another width, or an epoch lacks random bits.

    Warns
    -----
    RuntimeWarning
        If more than one offset coordinate in 200 was clipped: mu is too large.

    Notes
    -----
    No accumulator overflows: |x.z| <= d 2**(b_x + b - 2), and an update stays below `Widths.update_bound`;
    the accumulator's type is chosen from these. All sums stay below 2**53, so that doubles hold them too.

    Examples
    --------
    >>> from mezzotint.linear.textbook import draw_epochs, synthetic_regression
    >>> problem = synthetic_regression(0, n_rows=50, n_features=3)
    >>> bits = np.full((50, 3), 2**31, np.uint32)
    >>> data = quantise_features(problem.features, bits=8, random_bits=bits)
    >>> draws = draw_epochs(0, problem, n_features=3, steps=100, epochs=30)
    >>> widths = Widths(offset=8, data=8, step=8)
    >>> result = lm_halp(data, problem.targets, np.zeros(3), draws, step=0.05, mu=0.25, widths=widths)
    >>> bool(result.gradient_norms[-1] < 1e-12)
    True
    """
    check_positive("mu", mu)
    if data.grid.bits != widths.data:
        raise ParameterError(
            f"the data have {data.grid.bits} bits, the widths say {widths.data}; make them agree"
        )
    if arithmetic not in ("integer", "float64"):
        raise ParameterError(f"arithmetic came as {arithmetic!r}; allowed are 'integer' and 'float64'")
    problem = LinearProblem(features=data.values(), targets=targets, loss=loss)
    lanes: _Lanes = (_IntegerLanes if arithmetic == "integer" else _FloatLanes)(data.codes, widths)

    advance = _Inner(problem, data.grid.scale, widths, lanes, step, mu).epoch
    return warn_if_clipped(run(problem, start, draws, advance, step=step, option=option))


class _Lanes(Protocol):
    """The vector work of LM-HALP: everything that has d numbers, in one arithmetic."""

    saturated: int

    def begin(self, constant: NDArray[np.int64], bits: NDArray[np.uint32]) -> None:
        """Start an epoch: the offset becomes zero."""

    def dot(self, row: int) -> int:
        """Return x_i.z in quanta s_x s_k."""

    def update(self, row: int, scalar: int, t: int) -> None:
        """Set z <- Q(z - scalar * x_i - constant), counting what is clipped."""

    def codes(self) -> NDArray[np.int64]:
        """Return the offset's codes."""


class _IntegerLanes:
    """Codes stored in int8 or int16, sums in the narrowest type that provably holds them."""

    def __init__(self, codes: Codes, widths: Widths) -> None:
        self._rows, self._widths = codes, widths
        self._dot_type = _accumulator_type(widths.dot_bound(codes.shape[1]))
        self._sum_type = _accumulator_type(widths.update_bound())
        self._left, self._right = max(widths.shift, 0), max(-widths.shift, 0)
        self._offset_grid = FixedPoint(bits=widths.offset, scale=1.0)
        self.saturated = 0

    def begin(self, constant: NDArray[np.int64], bits: NDArray[np.uint32]) -> None:
        self._constant = constant.astype(self._sum_type)
        self._random = _low_bits(bits, self._left).astype(self._sum_type)
        self._offset = np.zeros(len(constant), self._offset_grid.code_dtype)
        self.saturated = 0

    def dot(self, row: int) -> int:
        return int(np.dot(self._rows[row].astype(self._dot_type), self._offset.astype(self._dot_type)))

    def update(self, row: int, scalar: int, t: int) -> None:
        product = self._rows[row].astype(self._sum_type) * self._sum_type.type(scalar)
        total = self._offset.astype(self._sum_type) << self._left
        total -= (product + self._constant) << self._right
        rounded = (total + self._random[t]) >> self._left
        clamped = np.minimum(np.maximum(rounded, self._offset_grid.min_code), self._offset_grid.max_code)
        self.saturated += int(np.count_nonzero(clamped != rounded))
        self._offset = clamped.astype(self._offset.dtype)

    def codes(self) -> NDArray[np.int64]:
        return self._offset.astype(np.int64)


class _FloatLanes:
    """The same integers held in doubles: every sum is below 2**53, so nothing rounds but the floor."""

    def __init__(self, codes: Codes, widths: Widths) -> None:
        self._rows = codes.astype(np.float64)
        self._left, self._right = 2.0 ** max(widths.shift, 0), 2.0 ** max(-widths.shift, 0)
        self._low_bits = max(widths.shift, 0)
        self._grid = FixedPoint(bits=widths.offset, scale=1.0)
        self.saturated = 0

    def begin(self, constant: NDArray[np.int64], bits: NDArray[np.uint32]) -> None:
        self._constant = constant.astype(np.float64)
        self._random = _low_bits(bits, self._low_bits) / self._left
        self._offset = np.zeros(len(constant))
        self.saturated = 0

    def dot(self, row: int) -> int:
        return int(self._rows[row] @ self._offset)

    def update(self, row: int, scalar: int, t: int) -> None:
        movement = (self._rows[row] * scalar + self._constant) * (self._right / self._left)
        rounded = np.floor(self._offset - movement + self._random[t])
        clamped = np.clip(rounded, self._grid.min_code, self._grid.max_code)
        self.saturated += int(np.count_nonzero(clamped != rounded))
        self._offset = clamped

    def codes(self) -> NDArray[np.int64]:
        return self._offset.astype(np.int64)


@dataclass(frozen=True, slots=True)
class _Inner:
    """The inner loop. s_x, s_k, s_p, s_g: quanta of data, offset, scalar step and product."""

    problem: LinearProblem
    s_x: float
    widths: Widths
    lanes: _Lanes
    step: float
    mu: float

    def epoch(self, centre: Vector, gradient: Vector, draws: EpochDraws, steps: int) -> EpochOutcome:
        if draws.bits is None or draws.step_bits is None or draws.constant_bits is None:
            raise ParameterError("LM-HALP needs bits, step_bits and constant_bits in every epoch's draws")
        bound = float(np.linalg.norm(gradient)) / self.mu
        s_k = FixedPoint.spanning(bits=self.widths.offset, bound=bound).scale
        s_g = s_k * 2.0**-self.widths.shift
        h, h_clips = _round_and_clip(
            self.step * gradient / s_g, draws.constant_bits, self.widths.constant_bits
        )
        self.lanes.begin(h, draws.bits)
        step_clips = self._steps(self.problem.features @ centre, s_k, s_g / self.s_x, draws, steps)
        z = self.lanes.codes()
        return EpochOutcome(
            centre + z * s_k, s_k, z, self.lanes.saturated, steps * z.size, step_clips, h_clips
        )

    def _steps(self, phi: Vector, s_k: float, s_p: float, draws: EpochDraws, steps: int) -> int:
        """Take the inner steps from z = 0; return how many scalar steps were clipped."""
        slope, lanes = self.problem.slope, self.lanes
        highest = (1 << (self.widths.step - 1)) - 1
        thresholds = to_uniform(np.asarray(draws.step_bits)).tolist()
        clips = 0
        for t, i in enumerate(draws.indices[:steps].tolist()):
            margin = float(phi[i])
            beta = self.step * (slope(i, margin + lanes.dot(i) * (self.s_x * s_k)) - slope(i, margin))
            wanted = math.floor(beta / s_p + thresholds[t])
            gamma = min(max(wanted, -highest - 1), highest)
            clips += gamma != wanted
            lanes.update(i, gamma, t)
        return clips


def _round_and_clip(
    quotients: Vector, random_bits: NDArray[np.uint32], bits: int
) -> tuple[NDArray[np.int64], int]:
    """Round numbers in quanta stochastically to codes of this width; also count the clipped ones."""
    rounded = np.floor(quotients + to_uniform(random_bits))
    clamped = np.clip(rounded, -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1)
    return clamped.astype(np.int64), int(np.count_nonzero(clamped != rounded))


def _accumulator_type(bound: int) -> np.dtype[np.signedinteger[Any]]:
    """Return int32 if sums up to this magnitude fit, else int64."""
    return np.dtype(np.int32 if bound < 2**31 else np.int64)


def _low_bits(bits: NDArray[np.uint32], count: int) -> NDArray[np.uint32]:
    """Keep the ``count`` highest bits of each word as an integer below 2**count."""
    return bits >> np.uint32(32 - count) if count else np.zeros_like(bits)
