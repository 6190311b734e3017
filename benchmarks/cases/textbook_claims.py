"""Do the textbook algorithms keep HALP's claims on 1000 x 100 least squares, over five seeds?

Least squares with label noise 0.1, step 0.002, T = 2 N inner steps, 30 epochs, start at zero, next centre the
last iterate. One epoch costs N + 2 T = 5 N component gradients. Grids of LP-SGD and LP-SVRG span +-2. Runs
are functions of their seeds, so one repeat is enough; what spreads is the seed.
"""

import functools
import time
import warnings

import numpy as np

from benchmarks.harness import Record, Run
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
    synthetic_regression,
)
from mezzotint.linear.textbook_integer import Widths, lm_halp, quantise_features
from mezzotint.random import random_bits

N, D, EPOCHS, STEP = 1000, 100, 30, 0.002
SEEDS = range(1, 6)
MU_WINDOW = {
    4: (2.0, 4.0, 8.0),
    6: (0.473, 1.0, 4.0),
    8: (0.473, 1.0, 2.0, 4.0, 6.0, 8.0, 12.0),
    16: (2.0, 6.0),
}
COMBINATIONS = [(8, 8, 8), (8, 8, 16), (16, 8, 16), (16, 16, 16), (8, 16, 8), (8, 16, 16), (16, 8, 8)]


def runs() -> list[Run]:
    """One contestant per method, width, mu and rule; each runs all seeds."""
    once = functools.partial(Run, n_threads=1, repeats=1)
    fixed = [once("SGD", "descend", {"method": "sgd"}), once("SVRG", "descend", {"method": "svrg"})]
    fixed += [once(f"LP-SGD {b} bits", "descend", {"method": "lp_sgd", "bits": b}) for b in (8, 16)]
    fixed += [
        once(f"LP-SVRG {b} bits", "descend", {"method": "lp_svrg", "bits": b}) for b in (6, 8, 10, 12, 14, 16)
    ]
    centred = [
        once(f"HALP {bits} bits, mu {mu:g}", "descend", {"method": "halp", "bits": bits, "mu": mu})
        for bits, window in MU_WINDOW.items()
        for mu in window
    ]
    integer = [
        once(f"LM-HALP offset {b}, data {x}, step {p}", "integer", {"offset": b, "data": x, "step": p})
        for b, x, p in COMBINATIONS
    ]
    integer += [
        once(
            f"LM-HALP offset {b}, data {x}, rule A",
            "integer",
            {"offset": b, "data": x, "step": b, "rule": "A"},
        )
        for b, x in ((8, 8), (16, 16), (16, 8), (8, 16))
    ]
    return [*fixed, *centred, *integer, once("theorem, option II", "theorem", {"gamma": 0.5, "bits": 15})]


def descend(method: str, bits: int | None = None, mu: float | None = None) -> Record:
    """Run one float method over all seeds."""
    options: dict[str, object] = {"step": STEP}
    if method.startswith("lp"):
        assert bits is not None
        options["grid"] = FixedPoint.spanning(bits=bits, bound=2.0)
    if method == "halp":
        options |= {"bits": bits, "mu": mu}
    call = {"sgd": sgd, "lp_sgd": lp_sgd, "svrg": svrg, "lp_svrg": lp_svrg, "halp": halp}[method]

    def run(problem: LinearProblem, seed: int) -> TextbookResult:
        draws = draw_epochs(1000 + seed, problem, n_features=D, steps=2 * N, epochs=EPOCHS)
        return call(problem, np.zeros(D), draws, **options)

    return over_seeds(run)


def integer(offset: int, data: int, step: int, rule: str = "B") -> Record:
    """Run LM-HALP in integers (mu 2) over all seeds; gradients are those of the quantised samples."""
    widths = Widths(offset=offset, data=data, step=step, rule=rule)

    def run(problem: LinearProblem, seed: int) -> TextbookResult:
        words = random_bits(seed, 0, N * D, stream=32).reshape(N, D)
        samples = quantise_features(problem.features, bits=data, random_bits=words)
        draws = draw_epochs(1000 + seed, problem, n_features=D, steps=2 * N, epochs=EPOCHS)
        return lm_halp(samples, problem.targets, np.zeros(D), draws, step=STEP, mu=2.0, widths=widths)

    return over_seeds(run)


