"""Factors against dense solves. Caught: what was added to a singular matrix left out of what it hides."""

import numpy as np
import pytest

from mezzotint.linear.factors import (
    Added,
    CentredRows,
    CholeskyFactors,
    CholeskyGrams,
    NotFinite,
    WoodburyGrams,
    cholesky_with_jitter,
    factor_of,
)
from mezzotint.linear.preconditioner import SampleCurvature
from mezzotint.packed import as_source

FLOAT64 = np.dtype(np.float64)


def grams(rows, penalty):
    """Both kinds of factors of the same rows, whichever pays."""
    many = CholeskyGrams(CentredRows(as_source(rows), None, FLOAT64, keep=True), penalty, 1)
    return {"Cholesky": many, "Woodbury": WoodburyGrams(rows, penalty, None, 1)}


def dense(rows, omega, penalty, *, border):
    """G with the intercept's column eliminated, in plain NumPy."""
    g = (rows * omega[:, None]).T @ rows + np.diag(np.broadcast_to(penalty, rows.shape[1]))
    m = rows.T @ omega
    return g - np.outer(m, m) / omega.sum() if border else g


@pytest.mark.parametrize("kind", ["Cholesky", "Woodbury"])
@pytest.mark.parametrize("shape", [(60, 9), (12, 30), (20, 20)])
@pytest.mark.parametrize("border", [True, False])
@pytest.mark.parametrize("vector", [True, False])
def test_factors_solve_what_the_dense_matrix_solves(rng, kind, shape, border, vector):
    rows, omega = rng.standard_normal(shape), rng.uniform(0.1, 2.0, (2, shape[0]))
    penalty = 10.0 ** rng.uniform(-2, 1, shape[1]) if vector else 0.3
    beta = omega.sum(axis=1) if border else None
    factors = grams(rows, penalty)[kind].factor(omega, beta)
    r = rng.standard_normal((4, shape[1]))  # two outputs share a factor
    got = factors.solve(r)
    for k, of in enumerate(factor_of(4, 2)):
        expected = np.linalg.solve(dense(rows, omega[of], penalty, border=border), r[k])
        np.testing.assert_allclose(got[k], expected, rtol=0, atol=1e-9 * np.abs(expected).max())
    np.testing.assert_allclose(factors.m, omega @ rows if border else 0.0 * factors.m, rtol=1e-12, atol=1e-12)
    assert factors.is_exact


@pytest.mark.parametrize("shape", [(60, 9), (12, 30)])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("vector", [True, False])
def test_a_curvature_of_all_rows_solves_with_the_bordered_hessian(rng, shape, fit_intercept, vector):
    X, weights = rng.standard_normal(shape) + 3.0, rng.integers(1, 4, shape[0]).astype(np.float64)
    curvature = rng.uniform(0.1, 1.0, (2, shape[0]))
    penalty = 10.0 ** rng.uniform(-2, 1, shape[1]) if vector else 0.3
    made = SampleCurvature(
        as_source(X), weights, weights.sum(), penalty, fit_intercept=fit_intercept, held_out=None,
        coupled=False, exact=True, n_threads=1,
    )  # fmt: skip
    assert made.build(curvature) == 2
    r = rng.standard_normal((2, shape[1] + 1))
    got = made.solve(r)
    design = np.column_stack([X, np.ones(len(X))])
    for k in range(2):
        hessian = (design * (curvature[k] * weights / weights.sum())[:, None]).T @ design
        hessian[:-1, :-1] += np.diag(np.broadcast_to(penalty, shape[1]))
        if fit_intercept:
            expected = np.linalg.solve(hessian, r[k])
        else:
            expected = np.append(np.linalg.solve(hessian[:-1, :-1], r[k, :-1]), 0.0)
        np.testing.assert_allclose(got[k], expected, rtol=0, atol=1e-9 * np.abs(expected).max())
    assert made.is_exact


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_matrix_that_is_not_finite_is_refused(value, dtype):
    matrix = np.eye(5, dtype=dtype)
    matrix[3, 1] = matrix[1, 3] = value
    with pytest.raises(NotFinite):
        cholesky_with_jitter(matrix, 1)


@pytest.mark.parametrize("at", [(2, 2), (4, 4)])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_factors_of_rows_that_are_not_finite_are_refused(rng, at, value):
    rows = rng.standard_normal((8, 8))
    rows[at] = value
    for made in (lambda: grams(rows, 1.0)["Cholesky"], lambda: WoodburyGrams(rows, 1.0, None, 1)):
        with np.errstate(invalid="ignore"), pytest.raises(NotFinite):
            made().factor(np.ones((1, 8)), None)


