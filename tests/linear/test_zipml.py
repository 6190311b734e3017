"""Descent on codes alone: caught floors instead of random rounding, no correction, a lost slab, lost signs.

The first were made in the rounding of row coefficients, of the model and of the gradient, one at a time; each
was seen to fail here (the mean step leaves the float gradient), as were steps without the correction of
double-sampled gradients, sums without the last slab, proximal steps that forgot the sign, and a correction on
optimal levels that counted odd codes instead of squaring their gaps. The derived excess of the loss was seen
to fail without the correction. Caught too: settings of a wrong kind that passed, a rate of 1e9 that was
called noise, weights that were refused only after packing.
"""

import numpy as np
import pytest
from scipy.optimize import lsq_linear
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso

import mezzotint as mz
from mezzotint.errors import DataError, ParameterError
from mezzotint.kernels import native
from mezzotint.kernels.descent import DescentModel, DescentSchedule
from mezzotint.kernels.epochs import EpochRows
from mezzotint.linear import LinearRegression, LogisticRegression, Ridge, ZipML
from mezzotint.packed import as_source


@pytest.fixture(scope="module")
def regression():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 2, (6000, 20))
    y = X @ rng.standard_normal(20) + 3.0 + 0.5 * rng.standard_normal(6000)
    return X, y


def loss(X, y, model):
    return 0.5 * np.mean((X @ model.coef_ + model.intercept_ - y) ** 2)


