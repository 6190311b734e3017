"""Minibatches of 16 and 256 rows in 3 bits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mezzotint.reproduce.data import synthetic
from mezzotint.reproduce.least_squares import SEED, LeastSquares, tuned
from mezzotint.reproduce.report import Cell, Finding, Picture, Report

_BATCHES = (16, 256)
_BITS = (3, 4)
_COPIES = 10
_MOST = {3: 0.02, 4: 0.01}  # largest gap at so many bits
_PAPER = {(16, None): 0.4972, (256, None): 0.4972, (16, 3): 0.5006, (256, 3): 0.4994}  # figure 6, epoch 50


def run(*, quick: bool, tell: Callable[[str], None]) -> Report:
    """Train on 100 columns with both sizes, in full precision and in 3 and 4 bits, for 50 epochs."""
    data = synthetic(100, n_rows=4000 if quick else 10_000)
    rows: list[tuple[Cell, ...]] = []
    lines: dict[str, list[tuple[float, float]]] = {}
    gaps: dict[tuple[int, int], float] = {}
    steps: dict[str, float] = {}
    for batch in _BATCHES:
        tell(f"minibatches of {batch}")
        task = tuned(data, epochs=20 if quick else 50, batch=batch)
        steps[str(batch)] = task.step
        rows.append(_row(task, None, task.full.objectives))
        lines[f"{batch} rows: full precision"] = _curve(task.full.objectives)
        for bits in _BITS:
            found = task.run(task.draws(bits, copies=_COPIES)).objectives
            rows.append(_row(task, bits, found))
            lines[f"{batch} rows: {bits} bits"] = _curve(found)
            gaps[batch, bits] = float(found[-1] / task.full.objectives[-1] - 1.0)
    return Report(
        title="Minibatches of 16 and 256 rows, synthetic 100",
        claim=(
            "ZipML, figure 6: at 3 bits and epoch 50 minibatches of 16 and of 256 rows end within 1 % of "
            "full precision, the larger ones closer"
        ),
        columns=("minibatch", "bits", "final loss", "gap", "paper's loss", "paper's gap"),
        rows=rows,
        settings={
            "alpha": steps,
            "rows": len(data.X),
            "epochs": task.epochs,
            "copies": _COPIES,
            "seed": SEED,
        },
        findings=_findings(gaps),
        notes=[
            "Double sampling, ten copies. alpha is tuned in full precision for each size of the minibatch. "
            "It grows in proportion, so an epoch goes as far and its noise adds up to as much: that the "
            "paper sees the larger one closer is not shown here. Whether it reused one alpha is not stated."
        ],
        picture=Picture(title="Loss while training", x="epoch", y="loss", lines=lines, y_scale="log"),
    )


def _findings(gaps: dict[tuple[int, int], float]) -> list[Finding]:
    sizes = [
        Finding(f"{batch} rows, {bits} bits: within {most:.0%} of float", gaps[batch, bits] < most)
        for batch in _BATCHES
        for bits, most in _MOST.items()
    ]
    apart = abs(gaps[256, 3] - gaps[16, 3])
    return [*sizes, Finding("At 3 bits the two sizes end within 0.5 % of each other", apart < 0.005)]


def _row(task: LeastSquares, bits: int | None, objectives: np.ndarray) -> tuple[Cell, ...]:
    last = float(objectives[-1])
    paper, paper_full = _PAPER.get((task.batch, bits)), _PAPER[task.batch, None]
    gap = last / float(task.full.objectives[-1]) - 1.0
    return (task.batch, bits, last, gap, paper, None if paper is None else paper / paper_full - 1.0)


def _curve(objectives: np.ndarray) -> list[tuple[float, float]]:
    return [(float(epoch), float(value)) for epoch, value in enumerate(objectives) if epoch]
