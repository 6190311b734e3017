"""ZipML's gradients: caught a missing correction, one of the wrong sign, low-first ties, one order only.

Those breaks, and a wrong sign of the cross term in the closed forms, were made on purpose and seen to fail
here. Means and variances of small rows are exact sums over all outcomes. Monte Carlo tests go through drawn
and stored sums, in standard errors from the closed-form variances (from the sample's own where none is
known), and ask for |z| < 5: with under 200 comparisons a sound estimator fails with probability 1.2e-4.
"""

import itertools
import math

import numpy as np
import pytest

from mezzotint.errors import ParameterError
from mezzotint.formats.draws import assign_pair, draw_variance, mean_of_draws
from mezzotint.formats.quantiser import intervals_of_bits, rounding_variance, row_scale
from mezzotint.linear.textbook_zipml_gradients import (
    double_gradient,
    estimator_bias,
    estimator_variance,
    naive_gradient,
    round_vector,
    symmetrised_gradient,
    variance_reduced_gradient,
)
from mezzotint.linear.textbook_zipml_samples import ColumnLevels, DrawnSamples

LEVELS = ColumnLevels(
    [np.array([-1.0, 0.0, 0.5, 2.0]), np.array([0.0, 1.0, 3.0]), np.array([-4.0, 4.0])], bits=2
)
ROW, TARGET, WEIGHTS = np.array([[0.3, 1.4, 1.0]]), np.array([0.7]), np.array([1.5, -0.8, 0.6])
D = LEVELS.rounding_variance(ROW)[0]
GRADIENT = naive_gradient(ROW, TARGET, WEIGHTS)
UNBIASED = ("double", "symmetrised", "variance-reduced")


def estimate(estimator, samples, ties):
    """One row's gradient from its sums."""
    if estimator == "naive":
        return naive_gradient(samples.mean, TARGET, WEIGHTS)
    if estimator == "variance-reduced":
        return variance_reduced_gradient(samples.mean, samples.mean_variance, TARGET, WEIGHTS)
    pair = {"double": double_gradient, "symmetrised": symmetrised_gradient}[estimator]
    return pair(*samples.pair(ties), TARGET, WEIGHTS)


def outcomes(k, fair=True):
    """Every outcome of the sums of k draws and of the ties, with its probability."""
    units = LEVELS.units(ROW)[0]
    lower, share = np.floor(units).astype(int), units - np.floor(units)
    for ups in itertools.product(range(k + 1), repeat=3):
        orders = [math.comb(k, u) for u in ups]
        probability = np.prod(orders * share**ups * (1 - share) ** (k - np.array(ups)))
        sums = (k * lower + ups).astype(np.uint16)[None]
        for ties in itertools.product((0, 1), repeat=3) if fair and k == 2 else [(0, 0, 0)]:
            weight = probability / (8 if fair and k == 2 else 1)
            yield weight, DrawnSamples(sums, k, LEVELS), np.array([ties], np.uint8)


def exact_moments(estimator, k, fair=True):
    """Mean and variance about the true gradient of every coordinate, by summing over all outcomes."""
    terms = [(weight, estimate(estimator, samples, ties)) for weight, samples, ties in outcomes(k, fair)]
    mean = sum(weight * gradient for weight, gradient in terms)
    return mean, sum(weight * (gradient - GRADIENT) ** 2 for weight, gradient in terms)


def test_the_outcomes_are_all_there():
    assert sum(weight for weight, _, _ in outcomes(2)) == pytest.approx(1.0)
    assert sum(weight * samples.mean for weight, samples, _ in outcomes(2)) == pytest.approx(ROW)
    assert sum(weight * (samples.mean - ROW) ** 2 for weight, samples, _ in outcomes(1))[0] == pytest.approx(
        D
    )


def test_the_naive_gradient_is_biased_by_d_times_the_weights():
    mean, _ = exact_moments("naive", 1)
    assert mean - GRADIENT == pytest.approx(D * WEIGHTS)
    assert estimator_bias("naive", D, WEIGHTS) == pytest.approx(D * WEIGHTS)


@pytest.mark.parametrize(
    ("estimator", "k"), [*((name, 2) for name in UNBIASED), ("variance-reduced", 4)], ids=str
)
def test_the_others_are_unbiased_and_have_the_closed_form_variance(estimator, k):
    mean, variance = exact_moments(estimator, k)
    assert mean == pytest.approx(GRADIENT, abs=1e-12)
    assert not estimator_bias(estimator, D, WEIGHTS).any()
    known = estimator_variance(estimator, ROW[0], TARGET[0], WEIGHTS, D, n_draws=k)
    assert variance == pytest.approx(known, rel=1e-12)


