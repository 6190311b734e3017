"""Blocks of a store against their checksums: nobody gets codes that were not compared with them."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import ParameterError, StoreError
from mezzotint.kernels.threads import resolve_n_jobs, worthwhile
from mezzotint.packed.matrix import HeldCodes
from mezzotint.packed.store_files import OpenShard
from mezzotint.packed.store_format import Block, StoreInfo, checksum

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
        n_bytes = len(numbers) * self._info.block_rows * self._info.planes[0]
        n_threads = min(len(numbers), worthwhile(resolve_n_jobs(self._n_jobs), n_bytes))
        if n_threads == 1:
            self._compare(numbers, Event())
        else:
            self._compare_together(numbers, n_threads)
        bad = numbers[~self._verified[numbers]]
        if len(bad):
            raise self._damaged(int(bad[0]))  # the first of the matrix, whichever thread met one first

    def _compare_together(self, numbers: NDArray[np.int64], n_threads: int) -> None:
        stop = Event()
        with ThreadPoolExecutor(n_threads) as pool:  # zlib computes without the interpreter's lock
            try:
                shares = [pool.submit(self._compare, numbers[t::n_threads], stop) for t in range(n_threads)]
                for share in shares:
                    share.result()
            finally:
                stop.set()  # Ctrl-C ends the others as well

    def _compare(self, numbers: NDArray[np.int64], stop: Event) -> None:
        for number in numbers:
            if stop.is_set():
                return
            self._verified[number] = checksum(self._piece(number)) == self._expected[number]

    def _piece(self, number: int) -> NDArray[np.uint8]:
        row_bytes = self._info.planes[0]
        return self._array[self._edges[number] * row_bytes : self._edges[number + 1] * row_bytes]

    def _damaged(self, number: int) -> StoreError:
        block = self._info.block_at(int(self._edges[number]))
        expected, actual = int(self._expected[number]), checksum(self._piece(number))
        return damaged(self._shards[block.shard], block, expected, actual)
