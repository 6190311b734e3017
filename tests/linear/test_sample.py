"""Row samples beside interleaved folds. Caught: candidates taken at a fixed stride, all of weight zero."""

import numpy as np
import pytest
from tests.linear.problems import make_problem

from mezzotint.linear import LogisticRegression, Status, sample
from mezzotint.linear.sample import candidate_rows, draw_by_curvature, draw_sample, thinned
from mezzotint.packed import pack

# Where strides met folds: n, number of folds, fold, and whether it is trained on or left out.
FOLDS = [(540_000, 5, 0, False), (525_888, 5, 1, True), (132_672, 2, 1, True), (132_672, 2, 0, False)]


@pytest.fixture
def few_candidates(monkeypatch):
    monkeypatch.setattr(sample, "_MAX_CANDIDATES", 64)


def interleaved(n, stride, block=1):
    """A problem in which one of `stride` blocks of rows counts."""
    X = np.arange(2.0 * n).reshape(n, 2) % 17
    weights = (np.arange(n) // block % stride == stride // 2).astype(np.float64)
    return make_problem(X, np.arange(n) % 2, "logistic", 1.0, bits=8, weights=weights)


@pytest.mark.parametrize(("n", "m", "fold", "within"), FOLDS)
@pytest.mark.parametrize("C", [1.0, 1e4])
def test_an_interleaved_fold_is_solved_within_its_bound(rng, n, m, fold, within, C):
    X = rng.standard_normal((n, 4)).astype(np.float32)
    y = 5 * (X[:, 0] - X[:, 1]) + 0.1 * rng.logistic(size=n) > 0
    keep = (np.arange(n) % m == fold) == within
    result = LogisticRegression(C=C).fit(X, y, sample_weight=keep).result_
    best = LogisticRegression(C=C, bits=32, tol=1e-12).fit(X[keep], y[keep]).result_
    assert result.status is Status.CONVERGED
    assert best.objective <= result.objective * (1 + 1e-15)
    assert result.objective - best.objective <= result.gap_bound
    assert result.objective - best.objective <= 1e-8 * result.objective


def test_a_path_of_penalties_fits_on_an_interleaved_fold(rng):
    n = 540_000
    X = rng.standard_normal((n, 4)).astype(np.float32)
    y = 5 * (X[:, 0] - X[:, 1]) + rng.logistic(size=n) > 0
    path = LogisticRegression().path(X, y, [1e-3, 10.0], sample_weight=np.arange(n) % 5 == 0)
    assert [result.status for result in path.results] == [Status.CONVERGED] * 2


@pytest.mark.parametrize("block", [1, 16])
def test_candidates_have_positive_weight_whatever_the_stride(few_candidates, block):
    for stride in range(2, 65):
        problem = interleaved(64 * 64, stride, block)
        index = candidate_rows(problem, 0)
        assert len(index) == min(64, np.count_nonzero(problem.weights))
        assert problem.weights[index].all()
        assert (np.diff(index) > 0).all()


@pytest.mark.parametrize("block", [1, 16])
def test_rows_drawn_by_curvature_have_positive_weight_and_sum_to_the_total(few_candidates, block):
    for stride in range(2, 65):
        problem = interleaved(64 * 64, stride, block)
        index = candidate_rows(problem, 1)
        curvature = 1e-3 + np.arange(len(index)) % 5
        drawn = draw_by_curvature(problem, index, curvature, 16, 1)
        assert problem.weights[drawn.index].all()
        assert np.isfinite(drawn.weights).all()
        assert (drawn.weights > 0).all()
        # Estimates a mean over the candidates: of the curvature within what systematic draws leave out.
        mean = drawn.weights @ curvature[np.searchsorted(index, drawn.index)] / drawn.total
        assert mean == pytest.approx(curvature.mean(), rel=0.25)


@pytest.mark.parametrize("block", [1, 16])
def test_a_thinned_problem_keeps_rows_that_count(block):
    for stride in range(2, 65):
        problem = interleaved(64 * 64, stride, block)
        small = thinned(problem, stride, 0)
        groups = problem.weights.reshape(-1, 16).max(axis=1) > 0
        assert small.n_rows == 16 * -(-np.count_nonzero(groups) // stride)
        assert (small.weights.reshape(-1, 16).max(axis=1) > 0).all()


def test_thinned_codes_are_those_of_the_rows_that_are_kept(rng):
    X = rng.standard_normal((1000, 3)).astype(np.float32)
    weights = (np.arange(1000) % 48 < 3).astype(np.float64)
    problem = make_problem(X, X[:, 0] > 0, "logistic", 1.0, bits=8, weights=weights)
    small = thinned(problem, 4, 3)
    floats = thinned(make_problem(X, X[:, 0] > 0, "logistic", 1.0, weights=weights), 4, 3)
    np.testing.assert_array_equal(small.y, floats.y)
    np.testing.assert_array_equal(small.weights, floats.weights)
    decoded = pack(X, bits=8).unpack()
    rows = floats.source.block(0, floats.n_rows)
    at = [int(np.flatnonzero((row == X).all(axis=1))[0]) for row in rows]
    np.testing.assert_array_equal(small.packed.unpack(), decoded[at])


def test_a_sample_of_a_fold_leaves_out_rows_of_weight_zero():
    for stride in range(2, 65):
        problem = interleaved(64 * 64, stride)
        drawn = draw_sample(problem, 20, 0)
        assert problem.weights[drawn.index].all()
        assert drawn.total == len(drawn.index) == 20
