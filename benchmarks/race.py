"""Time to a stated accuracy of the float problem: ours against every peer, taking turns.

Ours is a whole fit (checks, packing, solver) whose trace keeps the coefficients of every exact pass; the
time to an accuracy is that of the first one that has it, judged in float64 outside the timing. A peer's is
the smallest over its tolerances (see benchmarks/peers.py); it may take 30 times ours to 1e-6.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import forked, ours, peers, reference
from benchmarks.disturbance import Disturbance, warning
from benchmarks.harness import Record
from benchmarks.problems import LinearProblem

ACCURACIES = (1e-3, 1e-6, 1e-9)
_LIMIT_FACTOR, _LEAST_LIMIT_S = 30.0, 2.0
_OURS_LIMIT_S = 200.0
_TIGHT = 1e-9  # our tol in a race: it must not stop just above the last accuracy
_FIRST_TURNS = 3
_BITS = (8, 4)


def race(problem: LinearProblem, *, budget_s: float = 280.0, whole_fits: bool = False) -> Record:
    """Run ours and all peers on a problem in turns, those first that were fastest in trials.

    Parameters
    ----------
    problem : LinearProblem
        Made outside the timing; its reference optimum too.
    budget_s : float
        No further run starts after this many seconds; peers not run are named.
    whole_fits : bool
        Small problems: time our whole fits for several tolerances as the peers' are, not the trace.

    Returns
    -------
    dict
        Every time that was measured and the accuracy it led to.
    """
    start = time.perf_counter()
    best = reference.optimum(problem)
    disturbance = Disturbance()
    turns = _Turns(problem, best, whole_fits)
    for _ in range(_FIRST_TURNS):
        turns.ours(_BITS)
    limit = max(_LIMIT_FACTOR * turns.seconds_to(1e-6), _LEAST_LIMIT_S)
    line, skipped = peers.line_up(problem)
    contestants = []
    for number, peer in enumerate(line):
        if time.perf_counter() - start > budget_s:
            skipped[f"{peer.library} {peer.solver} {peer.dtype}"] = "not run: the benchmark's time was up"
            continue
        contestants.append(_run_peer(peer, problem, best, limit))
        turns.ours(_BITS if number % 3 == 2 else _BITS[:1])
    n, d = problem.shape
    return {
        "problem": problem.name,
        "loss": problem.loss,
        "shape": [n, d],
        "outputs": problem.n_outputs,
        "dtype": str(problem.X.dtype),
        "strength": problem.strength,
        "intercept": problem.fit_intercept,
        "optimum": best.value,
        "accuracies": list(ACCURACIES),
        "limit_s": limit,
        "ours": turns.record(),
        "peers": contestants,
        "skipped": skipped,
        "other_cores": disturbance.other_cores,
        "seconds": time.perf_counter() - start,
    }


class _Turns:
    """Our runs in a race."""

    def __init__(self, problem: LinearProblem, best: reference.Optimum, whole_fits: bool) -> None:
        self._problem, self._best = problem, best
        self._run = _whole_fits if whole_fits else _traced_fit
        self._seen: dict[int, list[list[tuple[float, float]]]] = {bits: [] for bits in _BITS}
        self._default_s: dict[int, list[float]] = {bits: [] for bits in _BITS}

    def ours(self, all_bits: tuple[int, ...]) -> None:
        """Fit once with each width."""
        for bits in all_bits:
            points, default_s = self._measure(bits)
            gaps = [(seconds, self._relative(coef)) for seconds, coef in points]
            self._seen[bits].append(gaps)
            self._default_s[bits].append(default_s)

    def _measure(self, bits: int) -> Any:
        outcome = forked.call(lambda ready: self._run(self._problem, bits, ready), _OURS_LIMIT_S)
        if outcome.status != "done":
            raise RuntimeError(f"our own fit: {outcome.status} {outcome.error}")
        return outcome.value

    def _relative(self, coef: Any) -> float:
        return reference.relative_gap(self._problem, self._best, coef)

    def seconds_to(self, accuracy: float, bits: int = 8) -> float:
        """Median time to an accuracy; infinity if not reached."""
        return float(np.median([_first(points, accuracy) for points in self._seen[bits]]))

    def record(self) -> Record:
        """Medians, and everything behind them."""
        return {
            str(bits): {
                "reached": {f"{a:.0e}": _finite(self.seconds_to(a, bits)) for a in ACCURACIES},
                "default_fit_s": float(np.median(self._default_s[bits])),
                "turns": self._seen[bits],
            }
            for bits in _BITS
        }


def _traced_fit(problem: LinearProblem, bits: int, ready: Callable[[], None]) -> Any:
    """((seconds, coefficients) of every exact pass, seconds of a fit with default parameters)."""
    ready()
    with ours.kept_coefficients():
        trace = ours.fit(problem, bits=bits, n_jobs=peers.N_THREADS, tol=_TIGHT).result_.trace
    points = [(step.seconds, step.coef) for step in trace]
    start = time.perf_counter()
    ours.fit(problem, bits=bits, n_jobs=peers.N_THREADS)
    return points, time.perf_counter() - start


def _whole_fits(problem: LinearProblem, bits: int, ready: Callable[[], None]) -> Any:
    """The same for small problems: whole fits, repeated, at several tolerances."""
    ready()
    points = [
        peers.repeated(lambda tol=tol: ours.fit(problem, bits=bits, n_jobs=peers.N_THREADS, tol=tol))
        for tol in (1e-2, 1e-5, 1e-8)
    ]
    return points, points[-1][0]


def _run_peer(peer: peers.Peer, problem: LinearProblem, best: reference.Optimum, limit: float) -> Record:
    """Run a peer from loose to tight tolerances until it is accurate, too slow, or no longer improves."""
    runs: list[Record] = []
    gaps = [np.inf]
    for tolerance in peer.tolerances:
        outcome = peers.run(peer, problem, tolerance, limit)
        run: Record = {"tol": tolerance, "status": outcome.status}
        runs.append(run)
        if outcome.status != "done":
            run["error"] = outcome.error
            break
        seconds, coef = outcome.value
        gaps.append(reference.relative_gap(problem, best, coef))
        run.update(seconds=seconds, gap=gaps[-1])
        if gaps[-1] <= ACCURACIES[-1] or gaps[-1] > 0.5 * gaps[-2]:
            break
    points = [(run["seconds"], run["gap"]) for run in runs if "seconds" in run]
    return {
        "library": peer.library,
        "solver": peer.solver,
        "dtype": peer.dtype,
        "reached": {f"{a:.0e}": _finite(_first(points, a)) for a in ACCURACIES},
        "runs": runs,
    }


def _first(points: list[tuple[float, float]], accuracy: float) -> float:
    """Least seconds of a point that has the accuracy."""
    return min((seconds for seconds, gap in points if gap <= accuracy), default=np.inf)


def _finite(seconds: float) -> float | None:
    """JSON has no infinity: None is "not reached"."""
    return float(seconds) if np.isfinite(seconds) else None


# ---- tables

LIBRARIES = ("scikit-learn", "scikit-learn-intelex", "snapml")


def races(result: list[Record]) -> list[Record]:
    """The races of a result file."""
    return [record["measured"] for record in result if record["kind"] == "run" and record["measured"]]


def best_of(entry: Record, library: str, accuracy: str) -> float | None:
    """Return the best time of a library's solvers to an accuracy, None if none has it."""
    times = [peer["reached"][accuracy] for peer in entry["peers"] if peer["library"] == library]
    return min((seconds for seconds in times if seconds is not None), default=None)


