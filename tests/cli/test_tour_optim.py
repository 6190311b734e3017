"""Caught: runs that start apart, a model that sees the future, a loss of NaN passed, another run judged."""

import dataclasses
import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from rich.console import Console

from mezzotint.cli import tour, tour_gpt, tour_optim, tour_optim_report, tour_text
from mezzotint.cli.tour_plan import Plan, Run
from mezzotint.errors import DataError

TINY = Plan(width=16, layers=1, heads=2, length=16, steps=12, rows=4, looks=3, windows=8)


@pytest.fixture(scope="module")
def text():
    return tour_text.numbered("a text", "She sells sea shells by the sea shore. " * 400)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def run_of(recipe, loss, edq=1.0, n_bytes=10.0):
    points = [(10 * i, loss + 0.1 * (6 - i)) for i in range(1, 7)]
    ratios = [(step, edq) for step, _ in points]
    return Run(
        recipe=recipe, curve=points, edq=ratios, lost=0.5, bytes_per_parameter=n_bytes, n_parameters=351_744
    )


def runs_of(compensated, edq=1.0, plain=2.05):
    return {
        "mixed": run_of("mixed", 2.0, n_bytes=14.0),
        "bf16": run_of("bf16", plain, 0.7, n_bytes=6.0),
        "collage-plus": run_of("collage-plus", compensated, edq),
        "8bit-min": run_of("8bit-min", 1.995, n_bytes=4.07),
    }


def test_without_a_file_of_ones_own_the_text_is_pythons_reference(monkeypatch):
    monkeypatch.delenv("MEZZOTINT_DATA", raising=False)
    text = tour_text.real_text()
    assert text.name.startswith("the reference of Python 3.")
    assert len(text.train) > 300_000
    assert abs(len(text.held_out) / len(text.train) - 1 / 9) < 1e-3
    assert 60 < text.n_characters == max(text.train.max(), text.held_out.max()) + 1 < 400
    again = tour_text.real_text()
    assert np.array_equal(text.train, again.train)


def test_a_file_in_the_data_folder_is_taken_first(monkeypatch, tmp_path):
    (tmp_path / "tinyshakespeare.txt").write_text("to be or not to be, " * 1000)
    monkeypatch.setenv("MEZZOTINT_DATA", str(tmp_path))
    text = tour_text.real_text()
    assert (text.name, text.n_characters) == ("tinyshakespeare.txt", 8)
    (tmp_path / "tinyshakespeare.txt").write_text("too small")
    with pytest.raises(DataError, match="has 9 characters; the tour needs 10000"):
        tour_text.real_text()


def test_all_recipes_start_alike_and_see_the_same_batches(text, monkeypatch):
    seen = {}
    plain_loss = tour_gpt._loss

    def watched(model, batch):
        start = {name: p.detach().clone() for name, p in model.named_parameters()}
        seen.setdefault(model, []).append((start, batch.clone()))
        return plain_loss(model, batch)

    monkeypatch.setattr(tour_gpt, "_loss", watched)
    for recipe in ("mixed", "8bit-min"):
        tour_gpt.train(recipe, TINY, text)
    one, other = seen.values()
    torch.testing.assert_close(one[0][0], other[0][0], rtol=0, atol=0)
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(one, other, strict=True))


def test_a_run_learns_and_comes_out_the_same_again(text):
    plan = dataclasses.replace(TINY, steps=40, looks=2, rate=1e-2)
    first, again = (tour_gpt.train("collage-plus", plan, text) for _ in range(2))
    assert first == again
    assert [step for step, _ in first.curve] == [20, 40] == [step for step, _ in first.edq]
    assert first.loss < 0.8 * np.log(text.n_characters)
    assert abs(first.edq_ratio - 1) < 0.01
    assert first.bytes_per_parameter == 10


def test_the_model_sees_the_past_only(text):
    model = tour_gpt.GPT(text.n_characters, TINY)
    x = torch.from_numpy(text.train[:16])[None]
    changed = x.clone()
    changed[0, 10] = (changed[0, 10] + 1) % text.n_characters
    same = torch.isclose(model(x), model(changed), atol=1e-6).all(dim=2)[0]
    assert same[:10].all()
    assert not same[10:].any()


