"""From checked samples and a solver's name to a Result: packs where that pays, and dispatches."""

import dataclasses
import sys
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import ParameterError
from mezzotint.kernels.threads import worthwhile
from mezzotint.linear import minimum_norm, multipliers, nullspace, nullspace_doubt
from mezzotint.linear.certificate import lost_to_rounding
from mezzotint.linear.extent import exact_extent
from mezzotint.linear.factors import NotFinite
from mezzotint.linear.frame import check_reach, in_frame
from mezzotint.linear.halp import solve_halp
from mezzotint.linear.newton import is_small, solve_newton
from mezzotint.linear.objective import Coef, Problem
from mezzotint.linear.result import Iteration, Report, Result, Status
from mezzotint.linear.rounded import rounded
from mezzotint.linear.targets import WITH_TARGETS, rounded_intercept, units_of
from mezzotint.linear.validation import check_choice
from mezzotint.linear.zipml import ZipML, n_draws_for, solve_zipml
from mezzotint.packed import PackedMatrix, Source
from mezzotint.packed.pack import check_finite, checked_rounding, pack_source

SOLVERS = ("auto", "newton", "halp", "zipml")
BITS = (8, 4, 32)
_ROUNDED = 1000.0  # times the tolerance that a converged gap may be with all its rounding: it rarely adds up
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
    n_draws = n_draws_for(loss)
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
    try:
        result = _solve_posed(problem, settings, start)
    except NotFinite:  # some row reaches further than those that were looked at
        extent = exact_extent(problem.source, problem.weights)
        result = _solve_posed(dataclasses.replace(problem, known_extent=extent), settings, start)
    result = rounded(problem, result, settings.tol)
    if result.solution == "exact" and getattr(problem.source, "is_decoded", False):
        result = dataclasses.replace(result, solution="quantised")
    return _as_evidence_says(result, settings.tol)


def _as_evidence_says(result: Result, tol: float) -> Result:
    """A solver's word on how it ended, corrected by what is known of the point.

    Converged is what is within the tolerance beyond doubt, and not what the rounding of coefficients alone
    may take far beyond it.
    """
    allowed = tol * result.scale
    if result.gap_bound <= allowed:
        gap = min(result.gap_estimate, result.gap_bound)
        return dataclasses.replace(result, status=Status.CONVERGED, gap_estimate=gap)
    if result.status is Status.CONVERGED and result.scale > 0 and result.gap_estimate > _ROUNDED * allowed:
        return dataclasses.replace(result, status=Status.FLOOR)
    return result


def _solve_posed(problem: Problem, settings: Settings, start: Coef | None) -> Result:
    """Solve in coordinates in which columns and targets have ordinary sizes."""
    if settings.solver == "zipml":
        check_reach(problem.extent)
        return _solve_targets(problem, settings, start)
    framed = in_frame(problem)
    if framed.frame is None:
        return _solve_targets(problem, settings, start)
    result = _solve_targets(framed, settings, None if start is None else framed.frame.enter(start))
    coef = framed.frame.leave(result.coef)
    parts = np.abs(coef[:, -1]) + np.abs(coef[:, :-1] * framed.frame.centre).sum(axis=1)
    power = 1 if problem.loss in multipliers.LOSSES else 2
    return rounded_intercept(result, parts, power, coef)


def _solve_targets(problem: Problem, settings: Settings, start: Coef | None) -> Result:
    if problem.loss not in WITH_TARGETS:
        return _solve(problem, settings, start)
    units = units_of(problem)
    return units.leave(_solve(units.inside(problem), settings, None if start is None else units.enter(start)))


def _solve(problem: Problem, settings: Settings, start: Coef | None) -> Result:
    if settings.solver == "zipml":
        return _descend(problem, settings, start)
    if problem.loss in multipliers.LOSSES:
        return multipliers.solve_multipliers(
            problem, max_iter=settings.max_iter, start=start, **_common(settings)
        )
    if problem.penalty == 0 and problem.loss in nullspace.LOSSES:
        return _solve_unpenalised(problem, settings, start)
    result = _solve_smooth(problem, settings, start)
    if nullspace.leaves_row_space(problem):
        return _moved(problem, result, nullspace.in_row_space(problem, result.coef), settings.tol)
    return result


def _solve_unpenalised(problem: Problem, settings: Settings, start: Coef | None) -> Result:
    """The solution of least norm, where columns that others express leave a choice."""
    if not nullspace.looks_deficient(problem, settings.seed):
        return _solve_smooth(problem, settings, start)
    n, d = problem.source.shape
    small = nullspace.is_small(problem)
    if (
        not small and n < d
    ):  # gradients are combinations of rows, and with them all that Newton's steps add up
        if problem.loss == "squared":
            return minimum_norm.solve_minimum_norm(problem, None, **_common(settings))
        return _solve_smooth(problem, settings, start)
    found = nullspace.dependence(problem)
    if small and problem.loss == "squared":
        result = minimum_norm.solve_minimum_norm(problem, found, **_common(settings))
    else:
        pinned = (
            problem
            if found is None
            else dataclasses.replace(problem, pinned=found.pins, known_extent=problem.extent)
        )
        result = _solve_smooth(pinned, settings, start)
    if found is not None and found.doubt is not None and problem.loss == "squared":
        result = _doubted(problem, result, found.doubt, settings.tol)
    return result if found is None else _moved(problem, result, found.least_norm(result.coef), settings.tol)


def _doubted(problem: Problem, result: Result, doubt: NDArray[np.float64], tol: float) -> Result:
    """Count to the gap what columns would gain whose dependence is not certain."""
    gain = nullspace_doubt.gain(problem, doubt, problem.evaluate(result.coef).phi)
    unsure = result.status is Status.CONVERGED and gain > tol * result.scale
    return dataclasses.replace(
        result,
        status=Status.FLOOR if unsure else result.status,
        gap_estimate=result.gap_estimate + gain,
        exact_passes=result.exact_passes + 1,
    )


def _moved(problem: Problem, result: Result, coef: Coef, tol: float) -> Result:
    """Move to weights of less norm; stay where columns are of too different sizes to get there."""
    point = problem.evaluate(coef)
    if not point.value <= result.objective + 0.1 * tol * result.scale:
        return result
    return dataclasses.replace(
        result,
        coef=point.coef,
        objective=point.value,
        gap_estimate=max(result.gap_estimate, lost_to_rounding(problem, point)),
        exact_passes=result.exact_passes + 1,
    )


def _solve_smooth(problem: Problem, settings: Settings, start: Coef | None) -> Result:
    more = {"max_iter": settings.max_iter, "seed": settings.seed, "start": start, **_common(settings)}
    if settings.solver == "halp":
        return solve_halp(problem, float32=problem.packed is None, **more)
    return solve_newton(problem, **more)


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
    if problem.loss != "softmax":
        return result
    return dataclasses.replace(result, coef=result.coef - result.coef.sum(axis=0) / problem.n_outputs)


def progress_line(number: int, iteration: Iteration) -> None:
    """Write one line to stderr about an exact pass."""
    sys.stderr.write(
        f"mezzotint: exact pass {number}, objective {iteration.objective:.12g}, "
        f"estimated gap {iteration.gap_estimate:.1e}, {iteration.seconds:.2f} s\n"
    )


def _common(settings: Settings) -> dict[str, Any]:
    return {"tol": settings.tol, "report": settings.report, "started_at": settings.started_at}
