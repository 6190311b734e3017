"""`mezzotint.read` of all kinds. Caught: capitals in a suffix refused, a folder taken for a damaged file."""

import importlib

import numpy as np
import pytest
from safetensors.numpy import save_file
from sklearn.datasets import dump_svmlight_file

import mezzotint as mz
from mezzotint.errors import FileError, ParameterError


def test_unknown_kinds_name_the_known_ones(tmp_path):
    (tmp_path / "x.h5").write_text("")
    with pytest.raises(FileError, match=r"suffix '.h5'; known are .arrow, .arrows, .csv"):
        mz.read(tmp_path / "x.h5")
    (tmp_path / "x.npy.gz").write_text("")
    with pytest.raises(FileError, match="Unpack it first"):
        mz.read(tmp_path / "x.npy.gz")


@pytest.mark.parametrize("name", ["x.npy", "x.parquet", "x.csv", "x.arrow", "x.svm", "x.safetensors"])
def test_a_file_that_is_not_there_is_named(name, tmp_path):
    with pytest.raises(FileError, match=rf"{name} cannot be read: No such file"):
        mz.read(tmp_path / name)


@pytest.mark.parametrize("name", ["x.parquet", "x.csv", "x.feather", "x.svm", "x.safetensors"])
def test_rubbish_is_an_error_of_ours(name, tmp_path, rng):
    (tmp_path / name).write_bytes(rng.integers(128, 256, 5000).astype(np.uint8).tobytes())
    with pytest.raises(mz.MezzotintError):
        mz.read(tmp_path / name).source.block(0, 1)


def write_as(name, X, folder):
    path = folder / name
    if name == "x.npy":
        np.save(path, X)
    elif name == "x.safetensors":
        save_file({"x": X}, path)
    elif name == "x.svm":
        dump_svmlight_file(X, np.arange(len(X)), str(path))
    elif name == "x.csv":
        np.savetxt(path, X, delimiter=",")
    else:
        table = pytest.importorskip("pyarrow").table({"e": X.tolist(), "f": X[:, 0]})
        if name == "x.parquet":
            importlib.import_module("pyarrow.parquet").write_table(table, path, row_group_size=25)
        else:
            importlib.import_module("pyarrow.feather").write_feather(table, path, chunksize=25)
    return path


@pytest.mark.parametrize("name", ["x.npy", "x.safetensors", "x.svm", "x.csv", "x.parquet", "x.feather"])
def test_mutated_files_are_read_or_refused_but_never_crash(name, tmp_path, rng):
    if name == "x.csv":
        pytest.importorskip("pyarrow")
    good = write_as(name, rng.standard_normal((60, 4)).astype(np.float32), tmp_path).read_bytes()
    outcomes = set()
    for _ in range(100):
        damaged = bytearray(good[: rng.integers(1, len(good))] if rng.random() < 0.3 else good)
        near_an_end = rng.integers(0, min(len(damaged), 150), 3) * (1 if rng.random() < 0.5 else -1)
        for place in near_an_end:
            damaged[place] = rng.integers(0, 256)
        (tmp_path / name).write_bytes(damaged)
        try:
            mz.pack(tmp_path / name)
            outcomes.add("read")
        except mz.MezzotintError:
            outcomes.add("refused")
    assert "refused" in outcomes


def test_suffixes_may_be_in_capitals(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((3, 2)))
    (tmp_path / "x.npy").rename(tmp_path / "X.NPY")
    assert mz.read(str(tmp_path / "X.NPY")).source.shape == (3, 2)


def test_a_folder_without_parquet_says_so(tmp_path):
    pytest.importorskip("pyarrow")
    with pytest.raises(FileError, match="a folder without Parquet files"):
        mz.read(tmp_path)


def test_npy_files_have_no_columns(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((3, 2)))
    with pytest.raises(ParameterError, match=r"no named columns, but y was asked for.*lie in another file"):
        mz.read(tmp_path / "x.npy", target="y")
