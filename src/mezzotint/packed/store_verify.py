"""Blocks of a store against their checksums: nobody gets codes that were not compared with them."""

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import ParameterError, StoreError
from mezzotint.kernels import ops
from mezzotint.kernels.threads import resolve_n_jobs, worthwhile
from mezzotint.packed.matrix import HeldCodes
from mezzotint.packed.store_files import OpenShard
from mezzotint.packed.store_format import Block, StoreInfo

Verify = Literal["first", "all", "never"]


def check_verify(verify: object) -> None:
    """Raise ParameterError unless `verify` says when blocks are verified."""
    if verify not in get_args(Verify):
        raise ParameterError(
            f"verify={verify!r} is not possible; write 'first' (each block before it is first read), 'all' "
            "(every block before open returns) or 'never'."
        )


def damaged(shard: OpenShard, block: Block, expected: int, actual: int) -> StoreError:
    """Return the error that names a block which does not fit its checksum."""
    return StoreError(
        f"{shard.path} is damaged: block {block.number}, rows {block.start} to {block.stop - 1} do not fit "
        f"their checksum {expected:08x}, but have {actual:08x}. Copy the file again, or pack the data again."
    )


class StoredCodes(HeldCodes):
    """Mapped codes of a store; each block is verified before it is read for the first time.

    There is no lock: two threads that come first at the same time verify the same blocks, with the same
    outcome, and a fork cannot inherit a lock that nobody gives back.

    Parameters
    ----------
    array : ndarray of uint8
        Codes in tiles of all shards, one behind the other.
    info : StoreInfo
        What they hold.
    shards : list of OpenShard
        Their names and checksums; the files may be closed.
    n_jobs : int or None
        Threads that verify; None means all cores within joblib's limit, when it comes to that.
    """

    def __init__(
        self, array: NDArray[np.uint8], info: StoreInfo, shards: list[OpenShard], n_jobs: int | None
    ) -> None:
        super().__init__(array)
        self._info, self._shards, self._n_jobs = info, shards, n_jobs
        firsts = [np.arange(start, stop, info.block_rows) for start, stop, _ in info.shards]
        self._edges = np.append(np.concatenate(firsts), info.padded(info.shape[0]))
        self._expected = np.concatenate([shard.checksums[:, 0] for shard in shards])
        self._verified = np.zeros(len(self._expected), dtype=bool)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle verified codes, which are in memory then."""
        return HeldCodes, (self.read(0, self._info.shape[0]),)

    def read(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Return all codes, of which rows [start, stop) may be used: their blocks fit their checksums."""
        first = int(np.searchsorted(self._edges, start, side="right")) - 1
        last = int(np.searchsorted(self._edges, stop)) if stop > start else first
        missing = first + np.flatnonzero(~self._verified[first:last])
        if len(missing):
            self._verify(missing)
        return self._array

    def _verify(self, numbers: NDArray[np.int64]) -> None:
        row_bytes = self._info.planes[0]
        begins, ends = self._edges[numbers] * row_bytes, self._edges[numbers + 1] * row_bytes
        n_threads = worthwhile(resolve_n_jobs(self._n_jobs), float((ends - begins).sum()))
        actual = ops().checksums(self._array, begins, ends, n_threads=n_threads)
        fits = actual == self._expected[numbers]
        self._verified[numbers] = fits
        if not fits.all():
            first = int(fits.argmin())
            raise self._damaged(int(numbers[first]), int(actual[first]))

    def _damaged(self, number: int, actual: int) -> StoreError:
        block = self._info.block_at(int(self._edges[number]))
        return damaged(self._shards[block.shard], block, int(self._expected[number]), actual)
