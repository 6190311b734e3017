"""What the functions of a case use inside their process: arrays made once, and peak memory."""

import contextlib
import os
import pathlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import SCRATCH


def cached_array(name: str, make: Callable[[], NDArray], *, mmap: bool = False) -> NDArray:  # type: ignore[type-arg]
    """Return the array called `name`, made once per case and then read from its scratch folder."""
    path = pathlib.Path(os.environ[SCRATCH]) / f"{name}.npy"
    if not path.exists():
        part = path.with_suffix(f".{os.getpid()}.npy")
        np.save(part, make())
        part.replace(path)
    array: NDArray = np.load(path, mmap_mode="r" if mmap else None)  # type: ignore[type-arg]
    return array


@dataclass
class Memory:
    """Resident memory around a piece of work, in bytes."""

    before: int = 0
    peak: int = 0

    @property
    def beyond(self) -> int:
        """Most that was held beyond what was there before."""
        return max(0, self.peak - self.before)


@contextlib.contextmanager
def peak_memory() -> Iterator[Memory]:
    """Measure the peak resident memory of the block (Linux: the high-water mark is reset at its start)."""
    memory = Memory()
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    memory.before = _status("VmRSS")
    try:
        yield memory
    finally:
        memory.peak = _status("VmHWM")


def _status(key: str) -> int:
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key + ":"))
