"""Would catch: a fit that differs from the library's, a wrong guess of the task, half-written models."""

import numpy as np
import pytest
from sklearn.datasets import dump_svmlight_file

from mezzotint.cli.fit import Task, choose_task
from mezzotint.cli.model_file import load_model
from mezzotint.linear import LogisticRegression, Ridge


@pytest.mark.parametrize("bits", [8, 4, 32])
def test_fit_writes_the_coefficients_of_the_estimator(run, files, bits):
    result = run(
        "fit", files / "X.npy", files / "labels.npy", "--bits", bits, "--C", 0.5, "--out", files / "m"
    )
    assert result.exit_code == 0, result.stderr
    X, y = np.load(files / "X.npy"), np.load(files / "labels.npy")
    clf = LogisticRegression(C=0.5, bits=bits, random_state=0).fit(X, y)
    saved = load_model(files / "m")
    assert np.array_equal(saved.coef, clf.coef_)
    assert np.array_equal(saved.intercept, clf.intercept_)
    assert np.array_equal(saved.classes, [0, 1])
    assert saved.about["parameters"]["C"] == 0.5


def test_fit_says_what_it_took_y_for_and_how_it_ended(run, files):
    text = run("fit", files / "X.npy", files / "names.npy", "--out", files / "m").stdout
    assert "classification: y holds strings of 3 values; --task regression to override" in text
    assert "300 x 5 float32" in text
    assert "converged" in text


def test_regression_is_ridge(run, files):
    run("fit", files / "X.npy", files / "target.npy", "--alpha", 2, "--out", files / "m")
    saved = load_model(files / "m")
    ridge = Ridge(alpha=2.0, random_state=0).fit(np.load(files / "X.npy"), np.load(files / "target.npy"))
    assert saved.estimator == "Ridge"
    assert np.array_equal(saved.coef[0], ridge.coef_)


def parquet_of(files):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    X, y = np.load(files / "X.npy"), np.load(files / "names.npy")
    columns = {f"x{j}": X[:, j] for j in range(5)} | {"name": y, "w": np.arange(300) % 3}
    pq.write_table(pa.table(columns), files / "all.parquet", row_group_size=70)
    return files / "all.parquet"


def test_labels_and_weights_can_be_columns_of_the_file(run, files):
    path = parquet_of(files)
    result = run("fit", path, "--target", "name", "--weight", "w", "--out", files / "m")
    assert result.exit_code == 0, result.stderr
    X, y = np.load(files / "X.npy"), np.load(files / "names.npy")
    clf = LogisticRegression(random_state=0).fit(X, y, sample_weight=np.arange(300) % 3)
    assert np.array_equal(load_model(files / "m").coef, clf.coef_)
    columns = "x0,x1,x2,x3,x4"
    result = run("predict", files / "m", path, "--columns", columns, "--out", files / "p.npy")
    assert result.exit_code == 0, result.stderr
    assert np.array_equal(np.load(files / "p.npy"), clf.predict(X))


def test_a_libsvm_file_holds_its_labels(run, files):
    X, y = np.load(files / "X.npy").round(3), np.load(files / "labels.npy")
    dump_svmlight_file(X, y, str(files / "all.svm"))
    assert run("fit", files / "all.svm", "--out", files / "m").exit_code == 0
    clf = LogisticRegression(random_state=0).fit(X.astype(np.float64), y)
    assert np.allclose(load_model(files / "m").coef, clf.coef_, rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "no labels: give y.npy, or --target"),
        (["labels.npy", "--target", "name"], "labels came twice"),
    ],
)
def test_labels_must_come_once(run, files, arguments, text):
    given = [files / a if a.endswith(".npy") else a for a in arguments]
    result = run("fit", files / "X.npy", *given, "--out", files / "m")
    assert result.exit_code == 2
    assert text in result.stderr


def test_without_intercept(run, files):
    run("fit", files / "X.npy", files / "target.npy", "--no-intercept", "--out", files / "m")
    assert load_model(files / "m").intercept == 0


@pytest.mark.parametrize(
    ("y", "classify"),
    [
        (np.array(["a", "b"]), True),
        (np.array([True, False]), True),
        (np.arange(100), True),
        (np.arange(101), False),
        (np.array([0.0, 1.0]), False),
        (np.ones((4, 2)), False),
    ],
)
def test_the_task_follows_from_y(y, classify):
    assert choose_task(y, Task.AUTO)[0] is classify
    assert choose_task(y, Task.CLASSIFICATION)[0]
    assert not choose_task(y, Task.REGRESSION)[0]


@pytest.mark.parametrize(("y", "option"), [("labels", "--alpha"), ("target", "--C")])
def test_the_other_tasks_penalty_is_wrong_usage(run, files, y, option):
    result = run("fit", files / "X.npy", files / f"{y}.npy", option, 1, "--out", files / "m")
    assert result.exit_code == 2
    assert option in result.stderr


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--bits", 5], "bits=5"),
        (["--C", -1], "C=-1"),
        (["--tol", 0], "tol=0"),
        (["--n-jobs", 0], "n_jobs=0"),
    ],
)
def test_impossible_parameters_say_what_is_allowed(run, files, options, text):
    result = run("fit", files / "X.npy", files / "labels.npy", *options, "--out", files / "m")
    assert result.exit_code == 1
    assert text in result.stderr
    assert not (files / "m").exists()


def test_nan_in_x_is_named_with_row_and_column(run, files):
    X = np.load(files / "X.npy")
    X[17, 3] = np.nan
    np.save(files / "X.npy", X)
    result = run("fit", files / "X.npy", files / "labels.npy", "--out", files / "m")
    assert result.exit_code == 1
    assert "row 17, column 3" in result.stderr


def test_a_length_mismatch_is_named(run, files):
    np.save(files / "labels.npy", np.load(files / "labels.npy")[:-1])
    result = run("fit", files / "X.npy", files / "labels.npy", "--out", files / "m")
    assert result.exit_code == 1
    assert "300" in result.stderr
    assert "299" in result.stderr


def test_missing_the_optimum_is_a_warning_and_the_best_point_is_written(run, files, monkeypatch):
    arguments = ["--solver", "halp", "--max-iter", 1, "--tol", 1e-14, "--out", files / "m"]
    result = run("fit", files / "X.npy", files / "labels.npy", *arguments)
    assert result.exit_code == 0
    assert "warning: " in result.stderr
    assert "max_iter" in load_model(files / "m").about["status"]


def test_an_interrupted_fit_leaves_the_old_model_and_nothing_else(run, files, monkeypatch):
    (files / "m").write_text("old")
    before = sorted(files.iterdir())

    def interrupt(self, X, y, sample_weight=None):
        raise KeyboardInterrupt

    monkeypatch.setattr(LogisticRegression, "fit", interrupt)
    result = run("fit", files / "X.npy", files / "labels.npy", "--out", files / "m")
    assert result.exit_code == 130
    assert (files / "m").read_text() == "old"
    assert sorted(files.iterdir()) == before


def test_a_folder_that_cannot_be_written_to_is_found_before_the_work(run, files):
    result = run("fit", files / "X.npy", files / "labels.npy", "--out", files / "absent" / "m")
    assert result.exit_code == 1
    assert "does not exist; make it first" in result.stderr
