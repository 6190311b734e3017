"""Norm of the gradient by epochs: where fixed grids and float32 stand still, and bit centering goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mezzotint.formats import FixedPoint
from mezzotint.linear.textbook import (
    LinearProblem,
    TextbookResult,
    draw_epochs,
    halp,
    lp_sgd,
    lp_svrg,
    sgd,
    svrg,
    svrg_float32,
    synthetic_regression,
)
from mezzotint.reproduce.report import Cell, Finding, Picture, Report

_SEED = 1
_EPOCHS = 30
_THIRD = _EPOCHS // 3  # a floor is judged over the last third of the epochs
_SPAN = 2.0  # of fixed grids; the weights lie in [-1, 1]

Norms = NDArray[np.float64]
Runs = dict[str, TextbookResult]


@dataclass(frozen=True, kw_only=True)
class _Setting:
    """Sizes of the problem, what is tuned for them, and the least floors that the claims ask for."""

    n_rows: int
    n_features: int
    step: float
    mu: float
    floors: Mapping[str, float]


_FULL = _Setting(  # floors: docs/claims.md
    n_rows=1000,
    n_features=100,
    step=0.002,
    mu=2.0,
    floors={"LP-SGD: 8 bits": 0.4, "LP-SVRG: 8 bits": 0.5, "LP-SVRG: 16 bits": 2e-3, "SGD": 2.5e-2},
)
_QUICK = _Setting(  # floors: half of what this size gives
    n_rows=200,
    n_features=10,
    step=0.02,
    mu=0.5,
    floors={"LP-SGD: 8 bits": 0.04, "LP-SVRG: 8 bits": 0.04, "LP-SVRG: 16 bits": 1.3e-4, "SGD": 2e-2},
)


def run(*, quick: bool, tell: Callable[[str], None]) -> Report:
    """Run every method from zero on the same rows in the same order."""
    setting = _QUICK if quick else _FULL
    runs: Runs = {}
    for name, method in _methods(setting).items():
        tell(name)
        runs[name] = method()
    return Report(
        title=f"Norm of the gradient, least squares {setting.n_rows} x {setting.n_features}",
        claim=(
            "HALP, abstract: low-precision iterates converge to arbitrarily accurate solutions at a linear "
            "rate, where SGD and SVRG on a fixed grid stop at the accuracy of the grid"
        ),
        columns=("method", "bits of the weights", *_at("epoch {}"), "last third"),
        rows=[_row(name, found) for name, found in runs.items()],
        settings={**asdict(setting), "epochs": _EPOCHS, "seed": _SEED, "grid": _SPAN, "noise": 0.1},
        findings=_findings(setting, runs),
        notes=[
            "An epoch is T = 2 N inner steps; SVRG and HALP also compute a full gradient, N components. "
            "Last third: geometric mean of the norms.",
            "Rows and targets are float32 numbers for everybody, so the floor of float32 is that of its "
            "arithmetic: rows, weights, centre and both gradients of that run are float32. It ends where a "
            "step is less than half of the weights' last place.",
            "HALP holds the offset in few bits, and centre, full gradient and quantum in float64; with a "
            "centre in float32 it would stop as well, though later. mu is tuned, as in the paper.",
        ],
        picture=Picture(
            title=f"Least squares {setting.n_rows} x {setting.n_features}, step {setting.step:g}",
            x="epoch",
            y="norm of the gradient",
            lines={name: list(enumerate(_norms(found).tolist())) for name, found in runs.items()},
            y_scale="log",
        ),
    )


def _methods(setting: _Setting) -> dict[str, Callable[[], TextbookResult]]:
    problem, d = _problem(setting), setting.n_features

    def descend(method: Callable[..., TextbookResult], **options: object) -> Callable[[], TextbookResult]:
        draws = draw_epochs(1000 + _SEED, problem, n_features=d, steps=2 * setting.n_rows, epochs=_EPOCHS)
        return partial(method, problem, np.zeros(d), draws, step=setting.step, **options)

    def on_grid(bits: int) -> FixedPoint:
        return FixedPoint.spanning(bits=bits, bound=_SPAN)

    return {
        "SGD": descend(sgd),
        "SVRG: float64": descend(svrg),
        "SVRG: float32": descend(svrg_float32),
        **{f"LP-SGD: {bits} bits": descend(lp_sgd, grid=on_grid(bits)) for bits in (8, 16)},
        **{f"LP-SVRG: {bits} bits": descend(lp_svrg, grid=on_grid(bits)) for bits in (8, 16)},
        **{f"HALP: {bits} bits": descend(halp, bits=bits, mu=setting.mu) for bits in (8, 16)},
    }


def _problem(setting: _Setting) -> LinearProblem:
    """The set of the claims, rounded to numbers that float32 holds."""
    found = synthetic_regression(_SEED, n_rows=setting.n_rows, n_features=setting.n_features)
    features, targets = (v.astype(np.float32).astype(np.float64) for v in (found.features, found.targets))
    return replace(found, features=features, targets=targets)


# ---- the table


def _at(text: str) -> list[str]:
    return [text.format(epoch) for epoch in (_THIRD, 2 * _THIRD, _EPOCHS)]


def _row(name: str, found: TextbookResult) -> tuple[Cell, ...]:
    method, _, width = name.partition(": ")
    bits = int(width.replace("float", "").replace(" bits", "") or 64)
    norms = _norms(found)
    return (method, bits, *(float(norms[epoch]) for epoch in (_THIRD, 2 * _THIRD, _EPOCHS)), _level(norms))


def _norms(found: TextbookResult) -> Norms:
    """One norm per epoch: a run that ended at a zero gradient stays there, one that diverged is infinite."""
    missing = _EPOCHS + 1 - len(found.gradient_norms)
    return np.append(found.gradient_norms, [0.0 if found.status == "stationary" else np.inf] * missing)


def _level(norms: Norms) -> float:
    """Geometric mean of the last third; zero where one of them is zero."""
    with np.errstate(divide="ignore"):
        return float(np.exp(np.log(norms[-_THIRD:]).mean()))


# ---- the statements


def _findings(setting: _Setting, runs: Runs) -> list[Finding]:
    norms = {name: _norms(found) for name, found in runs.items()}
    halp_8, svrg_32 = norms["HALP: 8 bits"], norms["SVRG: float32"]
    return [
        Finding(
            "SVRG in float32 stands still, and in float64 goes on to less than a thousandth of that",
            _stands(svrg_32) and bool(norms["SVRG: float64"][-1] < 1e-3 * _level(svrg_32)),
        ),
        Finding(
            "HALP with 8 bits ends below a hundredth of the floor of SVRG in float32",
            bool(halp_8[-1] < 1e-2 * _level(svrg_32)),
        ),
        Finding(
            "HALP with 8 bits ends ten orders of magnitude below LP-SGD with 8 bits",
            bool(halp_8[-1] < 1e-10 * _level(norms["LP-SGD: 8 bits"])),
        ),
        Finding(
            "HALP with 16 bits stays within a factor of 3 of SVRG in float64, epoch by epoch",
            _follows(norms["HALP: 16 bits"], norms["SVRG: float64"], 3.0),
        ),
        Finding("The quantum of HALP with 8 bits falls geometrically", _falls(runs["HALP: 8 bits"].scales)),
        *(
            Finding(
                f"{name.replace(':', ',')}: stands still, at {floor:g} or more", _stalls(norms[name], floor)
            )
            for name, floor in setting.floors.items()
        ),
        Finding(
            "LP-SGD with 16 bits stands still where SGD does",
            _follows(norms["LP-SGD: 16 bits"][-_THIRD:], norms["SGD"][-_THIRD:], 1.25),
        ),
    ]


def _stands(norms: Norms) -> bool:
    """Whether the last sixth is no lower than the one before, within the noise of a floor."""
    if not (np.isfinite(norms) & (norms > 0)).all():
        return False
    before, last = np.log(norms[-_THIRD:]).reshape(2, -1).mean(axis=1)
    return bool(last > before - np.log(2))


def _stalls(norms: Norms, floor: float) -> bool:
    return _stands(norms) and _level(norms) >= floor


def _follows(norms: Norms, others: Norms, factor: float) -> bool:
    return bool((norms <= factor * others).all() and (others <= factor * norms).all())


def _falls(scales: Norms) -> bool:
    """Whether logarithms lie on a falling line: R^2 of the fit above 0.99, and six decades or more."""
    if len(scales) < _EPOCHS or not (np.isfinite(scales).all() and (scales > 0).all()):
        return False
    logs = np.log10(scales)
    correlation = np.corrcoef(np.arange(len(logs)), logs)[0, 1] if np.ptp(logs) > 0 else 0.0
    return bool(correlation < 0 and correlation**2 > 0.99 and logs[0] - logs[-1] > 6)
