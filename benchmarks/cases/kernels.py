"""What share of a plain read's bandwidth does every kernel reach?

Each operation takes turns with the plain read (a compiled loop that adds up words, on the same number of
threads), as the bandwidth of a shared machine changes by the second; a share is the median over the turns.
Bytes are those an operation must read and write once; products of class vectors and the dense kernels are
bound by arithmetic, which their multiply-adds per second show.
"""

import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from benchmarks.disturbance import warning_of_runs
from benchmarks.harness import Record, Run, quick

N_THREADS = 2
_REPEATS, _WARM = 31, 2

Operation = tuple[str, Callable[[], Any], float, float]  # name, call, bytes, multiply-adds


def runs() -> list[Run]:
    """One process per kind of rows."""
    shape = {"n": 4_000, "d": 64} if quick() else {"n": 200_000, "d": 768}
    groups = {"8 bits": "packed8", "4 bits": "packed4", "float32 rows": "floats", "dense": "dense"}
    return [
        Run(name, "measure", {"group": group, **shape}, n_threads=N_THREADS, limit_s=600, repeats=1)
        for name, group in groups.items()
    ]


def measure(group: str, n: int, d: int) -> Record:
    """Measure all operations of a group."""
    from benchmarks.disturbance import Disturbance

    start, disturbance = time.perf_counter(), Disturbance()
    makers = {"packed8": lambda: _packed(n, d, 8), "packed4": lambda: _packed(n, d, 4)}
    makers |= {"floats": lambda: _floats(n, d), "dense": lambda: _dense(d)}
    found = [_measured(*operation) for operation in makers[group]()]
    seconds, others = time.perf_counter() - start, disturbance.other_cores
    return {"operations": found, "shape": [n, d], "other_cores": others, "seconds": seconds}


def _measured(name: str, call: Callable[[], Any], n_bytes: float, work: float) -> Record:
    from benchmarks.bandwidth import plain_read

    reads, seconds = [], []
    for _ in range(_WARM + _REPEATS):
        reads.append(plain_read(N_THREADS))
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    turns = np.array([reads, seconds])[:, _WARM:]
    read, median = np.median(turns, axis=1)
    return {
        "name": name,
        "seconds": float(median),
        "bytes": n_bytes,
        "plain_read_gb_s": float(read) / 1e9,
        "gb_s": float(n_bytes / median) / 1e9,
        "share": float(np.median(n_bytes / turns[1] / turns[0])),
        "gmac_s": float(work / median) / 1e9,
        "turns": turns.tolist(),
    }


def _rows(n: int, d: int) -> Any:
    from benchmarks.problems import embeddings

    return embeddings(n, d)


def _vectors(n: int, d: int, k: int) -> tuple[Any, Any, Any, Any]:
    """Coefficients (K, d + 1), row weights, probabilities and an output (K, n)."""
    rng = np.random.default_rng(0)
    v = rng.standard_normal((k, d + 1))
    weights = rng.random((1, n), dtype=np.float32)
    probabilities = None if k == 1 else np.full((k, n), 1 / k, np.float32)
    return v, weights, probabilities, np.empty((k, n), np.float32)


def _packed(n: int, d: int, bits: int) -> Iterator[Operation]:
    import mezzotint as mz
    from mezzotint.kernels import ops

    X = _rows(n, d)
    packed = mz.pack(X, bits=bits)
    args = (packed.codes, packed.layout, packed.offset, packed.scale)
    call = partial(_call, args, {"n_threads": N_THREADS})
    size = float(packed.layout.n_bytes)
    for k in (1, 10):
        v, weights, probabilities, out = _vectors(n, d, k)
        work = float(k) * n * d
        yield f"packed_margins, K={k}", call(ops().packed_margins, v, out), size + out.nbytes, work
        yield f"packed_gradient, K={k}", call(ops().packed_gradient, out), size + out.nbytes, work
        fused = call(ops().packed_curvature, v, weights, probabilities, out)
        yield f"packed_curvature, K={k} (fused)", fused, size + 2 * out.nbytes, 2 * work
    yield from _packing(X, packed)
    yield _epoch(X, bits)


def _call(first: tuple[Any, ...], options: dict[str, Any], kernel: Any, *rest: Any) -> Callable[[], Any]:
    """Bind a kernel to its data and vectors."""
    return partial(kernel, *first, *rest, **options)


def _packing(X: Any, packed: Any) -> Iterator[Operation]:
    from mezzotint.kernels import ops

    layout, offset, scale = packed.layout, packed.offset, packed.scale
    codes, out, size = np.empty_like(packed.codes), np.empty_like(X), float(X.nbytes + packed.layout.n_bytes)
    pack = partial(ops().pack_rows, X, layout, offset, scale, codes, 0, seed=0, draw=0, n_threads=N_THREADS)
    for rounding in ("nearest", "stochastic"):
        yield f"pack_rows, {rounding}", partial(pack, rounding=rounding), size, float(X.size)
    unpack = partial(
        ops().unpack_rows, packed.codes, layout, offset, scale, 0, len(X), out, n_threads=N_THREADS
    )
    yield "unpack_rows", unpack, size, float(X.size)
    sample = np.ascontiguousarray(X[:4096])
    scales = partial(ops().column_scales, sample, layout.bits, n_threads=N_THREADS)
    yield "column_scales", scales, float(sample.nbytes), float(sample.size)


