"""The HALP solver against a dense float64 Newton reference, its safeguards, and its limits.

Caught, each made on purpose and seen to fail here: steps accepted although the objective rose; a gap
estimate of zero; codes that hide a column taken at their word (a wrong answer called converged); random bits
that were no function of the step; offsets past 127; uniform numbers made constant; Ctrl-C not polled.
"""

import signal
import time
from dataclasses import replace

import numpy as np
import pytest
from tests.linear.problems import Dense, embeddings, make_problem, optimum

from mezzotint import kernels
from mezzotint.errors import ParameterError
from mezzotint.kernels import native
from mezzotint.kernels.epochs import EpochModel, EpochRows, EpochSchedule
from mezzotint.linear import halp as halp_module
from mezzotint.linear import halp_pace
from mezzotint.linear.halp import solve_halp
from mezzotint.linear.result import Status
from mezzotint.linear.textbook import svrg
from mezzotint.linear.textbook_run import EpochDraws
from mezzotint.random import permutation

N = 3000


def relative_gap(problem, result):
    """(F - F*) / max(|F*|, 1e-6 F(0)), evaluated independently of the library."""
    dense = Dense(problem)
    best, _ = optimum(problem)
    return (dense.value(result.coef) - best) / max(abs(best), 1e-6 * dense.value(np.zeros_like(result.coef)))


def assert_solved(problem, result):
    """Converged to 1e-9 with default parameters, never rising, with a true certificate."""
    assert result.status is Status.CONVERGED, str(result)
    gap = relative_gap(problem, result)
    assert gap <= 1e-9
    assert result.gap_bound >= gap * abs(result.objective) - 1e-15
    assert_never_rises(result)


def assert_never_rises(result):
    objectives = np.array([step.objective for step in result.trace])
    assert (objectives[1:] <= objectives[:-1] * (1 + 4e-16)).all()


def tabular(rng, n=N):
    """Columns of very different scales and shapes, one constant, two correlated; unbalanced labels."""
    X = rng.standard_normal((n, 12)) * 10.0 ** rng.uniform(-2, 2, 12)
    X[:, 1] = np.exp(X[:, 1] / np.abs(X[:, 1]).max() * 3)
    X[:, 2] = rng.random(n) < 0.1
    X[:, 3] = 7.0
    X[:, 4] = 100.0 + rng.standard_normal(n)
    X[:, 5] = 0.5 * X[:, 6] / X[:, 6].std() + 0.1 * rng.standard_normal(n)
    margin = (X - X.mean(0)) / np.maximum(X.std(0), 1e-9) @ rng.standard_normal(12) - 3
    return X.astype(np.float32), (rng.random(n) < 1 / (1 + np.exp(-margin))).astype(float)


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("C", [1.0, 100.0])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_logistic_regression_reaches_the_float_optimum(bits, C, fit_intercept):
    X, y = embeddings(N, 24, shift=0.3)
    problem = make_problem(X, y, "logistic", 1 / (C * N), bits=bits, fit_intercept=fit_intercept)
    assert_solved(problem, solve_halp(problem))


@pytest.mark.parametrize("bits", [8, 4])
def test_badly_scaled_and_unbalanced_tables_are_no_harder(rng, bits):
    X, y = tabular(rng)
    problem = make_problem(X, y, "logistic", 1e-3, bits=bits)
    assert_solved(problem, solve_halp(problem))


@pytest.mark.parametrize("bits", [8, 4])
def test_ridge_with_several_targets_and_weights(rng, bits):
    X, _ = embeddings(N, 20)
    Y = (X @ rng.standard_normal((20, 3)) + 0.1 * rng.standard_normal((N, 3))).T + 5
    weights = rng.integers(0, 4, N).astype(float)
    problem = make_problem(X, Y, "squared", 1 / N, bits=bits, weights=weights)
    assert_solved(problem, solve_halp(problem))


@pytest.mark.parametrize("bits", [8, 4])
def test_multinomial_regression_on_rows_sorted_by_class(bits):
    X, y = embeddings(N, 20, n_classes=5)
    order = np.argsort(y, kind="stable")
    problem = make_problem(X[order], y[order], "softmax", 1 / N, bits=bits)
    assert_solved(problem, solve_halp(problem))


def test_a_constant_column_serves_as_intercept_where_none_is_fitted():
    X, y = embeddings(N, 10)
    X[:, 4] = 2.0
    problem = make_problem(X, y, "logistic", 1e-3, bits=8, fit_intercept=False)
    assert_solved(problem, solve_halp(problem))


@pytest.mark.parametrize("n", [3, 16, 40, 500])
def test_few_rows_are_solved_too(rng, n):
    X = rng.standard_normal((n, 5)).astype(np.float32)
    problem = make_problem(X, np.arange(n) % 2, "logistic", 0.1, bits=8)
    assert_solved(problem, solve_halp(problem))


