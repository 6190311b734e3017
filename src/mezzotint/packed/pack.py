"""Packing: one read of the float rows, block by block, into codes."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import DataError, ParameterError
from mezzotint.kernels import Layout, ops, segment_bounds
from mezzotint.kernels.threads import resolve_n_jobs
from mezzotint.packed.full_range import check_width, column_range, full_grid, grid_over
from mezzotint.packed.matrix import HeldCodes, PackedMatrix
from mezzotint.packed.shared_levels import TABLE_BITS, shared_levels
from mezzotint.packed.sources import FloatArray, ReportingSource, Source, as_source, chunks
from mezzotint.random import Stream, sample_rows

_SCALE_VALUES = 2**22  # sampled values that the columns' ranges are taken from: all of a narrow matrix
DRAW_BITS = {1: (8, 4), 2: (1, 2, 3, 4, 7)}  # draws -> bits of each that can be packed

Grid = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]  # offset, scale, noise


def pack(
    X: Any,  # noqa: ANN401
    *,
    bits: int = 8,
    n_draws: int = 1,
    levels: str = "uniform",
    rounding: str | None = None,
    keep_source: bool = True,
    random_state: int = 0,
    n_jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PackedMatrix:
    """Pack an array into 8 or 4 bits per value, or into two random draws of fewer bits.

    Each column gets an affine map ``offset + scale * code``. Its range is taken from a row sample and
    survives outliers: it reaches from the median to the largest sampled value on either side, but not
    further than four times the 0.99 quantile of the distances from the median (distances of zero left
    out); values beyond are clipped. The exact passes of the solvers repair the solution, the range only
    decides their speed.

    With ``n_draws=2`` every value is rounded twice, with random bits of its own each time, and the sum of
    the two levels is stored: one bit more than one draw takes. From it follow the mean of the draws, which
    is what the matrix decodes to, and where they differ, which is what makes gradients unbiased without
    the float rows (ZipML's double sampling). The range then covers every value of the column: one more
    pass over X.

    Parameters
    ----------
    X : array-like of shape (n, d)
        Dense real numbers: NumPy arrays or memmaps (float64/32/16, bfloat16, integers), pandas or
        polars frames, torch CPU tensors, paths of files and iterables of blocks (see
        `mezzotint.packed.as_source`). n >= 1, 1 <= d <= 65536.
    bits : {8, 4}, or with ``n_draws=2`` {1, 2, 3, 4, 7}
        Bits of one draw: its levels are 0 to ``2**bits - 1``. Stored are ``bits + n_draws - 1`` per value.
    n_draws : {1, 2}
        Draws per value.
    levels : {"uniform", "optimal"}
        "optimal": one table of levels for all columns, placed by their values so that stochastic rounding has
        the least variance; for one draw of 4 bits or two of at most 4. The range then covers every value, as
        with two draws.
    rounding : {"nearest", "stochastic"} or None
        Stochastic rounding is unbiased and uses counter-based random bits; two draws and optimal levels need
        it. None takes "nearest" for one draw with uniform levels.
    keep_source : bool
        Keep a reference to X, which exact solutions need. Nothing is copied.
    random_state : int
        Seed of the row sample and of stochastic rounding; results are a function of it.
    n_jobs : int or None
        Threads; None means all cores within joblib's limit. The codes do not depend on it.
    progress : callable, optional
        Called with (rows read so far, all rows) while X is read: for the row sample that sets the ranges
        where X is larger than that, and from 0 again for packing.

    Returns
    -------
    PackedMatrix

    Raises
    ------
    DataError
        If X is sparse, not numeric, not 2-D, empty or too wide, or holds NaN or infinity (the message
        names the first row and column).
    ParameterError
        If `bits`, `n_draws`, `levels` or `rounding` is not allowed, or two draws are to be rounded to
        nearest: they would be the same.

    References
    ----------
    Zhang et al., "ZipML: Training Linear Models with End-to-End Low Precision, and a Little Bit of Deep
    Learning", ICML 2017, double sampling (equation 6) and its storage in one more bit, optimal levels
    (section 3).

    Examples
    --------
    >>> import numpy as np, mezzotint as mz
    >>> X = np.linspace(-1, 1, 2000, dtype=np.float32).reshape(500, 4)
    >>> packed = mz.pack(X, bits=8)
    >>> packed.shape, packed.bits
    ((500, 4), 8)
    >>> bool(abs(packed.unpack() - X).max() <= packed.scale.max() / 2 + 1e-6)
    True
    >>> mz.pack(X, bits=4, n_draws=2, keep_source=False).bits
    5
    """
    if n_draws not in DRAW_BITS:
        raise ParameterError(f"n_draws={n_draws!r} is not possible; allowed: 1, 2.")
    check_bits(bits, DRAW_BITS[n_draws])
    check_levels(levels, bits, n_draws)
    source = as_source(X)
    packed = pack_source(
        source if progress is None else reporting(source, progress),
        bits,
        n_draws=n_draws,
        levels=levels,
        rounding=checked_rounding(rounding, n_draws, levels),
        keep_source=False,
        seed=random_state,
        n_threads=resolve_n_jobs(n_jobs),
    )
    if progress is not None:
        progress(*[source.shape[0]] * 2)
    return replace(packed, source=source) if keep_source else packed


def reporting(source: Source, progress: Callable[[int, int], None]) -> Source:
    """Return the source; each block that is read calls `progress` with (rows done, rows)."""
    n_rows = source.shape[0]
    return ReportingSource(source, lambda _, rows: progress(rows, n_rows))


def check_levels(levels: str, bits: int, n_draws: int) -> None:
    """Raise ParameterError unless `n_draws` draws of `bits` bits can be rounded to such levels."""
    if levels not in ("uniform", "optimal"):
        raise ParameterError(f"levels={levels!r} is unknown; allowed: 'uniform', 'optimal'.")
    if levels == "optimal" and bits not in TABLE_BITS[n_draws]:
        names = ", ".join(map(str, TABLE_BITS[n_draws]))
        raise ParameterError(
            f"levels='optimal' with bits={bits} and n_draws={n_draws}; allowed bits: {names}. More "
            "levels than that do not fit a table, and gain little."
        )


def checked_rounding(rounding: str | None, n_draws: int, levels: str = "uniform") -> str:
    """Return the rounding to use; ParameterError if `n_draws` draws on such levels cannot be rounded so."""
    if rounding is None:
        return "nearest" if n_draws == 1 and levels == "uniform" else "stochastic"
    if rounding not in ("nearest", "stochastic"):
        raise ParameterError(f"rounding={rounding!r} is unknown; allowed: 'nearest', 'stochastic'.")
    if n_draws > 1 and rounding == "nearest":
        raise ParameterError(
            f"rounding='nearest' with n_draws={n_draws} would store the same draw {n_draws} times; leave "
            "rounding out or use one draw."
        )
    if levels == "optimal" and rounding == "nearest":
        raise ParameterError(
            "rounding='nearest' with levels='optimal', which are placed for unbiased rounding; leave "
            "rounding out."
        )
    return rounding


def check_bits(bits: int, allowed: tuple[int, ...] = DRAW_BITS[1]) -> None:
    """Raise ParameterError unless `bits` is one of `allowed`."""
    if isinstance(bits, bool) or not isinstance(bits, int | np.integer) or bits not in allowed:
        names = ", ".join(map(str, allowed))
        advice = "Use 8 for speed, 4 for memory" if 8 in allowed else "These are the bits of one of two draws"
        raise ParameterError(f"bits={bits!r} is not possible; allowed: {names}. {advice}.")


def pack_source(
    source: Source,
    bits: int,
    *,
    n_draws: int = 1,
    levels: str = "uniform",
    rounding: str,
    keep_source: bool,
    seed: int,
    n_threads: int,
) -> PackedMatrix:
    """Pack a checked Source; see `pack`."""
    n, d = source.shape
    layout = Layout(n_rows=n, n_columns=d, bits=bits + n_draws - 1, n_draws=n_draws)
    layout, (offset, scale, noise) = grid_and_levels(source, layout, levels, seed, n_threads)
    codes = layout.empty_codes()
    for (first, _), rows in chunks(source, layout.segments):
        first_row = int(layout.segments[first])
        bad = ops().pack_rows(
            rows,
            layout,
            offset,
            scale,
            codes,
            first_row,
            rounding=rounding,
            seed=seed,
            draw=0,
            n_threads=n_threads,
        )
        raise_if_bad(bad, rows, first_row)
    return PackedMatrix(
        held=HeldCodes(codes),
        layout=layout,
        offset=offset,
        scale=scale,
        noise=noise,
        source=source if keep_source else None,
        dtype=source.dtype,
    )


def grid_and_levels(
    source: Source, layout: Layout, levels: str, seed: int, n_threads: int
) -> tuple[Layout, Grid]:
    """Return the layout with its table of levels, if it is to have one, and the grid of the columns."""
    if levels == "uniform":
        return layout, column_grid(source, layout, seed, n_threads)
    sample = _range_sample(source, seed)
    check_finite_rows(sample, source, n_threads)
    ends = column_range(source, layout.segments)
    if not np.isfinite(ends).all():
        check_finite(source, n_threads)
    check_width(*ends, sample.dtype)
    layout = replace(layout, levels=shared_levels(layout, sample, *ends))
    return layout, grid_over(*ends, layout, sample)


def column_grid(source: Source, layout: Layout, seed: int, n_threads: int) -> Grid:
    """Offset, scale and noise of every column, as `pack` chooses them."""
    sample = _range_sample(source, seed)
    check_finite_rows(sample, source, n_threads)
    if layout.n_draws == 1:
        columns: Grid = ops().column_scales(sample, layout.bits, n_threads=n_threads)
        return columns
    columns = full_grid(source, layout, sample)
    if not np.isfinite(columns).all():
        check_finite(source, n_threads)
    return columns


def _range_sample(source: Source, seed: int) -> FloatArray:
    n, d = source.shape
    size = max(4096, _SCALE_VALUES // d)
    if size >= n:
        return source.block(0, n)
    return source.rows(np.sort(sample_rows(seed, n, size, stream=Stream.COLUMN_RANGES)))


def check_finite_rows(sample: FloatArray, source: Source, n_threads: int) -> None:
    """Raise the error that names the first bad row of the source if the sample holds one."""
    if ops().first_nonfinite(sample, n_threads=n_threads) >= 0:
        check_finite(source, n_threads)


def check_finite(source: Source, n_threads: int) -> None:
    """Raise DataError naming the first NaN or infinity of the source, if there is one."""
    bounds = segment_bounds(*source.shape)
    for (first, _), rows in chunks(source, bounds):
        raise_if_bad(ops().first_nonfinite(rows, n_threads=n_threads), rows, int(bounds[first]))


def raise_if_bad(flat_index: int, rows: NDArray[Any], first_row: int) -> None:
    """Turn a kernel's report of a non-finite value (flat index or -1) into a DataError."""
    if flat_index < 0:
        return
    row, column = divmod(int(flat_index), rows.shape[1])
    value = rows[row, column]
    name = "NaN" if np.isnan(value) else "infinity"
    raise DataError(
        f"Input X contains {name}: the first bad value is {value} in row {first_row + row}, column {column}. "
        "Only finite numbers are allowed; impute or drop such rows (sklearn.impute.SimpleImputer)."
    )
