"""One matrix of a safetensors file, mapped; the header is checked against the file before anything else."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import DataError, FileError
from mezzotint.packed.sources_npy import first_bytes

_MAX_HEADER_BYTES = 100_000_000  # the limit of the format
_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "u1",
    "BOOL": "?",
}


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies in its file."""

    kind: str
    shape: tuple[int, ...]
    start: int  # byte in the file


def map_tensor(path: Path, name: str | None) -> tuple[NDArray[Any], bool]:
    """Return (array, whether it holds the bits of bfloat16) of a tensor: the named one, or the only 2-D one.

    Raises
    ------
    FileError
        If the header does not describe the file.
    DataError
        If there is no such tensor, or several could be meant.
    """
    tensors = _read_header(path)
    if name is None:
        matrices = [key for key, tensor in tensors.items() if len(tensor.shape) == 2]
        if len(matrices) != 1:
            raise DataError(
                f"{path} holds {len(matrices)} matrices ({', '.join(list(tensors)[:20])}); "
                "name one: mezzotint.read(path, columns='name')."
            )
        name = matrices[0]
    if name not in tensors:
        raise DataError(f"{path} has no tensor {name!r}; it has {', '.join(list(tensors)[:20])}.")
    tensor = tensors[name]
    if tensor.kind not in _DTYPES:
        raise DataError(f"tensor {name!r} of {path} holds {tensor.kind}; allowed: {', '.join(_DTYPES)}.")
    dtype = np.dtype(_DTYPES[tensor.kind])
    if 0 in tensor.shape:
        return np.empty(tensor.shape, dtype=dtype), tensor.kind == "BF16"
    return np.memmap(path, dtype, "r", tensor.start, tensor.shape), tensor.kind == "BF16"


def _read_header(path: Path) -> dict[str, StoredTensor]:
    """Return all tensors; each lies inside the file and is as long as its shape says."""
    size = int.from_bytes(first_bytes(path, 8), "little")
    end = path.stat().st_size
    if not 2 <= size <= min(_MAX_HEADER_BYTES, end - 8):
        raise FileError(f"{path} is no safetensors file, or cut short: its header claims {size} bytes.")
    try:
        header = json.loads(first_bytes(path, 8 + size)[8:])
        header.pop("__metadata__", None)
        return {name: _entry(entry, 8 + size, end) for name, entry in header.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise FileError(f"{path} is damaged: its header is not valid ({error}). Copy it again.") from error


def _entry(entry: dict[str, Any], data: int, end: int) -> StoredTensor:
    kind, shape, (start, stop) = str(entry["dtype"]), tuple(entry["shape"]), entry["data_offsets"]
    if not all(type(number) is int and number >= 0 for number in (*shape, start, stop)):
        raise ValueError("a shape or offset is not a whole number")
    if not start <= stop <= end - data:
        raise ValueError(f"a tensor ends at byte {data + stop} of {end}")
    if kind in _DTYPES and math.prod(shape) * np.dtype(_DTYPES[kind]).itemsize != stop - start:
        raise ValueError(f"a tensor of {kind} and shape {shape} has {stop - start} bytes")
    return StoredTensor(kind, shape, data + start)
