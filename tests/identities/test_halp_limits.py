"""Limits of HALP: caught component gradients taken at the offset alone, and a centre that was not subtracted.

Both breaks were made on purpose in textbook.py and textbook_run.py and seen to fail here.
"""

import numpy as np
import pytest

from mezzotint.formats import FixedPoint
from mezzotint.linear.textbook import draw_epochs, halp, lp_sgd, lp_svrg, sgd, svrg, synthetic_regression

D, STEP = 8, 0.02


@pytest.fixture(scope="module")
def problem():
    return synthetic_regression(4, n_rows=100, n_features=D)


def draws(problem, *, steps=150, epochs=15):
    return draw_epochs(9, problem, n_features=D, steps=steps, epochs=epochs)


def gradient_descent(problem, epochs):
    weights = np.zeros(D)
    for _ in range(epochs):
        weights = weights - STEP * problem.gradient(weights)
    return weights


@pytest.mark.parametrize("option", ["I", "II"])
def test_halp_without_quantisation_is_svrg(problem, option):
    unrounded = halp(problem, np.zeros(D), draws(problem), step=STEP, bits=None, mu=1.0, option=option)
    plain = svrg(problem, np.zeros(D), draws(problem), step=STEP, option=option)
    np.testing.assert_allclose(unrounded.weights, plain.weights, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(unrounded.gradient_norms[:8], plain.gradient_norms[:8], rtol=1e-9)


@pytest.mark.parametrize(("bits", "tolerance"), [(36, 1e-9), (40, 1e-10), (48, 1e-12)])
def test_halp_with_many_bits_is_svrg(problem, bits, tolerance):
    wide = halp(problem, np.zeros(D), draws(problem, epochs=3), step=STEP, bits=bits, mu=0.2)
    plain = svrg(problem, np.zeros(D), draws(problem, epochs=3), step=STEP)
    np.testing.assert_allclose(wide.weights, plain.weights, rtol=tolerance)


def test_lp_svrg_on_a_fine_grid_is_svrg_and_lp_sgd_is_sgd(problem):
    grid = FixedPoint.spanning(bits=48, bound=2.0)
    for rounded, plain in ((lp_svrg, svrg), (lp_sgd, sgd)):
        fine = rounded(problem, np.zeros(D), draws(problem), step=STEP, grid=grid)
        exact = plain(problem, np.zeros(D), draws(problem), step=STEP)
        np.testing.assert_allclose(fine.weights, exact.weights, rtol=1e-10, atol=1e-11)


def test_svrg_with_epochs_of_one_step_is_gradient_descent_bit_for_bit(problem):
    result = svrg(problem, np.zeros(D), draws(problem, steps=1, epochs=60), step=STEP)
    assert np.array_equal(result.weights, gradient_descent(problem, 60))


def test_halp_without_quantisation_and_epochs_of_one_step_is_gradient_descent_bit_for_bit(problem):
    result = halp(problem, np.zeros(D), draws(problem, steps=1, epochs=60), step=STEP, bits=None, mu=1.0)
    assert np.array_equal(result.weights, gradient_descent(problem, 60))


def test_the_gradient_estimate_of_svrg_vanishes_at_the_optimum(problem):
    optimum = np.linalg.lstsq(problem.features, problem.targets, rcond=None)[0]
    there = svrg(problem, optimum, draws(problem, epochs=2), step=STEP)
    noisy = sgd(problem, optimum, draws(problem, epochs=2), step=STEP)
    assert there.gradient_norms.max() < 1e-13
    assert noisy.gradient_norms[1:].min() > 1e-4
