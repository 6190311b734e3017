"""`mezzotint reproduce`: caught a failed statement that exits with 0, infinity in the JSON, half a file."""

import json
import sys

import pytest

from mezzotint import reproduce as reproductions
from mezzotint.cli import reproduce_report
from mezzotint.reproduce.report import Finding, Picture, Report


def small(**changes):
    parts = {
        "title": "Squares",
        "claim": "a square is a product",
        "columns": ("name", "x", "paper"),
        "rows": [("one", 1.0, None), ("far", float("inf"), 3)],
        "settings": {"seed": 0},
        "findings": [Finding("squares are positive", True)],
        "notes": ["nothing was left out"],
        "picture": Picture(title="t", x="x", y="y", lines={"a": [(1, 1.0), (2, 4.0)], "b": [(1, 2.0)]}),
    }
    return Report(**parts | changes)


def test_without_a_name_every_reproduction_is_listed(run):
    result = run("reproduce")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(reproductions.REPRODUCTIONS)


def test_a_reproduction_prints_its_table_and_writes_its_files(run, tmp_path):
    result = run("reproduce", "zipml-levels", "--quick", "--out", tmp_path / "new" / "folder")
    assert result.exit_code == 0, result.stderr
    assert "uniform / optimal" in result.stdout
    assert "holds  Optimal levels are never worse than uniform ones" in result.stdout
    found = json.loads((tmp_path / "new" / "folder" / "zipml-levels.json").read_text())
    assert found["settings"]["values"] == 400
    assert len(found["rows"]) == 8
    assert found["rows"][0]["values"] == "uniform"
    assert all(finding["holds"] for finding in found["findings"])
    assert (tmp_path / "new" / "folder" / "zipml-levels.png").stat().st_size > 10_000
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == [
        "zipml-levels.json",
        "zipml-levels.png",
    ]


def test_a_statement_that_fails_is_exit_code_1_and_the_files_are_there(run, tmp_path, monkeypatch):
    report = small(findings=[Finding("squares are positive", True), Finding("one is two", False)])
    monkeypatch.setattr(reproductions, "reproduce", lambda *_, **__: report)
    result = run("reproduce", "squares", "--out", tmp_path)
    assert result.exit_code == 1
    assert "this run does not show: one is two." in result.stderr
    assert "FAILS  one is two" in result.stdout
    assert (tmp_path / "squares.json").exists()


def test_an_unknown_name_is_one_line_and_exit_code_1(run, tmp_path):
    result = run("reproduce", "zipml", "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "name came as 'zipml'; allowed are zipml-levels" in result.stderr
    assert not (tmp_path / "out").exists()


def test_numbers_that_are_not_finite_become_null(tmp_path):
    reproduce_report.write(small(), "squares", tmp_path)
    found = json.loads((tmp_path / "squares.json").read_text())
    assert found["rows"] == [
        {"name": "one", "x": 1.0, "paper": None},
        {"name": "far", "x": None, "paper": 3},
    ]
    assert found["lines"] == {"a": [[1, 1.0], [2, 4.0]], "b": [[1, 2.0]]}


def test_cells_are_short_and_missing_ones_are_dashes():
    cells = ("text", 12, 0.123456, None, float("inf"))
    assert [reproduce_report.cell_text(cell) for cell in cells] == ["text", "12", "0.1235", "-", "inf"]


def test_variants_of_a_group_share_its_colour_and_differ_in_dash():
    styles = reproduce_report.line_styles(["a: x", "b", "a: y"])
    assert styles["a: x"][0] == styles["a: y"][0] != styles["b"][0]
    assert styles["a: x"][1] != styles["a: y"][1]


def test_without_matplotlib_there_are_numbers_and_no_picture(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert reproduce_report.write(small(), "squares", tmp_path) == [("numbers", tmp_path / "squares.json")]
    assert [path.name for path in tmp_path.iterdir()] == ["squares.json"]


def test_a_file_that_cannot_be_finished_leaves_the_old_one(tmp_path):
    (tmp_path / "squares.json").write_text("old")
    with pytest.raises(TypeError):
        reproduce_report.write(small(settings={"seed": object()}), "squares", tmp_path)
    assert (tmp_path / "squares.json").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["squares.json"]
