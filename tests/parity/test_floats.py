"""Float kernels: caught no FMA on one instruction set, another lane tree on one, sums split by thread count.

Results have the same bits on every instruction set and for every number of threads, and are within derived
bounds of the reference. Each of those breaks was made on purpose and seen to fail here; so were columns
beyond the last whole vector dropped on one instruction set, an ignored first segment, and a first bad number
taken from whichever thread was last.
"""

import itertools

import numpy as np
import pytest

from mezzotint import kernels
from mezzotint.kernels import native, reference

ISAS = [name for name in kernels.available() if name != "reference"]
THREADS = (1, 2, 3)
ROWS = (0, 1, 15, 16, 17, 33, 101)
COLUMNS = (1, 7, 8, 9, 15, 16, 17, 31, 33, 67)
OUTPUTS = (1, 2, 3, 10)
LOSSES = {
    "logistic": (1,),
    "squared": OUTPUTS,
    "softmax": (2, 3, 10),
    "squared_hinge": OUTPUTS,
    "squared_epsilon_insensitive": OUTPUTS,
}
UNBOUNDED = ("squared", "squared_hinge", "squared_epsilon_insensitive")  # slopes grow with the margins
OWN_SECONDS = ("softmax", "squared_hinge", "squared_epsilon_insensitive")
EXTREME = np.array([0, -0.0, 5e-324, -5e-324, 1e3, -1e3, 745, -745, 1e-310, 37])


def read_only(array):
    array.flags.writeable = False
    return array


def cut(n, rows_per_segment):
    """Short segments, so that several threads have work."""
    return read_only(np.append(np.arange(0, n, rows_per_segment), n).astype(np.int64))


class Problem:
    """Random arguments of one shape, all read-only."""

    def __init__(self, n, d, n_outputs, dtype, rows_per_segment=16):
        rng = np.random.default_rng([n, d, n_outputs])
        self.n, self.d, self.n_outputs = n, d, n_outputs
        self.x = read_only(rng.normal(size=(n, d)).astype(dtype))
        self.bounds = cut(n, rows_per_segment)
        self.segments = (0, len(self.bounds) - 1)
        self.v = read_only(rng.normal(size=(n_outputs, d + 1)))
        self.c, self.psi, self.eta = (
            read_only(rng.normal(size=(n_outputs, n)).astype(np.float32)) for _ in range(3)
        )
        self.probabilities = read_only(rng.dirichlet(np.ones(n_outputs), n).T.astype(np.float32).copy())
        self.curvatures = read_only(rng.random((n_outputs, n)).astype(np.float32))
        self.weights = read_only(rng.random(n) * (rng.random(n) > 0.2))
        self.targets = read_only(rng.normal(size=(n_outputs, n)))
        self.labels = read_only(rng.integers(0, max(2, n_outputs), (1, n)).astype(np.float64))
        phi = rng.normal(size=(n_outputs, n)) * 3
        phi[:, : len(EXTREME)] = EXTREME[:n]
        self.phi = read_only(phi)

    def y(self, loss):
        intervals = np.concatenate([self.targets - 0.5, self.targets + 0.5])
        known = {"squared": self.targets, "squared_epsilon_insensitive": intervals}
        return known.get(loss, self.labels)

    def exact_pass(self, ops, loss, weights, **threads):
        phi = np.full((self.n_outputs, self.n), np.nan)
        args = (self.x, self.bounds, self.segments, self.v, loss, self.y(loss), weights, phi)
        return *ops.exact_pass(*args, **threads), phi

    def products(self, ops, **threads):
        """All float products; the curvature with shared weights, weights per output, and probabilities."""
        place = (self.x, self.bounds, self.segments)
        out = np.full((4, self.n_outputs, self.n), np.nan, np.float32)
        ops.float_margins(*place, self.v, out[0], **threads)
        shared = self.curvatures[:1]
        return (
            out,
            ops.float_gradient(*place, self.c, **threads),
            ops.float_curvature(*place, self.v, shared, None, out[1], **threads),
            ops.float_curvature(*place, self.v, self.curvatures, None, out[2], **threads),
            ops.float_curvature(*place, self.v, shared, self.probabilities, out[3], **threads),
        )

    def row_functions(self, ops, loss, weights, **threads):
        shape = (self.n_outputs, self.n)
        c = np.full(shape, np.nan, np.float32)
        seconds = np.full((2, *(shape if loss in OWN_SECONDS else (1, self.n))), np.nan, np.float32)
        y = self.y(loss)
        ops.curvature_rows(loss, self.phi, self.psi, y, weights, c=c, second=seconds[0], **threads)
        ops.curvature_rows(loss, self.phi, None, y, weights, second=seconds[1], **threads)
        slopes = [
            ops.line_slope(loss, self.phi, psi, self.eta, t, y, weights, **threads)
            for psi, t in ((self.psi, 0.25), (None, 1.0))
        ]
        return c, seconds, np.array(slopes), np.array(ops.loss_sum(loss, self.phi, y, weights, **threads))


