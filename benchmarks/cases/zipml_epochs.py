"""How long is an epoch of ZipML's descent on few bits, beside one of the same descent on float32 rows?

Least squares, double-sampled codes with the correction of their gradients, the model in 16 and in 8 bits,
1024 rows a step. "cached": rows and codes are in memory, tiles in the solver's order, contestants take turns.
"from disk": both are mapped files in the order of the file (a store is shuffled when it is written), whose
pages are dropped from the cache before every epoch (posix_fadvise DONTNEED after fsync; how many pages are
left is checked with mincore). Whether the codes are right is shown elsewhere: here only bytes and time count.
"""

import os
import pathlib
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.disturbance import warning_of_runs
from benchmarks.harness import Record, Run, quick

LEVEL_BITS = (7, 4, 3, 2, 1)
_BATCH_ROWS = 1024


def runs() -> list[Run]:
    """One process per shape and place; one thread too, whose ratio other work disturbs less."""
    shapes = [(4_000, 64)] if quick() else [(200_000, 768), (400_000, 768), (60_000, 5_120)]
    return [
        *(_run(n, d, place, 2) for n, d in shapes for place in ("cached", "from disk")),
        _run(*shapes[0], "cached", 1),
    ]


def _run(n: int, d: int, place: str, n_threads: int) -> Run:
    name = f"{place}, {n} x {d}" + (", one thread" if n_threads == 1 else "")
    arguments = {"n": n, "d": d, "place": place, "n_threads": n_threads}
    return Run(name, "measure", arguments, limit_s=900, repeats=1)


def measure(n: int, d: int, place: str, n_threads: int) -> Record:
    """Times of epochs in turns, and the bytes that each reads."""
    from benchmarks.disturbance import Disturbance

    start, disturbance = time.perf_counter(), Disturbance()
    contestants = _contestants(n, d, place == "from disk", n_threads)
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    left: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(5 if place == "from disk" else 15):
        for name, (epoch, evict, _) in contestants.items():
            left[name].append(evict())
            begin = time.perf_counter()
            epoch()
            seconds[name].append(time.perf_counter() - begin)
    return {
        "place": place,
        "shape": [n, d],
        "seconds_of": {name: times[1:] for name, times in seconds.items()},
        "bytes_of": {name: size for name, (_, _, size) in contestants.items()},
        "resident_share_before": {name: max(shares) for name, shares in left.items()},
        "other_cores": disturbance.other_cores,
        "seconds": time.perf_counter() - start,
    }


Contestant = tuple[Callable[[], Any], Callable[[], float], int]


def _contestants(n: int, d: int, on_disk: bool, n_threads: int) -> dict[str, Contestant]:
    import mezzotint as mz
    from benchmarks.problems import embeddings

    X = embeddings(n, d)
    y = X[:, :8].sum(axis=1)[None].astype(np.float64)
    found: dict[str, Contestant] = {}
    for level_bits in LEVEL_BITS:
        packed = mz.pack(X, bits=level_bits, n_draws=2, keep_source=False)
        codes, evict = _placed(packed.codes, f"codes{level_bits}", on_disk)
        for model_bits in (16, 8):
            epoch = partial(_packed_epoch(packed, codes, y, model_bits, not on_disk), n_threads=n_threads)
            found[f"{packed.bits} bits (2 draws of {level_bits}), model {model_bits}"] = (
                epoch,
                evict,
                codes.nbytes,
            )
    rows, evict = _placed(X, "rows", on_disk)
    epoch = partial(_float_epoch(rows, y, not on_disk), n_threads=n_threads)
    return {"float32": (epoch, evict, X.nbytes), **found}


