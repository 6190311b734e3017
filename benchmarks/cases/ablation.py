"""What does the low-bit copy itself buy, over the same method on the float rows?

Newton-PCG on packed rows (8, 4 bits) and on float32 rows (bits=32: no copy), from memory and from a memmap
that is evicted from the page cache before every fit; and HALP on 8-bit codes beside float32 SVRG, which is
the same loop on the float rows (the paper's claim: up to 4 times faster).
"""

import os
import pathlib
import time
from typing import Any

import numpy as np

from benchmarks.disturbance import warning_of_runs
from benchmarks.harness import Record, Run, quick

ACCURACIES = (1e-3, 1e-6, 1e-9)


def runs() -> list[Run]:
    """Contestants take turns within each question; one process per question."""
    n, d = (5_000, 64) if quick() else (200_000, 768)
    return [
        Run("C=1, in memory", "newton", {"n": n, "d": d}, limit_s=600, repeats=1),
        Run("C=1e4, in memory", "newton", {"n": n, "d": d, "strength": 1e-4}, limit_s=600, repeats=1),
        Run("C=1, cold memmap", "newton", {"n": n, "d": d, "cold": True}, limit_s=600, repeats=1),
        Run("HALP and SVRG, C=1", "halp", {"n": n, "d": d}, limit_s=600, repeats=1),
        Run(
            "HALP and SVRG, ridge",
            "halp",
            {"n": n, "d": d, "loss": "squared"},
            limit_s=600,
            repeats=1,
        ),
    ]


def newton(n: int, d: int, strength: float = 1.0, cold: bool = False) -> Record:
    """Time to each accuracy with 8, 4 and 32 bits, in turns."""
    from benchmarks.problems import embedding_problem

    problem = embedding_problem(n, d, strength=strength, fit_intercept=False)
    mapped = _Memmap(problem.X) if cold else None
    contestants = {f"{bits} bits": {"bits": bits} for bits in (8, 4, 32)}
    return _turns(problem, contestants, mapped, repeats=3 if cold else 5)


def halp(n: int, d: int, loss: str = "logistic") -> Record:
    """Time to each accuracy of HALP with 8 and 4 bits and of float32 SVRG, in turns."""
    from benchmarks.problems import embedding_problem

    problem = embedding_problem(n, d, loss, fit_intercept=False)
    contestants = {
        "HALP, 8 bits": {"bits": 8, "solver": "halp"},
        "HALP, 4 bits": {"bits": 4, "solver": "halp"},
        "SVRG, float32": {"bits": 32, "solver": "halp"},
    }
    return _turns(problem, contestants, None, repeats=3)


class _Memmap:
    """Rows in a file of the case's scratch folder."""

    def __init__(self, rows: Any) -> None:
        from benchmarks.harness import SCRATCH

        self._path = pathlib.Path(os.environ[SCRATCH]) / "rows.npy"
        np.save(self._path, rows)

    def evicted(self) -> Any:
        """Map the file after its pages were dropped from the cache."""
        with self._path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return np.load(self._path, mmap_mode="r")


def _turns(problem: Any, contestants: dict[str, Any], mapped: _Memmap | None, repeats: int) -> Record:
    from benchmarks import reference
    from benchmarks.disturbance import Disturbance

    start = time.perf_counter()
    best = reference.optimum(problem)
    if mapped is not None:
        problem = _without_rows(problem)
    disturbance = Disturbance()
    fits: dict[str, list[Any]] = {name: [] for name in contestants}
    for _ in range(repeats):
        for name, options in contestants.items():
            fits[name].append(_fit(problem, options, mapped))
    others = disturbance.other_cores  # of the fits alone
    return {
        "other_cores": others,
        "contestants": {name: _times(problem, best, mine, mapped) for name, mine in fits.items()},
        "shape": list(problem.shape),
        "seconds": time.perf_counter() - start,
    }


def _without_rows(problem: Any) -> Any:
    """Drop the rows in memory: a fit that read them would not be cold."""
    from dataclasses import replace

    return replace(problem, X=np.empty((0, problem.shape[1]), np.float32))


def _fit(problem: Any, options: dict[str, Any], mapped: _Memmap | None) -> Any:
    """((seconds, coefficients) of every exact pass, bytes read), or the reason why not."""
    from benchmarks import forked, ours, peers

    rows = mapped.evicted() if mapped else problem.X

    def work(ready: Any) -> Any:
        ready()
        with ours.kept_coefficients():
            result = ours.fit(problem, rows, n_jobs=peers.N_THREADS, tol=1e-9, **options).result_
        return [(step.seconds, step.coef) for step in result.trace], result.trace[-1].bytes_read

    return forked.call(work, 120)


def _times(problem: Any, best: Any, outcomes: list[Any], mapped: _Memmap | None) -> Record:
    from dataclasses import replace

    from benchmarks import reference

    done = [outcome.value for outcome in outcomes if outcome.status == "done"]
    if not done:
        return {"status": outcomes[0].status, "error": outcomes[0].error}
    whole = replace(problem, X=np.asarray(mapped.evicted())) if mapped else problem
    gaps = [[(s, reference.relative_gap(whole, best, coef)) for s, coef in points] for points, _ in done]
    reached = {}
    for accuracy in ACCURACIES:
        times = [min((s for s, gap in points if gap <= accuracy), default=np.inf) for points in gaps]
        median = float(np.median(times))
        reached[f"{accuracy:.0e}"] = median if np.isfinite(median) else None
    return {"status": "done", "reached": reached, "bytes_read": done[0][1], "turns": gaps}


def table(result: list[Record]) -> str:
    """Seconds to each accuracy."""
    lines = ["| question | contestant | 1e-3 | 1e-6 | 1e-9 | GB read |", "|---|---|---:|---:|---:|---:|"]
    for record in result:
        if record["kind"] != "run":
            continue
        for name, mine in record["measured"].get("contestants", {}).items():
            if mine["status"] != "done":
                lines.append(f"| {record['name']} | {name} | {mine['status']} | | | |")
                continue
            cells = ["not reached" if s is None else f"{s:.3g}" for s in mine["reached"].values()]
            read = f"{mine['bytes_read'] / 1e9:.2f}"
            lines.append(f"| {record['name']} | {name} | {' | '.join(cells)} | {read} |")
    return "\n".join(lines) + warning_of_runs(result)


TABLES = {"ablation": table}
