"""Measure what docs/guide-modes.md and docs/zipml-solver.md state: `python docs/measure_modes.py`.

Prints their tables and writes docs/modes.svg. All sizes and seeds are below; about two minutes. The loss is
half the mean square on the float rows, given as its distance to the optimum's. The penalty is `PENALTY`.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

import mezzotint as mz
from mezzotint.linear import Ridge
from mezzotint.linear.textbook import synthetic_regression
from mezzotint.random import random_bits

PENALTY = 1e-3
DIGITS_BITS = (2, 3, 4, 5, 8)  # stored bits of a value
ROWS = (2_000, 6_000, 20_000, 60_000, 200_000)  # of the synthetic set, d = 100, seed 1, noise 1
ROWS_BITS = 3
COPY_ROWS, COPY_BITS, COPIES = 20_000, (3, 4, 5, 8), 5
SEEDS = (0, 1, 2)

Floats = NDArray[np.float64]
Data = tuple[Floats, Floats]
Table = dict[str, list[Floats]]  # of each mode, for each abscissa, the excess of every seed in per cent


def digits() -> Data:
    """Pixels of scikit-learn's digits that vary; odd 1, even -1."""
    X, digit = load_digits(return_X_y=True)
    return np.ascontiguousarray(X[:, X.std(axis=0) > 0]), np.where(digit % 2, 1.0, -1.0)


def synthetic(n_rows: int) -> Data:
    """Normal features, weights uniform in [-1, 1], noise of variance 1."""
    problem = synthetic_regression(seed=1, n_rows=n_rows, n_features=100, noise=1.0)
    return problem.features, problem.targets


def one_code(X: Floats, bits: int, seed: int | None) -> mz.PackedMatrix:
    """One code per value, nearest or (with a seed) stochastically rounded, between the ends of its column."""
    low, scale = X.min(axis=0), np.ptp(X, axis=0) / (2**bits - 1)
    up: float | Floats = 0.5
    if seed is not None:
        up = random_bits(seed=seed, start=0, count=X.size, step=0).reshape(X.shape) / 2**32
    return mz.from_codes(np.floor((X - low) / scale + up).astype(np.uint8), scale=scale, offset=low)


def two_draws(X: Floats, bits: int, seed: int) -> mz.PackedMatrix:
    """Double-sampled codes in `bits` stored bits, no source."""
    return mz.pack(X, bits=bits - 1, n_draws=2, keep_source=False, random_state=seed)


def fitted(packed: mz.PackedMatrix, y: Floats, **options: object) -> tuple[Floats, float]:
    """Weights and intercept of a fit on some codes."""
    model = Ridge(alpha=PENALTY * len(y), **options).fit(packed, y)
    return model.coef_, model.intercept_


def own_minimum(packed: mz.PackedMatrix, y: Floats) -> tuple[Floats, float]:
    """Return the minimum of the loss that one copy of the draws estimates, from its normal equations."""
    m = packed.unpack(dtype=np.float64)
    odd = np.rint((m - packed.offset) / packed.scale) % 2
    mean, variance = m.mean(axis=0), (packed.scale**2 * odd).mean(axis=0)
    m -= mean
    hessian = m.T @ m / len(y) + np.diag(PENALTY - variance)
    w = np.linalg.solve(hessian, m.T @ (y - y.mean()) / len(y))
    return w, float(y.mean() - mean @ w)