def test_the_validation_loss_is_of_held_out_windows_alone(text):
    model = tour_gpt._model(text.n_characters, TINY)
    numbers = torch.from_numpy(text.held_out)
    starts = torch.linspace(0, len(numbers) - 17, 8).long()
    losses = [tour_gpt._loss(model, numbers[None, start : start + 17]).item() for start in starts]
    assert tour_gpt.held_out_loss(model, numbers, TINY) == pytest.approx(np.mean(losses), rel=1e-6)


@pytest.mark.parametrize(
    ("loss", "edq", "words"),
    [
        (2.0099, 1.0, []),
        (1.9, 1.0, []),
        (2.011, 1.0, ["the loss of collage-plus is 0.55 % above that of mixed, more than 0.5 %"]),
        (float("nan"), 1.0, ["the loss of collage-plus is nan % above that of mixed, more than 0.5 %"]),
        (2.0, 0.98, ["the EDQ ratio of collage-plus is 0.980, not 1 within 0.01"]),
    ],
)
def test_the_judge_asks_of_collage_plus_what_the_paper_promises(loss, edq, words):
    assert tour_optim.judged(runs_of(loss, edq, plain=1.0)) == words


def test_the_words_say_what_kept_up_and_what_did_not():
    text = tour_optim_report.in_words(runs_of(2.001))
    assert "mixed keeps 14 bytes per parameter and ends at a loss of 2.000." in text
    assert "collage-plus keeps 10.00 and ends at the same loss, +0.05 %." in text
    assert "same loss, +0.00 %" in tour_optim_report.in_words(runs_of(1.99999))
    assert "bf16 without compensation ends 2.50 % above it: 50 % of its updates changed nothing" in text
    assert "bf16 without compensation ends at the same loss" in tour_optim_report.in_words(
        runs_of(2, plain=2)
    )


def test_a_lower_loss_is_not_sold_as_a_better_one():
    runs = runs_of(2.0)
    assert "not better training" not in tour_optim_report.in_words(runs)
    runs["8bit-min"] = run_of("8bit-min", 1.98)
    assert tour_optim_report.in_words(runs).endswith("is chance, not better training.")


def test_the_table_fits_into_80_columns_and_names_every_recipe():
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(tour_optim_report.table(runs_of(2.0), "the reference of Python 3.13", Plan()))
    shown = console.export_text()
    assert "…" not in shown
    assert "GPT of 351,744 parameters on the reference of Python 3.13: AdamW, 500 steps" in shown
    assert all(recipe in shown for recipe in ("mixed", "bf16", "collage-plus", "8bit-min"))
    assert "+2.50 %" in shown
    assert len(shown.splitlines()) == 9  # nothing is wrapped


def test_the_picture_is_drawn(tmp_path):
    assert tour_optim_report.draw(runs_of(2.0), tmp_path).stat().st_size > 10_000


def test_a_missed_promise_fails_the_tour_and_only_one_half_runs(run, monkeypatch, tmp_path):
    monkeypatch.setattr(tour, "tour_linear", lambda *arguments: pytest.fail("the first half ran"))
    monkeypatch.setattr(tour_optim, "tour_optim", lambda *arguments: ["something does not hold"])
    result = run("tour", "--only", "optim", "--out", tmp_path)
    assert result.exit_code == 1
    assert "error: something does not hold." in result.stderr


def test_without_torch_the_first_half_is_all_and_the_second_says_what_to_install(run, monkeypatch, tmp_path):
    monkeypatch.setattr(tour_optim, "has_torch", lambda: False)
    monkeypatch.setattr(tour, "tour_linear", lambda *arguments: [])
    result = run("tour", "--out", tmp_path)
    assert result.exit_code == 0
    assert "warning: the second half of the tour" in result.stderr
    assert 'pip install "mezzotint[torch]"' in result.stderr
    assert run("tour", "--only", "optim", "--out", tmp_path).exit_code == 1
    assert run("tour", "--only", "linear", "--out", tmp_path).stderr.count("torch") == 0


def test_a_small_second_half_runs_from_the_text_to_the_picture(run, monkeypatch, tmp_path):
    monkeypatch.setattr(tour_optim, "_processes", lambda most: ThreadPoolExecutor(1))
    result = run("tour", "--only", "optim", "--quick", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert "collage-plus keeps 10.00 and ends" in result.stdout
    assert (tmp_path / "out" / "loss-and-updates.png").exists()
