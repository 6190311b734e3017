"""Parquet, Arrow and tables. Caught: rows of the wrong row group after a jump, a footer's row count believed.

Others took lists of unequal length for rows, and flattened a sliced list column from its first row.
"""

import sys

import numpy as np
import pytest

import mezzotint as mz
from mezzotint.errors import DataError, FileError
from mezzotint.linear import LogisticRegression
from mezzotint.packed import as_source
from mezzotint.packed.sources_arrow import ParquetReader

pa = pytest.importorskip("pyarrow")
feather = pytest.importorskip("pyarrow.feather")
pq = pytest.importorskip("pyarrow.parquet")

N, D = 1000, 6


@pytest.fixture
def X(rng):
    return rng.standard_normal((N, D)).astype(np.float32)


def wide(X, **more):
    return pa.table({f"x{j}": X[:, j] for j in range(X.shape[1])} | more)


def embeddings(X, fixed, **more):
    flat = pa.array(X.ravel())
    lists = (
        pa.FixedSizeListArray.from_arrays(flat, X.shape[1])
        if fixed
        else pa.ListArray.from_arrays(np.arange(0, X.size + 1, X.shape[1], dtype=np.int32), flat)
    )
    return pa.table({"embedding": lists} | more)


def write_parquet(table, path):
    pq.write_table(table, path, row_group_size=170)
    return path


def write_folder(table, path):
    path.mkdir()
    write_parquet(table.slice(0, 400), path / "a.parquet")
    (path / "deeper").mkdir()
    write_parquet(table.slice(400), path / "deeper" / "b.parquet")
    (path / "_metadata.parquet").write_text("to be skipped")
    return path


def write_feather(table, path):
    feather.write_feather(table, path, chunksize=170)
    return path


def write_stream(table, path):
    with pa.ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=170)
    return path


def open_table(table, path):
    return table


FORMS = {
    "x.parquet": write_parquet,
    "folder": write_folder,
    "x.feather": write_feather,
    "x.arrow": write_stream,
    "table": open_table,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["wide", "fixed", "variable"])
def test_every_form_holds_the_same_rows(form, kind, X, tmp_path, rng):
    table = wide(X) if kind == "wide" else embeddings(X, kind == "fixed")
    source = as_source(FORMS[form](table, tmp_path / form))
    assert source.shape == (N, D)
    assert source.dtype == np.float32
    np.testing.assert_array_equal(source.block(0, N), X)
    for _ in range(20):
        start, stop = np.sort(rng.integers(0, N + 1, 2))
        np.testing.assert_array_equal(source.block(start, stop), X[start:stop])
    index = np.flatnonzero(rng.random(N) < 0.1)
    np.testing.assert_array_equal(source.rows(index), X[index])


def test_a_sliced_table_of_lists_keeps_its_rows(X):
    for fixed in (True, False):
        table = embeddings(X, fixed).slice(100, 300)
        np.testing.assert_array_equal(as_source(table).block(7, 250), X[107:350])


@pytest.mark.parametrize("form", ["x.parquet", "folder", "x.feather", "x.arrow"])
def test_labels_and_weights_come_from_the_same_file(form, X, tmp_path, rng):
    names = np.array(["low", "high"])[rng.integers(0, 2, N)]
    weight = rng.random(N)
    path = FORMS[form](embeddings(X, True, label=names, w=weight, id=np.arange(N)), tmp_path / form)
    table = mz.read(path, target="label", weight="w", columns="embedding")
    assert (table.y == names).all()
    assert (table.sample_weight == weight).all()
    assert table.source.shape == (N, D)
    mixed = mz.read(path, target="label", columns=["id", "embedding"])
    assert mixed.sample_weight is None
    np.testing.assert_array_equal(mixed.source.block(5, 9), np.column_stack([np.arange(5, 9), X[5:9]]))


def test_a_fit_from_parquet_is_the_fit_of_the_array(X, tmp_path, rng):
    y = (X[:, 0] + rng.logistic(size=N) > 0).astype(np.int64)
    path = write_parquet(wide(X, y=y), tmp_path / "x.parquet")
    table = mz.read(path, target="y")
    ours = LogisticRegression().fit(table.source, table.y)
    np.testing.assert_array_equal(ours.coef_, LogisticRegression().fit(X, y).coef_)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("int8", "f4"),
        ("uint16", "f4"),
        ("float16", "f4"),
        ("int32", "f8"),
        ("int64", "f8"),
        ("float64", "f8"),
    ],
)
def test_types_are_read_exactly(dtype, expected, tmp_path, rng):
    X = rng.integers(0, 100, (50, 3)).astype(dtype)
    source = as_source(write_parquet(wide(X), tmp_path / "x.parquet"))
    assert source.dtype == np.dtype(expected)
    np.testing.assert_array_equal(source.block(0, 50), X)


