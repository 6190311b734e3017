"""A random hostile problem as a function of its stream and seed.

Two streams: "small" has at most 2,000 values of X and a reference in high precision, "large" 12,000 to
600,000 rows and a reference in float64.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

STREAMS = ("small", "large")
MOST_VALUES = 2_000  # n d of the small stream
LARGE_ROWS = (12_000, 600_000)
_LARGE_VALUES = 4_000_000  # n d of the large stream: a problem should take a few seconds
_STRENGTHS = (1e-12, 1e290)  # of C; infinity is drawn apart
_FLOAT32_EXPONENTS = 30.0  # of ten: scales that float32 holds with room for the spread of a column

Array = NDArray[Any]


@dataclass(frozen=True, eq=False, kw_only=True)
class Problem:
    """One call of `fit`: an estimator's name and parameters, and what it is fitted to.

    Attributes
    ----------
    stream, seed
        What the problem is a function of.
    estimator : str
        Class of mezzotint.linear.
    params : dict
        Its parameters, the others being defaults.
    X, y, sample_weight : ndarray
        Samples (any float type and order, or a memmap), labels or targets, weights or None.
    traits : tuple of str
        What is hostile about it; the first one is the family that reports count it in.
    """

    stream: str
    seed: int
    estimator: str
    params: dict[str, Any]
    X: Array
    y: Array
    sample_weight: Array | None
    traits: tuple[str, ...] = ()


@dataclass(eq=False)
class _Draft:
    """A problem in the making; traits change it one after the other."""

    rng: np.random.Generator
    stream: str
    X: Array
    weights: Array | None = None
    separable: bool = False
    exponents: tuple[float, float] = field(default=(-300.0, 300.0))

    def column(self) -> int:
        return int(self.rng.integers(self.X.shape[1]))


def make_problem(stream: str, seed: int) -> Problem:
    """Return the problem of a seed; the same for ever, so that a failing seed can become a test."""
    rng = np.random.default_rng([STREAMS.index(stream), seed])
    estimator, fixed = _estimator(rng)
    n, d = _shape(rng, stream, fixed)
    draft = _Draft(rng, stream, rng.standard_normal((n, d)))
    if rng.random() < 0.25:
        draft.exponents = (-_FLOAT32_EXPONENTS, _FLOAT32_EXPONENTS)
    traits = _traits(rng, stream)
    for trait in traits:
        with np.errstate(over="ignore", invalid="ignore"):
            _TRAITS[trait](draft)
        draft.X = np.clip(np.nan_to_num(draft.X), -1e307, 1e307)
    is_classifier = estimator in ("LogisticRegression", "LinearSVC")
    y = _labels(draft, fixed) if is_classifier else _targets(draft, fixed)
    if is_classifier:
        _give_every_class_a_weight(draft, y)
    params = {
        **_penalty(draft, estimator),
        **_engine(rng, stream, fixed),
        **_of_estimator(draft, estimator, fixed, y),
    }
    X = _stored(draft)
    return Problem(
        stream=stream,
        seed=seed,
        estimator=estimator,
        params=params,
        X=X,
        y=y,
        sample_weight=draft.weights,
        traits=traits,
    )


# ---- estimators, shapes and parameters

_ESTIMATORS: tuple[tuple[float, str, dict[str, Any]], ...] = (
    (0.26, "LogisticRegression", {"n_classes": 2}),
    (0.09, "LogisticRegression", {"n_classes": 3}),
    (0.16, "Ridge", {"n_targets": 1}),
    (0.06, "Ridge", {"n_targets": 3}),
    (0.12, "LinearRegression", {"n_targets": 1}),
    (0.10, "LinearSVC", {"n_classes": 2, "loss": "squared_hinge"}),
    (0.03, "LinearSVC", {"n_classes": 3, "loss": "squared_hinge"}),
    (0.06, "LinearSVC", {"n_classes": 2, "loss": "hinge"}),
    (0.07, "LinearSVR", {"n_targets": 1, "loss": "squared_epsilon_insensitive"}),
    (0.05, "LinearSVR", {"n_targets": 1, "loss": "epsilon_insensitive"}),
)
_KINKED = ("hinge", "epsilon_insensitive")


def _estimator(rng: np.random.Generator) -> tuple[str, dict[str, Any]]:
    shares = np.array([share for share, _, _ in _ESTIMATORS])
    _, name, fixed = _ESTIMATORS[rng.choice(len(shares), p=shares / shares.sum())]
    return name, fixed


def _shape(rng: np.random.Generator, stream: str, fixed: dict[str, Any]) -> tuple[int, int]:
    if stream == "large":
        n = int(_log_uniform(rng, *LARGE_ROWS))
        most = min(60, _LARGE_VALUES // n // fixed.get("n_classes", 1))
        return n, int(_log_uniform(rng, 2, max(most, 3)))
    several = fixed.get("n_classes", 2) > 2
    values = MOST_VALUES // (3 if several else 1)
    n = int(_log_uniform(rng, 3 if several else 2, 400))
    d = int(_log_uniform(rng, 1, min(values // n, 15 if several else 60) + 1))
    return (d, n) if rng.random() < 0.15 and d > (3 if several else 2) else (n, d)


def _penalty(draft: _Draft, estimator: str) -> dict[str, Any]:
    """C or alpha: of any size, and half of the time of a size that matters for the columns' scale."""
    rng = draft.rng
    if estimator == "LinearRegression":
        return {}
    strength = _log_uniform(rng, 1e-12, 1e12)
    if rng.random() < 0.5:
        size = np.median(np.abs(draft.X), axis=0).astype(np.longdouble) ** 2
        strength = float(np.clip(_log_uniform(rng, 1e-4, 1e4) / max(np.median(size), 1e-290), *_STRENGTHS))
    if estimator == "Ridge":
        return {"alpha": 0.0 if rng.random() < 0.1 else 1.0 / strength}
    infinite = estimator == "LogisticRegression" and rng.random() < 0.1
    return {"C": np.inf if infinite else strength}


