"""Claims of the papers, computed again: each reproduction is a module that returns a table with its verdicts.

Nothing here prints or draws; `mezzotint reproduce` does (`mezzotint.cli.reproduce`). A reproduction called
``a-b`` is the function ``run`` of the module ``a_b``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable

from threadpoolctl import threadpool_limits

from mezzotint.errors import ParameterError
from mezzotint.reproduce.report import Report

__all__ = ["REPRODUCTIONS", "Report", "reproduce"]

REPRODUCTIONS = {
    "zipml-levels": "how much less variable optimal levels are than uniform ones",
    "zipml-refetch": "how many rows a support vector machine must read in full, by bits",
    "zipml-chebyshev": "polynomial gradients from 16 draws of 4 bits, and why plain 8 bits do as well",
    "zipml-bits": "bits of double sampling that match full precision on least squares",
    "zipml-bias": "where naive and deterministic rounding end, and double sampling does not",
    "zipml-minibatch": "minibatches of 16 and of 256 rows in 3 bits",
    "zipml-optimal": "loss at equal bits on uniform and on optimal levels, columns with heavy tails",
    "halp-convergence": "gradient by epochs: fixed grids and float32 stand still, 8-bit HALP goes on",
}
"""Name of each reproduction and what it shows."""


def reproduce(name: str, *, quick: bool = False, tell: Callable[[str], None] | None = None) -> Report:
    """Compute one reproduction.

    Parameters
    ----------
    name : str
        One of `REPRODUCTIONS`.
    quick : bool, default False
        Small sizes: the statements still hold, the numbers are not those of the documentation.
    tell : callable, optional
        Called with a few words whenever something new is being computed.

    Returns
    -------
    Report
        Its table, statements and picture.

    Raises
    ------
    ParameterError
        If there is no reproduction of this name.

    Examples
    --------
    >>> reproduce("zipml-levels", quick=True).columns[:2]
    ('values', 'levels')
    """
    if name not in REPRODUCTIONS:
        raise ParameterError(f"name came as {name!r}; allowed are {', '.join(REPRODUCTIONS)}")
    module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    with threadpool_limits(1):  # products of a few rows: threads of BLAS would only wait for each other
        report: Report = module.run(quick=quick, tell=tell or (lambda _: None))
    return report