def results_everywhere(call):
    """The result of call(ops, n_threads=...) on every instruction set and for every number of threads."""
    for isa in ISAS:
        with kernels.use(isa):
            for n_threads in THREADS:
                yield (isa, n_threads), call(native, n_threads=n_threads)


def one_result(call):
    """The common result; fails where two instruction sets or numbers of threads differ in a bit."""
    (_, first), *others = results_everywhere(call)
    for where, result in others:
        for i, (a, b) in enumerate(zip(first, result, strict=True)):
            assert a.tobytes() == b.tobytes(), (where, f"result {i}")
    return first


def assert_within(result, expected, bound):
    assert np.isfinite(result).all()
    excess = np.abs(result.astype(np.float64) - expected) - bound
    assert (excess <= 0).all(), excess.max()


def magnitude(problem, c):
    """sum_i |c_ki| (|x_i|, 1) per segment: what errors of a gradient are relative to."""
    place = (np.abs(problem.x).astype(np.float64), problem.bounds, problem.segments)
    return reference.float_gradient(*place, np.abs(c).astype(np.float32)) * (1 + 2**-20)


# gamma(m) bounds the relative error of m roundings, in the worst order of additions
def gamma(m, eps):
    return m * eps / (1 - m * eps)


SHAPES = list(itertools.product(ROWS, COLUMNS, OUTPUTS))
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@DTYPES
def test_float_products_have_the_same_bits_everywhere_and_are_within_their_bound(dtype):
    unit = np.finfo(dtype).eps / 2
    for n, d, n_outputs in SHAPES:
        p = Problem(n, d, n_outputs, dtype)
        result = one_result(p.products)
        expected = p.products(reference)
        # both sides make at most d + 2 roundings on the way to a margin, and one to float32
        size = np.abs(p.v[:, :-1]) @ np.abs(p.x.T).astype(np.float64) + np.abs(p.v[:, -1:])
        error = 2 * (gamma(d + 2, unit) + 2**-24) * size
        assert_within(result[0], expected[0].astype(np.float64), np.broadcast_to(error, (4, *error.shape)))
        # a gradient adds 16 rows; then come the double sums
        assert_within(result[1], expected[1], 2 * gamma(20, unit) * magnitude(p, p.c))
        for got, wanted, weights in zip(
            result[2:], expected[2:], (p.curvatures[:1], p.curvatures, p.curvatures[:1]), strict=True
        ):
            # the softmax form is no larger than 2 max |psi|, and rounds n_outputs + 4 times
            largest = np.broadcast_to((size + error).max(axis=0), size.shape)
            rounding = 2 * gamma(20, unit) + 2 * gamma(n_outputs + 4, 2**-24)
            bound = magnitude(p, weights * 2 * largest) * rounding
            bound += magnitude(p, weights * 2 * np.broadcast_to(error.max(axis=0), size.shape))
            assert_within(got, wanted, bound)


