"""Where measurements go: caught a torn line that broke the next run, rows of repeated steps kept twice.

Also made and seen to fail: a file of someone else's overwritten, undefined figures written as numbers.
"""

import math

import pytest
import torch

from mezzotint.errors import DataError, FileError
from mezzotint.monitor import PrecisionMonitor, plot, read_csv
from mezzotint.optim import AdamW


def run(steps, start=0, **options):
    w = torch.nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
    optimizer = AdamW([w], lr=1e-3)
    with PrecisionMonitor(optimizer, every=2, start=start, **options) as monitor:
        for _ in range(steps):
            w.grad = torch.ones_like(w)
            optimizer.step()
    return monitor


def same(rows, others):
    """Compare rows, NaN being equal to NaN."""
    return list(map(repr, rows)) == list(map(repr, others))


def test_what_a_file_holds_is_the_history(tmp_path):
    monitor = run(6, write=tmp_path / "run.csv")
    assert len(monitor.history) == 9
    assert same(read_csv(tmp_path / "run.csv"), monitor.history)


def test_a_resumed_run_goes_on_from_its_checkpoint(tmp_path):
    path = str(tmp_path / "run.csv")
    run(6, write=path)
    # The run broke off after step 6 and while a line was written; the checkpoint was that of step 4.
    with open(path, "a") as file:
        file.write("8,parameter,0.0,0.001,4,0.1")
    assert [row.step for row in read_csv(path) if row.kind == "total"] == [2, 4, 6]
    run(4, start=4, write=path)
    assert [row.step for row in read_csv(path) if row.kind == "total"] == [2, 4, 6, 8]
    assert not list(tmp_path.glob("*.part"))


def test_a_file_that_is_not_ours_is_left_alone(tmp_path):
    path = tmp_path / "notes.csv"
    path.write_text("step,loss\n1,2\n")
    with pytest.raises(FileError, match="does not begin with a monitor's header"):
        run(1, write=path)
    assert path.read_text() == "step,loss\n1,2\n"
    with pytest.raises(FileError, match="cannot be read"):
        read_csv(tmp_path / "no-such-file.csv")


def test_names_with_commas_come_back(tmp_path):
    w = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([('a,"b"', w)])
    with PrecisionMonitor(optimizer, every=1, write=tmp_path / "run.csv"):
        w.grad = torch.ones_like(w)
        optimizer.step()
    assert read_csv(tmp_path / "run.csv")[0].name == 'a,"b"'


def test_a_function_gets_the_step_and_numbers_that_are_numbers():
    calls = []
    monitor = run(4, write=lambda step, numbers: calls.append((step, numbers)))
    assert [step for step, _ in calls] == [2, 4]
    numbers = calls[-1][1]
    assert numbers["precision/total/edq_full_ratio"] == monitor.history[-1].edq_full_ratio
    assert numbers["precision/parameter/0.0/lost"] == monitor.history[-3].lost
    assert "precision/group/0/lr" in numbers
    assert not any(math.isnan(value) for value in numbers.values())


def test_tensorboard_and_others_at_once(tmp_path):
    class Writer:
        def __init__(self):
            self.seen = {}

        def add_scalar(self, key, value, step):
            self.seen[key, step] = value

    writer = Writer()
    monitor = run(2, write=[writer, tmp_path / "run.csv"])
    assert writer.seen["precision/total/lost_full", 2] == monitor.history[-1].lost_full
    assert len(read_csv(tmp_path / "run.csv")) == 3


def test_tensorboard_itself_takes_it(tmp_path):
    tensorboard = pytest.importorskip("torch.utils.tensorboard")
    with tensorboard.SummaryWriter(tmp_path) as writer:
        run(2, write=writer)
    assert list(tmp_path.glob("events.*"))


def test_a_picture_is_made_of_histories_and_files(tmp_path):
    pytest.importorskip("matplotlib")
    monitor = run(6, write=tmp_path / "run.csv")
    panels = plot({"memory": monitor.history, "file": tmp_path / "run.csv"}).axes
    assert [line.get_label() for line in panels[0].lines[:2]] == ["memory", "file"]
    expected = [row.v_ratio for row in monitor.history if row.kind == "parameter"]
    for line in plot(monitor.history, name="0.0").axes[2].lines[:1]:
        assert list(line.get_xdata()) == [2, 4, 6]
        assert list(line.get_ydata()) == expected
    with pytest.raises(DataError, match=r"no measurement of 'wte' came; there are 0\.0, 0, total"):
        plot(monitor.history, name="wte")
