"""One fit of one contestant, timed in a process of its own.

Every measurement runs in a fresh process that has loaded the libraries and the data and done one small fit
to warm up. "Memory beyond the input" is how far its resident memory rose above what it was then (Linux only:
the kernel's high-water mark, reset before the fit).
"""

import contextlib
import ctypes
import importlib
import multiprocessing
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

_WARM_ROWS = 400
_REPEAT_SECONDS = 1.0
_PRELOAD = ["numpy", "sklearn.linear_model", "mezzotint.linear", __name__]


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """An estimator with its parameters.

    Attributes
    ----------
    name : str
        What the table and the picture call it.
    library : {"mezzotint", "scikit-learn"}
        Whose LogisticRegression.
    parameters : dict
        Of its constructor; everything else is its default.
    as_float64 : bool
        Convert the rows to float64 first, inside the measured time and memory.
    """

    name: str
    library: str
    parameters: dict[str, Any] = field(default_factory=dict)
    as_float64: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class Fit:
    """What one fit gave and what it cost.

    Attributes
    ----------
    seconds : float
        Fastest of the repeats in this process, packing and conversion included.
    memory : int or None
        Bytes of resident memory beyond the input at the peak; None where it cannot be measured.
    coef : ndarray of float64, shape (K, d + 1)
        Coefficients, intercept last.
    converged : bool
        Whether the solver reached its own tolerance.
    trace : list of (float, float)
        Seconds and exact objective after each outer step (mezzotint only).
    """

    seconds: float
    memory: int | None
    coef: NDArray[np.float64]
    converged: bool
    trace: list[tuple[float, float]]


class Arena:
    """Runs contestants on one data set, each in a fresh process; a context manager.

    Parameters
    ----------
    X : ndarray of float32, shape (n, d)
        Rows.
    y : ndarray of int64, shape (n,)
        Labels.
    """

    def __init__(self, X: NDArray[np.float32], y: NDArray[np.int64]) -> None:
        self._scratch = tempfile.TemporaryDirectory(prefix="mezzotint-tour-")
        np.save(Path(self._scratch.name, "X.npy"), X)
        np.save(Path(self._scratch.name, "y.npy"), y)
        methods = multiprocessing.get_all_start_methods()
        # A fork server imports the libraries once; its children are copies that have not computed anything.
        context: Any = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
        if "forkserver" in methods:
            context.set_forkserver_preload(_PRELOAD)
        self._pool = ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._scratch.cleanup()

    def run(self, contestant: Contestant, *, repeats: int = 1) -> Fit:
        """Measure one contestant."""
        return self._pool.submit(measure, contestant, self._scratch.name, repeats).result()


def measure(contestant: Contestant, folder: str, repeats: int) -> Fit:
    """Fit up to `repeats` times in this process, but for a second at most; memory is the first fit's."""
    X, y = np.load(Path(folder, "X.npy")), np.load(Path(folder, "y.npy"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not converging is reported in the table
        _fit(contestant, *_few(X, y))
        memory, seconds = None, list[float]()
        while not seconds or (len(seconds) < repeats and sum(seconds) < _REPEAT_SECONDS):
            with _peak_memory() as peak:
                started = time.perf_counter()
                model = _fit(contestant, X, y)
                elapsed = time.perf_counter() - started
            memory = memory if seconds else peak.get("beyond")
            if elapsed < min(seconds, default=np.inf):
                result = getattr(model, "result_", None)
            seconds.append(elapsed)
    return Fit(
        seconds=min(seconds),
        memory=memory,
        coef=np.column_stack([np.atleast_2d(model.coef_), np.ravel(model.intercept_)]).astype(np.float64),
        converged=_has_converged(model, result),
        trace=[(step.seconds, step.objective) for step in result.trace] if result else [],
    )


def _fit(contestant: Contestant, X: NDArray[Any], y: NDArray[np.int64]) -> Any:  # noqa: ANN401
    module = "mezzotint.linear" if contestant.library == "mezzotint" else "sklearn.linear_model"
    rows = X.astype(np.float64) if contestant.as_float64 else X
    return importlib.import_module(module).LogisticRegression(**contestant.parameters).fit(rows, y)


def _few(X: NDArray[Any], y: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Some rows of every class."""
    index = np.unique(np.concatenate([np.flatnonzero(y == label)[:8] for label in np.unique(y)]))
    index = np.union1d(index, np.arange(min(len(y), _WARM_ROWS)))
    return X[index], y[index]


def _has_converged(model: Any, result: Any) -> bool:  # noqa: ANN401
    if result is not None:
        return result.status.name in ("CONVERGED", "FLOOR")
    return bool(np.max(model.n_iter_) < model.max_iter)


@contextlib.contextmanager
def _peak_memory() -> Iterator[dict[str, int]]:
    """Fill in "beyond": the most resident memory of the block beyond that at its start."""
    found: dict[str, int] = {}
    if sys.platform != "linux":
        yield found
        return
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # what earlier work freed must not serve this one unseen
    Path("/proc/self/clear_refs").write_text("5")
    before = _status_bytes("VmRSS")
    yield found
    found["beyond"] = max(0, _status_bytes("VmHWM") - before)


def _status_bytes(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))
