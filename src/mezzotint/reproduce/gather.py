"""Data sets that are at hand, and what to do about those that are not."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mezzotint.errors import FileError
from mezzotint.reproduce.data import DataSet

__all__ = ["available"]


def available(makers: Iterable[Callable[[], DataSet]]) -> tuple[list[DataSet], list[str]]:
    """Make the data sets whose files exist.

    Parameters
    ----------
    makers : iterable of callables
        Each returns a data set, or raises FileError.

    Returns
    -------
    sets : list of DataSet
        Those that could be made.
    missing : list of str
        A sentence for each of the others: left out, and what to do.

    Examples
    --------
    >>> from mezzotint.reproduce.data import synthetic
    >>> [data.name for data in available([lambda: synthetic(3, n_rows=10)])[0]]
    ['synthetic 3']
    """
    sets, missing = [], []
    for make in makers:
        try:
            sets.append(make())
        except FileError as error:
            missing.append(f"Left out: {error}")
    return sets, missing
