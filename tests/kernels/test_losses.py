"""Losses: caught exp that flushes denormals, log1p of a rounded sum, softmax with margins not reduced.

The truth is computed with 60 digits. Each of those breaks was made on purpose and seen to fail here; so were
log1p without its correction term and a logistic slope that subtracts the label from a probability.
"""

import decimal

import numpy as np
import pytest

from mezzotint import kernels
from mezzotint.kernels import native

ISAS = [name for name in kernels.available() if name != "reference"]
TINY = np.finfo(np.float64).smallest_subnormal
MARGINS = np.concatenate(
    [
        [0.0, -0.0, TINY, -TINY, 1e-300, -1e-300, 1e3, -1e3, 1e308, -1e308],
        [745.0, -745.0, -745.13, -745.14, -746.0, -708.0, -708.4, -708.3964, -709.0],
        [-37.0, 37.0, -36.7, 36.8],
        np.log(2) * np.arange(-1076, 0, 7.5),  # where the reduced argument is at the end of its interval
        np.random.default_rng(0).uniform(-745, 40, 400),
        np.random.default_rng(1).uniform(-1, 1, 2_000),
        np.exp(np.random.default_rng(2).uniform(-700, 3, 200)),
    ]
)
SOME = [
    ("logistic", 1),
    ("squared", 2),
    ("softmax", 4),
    ("squared_hinge", 1),
    ("squared_hinge", 3),
    ("squared_epsilon_insensitive", 2),
]


def label_rows(loss, n_outputs):
    return {"squared": n_outputs, "squared_epsilon_insensitive": 2 * n_outputs}.get(loss, 1)


@pytest.fixture(autouse=True)
def sixty_digits():
    with decimal.localcontext() as context:
        context.prec, context.Emin = 60, -(10**6)
        yield


def per_row(loss, phi, y):
    """Loss and slopes of single rows, in full float64: one segment per row, x = phi, w = 1."""
    n_outputs, n = phi.shape
    x = np.ascontiguousarray(phi.T)
    w = np.eye(n_outputs, n_outputs + 1)
    out = np.empty((n_outputs, n))
    bounds = np.arange(n + 1, dtype=np.int64)
    values, gradients = native.exact_pass(x, bounds, (0, n), w, loss, y, None, out)
    np.testing.assert_array_equal(out, phi)
    return values, gradients[:, :, -1].T


def ulps(computed, truth):
    """Distance in units of the last place of the truth; exact, however small the numbers are."""
    unit = float(np.spacing(abs(float(truth))))
    return abs(decimal.Decimal(float(computed)) - truth) / decimal.Decimal(unit)


def log1p_exp(z):
    """log(1 + exp(z)) with 60 digits, also for tiny exp(z)."""
    if abs(z) > 800:
        return max(z, decimal.Decimal(0))
    e = z.exp()
    return e - e * e / 2 + e**3 / 3 if e < decimal.Decimal(10) ** -25 else (1 + e).ln()


def sigmoid(z):
    """1 / (1 + exp(-z)) with 60 digits; 0 or 1 where a double can hold nothing else."""
    return decimal.Decimal(int(z > 0)) if abs(z) > 800 else 1 / (1 + (-z).exp())


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("y", [0.0, 1.0])
def test_logistic_loss_is_within_two_ulp(isa, y):
    # exp (1.25 ulp) carried through a function of condition <= 1, and log1p; worst of 40,000 margins: 1.5
    with kernels.use(isa):
        values, _ = per_row("logistic", MARGINS[None], np.full((1, len(MARGINS)), y))
    for m, value in zip(MARGINS, values, strict=True):
        z = decimal.Decimal(float(m)) * (1 - 2 * int(y))
        assert ulps(value, log1p_exp(z)) <= 2, (m, value)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("y", [0.0, 1.0])
