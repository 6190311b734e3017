"""Loss at equal bits on uniform and on optimal levels, for columns with heavy tails."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from mezzotint.linear.textbook_zipml import optimal_columns
from mezzotint.reproduce.data import DataSet, breast_cancer, california, heavy_tailed
from mezzotint.reproduce.gather import available
from mezzotint.reproduce.least_squares import SEED, LeastSquares, first_matching, tuned
from mezzotint.reproduce.report import Cell, Finding, Picture, Report

_BITS = (2, 3, 4, 5, 6)
_COPIES = 10

Gaps = dict[int, tuple[float, float]]


def run(*, quick: bool, tell: Callable[[str], None]) -> Report:
    """Train with 2 to 6 bits on both kinds of levels, on generated and on real columns."""
    sets, missing = available(_makers(quick))
    rows: list[tuple[Cell, ...]] = []
    findings, steps = [], {}
    lines: dict[str, list[tuple[float, float]]] = {}
    for data in sets:
        tell(f"{data.name}, choosing the step")
        task = tuned(data, epochs=15 if quick else 100)
        gaps = {bits: _gaps(task, bits, tell) for bits in ((2, 4) if quick else _BITS)}
        rows += [_row(task, bits, gaps) for bits in gaps]
        findings += _findings(task, gaps)
        steps[task.name] = task.step
        for kind, name in enumerate(("uniform", "optimal")):
            lines[f"{task.name}: {name}"] = [
                (float(bits), max(pair[kind], 1e-5)) for bits, pair in gaps.items() if pair[kind] < 100
            ]
    return Report(
        title="Gap to full precision's loss on uniform and on optimal levels",
        claim=(
            "ZipML, figures 7 and 10: 3 bits on optimal levels do what 5 bits on uniform ones do "
            "(YearPrediction), 1.7x fewer; at equal bits optimal levels are never worse"
        ),
        columns=("data", "bits", "uniform", "optimal", "uniform / optimal"),
        rows=rows,
        settings={
            "alpha": steps,
            "epochs": task.epochs,
            "batch": task.batch,
            "copies": _COPIES,
            "seed": SEED,
        },
        findings=findings,
        notes=[
            *_in_words(rows),
            "Double sampling, ten copies; optimal levels of every column by the exact dynamic program.",
            "The paper's YearPrediction is not at hand.",
            *missing,
        ],
        picture=Picture(
            title="What optimal levels save in training",
            x="bits per draw",
            y="relative gap to full precision (less than 1e-5: drawn there)",
            lines=lines,
            y_scale="log",
        ),
    )


def _makers(quick: bool) -> list[Callable[[], DataSet]]:
    if quick:
        return [partial(heavy_tailed, kind, 20, n_rows=2000) for kind in ("lognormal", "exponential")]
    kinds = ("lognormal", "exponential", "laplace")
    return [*(partial(heavy_tailed, kind) for kind in kinds), california, breast_cancer]


def _gaps(task: LeastSquares, bits: int, tell: Callable[[str], None]) -> tuple[float, float]:
    """Gap on uniform and on optimal levels."""
    tell(f"{task.name}, {bits} bits")
    levels = optimal_columns(task.problem.features, bits)
    uniform = task.gap(task.draws(bits, copies=_COPIES))
    return uniform, task.gap(task.draws(bits, copies=_COPIES, levels=levels))


def _row(task: LeastSquares, bits: int, gaps: Gaps) -> tuple[Cell, ...]:
    uniform, optimal = gaps[bits]
    ratio = uniform / optimal if min(uniform, optimal) > 0 else None  # converged: gaps of either sign
    return (task.name, bits, uniform, optimal, ratio)


def _findings(task: LeastSquares, gaps: Gaps) -> list[Finding]:
    uniform, optimal = (first_matching({b: pair[kind] for b, pair in gaps.items()}) for kind in (0, 1))
    noise = task.spread()
    fewest = min(gaps)
    return [
        Finding(
            f"{task.name}: at {fewest} bits optimal levels save a third of the gap or more",
            gaps[fewest][1] <= 2 / 3 * gaps[fewest][0],
        ),
        Finding(
            f"{task.name}: at equal bits optimal levels end no higher than uniform ones, but for what "
            "the order of the rows does",
            all(best <= other + noise for other, best in gaps.values()),
        ),
        Finding(
            f"{task.name}: optimal levels match full precision, with no more bits than uniform ones",
            optimal is not None and (uniform is None or optimal <= uniform),
        ),
    ]


def _in_words(rows: list[tuple[Cell, ...]]) -> list[str]:
    """Bits within 1 % of full precision, per data set."""
    texts = []
    for name in dict.fromkeys(row[0] for row in rows):
        found = []
        for kind in (2, 3):
            gaps = {int(row[1]): float(row[kind]) for row in rows if row[0] == name}  # type: ignore[arg-type]
            found.append(first_matching(gaps) or "more")
        texts.append(f"{name}: within 1 % from {found[0]} uniform, {found[1]} optimal bits.")
    return texts
