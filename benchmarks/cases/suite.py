"""Do default parameters reach 1e-9 of the optimum on the suite and on large problems, with the same bits?

Every fit has default parameters; the optimum is a float64 Newton reference, gaps are exact (benchmarks/
reference.py). Hashes of the coefficients are compared over 1, 2 and 3 threads and over instruction sets;
for ``solver="halp"`` the gap is measured where the condition number suits it.
"""

import time
from functools import partial
from typing import Any

from benchmarks.harness import Record, Run, quick

LARGE: dict[str, dict[str, Any]] = {
    "large": {"n": 200_000, "d": 768},
    "large, C=1e4": {"n": 200_000, "d": 768, "strength": 1e-4},
    "large, 4096 columns": {"n": 20_000, "d": 4_096},
    "large, steep": {"n": 200_000, "d": 512, "decay": 1.2, "scale": 8.0, "strength": 1e-4},
    "large ridge": {"n": 200_000, "d": 512, "loss": "squared"},
    "large multinomial": {"n": 100_000, "d": 256, "loss": "softmax", "classes": 10},
}
HALP = (
    "tiny",
    "many rows",
    "embeddings",
    "no intercept",
    "ridge",
    "multinomial, packed",
    "digits, binary",
    "svc",
    "svr",
)
FEW_COLUMNS = 2_000  # up to which the condition number is computed


def runs() -> list[Run]:
    """One run per problem."""
    from benchmarks.problems import SUITE

    names = list(SUITE)[:: 9 if quick() else 1] + ([] if quick() else list(LARGE))
    return [Run(name, "check", {"name": name}, limit_s=600, repeats=1) for name in names]


def check(name: str) -> Record:
    """Fit one problem with 8 and 4 bits in every way that must agree."""
    from benchmarks import reference
    from benchmarks.problems import MissingDataError, embedding_problem, suite_problem

    start = time.perf_counter()
    try:
        problem = embedding_problem(name=name, **LARGE[name]) if name in LARGE else suite_problem(name)
    except MissingDataError as reason:
        return {"skipped": str(reason)}
    best = reference.optimum(problem)
    n, d = problem.shape
    one_output = problem.n_outputs == 1 and d <= FEW_COLUMNS
    return {
        "shape": [n, d],
        "loss": problem.loss,
        "outputs": problem.n_outputs,
        "strength": problem.strength,
        "condition": reference.hessian_condition(problem, best) if one_output else None,
        "optimum": best.value,
        "reference_decrement": best.decrement / best.scale,
        "fits": {str(bits): _fits(problem, best, bits) for bits in (8, 4)},
        "halp": _gap(problem, best, bits=8, solver="halp") if name in HALP else None,
        "seconds": time.perf_counter() - start,
    }


def _fits(problem: Any, best: Any, bits: int) -> Record:
    from benchmarks import ours
    from mezzotint import kernels

    fit = partial(ours.fit, problem, bits=bits)
    hashes = {f"n_jobs={n_jobs}": ours.coef_hash(fit(n_jobs=n_jobs)) for n_jobs in (1, 2, 3)}
    for instruction_set in kernels.available():
        if instruction_set != "reference" and not (problem.name in LARGE and instruction_set == "portable"):
            with kernels.use(instruction_set):
                hashes[instruction_set] = ours.coef_hash(fit())
    return {**_gap(problem, best, bits=bits), "hashes": hashes, "same_bits": len(set(hashes.values())) == 1}


def _gap(problem: Any, best: Any, **options: Any) -> Record:
    from benchmarks import ours, reference

    model = ours.fit(problem, **options)
    result, gap = model.result_, reference.gap(problem, best, ours.coefficients(model))
    return {
        "relative_gap": gap / best.scale,
        "estimate": result.gap_estimate / best.scale,
        "bound": result.gap_bound / best.scale,
        "status": result.status.name,
        "solver": result.solver,
        "exact_passes": result.exact_passes,
        "packed_passes": result.packed_passes,
    }


def table(result: list[Record]) -> str:
    """Gap, estimate and bound with 8 and 4 bits."""
    lines = [
        "| problem | n x d | condition | gap, 8 bit | estimate | bound "
        "| gap, 4 bit | estimate | bound | same bits |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for record in result:
        measured = record.get("measured") or {}
        if record["kind"] == "run" and "fits" in measured:
            lines.append(_line(record["name"], measured))
    return "\n".join(lines)


def _line(name: str, measured: Record) -> str:
    n, d = measured["shape"]
    condition = measured["condition"]
    cells = [
        f"{measured['fits'][bits][key]:.0e}"
        for bits in ("8", "4")
        for key in ("relative_gap", "estimate", "bound")
    ]
    same = all(measured["fits"][bits]["same_bits"] for bits in ("8", "4"))
    shown = "" if condition is None else f"{condition:.0e}"
    return f"| {name} | {n} x {d} | {shown} | {' | '.join(cells)} | {'yes' if same else 'NO'} |"


TABLES = {"suite": table}