def one_step(packed, y, w, *, corrects=True, **bits):
    """Weights after one step of length 1 over all rows."""
    n, d = packed.shape
    model = DescentModel(
        scale=packed.scale,
        centre=packed.offset + packed.scale * packed.layout.mid_code,
        step=np.ones(d + 1),
        low=np.full(d, -np.inf),
        high=np.full(d, np.inf),
        corrects=corrects,
    )
    tiles = -(-n // 16)
    schedule = DescentSchedule(
        order=np.arange(tiles)[None], n_batches=1, rates=np.ones(1), batch_weight=1 / n, **bits
    )
    rows = EpochRows(loss="squared", phi=np.zeros((1, n)), y=y[None], weights=None)
    return native.zipml_epoch(packed.codes, packed.layout, rows, model, schedule, w[None]).coef[0]


def z_scores(samples, truth):
    return (samples.mean(axis=0) - truth) / (samples.std(axis=0, ddof=1) / np.sqrt(len(samples)))


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("options", [{}, {"model_bits": 8, "gradient_bits": 8}])
def test_a_step_moves_along_the_float_gradient_in_the_mean(bits, options):
    rng = np.random.default_rng(bits)
    X, y, w = rng.standard_normal((48, 6)), rng.standard_normal(48), rng.standard_normal(7)
    residual = X @ w[:-1] + w[-1] - y
    truth = w - np.append(X.T @ residual, residual.sum()) / 48
    found, naive = [], []
    for seed in range(600):
        packed = mz.pack(X, bits=bits, n_draws=2, keep_source=False, random_state=seed)
        found.append(one_step(packed, y, w, seed=seed, **options))
        naive.append(one_step(packed, y, w, corrects=False, seed=seed, **options))
    # 7 coordinates x 10 cases: |z| > 4.5 happens by chance in one run of 2000
    assert np.abs(z_scores(np.array(found), truth)).max() < 4.5
    if bits <= 2:  # the same draw twice shrinks the weights visibly
        assert np.abs(z_scores(np.array(naive), truth)).max() > 10


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_a_step_on_optimal_levels_moves_along_the_float_gradient_in_the_mean(bits):
    rng = np.random.default_rng(bits)
    X, y, w = rng.lognormal(size=(48, 6)), rng.standard_normal(48), rng.standard_normal(7)
    residual = X @ w[:-1] + w[-1] - y
    truth = w - np.append(X.T @ residual, residual.sum()) / 48
    found, naive = [], []
    for seed in range(600):
        packed = mz.pack(X, bits=bits, n_draws=2, levels="optimal", keep_source=False, random_state=seed)
        found.append(one_step(packed, y, w, seed=seed))
        naive.append(one_step(packed, y, w, corrects=False, seed=seed))
    # 7 coordinates x 4 cases: |z| > 4.5 happens by chance in one run of 5000
    assert np.abs(z_scores(np.array(found), truth)).max() < 4.5
    if bits <= 2:
        assert np.abs(z_scores(np.array(naive), truth)).max() > 10


def test_the_loss_of_the_float_data_is_reached_from_few_bits(regression):
    X, y = regression
    best = loss(X, y, Ridge(alpha=1e-6).fit(X, y))
    for bits, within in ((7, 1.001), (4, 1.01), (3, 1.03)):
        packed = mz.pack(X, bits=bits, n_draws=2, keep_source=False)
        model = Ridge(alpha=1e-6, solver="zipml").fit(packed, y)
        assert model.solution_ == "unbiased"
        assert loss(X, y, model) < within * best
    biased = Ridge(alpha=1e-6).fit(packed, y)  # the exact optimum of the draws' means
    assert biased.solution_ == "quantised"
    assert loss(X, y, biased) > loss(X, y, model)


def excess_of_draws(X, y, exact, packed):
    """What the loss of the float data must rise by where two draws stand for them: its mean and deviation.

    A row's draws are off by a and b, their mean by e, with independent entries of variance v and D = v / 2.
    Then its corrected gradient at w is off by ``x (e.w) + e r + z`` with r the residual and
    ``z_j = e_j sum over k != j of e_k w_k + a_j b_j w_j``; z has no covariance with the other terms. So
    the optimum of n rows is off by noise of covariance ``H^-1 C H^-1 / n``, near to normal, and the loss is
    higher by half its square in the metric of the Hessian H: with M = H^-1 C / n by ``tr M / 2``, of
    variance ``tr M^2 / 2``.
    """
    n, d = X.shape
    A = np.column_stack([X, np.ones(n)])
    w, places = np.append(exact.coef_, exact.intercept_), np.array(packed.layout.level_places, dtype=float)
    step = packed.scale * packed.n_draws
    units = (X - packed.offset) / step
    below = np.clip(np.searchsorted(places, units, side="right") - 1, 0, len(places) - 2)
    v = np.zeros((n, d + 1))
    v[:, :d] = (places[below + 1] - units) * (units - places[below]) * step**2
    D, r = v / 2, (A @ w - y)[:, None]
    Dw, margin = D * w, (D * w**2).sum(axis=1)[:, None]
    cross = (A * r).T @ Dw
    first = (A * margin).T @ A + cross + cross.T + np.diag((r**2 * D).sum(axis=0))
    pairs = Dw.T @ Dw
    second = pairs - np.diag(np.diag(pairs)) + np.diag((D * (margin - Dw * w) + (v * w) ** 2).sum(axis=0))
    M = np.linalg.solve(A.T @ A, (first + second) / n)
    return np.trace(M) / 2, np.sqrt(np.trace(M @ M) / 2)


@pytest.mark.parametrize("bits", [2, 3])
def test_the_excess_is_what_the_variance_of_the_levels_predicts_and_optimal_ones_have_less(bits):
    rng = np.random.default_rng(3)
    X = rng.lognormal(size=(6000, 20))
    y = X @ rng.standard_normal(20) / 10 + 0.5 * rng.standard_normal(6000)
    exact, predicted, n_packings = LinearRegression(tol=1e-12).fit(X, y), {}, 2
    for levels in ("uniform", "optimal"):
        excess = []
        for seed in range(n_packings):
            packed = mz.pack(X, bits=bits, n_draws=2, levels=levels, keep_source=False, random_state=seed)
            predicted[levels], deviation = excess_of_draws(X, y, exact, packed)
            model = Ridge(alpha=1e-6, solver="zipml").fit(packed, y)
            excess.append(loss(X, y, model) - loss(X, y, exact))
        # The mean of two sums of 21 squares: |z| > 4 happens by chance in one run of 1000.
        assert abs(np.mean(excess) - predicted[levels]) < 4 * deviation / np.sqrt(n_packings)
    assert predicted["uniform"] > 4 * predicted["optimal"]


def test_few_bits_for_model_and_gradient_cost_little_and_are_counted(regression):
    X, y = regression
    packed = mz.pack(X, bits=4, n_draws=2)
    plain = Ridge(solver="zipml", max_iter=30).fit(packed, y)
    end_to_end = Ridge(solver=ZipML(model_bits=8, gradient_bits=8), max_iter=30).fit(packed, y)
    assert loss(X, y, end_to_end) < 1.01 * loss(X, y, plain)
    flows, steps = end_to_end.result_.flows, 8 + 30  # passes of the trials and of the fit
    batches = round(375 / 16)
    assert flows.samples == steps * packed.layout.n_bytes
    assert flows.model == flows.gradient == steps * batches * (20 + 8)
    assert plain.result_.flows.model == steps * batches * (40 + 8)
    assert plain.result_.flows.gradient == steps * batches * 160


def test_codes_alone_are_trained_on_as_what_they_stand_for(regression):
    X, y = regression
    packed = mz.pack(X, bits=4, keep_source=False)
    model = Ridge().fit(packed, y)
    assert model.solution_ == "quantised"
    np.testing.assert_allclose(model.coef_, Ridge().fit(packed.unpack(dtype=np.float64), y).coef_, rtol=1e-6)
    np.testing.assert_allclose(
        model.predict(packed), packed.unpack(dtype=np.float64) @ model.coef_ + model.intercept_
    )
    twice = mz.pack(np.column_stack([X, X]), bits=4, keep_source=False)  # solved by a decomposition
    assert LinearRegression().fit(twice, y).solution_ == "quantised"
    classifier = LogisticRegression().fit(packed, y > 3)
    assert classifier.solution_ == "quantised"
    assert classifier.result_.status.name == "CONVERGED"


def test_classifiers_descend_on_the_codes_too(regression):
    X, y = regression
    for labels in (y > 3, np.digitize(y, [1.0, 5.0])):
        exact = LogisticRegression().fit(X, labels)
        model = LogisticRegression(solver="zipml", bits=8).fit(X, labels)
        assert model.solution_ == "quantised"
        assert model.score(X, labels) > exact.score(X, labels) - 0.01


def test_an_l1_penalty_ends_near_the_lasso(regression):
    X, y = regression
    model = Ridge(alpha=0.0, solver=ZipML(l1=0.05), max_iter=200).fit(mz.pack(X, bits=7, n_draws=2), y)
    lasso = Lasso(alpha=0.05).fit(X, y)
    objective = [loss(X, y, m) + 0.05 * np.abs(m.coef_).sum() for m in (model, lasso)]
    assert objective[0] < 1.001 * objective[1]
    assert np.abs(model.coef_ - lasso.coef_).max() < 0.02


def test_a_box_is_never_left_and_its_optimum_found(regression):
    X, y = regression
    model = Ridge(alpha=0.0, solver=ZipML(bounds=(0.0, 0.5)), max_iter=200).fit(
        mz.pack(X, bits=7, n_draws=2), y
    )
    assert model.coef_.min() >= 0
    assert model.coef_.max() <= 0.5
    centred = X - X.mean(axis=0)
    best = lsq_linear(centred, y - y.mean(), bounds=(0.0, 0.5)).cost / len(y)
    assert loss(X, y, model) < 1.001 * best


def test_results_do_not_depend_on_the_threads(regression):
    X, y = regression
    packed = mz.pack(X, bits=3, n_draws=2)
    fits = [Ridge(solver="zipml", max_iter=5, n_jobs=n).fit(packed, y) for n in (1, 2, 3)]
    for other in fits[1:]:
        np.testing.assert_array_equal(other.coef_, fits[0].coef_)
        assert other.intercept_ == fits[0].intercept_


def test_noise_that_drowns_the_data_is_called_by_its_name():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((500, 60))
    packed = mz.pack(X, bits=1, n_draws=2, keep_source=False)
    with pytest.warns(ConvergenceWarning, match="noise drowns the data"):
        model = Ridge(alpha=1e-6, solver="zipml").fit(packed, X[:, 0])
    assert model.result_.status.name == "NO_MINIMUM"
    assert model.result_.objective < 0 or not np.isfinite(model.result_.objective)


def test_a_rate_of_the_paper_falls_as_one_over_the_pass(regression):
    X, y = regression
    packed = mz.pack(X, bits=7, n_draws=2)
    fits = {
        halving: Ridge(solver=ZipML(rate=0.5, halving=halving), max_iter=4).fit(packed, y)
        for halving in (1.0, 1e9)
    }
    first = [fit.result_.trace[0].objective for fit in fits.values()]
    assert first[0] == first[1]
    assert loss(X, y, fits[1e9]) < loss(X, y, fits[1.0])


@pytest.mark.parametrize(
    "setting",
    [
        {"model_bits": 4},
        {"gradient_bits": 5},
        {"rate": 0.0},
        {"halving": 0.0},
        {"batch_size": 0},
        {"l1": -1.0},
        {"bounds": (1.0, 2.0)},
    ],
)
def test_settings_outside_their_sets_are_refused(setting):
    with pytest.raises(ParameterError, match=f"{next(iter(setting))}=.* is not possible; (allowed|give)"):
        ZipML(**setting)


def test_weights_on_double_sampled_codes_and_float_bits_are_refused(regression):
    X, y = regression
    with pytest.raises(DataError, match="sample_weight came with double-sampled codes"):
        Ridge(solver="zipml").fit(X, y, sample_weight=np.arange(len(y)) + 1.0)
    with pytest.raises(ParameterError, match="bits=32 is not possible"):
        Ridge(solver="zipml", bits=32).fit(X, y)
    with pytest.raises(ParameterError, match="solver='adam' is unknown"):
        Ridge(solver="adam").fit(X, y)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"bounds": None}, r"bounds=None is not possible; allowed: .*\(-inf, inf\) is no box"),
        ({"bounds": (0.0,)}, "bounds=.*allowed"),
        ({"bounds": (np.nan, 1.0)}, "bounds=.*allowed"),
        ({"bounds": ("low", "high")}, "bounds=.*allowed"),
        ({"batch_size": 2.5}, "batch_size=2.5 is not possible; give an integer >= 1"),
        ({"batch_size": True}, "batch_size=True"),
        ({"batch_size": "many"}, "batch_size='many'"),
        ({"rate": "fast"}, "rate='fast'"),
        ({"rate": np.inf}, "rate=inf is not possible; give a finite number > 0"),
        ({"rate": np.nan}, "rate=nan"),
        ({"l1": None}, "l1=None"),
        ({"halving": np.nan}, "halving=nan"),
        ({"model_bits": 16.0}, r"model_bits=16.0 is not possible; allowed: 16 or 8"),
        ({"gradient_bits": False}, "gradient_bits=False"),
        ({"average": "no"}, "average='no'"),
    ],
)
def test_settings_of_the_wrong_kind_are_parameter_errors_that_say_what_is_allowed(setting, message):
    with pytest.raises(ParameterError, match=message):
        ZipML(**setting)


