"""libsvm text. Caught: a column count from the first block, a block that keeps the entries of the one before.

Others densified without a limit, and took a label without entries for the end.
"""

import numpy as np
import pytest
from sklearn.datasets import dump_svmlight_file

import mezzotint as mz
from mezzotint.errors import DataError, FileError, ParameterError
from mezzotint.packed import as_source


@pytest.fixture
def X(rng):
    X = np.rint(rng.standard_normal((700, 9)) * 4096) / 4096  # few enough digits for the text
    X[rng.random(X.shape) < 0.6] = 0
    X[0, 8] = 1  # so that the width shows
    X[13] = 0
    return X


@pytest.mark.parametrize("zero_based", [True, False])
@pytest.mark.parametrize("block_bytes", [2**20, 100, 1])
def test_what_scikit_learn_wrote_is_read_back(X, zero_based, block_bytes, tmp_path, rng, monkeypatch):
    monkeypatch.setattr("mezzotint.packed.sources_libsvm._BLOCK_BYTES", block_bytes)
    y = rng.integers(-1, 2, 700)
    X[5, 0] = 3
    path = tmp_path / "x.svm"
    dump_svmlight_file(X, y, str(path), zero_based=zero_based)
    table = mz.read(path)
    assert table.y.dtype == np.int64
    assert (table.y == y).all()
    np.testing.assert_array_equal(table.source.block(0, 700), X)
    for _ in range(10):
        start, stop = np.sort(rng.integers(0, 701, 2))
        np.testing.assert_array_equal(table.source.block(start, stop), X[start:stop])
    index = np.flatnonzero(rng.random(700) < 0.05)
    np.testing.assert_array_equal(table.source.rows(index), X[index])


def test_the_width_is_that_of_the_widest_row_of_all_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("mezzotint.packed.sources_libsvm._BLOCK_BYTES", 1)
    (tmp_path / "x.svm").write_text("1 2:1\n0 5:3\n1 1:2\n")
    assert as_source(tmp_path / "x.svm").block(0, 3).tolist() == [
        [0, 1, 0, 0, 0],
        [0, 0, 0, 0, 3],
        [2, 0, 0, 0, 0],
    ]


def test_comments_empty_lines_and_query_numbers_are_skipped(tmp_path):
    (tmp_path / "x.svm").write_text("# made by hand\n\n1.5 qid:3 1:2 # why\n-2\n0 2:1e-3\n")
    table = mz.read(tmp_path / "x.svm")
    assert table.y.tolist() == [1.5, -2, 0]
    assert table.source.block(0, 3).tolist() == [[2, 0], [0, 0], [0, 1e-3]]


@pytest.mark.parametrize(
    ("text", "error", "what"),
    [
        ("", DataError, "0 sample"),
        ("1 2 3\n", FileError, r"not index:value in line '1 2 3'"),
        ("1 1:2\n1 1:2:3\n", FileError, r"in line '1 1:2:3'"),
        ("1 1:x\n", FileError, r"in line '1 1:x'"),
        ("1,2 1:2\n", FileError, r"in line '1,2 1:2'"),
        ("1 1.5:2\n", DataError, r"column 1.5;"),
        ("1 1:1_0\n", FileError, r"in line '1 1:1_0'"),
        ("1 -1:2\n", DataError, r"column -1;"),
        ("1 70000:2\n", DataError, r"column 70000; at most 65536"),
        ("1\n2\n", DataError, r"0 feature"),
    ],
)
def test_lines_that_are_not_of_the_form_are_named(text, error, what, tmp_path):
    (tmp_path / "x.svm").write_text(text)
    with pytest.raises(error, match=what):
        as_source(tmp_path / "x.svm")


def test_sparse_files_are_refused_with_the_ratio(tmp_path):
    (tmp_path / "x.svm").write_text("1 1:1\n" * 1000 + "1 9000:1\n")
    with pytest.raises(DataError, match=r"is sparse: 1001 dense rows of 9000 columns would be 119\d\d times"):
        as_source(tmp_path / "x.svm")


def test_columns_cannot_be_named(tmp_path):
    (tmp_path / "x.svm").write_text("1 1:1\n")
    with pytest.raises(ParameterError, match=r"no named columns, but y was asked for"):
        mz.read(tmp_path / "x.svm", target="y")
