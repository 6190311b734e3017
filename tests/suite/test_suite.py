"""Would catch: an estimate of the gap 90 times too large (HALP's own), a sampled row alone in its column.

Default estimators reach the optimum of the float problem, say how close they are, and repeat to the bit.

The problems and the float64 reference optima are those of the benchmarks; the largest sizes are computed by
``benchmarks/cases/suite.py`` into a committed result file instead.
"""

import functools

import numpy as np
import pytest
from benchmarks.cases.suite import HALP
from benchmarks.problems import SUITE, LinearProblem, MissingDataError, suite_problem

from benchmarks import ours, reference
from mezzotint import kernels
from mezzotint.linear.newton import is_small

LOSSES = ("logistic", "squared", "softmax", "squared_hinge", "squared_epsilon_insensitive")
TOLERANCE = 1e-9  # of the relative gap, with default parameters
NOISE = 1e-14  # relative gaps below are rounding errors of the gradient: estimates of them mean nothing
NATIVE = [name for name in kernels.available() if name != "reference"]


@functools.cache
def problem(name: str) -> LinearProblem:
    try:
        return suite_problem(name)
    except MissingDataError as reason:
        pytest.skip(str(reason))


@functools.lru_cache(maxsize=4)
def default_fit(name: str, bits: int):
    return ours.fit(problem(name), bits=bits)


on_the_suite = pytest.mark.parametrize(("name", "bits"), [(name, bits) for name in SUITE for bits in (8, 4)])


def assert_solved_and_certified(data, model):
    best = reference.optimum(data)
    gap = reference.gap(data, best, ours.coefficients(model))
    assert gap <= TOLERANCE * best.scale
    result = model.result_
    assert result.gap_bound >= gap
    if gap > NOISE * best.scale:
        assert gap / 3 <= result.gap_estimate <= 3 * gap
    assert result.objective == pytest.approx(best.value, rel=1e-8)


@on_the_suite
def test_default_parameters_reach_the_optimum_and_the_certificate_holds(name, bits):
    assert_solved_and_certified(problem(name), default_fit(name, bits))


@pytest.mark.parametrize("tol", [1e-2, 1e-4])
@pytest.mark.parametrize(
    "name", ["digits", "digits, C=1e4", "multinomial", "nearly separable", "digits, binary"]
)
def test_a_loose_tolerance_is_kept_and_its_estimate_holds_where_all_rows_are_used(name, tol):
    """Blocks of M per class alone underestimated the gap of digits at C = 1e4 four times."""
    data, model = problem(name), ours.fit(problem(name), tol=tol)
    best = reference.optimum(data)
    gap = reference.gap(data, best, ours.coefficients(model))
    assert gap <= tol * best.scale
    if gap > NOISE * best.scale:
        assert gap / 3 <= model.result_.gap_estimate <= 3 * gap


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("name", HALP)
def test_halp_does_so_where_the_condition_number_suits_it(name, bits):
    assert_solved_and_certified(problem(name), ours.fit(problem(name), bits=bits, solver="halp"))


@on_the_suite
def test_coefficients_are_the_same_bits_for_any_number_of_threads(name, bits):
    data = problem(name)
    if bits == 4 and is_small(*data.shape, bits):
        pytest.skip("no packed copy: the same computation as with 8 bits")
    hashes = {ours.coef_hash(ours.fit(data, bits=bits, n_jobs=n_jobs)) for n_jobs in (1, 2, 3)}
    assert hashes == {ours.coef_hash(default_fit(name, bits))}


@on_the_suite
def test_coefficients_are_the_same_bits_on_every_instruction_set(name, bits):
    if bits == 4 and is_small(*problem(name).shape, bits):
        pytest.skip("no packed copy: the same computation as with 8 bits")
    hashes = {ours.coef_hash(default_fit(name, bits))}
    for instruction_set in NATIVE[:-1]:
        with kernels.use(instruction_set):
            hashes.add(ours.coef_hash(ours.fit(problem(name), bits=bits)))
    assert len(hashes) == 1


def test_the_suite_covers_what_it_promises():
    problems = [problem(name) for name in SUITE if not name.startswith(("a9a", "California"))]
    rows, columns = zip(*(data.shape for data in problems), strict=True)
    assert min(rows) <= 500
    assert max(rows) >= 200_000
    assert min(columns) <= 5
    assert max(columns) >= 4_096
    assert {data.loss for data in problems} == set(LOSSES)
    assert any(data.loss == "logistic" and not 0.05 < np.mean(data.y) < 0.95 for data in problems)
