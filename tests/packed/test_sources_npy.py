"""Unusable .npy files. Caught: a reader that believes the header's shape, and one that unpickles objects."""

import re

import numpy as np
import pytest

import mezzotint as mz
from mezzotint.errors import DataError, FileError
from mezzotint.packed import as_source
from mezzotint.packed.sources_npy import map_samples, read_npy


def object_array(path):
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)


def cut_short(path):
    np.save(path, np.arange(1000.0).reshape(100, 10))
    path.write_bytes(path.read_bytes()[:-9])


def bad_header(path):
    path.write_bytes(b"\x93NUMPY\x01\x00\x10\x00" + b"{" * 16)


def claims(shape):
    def write(path):
        header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
        path.write_bytes(b"\x93NUMPY\x01\x00\x76\x00" + header.encode() + b"\0" * 64)

    return write


@pytest.mark.parametrize(
    ("write", "text"),
    [
        (lambda path: path.write_text("1,2\n"), "is not a .npy file"),
        (lambda path: path.write_bytes(b""), "is not a .npy file"),
        (lambda path: path.mkdir(), "Is a directory"),
        (lambda path: None, "No such file"),
        (object_array, "holds Python objects"),
        (cut_short, "cut short"),
        (bad_header, "cannot be used"),
        (claims("(1000000000, 1000)"), "cannot be used"),
        (claims("(4611686018427387904, 4)"), "cannot be used"),
        (claims("(9223372036854775808, 9223372036854775808)"), "cannot be used"),
        (claims("(-4, -4)"), "cannot be used"),
    ],
)
@pytest.mark.parametrize("mmap", [True, False])
def test_unusable_files_are_named_with_the_reason(tmp_path, write, text, mmap):
    path = tmp_path / "X.npy"
    write(path)
    with pytest.raises(FileError, match=re.escape(text)) as caught:
        read_npy(path, mmap=mmap)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.zeros(3), "Expected 2D array"),
        (np.zeros((0, 3)), "0 sample"),
        (np.zeros((3, 0)), "0 feature"),
        (np.array([["a", "b"]]), "dtype"),
        (np.array([["1", "2"]]), "dtype"),
        (np.zeros((2, 2), np.longdouble), "at most 64 bits"),
        (np.zeros((2, 2), complex), "Complex"),
    ],
)
def test_matrices_that_cannot_be_samples_name_the_file(tmp_path, array, text):
    np.save(tmp_path / "X.npy", array)
    with pytest.raises(DataError, match=text) as caught:
        mz.read(tmp_path / "X.npy")
    assert "X.npy" in str(caught.value)


def test_samples_are_mapped_not_read(tmp_path):
    np.save(tmp_path / "X.npy", np.ones((5, 2)))
    assert isinstance(map_samples(tmp_path / "X.npy"), np.memmap)


def test_a_path_is_packed_like_its_array(tmp_path, rng):
    X = rng.standard_normal((500, 7)).astype(np.float16)
    np.save(tmp_path / "X.npy", X)
    assert (mz.pack(str(tmp_path / "X.npy")).codes == mz.pack(X).codes).all()
    assert as_source(tmp_path / "X.npy").dtype == np.float32
