"""One function call in a forked child with a time limit: it shares the parent's arrays without a copy."""

import contextlib
import os
import pickle
import select
import signal
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_READY = b"r"


@dataclass(frozen=True)
class Outcome:
    """What became of a call: "done" with a value, "time limit", or "failed" with an error's text."""

    status: str
    value: Any = None
    error: str = ""


def call(work: Callable[[Callable[[], None]], Any], limit_s: float, *, setup_s: float = 60.0) -> Outcome:
    """Run ``work(ready)`` in a child; the limit counts from its call of ``ready()``, after imports.

    The parent must not have used OpenMP (scikit-learn's loops, snapml): its threads do not survive a fork.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _child(work, writing)
    os.close(writing)
    try:
        return _collect(reading, limit_s, setup_s)
    finally:
        os.close(reading)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _child(work: Callable[[Callable[[], None]], Any], writing: int) -> None:
    """Answer through the pipe and leave without running the parent's exit handlers."""
    try:
        _silence()
        try:
            outcome = Outcome("done", work(lambda: _write(writing, _READY)))
        except Exception:
            outcome = Outcome("failed", error=traceback.format_exc(limit=-2)[-800:])
        _write(writing, _READY + pickle.dumps(outcome))
    finally:
        os._exit(0)


def _silence() -> None:
    """Peers print progress and warn; neither is a result."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    warnings.simplefilter("ignore")


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _collect(reading: int, limit_s: float, setup_s: float) -> Outcome:
    """Read until the end of the pipe or of the time; the first byte means ready."""
    data, deadline = b"", time.perf_counter() + setup_s
    while True:
        if not select.select([reading], [], [], max(0.0, deadline - time.perf_counter()))[0]:
            return Outcome("time limit" if data else "failed", error="" if data else "imports took too long")
        part = os.read(reading, 1 << 20)
        if not part:
            break
        if not data:
            deadline = time.perf_counter() + limit_s
        data += part
    answer = data.lstrip(_READY)
    return pickle.loads(answer) if answer else Outcome("failed", error="the process died")
