"""Packing into a store: rows are streamed, codes go to the file, memory holds one block."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import DataError, ParameterError
from mezzotint.kernels import ops, segment_bounds
from mezzotint.kernels.threads import resolve_n_jobs
from mezzotint.packed.full_range import column_range
from mezzotint.packed.matrix import SHARD_BYTES, PackedMatrix
from mezzotint.packed.pack import (
    DRAW_BITS,
    check_bits,
    check_finite,
    check_levels,
    checked_rounding,
    grid_and_levels,
    raise_if_bad,
    reporting,
)
from mezzotint.packed.planes import READABLE_BITS, STORABLE_BITS, Codes, split, widths_of
from mezzotint.packed.sources import FloatArray, Source, as_source
from mezzotint.packed.store_format import PLANES, TILES, Block, Columns, StoreInfo, plan
from mezzotint.packed.store_place import check_target
from mezzotint.packed.store_planes import at_bits
from mezzotint.packed.store_write import StoreWriter
from mezzotint.random import Stream, sample_rows

_WRITER = "mezzotint"
_SAMPLE_VALUES, _LEAST_SAMPLE = 2**19, 64  # values, rows that rounding noise is estimated from


def pack_file(
    X: Any,  # noqa: ANN401
    path: str | Path,
    *,
    bits: int = 8,
    n_draws: int = 1,
    levels: str = "uniform",
    planes: bool | None = None,
    rounding: str | None = None,
    shard_bytes: int = SHARD_BYTES,
    random_state: int = 0,
    n_jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Pack rows into a store on disk, with bounded memory.

    Without planes the codes are those of `mezzotint.pack`, and opening the store maps them. With planes
    the codes are uniform over the whole range of each column, which takes one more read of X, and the
    store can be opened at fewer bits than it holds. An interrupted call leaves `path` as it was, and
    the same call continues its work.

    Parameters
    ----------
    X : array-like or Source of shape (n, d)
        As for `mezzotint.pack`; read block by block.
    path : str or Path
        Folder to write; a store that is there is replaced when the new one is complete.
    bits : {8, 4, 16}, or with ``n_draws=2`` {1, 2, 3, 4, 7}
        Bits per value, or of one draw; 16 needs planes.
    n_draws : {1, 2}
        Draws per value, see `mezzotint.pack`; 2 without planes.
    levels : {"uniform", "optimal"}
        As for `mezzotint.pack`; optimal levels are for codes without planes.
    planes : bool or None
        Store bit planes; None means for 16 bits only.
    rounding : {"nearest", "stochastic"} or None
        As for `mezzotint.pack`; stochastic rounding is for codes without planes.
    shard_bytes : int
        Largest size of a file, about.
    random_state : int
        Seed of the row sample and of stochastic rounding.
    n_jobs : int or None
        Threads; the store does not depend on it.
    progress : callable, optional
        Called as ``progress(rows_done, n_rows)`` while X is read.

    Raises
    ------
    DataError
        If X cannot be packed, see `mezzotint.pack`.
    ParameterError
        If `bits`, `n_draws`, `levels`, `planes` and `rounding` do not go together.
    StoreError
        If `path` cannot be written, is no store, or another process is writing there.

    See Also
    --------
    mezzotint.open : opens what this writes.

    Examples
    --------
    >>> import numpy as np, mezzotint as mz, tempfile
    >>> X = np.linspace(-1, 1, 2000, dtype=np.float32).reshape(500, 4)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     mz.pack_file(X, folder + "/rows.mzt", bits=16)
    ...     mz.open(folder + "/rows.mzt", bits=4).shape
    (500, 4)
    """
    planes = bits == 16 if planes is None else planes
    _check_shard_bytes(shard_bytes)
    rounding = _checked_options(bits, n_draws, levels, planes, rounding)
    target = Path(path)
    check_target(target)
    source = as_source(X) if progress is None else reporting(as_source(X), progress)
    job = _Job(source, random_state, resolve_n_jobs(n_jobs))
    provenance = {"writer": _WRITER, "rounding": rounding, "seed": int(random_state)}
    info = plan(
        job.source.shape,
        bits + n_draws - 1,
        layout=PLANES if planes else TILES,
        n_draws=n_draws,
        dtype=job.source.dtype.name,
        shard_bytes=shard_bytes,
        provenance=provenance,
    )
    info, columns = (info, job.plane_ranges(info)) if planes else job.tile_ranges(info, levels)
    with StoreWriter(target, info, columns, resume=True) as writer:
        (job.write_planes if planes else job.write_tiles)(writer, columns, rounding)
        writer.commit()


def save(packed: PackedMatrix, path: str | Path, shard_bytes: int) -> None:
    """Write a PackedMatrix as a store; see `PackedMatrix.save`."""
    _check_shard_bytes(shard_bytes)
    if packed.row_scale is not None:
        raise ParameterError(
            "a matrix with scales per row cannot be saved yet; pack the scaled rows instead."
        )
    info = plan(
        packed.shape,
        packed.bits,
        layout=TILES,
        n_draws=packed.n_draws,
        levels=packed.levels,
        dtype=packed.dtype.name,
        shard_bytes=shard_bytes,
        provenance={"writer": _WRITER},
    )
    columns = Columns(offset=packed.offset, scale=packed.scale, noise=packed.noise[np.newaxis])
    codes = packed.codes  # of a store: verified before anything is written
    with StoreWriter(Path(path), info, columns, resume=False) as writer:
        for block in writer.missing_blocks():
            writer.write(block, [_tiles_of(info, block, codes)])
        writer.commit()