def test_logistic_slope_is_within_three_ulp(isa, y):
    # exp 1.25 ulp; sum, division and product half a ulp each. No cancellation for either label.
    with kernels.use(isa):
        _, slopes = per_row("logistic", MARGINS[None], np.full((1, len(MARGINS)), y))
    for m, slope in zip(MARGINS, slopes[0], strict=True):
        sign = 1 - 2 * int(y)
        z = decimal.Decimal(float(m)) * sign
        assert ulps(sign * slope, sigmoid(z)) <= 3, (m, slope)


@pytest.mark.parametrize("isa", ISAS)
def test_exp_is_within_one_and_a_quarter_ulp_down_to_the_denormals(isa):
    # for these z the slope of the logistic loss is exp(z) itself: 1 + exp(z) rounds to 1
    z = np.concatenate([MARGINS[MARGINS < -37.5], np.random.default_rng(3).uniform(-746, -37.5, 2000)])
    z = z[z > -1e300]
    with kernels.use(isa):
        _, slopes = per_row("logistic", z[None], np.zeros((1, len(z))))
    worst = max(
        ulps(s, decimal.Decimal(float(m)).exp()) for m, s in zip(z, slopes[0], strict=True) if m > -745.1
    )
    # last addition 1/2, reduced argument 1/4, r + r^2 P 1/4, P and its coefficients the rest
    assert worst <= 1.25
    assert not slopes[0][z < -745.14].any()


def softmax_truth(margins):
    m = [decimal.Decimal(float(v)) for v in margins]
    e = [(v - max(m)).exp() for v in m]
    return [v / sum(e) for v in e], max(m) + sum(e).ln()


@pytest.mark.parametrize("isa", ISAS)
def test_softmax_of_huge_margins_neither_overflows_nor_loses_small_classes(isa, rng):
    # multiples of 2^-10 below 2^20: differences of margins are exact
    phi = np.round(rng.normal(size=(3, 60)) * 300 * 2**10) / 2**10
    phi[:, :5] = [[1e5, -1e5, 745, 0, 1e5], [1e5, 1e5, 0, 0, 0], [1e5, 0, -745, 0, -1e5]]
    y = rng.integers(0, 3, (1, 60)).astype(np.float64)
    with kernels.use(isa):
        values, slopes = per_row("softmax", phi, y)
    assert np.isfinite(values).all()
    for i in range(60):
        label = int(y[0, i])
        p, log_sum = softmax_truth(phi[:, i])
        truth = log_sum - decimal.Decimal(phi[label, i])
        # 3 additions and log1p, relative to the larger of the two parts of the loss
        assert abs(decimal.Decimal(values[i]) - truth) <= 6 * decimal.Decimal(2**-53) * (1 + abs(truth))
        for k in range(3):
            expected = p[k] - (k == label)
            if k != label:
                assert ulps(slopes[k, i], expected) <= 4 or p[k] < decimal.Decimal("1e-320")
            else:
                assert abs(decimal.Decimal(slopes[k, i]) - expected) <= 4 * decimal.Decimal(2**-53)


@pytest.mark.parametrize("isa", ISAS)
def test_margins_beyond_all_bounds_give_finite_losses(isa):
    phi = np.array([[1e308, -1e308, 1e308, 0.0], [-1e308, -1e308, 1e308, 0.0]]) / 2
    with kernels.use(isa):
        values, slopes = per_row("softmax", phi, np.zeros((1, 4)))
    np.testing.assert_array_equal(slopes, [[0, -0.5, -0.5, -0.5], [0, 0.5, 0.5, 0.5]])
    np.testing.assert_allclose(values, [0, np.log(2), np.log(2), np.log(2)], rtol=2**-51)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("loss", "n_outputs"), SOME)
def test_a_margin_that_is_not_a_number_is_seen_in_the_loss(isa, loss, n_outputs):
    phi = np.zeros((n_outputs, 20))
    phi[-1, 17] = np.nan
    y = np.zeros((label_rows(loss, n_outputs), 20))
    with kernels.use(isa):
        assert np.isnan(native.loss_sum(loss, phi, y, None))
        phi[-1, 17] = 0
        assert np.isfinite(native.loss_sum(loss, phi, y, None))


