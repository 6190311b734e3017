"""The script behind the modes page: caught a picture with random identifiers, a correction of the wrong sign.

Also made and seen to fail: nearest codes that were floors, copies in turn that all held the same draws.
"""

import pathlib
import runpy

import numpy as np
import pytest

from mezzotint.linear import Ridge, ZipML

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(DOCS / "measure_modes.py"))


@pytest.fixture(scope="module")
def data(script):
    return script["synthetic"](3_000)


def test_the_picture_is_the_same_bytes_whenever_the_numbers_are(script, tmp_path):
    pytest.importorskip("matplotlib")
    pictures = []
    for name in ("one.svg", "two.svg"):
        left, right = (
            {mode: [np.full(3, 1.0 + k) for k in range(len(at))] for mode in "abc"}
            for at in (script["DIGITS_BITS"], script["ROWS"])
        )
        script["draw"](left, right, tmp_path / name)
        pictures.append((tmp_path / name).read_bytes())
    assert pictures[0] == pictures[1]


def test_the_picture_in_the_docs_is_small_and_shows_all_modes():
    text = (DOCS / "modes.svg").read_text()
    assert len(text) < 60_000
    assert all(name in text for name in ("nearest codes, exact", "naive: one random draw", "two draws"))


def test_nearest_codes_are_within_half_a_step_and_random_ones_within_a_step(script, data):
    X, _ = data
    step = np.ptp(X, axis=0) / 15
    for seed, least, most in ((None, 0.0, 0.5), (0, 0.5, 1.0)):
        error = np.abs(script["one_code"](X, 4, seed).unpack(dtype=np.float64) - X)
        assert (error <= most * step * (1 + 1e-9)).all()
        assert (error.max(axis=0) > least * step).all()


def test_the_minimum_of_a_copy_is_where_the_descent_ends(script, data):
    X, y = data
    packed = script["two_draws"](X, 5, 0)
    w, b = script["own_minimum"](packed, y)
    model = Ridge(alpha=1e-3 * len(y), solver=ZipML(halving=1.0)).fit(packed, y)
    biased = Ridge(alpha=1e-3 * len(y)).fit(packed, y)
    assert np.abs(w - model.coef_).max() < 0.2 * np.abs(w - biased.coef_).max()
    assert abs(b - model.intercept_) < 0.01


def test_copies_in_turn_hold_different_draws(script, data):
    X, y = data
    exact = Ridge(alpha=1e-3 * len(y)).fit(X, y).coef_
    alone = script["fitted"](script["two_draws"](X, 4, 0), y, solver="zipml")[0]
    turn = script["in_turn"](X, y, 4, 0)[0]
    assert np.linalg.norm(turn - exact) < 0.7 * np.linalg.norm(alone - exact)
