"""Textbook: caught stochastic rounding without its threshold, gradients not differenced, clips not counted.

Those breaks were made on purpose in textbook.py and textbook_run.py and seen to fail here.
"""

import itertools

import numpy as np
import pytest

from mezzotint.errors import DataError, FormatError, ParameterError
from mezzotint.formats import FixedPoint, Rounding, encode
from mezzotint.linear.textbook import (
    EpochDraws,
    LinearProblem,
    draw_epochs,
    halp,
    lp_sgd,
    lp_svrg,
    sgd,
    svrg,
    synthetic_regression,
)
from mezzotint.linear.textbook_run import Quantiser
from mezzotint.random import random_bits

HALF = 2**31  # stochastic rounding with this word in every place is floor(x + 1/2)


def small_problem(seed=0, rows=40, features=5, loss="squared"):
    problem = synthetic_regression(seed, n_rows=rows, n_features=features)
    if loss == "squared":
        return problem
    labels = np.where(problem.targets > 0, 1.0, -1.0)
    return LinearProblem(features=problem.features, targets=labels, loss=loss)


def draws_for(problem, *, seed=3, steps=80, epochs=12):
    return list(draw_epochs(seed, problem, n_features=problem.features.shape[1], steps=steps, epochs=epochs))


class MeanSquaredError:
    """The mean of (x_i.w - y_i)**2 with weights of shape (1, d): the linear cases of torchhalp."""

    def __init__(self, x, y):
        self.x, self.y, self.n_components = x, y, len(x)

    def _gradient(self, x, y, w):
        return 2.0 * ((x @ w.T)[:, 0] - y)[None, :] @ x / len(x)

    def component_gradient(self, index, weights):
        return self._gradient(self.x[index : index + 1], self.y[index : index + 1], weights)

    def gradient(self, weights):
        return self._gradient(self.x, self.y, weights)

    def objective(self, weights):
        return float(np.mean(((self.x @ weights.T)[:, 0] - self.y) ** 2))


class SoftmaxRegression(MeanSquaredError):
    """Cross entropy of classes y with weights of shape (classes, d): the softmax cases of torchhalp."""

    def _gradient(self, x, y, w):
        scores = np.exp(x @ w.T)
        probabilities = scores / scores.sum(axis=1, keepdims=True)
        probabilities[np.arange(len(y)), y] -= 1.0
        return probabilities.T @ x / len(x)

    def objective(self, weights):
        scores = self.x @ weights.T
        return float(np.mean(np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(len(self.y)), self.y]))


def deterministic_halp(problem, weights, sequence, *, rate, bits, mu, period):
    """HALP with round half up on a sequence of rows, re-centred every ``period`` steps: the oracle."""
    top = 2 ** (bits - 1)
    offset, codes, reach = np.zeros_like(weights), None, abs(weights).max()
    for count, index in enumerate(sequence):
        if count % period == 0:
            weights = weights + offset
            full = problem.gradient(weights)
            quantum = np.sqrt((full**2).sum()) / (mu * (top - 1))
            offset = np.zeros_like(weights)
        here = problem.component_gradient(index, weights + offset)
        there = problem.component_gradient(index, weights)
        offset = offset - rate * (here - there + full)
        codes = np.floor(offset / quantum + 0.5).clip(-top, top - 1)
        offset = codes * quantum
        reach = max(reach, abs(offset).max())
    return weights + offset, codes, reach


def compare_with_the_oracle(problem, weights, cycles, *, rate, bits, mu, period):
    sequence = list(range(problem.n_components)) * cycles
    # Every prefix that ends an epoch, and the whole: equal codes all along, not only at the end.
    for stop in sorted({*range(period, len(sequence), period), len(sequence)}):
        epochs = [sequence[first : min(first + period, stop)] for first in range(0, stop, period)]
        draws = [
            EpochDraws(np.array(part), np.full((len(part), *weights.shape), HALF, np.uint32))
            for part in epochs
        ]
        ours = halp(problem, weights, draws, step=rate, bits=bits, mu=mu)
        # torchhalp's larger steps diverge on its own data; ours then stops, and is compared up to there.
        ran = sum(len(part) for part in epochs[: len(ours.scales)])
        expected, codes, reach = deterministic_halp(
            problem, weights, sequence[:ran], rate=rate, bits=bits, mu=mu, period=period
        )
        assert ran == stop or ours.status == "diverged"
        assert (ours.codes == codes).all()
        # Equal codes; only the quantum, rounded up to 53 - bits digits once per epoch, may differ.
        tolerance = len(epochs) * 2.0 ** (bits - 50) * reach
        np.testing.assert_allclose(ours.weights, expected, rtol=0, atol=tolerance)