def test_the_float32_twin_walks_the_same_path():
    X, y = embeddings(N, 24)
    problem = make_problem(X, y, "logistic", 1 / N, bits=8)
    packed, plain = solve_halp(problem), solve_halp(problem, float32=True)
    assert_solved(problem, plain)
    assert (plain.solver, packed.solver) == ("svrg-float32", "halp")
    assert abs(plain.n_iter - packed.n_iter) <= 2
    assert_solved(problem, solve_halp(replace(problem, packed=None), float32=True))


def test_the_gap_estimate_is_near_the_gap():
    X, y = embeddings(N, 24)
    problem = make_problem(X, y, "logistic", 1 / N, bits=8)
    best, _ = optimum(problem)
    for step in solve_halp(problem).trace[3:]:
        assert 0.2 <= step.gap_estimate / (step.objective - best) <= 50


@pytest.mark.parametrize("loss", ["logistic", "softmax"])
def test_coefficients_have_the_same_bits_for_any_threads_and_instruction_set(loss):
    X, y = embeddings(3000, 40, n_classes=2 if loss == "logistic" else 3)
    results = set()
    for isa in kernels.available()[1:]:
        for n_threads in (1, 2, 3):
            with kernels.use(isa):
                problem = make_problem(X, y, loss, 1e-3, bits=8, n_threads=n_threads)
                results.add(solve_halp(problem, tol=1e-6).coef.tobytes())
    assert len(results) == 1


def test_another_seed_gives_other_steps_and_the_same_answer():
    X, y = embeddings(N, 24)
    problem = make_problem(X, y, "logistic", 1 / N, bits=8)
    first, second = solve_halp(problem, seed=1), solve_halp(problem, seed=2)
    assert (first.coef != second.coef).any()
    assert_solved(problem, second)
    assert (solve_halp(problem, seed=1).coef == first.coef).all()


def test_a_grid_that_starts_far_too_small_doubles_until_it_fits(monkeypatch):
    doublings = []
    run = native.halp_epoch
    monkeypatch.setattr(native, "halp_epoch", lambda *a, **k: _recorded(doublings, run(*a, **k)))
    X, y = embeddings(N, 24)
    problem = make_problem(X, y, "logistic", 1 / N, bits=8)
    solve_halp(problem)
    by_default = max(doublings)
    assert by_default >= 1  # the range of a default run is found by doubling
    monkeypatch.setattr(halp_module, "_RANGE", 1e-6)
    doublings.clear()
    assert_solved(problem, solve_halp(problem))
    assert min(doublings) >= 15


def _recorded(doublings, result):
    doublings.append(result.doublings)
    return result


@pytest.mark.parametrize("noise", [0.8, 1e6])
def test_steps_that_are_far_too_long_are_refused_and_shortened(monkeypatch, noise):
    monkeypatch.setattr(halp_pace, "_BOLDNESS", 64.0)
    monkeypatch.setattr(halp_pace, "_NOISE", noise)
    monkeypatch.setattr(halp_pace, "_STABLE", 1e6)
    X, y = embeddings(N, 24)
    problem = make_problem(X, y, "logistic", 1 / N, bits=8)
    assert_solved(problem, solve_halp(problem))


def test_a_hard_problem_ends_in_a_stated_status_with_the_best_point(rng):
    X, y = embeddings(2000, 60, power=3.0)
    problem = make_problem(X, y, "logistic", 1e-9, bits=4)
    result = solve_halp(problem, max_iter=4, tol=1e-12)
    assert result.status is Status.ITERATION_LIMIT
    assert_never_rises(result)
    assert result.objective < result.trace[0].objective


