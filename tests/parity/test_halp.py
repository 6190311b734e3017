"""Inner epochs: compiled = reference, bit for bit, on every instruction set and for any number of threads.

Caught, each made on purpose and seen to fail here: slabs summed in an order that depended on the threads;
a grid that did not double at 128; rows beyond the last one that took part; a first slab that two threads did;
last bits read a column group too early.
"""

import numpy as np
import pytest

from mezzotint import kernels
from mezzotint.kernels import Layout, native, reference
from mezzotint.kernels.epochs import EpochModel, EpochRows, EpochSchedule
from mezzotint.random import permutation

ISAS = [name for name in kernels.available() if name != "reference"]
PIECEWISE = [("squared_hinge", 3), ("squared_epsilon_insensitive", 2)]


def make_rows(rng, loss, n, K, weighted):
    phi = rng.standard_normal((K, n))
    if loss == "logistic":
        y = (rng.random((1, n)) < 0.5).astype(np.float64)
    elif loss == "squared":
        y = rng.standard_normal((K, n))
    elif loss == "squared_epsilon_insensitive":
        low = rng.standard_normal((K, n))
        y = np.concatenate([low, low + 0.5])
    else:
        y = rng.integers(0, K, (1, n)).astype(np.float64)
    weights = rng.integers(0, 3, n).astype(np.float64) if weighted else None
    return EpochRows(loss=loss, phi=phi, y=y, weights=weights)


