"""Are data of more than three times the memory we allow packed and fitted, with the bits of a fit in memory?

Float32 rows in a file. "limited": the process may allocate a third of the file's size at most (RLIMIT_DATA,
counted from what it holds after loading its modules); it packs the file into a store and fits from there: the
exact solution (codes mapped, exact passes streamed from the file) and ZipML's descent from the double-sampled
codes alone. "in memory": the same with everything in memory and no limit. Pages of files are the system's;
the peak of anonymous memory is measured. The coefficients of both must have the same hash.
"""

import os
import pathlib
import resource
import time
from typing import Any

import numpy as np

from benchmarks.harness import Record, Run, quick

_KINDS = {
    "exact, 8 bits": ("exact", 8, 1),
    "exact, 4 bits": ("exact", 4, 1),
    "zipml, 2 draws of 4": ("zipml", 4, 2),
}
_SHARE = 1 / 3  # of the file that may be allocated, at most


def runs() -> list[Run]:
    """Each kind of fit in memory and limited."""
    n, d = (200_000, 256) if quick() else (1_048_576, 768)
    return [
        Run(f"{name}, {place}", "fit", {"name": name, "place": place, "n": n, "d": d}, limit_s=600, repeats=1)
        for name in _KINDS
        for place in ("in memory", "limited")
    ]


def fit(name: str, place: str, n: int, d: int) -> Record:
    """Pack and fit in one place."""
    from benchmarks.cases.memory import _anonymous_peak, _labels, _make, _status, _warm_up
    from benchmarks.measure import cached_array

    kind, bits, n_draws = _KINDS[name]
    X = cached_array(f"rows_{n}_{d}", lambda: _make(n, d), mmap=True)
    y = _labels(X)
    _warm_up(8)
    limited = place == "limited"
    allowed = int(_SHARE * X.nbytes)
    if limited:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (_status("VmData") + allowed, hard))
    start = time.perf_counter()
    with _anonymous_peak() as peak:
        packed = _stored(X, bits, n_draws, kind) if limited else _packed(np.array(X), bits, n_draws, kind)
        packing = time.perf_counter() - start
        model = _model(kind).fit(packed, y if kind == "exact" else 2.0 * y - 1.0)
    return _record(model, X.nbytes, allowed, peak[0], packing, time.perf_counter() - start)


def _packed(X: Any, bits: int, n_draws: int, kind: str) -> Any:
    import mezzotint as mz

    return mz.pack(X, bits=bits, n_draws=n_draws, keep_source=kind == "exact", n_jobs=2)


def _stored(X: Any, bits: int, n_draws: int, kind: str) -> Any:
    import mezzotint as mz
    from benchmarks.harness import SCRATCH

    store = pathlib.Path(os.environ[SCRATCH]) / f"rows-{bits}-{n_draws}.mzt"
    mz.pack_file(X, store, bits=bits, n_draws=n_draws, n_jobs=2)
    return mz.open(store, source=X if kind == "exact" else None)


def _model(kind: str) -> Any:
    from mezzotint.linear import LogisticRegression, Ridge

    if kind == "exact":
        return LogisticRegression(n_jobs=2)
    return Ridge(solver="zipml", max_iter=20, n_jobs=2)


def _record(model: Any, size: int, allowed: int, peak: int, packing: float, seconds: float) -> Record:
    from benchmarks import ours

    return {
        "input_bytes": size,
        "allowed_bytes": allowed,
        "anonymous_bytes": peak,
        "packing_seconds": packing,
        "seconds": seconds,
        "status_name": model.result_.status.name,
        "solution": model.solution_,
        "coef_hash": ours.coef_hash(model),
    }


def table(result: list[Record]) -> str:
    """Memory and time in both places, and whether the bits agree."""
    done = {r["name"]: r["measured"] for r in result if r["kind"] == "run" and r["measured"]}
    head = "| fit | X | allowed | anonymous memory | s to pack | s in all | solution | same bits |"
    lines = [head, "|---|---:|---:|---:|---:|---:|---|---|"]
    for name, mine in done.items():
        twin = done.get(name.replace("limited", "in memory"), {})
        allowed = f"{mine['allowed_bytes'] / 1e9:.2f} GB" if "limited" in name else "all"
        same = "" if "limited" not in name else "yes" if twin.get("coef_hash") == mine["coef_hash"] else "NO"
        lines.append(
            f"| {name} | {mine['input_bytes'] / 1e9:.2f} GB | {allowed} "
            f"| {mine['anonymous_bytes'] / 1e9:.2f} GB "
            f"| {mine['packing_seconds']:.1f} | {mine['seconds']:.1f} | {mine['solution']} | {same} |"
        )
    return "\n".join(lines)


TABLES = {"out-of-core": table}