def theorem(gamma: float, bits: int, n_runs: int = 24, epochs: int = 5) -> Record:
    """Run HALP with the theorem's step, width and epoch length; how much of the gap is left per epoch?"""
    problem = synthetic_regression(1)
    mu = float(np.linalg.eigvalsh(problem.features.T @ problem.features / N)[0])
    smoothness = float((problem.features**2).sum(axis=1).max())
    kappa = smoothness / mu
    step = gamma / (4 * smoothness * (1 + gamma))
    noise = 2 * kappa**2 * D * (1 + gamma) / (2 ** (bits - 1) - 1) ** 2
    steps = int(np.ceil(8 * kappa * (1 + gamma) / (gamma**2 - noise)))
    best = problem.objective(np.linalg.lstsq(problem.features, problem.targets, rcond=None)[0])
    ratios, norm_ratios = [], []
    for option, count in (("II", n_runs), ("I", 1)):
        for number in range(count):
            draws = draw_epochs(number, problem, n_features=D, steps=steps, epochs=epochs)
            result = halp(problem, np.zeros(D), draws, step=step, bits=bits, mu=mu, option=option)
            gaps = result.objectives - best
            (ratios if option == "II" else norm_ratios).append(gaps[1:] / gaps[:-1])
    mean = np.mean(ratios, axis=0)
    return {
        "gamma": gamma,
        "kappa": kappa,
        "bits": bits,
        "bits_needed_above": float(1 + np.log2(1 + np.sqrt(2 * kappa**2 * D * (1 + gamma) / gamma**2))),
        "steps_per_epoch": steps,
        "mean_gap_ratio": float(mean.mean()),
        "worst_epoch_gap_ratio": float(mean.max()),
        "standard_error": float(np.std(ratios) / np.sqrt(np.size(ratios))),
        "option_one_worst_gap_ratio": float(np.max(norm_ratios)),
    }


def over_seeds(run) -> Record:
    """Range over the seeds of the gradient norm after 10, 20 and 30 epochs, and what else a claim needs."""
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*coordinates were clipped")
        results = [run(synthetic_regression(seed), seed) for seed in SEEDS]
    seconds = (time.perf_counter() - start) / len(results)
    norms = np.array([[_norm(result, epoch) for epoch in (10, 20, 30)] for result in results])
    measured: Record = {"seconds": seconds}
    for column, epoch in enumerate((10, 20, 30)):
        measured |= {
            f"norm_{epoch}_low": norms[:, column].min(),
            f"norm_{epoch}_high": norms[:, column].max(),
        }
    first = [result.gradient_norms[0] for result in results]
    measured["rate"] = float(np.median((norms[:, 0] / first) ** 0.1))
    measured["clipped"] = float(np.mean([result.saturation_fraction for result in results]))
    measured["clipped_steps"] = int(sum(result.step_saturated.sum() for result in results))
    measured["diverged"] = sum(result.status == "diverged" for result in results)
    return {key: float(value) for key, value in measured.items()}


def _norm(result: TextbookResult, epoch: int) -> float:
    """Gradient norm after an epoch; of a run that diverged before it, the last one."""
    return float(result.gradient_norms[min(epoch, len(result.gradient_norms) - 1)])


def table(result: list[Record]) -> str:
    """Gradient norms, lowest and highest of five seeds."""
    rows = ["| method | after 10 epochs | 20 | 30 | clipped |", "|---|---:|---:|---:|---:|"]
    for record in result:
        measured = record["measured"] if record["kind"] == "run" else {}
        if "norm_30_low" in measured:
            cells = [
                f"{measured[f'norm_{e}_low']:.1e} .. {measured[f'norm_{e}_high']:.1e}" for e in (10, 20, 30)
            ]
            if measured["diverged"]:
                cells[2] = f"{measured['diverged']:.0f} of {len(SEEDS)} diverged"
            rows.append(f"| {record['name']} | {' | '.join(cells)} | {measured['clipped']:.2%} |")
    return "\n".join(rows)


TABLES = {"textbook-claims": table}