def _engine(rng: np.random.Generator, stream: str, fixed: dict[str, Any]) -> dict[str, Any]:
    """Solver and width: half of the problems force the packed engine where its loss allows it."""
    kind = rng.random()
    solver, bits = "auto", int(rng.choice([8, 4, 32]))
    if kind < 0.5:
        solver, bits = "newton", int(rng.choice([8, 4]))
    elif kind < 0.55 and fixed.get("loss") not in _KINKED:
        solver = "halp"
    elif kind < 0.6:
        solver, bits = "newton", 32
    tol = float(rng.choice([1e-8, 1e-4, 1e-6, 1e-10], p=[0.7, 0.1, 0.1, 0.1]))
    return {"solver": solver, "bits": bits, "tol": tol, "fit_intercept": bool(rng.random() < 0.75)}


def _of_estimator(draft: _Draft, estimator: str, fixed: dict[str, Any], y: Array) -> dict[str, Any]:
    rng = draft.rng
    found = {"loss": fixed["loss"]} if "loss" in fixed else {}
    if estimator == "LinearSVR":
        spread = float(np.std(y.astype(np.longdouble)))
        found["epsilon"] = 0.0 if rng.random() < 0.4 else float(spread * _log_uniform(rng, 1e-3, 3.0))
    if "n_classes" in fixed and rng.random() < 0.2:
        weights = {k: float(_log_uniform(rng, 0.05, 20.0)) for k in range(fixed["n_classes"])}
        kept = slice(None) if draft.weights is None else draft.weights > 0
        present = {k: weights[k] for k in np.unique(y[kept]).tolist()}
        found["class_weight"] = "balanced" if rng.random() < 0.4 else present
    return found


# ---- what makes problems hostile


def _traits(rng: np.random.Generator, stream: str) -> tuple[str, ...]:
    """One to three traits; a third of the large problems has folds of weight zero."""
    names = [name for name in _TRAITS if name != "folds"]
    count = int(rng.choice([1, 2, 3], p=[0.5, 0.35, 0.15]))
    chosen = [names[i] for i in rng.choice(len(names), count, replace=False)]
    if rng.random() < (0.33 if stream == "large" else 0.12):
        chosen.append("folds")
    return tuple(chosen)


def _plain(draft: _Draft) -> None:
    del draft


def _whole_scale(draft: _Draft) -> None:
    draft.X = draft.X * 10.0 ** draft.rng.uniform(*draft.exponents)