# The parameters of torchhalp's own comparison: rows, features, rate, passes, bits, mu, steps per epoch.
LINEAR_CASES = [
    (1, 1, 1, 1, 8, 1, 1),
    (1, 4, 0.1, 1, 8, 1, 1),
    (1, 4, 0.1, 4, 8, 1, 2),
    *[(10, 4, 0.1, 1, 8, 1, period) for period in (10, 10, 20, 20)],
    *[(10, 10, 0.1, 1, 8, 1, period) for period in (10, 20)],
    *[(10, 10, 0.5, 1, 8, 1, period) for period in (10, 20)],
    *[(10, 10, 0.5, 10, 8, 1, period) for period in (10, 20)],
    *[(10, 10, 0.5, 10, 8, 0.1, period) for period in (10, 20)],
    *[(10, 10, 0.5, 10, 16, 0.1, period) for period in (10, 20)],
    (5, 10, 0.5, 10, 16, 1, 5),
]
# rows, features, classes, rate, passes, bits, mu; an epoch is one pass.
SOFTMAX_CASES = [
    (1, 1, 3, 1, 1, 8, 1),
    (1, 4, 3, 0.1, 1, 8, 1),
    (1, 4, 3, 0.1, 2, 8, 1),
    (2, 4, 3, 0.1, 1, 8, 1),
    (2, 4, 3, 0.5, 1, 8, 1),
    (2, 4, 3, 0.5, 2, 8, 1),
    (2, 4, 4, 0.5, 2, 8, 1),
    (2, 4, 4, 0.5, 2, 8, 0.1),
    (2, 4, 4, 0.5, 2, 16, 0.1),
    (2, 4, 4, 0.5, 2, 16, 1),
]


@pytest.mark.filterwarnings("ignore:.*coordinates were clipped:RuntimeWarning")
@pytest.mark.parametrize("number", range(len(LINEAR_CASES)))
def test_deterministic_halp_has_the_codes_of_the_linear_oracle(number):
    rows, features, rate, passes, bits, mu, period = LINEAR_CASES[number]
    rng = np.random.default_rng(number)
    problem = MeanSquaredError(rng.random((rows, features)), rng.random(rows))
    start = rng.uniform(0, 0.1, (1, features))
    compare_with_the_oracle(problem, start, passes, rate=rate, bits=bits, mu=mu, period=period)


@pytest.mark.filterwarnings("ignore:.*coordinates were clipped:RuntimeWarning")
@pytest.mark.parametrize("number", range(len(SOFTMAX_CASES)))
def test_deterministic_halp_has_the_codes_of_the_softmax_oracle(number):
    rows, features, classes, rate, passes, bits, mu = SOFTMAX_CASES[number]
    rng = np.random.default_rng(100 + number)
    problem = SoftmaxRegression(rng.random((rows, features)), rng.integers(0, classes, rows))
    start = rng.uniform(0, 0.1, (classes, features))
    compare_with_the_oracle(problem, start, passes, rate=rate, bits=bits, mu=mu, period=rows)


@pytest.mark.parametrize("rounding", ["nearest-even", "toward-zero", "stochastic"])
def test_the_fast_rounding_of_the_loops_is_the_codec(rounding):
    grid = FixedPoint.nearest(bits=8, scale=0.03)
    values = 4.0 * np.random.default_rng(0).standard_normal((50, 20))
    bits = random_bits(1, 0, values.size).reshape(values.shape)
    quantise = Quantiser(grid, Rounding(rounding), bits)
    ours = np.array([quantise(row, t) for t, row in enumerate(values)])
    expected = encode(values, grid, rounding, bits if rounding == "stochastic" else None)
    assert (ours == expected.codes * grid.scale).all()
    assert quantise.saturated == expected.saturated > 0
    assert quantise.rounded == values.size


