"""Gives problems to workers, watches the clock, and adds a line per problem to a file."""

import concurrent.futures
import json
import os
import pathlib
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from benchmarks.differential import worker
from benchmarks.differential.problems import make_problem
from benchmarks.harness import ROOT, THREAD_VARIABLES
from benchmarks.training.store import append_record, read_records

Record = dict[str, Any]

HANG_S = 60.0  # of a fit
_REFERENCE_S = 300.0  # of the reference and the verdict
_START_S = 120.0  # of a worker's imports
_STACK_S = 2.0  # for a hanging worker to say where it is


def run(
    stream: str,
    seeds: Iterable[int],
    path: pathlib.Path,
    *,
    n_jobs: int = 1,
    seconds: float | None = None,
    hang_s: float = HANG_S,
    fit: str | None = None,
    say: Callable[[Record], None] = lambda record: None,
) -> None:
    """Judge the problems of some seeds that the file has no line of."""
    done = {(record["stream"], record["seed"]) for record in read_records(path)}
    left = iter([seed for seed in seeds if (stream, seed) not in done])
    lock, ends = threading.Lock(), time.monotonic() + (seconds or float("inf"))

    def serve() -> None:
        with Worker(fit, hang_s=hang_s) as mine:
            while time.monotonic() < ends:
                with lock:
                    seed = next(left, None)
                if seed is None:
                    return
                record = mine.judge(stream, seed)
                append_record(path, record)
                say(record)

    with concurrent.futures.ThreadPoolExecutor(n_jobs) as pool:
        for future in [pool.submit(serve) for _ in range(n_jobs)]:
            future.result()


class Worker:
    """A process that judges, started anew after it hung or died."""

    def __init__(self, fit: str | None = None, *, hang_s: float = HANG_S) -> None:
        self._fit, self._hang_s = fit, hang_s
        self._child: subprocess.Popen[str] | None = None

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop()

    def judge(self, stream: str, seed: int) -> Record:
        """Return the record of one problem."""
        child = self._started()
        task = {"stream": stream, "seed": seed, **({"fit": self._fit} if self._fit else {})}
        child.stdin.write(json.dumps(task) + "\n")
        child.stdin.flush()
        for event, limit in (("start", _START_S), ("fitted", self._hang_s), ("record", _REFERENCE_S)):
            message = self._next(limit)
            if message.get("event") != event:
                return {**worker.facts(make_problem(stream, seed)), **self._fault(event, message)}
        return message["record"]

    def _fault(self, event: str, message: Record) -> Record:
        """The verdict of a worker that hung or died: its fit is to blame only while it fitted."""
        if message.get("event") == "silent":
            verdict, said = "hang" if event == "fitted" else "not_counted", self._where()
        else:
            verdict, said = "crash" if event == "fitted" else "not_counted", self._died()
        self._stop()
        return {"verdict": verdict, "crash": said[-800:], "during": event}

    def _next(self, limit: float) -> Record:
        try:
            line = self._lines.get(timeout=limit)
        except queue.Empty:
            return {"event": "silent"}
        return json.loads(line) if line else {"event": "died"}

    def _started(self) -> subprocess.Popen[str]:
        if self._child is None:
            self._child = subprocess.Popen(
                [sys.executable, *_SITE, "-m", "benchmarks.differential.worker"],
                cwd=ROOT,
                env={**os.environ, **dict.fromkeys(THREAD_VARIABLES, "1")},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            self._lines, self._errors = queue.Queue(), []
            self._reader = _in_thread(_forward, self._child.stdout, self._lines.put)
            self._listener = _in_thread(_forward, self._child.stderr, self._errors.append)
        return self._child

    def _where(self) -> str:
        self._errors.clear()
        self._child.send_signal(signal.SIGUSR1)
        time.sleep(_STACK_S)
        return "".join(line for line in self._errors if line)

    def _died(self) -> str:
        code = self._child.wait()
        self._listener.join()
        return f"exit code {code}\n" + "".join(line for line in self._errors if line)

    def _stop(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child.stdin.close()
            self._child = None


_SITE = ["-S"] if sys.flags.no_site else []  # a worker sees the packages that we see


def _forward(stream: Any, put: Callable[[str], None]) -> None:
    """Pass on lines; an empty one is the end."""
    with stream:
        for line in stream:
            put(line)
    put("")


def _in_thread(function: Callable[..., None], *arguments: Any) -> threading.Thread:
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    return thread
