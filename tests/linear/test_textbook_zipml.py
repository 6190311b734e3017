"""ZipML's training: caught a constant step, copies not taken in turn, a model left unquantised, ties reused.

Those breaks, the model's random bits reused for the gradient, a penalty applied without the step and bytes of
the model counted once per epoch, were made on purpose in textbook_zipml.py and seen to fail here. The
convergence set is least squares with 2,000 rows and 20 standard normal features, targets x.w* + N(0, 1),
3-bit levels, alpha = 0.1, 40 epochs in minibatches of 16.
"""

import functools

import numpy as np
import pytest

from mezzotint.errors import DataError, ParameterError
from mezzotint.formats.quantiser import intervals_of_bits, quantise, row_scale
from mezzotint.linear.textbook import LinearProblem, synthetic_regression
from mezzotint.linear.textbook_zipml import (
    DrawnSamples,
    Flows,
    Penalty,
    optimal_columns,
    uniform_columns,
    zipml_sgd,
)
from mezzotint.random import permutation, random_bits

D, ALPHA, EPOCHS = 20, 0.1, 40


@functools.cache
def problem():
    return synthetic_regression(1, n_rows=2000, n_features=D, noise=1.0)


@functools.cache
def stored(n_draws=2, copies=10, bits=3, rounding="stochastic"):
    x = problem().features
    levels = uniform_columns(x, bits)
    return [
        DrawnSamples.draw(x, levels, n_draws=n_draws, rounding=rounding, seed=1, copy=c)
        for c in range(copies)
    ]


@functools.cache
def run(n_draws=0, estimator="variance-reduced", copies=10, rounding="stochastic", **options):
    samples = stored(n_draws, copies, rounding=rounding) if n_draws else ()
    options = {"step": ALPHA, "epochs": EPOCHS, "estimator": estimator} | options
    return zipml_sgd(problem(), np.zeros(D), samples, **options)


def excess(**options):
    """How far the last loss is above that of full precision, relatively."""
    return run(**options).objectives[-1] / run().objectives[-1] - 1


def test_full_precision_reaches_the_optimum():
    x, y = problem().features, problem().targets
    best = problem().objective(np.linalg.lstsq(x, y, rcond=None)[0])
    assert run().objectives[-1] == pytest.approx(best, rel=1e-4)