@pytest.mark.parametrize("method", [lp_sgd, lp_svrg])
def test_low_precision_weights_lie_on_the_grid(method):
    problem = small_problem()
    grid = FixedPoint.spanning(bits=8, bound=2.0)
    result = method(problem, np.full(5, 0.3), draws_for(problem), step=0.02, grid=grid)
    assert np.array_equal(result.weights, result.codes * grid.scale)
    assert (result.scales == grid.scale).all()


def test_halp_offsets_lie_on_a_grid_that_spans_the_gradient_over_mu():
    problem = small_problem()
    draws = draws_for(problem)
    shorter = halp(problem, np.zeros(5), draws[:-1], step=0.02, bits=8, mu=0.5)
    longer = halp(problem, np.zeros(5), draws, step=0.02, bits=8, mu=0.5)
    assert np.array_equal(longer.weights, shorter.weights + longer.codes * longer.scales[-1])
    expected = longer.gradient_norms[:-1] / (0.5 * 127)
    assert (longer.scales >= expected).all()
    assert (longer.scales <= expected * (1 + 2.0**-43)).all()


@pytest.mark.parametrize("method", ["sgd", "lp_sgd", "svrg", "lp_svrg", "halp"])
def test_a_run_is_a_function_of_its_draws(method):
    problem = small_problem()
    results = [run_method(method, problem, draws_for(problem, seed=seed)) for seed in (1, 1, 2)]
    assert np.array_equal(results[0].weights, results[1].weights)
    assert np.array_equal(results[0].gradient_norms, results[1].gradient_norms)
    assert not np.array_equal(results[0].weights, results[2].weights)


def run_method(method, problem, draws, **options):
    start, grid = np.zeros(problem.features.shape[1]), FixedPoint.spanning(bits=8, bound=2.0)
    calls = {
        "sgd": lambda: sgd(problem, start, draws, step=0.02),
        "lp_sgd": lambda: lp_sgd(problem, start, draws, step=0.02, grid=grid),
        "svrg": lambda: svrg(problem, start, draws, step=0.02, **options),
        "lp_svrg": lambda: lp_svrg(problem, start, draws, step=0.02, grid=grid, **options),
        "halp": lambda: halp(problem, start, draws, step=0.02, bits=8, mu=0.3, **options),
    }
    return calls[method]()


