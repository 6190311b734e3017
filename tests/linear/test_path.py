"""Would catch: a path that is not the list of single fits, packs twice, or answers in another order."""

import numpy as np
import pytest

import mezzotint
from mezzotint.errors import ParameterError
from mezzotint.linear import LinearRegression, LogisticRegression, Ridge, Status
from mezzotint.linear import solve as solve_module

CS = [1.0, 1e-4, 100.0, 0.01]


@pytest.fixture
def X(rng):
    return rng.standard_normal((1200, 8)) * np.geomspace(0.5, 5, 8)


@pytest.fixture
def labels(rng, X):
    return np.argmax(X[:, :3] + rng.gumbel(size=(1200, 3)), axis=1)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("bits", [8, 4, 32])
def test_a_path_is_the_list_of_single_fits(X, labels, n_classes, bits):
    y = labels if n_classes == 3 else labels == 0
    clf = LogisticRegression(bits=bits, solver="newton", tol=1e-14)
    path = clf.path(X, y, CS)
    assert path.values.tolist() == CS
    for i, C in enumerate(CS):
        single = LogisticRegression(C=C, tol=1e-14).fit(X, y)
        np.testing.assert_allclose(path.coefs[i], single.coef_, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(path.intercepts[i], single.intercept_, rtol=1e-5, atol=1e-7)
        assert path.results[i].status in (Status.CONVERGED, Status.FLOOR)


@pytest.mark.parametrize("targets", [1, 2])
def test_a_ridge_path_is_the_list_of_single_fits(X, targets):
    y = X[:, 0] + 3 if targets == 1 else X[:, :2] + 3
    path = Ridge(solver="newton", tol=1e-14).path(X, y, [10.0, 0.0, 1000.0])
    assert path.coefs.shape == (3, targets, 8)
    for i, alpha in enumerate([10.0, 0.0, 1000.0]):
        single = Ridge(alpha).fit(X, y)
        np.testing.assert_allclose(path.coefs[i], np.atleast_2d(single.coef_), rtol=1e-6, atol=1e-8)


def test_the_data_are_packed_once(monkeypatch, X, labels):
    packs = []
    pack = solve_module.pack_source
    monkeypatch.setattr(solve_module, "pack_source", lambda *a, **k: packs.append(1) or pack(*a, **k))
    LogisticRegression(solver="newton").path(X, labels, CS)
    assert len(packs) == 1


def test_the_path_starts_from_its_neighbours(X, labels):
    path = LogisticRegression(solver="newton").path(X, labels == 0, [1.0, 0.9999])
    assert path.results[0].trace[0].objective == pytest.approx(path.results[1].objective, rel=1e-6)


def test_a_path_leaves_the_estimator_as_it_was(X, labels):
    clf = LogisticRegression()
    before = dict(vars(clf))
    clf.path(X, labels, [1.0])
    assert vars(clf) == before


def test_cross_validation_needs_one_packed_copy(X, labels):
    y = labels == 0
    packed = mezzotint.pack(X)
    for fold in range(3):
        train = np.arange(len(X)) % 3 != fold
        path = LogisticRegression(solver="newton", tol=1e-14).path(packed, y, CS, sample_weight=train)
        for i, C in enumerate(CS):
            subset = LogisticRegression(C=C, tol=1e-14).fit(X[train], y[train])
            np.testing.assert_allclose(path.coefs[i], subset.coef_, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("values", [[], [1.0, -1.0], [np.nan]])
def test_bad_lists_are_refused(X, labels, values):
    with pytest.raises(ParameterError, match=r"list of penalties is empty|C=.* is not possible"):
        LogisticRegression().path(X, labels, values)


def test_there_is_no_path_without_a_penalty():
    assert not hasattr(LinearRegression(), "path")