def _schedule(n: int, d: int, visited: bool, model_bits: int = 16) -> Any:
    from mezzotint.kernels.descent import DescentSchedule
    from mezzotint.linear.visiting import run_length, visiting_order

    tiles, n_batches = -(-n // 16), max(1, n // _BATCH_ROWS)
    run = run_length(tiles, d, n_batches)
    order = visiting_order(0, tiles, run, pass_number=1) if visited else np.arange(tiles)
    return DescentSchedule(
        order=order[None],
        n_batches=n_batches,
        rates=np.ones(1),
        batch_weight=n_batches / n,
        tail=n_batches,
        model_bits=model_bits,
    )


def _columns(d: int, **parts: Any) -> Any:
    from mezzotint.kernels.descent import DescentModel

    step, low = np.full(d + 1, 0.1), np.full(d, -np.inf)
    return DescentModel(step=step, low=low, high=-low, **parts)


def _rows(y: Any) -> Any:
    from mezzotint.kernels.epochs import EpochRows

    return EpochRows(loss="squared", phi=np.zeros_like(y), y=y, weights=None)


def _packed_epoch(packed: Any, codes: Any, y: Any, model_bits: int, visited: bool) -> Callable[..., Any]:
    from mezzotint.kernels import ops

    n, d = packed.shape
    middle = packed.offset + packed.scale * packed.layout.mid_code
    model = _columns(d, scale=packed.scale, centre=middle, corrects=True)
    schedule, rows, start = _schedule(n, d, visited, model_bits), _rows(y), np.zeros((1, d + 1))
    return partial(ops().zipml_epoch, codes, packed.layout, rows, model, schedule, start)


def _float_epoch(x: Any, y: Any, visited: bool) -> Callable[..., Any]:
    from mezzotint.kernels import ops

    n, d = x.shape
    model = _columns(d, scale=np.ones(d), centre=np.zeros(d))
    schedule, rows, start = _schedule(n, d, visited), _rows(y), np.zeros((1, d + 1))
    return partial(ops().sgd_epoch, x, rows, model, schedule, start)


def _placed(array: Any, name: str, on_disk: bool) -> tuple[Any, Callable[[], float]]:
    """The array, or a map of it as a file; and what empties its cache and returns the share left there."""
    if not on_disk:
        return array, lambda: 1.0
    from benchmarks.harness import SCRATCH

    path = pathlib.Path(os.environ[SCRATCH]) / f"{name}.npy"
    np.save(path, array)
    mapped = _Mapped(path)
    return mapped.array, mapped.evict


class _Mapped:
    """A mapped file whose pages can be dropped from the page cache and from the map."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self.array = np.load(path, mmap_mode="r")

    def evict(self) -> float:
        """Drop the pages; returns the share of them that is still in memory."""
        import mmap

        memory: mmap.mmap = self.array._mmap
        memory.madvise(mmap.MADV_DONTNEED)
        with self._path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return _resident_share(self.array)


def _resident_share(array: Any) -> float:
    """Share of the pages of a mapped array that are in memory, by mincore."""
    import ctypes
    import mmap

    first = array.ctypes.data // mmap.PAGESIZE * mmap.PAGESIZE
    length = array.ctypes.data + array.nbytes - first
    pages = (ctypes.c_ubyte * -(-length // mmap.PAGESIZE))()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mincore(ctypes.c_void_p(first), ctypes.c_size_t(length), pages) != 0:
        raise OSError(ctypes.get_errno(), "mincore")
    return float(np.frombuffer(pages, np.uint8).astype(bool).mean())


def table(result: list[Record]) -> str:
    """Milliseconds of an epoch, and how many times faster than float32."""
    lines = ["| rows | samples | MB read | ms an epoch | float32 / this |", "|---|---|---:|---:|---:|"]
    for record in result:
        if record["kind"] != "run" or "seconds_of" not in record["measured"]:
            continue
        seconds = {name: np.array(times) for name, times in record["measured"]["seconds_of"].items()}
        for name, times in seconds.items():
            ratio = np.median(seconds["float32"] / times)
            lines.append(
                f"| {record['name']} | {name} | {record['measured']['bytes_of'][name] / 1e6:.0f} "
                f"| {1e3 * np.median(times):.1f} | {ratio:.1f} |"
            )
    return "\n".join(lines) + warning_of_runs(result)


TABLES = {"zipml-epochs": table}
