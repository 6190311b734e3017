"""Would catch: predictions that differ from the estimator's, unclear messages, half-written results."""

import numpy as np
import pytest

from mezzotint.cli import predict as module
from mezzotint.linear import LogisticRegression, Ridge


@pytest.fixture
def fitted(run, files):
    """A model file for each kind of target."""
    for y in ("labels", "names", "target"):
        assert run("fit", files / "X.npy", files / f"{y}.npy", "--out", files / f"{y}.model").exit_code == 0
    return files


@pytest.mark.parametrize("y", ["labels", "names", "target"])
def test_predictions_are_those_of_the_estimator(run, fitted, monkeypatch, y):
    monkeypatch.setattr(module, "_BLOCK_BYTES", 8 * 5 * 64)  # several blocks
    assert run("predict", fitted / f"{y}.model", fitted / "X.npy", "--out", fitted / "p.npy").exit_code == 0
    X, target = np.load(fitted / "X.npy"), np.load(fitted / f"{y}.npy")
    estimator = (Ridge if y == "target" else LogisticRegression)(random_state=0).fit(X, target)
    found = np.load(fitted / "p.npy", allow_pickle=False)
    rows = X.astype(np.float64)  # a model file keeps float64, so predictions are not rounded to float32
    assert np.array_equal(found, estimator.predict(rows))


@pytest.mark.parametrize("y", ["labels", "names"])
def test_probabilities_have_a_column_per_class(run, fitted, y):
    result = run(
        "predict", fitted / f"{y}.model", fitted / "X.npy", "--probabilities", "--out", fitted / "p.npy"
    )
    classes = np.unique(np.load(fitted / f"{y}.npy"))
    found = np.load(fitted / "p.npy")
    assert found.shape == (300, len(classes))
    assert ", ".join(map(str, classes)) in result.stdout


def test_several_targets_give_several_columns(run, fitted):
    target = np.load(fitted / "target.npy")
    np.save(fitted / "two.npy", np.column_stack([target, -target]))
    run("fit", fitted / "X.npy", fitted / "two.npy", "--out", fitted / "m")
    run("predict", fitted / "m", fitted / "X.npy", "--out", fitted / "p.npy")
    assert np.load(fitted / "p.npy").shape == (300, 2)


def test_probabilities_of_a_regression_are_wrong_usage(run, fitted):
    result = run(
        "predict", fitted / "target.model", fitted / "X.npy", "--probabilities", "--out", fitted / "p.npy"
    )
    assert result.exit_code == 2
    assert "needs a LogisticRegression" in result.stderr


def test_other_columns_are_named(run, fitted):
    np.save(fitted / "narrow.npy", np.ones((4, 3)))
    result = run("predict", fitted / "labels.model", fitted / "narrow.npy", "--out", fitted / "p.npy")
    assert result.exit_code == 1
    assert "X has 3 columns, but the model was fitted on 5" in result.stderr


def test_nan_is_named_and_leaves_no_file(run, fitted):
    X = np.load(fitted / "X.npy")
    X[250, 1] = np.nan
    np.save(fitted / "X.npy", X)
    before = sorted(fitted.iterdir())
    result = run("predict", fitted / "labels.model", fitted / "X.npy", "--out", fitted / "p.npy")
    assert result.exit_code == 1
    assert "NaN" in result.stderr
    assert sorted(fitted.iterdir()) == before


def test_an_array_is_no_model(run, fitted):
    result = run("predict", fitted / "X.npy", fitted / "X.npy", "--out", fitted / "p.npy")
    assert result.exit_code == 1
    assert "is damaged" in result.stderr