@pytest.mark.parametrize("estimator", ["double", "symmetrised"])
def test_low_first_in_place_of_a_random_bit_is_biased(estimator):
    mean, _ = exact_moments(estimator, 2, fair=False)
    assert np.abs(mean - GRADIENT).max() > 0.1


def test_the_mean_over_all_ties_of_the_symmetrised_gradient_is_the_variance_reduced_one():
    sums = np.array([[3, 1, 1]], np.uint16)
    samples = DrawnSamples(sums, 2, LEVELS)
    ties = [np.array([t], np.uint8) for t in itertools.product((0, 1), repeat=3)]
    mean = np.mean([estimate("symmetrised", samples, t) for t in ties], axis=0)
    assert mean == pytest.approx(estimate("variance-reduced", samples, None))


def random_problem(rng, d):
    """A row that fits its target to within its own noise, with few levels."""
    row, weights = rng.uniform(-1, 1, d), rng.standard_normal(d)
    levels = ColumnLevels([np.linspace(-1, 1, 4)] * d, bits=2)
    return row, row @ weights + 0.3, weights, levels.rounding_variance(row[None])[0]


def test_symmetrising_halves_the_variance_and_the_reduced_one_is_not_above_it(rng):
    ratios = []
    for d in (1, 2, 10, 100):
        for _ in range(50):
            problem = random_problem(rng, d)
            total = {name: estimator_variance(name, *problem).sum() for name in UNBIASED}
            assert total["variance-reduced"] <= total["symmetrised"] * (1 + 1e-12)
            ratios.append(total["symmetrised"] / total["double"])
    assert 0.5 < np.median(ratios[-100:]) < 0.55  # 10 and 100 columns
    assert max(ratios) <= 1.0 + 1e-12


def test_the_variance_of_double_sampling_is_within_lemma_1_with_the_constant_one(rng):
    for d in (1, 3, 30, 300):
        row, _, weights, variance = random_problem(rng, d)
        total, squares = variance.sum(), np.linalg.norm(weights**2)
        bound = total * (total * squares + (row @ weights) ** 2 + squares * (row @ row))
        exact = estimator_variance("double", row, 0.0, weights, variance).sum()
        assert exact <= bound * (1 + 1e-12)
        assert d > 1 or exact == pytest.approx(bound)


def test_more_draws_divide_the_variance(rng):
    problem = random_problem(rng, 30)
    total = [estimator_variance("variance-reduced", *problem, n_draws=k).sum() for k in (2, 4, 8, 16)]
    assert all(2 <= wide / narrow <= 2.5 for wide, narrow in itertools.pairwise(total))


def drawn(rng, trials, k):
    """Many stored copies of the row, and fair bits."""
    samples = DrawnSamples.draw(np.tile(ROW, (trials, 1)), LEVELS, n_draws=k, seed=11)
    return samples, rng.integers(0, 2, samples.sums.shape, np.uint8)


def gradients(estimator, samples, ties):
    """One gradient per stored row."""
    targets = np.broadcast_to(TARGET, len(samples.sums))
    if estimator in ("naive", "variance-reduced"):
        arrays = (samples.mean, samples.mean_variance) if estimator != "naive" else (samples.mean,)
    else:
        arrays = samples.pair(ties)
    function = {
        "naive": naive_gradient,
        "double": double_gradient,
        "symmetrised": symmetrised_gradient,
        "variance-reduced": variance_reduced_gradient,
    }[estimator]
    return np.array(
        [function(*(a[i : i + 1] for a in arrays), targets[i : i + 1], WEIGHTS) for i in range(len(targets))]
    )


@pytest.mark.parametrize(
    ("estimator", "k"), [("double", 2), ("symmetrised", 2), *(("variance-reduced", k) for k in (2, 4, 16))]
)
def test_stored_draws_give_unbiased_gradients_of_that_variance(rng, estimator, k):
    trials = 10_000
    g = gradients(estimator, *drawn(rng, trials, k))
    known = estimator_variance(estimator, ROW[0], TARGET[0], WEIGHTS, D, n_draws=k)
    z = (g.mean(axis=0) - GRADIENT) / np.sqrt(known / trials)
    assert np.abs(z).max() < 5
    squares = (g - GRADIENT) ** 2
    of_variance = (squares.mean(axis=0) - known) / (squares.std(axis=0) / np.sqrt(trials))
    assert np.abs(of_variance).max() < 5


def test_stored_draws_give_a_naive_gradient_with_that_bias(rng):
    trials = 10_000
    g = gradients("naive", *drawn(rng, trials, 1))
    error = g.std(axis=0) / np.sqrt(trials)
    assert np.abs((g.mean(axis=0) - GRADIENT - D * WEIGHTS) / error).max() < 5
    assert np.abs((g.mean(axis=0) - GRADIENT) / error).max() > 20