def with_rare_columns(count, n=9000):
    """Columns that vary in the float rows only: the codes were made before."""
    X, y = embeddings(n, 10)
    X[:, :count] = 0.0
    problem = make_problem(X, y, "logistic", 1e-3, bits=8)
    X[: n // 2, :count] = y[: n // 2, None] * np.random.default_rng(0).random((n // 2, count))
    return problem


def test_a_column_that_the_codes_do_not_show_is_solved_by_the_exact_passes():
    problem = with_rare_columns(1)
    assert_solved(problem, solve_halp(problem))


def test_many_columns_that_the_codes_do_not_show_end_in_a_stated_status():
    problem = with_rare_columns(8)
    result = solve_halp(problem, max_iter=20)
    assert result.status is Status.ITERATION_LIMIT
    assert relative_gap(problem, result) > 1e-9
    assert_never_rises(result)


def test_starting_at_the_optimum_takes_no_time():
    X, y = embeddings(N, 24)
    problem = make_problem(X, y, "logistic", 1 / N, bits=8)
    first = solve_halp(problem)
    again = solve_halp(problem, start=first.coef)
    assert again.n_iter <= 2
    assert_solved(problem, again)


def test_it_needs_packed_rows():
    X, y = embeddings(100, 4)
    with pytest.raises(ParameterError, match="needs packed rows"):
        solve_halp(make_problem(X, y, "logistic", 1e-3))


def test_ctrl_c_ends_an_epoch_within_a_second():
    X, y = embeddings(N, 64)
    problem = make_problem(X, y, "logistic", 1 / N, bits=8)
    order = np.tile(np.arange(-(-N // 16)), (60_000, 1))  # tens of seconds
    model = EpochModel(
        shift=np.zeros(64), gradient=np.ones((1, 65)), penalty=np.ones(64), step=np.full(65, 1e-9)
    )
    rows = EpochRows(loss="logistic", phi=np.zeros((1, N)), y=problem.y, weights=None)
    schedule = EpochSchedule(order=order, n_batches=100, tail=1, momentum=0.0, batch_weight=100 / N)
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    start = time.perf_counter()
    try:
        with pytest.raises(KeyboardInterrupt):
            native.halp_epoch(
                problem.packed.codes, problem.packed.layout, rows, model, np.ones(1), schedule, n_threads=2
            )
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    assert time.perf_counter() - start < 1.2


# ---- limits


class Batches:
    """A ridge problem as a finite sum whose components are the minibatches of a schedule."""

    def __init__(self, X, y, penalty, schedule):
        self._X, self._y, self._penalty = X.astype(np.float64), y, penalty
        slabs = [schedule.rows_of(step, len(X)) for step in range(schedule.n_batches)]
        self._rows = [np.concatenate(rows) for rows in slabs]
        self.n_components = schedule.n_batches

    def component_gradient(self, index, weights):
        rows = self._rows[index]
        X = self._X[rows]
        factor = self.n_components / len(self._X)
        return factor * X.T @ (X @ weights - self._y[rows]) + self._penalty * weights

    def gradient(self, weights):
        return self._X.T @ (self._X @ weights - self._y) / len(self._X) + self._penalty * weights

    def objective(self, weights):
        residual = self._X @ weights - self._y
        return 0.5 * residual @ residual / len(residual) + 0.5 * self._penalty * weights @ weights


def ridge(rng, n_batches):
    n, d, penalty = 320, 9, 0.05
    X = rng.standard_normal((n, d)).astype(np.float32)
    y = X @ rng.standard_normal(d) + rng.standard_normal(n)
    order = np.array([permutation(3, n // 16)] * 4)
    schedule = EpochSchedule(
        order=order, n_batches=n_batches, tail=1, momentum=0.0, batch_weight=n_batches / n
    )
    start = rng.standard_normal(d)
    problem = Batches(X, y, penalty, schedule)
    model = EpochModel(
        shift=np.zeros(d),
        gradient=np.append(problem.gradient(start), 0.0)[None],
        penalty=np.full(d, penalty),
        step=np.append(np.full(d, 0.02), 0.0),
    )
    rows = EpochRows(loss="squared", phi=(X.astype(float) @ start)[None], y=y[None], weights=None)
    return X, rows, model, schedule, problem, start


@pytest.mark.parametrize("n_batches", [1, 5, 20])
def test_without_grid_and_momentum_an_epoch_is_textbook_svrg(rng, n_batches):
    X, rows, model, schedule, problem, start = ridge(rng, n_batches)
    epoch = native.svrg_epoch(X, np.ones(9), rows, model, schedule)
    draws = [EpochDraws(indices=np.tile(np.arange(n_batches), 4))]
    expected = svrg(problem, start, draws, step=0.02).weights - start
    np.testing.assert_allclose(epoch.average[0, :-1], expected, rtol=2e-5)


def test_one_full_batch_step_is_gradient_descent(rng):
    X, rows, model, schedule, _, _ = ridge(rng, 1)
    schedule = replace(schedule, order=schedule.order[:1])
    epoch = native.svrg_epoch(X, np.ones(9), rows, model, schedule)
    expected = -np.float32(0.02) * model.gradient[0, :-1].astype(np.float32)
    np.testing.assert_array_equal(epoch.average[0, :-1], expected)


def test_the_grid_is_unbiased_around_the_path_without_grid(rng):
    X, rows, model, schedule, problem, start = ridge(rng, 20)
    from mezzotint.packed import pack

    packed = pack(X, bits=8, n_jobs=1)
    unit = packed.scale
    model = replace(
        model,
        shift=-packed.offset / unit - 128,
        gradient=model.gradient / np.append(unit, 1.0),
        penalty=model.penalty / unit**2,
        step=np.append(0.02 * unit**2, 0.0),
    )
    quantum = np.array([np.abs(model.gradient[0, :-1] * model.step[:-1]).max() / 4])
    draws = [EpochDraws(indices=np.tile(np.arange(20), 4))]
    path = svrg(problem, start, draws, step=0.02).weights - start
    ends = np.array(
        [
            native.halp_epoch(
                packed.codes, packed.layout, rows, model, quantum, replace(schedule, seed=s)
            ).average[0, :-1]
            for s in range(2000)
        ]
    )
    ends /= unit
    error = ends.mean(axis=0) - path
    spread = ends.std(axis=0) / np.sqrt(len(ends))
    rounding_of_data = 0.01 * np.abs(path).max()
    assert (spread > 0).all()
    assert (np.abs(error) <= 5 * spread + rounding_of_data).all()
