"""A whole list of penalties on one packed copy."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import ParameterError
from mezzotint.linear.objective import Problem
from mezzotint.linear.result import Result
from mezzotint.linear.solve import Settings, solve


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Path:
    """Solutions for a list of penalties, in the order the penalties were given.

    Attributes
    ----------
    values : ndarray of float64, shape (m,)
        The C or alpha of each solution.
    coefs : ndarray of float64, shape (m, K, d)
        Their coefficients; ``coefs[i]`` has the shape of ``coef_`` (binary: K = 1; one target: K = 1).
    intercepts : ndarray of float64, shape (m, K)
        Their intercepts.
    results : tuple of Result
        Their status, certificate and trace.
    """

    values: NDArray[np.float64]
    coefs: NDArray[np.float64]
    intercepts: NDArray[np.float64]
    results: tuple[Result, ...]

    def __len__(self) -> int:
        return len(self.results)


def solve_path(
    problem: Problem, values: Sequence[float], penalties: Sequence[float], settings: Settings
) -> Path:
    """Solve from the largest penalty to the smallest, each from the solution before it.

    Parameters
    ----------
    problem : Problem
        Its penalty is replaced.
    values : sequence of float
        C or alpha, as the user calls the penalties.
    penalties : sequence of float
        lam of each.
    settings : Settings
        Checked parameters.

    Returns
    -------
    Path
    """
    if len(values) == 0:
        raise ParameterError("the list of penalties is empty; give at least one value.")
    problem = dataclasses.replace(problem, known_extent=problem.extent)
    results: dict[int, Result] = {}
    start = None
    for i in np.argsort(-np.asarray(penalties), kind="stable").tolist():
        results[i] = solve(
            dataclasses.replace(problem, penalty=penalties[i], coef_dtype=np.float64), settings, start
        )
        start = results[i].coef
    ordered = tuple(results[i] for i in range(len(values)))
    coef = np.stack([result.coef for result in ordered])
    return Path(
        values=np.array(values, dtype=np.float64),
        coefs=np.ascontiguousarray(coef[:, :, :-1]),
        intercepts=np.ascontiguousarray(coef[:, :, -1]),
        results=ordered,
    )
