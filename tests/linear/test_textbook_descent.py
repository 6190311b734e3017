"""The loop under the ZipML figures: caught a step that does not fall, a row left out, a ball not kept."""

import numpy as np
import pytest

from mezzotint.errors import ParameterError
from mezzotint.linear.textbook_descent import Descent, Schedule, descend, tune


def test_every_epoch_visits_every_row_once_in_another_order():
    seen = []

    def gradient(weights, rows, epoch):
        seen.append((epoch, rows.tolist()))
        return np.zeros_like(weights)

    descend(gradient, lambda _: 0.0, 10, np.zeros(1), Schedule(step=1.0, epochs=3, batch=4))
    orders = [[i for epoch, rows in seen if epoch == k for i in rows] for k in range(3)]
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert orders[0] != orders[1]
    assert [len(rows) for epoch, rows in seen if epoch == 0] == [4, 4, 2]


def test_the_step_of_epoch_k_is_alpha_over_k():
    schedule = Schedule(step=0.6, epochs=3, batch=5)
    run = descend(lambda *_: np.ones(1), lambda x: float(x[0]), 10, np.zeros(1), schedule)
    assert run.objectives == pytest.approx([0, -1.2, -1.8, -2.2])


def test_iterates_stay_in_the_ball():
    schedule = Schedule(step=1.0, epochs=2, batch=1)
    run = descend(lambda *_: np.array([-3.0, -4.0]), np.linalg.norm, 7, np.zeros(2), schedule, radius=2.0)
    assert run.objectives.max() <= 2.0 + 1e-15
    assert run.weights == pytest.approx([1.2, 1.6])


def test_a_diverging_run_ends_at_infinity_and_is_not_chosen():
    def run(step):
        schedule = Schedule(step=step, epochs=40, batch=1)
        return descend(lambda x, *_: 2 * x**3, lambda x: float(x @ x), 9, np.ones(1), schedule).last

    assert run(50.0) == np.inf
    assert tune(run, [50.0, 0.1]) == 0.1


@pytest.mark.parametrize("wrong", [{"step": 0.0}, {"step": 1.0, "epochs": 0}, {"step": 1.0, "batch": 0}])
def test_a_schedule_outside_its_range_is_refused(wrong):
    with pytest.raises(ParameterError):
        Schedule(**wrong)


def test_the_last_objective_is_that_of_the_end():
    assert Descent(weights=np.zeros(1), objectives=np.array([3.0, 2.0])).last == 2.0
