"""What a fit is worth beside its reference: one record per problem, and the verdict in it."""

import math
import re
import time
import traceback
import warnings
from typing import Any

import numpy as np
from flint import arb

import mezzotint.linear
from benchmarks.differential import references
from benchmarks.differential.posed import Posed, pose
from benchmarks.differential.problems import Array, Problem
from benchmarks.differential.references import Reference
from mezzotint.errors import DataError

Record = dict[str, Any]

# Verdicts, worst first: a record has the first one that holds.
VERDICTS = (
    "crash",
    "hang",
    "wrong",
    "bound_violated",
    "refused_wrong",
    "estimate_low",
    "ill_posed",
    "undecided",
    "not_counted",
    "refused_ok",
    "ok",
)
SILENT = ("CONVERGED", "FLOOR")
_SLACK = 2.0**12  # factor within which a scale of a column may be taken differently from ours
_NAMES = re.compile(r"\bcolumns?\b|\by\b")  # what a refusal must name
_SLACK_OF_SUMS = arb(1e-15)  # relative rounding error of an objective
_OBJECTIVE = arb(1e-9)  # relative difference of the reported objective from the true one


def fit(problem: Problem) -> Record:
    """Fit and return what came out, in JSON values but for "coef" and "intercept"."""
    estimator = getattr(mezzotint.linear, problem.estimator)(n_jobs=1, **problem.params)
    began = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            estimator.fit(problem.X, problem.y, sample_weight=problem.sample_weight)
        except DataError as error:
            return {"refused": str(error)[:300], "seconds": time.perf_counter() - began}
        except Exception as error:
            where = "".join(traceback.format_exception(error)[-3:])
            return {"crash": where[-600:], "seconds": time.perf_counter() - began}
    result = estimator.result_
    return {
        "seconds": time.perf_counter() - began,
        "status": result.status.name,
        "path": result.solver,
        "n_iter": int(result.n_iter),
        "objective": float(result.objective),
        "gap_estimate": float(result.gap_estimate),
        "gap_bound": float(result.gap_bound),
        "warned": any(issubclass(w.category, UserWarning) for w in caught),
        "warnings": sorted({f"{w.category.__name__}: {str(w.message)[:60]}" for w in caught})[:4],
        "coef": np.atleast_2d(estimator.coef_).astype(np.float64),
        "intercept": np.broadcast_to(np.float64(estimator.intercept_), len(np.atleast_2d(estimator.coef_))),
    }


def judge(problem: Problem, fitted: Record) -> Record:
    """Return the record of a problem."""
    record = {key: value for key, value in fitted.items() if key not in ("coef", "intercept")}
    if "crash" in fitted:
        return {**record, "verdict": "crash"}
    posed, began = pose(problem), time.perf_counter()
    reference = references.solve(posed, problem.stream)
    record["reference_seconds"] = time.perf_counter() - began
    return {**record, **verdict_of(problem, posed, fitted, reference)}


def verdict_of(problem: Problem, posed: Posed, fitted: Record, reference: Reference) -> Record:
    """The verdict and the numbers that it follows from."""
    found: Record = {
        "condition": reference.condition,
        "at_infinity": reference.at_infinity,
        "minimum": _float(reference.value),
        "reference_error": _ratio(reference.error, reference.scale),
    }
    if "refused" in fitted:
        reason = reason_to_refuse(posed, reference) if _NAMES.search(fitted["refused"]) else None
        return {**found, "reason": reason, "verdict": "refused_ok" if reason else "refused_wrong"}
    if not reference.error <= arb(problem.params["tol"]) / 100 * reference.scale:
        return {**found, "verdict": "not_counted"}
    faults = _faults(problem, posed, fitted, reference, found)
    return {**found, "faults": faults, "verdict": next((v for v in VERDICTS if v in faults), "ok")}