def _checked_options(bits: int, n_draws: int, levels: str, planes: bool, rounding: str | None) -> str:
    """Return the rounding to use."""
    if n_draws not in DRAW_BITS or (planes and n_draws != 1):
        allowed = "1" if planes else "1, 2"
        raise ParameterError(f"n_draws={n_draws!r} with planes={planes}; allowed: {allowed}.")
    check_bits(bits, STORABLE_BITS if planes else DRAW_BITS[n_draws])
    if planes and rounding not in (None, "nearest"):
        raise ParameterError(f"rounding={rounding!r} with planes=True; allowed: 'nearest'.")
    if planes and levels == "optimal":
        raise ParameterError("levels='optimal' with planes=True, whose codes are uniform; use planes=False.")
    check_levels(levels, bits, n_draws)
    return checked_rounding(rounding, n_draws, levels)


def _check_shard_bytes(shard_bytes: int) -> None:
    if isinstance(shard_bytes, bool) or not isinstance(shard_bytes, int) or shard_bytes < 1:
        raise ParameterError(f"shard_bytes={shard_bytes!r}; give a number of bytes, at least 1.")


def _tiles_of(info: StoreInfo, block: Block, codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    row_bytes = info.planes[0]
    return codes[block.start * row_bytes : info.padded(block.stop) * row_bytes]


class _Job:
    """One packing of a source."""

    def __init__(self, source: Source, seed: int, n_threads: int) -> None:
        self.source = source
        self._seed, self._threads = seed, n_threads

    def tile_ranges(self, info: StoreInfo, levels: str) -> tuple[StoreInfo, Columns]:
        """Ranges, noise and the table of levels as `mezzotint.pack` chooses them."""
        layout, grid = grid_and_levels(self.source, info.tiles, levels, self._seed, self._threads)
        offset, scale, noise = grid
        columns = Columns(offset=offset, scale=scale, noise=noise[np.newaxis])
        return replace(info, levels=layout.levels), columns

    def plane_ranges(self, info: StoreInfo) -> Columns:
        """Ranges that cover every value; noise of each number of planes from a row sample."""
        low, high = column_range(self.source, segment_bounds(*info.shape))
        if not np.isfinite([low, high]).all():
            check_finite(self.source, self._threads)
        noise = np.zeros((len(info.planes), len(low)))
        columns = Columns(offset=low, scale=_steps(low, high, info.bits), noise=noise)
        sample = self._noise_sample()
        codes = uniform_codes(sample, columns, info.bits)
        for number, bits in enumerate(READABLE_BITS[: len(info.planes)]):
            coarse = at_bits(info, columns, bits)
            decoded = coarse.offset + coarse.scale * (codes >> np.uint8(info.bits - bits))
            noise[number] = np.square(sample - decoded).mean(axis=0)
        return columns

    def _noise_sample(self) -> NDArray[np.float64]:
        n, d = self.source.shape
        size = min(n, max(_LEAST_SAMPLE, _SAMPLE_VALUES // d))
        index = np.sort(sample_rows(self._seed, n, size, stream=Stream.STORE_NOISE))
        return self.source.rows(index).astype(np.float64)

    def write_tiles(self, writer: StoreWriter, columns: Columns, rounding: str) -> None:
        """Round rows straight into the mapped files."""
        layout, codes = writer.info.tiles, writer.map_codes()
        for block in writer.missing_blocks():
            rows = self.source.block(block.start, block.stop)
            bad = ops().pack_rows(
                rows,
                layout,
                columns.offset,
                columns.scale,
                codes,
                block.start,
                rounding=rounding,
                seed=self._seed,
                draw=0,
                n_threads=self._threads,
            )
            raise_if_bad(bad, rows, block.start)
            writer.note(block, [_tiles_of(writer.info, block, codes)])

    def write_planes(self, writer: StoreWriter, columns: Columns, rounding: str) -> None:
        """Round rows, to the nearest code always, and write their planes."""
        bits = writer.info.bits
        for block in writer.missing_blocks():
            rows = self.source.block(block.start, block.stop)
            raise_if_bad(ops().first_nonfinite(rows, n_threads=self._threads), rows, block.start)
            writer.write(block, split(uniform_codes(rows, columns, bits), bits))


def _steps(low: NDArray[np.float64], high: NDArray[np.float64], bits: int) -> NDArray[np.float64]:
    with np.errstate(over="ignore"):
        span = high - low
    if not np.isfinite(span).all():
        column = int(np.argmin(np.isfinite(span)))
        raise DataError(
            f"column {column} spans more than the largest float64, from {low[column]:.3g} to "
            f"{high[column]:.3g}; divide it by 4."
        )
    return span / (2.0**bits - 1)


def uniform_codes(rows: FloatArray, columns: Columns, bits: int) -> Codes:
    """Round to the nearest of ``2**bits`` evenly spaced values, in float64; 0 in a constant column."""
    t = np.subtract(rows, columns.offset, dtype=np.float64)
    np.divide(t, columns.scale, out=t, where=columns.scale > 0)
    np.rint(np.clip(np.where(columns.scale > 0, t, 0.0), 0, 2**bits - 1), out=t)
    return t.astype(np.uint16 if len(widths_of(bits)) == len(READABLE_BITS) else np.uint8)
