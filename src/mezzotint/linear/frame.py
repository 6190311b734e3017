"""Columns of any scale and mean, seen in coordinates of ordinary size.

Squares of 1e200 overflow, squares of 1e-200 vanish, and float32 gives up far earlier. So a problem whose
columns lie outside the range in which nothing can go wrong is solved for ``(x - c_j) 2^-e_j`` instead of x.
Products with powers of two are exact; the centre c_j (only with an intercept, and only where a column's mean
dwarfs its spread) is taken off in float64. Weights become ``w_j 2^e_j``, their penalties ``lam 4^-e_j`` each,
the intercept ``b + c.w``: margins, losses and the objective keep their values.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import DataError
from mezzotint.linear.extent import Columns, Extent
from mezzotint.linear.objective import Coef, Problem
from mezzotint.packed import ArraySource, PackedMatrix, Source
from mezzotint.packed.sources import FloatArray

_SAFE = 2.0**32  # magnitudes within 1/_SAFE and _SAFE need no scaling, even in float32
_OFFSET = {np.dtype(np.float32): 2.0**12, np.dtype(np.float64): 2.0**20}  # means that dwarf a spread
_DESCENDED = 1e30  # the same for descents, which take columns as they are
_LARGEST_EXPONENT = 1000  # beyond it 2^-e is no float64
_FARTHER = 400  # powers of two that rows of weight zero may reach beyond the others
_LOST = 1e-13  # of the largest weight, in ordinary size: more may not be lost to underflow
_WIDENED_VALUES = 2**20  # values that are held in float64, too
_TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True, eq=False)
class Frame:
    """Columns as ``(x - centre) 2^-exponent``.

    Attributes
    ----------
    centre : ndarray of float64, shape (d,)
        0 where the mean does not matter.
    exponent : ndarray of int64, shape (d,)
        Powers of two.
    """

    centre: Columns
    exponent: NDArray[np.int64]

    def inside(self, rows: FloatArray) -> FloatArray:
        """Rows in these coordinates, float64."""
        out: FloatArray = (rows.astype(np.float64) - self.centre) * np.ldexp(1.0, -self.exponent)
        return out

    def inside_extent(self, extent: Extent) -> Extent:
        """Extent of the columns in these coordinates."""
        reach = np.ldexp(extent.reach + np.abs(self.centre), -self.exponent)
        return Extent(self.inside(extent.low), self.inside(extent.high), reach)

    def enter(self, coef: Coef) -> Coef:
        """Coefficients (K, d + 1) in these coordinates."""
        weights = np.ldexp(coef[:, :-1], self.exponent)
        intercept = coef[:, -1] + (coef[:, :-1] * self.centre).sum(axis=1)
        return np.ascontiguousarray(np.column_stack([weights, intercept]))

    def leave(self, coef: Coef) -> Coef:
        """Coefficients (K, d + 1) of the columns as they are.

        Raises
        ------
        DataError
            If one of them is no float64.
        """
        weights = np.ldexp(coef[:, :-1], -self.exponent)
        intercept = coef[:, -1] - (weights * self.centre).sum(axis=1)
        lost = np.abs(np.ldexp(weights, self.exponent) - coef[:, :-1])
        bad = ~np.isfinite(weights) | (lost > _LOST * np.abs(coef[:, :-1]).max(initial=0.0))
        if bad.any() or not np.isfinite(intercept).all():
            self._refuse(coef, int(bad.any(axis=0).argmax()))
        return np.ascontiguousarray(np.column_stack([weights, intercept]))

    def _refuse(self, coef: Coef, column: int) -> None:
        largest = float(np.abs(coef[:, column]).max())
        raise DataError(
            f"the coefficient of column {column} would be {largest:.3g} * 2**{-int(self.exponent[column])}, "
            "which is no float64; scale the column (sklearn.preprocessing.StandardScaler) or y."
        )


class FramedSource:
    """Rows of a source in the coordinates of a frame, made block by block in float64."""

    def __init__(self, source: Source, frame: Frame) -> None:
        self._source, self._frame = source, frame

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self._source.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """float64."""
        return np.dtype(np.float64)

    @property
    def whole(self) -> None:
        """None: the rows are never there all at once."""
        return

    @property
    def is_decoded(self) -> bool:
        """Whether the rows are decoded from codes whose floats are gone."""
        return bool(getattr(self._source, "is_decoded", False))

    def block(self, start: int, stop: int) -> FloatArray:
        """Rows [start, stop)."""
        return self._frame.inside(self._source.block(start, stop))

    def rows(self, index: NDArray[np.int64]) -> FloatArray:
        """Gather the rows of an increasing index."""
        return self._frame.inside(self._source.rows(index))


def widened(source: Source) -> Source:
    """Rows of a source in float64: float32 products do not show what hardly curves."""
    n, d = source.shape
    if n * d <= _WIDENED_VALUES:
        return ArraySource(source.block(0, n).astype(np.float64))
    return WideSource(source)


class WideSource(FramedSource):
    """Rows that become float64 when they are read."""

    def __init__(self, source: Source) -> None:
        d = source.shape[1]
        super().__init__(source, Frame(np.zeros(d), np.zeros(d, dtype=np.int64)))

    def block(self, start: int, stop: int) -> FloatArray:
        """Rows [start, stop)."""
        return self._source.block(start, stop).astype(np.float64)

    def rows(self, index: NDArray[np.int64]) -> FloatArray:
        """Gather the rows of an increasing index."""
        return self._source.rows(index).astype(np.float64)


def in_frame(problem: Problem) -> Problem:
    """Return the problem in coordinates of ordinary size; the problem itself if it needs none.

    Raises
    ------
    DataError
        If the penalty of a scaled column is no float64.
    """
    extent = problem.extent
    frame = _frame(problem, extent)
    if frame is None:
        return problem
    packed = problem.packed
    framed = replace(
        problem,
        source=FramedSource(problem.source, frame),
        packed=None if packed is None else _packed_inside(packed, frame),
        frame=frame,
        known_extent=frame.inside_extent(extent),
    )
    _check_penalties(framed, extent)
    return framed


def _frame(problem: Problem, extent: Extent) -> Frame | None:
    """Frame that the columns need, or None."""
    spread, magnitude = extent.high - extent.low, extent.magnitude
    dwarfed = _OFFSET[problem.source.dtype]
    nearest = np.minimum(np.abs(extent.low), np.abs(extent.high))
    ordinary = (magnitude <= _SAFE) & (magnitude >= 1.0 / _SAFE) & (nearest <= spread * dwarfed)
    if ordinary.all():
        return None
    offset = problem.fit_intercept & (spread > 0) & (nearest > spread * dwarfed)
    constant = problem.fit_intercept & (spread == 0)
    extreme = (magnitude > 0) & ((magnitude > _SAFE) | (magnitude < 1.0 / _SAFE))
    if not (offset.any() or extreme.any() or (constant & (magnitude > dwarfed)).any()):
        return None
    middle = extent.low + 0.5 * spread
    centre = np.where(offset | constant, middle, 0.0)
    size = np.where(offset, spread, np.where(constant, 1.0, magnitude))
    exponent = np.frexp(size)[1].astype(np.int64)
    if problem.penalty > 0:  # a column far below its penalty's size is as the penalty wants it
        exponent = np.maximum(exponent, np.frexp(problem.penalty)[1] // 2)
    # Rows of weight zero may reach further: never so far that they are no numbers.
    reach = np.frexp(np.where(offset | constant, extent.reach + np.abs(centre), extent.reach))[1]
    exponent = np.where(size > 0, np.maximum(exponent, reach - _FARTHER), 0)
    return Frame(centre, np.clip(exponent, -_LARGEST_EXPONENT, _LARGEST_EXPONENT))


def _packed_inside(packed: PackedMatrix, frame: Frame) -> PackedMatrix:
    """The same codes, which stand for rows in the frame."""
    factor = np.ldexp(1.0, -frame.exponent)
    scale = packed.scale * factor
    noise = np.ldexp(packed.noise, -2 * frame.exponent)
    lost = ~np.isfinite(packed.noise) | ((packed.noise < _TINY) & (packed.scale > 0))
    # Where squares of the posed columns are no floats: the variance of values spread over a step.
    noise = np.where(lost & (packed.noise != 0), scale * scale / 12.0, noise)
    return replace(packed, offset=(packed.offset - frame.centre) * factor, scale=scale, noise=noise)


def _check_penalties(problem: Problem, extent: Extent) -> None:
    penalties = np.broadcast_to(problem.penalties, (problem.n_columns,))
    bad = (penalties < _TINY) | ~np.isfinite(penalties)
    if problem.penalty == 0 or not bad.any():
        return
    column = int(bad.argmax())
    raise DataError(
        f"column {column} reaches {extent.magnitude[column]:.3g}: scaled to ordinary size, the penalty "
        f"{problem.penalty:.3g} of its coefficient is no float64. Scale the column "
        "(sklearn.preprocessing.StandardScaler), or fit without a penalty."
    )


def check_reach(extent: Extent) -> None:
    """Refuse columns whose squares descents in float32 could not hold.

    Raises
    ------
    DataError
        If a column reaches further, or hardly anywhere.
    """
    magnitude = extent.magnitude
    bad = (magnitude > _DESCENDED) | ((magnitude > 0) & (magnitude < 1.0 / _DESCENDED))
    if bad.any():
        column = int(bad.argmax())
        raise DataError(
            f"column {column} reaches {magnitude[column]:.3g}, and solver='zipml' takes columns between "
            f"{1.0 / _DESCENDED:.0e} and {_DESCENDED:.0e}; scale the column, or take another solver."
        )