def table(result: list[Record]) -> str:
    """Seconds to each accuracy: ours, and the best solver of each library; then what was not run."""
    lines = [
        "| problem | seconds to | mezzotint 8 bit | 4 bit | scikit-learn | scikit-learn-intelex | snapml "
        "| best peer / 8 bit |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    entries = races(result)
    for entry in entries:
        lines += [_line(entry, f"{accuracy:.0e}") for accuracy in entry["accuracies"]]
    reasons = {f"{name}: {why}" for entry in entries for name, why in entry["skipped"].items()}
    left_out = ["", f"Left out: {'; '.join(sorted(reasons))}."] if reasons else []
    return "\n".join([*lines, *left_out]) + warning([entry.get("other_cores") for entry in entries])


def _line(entry: Record, accuracy: str) -> str:
    mine = [entry["ours"][bits]["reached"][accuracy] for bits in ("8", "4")]
    best = {library: best_of(entry, library, accuracy) for library in LIBRARIES}
    rivals = [seconds for seconds in best.values() if seconds is not None]
    ran = {peer["library"] for peer in entry["peers"]}
    cells = [_cell(seconds) for seconds in mine]
    cells += [_cell(seconds) if library in ran else "-" for library, seconds in best.items()]
    n, d = entry["shape"]
    name = f"{entry['problem']} ({n} x {d})" if accuracy == f"{ACCURACIES[0]:.0e}" else ""
    return f"| {name} | {accuracy} | {' | '.join(cells)} | {_ratio(mine[0], rivals, entry)} |"


def _cell(seconds: float | None) -> str:
    return "not reached" if seconds is None else f"{seconds:.3g}"


def _ratio(mine: float | None, rivals: list[float], entry: Record) -> str:
    if mine is None:
        return "-"
    if not rivals:
        return f"none within {entry['limit_s']:.0f} s"
    return f"{min(rivals) / mine:.1f}"
