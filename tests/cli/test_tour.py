"""Would catch: a tour that misjudges a solution, mismeasures, or does not notice a missed optimum."""

import dataclasses
import io

import numpy as np
import pytest
from rich.console import Console
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from mezzotint.cli import tour, tour_data, tour_judge, tour_measure, tour_picture, tour_report


@pytest.fixture(scope="module")
def data():
    return tour_data.embeddings(600, 8)


def tight(data, **parameters):
    with threadpool_limits(1):  # on a busy machine its threads wait for each other
        model = LogisticRegression(tol=1e-12, max_iter=5000, **parameters).fit(data.X.astype(float), data.y)
    return np.column_stack([np.atleast_2d(model.coef_), model.intercept_])


def test_data_sets_have_the_promised_shape():
    data = tour_data.embeddings(600, 8)
    assert data.X.shape == (600, 8)
    assert data.X.dtype == np.float32
    assert np.allclose(np.linalg.norm(data.X, axis=1), 1, atol=1e-5)
    assert data.n_classes == 2
    assert tour_data.digits().X.shape == (1497, 64)
    assert tour_data.mnist().X_test.shape == (1000, 784)


def test_the_judge_finds_the_gap_of_a_shifted_solution(data):
    best = tight(data)
    worse = best + 0.01
    verdicts = tour_judge.judge(data.X, data.y, 1 / 600, [best, worse])
    objectives = [tour_judge.objective(data.X, data.y, 1 / 600, coef) for coef in (best, worse)]
    assert verdicts.slack < 1e-15
    assert 0 <= verdicts.gaps[0] < 1e-12
    assert verdicts.gaps[1] == pytest.approx((objectives[1] - objectives[0]) / objectives[0], rel=1e-6)
    assert verdicts.coef_differences[1] == pytest.approx(0.01 / abs(best).max(), rel=1e-4)


def test_the_judges_bound_holds_for_many_classes_and_bad_solutions():
    digits = tour_data.digits()
    data = dataclasses.replace(digits, X=digits.X[:200, :20], y=digits.y[:200])
    penalty = 1 / len(data.y)
    best = tight(data)
    reference = tour_judge.objective(data.X, data.y, penalty, best)
    for scale in (0.5, 0.9, 1.1):
        alone = tour_judge.judge(data.X, data.y, penalty, [scale * best])
        assert alone.lower_bound <= reference
    shifted = best + 3.0  # the same probabilities, another penalty
    together = tour_judge.judge(data.X, data.y, penalty, [best, shifted])
    assert together.gaps[0] < 1e-9
    assert together.coef_differences[1] < 1e-12


def test_accuracy_counts_held_out_rows(data):
    model = LogisticRegression().fit(data.X, data.y)
    coef = np.column_stack([model.coef_, model.intercept_])
    assert tour_judge.accuracy(data.X_test, data.y_test, coef) == model.score(data.X_test, data.y_test)


def test_a_measurement_in_this_process_says_what_a_fit_costs(data, tmp_path):
    np.save(tmp_path / "X.npy", data.X)
    np.save(tmp_path / "y.npy", data.y)
    ours, *_, peer = tour.contestants(2)
    for person in (ours, peer):
        fit = tour_measure.measure(person, str(tmp_path), 2)
        assert fit.seconds > 0
        assert fit.memory is None or fit.memory >= 0
        assert fit.coef.shape == (1, 9)
        assert fit.converged
    assert not fit.trace
    assert tour_measure.measure(ours, str(tmp_path), 1).trace


def stage_with(data, gap):
    people = tour.contestants(2)
    fit = tour_measure.Fit(seconds=0.5, memory=10**6, coef=np.ones((1, 9)), converged=False, trace=[])
    entries = [
        tour.Entry(contestant=person, fit=fit, gap=gap, coef_difference=0.0, accuracy=0.9)
        for person in people
    ]
    verdicts = tour_judge.Verdicts(
        lower_bound=0.25, scale=0.25, gaps=[gap], coef_differences=[0.0], slack=1e-16
    )
    return tour.Stage(data=data, entries=entries, verdicts=verdicts)


def test_the_table_fits_into_100_columns(data):
    console = Console(width=100, record=True, file=io.StringIO())
    large = dataclasses.replace(data, X=np.broadcast_to(data.X[:1, :1], (100_000, 512)))
    console.print(tour_report.table([stage_with(large, 1.2e-10)]))
    text = console.export_text()
    assert "…" not in text
    assert "mezzotint, 8 bits, HALP *" in text
    assert "1.2e-10" in text
    assert "100000 x 512, 2 classes" in text


def test_the_words_name_every_peer(data):
    text = tour_report.in_words(stage_with(data, 1e-10))
    assert text.count("times as long") == 3
    assert "stopped at its iteration limit" in tour_report.measured_how([stage_with(data, 1e-10)])


def test_a_missed_optimum_fails_the_tour(run, data, monkeypatch, tmp_path):
    monkeypatch.setattr(tour, "run_stage", lambda data, work: stage_with(data, 2e-8))
    monkeypatch.setattr(tour, "run_curves", lambda *arguments: {})
    result = run("tour", "--only", "linear", "--quick", "--out", tmp_path)
    assert result.exit_code == 1
    assert "above 1e-08 for mezzotint, 8 bits on digits: 2.0e-08" in result.stderr


def test_the_picture_is_drawn(tmp_path):
    curves = {"Newton, 8 bits": [(0.1, 1.0), (0.2, 0.0)], "somebody else": [(1.0, 1e-3)]}
    assert tour_picture.draw(curves, "embeddings", tmp_path).stat().st_size > 10_000


def test_a_small_tour_runs_in_processes_of_its_own(run, tmp_path, monkeypatch):
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(variable, "1")  # threads of peers wait for each other on a busy machine
    monkeypatch.setattr(tour, "_TURNS", 1)
    monkeypatch.setattr(tour, "_REPEATS", 1)
    few = tour.contestants(2)
    monkeypatch.setattr(tour, "contestants", lambda n_classes: [few[0], few[1], few[3]])
    curves = tour.curve_contestants()
    monkeypatch.setattr(
        tour, "curve_contestants", lambda: {name: people[:1] for name, people in curves.items()}
    )
    monkeypatch.setattr(tour.os, "getloadavg", lambda: (99.0, 0, 0))
    result = run("tour", "--only", "linear", "--quick", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert "On embeddings, mezzotint, 8 bits came within" in result.stdout
    assert (tmp_path / "out" / "gap-against-seconds.png").exists()
    assert "other programs are running (load 99.0" in result.stderr