@pytest.mark.parametrize(("loss", "n_outputs"), SOME)
def test_slopes_are_the_derivative_of_the_loss(kernel_set, loss, n_outputs, rng):
    ops = kernels.ops()
    phi, direction = rng.normal(size=(2, n_outputs, 50))
    y = rng.integers(0, max(2, n_outputs), (label_rows(loss, n_outputs), 50)).astype(np.float64)
    y[n_outputs:] = y[: len(y) - n_outputs] + 0.5  # upper ends of intervals
    weights = rng.random(50)
    step = 1e-5

    def value(t):
        return ops.loss_sum(loss, phi + t * direction, y, weights)

    # line_slope is relative to the slope at phi, so the second difference of the loss is compared
    eta = direction.astype(np.float32)
    slope = ops.line_slope(loss, phi, None, eta, 1.0, y, weights)
    expected = (value(1 + step) - value(1 - step) - value(step) + value(-step)) / (2 * step)
    assert slope == pytest.approx(expected, rel=1e-5)


# margins below, at and above the kinks of a label's interval, and the loss, slope and curvature there
KINKS = np.array([-3.0, -1.0 - 2**-52, -1.0, -0.5, 0.0, 0.5, 1.0 - 2**-53, 1.0, 2.0, -1e100, 1e100])


def row_by_row(ops, loss, phi, y):
    """Loss and curvature of every row."""
    second = np.full(phi.shape, np.nan, np.float32)
    ops.curvature_rows(loss, phi, None, y, None, c=None, second=second)
    rows = [(phi[:, [i]], y[:, [i]]) for i in range(phi.shape[1])]
    losses = [ops.loss_sum(loss, np.ascontiguousarray(a), np.ascontiguousarray(b), None) for a, b in rows]
    return np.array(losses), second


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_squared_hinge_is_exact_at_its_kinks(kernel_set, label):
    phi, y = KINKS[None].copy(), np.full((1, len(KINKS)), label)
    short = np.maximum(0, 1 - (2 * label - 1) * KINKS)
    losses, second = row_by_row(kernels.ops(), "squared_hinge", phi, y)
    np.testing.assert_array_equal(losses, 0.5 * short**2)
    np.testing.assert_array_equal(second[0], short > 0)


def test_each_output_of_the_squared_hinge_is_its_class_against_the_rest(kernel_set, rng):
    ops, phi = kernels.ops(), rng.normal(size=(3, 40)) * 2
    y, weights = rng.integers(0, 3, (1, 40)).astype(np.float64), rng.random(40)
    second, alone = np.empty((3, 40), np.float32), np.empty((1, 40), np.float32)
    ops.curvature_rows("squared_hinge", phi, None, y, weights, c=None, second=second)
    total = 0.0
    for k in range(3):
        own = (y == k).astype(np.float64)
        ops.curvature_rows("squared_hinge", phi[k : k + 1], None, own, weights, c=None, second=alone)
        np.testing.assert_array_equal(second[k], alone[0])
        total += ops.loss_sum("squared_hinge", phi[k : k + 1], own, weights)
    assert ops.loss_sum("squared_hinge", phi, y, weights) == pytest.approx(total, rel=1e-14)


def test_errors_up_to_epsilon_cost_nothing_and_curve_nothing(kernel_set):
    low, high = np.full((1, 5), -0.5), np.full((1, 5), 2.0)
    phi = np.array([[-1.5, -0.5, 0.0, 2.0, 2.25]])
    y = np.concatenate([low, high])
    losses, second = row_by_row(kernels.ops(), "squared_epsilon_insensitive", phi, y)
    np.testing.assert_array_equal(losses, [0.5, 0, 0, 0, 0.03125])
    np.testing.assert_array_equal(second, [[1, 0, 0, 0, 1]])
