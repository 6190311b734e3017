"""Dense kernels: caught no FMA on one instruction set, panels that depend on threads, a neighbour's factor
or weights.

Results have the same bits on every instruction set and for every number of threads, and are within the
textbook error bounds. Each of those breaks, and a Cholesky that wrote above the diagonal, was made on purpose
and seen to fail here.
"""

import itertools

import numpy as np
import pytest

from mezzotint import kernels
from mezzotint.kernels import native, reference

ISAS = [name for name in kernels.available() if name != "reference"]
THREADS = (1, 2, 3)
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
# around the register tiles (4, 6, 12 x 8, 16, 32), strips (192), Cholesky blocks (96), solve rows (64)
COLUMNS = (1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 64, 97, 191, 193, 211)
ROWS = (0, 1, 7, 8, 9, 127, 128, 131, 300)
Wide = np.longdouble


def read_only(array):
    array.flags.writeable = False
    return array


def everywhere(call):
    """The common result of call(n_threads) on all instruction sets; fails where two differ in a bit."""
    first = None
    for isa, n_threads in itertools.product(ISAS, THREADS):
        with kernels.use(isa):
            result = call(n_threads)
        first = result if first is None else first
        for a, b in zip(first, result, strict=True):
            assert np.asarray(a).tobytes() == np.asarray(b).tobytes(), (isa, n_threads)
    return first


def gamma(m, eps):
    return m * eps / (1 - m * eps)


def positive_definite(rng, d, dtype):
    a = rng.normal(size=(d + 3, d))
    return (a.T @ a + np.eye(d)).astype(dtype)


def gram(kernels, a, weights=None, *, n_threads=1):
    out = np.zeros((1, a.shape[1], a.shape[1]), a.dtype)
    kernels.add_grams(out, a, None if weights is None else weights[None], n_threads=n_threads)
    return out[0]


@DTYPES
def test_gram_has_the_same_bits_everywhere_and_is_within_its_bound(dtype, rng):
    unit = np.finfo(dtype).eps / 2
    for n, d in itertools.product(ROWS, COLUMNS):
        a = read_only(rng.normal(size=(n, d)).astype(dtype))
        for weights in (None, read_only(rng.random(n) * (rng.random(n) > 0.2))):
            (result,) = everywhere(lambda t, a=a, w=weights: (gram(native, a, w, n_threads=t),))
            assert result.dtype == dtype
            np.testing.assert_array_equal(result, result.T)
            w = np.ones(n) if weights is None else weights
            truth = (a * w[:, None]).astype(Wide).T @ a.astype(Wide)
            # n fused products in panels, the weight rounded to the type of a and one product with it
            bound = gamma(n + 3, unit) * (np.abs(a) * w[:, None]).astype(np.float64).T @ np.abs(a)
            assert (np.abs(result - truth) <= bound).all()


def test_gram_of_a_wide_matrix_on_many_threads(rng):
    a = rng.normal(size=(140, 600)).astype(np.float32)
    (result,) = everywhere(lambda t: (gram(native, a, n_threads=5 * t - 4),))
    np.testing.assert_array_equal(np.tril(result), np.triu(result).T)
    np.testing.assert_allclose(result, gram(reference, a), rtol=0, atol=gamma(143, 2**-24) * 2 * 200)


@DTYPES
def test_grams_of_several_weights_are_those_of_each_alone_added_to_what_was_there(dtype, rng):
    a, weights = rng.normal(size=(70, 33)).astype(dtype), rng.random((3, 70))
    before = np.stack([positive_definite(rng, 33, dtype) for _ in weights])

    def added(kernels, n_threads=1):
        out = before.copy()
        kernels.add_grams(out, a, weights, n_threads=n_threads)
        return (out,)

    (result,) = everywhere(lambda t: added(native, t))
    alone = np.stack([gram(native, a, row) for row in weights])
    np.testing.assert_array_equal(result, result.transpose(0, 2, 1))
    np.testing.assert_array_equal(result, before + alone)
    rounding = 200 * np.finfo(dtype).eps
    np.testing.assert_allclose(result, added(reference)[0], rtol=rounding, atol=rounding)


@DTYPES
def test_cholesky_has_the_same_bits_everywhere_and_a_small_backward_error(dtype, rng):
    unit = np.finfo(dtype).eps / 2
    for d in (*COLUMNS, 300):
        m = positive_definite(rng, d, dtype)

        def factor(n_threads, m=m, above=7):
            work = m.copy()
            work[np.triu_indices(len(m), 1)] = above
            return native.cholesky(work, n_threads=n_threads), work

        pivot, result = everywhere(factor)
        assert pivot == -1
        assert (result[np.triu_indices(d, 1)] == 7).all()  # what lies above is not written ...
        np.testing.assert_array_equal(
            np.tril(factor(2, above=np.nan)[1]), np.tril(result)
        )  # ... and not read
        lower = np.tril(result).astype(Wide)
        # Higham, Accuracy and Stability of Numerical Algorithms, theorem 10.3: in any order of the sums
        bound = gamma(d + 1, unit) * np.abs(lower) @ np.abs(lower.T)
        assert (np.abs(lower @ lower.T - m) <= bound).all(), d