@DTYPES
@pytest.mark.parametrize("loss", LOSSES)
def test_the_exact_pass_has_the_same_bits_everywhere_and_is_within_its_bound(loss, dtype):
    for n, d, n_outputs in itertools.product(ROWS, COLUMNS, LOSSES[loss]):
        p = Problem(n, d, n_outputs, dtype)
        for weights in (None, p.weights):
            values, gradients, phi = one_result(
                lambda ops, p=p, weights=weights, **kw: p.exact_pass(ops, loss, weights, **kw)
            )
            wanted_values, wanted_gradients, wanted_phi = p.exact_pass(reference, loss, weights)
            size = np.abs(p.v[:, :-1]) @ np.abs(p.x.T).astype(np.float64) + np.abs(p.v[:, -1:])
            error = 2 * gamma(d + 2, 2**-53) * size
            assert_within(phi, wanted_phi, error)
            # slopes are at most 1 (squared: the residual), change at most as much as the margins, and come
            # from both sides with 3 ulp and n_outputs more for the sum of a softmax
            s = np.ones(n) if weights is None else weights
            residual = size + np.abs(p.targets) + 1 if loss in UNBOUNDED else np.ones_like(size)
            few = gamma(2 * n_outputs + 40, 2**-53)
            change = s * (np.broadcast_to(error.sum(axis=0), size.shape) + few * residual)
            bound = magnitude(p, change) + 2 * gamma(20, 2**-53) * magnitude(p, s * residual)
            assert_within(gradients, wanted_gradients, bound)
            value = (residual * (residual + size + 1) + 2 * size).sum(axis=0) + n_outputs
            at_most = s * (few * value + 2 * (error * (1 + residual)).sum(axis=0))
            starts = p.bounds[:-1]
            assert_within(values, wanted_values, np.add.reduceat(at_most, starts) if n else np.zeros(0))


@pytest.mark.parametrize("loss", LOSSES)
def test_row_functions_have_the_same_bits_everywhere_and_are_within_their_bound(loss):
    for n, n_outputs in itertools.product((*ROWS, 9_001), LOSSES[loss]):
        p = Problem(n, 1, n_outputs, np.float32)
        for weights in (None, p.weights):
            c, seconds, slopes, total = one_result(
                lambda ops, p=p, weights=weights, **kw: p.row_functions(ops, loss, weights, **kw)
            )
            wanted_c, wanted_seconds, wanted_slopes, wanted_total = p.row_functions(reference, loss, weights)
            # 3 ulp of each slope (size at most 1; squared: that of the margins), then one rounding to float32
            s = np.ones(n) if weights is None else weights
            slope = 1 + np.abs(p.phi) + np.abs(p.psi) + np.abs(p.eta) + np.abs(p.targets)
            slope = slope if loss in UNBOUNDED else np.ones_like(slope)
            error = s * gamma(2 * n_outputs + 24, 2**-53) * slope
            assert_within(c, wanted_c, error + np.spacing(np.abs(wanted_c)))
            assert_within(seconds, wanted_seconds, 2**-48 * (1 + wanted_seconds) + np.spacing(wanted_seconds))
            rounding = gamma(n + n_outputs + 8, 2**-53)
            along = ((error + rounding * 2 * s * slope) * np.abs(p.eta)).sum()
            assert_within(slopes, wanted_slopes, 2 * along)
            size = (s * (np.abs(p.phi) + np.abs(p.targets) + 1) ** 2).sum()
            assert_within(total, wanted_total, (rounding + gamma(2 * n_outputs + 24, 2**-53)) * 2 * size)


@DTYPES
def test_long_segments_flush_their_float_sums_the_same_way_everywhere(dtype):
    for n, d, n_outputs in ((1_003, 33, 1), (1_003, 16, 3), (530, 131, 2)):
        p = Problem(n, d, n_outputs, dtype, rows_per_segment=500)
        result, expected = one_result(p.products), p.products(reference)
        unit = np.finfo(dtype).eps / 2
        assert_within(result[1], expected[1], 2 * gamma(502, unit) * magnitude(p, p.c))


