"""Caught, each by the statements themselves: HALP whose grid is not re-scaled, float64 sold as float32.

Also caught: a fixed grid that is none, a grid of 8 bits sold as 16, SGD whose variance is reduced.
"""

import numpy as np
import pytest

from mezzotint.formats import FixedPoint
from mezzotint.linear import textbook
from mezzotint.linear.textbook import draw_epochs, halp, lp_svrg, svrg, svrg_float32, synthetic_regression
from mezzotint.reproduce import halp_convergence, reproduce


class FirstGrid:
    """Grids whose scale is that of the first epoch for ever."""

    def __init__(self):
        self.found = {}

    def spanning(self, *, bits, bound):
        return self.found.setdefault(bits, FixedPoint.spanning(bits=bits, bound=bound))


def fails(monkeypatch, **methods):
    for name, method in methods.items():
        monkeypatch.setattr(halp_convergence, name, method)
    return reproduce("halp-convergence", quick=True).failed


def begins(failed, *statements):
    assert len(failed) == len(statements), failed
    for found, statement in zip(failed, statements, strict=True):
        assert found.startswith(statement)


def test_halp_whose_grid_is_not_rescaled_is_no_halp(monkeypatch):
    monkeypatch.setattr(textbook, "FixedPoint", FirstGrid())
    failed = fails(monkeypatch)
    begins(
        failed,
        "HALP with 8 bits ends below a hundredth",
        "HALP with 8 bits ends ten orders",
        "HALP with 16 bits stays within",
        "The quantum of HALP with 8 bits falls",
    )


def test_float64_in_the_place_of_float32_has_no_floor(monkeypatch):
    failed = fails(monkeypatch, svrg_float32=svrg)
    begins(failed, "SVRG in float32 stands still", "HALP with 8 bits ends below a hundredth")


def test_float32_in_the_place_of_float64_has_one(monkeypatch):
    failed = fails(monkeypatch, svrg=svrg_float32)
    begins(failed, "SVRG in float32 stands still, and in float64 goes on", "HALP with 16 bits stays within")


def test_a_grid_that_is_none_does_not_stall(monkeypatch):
    failed = fails(monkeypatch, lp_svrg=lambda *arguments, grid, **options: svrg(*arguments, **options))
    begins(failed, "LP-SVRG, 8 bits", "LP-SVRG, 16 bits")


def test_offsets_of_too_few_bits_diverge_and_say_so(monkeypatch):
    failed = fails(monkeypatch, halp=lambda *a, bits, **options: halp(*a, bits=bits // 4, **options))
    assert any(statement.startswith("HALP with 8 bits ends below a hundredth") for statement in failed)
    assert any(statement.startswith("HALP with 16 bits stays within") for statement in failed)


def test_sgd_without_variance_does_not_stall(monkeypatch):
    begins(
        fails(monkeypatch, sgd=svrg), "SGD: stands still", "LP-SGD with 16 bits stands still where SGD does"
    )


def test_a_floor_below_the_claim_fails(monkeypatch):
    def finer(*arguments, grid, **options):
        wider = FixedPoint.spanning(bits=grid.bits + 6, bound=2.0)
        return lp_svrg(*arguments, grid=wider, **options)

    begins(fails(monkeypatch, lp_svrg=finer), "LP-SVRG, 8 bits", "LP-SVRG, 16 bits")


def test_svrg_in_float32_is_in_float32():
    """Every number of the inner loop; the weights that come out are float32 numbers."""
    problem = synthetic_regression(3, n_rows=60, n_features=4)
    draws = list(draw_epochs(3, problem, n_features=4, steps=120, epochs=12))
    found = svrg_float32(problem, np.zeros(4), draws, step=0.02)
    assert np.array_equal(found.weights, found.weights.astype(np.float32))
    x, y, w = problem.features.astype(np.float32), problem.targets.astype(np.float32), np.zeros(4, np.float32)
    for epoch in draws:
        centre, full = w, x.T @ (x @ w - y) / np.float32(60)
        for i in epoch.indices:
            change = (x[i] @ w - y[i]) * x[i] - (x[i] @ centre - y[i]) * x[i]
            w = w - np.float32(0.02) * (change + full)
    assert w.dtype == np.float32
    np.testing.assert_array_equal(found.weights, w)


def test_methods_see_the_same_rows_in_the_same_order():
    numbers = [float(row[2]) for row in reproduce("halp-convergence", quick=True).rows if row[0] == "SVRG"]
    assert numbers[0] == pytest.approx(numbers[1], rel=0.01)