@pytest.mark.parametrize("method", ["svrg", "lp_svrg", "halp"])
def test_option_two_takes_the_picked_iterate_of_option_one(method):
    problem = small_problem()
    epoch = draws_for(problem, epochs=1)[0]
    for pick in (0, 1, 17, 79):
        head = EpochDraws(epoch.indices[:pick], epoch.bits[:pick])
        second = run_method(method, problem, [epoch._replace(pick=pick)], option="II")
        assert np.array_equal(second.weights, run_method(method, problem, [head]).weights)


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_gradients_are_the_derivatives_of_the_objective(loss):
    problem = small_problem(loss=loss)
    weights = 0.3 * np.random.default_rng(1).standard_normal(5)
    numeric = [
        (problem.objective(weights + 1e-6 * unit) - problem.objective(weights - 1e-6 * unit)) / 2e-6
        for unit in np.eye(5)
    ]
    mean = np.mean([problem.component_gradient(i, weights) for i in range(40)], axis=0)
    np.testing.assert_allclose(problem.gradient(weights), numeric, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(problem.gradient(weights), mean, rtol=1e-13, atol=1e-15)


def test_halp_reaches_the_optimum_of_a_logistic_problem_in_8_bits():
    problem = small_problem(rows=200, loss="logistic")
    labels = problem.targets * np.where(np.arange(200) % 5, 1.0, -1.0)  # not separable: an optimum exists
    problem = LinearProblem(features=problem.features, targets=labels, loss="logistic")
    draws = draw_epochs(0, problem, n_features=5, steps=800, epochs=25)
    result = halp(problem, np.zeros(5), draws, step=0.1, bits=8, mu=0.1)
    assert result.gradient_norms[-1] < 1e-13


def test_clipped_coordinates_are_counted_and_warned_about():
    problem = small_problem()
    with pytest.warns(RuntimeWarning, match=r"of the offset's coordinates were clipped.*use a smaller mu"):
        result = halp(problem, np.zeros(5), draws_for(problem), step=0.02, bits=8, mu=50.0)
    assert result.saturated.shape == result.rounded.shape == (12,)
    assert (result.rounded == 80 * 5).all()
    assert (result.saturated > 0).all()
    assert result.saturation_fraction == result.saturated.sum() / (12 * 80 * 5)


def test_a_run_that_diverges_says_so_and_stops():
    problem = small_problem()
    result = svrg(problem, np.zeros(5), draws_for(problem), step=5.0)
    assert result.status == "diverged"
    assert len(result.gradient_norms) < 13


def test_a_run_that_starts_at_the_optimum_is_stationary():
    problem = LinearProblem(features=np.eye(2), targets=np.array([1.0, 2.0]))
    draws = [EpochDraws(np.array([0, 1]), np.zeros((2, 2), np.uint32))]
    result = halp(problem, np.array([1.0, 2.0]), draws, step=0.1, bits=8, mu=1.0)
    assert (result.status, result.weights.tolist(), result.gradient_norms.tolist()) == (
        "stationary",
        [1, 2],
        [0],
    )


def test_no_epochs_give_the_start_back():
    problem = small_problem()
    result = halp(problem, np.ones(5), [], step=0.1, bits=8, mu=1.0)
    assert result.weights.tolist() == [1.0] * 5
    assert result.codes is None
    assert result.saturation_fraction == 0.0


def test_draws_are_reproducible_and_differ_between_epochs():
    problem = small_problem()
    first, second = draws_for(problem, epochs=2)
    again = draws_for(problem, epochs=1)[0]
    for name in ("indices", "bits", "step_bits", "constant_bits"):
        assert np.array_equal(getattr(first, name), getattr(again, name))
        assert not np.array_equal(getattr(first, name), getattr(second, name))
    assert 0 <= first.pick < 80
    assert first.indices.min() >= 0
    assert first.indices.max() < 40
    words = [set(part.ravel().tolist()) for part in (first.bits, first.step_bits, first.constant_bits)]
    assert not any(a & b for a, b in itertools.combinations(words, 2))


X, Y = np.ones((2, 1)), np.ones(2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda p, d: sgd(p, np.zeros(5), d, step=0.0),
            ParameterError,
            "step came as 0.0; it must be a positive",
        ),
        (lambda p, d: halp(p, np.zeros(5), d, step=1, bits=8, mu=-1), ParameterError, "mu came as -1"),
        (lambda p, d: halp(p, np.zeros(5), d, step=1, bits=1, mu=1), FormatError, "bits came as 1"),
        (lambda p, d: svrg(p, np.zeros(5), d, step=1, option="III"), ParameterError, "option came as 'III'"),
        (
            lambda p, d: halp(p, np.zeros(5), [d[0]._replace(bits=None)], step=1, bits=8, mu=1),
            ParameterError,
            "stochastic rounding needs the bits of every epoch's draws; none came",
        ),
        (
            lambda p, d: LinearProblem(features=X, targets=Y, loss="hinge"),
            ParameterError,
            "loss came as 'hinge'",
        ),
        (
            lambda p, d: LinearProblem(features=X, targets=Y[:1]),
            DataError,
            r"features of shape \(2, 1\) do not go",
        ),
        (lambda p, d: LinearProblem(features=X, targets=Y * np.nan), DataError, "hold NaN or infinity"),
        (
            lambda p, d: LinearProblem(features=X, targets=2 * Y, loss="logistic"),
            DataError,
            "must be -1 or 1",
        ),
    ],
)
def test_bad_arguments_are_named(call, error, message):
    problem = small_problem()
    with pytest.raises(error, match=message):
        call(problem, draws_for(problem, epochs=1))