def test_values_whose_squares_overflow_are_refused(rng):
    rows = (1e30 * rng.standard_normal((50, 5))).astype(np.float32)
    source = CentredRows(as_source(rows), None, np.dtype(np.float32), keep=True)
    with np.errstate(over="ignore", invalid="ignore"), pytest.raises(NotFinite):
        CholeskyGrams(source, 1.0, 1).factor(np.ones((1, 50)), None)


@pytest.mark.parametrize("kind", ["Cholesky", "Woodbury"])
@pytest.mark.parametrize("border", [True, False])
def test_a_column_without_curvature_leaves_the_others_alone(rng, kind, border):
    rows, omega = rng.standard_normal((20, 6)), rng.uniform(0.5, 1.0, (1, 20))
    rows[:, 3] = 0.0
    penalty = np.array([0.1, 0.1, 0.1, 0.0, 0.1, 0.1])
    factors = grams(rows, penalty)[kind].factor(omega, omega.sum(axis=1) if border else None)
    r = rng.standard_normal((1, 6))
    r[0, 3] = 0.0
    live = np.array([0, 1, 2, 4, 5])
    expected = np.linalg.solve(dense(rows, omega[0], penalty, border=border)[np.ix_(live, live)], r[0, live])
    got = factors.solve(r)[0]
    np.testing.assert_allclose(got[live], expected, rtol=0, atol=1e-9 * np.abs(expected).max())
    assert got[3] == 0.0


def test_a_constant_column_beside_an_intercept_has_no_curvature(rng):
    rows, omega = rng.standard_normal((50, 4)), rng.uniform(0.0, 1.0, (1, 50))
    rows[:, 2] = 0.7
    factors = grams(rows, 0.0)["Cholesky"].factor(omega, omega.sum(axis=1))
    r = np.ones((1, 4))
    r[0, 2] = 0.0
    assert np.abs(factors.solve(r)[0, 2]) <= 1e-12
    assert np.abs(factors.solve(r)).max() < 10.0


@pytest.mark.parametrize("left", [1e-3, 1e-7, 1e-10])
def test_what_was_added_hides_at_most_what_is_said(rng, left):
    for _ in range(20):
        q = np.linalg.qr(rng.standard_normal((6, 6)))[0]
        matrix = (q * np.array([1, 0.8, 0.5, 0.3, 0.2, left])) @ q.T
        matrix = 0.5 * (matrix + matrix.T)
        factors = CholeskyFactors(matrix[None].copy(), np.zeros((1, 6)), 1)
        r = rng.standard_normal((1, 6))
        step = factors.solve(r)
        truth = float((r @ np.linalg.solve(matrix, r.T))[0, 0])
        hidden = truth - float((r @ step.T)[0, 0])
        digits = 1e-13 * truth / left  # of the dense solve itself
        assert factors.added.hidden(step, 0.0) >= hidden - digits


def test_a_jitter_that_matters_is_named_and_hides_what_it_hides():
    v = np.array([1.0, 1.0]) / np.sqrt(2.0)
    left, jitter, r = 1e-6, 1e-4, np.array([[1.0, 1.0]])
    matrix = np.outer(v, v) * left + np.outer([v[0], -v[1]], [v[0], -v[1]])
    step = np.linalg.solve(matrix + jitter * np.eye(2), r.T).T
    hidden = float((r @ np.linalg.solve(matrix, r.T) - r @ step.T)[0, 0])
    exactly = Added(np.full((1, 1), jitter), np.zeros((1, 1))).hidden(step, left)
    assert exactly == pytest.approx(hidden, rel=1e-9)  # all curvature known: the identity of the docstring
    assert Added(np.full((1, 1), jitter), np.zeros((1, 1))).hidden(step, left / 2) > hidden


def test_where_nothing_curves_all_may_be_hidden():
    added = Added(np.array([[1e-13, 0.0]]), np.zeros((1, 2)))
    assert added.hidden(np.array([[1.0, 1.0]]), 0.0) == np.inf
    assert added.hidden(np.array([[0.0, 1.0]]), 0.0) == 0.0
    assert added.hidden(np.array([[1.0, 1.0]]), 1e-3) == pytest.approx(1e-13)


def test_a_singular_matrix_is_not_called_exact(rng):
    rows = rng.standard_normal((30, 4))
    rows[:, 3] = rows[:, 2]
    factors = grams(rows, 0.0)["Cholesky"].factor(np.ones((1, 30)), None)
    assert not factors.is_exact
    assert factors.added.amount.min() > 0
