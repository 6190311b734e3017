"""Would catch: a result that depends on the number of threads, or a race (make tsan runs this file too).

One entry per threaded operation; an entry runs as soon as the native module has the operation.
"""

import inspect
import threading

import numpy as np

from mezzotint.kernels import Layout, native, segment_bounds

N_ROWS, N_COLUMNS, N_OUTPUTS = 1_000, 37, 3
THREADS = (1, 2, 3, 7)


class Problem:
    """Small random arguments, shared read-only by all operations."""

    def __init__(self, rng, n=N_ROWS, d=N_COLUMNS):
        self.shape = n, d
        self.x = rng.standard_normal((n, d)).astype(np.float32)
        self.bounds = segment_bounds(n, d)
        self.segments = (0, len(self.bounds) - 1)
        self.layout = Layout(n_rows=n, n_columns=d, bits=8)
        self.codes = rng.integers(0, 256, self.layout.n_bytes, dtype=np.uint8)
        self.offset = rng.standard_normal(d)
        self.scale = rng.uniform(0.01, 0.02, d)
        self.v = rng.standard_normal((N_OUTPUTS, d + 1))
        self.c = rng.standard_normal((N_OUTPUTS, n)).astype(np.float32)
        self.y = rng.standard_normal((N_OUTPUTS, n))
        self.phi = rng.standard_normal((1, n))
        self.labels = rng.integers(0, 2, (1, n)).astype(np.float64)
        self.weights = rng.uniform(0.5, 2, n)

    def rows(self):
        return np.zeros((N_OUTPUTS, self.shape[0]), np.float32)


def column_scales(p, n_threads):
    return native.column_scales(p.x, 8, n_threads=n_threads)


def pack_rows(p, n_threads):
    codes = np.zeros_like(p.codes)
    bad = native.pack_rows(p.x, p.layout, p.offset, p.scale, codes, 0, n_threads=n_threads)
    return bad, codes


def unpack_rows(p, n_threads):
    out = np.empty_like(p.x)
    native.unpack_rows(p.codes, p.layout, p.offset, p.scale, 0, len(out), out, n_threads=n_threads)
    return out


def packed_margins(p, n_threads):
    out = p.rows()
    native.packed_margins(p.codes, p.layout, p.offset, p.scale, p.v, out, n_threads=n_threads)
    return out


def packed_gradient(p, n_threads):
    return native.packed_gradient(p.codes, p.layout, p.offset, p.scale, p.c, n_threads=n_threads)


def packed_curvature(p, n_threads):
    out, weights = p.rows(), np.abs(p.c)
    partials = native.packed_curvature(
        p.codes, p.layout, p.offset, p.scale, p.v, weights, None, out, n_threads=n_threads
    )
    return out, partials


def gap_squares(p, n_threads):
    return native.gap_squares(p.codes, p.layout, p.weights, n_threads=n_threads)


def exact_pass(p, n_threads):
    phi = np.zeros_like(p.y)
    sums = native.exact_pass(
        p.x, p.bounds, p.segments, p.v, "squared", p.y, p.weights, phi, n_threads=n_threads
    )
    return phi, *sums


def float_margins(p, n_threads):
    out = p.rows()
    native.float_margins(p.x, p.bounds, p.segments, p.v, out, n_threads=n_threads)
    return out


def float_gradient(p, n_threads):
    return native.float_gradient(p.x, p.bounds, p.segments, p.c, n_threads=n_threads)


def float_curvature(p, n_threads):
    out, weights = p.rows(), np.abs(p.c)
    partials = native.float_curvature(p.x, p.bounds, p.segments, p.v, weights, None, out, n_threads=n_threads)
    return out, partials


def curvature_rows(p, n_threads):
    c, second = p.rows(), p.rows()[:1]
    native.curvature_rows(
        "logistic", p.phi, p.c[:1], p.labels, p.weights, c=c[:1], second=second, n_threads=n_threads
    )
    return c, second


def line_slope(p, n_threads):
    return native.line_slope("logistic", p.phi, None, p.c[:1], 0.5, p.labels, p.weights, n_threads=n_threads)


def loss_sum(p, n_threads):
    return native.loss_sum("logistic", p.phi, p.labels, p.weights, n_threads=n_threads)


def first_nonfinite(p, n_threads):
    return native.first_nonfinite(p.x, n_threads=n_threads)


def cholesky(p, n_threads):
    factor = p.x.T @ p.x + np.eye(p.shape[1], dtype=np.float32)
    return native.cholesky(factor, n_threads=n_threads), np.tril(factor)


def add_grams(p, n_threads):
    out = np.zeros((2, p.shape[1], p.shape[1]), np.float32)
    native.add_grams(out, p.x, np.stack([p.weights, 1 - p.weights]), n_threads=n_threads)
    return out


def cholesky_solve(p, n_threads):
    factors = np.stack([np.eye(p.shape[1]) * (k + 2) for k in range(N_OUTPUTS)])
    return native.cholesky_solve(factors, p.v[:, :-1].copy(), n_threads=n_threads)


def tree_sum(p, n_threads):
    return native.tree_sum(p.y.reshape(-1, 5), n_threads=n_threads), native.tree_sum(p.y, n_threads=n_threads)


def add_scaled(p, n_threads):
    target = p.rows()
    native.add_scaled(target, 0.3, p.c, n_threads=n_threads)
    return target


def checksums(p, n_threads):
    edges = np.linspace(0, len(p.codes), 40).astype(np.int64)
    return native.checksums(p.codes, edges[:-1], edges[1:], n_threads=n_threads)


OPERATIONS = [
    checksums,
    column_scales,
    pack_rows,
    unpack_rows,
    packed_margins,
    packed_gradient,
    packed_curvature,
    gap_squares,
    exact_pass,
    float_margins,
    float_gradient,
    float_curvature,
    curvature_rows,
    line_slope,
    loss_sum,
    first_nonfinite,
    add_grams,
    cholesky,
    cholesky_solve,
    tree_sum,
    add_scaled,
]
PRESENT = [operation for operation in OPERATIONS if hasattr(native, operation.__name__)]


# tests/parity/test_halp.py and test_zipml.py run them on 1, 2 and 3 threads
ELSEWHERE = {"halp_epoch", "svrg_epoch", "zipml_epoch", "sgd_epoch"}


def as_bytes(result):
    parts = result if isinstance(result, tuple) else (result,)
    return b"".join(np.asarray(part).tobytes() for part in parts)


def test_the_number_of_threads_does_not_show(rng):
    problem = Problem(rng)
    for operation in PRESENT:
        results = {as_bytes(operation(problem, n_threads)) for n_threads in THREADS}
        assert len(results) == 1, operation.__name__


def test_callers_in_several_python_threads_do_not_disturb_each_other(rng):
    problem = Problem(rng)
    expected = {operation: as_bytes(operation(problem, 1)) for operation in PRESENT}
    wrong = []

    def call_all():
        for operation in PRESENT:
            if as_bytes(operation(problem, 2)) != expected[operation]:
                wrong.append(operation.__name__)

    callers = [threading.Thread(target=call_all) for _ in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


def test_every_threaded_operation_is_listed_here():
    public = {
        name: f for name, f in vars(native).items() if inspect.isfunction(f) and not name.startswith("_")
    }
    threaded = {name for name, f in public.items() if "n_threads" in inspect.signature(f).parameters}
    assert threaded <= {operation.__name__ for operation in OPERATIONS} | ELSEWHERE