@DTYPES
def test_cholesky_and_the_reference_agree(dtype, rng):
    for d in (1, 17, 130):
        m = positive_definite(rng, d, dtype)
        expected = m.copy()
        assert reference.cholesky(expected) == -1
        assert native.cholesky(m) == -1
        np.testing.assert_allclose(np.tril(m), np.tril(expected), rtol=0, atol=d * 100 * np.finfo(dtype).eps)


@DTYPES
def test_the_first_pivot_that_is_not_positive_is_named(kernel_set, dtype, rng):
    for d, place in ((1, 0), (5, 4), (97, 95), (97, 96), (200, 0), (200, 100), (200, 199)):
        for value in (0, -1, np.nan):
            m = positive_definite(rng, d, dtype)
            m[place, :] = m[:, place] = 0
            m[place, place] = value
            assert kernels.ops().cholesky(m, n_threads=2) == place


@DTYPES
def test_solutions_have_the_same_bits_everywhere_and_a_small_residual(dtype, rng):
    for d, n_right in itertools.product(COLUMNS, (0, 1, 2, 3, 10)):
        m = positive_definite(rng, d, dtype)
        assert native.cholesky(m) == -1
        m[np.triu_indices(d, 1)] = np.nan  # not read
        b = read_only(rng.normal(size=(n_right, d)))
        (x,) = everywhere(lambda _, m=m, b=b: (native.cholesky_solve(read_only(m)[None], b),))
        lower = np.tril(m).astype(Wide)
        size = (np.abs(lower) @ np.abs(lower.T) @ np.abs(x.T).astype(Wide)).T
        # Higham, theorem 10.4, with a factor that is exact: gamma(2 (d + 1))
        assert (np.abs((lower @ lower.T @ x.T.astype(Wide)).T - b) <= gamma(2 * d + 2, 2**-53) * size).all()
        np.testing.assert_allclose(x, reference.cholesky_solve(np.tril(m)[None], b), rtol=0, atol=d * 1e-12)


@DTYPES
def test_rows_are_solved_with_the_factor_of_their_group(dtype, rng):
    for d, (n_factors, n_right) in itertools.product((3, 16, 1_030), ((1, 4), (2, 2), (2, 5), (3, 7))):
        factors = np.stack([np.eye(d, dtype=dtype) * (k + 1) for k in range(n_factors)])
        b = rng.normal(size=(n_right, d))
        (x,) = everywhere(lambda t, f=factors, b=b: (native.cholesky_solve(f, b, n_threads=t),))
        squares = (np.arange(n_right) * n_factors // n_right + 1.0) ** 2
        np.testing.assert_allclose(x * squares[:, None], b, rtol=1e-15)
        if d < 20:
            np.testing.assert_array_equal(x, reference.cholesky_solve(factors, b))


def test_dots_are_the_dots_of_the_rows(rng):
    a, b = rng.normal(size=(2, 5, 19))
    for ops in (native, reference):
        np.testing.assert_array_equal(ops.dots(a, b), [ops.dot(x, y) for x, y in zip(a, b, strict=True)])


def test_dot_has_the_same_bits_everywhere_and_is_within_its_bound(rng):
    for n in (0, 1, 7, 8, 9, 16, 17, 1_003):
        a, b = (read_only(rng.normal(size=n)) for _ in range(2))
        (result,) = everywhere(lambda _, a=a, b=b: (native.dot(a, b),))
        truth = (a.astype(Wide) * b.astype(Wide)).sum()
        assert abs(result - truth) <= gamma(n // 8 + 5, 2**-53) * np.abs(a * b).sum()
    a = rng.normal(size=(3, 11))
    assert native.dot(a, a) == native.dot(a.ravel(), a.ravel())


def test_arguments_that_do_not_fit_are_refused_before_memory_is_touched():
    a, b, out = np.eye(4), np.ones((2, 4)), np.zeros((1, 4, 4))
    for call, error in (
        (lambda: native.add_grams(out, a, np.ones((1, 3))), ValueError),
        (lambda: native.add_grams(out, a, np.ones((2, 4))), ValueError),
        (lambda: native.add_grams(np.zeros((2, 4, 4)), a), ValueError),
        (lambda: native.add_grams(out[:, :3].copy(), a), ValueError),
        (lambda: native.add_grams(out, a.astype(np.float16)), TypeError),
        (lambda: native.add_grams(out, a[:, :2]), TypeError),  # not contiguous
        (lambda: native.add_grams(out, a, n_threads=0), ValueError),
        (lambda: native.cholesky(a[:2].copy()), ValueError),
        (lambda: native.cholesky(read_only(a.copy())), TypeError),
        (lambda: native.cholesky(a.T[::-1]), TypeError),
        (lambda: native.cholesky_solve(a[None, :3].copy(), b), ValueError),
        (lambda: native.cholesky_solve(a[None], b[:, :3]), ValueError),
        (lambda: native.cholesky_solve(np.stack([a] * 3), b), ValueError),  # more factors than rows
        (lambda: native.cholesky_solve(np.empty((0, 4, 4)), b), ValueError),
        (lambda: native.dot(b, a), ValueError),
        (lambda: native.dots(b, a), ValueError),
    ):
        with pytest.raises(error):
            call()