@pytest.mark.parametrize("estimator", ["double", "symmetrised"])
def test_stored_draws_without_a_random_bit_are_seen_to_be_biased(rng, estimator):
    samples, ties = drawn(rng, 10_000, 2)
    g = gradients(estimator, samples, np.zeros_like(ties))
    assert np.abs((g.mean(axis=0) - GRADIENT) / (g.std(axis=0) / np.sqrt(len(g)))).max() > 10


def roundings(vector, bits):
    """Every outcome of rounding a vector, with its probability: words of all zeros or all ones decide."""
    scale, s = row_scale(vector), intervals_of_bits(bits)
    t = s * np.abs(vector) / scale
    share = t - np.floor(t)
    for ups in itertools.product((0, 1), repeat=len(vector)):
        up = np.array(ups)
        words = (up * (2**32 - 1)).astype(np.uint32)
        yield np.prod(np.where(up, share, 1 - share)), round_vector(vector, bits, words)


def test_the_end_to_end_gradient_is_unbiased_over_all_outcomes():
    mean = np.zeros(3)
    for p, samples, ties in outcomes(2):
        first, second = samples.pair(ties)
        for p3, weights in roundings(WEIGHTS, 2):
            gradient = double_gradient(first, second, TARGET, weights)
            for p4, moved in roundings(gradient, 2):
                mean += p * p3 * p4 * moved
    assert mean == pytest.approx(GRADIENT, abs=1e-12)


def test_rounding_a_vector_has_the_variance_of_its_quantiser():
    terms = [(p, (moved - WEIGHTS) ** 2) for p, moved in roundings(WEIGHTS, 3)]
    known = rounding_variance(WEIGHTS, intervals_of_bits(3), row_scale(WEIGHTS))
    assert sum(p * square for p, square in terms) == pytest.approx(known)


@pytest.mark.parametrize("estimator", UNBIASED)
def test_stored_draws_and_drawn_words_give_an_unbiased_end_to_end_gradient(rng, estimator):
    trials = 10_000
    samples, ties = drawn(rng, trials, 2)
    words = rng.integers(0, 2**32, (2, trials, 3), np.uint32)
    first, second = samples.pair(ties)
    arrays = (samples.mean, samples.mean_variance) if estimator == "variance-reduced" else (first, second)
    function = {"double": double_gradient, "symmetrised": symmetrised_gradient}.get(
        estimator, variance_reduced_gradient
    )
    g = np.empty((trials, 3))
    for i in range(trials):
        weights = round_vector(WEIGHTS, 2, words[0, i])
        g[i] = round_vector(function(*(a[i : i + 1] for a in arrays), TARGET, weights), 2, words[1, i])
    assert np.abs((g.mean(axis=0) - GRADIENT) / (g.std(axis=0) / np.sqrt(trials))).max() < 5


def test_minibatches_are_means_over_their_rows(rng):
    first, second, targets = rng.standard_normal((5, 3)), rng.standard_normal((5, 3)), rng.standard_normal(5)
    functions = {
        naive_gradient: (first,),
        double_gradient: (first, second),
        variance_reduced_gradient: (first, second),
    }
    for function, arrays in functions.items():
        single = [function(*(a[i : i + 1] for a in arrays), targets[i : i + 1], WEIGHTS) for i in range(5)]
        assert function(*arrays, targets, WEIGHTS) == pytest.approx(np.mean(single, axis=0))


def test_the_pieces_agree_with_the_format_s_own():
    sums = np.array([[3, 1, 1]], np.uint16)
    table = [LEVELS.tables[j] for j in range(3)]
    mean = [np.interp(mean_of_draws(sums, 2)[0, j], np.arange(len(table[j])), table[j]) for j in range(3)]
    samples = DrawnSamples(sums, 2, LEVELS)
    assert samples.mean[0] == pytest.approx(mean)
    gaps = np.array([0.5, 1.0, 8.0])
    assert samples.mean_variance[0] == pytest.approx(gaps**2 * draw_variance(sums, 2)[0])
    first, second = samples.pair(np.array([[1, 0, 1]], np.uint8))
    index = assign_pair(sums, np.array([[1, 0, 1]]))
    assert first[0] == pytest.approx([table[j][index[0][0, j]] for j in range(3)])
    assert second[0] == pytest.approx([table[j][index[1][0, j]] for j in range(3)])


def test_the_variance_of_the_naive_estimator_is_refused():
    with pytest.raises(ParameterError, match="biased"):
        estimator_variance("naive", ROW[0], 0.0, WEIGHTS, D)


def test_rounding_without_words_is_refused():
    with pytest.raises(ParameterError, match="random word"):
        round_vector(WEIGHTS, 2, None)