def test_numpy_numbers_are_numbers():
    ZipML(batch_size=np.int64(64), rate=np.float32(0.5), bounds=[np.float64(-1), 2], model_bits=np.int64(8))


@pytest.mark.parametrize("rate", [30.0, 1e4, 1e9, 1e300])
def test_a_rate_that_is_too_large_is_called_by_its_name(regression, rate):
    X, y = regression
    with pytest.warns(ConvergenceWarning, match="the rate is larger than this data allows"):
        model = Ridge(solver=ZipML(rate=rate), max_iter=20).fit(X, y)
    assert model.result_.status.name == "RATE_TOO_LARGE"


@pytest.mark.parametrize("rate", [1.0, 2.0])
def test_a_rate_of_ones_own_is_not_blamed_for_noise_that_drowns_the_data(rate):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((500, 60))
    packed = mz.pack(X, bits=1, n_draws=2, keep_source=False)
    with pytest.warns(ConvergenceWarning, match="noise drowns the data"):
        Ridge(alpha=1e-6, solver=ZipML(rate=rate)).fit(packed, X[:, 0])


def test_a_rate_that_the_data_allow_finishes(regression):
    X, y = regression
    for rate in (0.1, 1.0):
        model = Ridge(solver=ZipML(rate=rate), max_iter=10).fit(X, y)
        assert model.result_.status.name == "FINISHED"


def test_weights_are_refused_before_the_rows_are_read(regression):
    X, y = regression
    read = []

    def blocks():
        read.append(len(read))
        yield X

    source = as_source(blocks)
    read.clear()
    with pytest.raises(DataError, match="sample_weight came with double-sampled codes"):
        Ridge(solver="zipml").fit(source, y, sample_weight=2.0)
    assert not read
    LogisticRegression(solver="zipml", max_iter=2).fit(source, y > 3, sample_weight=np.arange(len(y)) + 1.0)
    assert read, "one draw takes weights"