@DTYPES
@pytest.mark.parametrize("isa", ISAS)
def test_passing_over_parts_of_the_rows_gives_the_same_partials(isa, dtype):
    p = Problem(101, 19, 3, dtype)
    with kernels.use(isa):
        whole = p.exact_pass(native, "softmax", p.weights), p.products(native)
        phi = np.full((3, 101), np.nan)
        out = np.full((3, 101), np.nan, np.float32)
        values, gradients, products = [], [], []
        for first, count in ((0, 3), (3, 1), (4, 0), (4, 3)):
            rows = slice(p.bounds[first], p.bounds[first + count])
            place = (p.x[rows], p.bounds, (first, count))
            a, b = native.exact_pass(*place, p.v, "softmax", p.labels, p.weights, phi)
            values.append(a)
            gradients.append(b)
            products.append(native.float_curvature(*place, p.v, p.curvatures[:1], p.probabilities, out))
    assert np.concatenate(values).tobytes() == whole[0][0].tobytes()
    assert np.concatenate(gradients).tobytes() == whole[0][1].tobytes()
    assert phi.tobytes() == whole[0][2].tobytes()
    assert np.concatenate(products).tobytes() == whole[1][4].tobytes()
    assert out.tobytes() == whole[1][0][3].tobytes()


@DTYPES
@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, -np.inf])
def test_the_first_bad_number_is_found_in_row_major_order(kernel_set, dtype, value):
    huge = np.finfo(dtype).max
    x = np.full((130, 37), huge, dtype)
    x[::2] = -huge
    x[3] = np.finfo(dtype).smallest_subnormal
    assert kernels.ops().first_nonfinite(read_only(x.copy())) == -1
    for place in (0, 1, 15, 16, 511, 512, 1_000, x.size - 1):
        bad = x.copy()
        bad.flat[place] = value
        bad.flat[-1] = value
        assert kernels.ops().first_nonfinite(bad, n_threads=2) == place
    assert kernels.ops().first_nonfinite(x[:0]) == -1


def test_bad_numbers_in_several_pieces_give_the_first_for_any_number_of_threads():
    # found late in the first piece of 2^18 elements, at once in the others
    x = np.zeros((4, 2**18), np.float32)
    x[0, -1] = x[1, 0] = x[2, 0] = x[3, 0] = np.nan
    assert {native.first_nonfinite(x, n_threads=n) for n in THREADS for _ in range(100)} == {2**18 - 1}


def test_arguments_that_do_not_fit_are_refused_before_memory_is_touched():
    p = Problem(33, 5, 2, np.float32)
    out = np.zeros((2, 33), np.float32)
    good = (p.x, p.bounds, p.segments, p.v, out)
    native.float_margins(*good)
    wrong = [
        (0, p.x[:-1], ValueError),
        (0, p.x[:, :-1], TypeError),  # not contiguous
        (0, p.x.astype(np.float16), TypeError),
        (1, p.bounds[::-1].copy(), ValueError),
        (1, p.bounds + 1, ValueError),
        (2, (0, 4), ValueError),
        (2, (-1, 3), ValueError),
        (2, (2**62, 2**62), ValueError),
        (3, p.v[:, :-1].copy(), ValueError),
        (4, out[:1], ValueError),
        (4, out.astype(np.float64), TypeError),  # a converted copy would be written and lost
        (4, read_only(out.copy()), TypeError),
    ]
    for position, argument, error in wrong:
        arguments = list(good)
        arguments[position] = argument
        with pytest.raises(error):
            native.float_margins(*arguments)
    with pytest.raises(ValueError, match="n_threads"):
        native.float_margins(*good, n_threads=0)
    with pytest.raises(ValueError, match="one output"):
        native.loss_sum("logistic", p.phi, p.labels, None)
    with pytest.raises(ValueError, match="loss must be"):
        native.loss_sum("hinge", p.phi, p.labels, None)
    with pytest.raises(ValueError, match="weights"):
        native.loss_sum("softmax", p.phi, p.labels, p.weights[:-1])
    with pytest.raises(ValueError, match="second"):
        native.curvature_rows("softmax", p.phi, None, p.labels, None, second=out[:1])
