"""Visiting orders: caught lost tiles, runs that begin where they always do, minibatches of a single run.

Each was made in `mezzotint.linear.visiting`, one at a time, and seen to fail here.
"""

import numpy as np
import pytest

import mezzotint as mz
from mezzotint.linear import Ridge, ZipML
from mezzotint.linear.visiting import run_length, visiting_order
from mezzotint.random import permutation


@pytest.mark.parametrize("n_tiles", [1, 2, 7, 100, 1001])
@pytest.mark.parametrize("run", [1, 3, 16, 2000])
def test_every_tile_is_visited_once_in_every_pass(n_tiles, run):
    for number in range(20):
        order = visiting_order(5, n_tiles, run, pass_number=number)
        assert order.dtype == np.int64
        np.testing.assert_array_equal(np.sort(order), np.arange(n_tiles))


def test_runs_of_one_tile_are_a_plain_permutation():
    stream = 0x7A697064
    np.testing.assert_array_equal(
        visiting_order(3, 500, 1, pass_number=9), permutation(3, 500, step=9, stream=stream)
    )


def test_tiles_follow_each_other_in_runs_of_the_length():
    order = visiting_order(1, 1600, 16, pass_number=2)
    assert (np.diff(order) == 1).sum() >= 1600 - 101


def test_runs_begin_at_places_drawn_anew_and_in_another_order():
    orders = [visiting_order(0, 1600, 16, pass_number=number) for number in range(64)]
    breaks = [set((order[1:][np.diff(order) != 1] % 16).tolist()) - {0} for order in orders]
    starts = [next(iter(found)) if found else 0 for found in breaks]
    assert len(set(starts)) > 12  # 64 draws out of 16: on average 0.26 of them are missed
    assert len({order.tobytes() for order in orders}) == 64
    np.testing.assert_array_equal(orders[7], visiting_order(0, 1600, 16, pass_number=7))


@pytest.mark.parametrize("n_columns", [1, 20, 768, 5120, 65536])
@pytest.mark.parametrize("n_batches", [1, 5, 60, 250, 1000])
def test_a_minibatch_gathers_rows_from_four_places_at_least(n_columns, n_batches):
    run = run_length(1000, n_columns, n_batches)
    assert run == 1 or 4 * run <= 1000 // n_batches
    assert run == 1 or run * 16 * n_columns <= 2**18


def test_rows_in_the_order_of_their_labels_cost_little():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20_000, 50))
    y = X @ rng.uniform(-1, 1, 50) + rng.standard_normal(20_000)
    in_order = np.argsort(y)
    best = _loss(X, y, Ridge(alpha=1e-6).fit(X, y))
    for rows in (slice(None), in_order):
        packed = mz.pack(X[rows], bits=7, n_draws=2, keep_source=False)
        fits = [_descent(seed).fit(packed, y[rows]) for seed in range(3)]
        excess = np.mean([_loss(X, y, fit) / best - 1 for fit in fits])
        assert excess < 2e-4  # 0.7e-4 shuffled, 1.3e-4 in order; with one run a minibatch 3.2e-4


def _descent(seed):
    return Ridge(alpha=1e-6, solver=ZipML(batch_size=1024), max_iter=30, random_state=seed)


def _loss(X, y, model):
    return 0.5 * np.mean((X @ model.coef_ + model.intercept_ - y) ** 2)
