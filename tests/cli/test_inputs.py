"""Would catch: an unreadable file that crashes, is unpickled, or is reported unclearly."""

import re

import numpy as np
import pytest

from mezzotint.cli.inputs import ReportingSource, check_writable, read_array, read_samples, replacing
from mezzotint.errors import DataError, FileError


def object_array(path):
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)


def cut_short(path):
    np.save(path, np.arange(1000.0).reshape(100, 10))
    path.write_bytes(path.read_bytes()[:-9])


def bad_header(path):
    path.write_bytes(b"\x93NUMPY\x01\x00\x10\x00" + b"{" * 16)


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
    ],
)
@pytest.mark.parametrize("mmap", [True, False])
def test_unusable_files_are_named_with_the_reason(tmp_path, write, text, mmap):
    path = tmp_path / "X.npy"
    write(path)
    with pytest.raises(FileError, match=re.escape(text)) as caught:
        read_array(path, mmap=mmap)
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
        read_samples(tmp_path / "X.npy")
    assert "X.npy" in str(caught.value)


def test_samples_are_mapped_not_read(tmp_path):
    np.save(tmp_path / "X.npy", np.ones((5, 2)))
    assert isinstance(read_samples(tmp_path / "X.npy"), np.memmap)


def test_a_reporting_source_counts_reads_and_rows():
    seen = []
    source = ReportingSource(np.ones((10, 2)), lambda number, rows: seen.append((number, rows)))
    for start in (0, 5, 0):
        assert source.block(start, start + 5).shape == (5, 2)
    assert source.whole is None
    assert seen == [(1, 0), (1, 5), (2, 0)]


def test_a_failed_write_leaves_nothing(tmp_path):
    target = tmp_path / "out"

    def write():
        with replacing(target) as part:
            part.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert not list(tmp_path.iterdir())


def test_a_folder_is_not_a_file_to_write(tmp_path):
    with pytest.raises(FileError, match="is a folder"):
        check_writable(tmp_path)