def _column_scales(draft: _Draft) -> None:
    """Columns of different size: moderately, or over the whole range."""
    width = draft.rng.choice([3.0, 8.0, 30.0, draft.exponents[1]])
    draft.X = draft.X * 10.0 ** draft.rng.uniform(-width, width, draft.X.shape[1])


def _extreme_column(draft: _Draft) -> None:
    draft.X[:, draft.column()] *= 10.0 ** draft.rng.uniform(*draft.exponents)


def _constant(draft: _Draft) -> None:
    draft.X[:, draft.column()] = draft.rng.choice([0.0, 1.0, -3.0, 0.1, 2025.0, 1e8])


def _constant_in_fold(draft: _Draft) -> None:
    """A column that varies among rows of weight zero only."""
    n = len(draft.X)
    _add_weights(draft, np.arange(n) % 3 != draft.rng.integers(3))
    kept = slice(None) if draft.weights is None else draft.weights > 0
    draft.X[kept, draft.column()] = draft.rng.choice([0.0, 1.0, 0.1, 2025.0])


def _duplicated(draft: _Draft) -> None:
    source = draft.X[:, draft.column()]
    draft.X[:, draft.column()] = source * draft.rng.choice([1.0, -1.0, 1024.0])


def _dependent(draft: _Draft) -> None:
    """A column that is the sum of others; exactly, of small integers, half of the time."""
    if draft.rng.random() < 0.5:
        draft.X = np.rint(4 * draft.X / np.maximum(np.abs(draft.X).max(axis=0, keepdims=True), 1e-300))
    j = draft.column()
    others = np.delete(np.arange(draft.X.shape[1]), j)[:3]
    if len(others):
        draft.X[:, j] = draft.X[:, others].sum(axis=1)


def _nearly_dependent(draft: _Draft) -> None:
    size = _log_uniform(draft.rng, 1e-14, 1e-3)
    source = draft.X[:, draft.column()]
    draft.X[:, draft.column()] = source + size * draft.rng.standard_normal(len(source)) * np.abs(source).max()


