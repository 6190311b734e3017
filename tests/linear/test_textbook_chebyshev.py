"""Chebyshev gradients: caught one draw in all powers, the last draw used twice, a constant not halved.

Expectations are enumerated exactly for low degrees and tested by z-scores up to degree 15; errors of
approximation are held against the bounds of approximation theory.
"""

import itertools
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from numpy.polynomial import chebyshev

from mezzotint.errors import DataError, ParameterError
from mezzotint.linear.textbook_chebyshev import (
    Polynomial,
    chebyshev_series,
    estimate_gradient,
    fit_polynomial,
    hinge_slope,
    logistic_slope,
    power_coefficients,
)

DEGREES = range(1, 16)


def test_powers_are_those_of_exact_arithmetic(rng):
    for degree in range(16):
        series = rng.standard_normal(degree + 1)
        powers = power_coefficients(series)
        for t in (Fraction(1, 3), Fraction(-7, 8), Fraction(1)):
            values = [Fraction(1), t]
            while len(values) <= degree:
                values.append(2 * t * values[-1] - values[-2])
            exact = sum(Fraction(c) * v for c, v in zip(series.tolist(), values, strict=False))
            found = sum(Fraction(a) * t**i for i, a in enumerate(powers.tolist()))
            size = sum(abs(Fraction(a)) for a in powers.tolist())
            # Each product rounds once and so does each sum: the terms of a power are at most 2^15 |c|.
            assert abs(found - exact) <= Fraction(2) ** -52 * (size + 2**15 * (degree + 1) ** 2)


def test_the_series_of_a_polynomial_is_the_polynomial(rng):
    series = rng.standard_normal(16)
    found = chebyshev_series(lambda z: chebyshev.chebval(z / 3.0, series), 15, 3.0)
    assert found == pytest.approx(series, abs=1e-12)


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_the_estimate_is_unbiased_over_all_outcomes(degree, rng):
    polynomial = Polynomial(powers=rng.standard_normal(degree + 1), radius=2.0)
    low, high, z = -0.5, 1.5, 0.75
    p = (z - low) / (high - low)
    mean = 0.0
    for ups in itertools.product((0, 1), repeat=degree):
        margins = np.array([high if up else low for up in ups])
        mean += np.prod([p if up else 1 - p for up in ups]) * polynomial.estimate(margins)
    assert mean == pytest.approx(polynomial(np.array(z)), abs=1e-14)


@pytest.mark.parametrize("degree", DEGREES)
def test_the_gradient_is_unbiased_up_to_degree_15(degree, rng):
    trials, columns = 40_000, 3
    polynomial = fit_polynomial(partial(hinge_slope, gap=0.3), degree, 2.0)
    row, weights, label = rng.uniform(-0.8, 0.8, columns), rng.uniform(-1, 1, columns), -1.0
    width = 0.25
    lower = np.floor(row / width) * width
    share = (row - lower) / width
    draws = lower + width * (rng.random((degree + 1, trials, columns)) < share)
    margins = label * (draws[:-1] @ weights)
    estimates = label * polynomial.estimate(margins)[:, None] * draws[-1]
    together = estimate_gradient(polynomial, draws, np.full(trials, label), weights)
    assert together == pytest.approx(estimates.mean(axis=0), abs=1e-12)
    exact = label * polynomial(np.array(label * (row @ weights))) * row
    z = (together - exact) / (estimates.std(axis=0) / np.sqrt(trials))
    assert np.abs(z).max() < 4.5  # 45 normal numbers exceed it with probability 3e-4; these are fixed


@pytest.mark.parametrize("radius", [1.0, 4.0, 8.0])
def test_the_logistic_error_stays_below_the_bound_of_its_ellipse(radius):
    """A function bounded by M in the ellipse of sum of half axes rho: |f - P| <= 2 M rho^-p / (rho - 1)."""
    pole = np.pi / radius
    for degree in DEGREES:
        rho = 0.9 * (pole + np.hypot(pole, 1.0)) + 0.1
        u = rho * np.exp(2j * np.pi * np.arange(2000) / 2000)
        largest = np.abs(-1 / (1 + np.exp(radius * (u + 1 / u) / 2))).max()
        bound = 2 * largest * rho**-degree / (rho - 1)
        assert fit_polynomial(logistic_slope, degree, radius).error(logistic_slope) <= bound + 1e-12


@pytest.mark.parametrize("gap", [0.1, 0.3, 1.0])
def test_the_error_of_the_smoothed_hinge_stays_below_the_bound_of_its_variation(gap):
    """A slope of variation V: |f - P| <= 2 V / (pi (p - 1)); here V = R / gap, twice the ramp's slope."""
    slope, radius = partial(hinge_slope, gap=gap), 4.0
    errors = [fit_polynomial(slope, degree, radius).error(slope) for degree in DEGREES]
    assert all(
        e <= 2 * radius / gap / (np.pi * (p - 1)) for p, e in zip(DEGREES, errors, strict=True) if p > 1
    )
    assert errors[14] < errors[6] < errors[2]


def test_the_variance_grows_with_the_degree(rng):
    margins = 0.9 + 0.2 * rng.standard_normal((15, 50_000))
    spreads = []
    for degree in (3, 7, 11, 15):
        series = np.zeros(degree + 1)
        series[-1] = 1.0
        polynomial = Polynomial(powers=power_coefficients(series), radius=1.0)
        spreads.append(polynomial.estimate(margins[:degree]).std())
    assert all(b > 2 * a for a, b in itertools.pairwise(spreads))


def test_slopes_are_the_derivatives_of_their_losses():
    z, h = np.linspace(-5, 5, 401), 1e-5
    numeric = (np.logaddexp(0, -(z + h)) - np.logaddexp(0, -(z - h))) / (2 * h)
    assert logistic_slope(z) == pytest.approx(numeric, abs=1e-9)
    sharp = hinge_slope(z, gap=1e-3)
    assert np.array_equal(sharp[np.abs(z - 1) > 0.01], -(z < 1.0)[np.abs(z - 1) > 0.01].astype(float))


def test_what_cannot_be_used_is_refused():
    with pytest.raises(ParameterError, match="degree came as 16"):
        chebyshev_series(logistic_slope, 16, 1.0)
    with pytest.raises(ParameterError, match="radius"):
        chebyshev_series(logistic_slope, 3, 0.0)
    with pytest.raises(ParameterError, match="gap"):
        hinge_slope(np.zeros(1), gap=0.0)
    with pytest.raises(DataError, match="2 estimates came"):
        fit_polynomial(logistic_slope, 3, 1.0).estimate(np.zeros((2, 5)))
