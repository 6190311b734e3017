"""Descents in few bits: compiled = reference, bit for bit, on every instruction set and number of threads.

Caught, each made on purpose and seen to fail here: coefficients, model or gradient rounded down instead of
at random, a correction left out, a last slab left out, a proximal step that forgot the sign.
"""

import numpy as np
import pytest
from tests.parity.cases import some_levels

from mezzotint import kernels
from mezzotint.kernels import Layout, native, reference
from mezzotint.kernels.descent import DescentModel, DescentSchedule
from mezzotint.kernels.epochs import EpochRows
from mezzotint.kernels.reference.tiles import to_tiles
from mezzotint.random import permutation

ISAS = [name for name in kernels.available() if name != "reference"]
EDGES = [(1, 1), (15, 16), (17, 17), (65, 33), (127, 64), (257, 127), (401, 129), (530, 40)]


def make_rows(rng, loss, n, K, weighted):
    if loss == "logistic":
        y = (rng.random((1, n)) < 0.5).astype(np.float64)
    elif loss == "squared":
        y = rng.standard_normal((K, n))
    else:
        y = rng.integers(0, K, (1, n)).astype(np.float64)
    weights = rng.integers(0, 3, n).astype(np.float64) if weighted else None
    return EpochRows(loss=loss, phi=rng.standard_normal((K, n)), y=y, weights=weights)


def make_model(rng, d, corrects, boxed):
    return DescentModel(
        scale=rng.random(d) * 0.02,
        centre=rng.standard_normal(d),
        step=0.5 + rng.random(d + 1),
        low=np.full(d, -0.03 if boxed else -np.inf),
        high=np.full(d, 0.05 if boxed else np.inf),
        l2=0.1,
        l1=0.02,
        corrects=corrects,
    )


def padded_codes(rng, layout):
    codes = np.zeros((layout.padded_rows, layout.padded_columns), np.uint8)
    codes[: layout.n_rows, : layout.n_columns] = rng.integers(
        0, 2**layout.bits, (layout.n_rows, layout.n_columns)
    )
    return codes


def make_case(
    loss, n, d, bits, K, *, weighted=False, corrects=False, boxed=False, has_levels=False, **options
):
    rng = np.random.default_rng([n, d, bits, K])
    n_draws = 1 if bits in (8, 4) and not has_levels else 2
    levels = some_levels(bits, n_draws) if has_levels else None
    layout = Layout(n_rows=n, n_columns=d, bits=bits, n_draws=n_draws, levels=levels)
    codes = np.empty(layout.n_bytes, np.uint8)
    codes[:] = to_tiles(padded_codes(rng, layout), layout)
    model, rows = make_model(rng, d, corrects, boxed), make_rows(rng, loss, n, K, weighted)
    schedule = make_schedule(n, **options)
    return codes, layout, rows, model, schedule, 0.1 * rng.standard_normal((K, d + 1))


def make_schedule(n, *, passes=2, per_batch=7, rate=0.02, **options):
    tiles = -(-n // 16)
    n_batches = max(1, tiles // per_batch)
    return DescentSchedule(
        order=np.array([permutation(5, tiles, step=p) for p in range(passes)]),
        n_batches=n_batches,
        rates=rate / np.arange(1, passes + 1),
        batch_weight=n_batches / n,
        tail=max(1, n_batches // 2),
        seed=2**40 + 17,
        first_step=3,
        **options,
    )


def assert_same(result, expected):
    assert result.finite is expected.finite is True
    np.testing.assert_array_equal(result.coef, expected.coef)
    np.testing.assert_array_equal(result.average, expected.average)
    np.testing.assert_allclose(result.losses, expected.losses, rtol=1e-12)


@pytest.mark.parametrize("bits", [8, 5, 4, 3, 2])
@pytest.mark.parametrize(("n", "d"), EDGES)
@pytest.mark.parametrize("isa", ISAS)
def test_a_compiled_descent_equals_the_reference_bit_for_bit(isa, n, d, bits):
    options = {"model_bits": 8 if n % 2 else 16, "gradient_bits": (0, 4, 8, 16)[d % 4]}
    case = make_case(
        "squared", n, d, bits, 2, weighted=n % 4 == 2, corrects=d % 2 == 1, boxed=d % 3 == 1, **options
    )
    expected = reference.zipml_epoch(*case)
    assert not np.array_equal(expected.coef, case[-1])
    with kernels.use(isa):
        for n_threads in (1, 2, 3):
            assert_same(native.zipml_epoch(*case, n_threads=n_threads), expected)


@pytest.mark.parametrize("loss", ["logistic", "softmax"])
def test_other_losses_have_the_same_bits_everywhere_and_follow_the_reference(loss):
    K = 1 if loss == "logistic" else 3
    case = make_case(loss, 401, 129, 8, K, weighted=True, rate=0.002)
    expected, first = reference.zipml_epoch(*case), None
    for isa in ISAS:
        with kernels.use(isa):
            for n_threads in (1, 2, 3):
                result = native.zipml_epoch(*case, n_threads=n_threads)
                first = first or result
                np.testing.assert_array_equal(result.coef, first.coef)
                np.testing.assert_array_equal(result.losses, first.losses)
    # exp differs in its last place, which may flip a rounding now and then
    np.testing.assert_allclose(first.coef, expected.coef, rtol=0, atol=1e-3 * np.abs(expected.coef).max())


@pytest.mark.parametrize(("n", "d"), EDGES)
def test_float_rows_have_the_same_bits_everywhere_and_follow_the_reference(n, d):
    rng = np.random.default_rng([n, d])
    x = rng.standard_normal((n, d)).astype(np.float32)
    model = make_model(rng, d, corrects=False, boxed=False)
    model = DescentModel(**{**model.__dict__, "scale": np.ones(d), "centre": np.zeros(d)})
    case = x, make_rows(rng, "squared", n, 2, False), model, make_schedule(n), np.zeros((2, d + 1))
    expected, first = reference.sgd_epoch(*case), None
    for isa in ISAS:
        with kernels.use(isa):
            for n_threads in (1, 2, 3):
                result = native.sgd_epoch(*case, n_threads=n_threads)
                first = first or result
                np.testing.assert_array_equal(result.coef, first.coef)
    np.testing.assert_allclose(first.coef, expected.coef, rtol=1e-4, atol=1e-5)


def test_a_descent_that_diverges_says_so_and_stops():
    case = make_case("squared", 401, 33, 8, 1, rate=1e6, passes=40)
    assert not native.zipml_epoch(*case).finite
    assert not reference.zipml_epoch(*case).finite


def test_arguments_that_do_not_fit_are_refused_before_memory_is_touched():
    codes, layout, rows, model, schedule, start = make_case("squared", 65, 33, 8, 1)
    short = DescentModel(**{**model.__dict__, "low": model.low[:-1]})
    outside = DescentSchedule(**{**schedule.__dict__, "order": schedule.order + 1})
    for changed in (
        (codes[:-1], layout, rows, model, schedule, start),
        (codes, layout, rows, short, schedule, start),
        (codes, layout, rows, model, outside, start),
        (codes, layout, rows, model, schedule, start[:, :-1]),
    ):
        with pytest.raises((ValueError, TypeError)):
            native.zipml_epoch(*changed)
