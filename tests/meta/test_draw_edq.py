"""Would catch: a picture of EDQ with random identifiers, or one that shows other recipes than its script."""

import pathlib
import runpy

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("matplotlib")

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(DOCS / "draw_edq.py"))


def test_the_picture_is_the_same_bytes_whenever_the_numbers_are(script, tmp_path):
    history, advice = script["train"]("24bit", n_steps=25)
    assert history
    assert len(advice) == 1
    for name in ("one.svg", "two.svg"):
        script["draw"]({"24bit": history}, tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


def test_the_picture_in_the_docs_is_small_and_shows_all_recipes(script):
    text = (DOCS / "edq.svg").read_text()
    assert len(text) < 100_000
    assert all(f">{recipe}<" in text for recipe in script["RECIPES"])
