"""How much sooner does ZipML's descent reach the training loss of float32 SGD, and of Hogwild?

The paper's FPGA reaches the loss of 32-bit SGD and of 10-core Hogwild 6.5 times sooner on a wide set, 2 to
2.6 times on a narrow one. Here: a least-squares classifier (labels -1 and 1) on two threads. Steps are
rate / pass. The rate of the descents is tuned on float32 and reused; Hogwild's is tuned for itself (float32,
one row a step, see benchmarks/hogwild.py). The target is the loss that float32 has after 20 passes, within
1 %; losses are those of the float rows, measured between passes and outside the timing. Packing is timed
apart: rows are packed once.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.disturbance import warning_of_runs
from benchmarks.harness import Record, Run, quick

LEVEL_BITS = (7, 4, 3)
_N_THREADS = 2
_PASSES, _MOST_PASSES, _TRIAL_PASSES = 20, 60, 5
_RATES = (0.5, 1.0, 2.0, 4.0, 8.0)
_HOGWILD_RATES = (0.125, 0.25, 0.5, 1.0, 2.0)  # over the largest squared length of a row
_WITHIN = 1.01
_BATCH_ROWS = 256

Pass = Callable[[int], Any]  # runs pass number k = 1, 2, ... and returns the weights


def runs() -> list[Run]:
    """One process per shape."""
    shapes = {"wide": (1_000, 64), "narrow": (1_000, 16)}
    if not quick():
        shapes = {"wide": (12_000, 5_120), "narrow": (400_000, 100)}
    return [
        Run(f"{name}, {n} x {d}", "race", {"n": n, "d": d}, limit_s=900, repeats=1)
        for name, (n, d) in shapes.items()
    ]


def race(n: int, d: int) -> Record:
    """Times to the target of every contestant, in turns."""
    from benchmarks.disturbance import Disturbance
    from benchmarks.problems import binary_labels, embeddings

    start, disturbance = time.perf_counter(), Disturbance()
    X = embeddings(n, d)
    y = np.where(binary_labels(X), 1.0, -1.0)
    descents = _Descents(X, y)
    rate = descents.tuned_rate()
    target = _WITHIN * _after(descents.floats(rate), descents.loss, _PASSES)
    makers = {"float32": lambda: descents.floats(rate)}
    makers |= {name: _maker(descents, packed, rate) for name, packed in descents.packed.items()}
    hogwild_rate = _tuned_hogwild(X, y, descents.loss)
    makers["Hogwild, float32"] = lambda: _hogwild(X, y, hogwild_rate)
    times: dict[str, list[Any]] = {name: [] for name in makers}
    for _ in range(3):
        for name, maker in makers.items():
            times[name].append(_time_to(maker(), descents.loss, target))
    return {
        "shape": [n, d],
        "target": target,
        "rate": rate,
        "hogwild_rate": hogwild_rate,
        "seconds_to_target": times,  # [seconds, passes, last loss]; seconds None: not reached
        "packing_seconds": descents.packing_seconds,
        "other_cores": disturbance.other_cores,
        "seconds": time.perf_counter() - start,
    }


def _maker(descents: "_Descents", packed: Any, rate: float) -> Callable[[], Pass]:
    return lambda: descents.on_codes(packed, rate)


class _Descents:
    """The descents of one problem, which share their steps."""

    def __init__(self, X: Any, y: Any) -> None:
        import mezzotint as mz
        from mezzotint.linear.halp_pace import coordinates_of
        from mezzotint.linear.objective import Problem
        from mezzotint.packed import as_source

        self.X, self.y = X, y
        self.packed, self.packing_seconds = {}, {}
        for level_bits in LEVEL_BITS:
            begin = time.perf_counter()
            packed = mz.pack(X, bits=level_bits, n_draws=2, keep_source=False, n_jobs=_N_THREADS)
            name = f"{packed.bits} bits (2 draws of {level_bits})"
            self.packing_seconds[name] = time.perf_counter() - begin
            self.packed[name] = packed
        problem = Problem(
            source=as_source(X),
            packed=None,
            loss="squared",
            y=y[None],
            n_outputs=1,
            weights=None,
            penalty=0.0,
            fit_intercept=False,
            n_threads=_N_THREADS,
        )
        self._coordinates = coordinates_of(problem, np.ones(X.shape[1]), 0)

    def loss(self, w: Any) -> float:
        """Training loss on the float rows."""
        residual = self.X @ w.astype(self.X.dtype) - self.y
        return float(0.5 * np.mean(residual.astype(np.float64) ** 2))

    def tuned_rate(self) -> float:
        """The rate whose loss after a few passes on float rows is least."""
        return min(_RATES, key=lambda r: _after(self.floats(r), self.loss, _TRIAL_PASSES))

    def floats(self, rate: float) -> Pass:
        """The descent on float32 rows."""
        from mezzotint.kernels import ops

        d = self.X.shape[1]
        return self._passes(rate, ops().sgd_epoch, (self.X,), np.ones(d), np.zeros(d), corrects=False)

    def on_codes(self, packed: Any, rate: float) -> Pass:
        """The descent on double-sampled codes."""
        from mezzotint.kernels import ops

        middle = packed.offset + packed.scale * packed.layout.mid_code
        matrix = packed.codes, packed.layout
        return self._passes(rate, ops().zipml_epoch, matrix, packed.scale, middle, corrects=True)

    def _passes(
        self, rate: float, kernel: Any, matrix: Any, scale: Any, centre: Any, *, corrects: bool
    ) -> Pass:
        from mezzotint.kernels.descent import DescentModel, DescentSchedule
        from mezzotint.kernels.epochs import EpochRows
        from mezzotint.linear.visiting import run_length, visiting_order

        n, d = self.X.shape
        n_batches, tiles = max(1, n // _BATCH_ROWS), -(-n // 16)
        length = run_length(tiles, d, n_batches)
        noise = self._coordinates.smooth_row / self._coordinates.smooth / _BATCH_ROWS
        step = self._coordinates.steps(self._coordinates.smooth * (1 + noise))
        low = np.full(d, -np.inf)
        model = DescentModel(scale=scale, centre=centre, step=step, low=low, high=-low, corrects=corrects)
        rows = EpochRows(loss="squared", phi=np.zeros((1, n)), y=self.y[None], weights=None)
        state = [np.zeros((1, d + 1))]

        def run(k: int) -> Any:
            schedule = DescentSchedule(
                order=visiting_order(0, tiles, length, pass_number=k)[None],
                n_batches=n_batches,
                rates=np.array([rate / k]),
                batch_weight=n_batches / n,
                tail=n_batches,
                first_step=k * n_batches,
            )
            result = kernel(*matrix, rows, model, schedule, state[0], n_threads=_N_THREADS)
            state[0] = result.coef
            return result.coef[0, :-1]

        return run


def _hogwild(X: Any, y: Any, rate: float) -> Pass:
    from benchmarks.hogwild import Hogwild

    machine = Hogwild(X, y.astype(X.dtype), _N_THREADS)

    def run(k: int) -> Any:
        machine.epoch(rate / k)
        return machine.coef

    return run


def _tuned_hogwild(X: Any, y: Any, loss: Callable[[Any], float]) -> float:
    longest = float((X[:1000].astype(np.float64) ** 2).sum(axis=1).max())
    rates = [r / longest for r in _HOGWILD_RATES]
    return min(rates, key=lambda r: _after(_hogwild(X, y, r), loss, _TRIAL_PASSES))


def _losses(run: Pass, loss: Callable[[Any], float]) -> Iterator[tuple[float, float]]:
    """Seconds of passes alone, and the loss after each."""
    seconds = 0.0
    for k in range(1, _MOST_PASSES + 1):
        begin = time.perf_counter()
        w = run(k)
        seconds += time.perf_counter() - begin
        with np.errstate(all="ignore"):
            yield seconds, loss(w)


def _after(run: Pass, loss: Callable[[Any], float], passes: int) -> float:
    found = [value for (_, value), _ in zip(_losses(run, loss), range(passes), strict=False)][-1]
    return found if np.isfinite(found) else np.inf


def _time_to(run: Pass, loss: Callable[[Any], float], target: float) -> list[Any]:
    for k, (seconds, value) in enumerate(_losses(run, loss), start=1):
        if value <= target:
            return [seconds, k, value]
    return [None, _MOST_PASSES, value]


def table(result: list[Record]) -> str:
    """Milliseconds and passes to the target, and how many times sooner than float32 and Hogwild."""
    head = "| set | samples | passes | ms to the loss | float32 / this | Hogwild / this | ms of packing |"
    lines = [head, "|---|---|---:|---:|---:|---:|---:|"]
    for record in result:
        if record["kind"] != "run" or "seconds_to_target" not in record["measured"]:
            continue
        measured = record["measured"]
        runs_of = measured["seconds_to_target"]
        median = {
            name: np.median([np.inf if t[0] is None else t[0] for t in found])
            for name, found in runs_of.items()
        }
        for name, found in runs_of.items():
            ratios = [f"{median[peer] / median[name]:.1f}" for peer in ("float32", "Hogwild, float32")]
            if not np.isfinite(median[name]):
                lines.append(f"| {record['name']} | {name} | over {found[0][1]} | not reached | | | |")
                continue
            packing = measured["packing_seconds"].get(name)
            cost = "" if packing is None else f"{1e3 * packing:.0f}"
            lines.append(
                f"| {record['name']} | {name} | {found[0][1]} | {1e3 * median[name]:.1f} "
                f"| {ratios[0]} | {ratios[1]} | {cost} |"
            )
    return "\n".join(lines) + warning_of_runs(result)


TABLES = {"zipml-race": table}
