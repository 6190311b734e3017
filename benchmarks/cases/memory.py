"""How much memory beyond the input does a fit need, and does it fit where the input does not?

Two sizes of X separate the part that grows with X from the part that does not. In the memmap runs the
process may allocate but a part of X's size (RLIMIT_DATA): a fit that copied X would die.
"""

import contextlib
import pathlib
import resource
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.harness import Record, Run, quick

_ALLOWED = {8: 0.30, 4: 0.17}  # of the size of X; what must hold
_FIXED_BYTES = 160_000_000  # allowed besides, in the memmap runs
_POLL_S = 0.002


def runs() -> list[Run]:
    """Fits of two sizes with 8 and 4 bits in memory, narrow rows too, and of a memmap under a limit."""
    n, d = (40_000, 256) if quick() else (1_048_576, 512)
    found = [
        _run("in_memory", f"{bits} bits, {rows} x {columns}", n=whole, rows=rows, d=columns, bits=bits)
        for whole, columns in ((n, d), (2 * n, d // 2))
        for bits in (8, 4)
        for rows in (whole, whole // 2)
    ]
    found += [_run("mapped", f"{bits} bits, memmap {n} x {d}", n=n, d=d, bits=bits) for bits in (8, 4)]
    return found


def _run(function: str, name: str, **arguments: int) -> Run:
    return Run(name, function, arguments, limit_s=600, repeats=1)


def _columns(d: int) -> Any:
    return np.random.default_rng(1).standard_normal(d).astype(np.float32) / np.sqrt(d)


def _make(n: int, d: int) -> Any:
    """Rows with a decaying spectrum of columns, made in blocks."""
    rng = np.random.default_rng(0)
    X = np.empty((n, d), np.float32)
    for start in range(0, n, 65_536):
        X[start : start + 65_536] = rng.standard_normal((min(65_536, n - start), d), dtype=np.float32)
    return X * (np.arange(1, d + 1) ** -0.5).astype(np.float32)


def _labels(X: Any) -> Any:
    """Labels of a linear model, computed by the block."""
    w = 40 * _columns(X.shape[1])
    margins = np.concatenate([X[start : start + 65_536] @ w for start in range(0, len(X), 65_536)])
    return (np.random.default_rng(2).random(len(X)) < 1 / (1 + np.exp(-margins))).astype(np.int64)


def _warm_up(bits: int) -> None:
    """Load everything a fit loads: modules and threads are no part of its memory."""
    from benchmarks import ours
    from benchmarks.problems import embedding_problem

    ours.fit(embedding_problem(30_000, 16), bits=bits, n_jobs=2)


def _fit(X: Any, y: Any, bits: int) -> Record:
    from mezzotint.linear import LogisticRegression

    start = time.perf_counter()
    model = LogisticRegression(bits=bits, n_jobs=2).fit(X, y)
    seconds = time.perf_counter() - start
    return {
        "seconds": seconds,
        "status_name": model.result_.status.name,
        "packed": model.result_.packed_passes > 0,
    }


def in_memory(n: int, rows: int, d: int, bits: int) -> Record:
    """Peak resident memory of a fit beyond what the process and its input hold."""
    from benchmarks.measure import cached_array, peak_memory

    X = np.array(cached_array(f"rows_{n}_{d}", lambda: _make(n, d), mmap=True)[:rows])
    y = _labels(X)
    _warm_up(bits)
    with peak_memory() as memory:
        record = _fit(X, y, bits)
    return {
        **record,
        "input_bytes": X.nbytes,
        "beyond_bytes": memory.beyond,
        "share": memory.beyond / X.nbytes,
    }


def mapped(n: int, d: int, bits: int) -> Record:
    """Fit a memmap while the process may allocate only a part of its size."""
    from benchmarks.measure import cached_array

    X = cached_array(f"rows_{n}_{d}", lambda: _make(n, d), mmap=True)
    y = _labels(X)
    _warm_up(bits)
    allowed = int(_ALLOWED[bits] * X.nbytes) + _FIXED_BYTES
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (_status("VmData") + allowed, hard))
    with _anonymous_peak() as peak:
        record = _fit(X, y, bits)
    return {
        **record,
        "input_bytes": X.nbytes,
        "allowed_bytes": allowed,
        "beyond_bytes": peak[0],
        "share": peak[0] / X.nbytes,
    }


@contextlib.contextmanager
def _anonymous_peak() -> Iterator[list[int]]:
    """Poll the anonymous resident memory (pages of a mapped file are not counted); peak beyond the start."""
    before, peak, stop = _status("RssAnon"), [0], threading.Event()

    def poll() -> None:
        while not stop.wait(_POLL_S):
            peak[0] = max(peak[0], _status("RssAnon") - before)

    thread = threading.Thread(target=poll)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()


def _status(key: str) -> int:
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key + ":"))


def table(result: list[Record]) -> str:
    """Memory beyond the input, split into a part of X's size and a constant."""
    done = [r for r in result if r["kind"] == "run" and r["measured"]]
    found = {record["name"]: {**record["arguments"], **record["measured"]} for record in done}
    lines = ["| fit | X | beyond X | of X | grows with X by | constant |", "|---|---:|---:|---:|---:|---:|"]
    for name, mine in found.items():
        sizes = f"{mine['input_bytes'] / 1e9:.2f} GB | {mine['beyond_bytes'] / 1e6:.0f} MB"
        alike = (other for other in found.values() if all(other[key] == mine[key] for key in ("bits", "d")))
        smaller = next((o for o in alike if o.get("rows", np.inf) < mine.get("rows", 0)), None)
        split = "| |" if smaller is None else _split(mine, smaller)
        lines.append(f"| {name} | {sizes} | {mine['share']:.3f} | {split}")
    return "\n".join(lines)


def _split(large: Record, small: Record) -> str:
    """Slope and constant of the line through both sizes."""
    slope = (large["beyond_bytes"] - small["beyond_bytes"]) / (large["input_bytes"] - small["input_bytes"])
    constant = large["beyond_bytes"] - slope * large["input_bytes"]
    return f"{slope:.3f} of X | {constant / 1e6:.0f} MB |"


TABLES = {"memory": table}