def test_a_run_on_floats_is_the_loop_as_written():
    weights = np.zeros(D)
    x, y = problem().features, problem().targets
    for epoch in (1, 2):
        order = permutation(3, 2000, step=epoch - 1, stream=32)
        for rows in np.split(order, 2000 // 16):
            gradient = x[rows].T @ (x[rows] @ weights - y[rows]) / len(rows)
            weights = weights - ALPHA / epoch * gradient
    result = zipml_sgd(problem(), np.zeros(D), step=ALPHA, epochs=2, seed=3)
    assert result.weights == pytest.approx(weights, rel=1e-12)
    assert result.objectives[-1] == pytest.approx(problem().objective(weights))


def rounded(vector, bits, words):
    """Row-scaled quantisation of a model or gradient."""
    return quantise(vector, intervals_of_bits(bits), row_scale(vector), words).values


def test_an_end_to_end_run_is_the_loop_as_written_with_new_bits_in_every_step():
    weights, copies, y = np.zeros(D), stored(copies=2), problem().targets
    for epoch in range(3):
        order = permutation(3, 2000, step=epoch, stream=32)
        ties = random_bits(3, 0, 2000 * D // 32, step=epoch, stream=33).view(np.uint8)
        first, second = copies[epoch % 2].pair(np.unpackbits(ties).reshape(2000, D))
        words = [random_bits(3, 0, 125 * D, step=epoch, stream=s).reshape(125, D) for s in (34, 35)]
        for rows, r3, r4 in zip(np.split(order, 125), *words, strict=True):
            residual = second[rows] @ rounded(weights, 5, r3) - y[rows]
            weights = weights - ALPHA / (epoch + 1) * rounded(first[rows].T @ residual / 16, 6, r4)
    options = {"estimator": "double", "model_bits": 5, "gradient_bits": 6, "seed": 3}
    result = run(n_draws=2, copies=2, epochs=3, **options)
    assert result.weights == pytest.approx(weights, rel=1e-9)


@pytest.mark.parametrize("estimator", ["double", "symmetrised", "variance-reduced"])
def test_double_sampling_ends_within_one_percent_of_full_precision(estimator):
    assert abs(excess(n_draws=2, estimator=estimator)) < 0.01


def test_naive_and_deterministic_rounding_end_visibly_above():
    assert excess(n_draws=1, estimator="naive") > 0.1
    assert excess(n_draws=1, estimator="naive", copies=1, rounding="nearest-even") > 0.04


def test_the_end_to_end_run_ends_within_one_percent_too():
    assert abs(excess(n_draws=2, model_bits=8, gradient_bits=8)) < 0.01


def test_less_variance_ends_lower():
    double, symmetrised, reduced = (
        excess(n_draws=2, estimator=name) for name in ("double", "symmetrised", "variance-reduced")
    )
    assert reduced < symmetrised < double
    assert excess(n_draws=8) < reduced / 2


def test_one_stored_copy_ends_at_its_own_minimiser_and_several_nearer_to_the_truth():
    samples = stored(copies=1)[0]
    m, w, y = samples.mean, samples.mean_variance, problem().targets
    own = np.linalg.solve(m.T @ m - np.diag(w.sum(axis=0)), m.T @ y)
    weights = run(n_draws=2, copies=1).weights
    true = run().weights
    assert np.linalg.norm(weights - own) < np.linalg.norm(weights - true) / 5
    assert excess(n_draws=2) < excess(n_draws=2, copies=1) / 3


@pytest.mark.parametrize("batch_size", [16, 256])
def test_large_and_small_minibatches_end_within_one_percent(batch_size):
    full = run(batch_size=batch_size, step=0.5).objectives[-1]
    low = run(n_draws=2, batch_size=batch_size, step=0.5).objectives[-1]
    assert low == pytest.approx(full, rel=0.01)


def test_optimal_levels_end_lower_on_heavy_tails_at_equal_bits(rng):
    x = rng.standard_normal((2000, 10)) * np.exp(0.7 * rng.standard_normal((2000, 10)))
    heavy = LinearProblem(features=x, targets=x @ rng.uniform(-1, 1, 10) + rng.standard_normal(2000))
    loss = []
    for columns in (uniform_columns, optimal_columns):
        copies = [DrawnSamples.draw(x, columns(x, 3), copy=c) for c in range(5)]
        loss.append(zipml_sgd(heavy, np.zeros(10), copies, step=0.05, epochs=20).objectives[-1])
    full = zipml_sgd(heavy, np.zeros(10), step=0.05, epochs=20).objectives[-1]
    assert loss[1] - full < (loss[0] - full) / 3


def test_least_squares_svm_separates_as_in_full_precision(rng):
    x = rng.standard_normal((1000, 8))
    labels = np.sign(x @ np.ones(8) + 0.5 * rng.standard_normal(1000))
    svm = LinearProblem(features=x, targets=labels)
    copies = [DrawnSamples.draw(x, uniform_columns(x, 3), copy=c) for c in range(5)]
    options = {"step": 0.1, "epochs": 20, "penalty": Penalty(l2=0.1)}
    full, low = (zipml_sgd(svm, np.zeros(8), samples, **options) for samples in ((), copies))
    known = np.linalg.solve(x.T @ x / 1000 + 0.1 * np.eye(8), x.T @ labels / 1000)
    best = svm.objective(known) + 0.05 * known @ known
    assert full.objectives[-1] == pytest.approx(best, rel=1e-4)
    assert low.objectives[-1] == pytest.approx(full.objectives[-1], rel=0.01)
    assert (np.sign(x @ low.weights) == labels).mean() > 0.93


def test_an_l1_penalty_reaches_its_optimality_conditions():
    result = zipml_sgd(problem(), np.zeros(D), step=0.2, epochs=60, batch_size=250, penalty=Penalty(l1=0.3))
    gradient, weights = problem().gradient(result.weights), result.weights
    zero = np.abs(weights) < 1e-3
    assert 0 < zero.sum() < D
    assert np.abs(gradient[zero]).max() <= 0.3 + 0.02
    assert gradient[~zero] == pytest.approx(-0.3 * np.sign(weights[~zero]), abs=0.02)
    assert result.objectives[-1] == pytest.approx(problem().objective(weights) + 0.3 * np.abs(weights).sum())


def test_a_box_holds_every_weight():
    weights = run(n_draws=2, penalty=Penalty(lower=-0.25, upper=0.5)).weights
    assert weights.min() == -0.25
    assert weights.max() == 0.5


def test_the_proximal_point_minimises_its_objective():
    penalty, step, v = Penalty(l1=0.4, l2=0.3, lower=-0.5, upper=0.7), 0.8, np.linspace(-3, 3, 13)
    grid = np.linspace(-0.5, 0.7, 120_001)
    for value, point in zip(v, penalty.prox(v, step), strict=True):
        objective = (grid - value) ** 2 / (2 * step) + 0.4 * np.abs(grid) + 0.15 * grid**2
        assert point == pytest.approx(grid[objective.argmin()], abs=1e-5)


def test_the_flows_count_every_byte():
    assert run().flows == Flows(samples=4 * 2000 * D, model=4 * 125 * D, gradient=4 * 125 * D)
    flows = run(n_draws=2, model_bits=8, gradient_bits=3).flows
    assert flows.samples == 2000 * D * 4 // 8  # 3 bits and one for the second draw
    assert flows.model == 125 * (-(-D * 9 // 8) + 8)  # 257 levels take 9 bits; 8 bytes of scale
    assert flows.gradient == 125 * (-(-D * 4 // 8) + 8)
    assert flows.total == flows.samples + flows.model + flows.gradient


def test_the_last_minibatch_may_be_smaller():
    result = run(n_draws=2, batch_size=300, epochs=3)
    assert result.flows.model == 7 * 4 * D
    assert result.objectives.shape == (4,)


def test_a_run_depends_on_its_seed_and_on_nothing_else():
    options = {"n_draws": 2, "estimator": "double", "model_bits": 4, "gradient_bits": 4, "epochs": 3}
    first = run(seed=1, **options)
    again = zipml_sgd(
        problem(),
        np.zeros(D),
        stored(),
        estimator="double",
        step=ALPHA,
        epochs=3,
        model_bits=4,
        gradient_bits=4,
        seed=1,
    )
    assert (first.weights == again.weights).all()
    assert (first.weights != run(seed=2, **options).weights).any()


def test_a_run_that_diverges_says_so_and_stops():
    result = run(step=1e3, model_bits=4, gradient_bits=4)
    assert result.status == "diverged"
    assert len(result.objectives) < EPOCHS + 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step": 0.0}, "positive"),
        ({"batch_size": 0}, "at least 1"),
        ({"estimator": "triple"}, "allowed are"),
        ({"model_bits": 0, "epochs": 1}, "1 to 16"),
    ],
)
def test_parameters_outside_their_set_are_refused(options, message):
    with pytest.raises(ParameterError, match=message):
        run(**options)


def test_samples_of_another_data_set_are_refused():
    other = np.zeros((3, D))
    with pytest.raises(DataError, match="another shape"):
        zipml_sgd(problem(), np.zeros(D), [DrawnSamples.draw(other, uniform_columns(other, 2))], step=0.1)


def test_another_loss_is_refused():
    logistic = LinearProblem(features=np.eye(2), targets=np.array([1.0, -1.0]), loss="logistic")
    with pytest.raises(ParameterError, match="least-squares SVM"):
        zipml_sgd(logistic, np.zeros(2), step=0.1)


@pytest.mark.parametrize("options", [{"l1": -1.0}, {"l2": np.inf}, {"lower": 1.0, "upper": 0.0}])
def test_an_impossible_penalty_is_refused(options):
    with pytest.raises(ParameterError, match="l1 and l2 must be finite"):
        Penalty(**options)
