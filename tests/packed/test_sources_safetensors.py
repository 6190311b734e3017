"""Matrices of safetensors files. Caught: offsets believed beyond the end, a shape unlike its bytes."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

import mezzotint as mz
from mezzotint.errors import DataError, FileError, ParameterError
from mezzotint.packed import as_source


def write(path, header, data=b"\0" * 48):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int8", "uint16", "int64", "bool"])
def test_the_only_matrix_is_mapped(dtype, tmp_path, rng):
    X = rng.integers(0, 2, (50, 3)).astype(dtype)
    save_file({"x": X, "bias": np.zeros(3)}, tmp_path / "x.safetensors")
    np.testing.assert_array_equal(as_source(tmp_path / "x.safetensors").block(10, 30), X[10:30])


def test_bfloat16_as_torch_writes_it(tmp_path, rng):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file as save_tensors

    X = torch.arange(60, dtype=torch.float32).reshape(20, 3).to(torch.bfloat16) / 7
    save_tensors({"x": X}, tmp_path / "x.safetensors")
    np.testing.assert_array_equal(as_source(tmp_path / "x.safetensors").block(0, 20), X.float().numpy())


def test_a_matrix_labels_and_weights_are_named(tmp_path, rng):
    tensors = {"a": rng.random((9, 2)), "b": rng.random((9, 4)), "y": np.arange(9), "w": rng.random(9)}
    save_file(tensors, tmp_path / "x.safetensors")
    table = mz.read(tmp_path / "x.safetensors", columns="b", target="y", weight="w")
    np.testing.assert_array_equal(table.source.block(0, 9), tensors["b"])
    np.testing.assert_array_equal(table.y, tensors["y"])
    np.testing.assert_array_equal(table.sample_weight, tensors["w"])
    with pytest.raises(DataError, match="holds 2 matrices"):
        mz.read(tmp_path / "x.safetensors")
    with pytest.raises(DataError, match="has no tensor 'c'"):
        mz.read(tmp_path / "x.safetensors", columns="c")
    with pytest.raises(ParameterError, match="names several tensors"):
        mz.read(tmp_path / "x.safetensors", columns=["a", "b"])


GOOD = {"dtype": "F32", "shape": [4, 3], "data_offsets": [0, 48]}


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"{",
        b"[]",
        b"{" * 10_000,
        {"x": GOOD | {"data_offsets": [0, 52]}},
        {"x": GOOD | {"data_offsets": [0, 2**62]}},
        {"x": GOOD | {"shape": [5, 3], "data_offsets": [0, 60]}},
        {"x": GOOD | {"data_offsets": [48, 0]}},
        {"x": GOOD | {"data_offsets": [0]}},
        {"x": GOOD | {"shape": [4, 4]}},
        {"x": GOOD | {"shape": [-4, -3]}},
        {"x": GOOD | {"shape": [2**40, 2**40]}},
        {"x": GOOD | {"shape": [4.0, 3]}},
        {"x": GOOD | {"shape": [True, 12]}},
        {"x": {"dtype": "F32"}},
        {"x": None},
    ],
)
def test_headers_that_do_not_fit_the_file_are_refused(header, tmp_path):
    with pytest.raises(FileError, match=r"x.safetensors"):
        as_source(write(tmp_path / "x.safetensors", header))


def test_a_header_longer_than_the_file_is_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    for size in (2**63, 10**8, 100):
        path.write_bytes(size.to_bytes(8, "little") + b"{}")
        with pytest.raises(FileError, match=f"its header claims {size} bytes"):
            as_source(path)


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (GOOD | {"shape": [12]}, "holds 0 matrices"),
        ({"dtype": "F8_E4M3", "shape": [4, 12], "data_offsets": [0, 48]}, "holds F8_E4M3"),
        ({"dtype": "F32", "shape": [0, 3], "data_offsets": [0, 0]}, "0 sample"),
    ],
)
def test_tensors_that_cannot_be_rows_are_named(entry, text, tmp_path):
    path = write(tmp_path / "x.safetensors", {"x": GOOD | entry, "__metadata__": {"a": "b"}})
    with pytest.raises(DataError, match=text):
        as_source(path)