def in_turn(X: Floats, y: Floats, bits: int, seed: int) -> tuple[Floats, float]:
    """Descend on several copies, each with draws of its own, read one after the other."""
    copies = two_draws([X] * COPIES, bits, seed)  # draws belong to row numbers, so repeated rows get new ones
    return fitted(copies, np.tile(y, COPIES), solver="zipml", max_iter=100 // COPIES)


def modes(X: Floats, y: Floats, bits: int, seed: int) -> dict[str, tuple[Floats, float]]:
    """What each mode makes of as many stored bits."""
    return {
        "nearest codes, exact": fitted(one_code(X, bits, None), y),
        "naive: one random draw, exact": fitted(one_code(X, bits, seed), y),
        'two draws, solver="zipml"': fitted(two_draws(X, bits, seed), y, solver="zipml"),
    }


def copies(X: Floats, y: Floats, bits: int, seed: int) -> dict[str, tuple[Floats, float]]:
    """What can be made of double-sampled codes."""
    packed = two_draws(X, bits, seed)
    return {
        "zipml, one copy": fitted(packed, y, solver="zipml"),
        "own minimum of that copy": own_minimum(packed, y),
        f"zipml, {COPIES} copies in turn": in_turn(X, y, bits, seed),
        "exact optimum of the means": fitted(packed, y),
        "nearest codes, exact": fitted(one_code(X, bits, None), y),
    }


def measure(
    compare: Callable[[Floats, Floats, int, int], dict[str, tuple[Floats, float]]],
    cases: list[tuple[Data, int]],
) -> Table:
    """Excess of every seed, for each way of training and each (data, bits)."""
    table: Table = {}
    for (X, y), bits in cases:
        best = loss(X, y, Ridge(alpha=PENALTY * len(y)).fit(X, y))
        runs = [compare(X, y, bits, seed) for seed in SEEDS]
        for name in runs[0]:
            excess = [100 * (_loss(X, y, *run[name]) / best - 1) for run in runs]
            table.setdefault(name, []).append(np.array(excess))
    return table


def loss(X: Floats, y: Floats, model: Ridge) -> float:
    """Half the mean square on the float rows."""
    return _loss(X, y, model.coef_, model.intercept_)


def _loss(X: Floats, y: Floats, w: Floats, b: float) -> float:
    return 0.5 * float(np.mean((X @ w + b - y) ** 2))


def show(title: str, heads: tuple[int, ...], table: Table) -> None:
    """Write a table in Markdown: mean over the seeds, in per cent."""
    lines = [f"| {title} | " + " | ".join(f"{head:,}" for head in heads) + " |"]
    lines.append("|---" * (len(heads) + 1) + "|")
    for name, cells in table.items():
        lines.append(f"| {name} | " + " | ".join(_percent(cell.mean()) for cell in cells) + " |")
    sys.stdout.write("\n".join(lines) + "\n\n")


def _percent(value: float) -> str:
    return f"{value:.0f} %" if value >= 10 else f"{value:.2f} %" if value >= 0.1 else f"{value:.2g} %"


def draw(left: Table, right: Table, path: Path) -> None:
    """Draw both comparisons, as the same bytes whenever the numbers are the same."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.hashsalt": "mezzotint", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(9, 3.4), layout="constrained")
        axes = figure.subplots(1, 2)
        panels = ((left, DIGITS_BITS, "stored bits per value"), (right, ROWS, "rows"))
        for ax, (table, at, label) in zip(axes, panels, strict=True):
            for (name, cells), marker in zip(table.items(), "os^", strict=True):
                ax.plot(at, [np.mean(cell) for cell in cells], marker=marker, label=name)
            ax.set(xlabel=label, yscale="log", ylabel="training loss above the optimum's, %")
            ax.grid(alpha=0.3)
        axes[0].set(title="digits, 1,797 x 61", xticks=DIGITS_BITS)
        axes[1].set(title=f"synthetic, d = 100, {ROWS_BITS} stored bits", xscale="log")
        axes[0].legend(frameon=False)
        figure.savefig(path, format="svg", metadata={"Date": None})


def main() -> None:
    """Measure, print and draw."""
    left = measure(modes, [(digits(), bits) for bits in DIGITS_BITS])
    show("digits, stored bits", DIGITS_BITS, left)
    right = measure(modes, [(synthetic(n), ROWS_BITS) for n in ROWS])
    show(f"{ROWS_BITS} stored bits, rows", ROWS, right)
    data = synthetic(COPY_ROWS)
    show("stored bits", COPY_BITS, measure(copies, [(data, bits) for bits in COPY_BITS]))
    draw(left, right, Path(__file__).with_name("modes.svg"))


if __name__ == "__main__":
    main()
