"""What plain loops over memory reach on this machine, for kernels to be compared with."""

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
void update_all(uint64_t *p, size_t count) {
    for (size_t i = 0; i + 64 <= count; i += 64) {
        for (int line = 0; line < 8; ++line) __builtin_prefetch(p + i + 512 + 8 * line, 1);
        for (int j = 0; j < 64; ++j) p[i + j] += 1;
    }
}
"""
_BYTES = 2**29  # far more than any cache


@functools.cache
def _loops() -> ctypes.CDLL | None:
    """Compile loops over 64-bit words; None without a C compiler."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        source, library = pathlib.Path(folder) / "loops.c", pathlib.Path(folder) / "loops.so"
        source.write_text(_SOURCE)
        command = [compiler, "-O3", "-march=native", "-shared", "-fPIC", str(source), "-o", str(library)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            return None
        return ctypes.CDLL(str(library))


@functools.cache
def _data() -> np.ndarray:
    return np.ones(_BYTES // 8, np.uint64)


def plain_read(n_threads: int) -> float:
    """Bytes per second of one plain read by several threads; NaN without a C compiler."""
    return _BYTES / _seconds("read_all", n_threads)


def plain_update(n_threads: int) -> float:
    """Bytes per second, read and written, of a loop that changes numbers where they are; or NaN."""
    return 2 * _BYTES / _seconds("update_all", n_threads)


def _seconds(loop: str, n_threads: int) -> float:
    loops = _loops()
    if loops is None:
        return float("nan")
    function: Callable[..., None] = getattr(loops, loop)
    parts = np.array_split(_data(), n_threads)
    arguments = [(ctypes.c_void_p(part.ctypes.data), ctypes.c_size_t(part.size)) for part in parts]
    threads = [threading.Thread(target=function, args=each) for each in arguments]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - start
