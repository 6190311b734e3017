"""What does a path of 45 values of C from 1e-6 to 1e5 cost beside scikit-learn's cold fits?

Ours is ``LogisticRegression.path``: one packed copy, each solution from its neighbour's. scikit-learn fits
each C on its own, with its default solver and tolerance; a few values are timed (float32 and float64) and
the rest are interpolated in log C, which the result says. Gaps of scikit-learn's solutions are relative to
ours, whose own estimated gap is given.
"""

import time
from typing import Any

import numpy as np

from benchmarks.disturbance import warning_of_runs
from benchmarks.harness import Record, Run, quick

VALUES = np.logspace(-6, 5, 45)
TIMED = (0, 12, 24, 34, 44)  # of the 45 values
_COLD_LIMIT_S = 45.0


def runs() -> list[Run]:
    """One run: both sides share the data."""
    n, d = (5_000, 64) if quick() else (200_000, 768)
    return [Run("path", "compare", {"n": n, "d": d}, limit_s=600, repeats=1)]


def compare(n: int, d: int) -> Record:
    """Time our whole path, then scikit-learn's cold fits of a few values, then our path again."""
    from benchmarks.disturbance import Disturbance
    from benchmarks.problems import embedding_problem

    problem = embedding_problem(n, d, fit_intercept=False)
    disturbance = Disturbance()
    first, path = _path(problem)
    cold = {dtype: [_cold(problem, i, dtype, path) for i in TIMED] for dtype in ("float32", "float64")}
    second, _ = _path(problem)
    return {
        "seconds": min(first, second),
        "other_cores": disturbance.other_cores,
        "ours_s": [first, second],
        "ours_estimated_gap": max(r.gap_estimate / r.objective for r in path.results),
        "ours_statuses": sorted({r.status.name for r in path.results}),
        "cold": cold,
        "scikit_learn_s": {dtype: _interpolated(fits) for dtype, fits in cold.items()},
        "timed_values": [float(VALUES[i]) for i in TIMED],
        "shape": [n, d],
    }


def _path(problem: Any) -> tuple[float, Any]:
    from benchmarks import forked, peers
    from mezzotint.linear import LogisticRegression

    def work(ready: Any) -> Any:
        model = LogisticRegression(fit_intercept=False, n_jobs=peers.N_THREADS)
        ready()
        start = time.perf_counter()
        path = model.path(problem.X, problem.y, Cs=VALUES)
        return time.perf_counter() - start, path

    outcome = forked.call(work, 300)
    if outcome.status != "done":
        raise RuntimeError(f"our path: {outcome.status} {outcome.error}")
    return outcome.value


def _cold(problem: Any, i: int, dtype: str, path: Any) -> Record:
    """One cold fit with lbfgs at its default tolerance; its gap relative to our solution."""
    from benchmarks import peers

    at = problem.with_strength(1.0 / VALUES[i])
    peer = next(
        p for p in peers.line_up(at)[0] if (p.library, p.solver, p.dtype) == ("scikit-learn", "lbfgs", dtype)
    )
    outcome = peers.run(peer, at, 1e-4, _COLD_LIMIT_S)
    if outcome.status != "done":
        return {"C": float(VALUES[i]), "status": outcome.status, "seconds": _COLD_LIMIT_S}
    seconds, coef = outcome.value
    ours = path.results[i].objective
    return {
        "C": float(VALUES[i]),
        "status": "done",
        "seconds": seconds,
        "gap": (_objective(at, coef) - ours) / ours,
    }


def _objective(problem: Any, coef: Any) -> float:
    """F in float64."""
    margins = problem.X.astype(np.float64) @ coef[0, :-1] + coef[0, -1]
    losses = np.logaddexp(0, np.where(problem.y > 0, -margins, margins))
    return float(losses.mean() + 0.5 * problem.penalty * (coef[:, :-1] ** 2).sum())


def _interpolated(fits: list[Record]) -> float:
    """Sum over all 45 values, the logarithm of the time interpolated in log C; a limit counts as its time."""
    seconds = np.interp(np.arange(len(VALUES)), TIMED, np.log([fit["seconds"] for fit in fits]))
    return float(np.exp(seconds).sum())


def table(result: list[Record]) -> str:
    """Seconds of the whole path."""
    measured = next(r["measured"] for r in result if r["kind"] == "run")
    mine = measured["seconds"]
    lines = ["| 45 values of C | seconds | times ours | largest gap |", "|---|---:|---:|---:|"]
    lines.append(
        f"| mezzotint, one path | {mine:.3g} | 1 | {measured['ours_estimated_gap']:.0e} (estimate) |"
    )
    for dtype, seconds in measured["scikit_learn_s"].items():
        fits = measured["cold"][dtype]
        worst = max((fit["gap"] for fit in fits if "gap" in fit), default=np.nan)
        late = sum(fit["status"] != "done" for fit in fits)
        sign = "> " if late else ""
        label = f"scikit-learn lbfgs, {dtype}, cold fits ({len(fits)} timed, the others interpolated)"
        lines.append(f"| {label} | {sign}{seconds:.3g} | {sign}{seconds / mine:.0f} | {worst:.0e} |")
    return "\n".join(lines) + warning_of_runs(result)


TABLES = {"path": table}
