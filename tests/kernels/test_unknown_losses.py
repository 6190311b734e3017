"""Caught: a loss of an unknown name taken for softmax or for an interval, or given the curvature bound 1."""

import dataclasses

import numpy as np
import pytest
from tests.parity import test_halp, test_zipml

from mezzotint import kernels
from mezzotint.errors import ParameterError
from mezzotint.kernels import _native, native, reference, segment_bounds
from mezzotint.kernels.reference import losses
from mezzotint.linear.halp_pace import coordinates_of
from mezzotint.linear.objective import Problem
from mezzotint.packed import ArraySource

UNKNOWN = ("hinge", "Squared", "poisson", "")
NAMES = "'logistic', 'squared', 'softmax', 'squared_hinge'"
PHI = np.random.default_rng(0).standard_normal((3, 40))
BY_MARGINS = [losses.values, losses.slopes, losses.second, losses.excess]


@pytest.mark.parametrize("loss", UNKNOWN)
@pytest.mark.parametrize("function", BY_MARGINS)
def test_equations_know_no_other_names(function, loss):
    with pytest.raises(ParameterError, match=f"loss={loss!r} is unknown; allowed: {NAMES}"):
        function(loss, PHI, np.zeros((3, 40)))


@pytest.mark.parametrize("loss", UNKNOWN)
def test_numbers_and_bounds_know_no_other_names(loss):
    for function in (losses.number_of, losses.curvature_bound):
        with pytest.raises(ParameterError, match=f"loss={loss!r} is unknown"):
            function(loss)


def row_operations(ops):
    """Every operation on rows, called with a loss."""
    x, y, c = np.ones((40, 2)), np.zeros((1, 40)), np.empty((3, 40), np.float32)
    bounds = segment_bounds(40, 2)
    segments = (0, len(bounds) - 1)
    eta = np.zeros((3, 40), np.float32)
    yield lambda loss: ops.exact_pass(x, bounds, segments, np.zeros((3, 3)), loss, y, None, PHI.copy())
    yield lambda loss: ops.curvature_rows(loss, PHI, None, y, None, c=c, second=c.copy())
    yield lambda loss: ops.line_slope(loss, PHI, None, eta, 0.5, y, None)
    yield lambda loss: ops.loss_sum(loss, PHI, y, None)


def epochs(ops):
    for make, name in ((test_halp.make_case, "halp_epoch"), (test_zipml.make_case, "zipml_epoch")):
        codes, layout, rows, *rest = make("softmax", 40, 8, 8, 3)
        run = getattr(ops, name)
        yield lambda loss, run=run, codes=codes, layout=layout, rows=rows, rest=rest: run(
            codes, layout, dataclasses.replace(rows, loss=loss), *rest
        )


@pytest.mark.parametrize("loss", UNKNOWN)
@pytest.mark.parametrize("isa", kernels.available())
def test_operations_know_no_other_names(isa, loss):
    ops = reference if isa == "reference" else native
    with kernels.use(isa):
        for call in (*row_operations(ops), *epochs(ops)):
            with pytest.raises(ValueError, match=NAMES):
                call(loss)
            call("softmax")


def test_compiled_epochs_know_no_other_numbers(monkeypatch):
    codes, layout, rows, model, quantum, schedule = test_halp.make_case("softmax", 40, 8, 8, 3)
    calls, run = [], _native.halp_epoch
    monkeypatch.setattr(_native, "halp_epoch", lambda *arguments: calls.append(arguments) or run(*arguments))
    native.halp_epoch(codes, layout, rows, model, quantum, schedule)
    for number in (-1, len(losses.LOSSES)):
        with pytest.raises(ValueError, match="unknown loss"):
            run(*calls[0][:2], number, *calls[0][3:])


def test_the_metric_of_halp_knows_no_other_names():
    problem = Problem(
        source=ArraySource(np.ones((40, 2))),
        packed=None,
        loss="poisson",
        y=np.zeros((1, 40)),
        weights=None,
        n_outputs=1,
        penalty=0.1,
        fit_intercept=True,
        n_threads=1,
    )
    with pytest.raises(ParameterError, match="loss='poisson' is unknown"):
        coordinates_of(problem, np.ones(2), 0)


@pytest.mark.parametrize("loss", losses.LOSSES)
def test_curvature_is_bounded_as_stated_and_the_bound_is_reached(loss):
    phi = np.concatenate([np.zeros((2, 1)), np.random.default_rng(1).standard_normal((2, 500))], axis=1)
    y = (
        np.tile([[-0.5], [-0.5], [-0.25], [-0.25]], 501)
        if loss == losses.PIECEWISE[1]
        else np.zeros((2, 501))
    )
    second = losses.second(loss, phi[:1] if loss == "logistic" else phi, y)
    if loss == "softmax":  # p (1 - p) of two classes, twice: the eigenvalue
        second = 2 * second * (1 - second)
    assert second.max() == pytest.approx(losses.curvature_bound(loss), rel=1e-12)
