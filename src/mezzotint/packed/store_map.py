"""Several files as one array: shards mapped one behind the other, so that kernels see contiguous codes.

Python's mmap cannot choose an address, so on Linux the system's own call is used: an address range is
reserved, and each shard is mapped over its part. Elsewhere one file is mapped and several are copied.
"""

import ctypes
import mmap
import os
import sys
import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import StoreError

_FIXED = 0x10  # MAP_FIXED: at this address, over what was there
_FAILED = ctypes.c_void_p(-1).value


class Part(NamedTuple):
    """Bytes [offset, offset + length) of an open file."""

    descriptor: int
    offset: int
    length: int


def map_parts(parts: Sequence[Part], *, writable: bool = False) -> NDArray[np.uint8]:
    """Map parts of files one behind the other; the array keeps the mapping alive, not the descriptors.

    Parameters
    ----------
    parts : sequence of Part
        In order; none empty.
    writable : bool
        Changes reach the files.

    Returns
    -------
    ndarray of uint8
        A view of the files, read-only unless `writable`. Where neither one file nor whole pages allow a view
        it is a copy in memory.

    Raises
    ------
    StoreError
        If a view that can be written to is not possible.
    """
    if sys.platform == "linux" and _whole_pages(parts):
        return np.asarray(_Mapping(parts, writable=writable))
    if len(parts) == 1:
        return _map_one(parts[0], writable=writable)
    if writable:
        raise StoreError(
            f"{len(parts)} shards can be written here only one at a time; pass a larger shard_bytes."
        )
    return _copy(parts)


def _whole_pages(parts: Sequence[Part]) -> bool:
    starts = [part.offset for part in parts] + [part.length for part in parts[:-1]]
    return all(start % mmap.PAGESIZE == 0 for start in starts)


def _map_one(part: Part, *, writable: bool) -> NDArray[np.uint8]:
    lead = part.offset % mmap.ALLOCATIONGRANULARITY
    access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
    view = mmap.mmap(part.descriptor, lead + part.length, access=access, offset=part.offset - lead)
    return np.frombuffer(view, dtype=np.uint8, offset=lead)


def _copy(parts: Sequence[Part]) -> NDArray[np.uint8]:
    codes = np.empty(sum(part.length for part in parts), dtype=np.uint8)
    begin = 0
    for descriptor, offset, length in parts:
        read_into(descriptor, offset, codes[begin : begin + length])
        begin += length
    return codes


def read_into(descriptor: int, offset: int, out: NDArray[np.uint8]) -> None:
    """Fill `out` from a file; StoreError if the file has become shorter."""
    done = 0
    while done < len(out):
        got = os.pread(descriptor, min(len(out) - done, 2**24), offset + done)
        if not got:
            raise StoreError(
                "a file of the store became shorter while it was read: it ends before byte "
                f"{offset + len(out)}; copy it again."
            )
        out[done : done + len(got)] = np.frombuffer(got, dtype=np.uint8)
        done += len(got)


class _Mapping:
    """An address range with files mapped into it, given back when the last array on it is gone."""

    def __init__(self, parts: Sequence[Part], *, writable: bool) -> None:
        libc = _library()
        self._length = sum(part.length for part in parts)
        self._writable = writable
        reserve = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        self._address = _checked(libc.mmap(None, self._length, 0, reserve, -1, 0))
        weakref.finalize(self, libc.munmap, self._address, self._length)
        protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        at = self._address
        for descriptor, offset, length in parts:
            _checked(libc.mmap(at, length, protection, mmap.MAP_SHARED | _FIXED, descriptor, offset))
            at += length

    @property
    def __array_interface__(self) -> dict[str, Any]:
        data = (self._address, not self._writable)
        return {"version": 3, "shape": (self._length,), "typestr": "|u1", "data": data}


def _library() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    size, pointer, offset = ctypes.c_size_t, ctypes.c_void_p, ctypes.c_longlong
    libc.mmap.restype = pointer
    libc.mmap.argtypes = [pointer, size, ctypes.c_int, ctypes.c_int, ctypes.c_int, offset]
    libc.munmap.argtypes = [pointer, size]
    return libc


def _checked(address: int | None) -> int:
    if address is None or address == _FAILED:
        code = ctypes.get_errno()
        raise StoreError(
            f"the codes cannot be mapped: {os.strerror(code)}; check the limit of virtual memory"
        )
    return address