def test_bools_are_zeros_and_ones():
    assert as_source(pa.table({"a": [True, False], "b": [False, False]})).block(0, 2).tolist() == [
        [1, 0],
        [0, 0],
    ]


def test_row_groups_are_read_once_per_pass(X, tmp_path, monkeypatch):
    source = as_source(write_parquet(wide(X), tmp_path / "x.parquet"))
    opened = []
    read_from = ParquetReader.read_from
    monkeypatch.setattr(
        ParquetReader, "read_from", lambda self, number: opened.append(number) or read_from(self, number)
    )
    for start in range(0, N, 96):
        source.block(start, min(start + 96, N))
    assert opened == [0]


def test_a_missing_number_is_named_by_row_and_column(X, tmp_path):
    columns = {f"x{j}": X[:, j].tolist() for j in range(D)}
    columns["x2"][700] = None
    path = write_parquet(pa.table(columns), tmp_path / "x.parquet")
    with pytest.raises(DataError, match=r"NaN.*row 700, column 2"):
        mz.pack(path)


def bad_tables(X):
    lists = X.tolist()
    yield pa.table({"name": ["a"] * 4, "x": [1.0] * 4}), "'name' holds string, not numbers"
    yield pa.table({"e": [*lists[:3], lists[3][:2]]}), "list of 2 numbers in row 3, the first row has 6"
    yield pa.table({"e": [*lists[:2], None]}), "no list in row 2"
    yield pa.table({"e": [None, *lists[:2]]}), "no list in its first row"
    yield pa.table({"x": pa.array([], pa.float32())}), "0 sample|no rows"
    yield pa.table({"x": pa.nulls(3)}), "holds null, not numbers"


@pytest.mark.parametrize("form", ["x.parquet", "x.feather", "table"])
@pytest.mark.parametrize("number", range(6))
def test_columns_that_cannot_be_rows_are_named(form, number, X, tmp_path):
    table, text = list(bad_tables(X))[number]
    with pytest.raises(DataError, match=text):
        mz.pack(FORMS[form](table, tmp_path / form))


def test_unknown_and_doubled_columns_are_named(X, tmp_path):
    path = write_parquet(wide(X), tmp_path / "x.parquet")
    for asked in ({"target": "y"}, {"columns": ["x0", "y"]}, {"weight": "y"}):
        with pytest.raises(DataError, match="has 0 columns 'y'; it has x0, x1"):
            mz.read(path, **asked)
    with pytest.raises(DataError, match="no columns left"):
        mz.read(write_parquet(wide(X[:, :1]), tmp_path / "one.parquet"), target="x0")


def test_a_label_that_is_missing_is_named(X, tmp_path):
    path = write_parquet(wide(X[:3], y=["a", None, "b"]), tmp_path / "x.parquet")
    with pytest.raises(DataError, match="'y' is empty in row 1"):
        mz.read(path, target="y")


def test_files_of_a_folder_must_be_alike(X, tmp_path):
    write_parquet(wide(X), tmp_path / "a.parquet")
    write_parquet(wide(X.astype(np.float64)), tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"b.parquet has other column types"):
        as_source(tmp_path)


def test_a_footer_that_claims_more_rows_than_there_are_is_refused(tmp_path, monkeypatch):
    path = write_parquet(pa.table({"x": np.zeros(5000)}), tmp_path / "x.parquet")
    assert as_source(path).shape == (5000, 1)  # a constant column is far smaller than its rows: counted
    read_metadata = pq.ParquetFile.metadata

    class Lying:
        def __init__(self, true):
            self.true = true

        def row_group(self, number):
            group = self.true.row_group(number)
            return type("Group", (), {"num_rows": group.num_rows * 10**9})

    monkeypatch.setattr(pq.ParquetFile, "metadata", property(lambda self: Lying(read_metadata.fget(self))))
    with pytest.raises(FileError, match=r"claims 170000000000 rows in row group 0"):
        as_source(path)


@pytest.mark.parametrize("form", ["x.parquet", "x.feather", "x.arrow"])
def test_damaged_files_are_errors_that_name_the_file(form, X, tmp_path, rng):
    path = FORMS[form](wide(X), tmp_path / form)
    good = path.read_bytes()
    for cut in (0, 4, len(good) // 2, len(good) - 7):
        path.write_bytes(good[:cut])
        with pytest.raises((FileError, DataError), match=form):
            mz.pack(path)


def test_a_missing_pyarrow_names_the_extra(tmp_path, monkeypatch):
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(FileError, match=r"pip install 'mezzotint\[data\]'"):
        as_source(tmp_path / "x.parquet")