def _epoch(X: Any, bits: int) -> Operation:
    """Replay the first inner epoch of a HALP fit (float32 SVRG for 32 bits)."""
    name = "svrg_epoch" if bits == 32 else "halp_epoch"
    kernel, args, options = _first_call(name, X, bits)
    schedule = args[-1]
    passes = len(schedule.order)
    label = f"{name} ({schedule.n_batches} minibatches a pass)"
    return label, partial(kernel, *args, **options), passes * X.size * bits / 8, 2.0 * passes * X.size


def _first_call(name: str, X: Any, bits: int) -> tuple[Any, Any, Any]:
    """Return the kernel and the arguments that a fit gives it first."""
    from benchmarks.problems import binary_labels
    from mezzotint.kernels import ops
    from mezzotint.linear import LogisticRegression

    kernel, seen = getattr(ops(), name), []

    def spy(*args: Any, **options: Any) -> Any:
        seen.append((kernel, args, options))
        return kernel(*args, **options)

    setattr(ops(), name, spy)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one iteration does not converge
            LogisticRegression(bits=bits, solver="halp", max_iter=1, n_jobs=N_THREADS).fit(
                X, binary_labels(X)
            )
    finally:
        setattr(ops(), name, kernel)
    return seen[0]


def _floats(n: int, d: int) -> Iterator[Operation]:
    from mezzotint.kernels import ops, segment_bounds

    X, bounds = _rows(n, d), segment_bounds(n, d)
    call = partial(_call, (X, bounds, (0, len(bounds) - 1)), {"n_threads": N_THREADS})
    size = float(X.nbytes)
    for k, loss in ((1, "logistic"), (10, "softmax")):
        v, weights, probabilities, out = _vectors(n, d, k)
        y, phi, work = np.ones((1, n)), np.zeros((k, n)), float(k) * n * d
        exact = call(ops().exact_pass, v, loss, y, None, phi)
        yield f"exact_pass, K={k} (fused, float64)", exact, size + phi.nbytes + y.nbytes, 2 * work
        yield f"float_margins, K={k}", call(ops().float_margins, v, out), size + out.nbytes, work
        yield f"float_gradient, K={k}", call(ops().float_gradient, out), size + out.nbytes, work
        fused = call(ops().float_curvature, v, weights, probabilities, out)
        yield f"float_curvature, K={k} (fused)", fused, size + 2 * out.nbytes, 2 * work
        yield from _row_functions(n, k, loss, phi, y)
    yield "first_nonfinite", partial(ops().first_nonfinite, X, n_threads=N_THREADS), size, 0.0
    yield _epoch(X, 32)


def _row_functions(n: int, k: int, loss: str, phi: Any, y: Any) -> Iterator[Operation]:
    from mezzotint.kernels import ops

    psi, eta = np.zeros((k, n), np.float32), np.ones((k, n), np.float32)
    c, second = np.empty((k, n), np.float32), np.empty((k if k > 1 else 1, n), np.float32)
    options = {"n_threads": N_THREADS}
    curvature = partial(ops().curvature_rows, loss, phi, psi, y, None, c=c, second=second, **options)
    yield f"curvature_rows, {loss}", curvature, float(phi.nbytes + 3 * psi.nbytes + y.nbytes), 0.0
    slope = partial(ops().line_slope, loss, phi, psi, eta, 0.5, y, None, **options)
    yield f"line_slope, {loss}", slope, float(phi.nbytes + 2 * psi.nbytes + y.nbytes), 0.0
    total = partial(ops().loss_sum, loss, phi, y, None, **options)
    yield f"loss_sum, {loss}", total, float(phi.nbytes + y.nbytes), 0.0


def _dense(d: int) -> Iterator[Operation]:
    from mezzotint.kernels import ops

    for dtype in (np.float32, np.float64):
        a = np.random.default_rng(0).standard_normal((4 * d, d)).astype(dtype)
        weights, name = np.ones((1, len(a))), np.dtype(dtype).name
        out = np.zeros((1, d, d), dtype)
        gram = partial(ops().add_grams, out, a, weights, n_threads=N_THREADS)
        yield f"gram {len(a)} x {d}, {name}", gram, float(a.nbytes), len(a) * d * d / 2
        matrix = (a.T @ a + np.eye(d)).astype(dtype)
        yield f"cholesky {d}, {name}", partial(_factor, matrix), float(matrix.nbytes), d**3 / 6
        for k in (1, 10):
            solve = partial(ops().cholesky_solve, _factor(matrix)[None], np.ones((k, d)))
            yield f"cholesky_solve {d}, K={k}, {name}", solve, float(matrix.nbytes), float(k) * d * d


def _factor(matrix: Any) -> Any:
    """Factor a copy: the kernel works in place."""
    from mezzotint.kernels import ops

    lower = matrix.copy()
    ops().cholesky(lower, n_threads=N_THREADS)
    return lower


def table(result: list[Record]) -> str:
    """Milliseconds, GB/s, share of a plain read."""
    lines = ["| rows | operation | ms | GB/s | of a plain read | GMAC/s |", "|---|---|---:|---:|---:|---:|"]
    for record in result:
        if record["kind"] != "run":
            continue
        for op in record["measured"].get("operations", []):
            work = f"{op['gmac_s']:.0f}" if op["gmac_s"] else ""
            lines.append(
                f"| {record['name']} | {op['name']} | {1e3 * op['seconds']:.3g} | {op['gb_s']:.3g} "
                f"| {100 * op['share']:.0f} % | {work} |"
            )
    return "\n".join(lines) + warning_of_runs(result)


TABLES = {"kernels": table}
