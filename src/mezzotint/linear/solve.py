"""From checked samples and a solver's name to a Result: packs where that pays, and dispatches."""

import dataclasses
import sys
import time
from typing import Any

import numpy as np

from mezzotint.errors import ParameterError
from mezzotint.kernels.threads import worthwhile
from mezzotint.linear import minimum_norm, multipliers
from mezzotint.linear.halp import solve_halp
from mezzotint.linear.newton import is_small, solve_newton
from mezzotint.linear.objective import Coef, Problem, dot
from mezzotint.linear.result import Iteration, Report, Result
from mezzotint.linear.rounded import rounded
from mezzotint.linear.validation import check_choice
from mezzotint.linear.zipml import ZipML, solve_zipml
from mezzotint.packed import PackedMatrix, Source
from mezzotint.packed.pack import check_finite, checked_rounding, pack_source

SOLVERS = ("auto", "newton", "halp", "zipml")
BITS = (8, 4, 32)
_WITH_TARGETS = ("squared", "squared_epsilon_insensitive", "epsilon_insensitive")
_TABLE_BITS = 4  # of a copy whose levels can be chosen: one draw of 4 bits, or two of 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What an estimator's parameters say about solving, checked.

    Attributes
    ----------
    bits : {8, 4, 32}
        Bits of the packed copy; 32 solves on the float rows without one.
    levels : {"uniform", "optimal"}
        Where the levels of a copy in 4 bits lie.
    solver : {"auto", "newton", "halp", "zipml"}
        "auto" is "newton", or Newton's method on the float rows where the problem is too small to pack.
    tol : float
        Relative objective gap to stop at.
    max_iter : int
        Outer iterations.
    seed : int
        Of the row sample and of stochastic rounding.
    n_threads : int
        Threads; results do not depend on it.
    zipml : ZipML
        Settings of that solver.
    report : callable or None
        Called after each exact pass.
    started_at : float
        `time.perf_counter()` when the fit began: the trace counts from it.
    """

    bits: int
    levels: str
    solver: str
    tol: float
    max_iter: int
    seed: int
    n_threads: int
    zipml: ZipML = dataclasses.field(default_factory=ZipML)
    report: Report | None = None
    started_at: float = dataclasses.field(default_factory=time.perf_counter)


def checked_levels(levels: Any, bits: int) -> str:  # noqa: ANN401
    """Return where the levels of a copy in `bits` bits lie.

    Raises
    ------
    ParameterError
        If that is unknown, or the copy has more levels than a table holds.
    """
    check_choice("levels", levels, ("uniform", "optimal"))
    if levels == "optimal" and bits != _TABLE_BITS:
        raise ParameterError(
            f"levels='optimal' with bits={bits}; allowed bits: {_TABLE_BITS}. More do not fit a table, "
            f"and gain little: take bits={_TABLE_BITS}, or leave levels out."
        )
    return str(levels)


def solver_of(value: Any) -> tuple[str, ZipML]:  # noqa: ANN401
    """Return the name and the settings that an estimator's `solver` stands for.

    Raises
    ------
    ParameterError
        If it is neither a name nor a `ZipML`.
    """
    if isinstance(value, ZipML):
        return "zipml", value
    return check_choice("solver", value, SOLVERS), ZipML()


def packed_copy(
    source: Source, given: PackedMatrix | None, settings: Settings, loss: str
) -> PackedMatrix | None:
    """Return the packed copy to solve on: the one that came in, a new one, or None for the float rows.

    Whatever is returned, the rows have been checked: NaN or infinity is a DataError.
    """
    if loss in multipliers.LOSSES:
        check_finite(source, worthwhile(settings.n_threads, source.shape[0] * source.shape[1] / 4))
        return None
    if settings.solver == "zipml":
        return _samples(source, settings, loss) if given is None else given
    bits = settings.bits if given is None else given.bits
    small = settings.solver == "auto" and is_small(*source.shape, bits)
    if given is not None:
        return None if small else given
    if small or bits == 32:
        check_finite(source, worthwhile(settings.n_threads, source.shape[0] * source.shape[1] / 4))
        return None
    return _packed(source, bits, 1, settings)


def _samples(source: Source, settings: Settings, loss: str) -> PackedMatrix:
    """Samples for ZipML: two draws where they make gradients unbiased, in as many bits as one code has."""
    if settings.bits == 32:
        raise ParameterError(
            "solver='zipml' runs on packed samples, so bits=32 is not possible; give 8 or 4."
        )
    n_draws = 2 if loss == "squared" else 1
    return _packed(source, settings.bits - (n_draws - 1), n_draws, settings)


def _packed(source: Source, bits: int, n_draws: int, settings: Settings) -> PackedMatrix:
    """Pack as `mezzotint.pack` does."""
    return pack_source(
        source,
        bits,
        n_draws=n_draws,
        levels=settings.levels,
        rounding=checked_rounding(None, n_draws, settings.levels),
        keep_source=True,
        seed=settings.seed,
        n_threads=settings.n_threads,
    )


def solve(problem: Problem, settings: Settings, start: Coef | None = None) -> Result:
    """Minimise a problem with the solver that the settings name.

    Parameters
    ----------
    problem : Problem
        With the packed copy from `packed_copy`.
    settings : Settings
        Checked parameters.
    start : ndarray of float64, shape (K, d + 1), or None
        Where to start.

    Returns
    -------
    Result
        Of least squares without a penalty, the solution of minimum norm where many exist. Multinomial
        coefficients sum to zero over the classes.
    """
    centres = problem.loss in _WITH_TARGETS and problem.fit_intercept
    result = (_solve_centred_targets if centres else _solve_rounded)(problem, settings, start)
    if result.solution == "exact" and getattr(problem.source, "is_decoded", False):
        return dataclasses.replace(result, solution="quantised")
    return result


def _solve(problem: Problem, settings: Settings, start: Coef | None) -> Result:
    if settings.solver == "zipml":
        return _descend(problem, settings, start)
    if problem.loss in multipliers.LOSSES:
        return multipliers.solve_multipliers(
            problem, max_iter=settings.max_iter, start=start, **_common(settings)
        )
    least_squares = problem.loss == "squared" and problem.penalty == 0
    if least_squares and minimum_norm.looks_deficient(problem, settings.seed):
        result = minimum_norm.solve_minimum_norm(problem, **_common(settings))
        if result is not None:
            return result
    more = {"max_iter": settings.max_iter, "seed": settings.seed, "start": start, **_common(settings)}
    if settings.solver == "halp":
        result = solve_halp(problem, float32=problem.packed is None, **more)
    else:
        result = solve_newton(problem, **more)
    return _centred_over_classes(problem, result) if problem.loss == "softmax" else result


def _descend(problem: Problem, settings: Settings, start: Coef | None) -> Result:
    result = solve_zipml(
        problem,
        settings=settings.zipml,
        max_iter=settings.max_iter,
        seed=settings.seed,
        start=start,
        started_at=settings.started_at,
        report=settings.report,
    )
    return _centred_over_classes(problem, result) if problem.loss == "softmax" else result


def progress_line(number: int, iteration: Iteration) -> None:
    """Write one line to stderr about an exact pass."""
    sys.stderr.write(
        f"mezzotint: exact pass {number}, objective {iteration.objective:.12g}, "
        f"estimated gap {iteration.gap_estimate:.1e}, {iteration.seconds:.2f} s\n"
    )


def _common(settings: Settings) -> dict[str, Any]:
    return {"tol": settings.tol, "report": settings.report, "started_at": settings.started_at}


def _solve_centred_targets(problem: Problem, settings: Settings, start: Coef | None) -> Result:
    """Take the means of the targets (of the middles of intervals) into the intercepts first.

    Far from zero, targets would drown the residuals: in float64, and in the objective at zero that the
    tolerance refers to where the optimum is nearly zero.
    """
    ones = np.ones(problem.n_rows) if problem.weights is None else problem.weights
    sums = np.array([dot(row, ones) for row in problem.y]) / problem.total_weight
    mean = sums.reshape(-1, problem.n_outputs).mean(axis=0)[:, None]
    centred = dataclasses.replace(problem, y=problem.y - np.tile(mean, (len(sums) // len(mean), 1)))
    result = _solve(centred, settings, None if start is None else _with_intercepts(start, -mean))
    return rounded(centred, result, mean, settings.tol)


def _solve_rounded(problem: Problem, settings: Settings, start: Coef | None) -> Result:
    return rounded(problem, _solve(problem, settings, start), 0.0, settings.tol)


def _with_intercepts(coef: Coef, shift: Coef) -> Coef:
    return np.concatenate([coef[:, :-1], coef[:, -1:] + shift], axis=1)


def _centred_over_classes(problem: Problem, result: Result) -> Result:
    """Shifting all classes together changes no probability: take the shift that sums to zero.

    For the penalised weights the optimum does so by itself, and they may be float32 numbers already;
    unpenalised ones and intercepts need it.
    """
    shift = result.coef.sum(axis=0) / len(result.coef)
    if problem.penalty > 0 and problem.coef_dtype is np.float32:
        shift[:-1] = 0.0
    return dataclasses.replace(result, coef=result.coef - shift)
