"""Data of the reproductions: caught rows kept without a number, labels 0 and 1, a test row trained on."""

import numpy as np
import pytest

from mezzotint.errors import FileError
from mezzotint.reproduce import data
from mezzotint.reproduce.gather import available

HEADER = "longitude,latitude,age,rooms,bedrooms,population,households,income,value,proximity\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with ten districts, two of them without bedrooms, and four rows of a9a."""
    rows = [
        f"{i},{i * i},3,{7 - i},{'' if i in (2, 5) else i},1,{i % 3},2.5,{1000 * i},INLAND\n"
        for i in range(10)
    ]
    (tmp_path / "california_housing.csv").write_text(HEADER + "".join(rows))
    (tmp_path / "a9a.libsvm").write_text("-1 3:1 123:1\n+1 1:1\n-1 2:1\n+1 5:1\n")
    monkeypatch.setenv(data.FOLDER_VARIABLE, str(tmp_path))
    return tmp_path


def test_districts_without_bedrooms_are_left_out(folder):
    found = data.california()
    assert len(found.X) + len(found.X_test) == 8
    assert found.X.shape[1] == 8
    values = np.append(found.y, found.y_test)
    assert values.mean() == pytest.approx(0, abs=1e-12)
    assert values.std() == pytest.approx(1)


def test_houses_above_the_median_are_one_class(folder):
    found = data.california(two_classes=True)
    assert sorted(np.append(found.y, found.y_test).tolist()) == [-1.0] * 4 + [1.0] * 4


def test_a9a_keeps_its_columns_and_signs(folder):
    found = data.a9a()
    assert found.X.shape[1] == 123
    assert set(np.append(found.y, found.y_test)) == {-1.0, 1.0}


def test_sets_that_are_not_at_hand_are_named_with_what_to_do(folder, monkeypatch):
    (folder / "a9a.libsvm").unlink()
    sets, missing = available([data.a9a, data.california])
    assert [found.name for found in sets] == ["California housing"]
    assert "a9a.libsvm does not exist. Put the file there" in missing[0]
    monkeypatch.delenv(data.FOLDER_VARIABLE)
    with pytest.raises(FileError, match="MEZZOTINT_DATA is not set"):
        data.california()


@pytest.mark.parametrize("make", [data.breast_cancer, data.digits, lambda: data.rna_like(n_rows=500)])
def test_two_classes_are_minus_one_and_one_and_rows_are_held_out(make):
    found = make()
    assert set(found.y) == set(found.y_test) == {-1.0, 1.0}
    both = np.vstack([found.X, found.X_test])
    assert np.abs(both.mean(axis=0)).max() < 1e-9
    seen = {row.tobytes() for row in found.X}
    assert np.mean([row.tobytes() in seen for row in found.X_test]) < 0.01


def test_generated_sets_are_the_same_on_every_call():
    for make in (lambda: data.synthetic(4, n_rows=50), lambda: data.heavy_tailed("laplace", 4, n_rows=50)):
        assert np.array_equal(make().X, make().X)
        assert np.array_equal(make().y, make().y)


def test_the_noise_of_the_synthetic_set_has_variance_one():
    found = data.synthetic(5, n_rows=20_000)
    residual = found.y - found.X @ np.linalg.lstsq(found.X, found.y, rcond=None)[0]
    assert residual.std() == pytest.approx(1, abs=4 / np.sqrt(2 * 20_000))


def test_tails_are_heavy():
    kurtosis = {
        kind: (data.heavy_tailed(kind, 3, n_rows=20_000).X ** 4).mean()
        for kind in ("lognormal", "exponential", "laplace")
    }
    assert kurtosis["lognormal"] > kurtosis["exponential"] > kurtosis["laplace"] > 4.5  # normal: 3
