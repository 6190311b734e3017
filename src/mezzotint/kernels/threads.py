"""How many threads a call may use: n_jobs, within the limits of joblib, OpenMP and threadpoolctl."""

import os
import sys
import threading
from typing import Any

from mezzotint.errors import ParameterError

_WORTH_A_THREAD = 2**22  # multiply-adds that take about three times as long as starting a thread
_limit: int | None = None  # set by threadpoolctl (see linear.threadpool)


def set_thread_limit(limit: int | None) -> None:
    """Cap the threads of every following call with n_jobs=None; None removes the cap."""
    global _limit
    _limit = limit


def thread_limit() -> int | None:
    """Return the cap that `set_thread_limit` set, None if there is none."""
    return _limit


def resolve_n_jobs(n_jobs: int | None) -> int:
    """Turn scikit-learn's n_jobs into a number of threads.

    Parameters
    ----------
    n_jobs : int or None
        None: all cores within the limits of joblib (1 inside a joblib worker thread), OMP_NUM_THREADS
        and threadpoolctl. k > 0: k threads. k < 0: all cores but ``-k - 1``.

    Raises
    ------
    ParameterError
        If `n_jobs` is 0 or not an integer.
    """
    if n_jobs is None:
        return _available()
    if isinstance(n_jobs, bool) or not hasattr(n_jobs, "__index__") or int(n_jobs) == 0:
        raise ParameterError(
            f"n_jobs={n_jobs!r} is not possible; give None, a number of threads, or -1 for all cores."
        )
    return int(n_jobs) if n_jobs > 0 else max(1, _cores() + 1 + int(n_jobs))


def worthwhile(n_threads: int, work: float) -> int:
    """Threads, at most `n_threads`, that pay off for so many multiply-adds; no result depends on it."""
    return max(1, min(n_threads, 1 + int(work / _WORTH_A_THREAD)))


def _available() -> int:
    limits = [_cores()]
    omp = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    if omp.isdigit() and int(omp) > 0:
        limits.append(int(omp))
    if _limit is not None:
        limits.append(_limit)
    return max(1, min(limits))


def _cores() -> int:
    """Cores of this process; joblib knows containers and whether we are inside one of its workers."""
    joblib = sys.modules.get("joblib")
    if joblib is not None:
        return 1 if _in_joblib_thread(joblib) else int(joblib.effective_n_jobs(-1))
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _in_joblib_thread(joblib: Any) -> bool:  # noqa: ANN401 - a module that has no types
    """Whether this is a worker thread of joblib; its worker processes bound us by OMP_NUM_THREADS instead."""
    if threading.current_thread() is threading.main_thread():
        return False
    backend, _ = joblib.parallel.get_active_backend()
    return int(backend.nesting_level or 0) > 0
