"""`mezzotint.read` of all kinds. Caught: capitals in a suffix refused, a folder taken for a damaged file."""

import numpy as np
import pytest

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
