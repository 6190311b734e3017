"""The reference optimum and the exact gap that the suite is judged by."""

import numpy as np
import pytest
from benchmarks.problems import LinearProblem, embedding_problem, weighted
from scipy.optimize import minimize

from benchmarks import reference

LOSSES = ["logistic", "squared", "softmax", "squared_hinge", "squared_epsilon_insensitive"]


def small(loss: str) -> LinearProblem:
    return embedding_problem(300, 6, loss, classes=3, decay=0.3, strength=0.5, scale=2.0, epsilon=1.0)


def objective(data: LinearProblem, flat: np.ndarray) -> float:
    coef = flat.reshape(data.n_outputs, -1)
    phi = coef[:, :-1] @ data.X.T.astype(float) + coef[:, -1:]
    if data.loss == "squared_hinge":
        signs = np.where(data.y == np.arange(3)[:, None], 1, -1)
        losses = 0.5 * (np.maximum(0, 1 - signs * phi) ** 2).sum(axis=0)
    elif data.loss == "squared_epsilon_insensitive":
        losses = 0.5 * np.maximum(0, np.abs(phi[0] - data.y) - data.epsilon) ** 2
    elif data.loss == "squared":
        losses = 0.5 * (phi[0] - data.y) ** 2
    elif data.loss == "logistic":
        losses = np.logaddexp(0, phi[0]) - data.y * phi[0]
    else:
        losses = np.log(np.exp(phi).sum(axis=0)) - phi[data.y, np.arange(len(data.y))]
    weights = np.ones(len(data.y)) if data.weights is None else data.weights
    return weights @ losses / weights.sum() + data.penalty / 2 * (coef[:, :-1] ** 2).sum()


@pytest.mark.parametrize("loss", LOSSES)
def test_optimum_is_the_one_a_general_optimiser_finds(loss):
    data = small(loss)
    best = reference.optimum(data, cache=False)
    found = minimize(lambda flat: objective(data, flat), np.zeros(best.coef.size), tol=1e-12)
    assert best.value == pytest.approx(objective(data, best.coef.ravel()), rel=1e-13)
    assert best.value <= found.fun
    assert best.value == pytest.approx(found.fun, rel=1e-8)
    assert best.decrement <= 1e-25 * best.value


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("size", [1.0, 1e-2, 1e-4])
def test_gap_equals_the_difference_of_objectives(loss, size, rng):
    data = small(loss)
    best = reference.optimum(data, cache=False)
    coef = best.coef + size * rng.standard_normal(best.coef.shape)
    difference = objective(data, coef.ravel()) - best.value
    assert reference.gap(data, best, coef) == pytest.approx(difference, rel=1e-5, abs=1e-14)


def test_gap_stays_quadratic_far_below_the_rounding_error_of_the_objective(rng):
    data = small("softmax")
    best = reference.optimum(data, cache=False)
    direction = rng.standard_normal(best.coef.shape)
    gaps = [reference.gap(data, best, best.coef + size * direction) for size in (1e-6, 1e-8, 1e-10)]
    assert gaps[1] == pytest.approx(gaps[0] * 1e-4, rel=1e-3)
    assert gaps[2] == pytest.approx(gaps[0] * 1e-8, rel=1e-2)


def test_wide_and_tall_problems_agree():
    wide = embedding_problem(40, 60, strength=0.1)
    tall = reference._newton(wide, np.zeros((1, 61)), polish=True)
    assert reference.gap(wide, tall, reference.optimum(wide, cache=False).coef) <= 1e-25


def test_rows_of_weight_zero_do_not_count():
    data = weighted(small("logistic"))
    best = reference.optimum(data, cache=False)
    inside = data.weights > 0
    part = LinearProblem(
        name="part", loss="logistic", X=data.X[inside], y=data.y[inside], strength=data.strength,
        weights=data.weights[inside],
    )  # fmt: skip
    assert reference.gap(part, reference.optimum(part, cache=False), best.coef) <= 1e-25


def test_optimum_is_cached(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    data = small("logistic")
    first = reference.optimum(data)
    monkeypatch.setattr(reference, "_solve", None)
    assert np.array_equal(reference.optimum(data).coef, first.coef)
    assert len(list(tmp_path.glob("*/*.npz"))) == 1
