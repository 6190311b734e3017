"""Refetching: caught 0.99 of the radius, signed weights in it, no allowance for rounding, labels left out.

No side of the hinge that is called certain may be wrong: checked in exact arithmetic over all corners.
"""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from mezzotint.errors import DataError
from mezzotint.linear.textbook_descent import Schedule
from mezzotint.linear.textbook_refetch import SupportVectors, hinge_sides, margin_radius, refetch_svm
from mezzotint.linear.textbook_zipml import DrawnSamples, uniform_columns


def exact_slack(row, label, weights):
    """1 - b a.x without rounding."""
    terms = (Fraction(a) * Fraction(x) for a, x in zip(row.tolist(), weights.tolist(), strict=True))
    return 1 - int(label) * sum(terms)


def corners(row, widths):
    """All rows whose entries are off by minus, none or all of their column's width."""
    offsets = np.array(list(itertools.product((-1, 0, 1), repeat=len(row))))
    return row + offsets * widths


def test_no_certain_side_is_wrong_at_any_corner(rng):
    decided = 0
    for _ in range(60):
        row, weights, label = rng.standard_normal(4), 3 * rng.standard_normal(4), rng.choice([-1, 1])
        if rng.random() < 0.5:  # put the row a hair's breadth from the hinge
            weights *= label / (row @ weights) * (1 + rng.choice([-1, 0, 1]) * 10.0 ** rng.uniform(-16, -1))
        widths = np.abs(rng.standard_normal(4)) * 10.0 ** rng.uniform(-16, 0)
        low = corners(row, widths)
        sides = hinge_sides(label * (low @ weights), margin_radius(low, widths, weights))
        truth = np.sign(exact_slack(row, label, weights))
        assert np.isin(sides, (0, int(truth))).all()
        decided += np.count_nonzero(sides)
    assert decided > 1000


def test_the_bound_is_attained_by_a_corner(rng):
    row, weights, widths = rng.standard_normal(6), rng.standard_normal(6), np.abs(rng.standard_normal(6))
    low = (row + np.sign(weights) * widths)[None]
    radius = margin_radius(low, widths, weights)[0]
    assert abs((low[0] - row) @ weights) == pytest.approx(radius, rel=1e-11)
    assert radius == pytest.approx(np.abs(weights) @ widths, rel=1e-11)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_no_draw_of_a_data_set_is_on_the_wrong_side(bits, rng):
    rows = rng.standard_normal((300, 8))
    labels = np.where(rng.random(300) < 0.4, 1.0, -1.0)
    levels = uniform_columns(rows, bits)
    widths = np.array([np.diff(table).max() for table in levels.tables])
    for copy in range(5):
        low = DrawnSamples.draw(rows, levels, n_draws=1, copy=copy).mean
        machine = SupportVectors(rows=rows, labels=labels, low=low, widths=widths)
        weights = rng.standard_normal(8) * 2.0**-copy
        sides, _ = machine.sides(np.arange(300), weights)
        truth = [int(np.sign(exact_slack(row, b, weights))) for row, b in zip(rows, labels, strict=True)]
        assert sides.tolist() == truth


def problem(rng, widths):
    """150 rows in 5 columns, low-precision rows as far off as the widths allow."""
    rows = rng.standard_normal((150, 5))
    labels = np.where(rows[:, 0] + 0.5 * rng.standard_normal(150) > 0, 1.0, -1.0)
    low = rows + rng.uniform(-1, 1, rows.shape) * widths
    return SupportVectors(rows=rows, labels=labels, low=low, widths=np.full(5, widths), penalty=1e-2)


def test_exact_rows_train_as_floats_and_fetch_nothing(rng):
    machine = problem(rng, 0.0)
    run = refetch_svm(machine, Schedule(step=0.5, epochs=10))
    weights = np.zeros(5)
    assert run.fraction == 0.0
    assert run.descent.objectives[0] == machine.objective(weights) == 1.0
    assert run.descent.last < 0.5


def test_where_nothing_is_certain_every_row_is_fetched_and_the_sides_are_those_of_floats(rng):
    vague = problem(rng, 1e6)
    run = refetch_svm(vague, Schedule(step=0.5, epochs=5))
    assert run.refetched[1:].tolist() == [1.0] * 4
    sides, _ = vague.sides(np.arange(150), run.descent.weights)
    slack = 1 - vague.labels * (vague.rows @ run.descent.weights)
    assert np.array_equal(sides, np.sign(slack))


def test_at_zero_weights_every_side_is_certain(rng):
    assert refetch_svm(problem(rng, 1e6), Schedule(step=0.5, epochs=1, batch=150)).fraction == 0.0


def test_only_the_rows_near_the_hinge_are_fetched(rng):
    machine = problem(rng, 0.05)
    weights = rng.standard_normal(5)
    _, unsure = machine.sides(np.arange(150), weights)
    slack = np.abs(1 - machine.labels * (machine.rows @ weights))
    radius = 0.05 * np.abs(weights).sum()
    assert 0 < unsure.sum() < 150
    assert (slack[unsure] <= 2 * radius * (1 + 1e-9)).all()
    assert unsure[slack == slack.min()].all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.zeros(2)}, "-1 or 1"),
        ({"low": np.ones((2, 1))}, "farther from its value"),
        ({"low": np.ones((3, 1))}, "shape"),
    ],
)
def test_machines_that_cannot_be_trusted_are_refused(change, message):
    good = {
        "rows": np.zeros((2, 1)),
        "labels": np.ones(2),
        "low": np.zeros((2, 1)),
        "widths": np.full(1, 0.5),
    }
    with pytest.raises(DataError, match=message):
        SupportVectors(**good | change)
