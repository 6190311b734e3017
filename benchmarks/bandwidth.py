"""What a plain read of memory reaches on this machine, for kernels to be compared with."""

import ctypes
import functools
import os
import pathlib
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable

import numpy as np

_SOURCE = """
#include <stdint.h>
#include <stddef.h>
uint64_t read_all(const uint64_t *p, size_t count) {
    uint64_t lane[64] = {0};
    for (size_t i = 0; i + 64 <= count; i += 64)
        for (int j = 0; j < 64; ++j) lane[j] += p[i + j];
    uint64_t sum = 0;
    for (int j = 0; j < 64; ++j) sum += lane[j];
    return sum;
}
"""
_BYTES = 2**29  # far more than any cache


@functools.cache
def _reader() -> Callable[..., int] | None:
    """Compile a loop that adds up 64-bit words; None without a C compiler."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        source, library = pathlib.Path(folder) / "read.c", pathlib.Path(folder) / "read.so"
        source.write_text(_SOURCE)
        command = [compiler, "-O3", "-march=native", "-shared", "-fPIC", str(source), "-o", str(library)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            return None
        function = ctypes.CDLL(str(library)).read_all
    function.argtypes, function.restype = [ctypes.c_void_p, ctypes.c_size_t], ctypes.c_uint64
    return function  # type: ignore[no-any-return]


@functools.cache
def _data() -> np.ndarray:
    return np.ones(_BYTES // 8, np.uint64)


def plain_read(n_threads: int) -> float:
    """Bytes per second of one plain read by several threads; NaN without a C compiler."""
    function = _reader()
    if function is None:
        return float("nan")
    parts = np.array_split(_data(), n_threads)
    threads = [threading.Thread(target=function, args=(part.ctypes.data, part.size)) for part in parts]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return _BYTES / (time.perf_counter() - start)