def _faults(problem: Problem, posed: Posed, fitted: Record, reference: Reference, found: Record) -> list[str]:
    """All verdicts that hold; leaves the true gaps in `found`."""
    silent = fitted["status"] in SILENT and not fitted["warned"]
    if not (np.isfinite(fitted["coef"]).all() and np.isfinite(fitted["intercept"]).all()):
        return ["wrong" if silent else "undecided", "not_finite"]
    value = reference.objective(fitted["coef"], fitted["intercept"])
    gap = (value - reference.value).lower()  # the least it can be: the infimum is no higher
    found["gap"] = _ratio(gap, reference.scale)
    found["strict_gap"] = _ratio(gap, reference.value)
    found["bound"] = _ratio(arb(fitted["gap_bound"]), reference.scale)
    allowed = 10 * problem.params["tol"] * reference.scale
    far = silent and gap > allowed
    if far and not gap > 10 * reference.rounded:
        return ["ill_posed"]
    if far and not reference.at_infinity and rounding_of_data(posed, reference) > gap:
        plain = references.solve(posed, "large").value  # of what float64 makes of the same columns
        return ["ill_posed"] if value - plain < allowed else ["wrong"]
    holding = [name for name, holds in _checks(fitted, reference, value, gap) if holds]
    return ["wrong", *holding] if far else holding


def _checks(fitted: Record, reference: Reference, value: arb, gap: arb):
    """Verdicts on the evidence that came with the coefficients."""
    converged, silent = fitted["status"] == "CONVERGED", fitted["status"] in SILENT and not fitted["warned"]
    bound, estimate = arb(fitted["gap_bound"]), arb(fitted["gap_estimate"])
    off = abs(value - arb(fitted["objective"]))
    yield "bound_violated", bound.is_nan() or gap > bound
    low = converged and gap > 10 * estimate + _SLACK_OF_SUMS * (value + reference.scale)
    yield "estimate_low", low and gap > 10 * reference.rounded
    yield (
        "objective_off",
        off > _OBJECTIVE * (value + reference.scale) + 10 * _SLACK_OF_SUMS * reference.at_zero,
    )
    # Where there is no minimum a status that says so has decided.
    named = reference.at_infinity and fitted["warned"]
    yield "undecided", not silent and not converged and not named


def reason_to_refuse(posed: Posed, reference: Reference) -> str | None:
    """Name what is no normal float64: the objective, a coefficient, or the penalty of a scaled column."""
    if not (_is_normal(reference.value) and _is_normal(reference.at_zero)):
        return "objective"
    if not all(_is_normal(w) for row in reference.coefs for w in row):
        return "coefficient"
    scales = [arb(float(size)) for size in (*_sizes(posed.X), *_sizes(posed.X - posed.X[0])) if size > 0]
    if not all(_is_normal(reference.penalty / size**2) for size in scales):
        return "scaled penalty"
    return None


def rounding_of_data(posed: Posed, reference: Reference) -> arb:
    """By how much F at the minimum changes if every column changes by what float64 leaves out of it.

    Where columns depend on each other up to that, the minimum is made of it: no gap below is anyone's fault.
    """
    pairs = [
        (abs(w), float(x)) for row in reference.coefs for w, x in zip(row[:-1], _sizes(posed.X), strict=True)
    ]
    moved = sum((w * x for w, x in pairs), arb(0)) * arb(2) ** -53
    slope = (2 * reference.value).sqrt() if posed.loss.startswith("squared") else arb(1)
    return slope * moved + moved**2 / 2


def _sizes(X: Array) -> Array:
    """Scales of columns: of the values, and of their spread, either of which may be refused."""
    return np.abs(X).max(axis=0)


def _is_normal(value: arb) -> bool:
    """Whether a number is zero or surely within the range of float64, some bits away from its ends."""
    size = abs(value.mid())
    if size == 0:
        return True
    return bool(arb(2) ** -1022 * _SLACK < size < arb(2) ** 1024 / _SLACK)


def _ratio(value: arb, scale: arb) -> float:
    if scale > 0:
        return _float(value / scale)
    return math.inf if value > 0 else 0.0


def _float(value: arb) -> float:
    return float(value.mid())