def _rare(draft: _Draft) -> None:
    """Columns with a handful of entries, as of categories."""
    n = len(draft.X)
    for _ in range(max(1, draft.X.shape[1] // 3)):
        column = np.zeros(n)
        column[draft.rng.choice(n, min(n, int(draft.rng.integers(1, 4))), replace=False)] = 1.0
        draft.X[:, draft.column()] = column


def _means(draft: _Draft) -> None:
    """Means up to 1e8 of the spread."""
    columns = draft.rng.random(draft.X.shape[1]) < 0.7
    sizes = np.std(draft.X, axis=0) * 10.0 ** draft.rng.uniform(0, 8, len(columns))
    draft.X = draft.X + np.where(columns, sizes * draft.rng.choice([-1.0, 1.0]), 0.0)


def _heavy_tails(draft: _Draft) -> None:
    draft.X = draft.X * np.exp(2.0 * draft.rng.standard_normal(draft.X.shape))


def _steep(draft: _Draft) -> None:
    """Columns that share most of what they say: a steep spectrum."""
    d = draft.X.shape[1]
    mixing = draft.rng.standard_normal((d, d)) * 10.0 ** -draft.rng.uniform(0, 7, d)[:, None]
    draft.X = draft.X @ mixing


def _separable(draft: _Draft) -> None:
    draft.separable = True


def _zero_weights(draft: _Draft) -> None:
    _add_weights(draft, draft.rng.random(len(draft.X)) < draft.rng.uniform(0.2, 1.0))


def _uneven_weights(draft: _Draft) -> None:
    _add_weights(draft, 10.0 ** draft.rng.uniform(-4, 4, len(draft.X)))


def _repeated_rows(draft: _Draft) -> None:
    draft.X = draft.X[draft.rng.integers(max(1, len(draft.X) // 2), size=len(draft.X))]


def _folds(draft: _Draft) -> None:
    """Interleaved folds, as cross-validation by weights has them: all but one, or one alone."""
    k = int(draft.rng.choice([2, 3, 4, 5, 7, 8, 10, 16, 64]))
    fold = np.arange(len(draft.X)) % k == draft.rng.integers(k)
    _add_weights(draft, fold if draft.rng.random() < 0.3 else ~fold)


_TRAITS: dict[str, Callable[[_Draft], None]] = {
    "plain": _plain,
    "heavy_tails": _heavy_tails,
    "steep": _steep,
    "means": _means,
    "rare": _rare,
    "dependent": _dependent,
    "nearly_dependent": _nearly_dependent,
    "constant": _constant,
    "duplicated": _duplicated,
    "repeated_rows": _repeated_rows,
    "separable": _separable,
    "zero_weights": _zero_weights,
    "uneven_weights": _uneven_weights,
    "constant_in_fold": _constant_in_fold,
    "column_scales": _column_scales,
    "extreme_column": _extreme_column,
    "whole_scale": _whole_scale,
    "folds": _folds,
}


def _add_weights(draft: _Draft, weights: Array) -> None:
    """Multiply weights; those that would leave no row are not taken."""
    product = weights.astype(float) * (1.0 if draft.weights is None else draft.weights)
    if (product > 0).sum() >= min(2, len(product)):
        draft.weights = product


# ---- labels, targets, storage


def _signal(draft: _Draft, n_outputs: int) -> Array:
    """Margins of a random model in which every column has a say, whatever its size."""
    with np.errstate(all="ignore"):
        size = np.abs(draft.X).max(axis=0)
        unit = draft.X / np.where(size > 0, size, 1.0)
        unit = unit - unit.mean(axis=0)
        unit = unit / np.maximum(unit.std(axis=0), 1e-30)
    return np.nan_to_num(unit) @ draft.rng.standard_normal((draft.X.shape[1], n_outputs))


def _labels(draft: _Draft, fixed: dict[str, Any]) -> Array:
    rng, n_classes = draft.rng, fixed["n_classes"]
    margins = _signal(draft, 1 if n_classes == 2 else n_classes)
    if not draft.separable:
        margins = margins * _log_uniform(rng, 0.1, 3.0) + rng.gumbel(size=margins.shape) * 2.0
    return (margins[:, 0] > np.median(margins)).astype(int) if n_classes == 2 else margins.argmax(axis=1)


def _give_every_class_a_weight(draft: _Draft, y: Array) -> None:
    """Rows are relabelled until rows of positive weight show at least two classes."""
    rows = np.arange(len(y)) if draft.weights is None else np.flatnonzero(draft.weights > 0)
    if len(np.unique(y[rows])) < 2:
        y[rows[0]] = (y[rows[0]] + 1) % 2
    if len(rows) < 2:
        draft.weights = None
        y[: len(y) // 2] = 0
        y[len(y) // 2 :] = 1


def _targets(draft: _Draft, fixed: dict[str, Any]) -> Array:
    rng, k = draft.rng, fixed["n_targets"]
    noise = 0.0 if draft.separable else _log_uniform(rng, 1e-6, 10.0)
    y = _signal(draft, k) + noise * rng.standard_normal((len(draft.X), k))
    kind = rng.random()
    if kind < 0.06:
        y = y * 10.0 ** rng.uniform(-300, 300)
    elif kind < 0.3:
        y = (y + (10.0 ** rng.uniform(0, 8) if rng.random() < 0.5 else 0.0)) * 10.0 ** rng.uniform(-8, 8)
    return y[:, 0] if k == 1 else y


def _stored(draft: _Draft) -> Array:
    """X as float32 where it fits, in either order, now and then mapped from a file."""
    rng, X = draft.rng, draft.X
    size = np.abs(X[X != 0])
    fits = not size.size or (size.max() < 1e37 and size.min() > 1e-36)
    if fits and rng.random() < (0.7 if draft.stream == "large" else 0.35):
        X = X.astype(np.float32)
    kind = rng.random()
    if kind < 0.15:
        return np.asfortranarray(X)
    return _mapped(X) if kind < 0.22 else np.ascontiguousarray(X)


def _mapped(X: Array) -> Array:
    """The same values in a file without a name, which goes with the map."""
    with tempfile.TemporaryFile() as file:
        file.write(np.ascontiguousarray(X).tobytes())
        file.flush()
        return np.memmap(file, dtype=X.dtype, mode="r", shape=X.shape)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
