"""In which order a pass of descent visits the tiles of 16 rows: random runs of consecutive ones.

Memory is read faster in order than at random, most of all where tiles are short; rows that lie together
should be strangers for it (`mezzotint.packed.shuffled`). A minibatch still gathers rows from several places.
"""

import numpy as np
from numpy.typing import NDArray

from mezzotint.kernels.layout import ROW_GROUP
from mezzotint.random import Stream, integers, permutation

_RUN_CODES = 2**18  # codes of a run, which is 128 KB at 4 bits; more gain nothing
_BATCH_RUNS = 4  # places that a minibatch gathers rows from, at least


def run_length(n_tiles: int, n_columns: int, n_batches: int) -> int:
    """Consecutive tiles that are visited one after the other.

    Parameters
    ----------
    n_tiles, n_columns : int
        Shape of the data, in tiles of 16 rows and in columns.
    n_batches : int
        Steps per pass.

    Returns
    -------
    int
        At least 1, at most a quarter of a minibatch.

    Examples
    --------
    >>> run_length(12_500, 768, 195), run_length(12_500, 768, 781), run_length(3750, 5120, 58)
    (16, 4, 3)
    """
    tiles_in_batch = n_tiles // n_batches
    return max(1, min(_RUN_CODES // (ROW_GROUP * n_columns), tiles_in_batch // _BATCH_RUNS))


def visiting_order(seed: int, n_tiles: int, run: int, *, pass_number: int) -> NDArray[np.int64]:
    """Order of all tiles in one pass.

    Tiles are cut into runs at places that are drawn anew for every pass, so that no two tiles meet in every
    pass but by chance; then the runs are put in random order.

    Parameters
    ----------
    seed : int
        0 <= seed < 2**64.
    n_tiles : int
        At least 1.
    run : int
        Tiles of a run, at least 1; the first and the last may be shorter.
    pass_number : int
        0 <= pass_number < 2**32.

    Returns
    -------
    ndarray of int64, shape (n_tiles,)
        A permutation.

    Examples
    --------
    >>> visiting_order(0, 12, 4, pass_number=1)
    array([ 0,  1,  2,  7,  8,  9, 10,  3,  4,  5,  6, 11])
    """
    before = int(integers(seed, run, 1, step=pass_number, stream=Stream.ZIPML_START)[0])
    runs = permutation(seed, -(-(n_tiles + before) // run), step=pass_number, stream=Stream.ZIPML_ORDER)
    tiles = (runs[:, None] * run + np.arange(run) - before).reshape(-1)
    return tiles[(tiles >= 0) & (tiles < n_tiles)]