def make_case(
    loss,
    n,
    d,
    bits,
    K,
    *,
    weighted=False,
    per_batch=4,
    passes=2,
    step=1e-4,
    quantum=1e-4,
    seed=0,
    levels=None,
):
    rng = np.random.default_rng([n, d, bits, K, seed])
    n_draws = 1 if bits in (4, 8) else 2
    layout = Layout(n_rows=n, n_columns=d, bits=bits, n_draws=n_draws, levels=levels)
    codes = np.empty(layout.n_bytes, np.uint8)
    x = (rng.standard_normal((n, d)) / 3 + 1) * layout.mid_code
    how = {"rounding": "stochastic" if n_draws == 2 or levels else "nearest"}
    reference.pack_rows(x, layout, np.zeros(d), np.ones(d), codes, 0, **how)
    tiles = -(-n // 16)
    n_batches = max(1, tiles // per_batch)
    model = EpochModel(
        shift=rng.standard_normal(d) * 3,
        gradient=rng.standard_normal((K, d + 1)),
        penalty=rng.random(d),
        step=np.append(step * (0.5 + rng.random(d)), 0.1),
    )
    schedule = EpochSchedule(
        order=np.array([permutation(5, tiles, step=p) for p in range(passes)]),
        n_batches=n_batches,
        tail=max(1, passes * n_batches // 4),
        momentum=0.8,
        batch_weight=n_batches / n,
        seed=2**40 + 17,
        first_step=3,
    )
    rows = make_rows(rng, loss, n, K, weighted)
    return codes, layout, rows, model, np.full(K, quantum), schedule


EDGES = [
    (1, 1),
    (15, 16),
    (16, 15),
    (17, 17),
    (63, 31),
    (64, 32),
    (65, 33),
    (127, 64),
    (257, 127),
    (401, 129),
]


@pytest.mark.parametrize("bits", [8, 5, 4, 3, 2])
@pytest.mark.parametrize(("n", "d"), EDGES)
@pytest.mark.parametrize("isa", ISAS)
def test_a_compiled_epoch_equals_the_reference_bit_for_bit(isa, n, d, bits):
    case = make_case("squared", n, d, bits, 2, weighted=n % 2 == 0)
    expected = reference.halp_epoch(*case)
    with kernels.use(isa):
        for n_threads in (1, 2, 3):
            result = native.halp_epoch(*case, n_threads=n_threads)
            np.testing.assert_array_equal(result.average, expected.average)
            assert (result.doublings, result.finite) == (expected.doublings, True)


@pytest.mark.parametrize("per_batch", [1, 13, 40])
@pytest.mark.parametrize("isa", ISAS)
def test_threads_that_share_a_batch_leave_no_trace(isa, per_batch):
    case = make_case("squared", 1000, 40, 8, 2, weighted=True, per_batch=per_batch, passes=8)
    expected = reference.halp_epoch(*case).average
    with kernels.use(isa):
        for n_threads in (1, 2, 3, 7):
            np.testing.assert_array_equal(native.halp_epoch(*case, n_threads=n_threads).average, expected)


@pytest.mark.parametrize("quantum", [1e-9, 1e-6, 1.0])
@pytest.mark.parametrize("isa", ISAS)
def test_a_saturated_offset_doubles_its_grid_in_the_same_way_everywhere(isa, quantum):
    case = make_case("squared", 333, 45, 8, 3, quantum=quantum)
    expected = reference.halp_epoch(*case)
    assert (expected.doublings > 0) == (quantum < 1e-3)
    with kernels.use(isa):
        result = native.halp_epoch(*case, n_threads=2)
    np.testing.assert_array_equal(result.average, expected.average)
    assert result.doublings == expected.doublings


@pytest.mark.parametrize(("loss", "K"), [("logistic", 1), ("softmax", 3), ("softmax", 9), *PIECEWISE])
@pytest.mark.parametrize("isa", ISAS)
def test_all_losses_agree_given_the_same_exp(isa, loss, K):
    case = make_case(loss, 300, 70, 8, K, weighted=True, step=1e-3)
    expected = reference.halp_epoch(*case, slope_changes=native.curvature_rows)
    with kernels.use(isa):
        result = native.halp_epoch(*case, n_threads=3)
    np.testing.assert_array_equal(result.average, expected.average)


@pytest.mark.parametrize(("n", "d"), EDGES)
@pytest.mark.parametrize("loss", ["logistic", "squared", "softmax", "squared_hinge"])
def test_the_float_epoch_has_the_same_bits_everywhere_and_is_close_to_the_reference(loss, n, d):
    K = 1 if loss == "logistic" else 3
    _, _, rows, model, _, schedule = make_case(loss, n, d, 8, K, step=0.05, per_batch=13, passes=3)
    rng = np.random.default_rng(1)
    x = rng.standard_normal((n, d)).astype(np.float32)
    scale = 0.5 + rng.random(d)
    expected = reference.svrg_epoch(x, scale, rows, model, schedule)
    results = []
    for isa in ISAS:
        with kernels.use(isa):
            results += [
                native.svrg_epoch(x, scale, rows, model, schedule, n_threads=t).average for t in (1, 2, 3)
            ]
    for result in results:
        np.testing.assert_array_equal(result, results[0])
    np.testing.assert_allclose(
        results[0], expected.average, rtol=1e-3, atol=1e-4 * np.abs(expected.average).max()
    )


@pytest.mark.parametrize("bits", [8, 5, 4, 3, 2])
@pytest.mark.parametrize("K", [1, 3, 7])
@pytest.mark.parametrize("isa", ISAS)
def test_codes_and_offsets_at_their_extremes_are_multiplied_exactly(isa, K, bits):
    case = make_case("squared", 200, 96, bits, K, quantum=1e-4)
    codes = np.where(np.arange(len(case[0])) % 3 == 0, 255, 0).astype(np.uint8)
    expected = reference.halp_epoch(codes, *case[1:])
    with kernels.use(isa):
        np.testing.assert_array_equal(native.halp_epoch(codes, *case[1:]).average, expected.average)


@pytest.mark.parametrize("isa", ISAS)
def test_diverging_steps_are_reported(isa):
    case = make_case("squared", 200, 40, 8, 1, step=1e3, passes=40)
    with np.errstate(all="ignore"):
        assert not reference.halp_epoch(*case).finite
    with kernels.use(isa):
        assert not native.halp_epoch(*case).finite
