"""CSV files. Caught: a header taken for a row, integers guessed from the first block, empty cells as zero."""

import gzip

import numpy as np
import pytest

import mezzotint as mz
from mezzotint.errors import DataError, FileError
from mezzotint.packed import as_source

pytest.importorskip("pyarrow.csv")


def write(path, X, header="", more=None):
    lines = [",".join(map(repr, row.tolist())) for row in X]
    if more is not None:
        lines = [f"{line},{extra}" for line, extra in zip(lines, more, strict=True)]
    path.write_text(header + "\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("header", ["", "a,b,c\n"])
def test_numbers_are_read_exactly_with_and_without_a_header(header, tmp_path, rng):
    X = rng.standard_normal((500, 3))
    source = as_source(write(tmp_path / "x.csv", X, header))
    assert source.shape == (500, 3)
    np.testing.assert_array_equal(source.block(0, 500), X)
    np.testing.assert_array_equal(source.block(17, 400), X[17:400])
    np.testing.assert_array_equal(source.rows(np.array([3, 44, 499])), X[[3, 44, 499]])


def test_a_file_of_many_blocks_is_streamed(tmp_path, rng, monkeypatch):
    monkeypatch.setattr("mezzotint.packed.sources_csv._BLOCK_BYTES", 4096)
    X = rng.standard_normal((2000, 4))
    X[:1500] = np.rint(X[:1500])  # whole numbers first: types are not guessed from the first block
    source = as_source(write(tmp_path / "x.csv", X))
    np.testing.assert_array_equal(
        np.concatenate([source.block(start, start + 100) for start in range(0, 2000, 100)]), X
    )


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["a", "b", "7"], np.array(["a", "b", "7"])),
        (["1", "0", "7"], np.array([1, 0, 7])),
        (["1", " -2", "+7 "], np.array([1.0, -2.0, 7.0])),
        (["1", "2", "99999999999999999999"], np.array([1.0, 2.0, 1e20])),
        (["1", "0.5", "7"], np.array([1, 0.5, 7])),
        (["1", "", "7"], np.array(["1", "", "7"])),
    ],
)
def test_labels_are_integers_floats_or_strings(labels, expected, tmp_path):
    path = write(tmp_path / "x.csv", np.arange(6.0).reshape(3, 2), "a,b,y\n", labels)
    table = mz.read(path, target="y")
    assert table.y.dtype.kind == expected.dtype.kind
    assert (table.y == expected).all()
    assert table.source.shape == (3, 2)
    assert mz.read(path, columns="b").source.block(0, 3).tolist() == [[1], [3], [5]]


def test_tabs_and_compressed_files(tmp_path):
    (tmp_path / "x.tsv").write_text("a\tb\n1\t2\n")
    assert as_source(tmp_path / "x.tsv").block(0, 1).tolist() == [[1, 2]]
    with gzip.open(tmp_path / "x.csv.gz", "wb") as file:
        file.write(b"a,b\n1,2\n")
    assert as_source(tmp_path / "x.csv.gz").block(0, 1).tolist() == [[1, 2]]


def test_an_empty_cell_is_named_by_row_and_column(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n3,\n5,6\n")
    with pytest.raises(DataError, match=r"NaN.*row 1, column 1"):
        mz.pack(tmp_path / "x.csv")


@pytest.mark.parametrize(
    ("text", "error", "what"),
    [
        ("", DataError, "is empty"),
        ("a,b\n", DataError, "0 sample"),
        ("a,b\n1,x\n", FileError, "'x'"),
        ("a,b\n1,2\n3\n", FileError, "Expected 2 columns, got 1"),
        ("a,a\n1,2\n", DataError, "2 columns 'a'"),
    ],
)
def test_files_that_cannot_be_rows_are_refused_before_any_work(text, error, what, tmp_path):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(error, match=what):
        as_source(tmp_path / "x.csv")
