"""Data sets of the reproductions: generated, from scikit-learn, or files of the folder MEZZOTINT_DATA.

Columns of real data are brought to mean 0 and variance 1, so that one step size serves all of them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import FileError
from mezzotint.linear.textbook_problem import normals, synthetic_regression
from mezzotint.random import permutation, uniforms

__all__ = [
    "FOLDER_VARIABLE",
    "DataSet",
    "a9a",
    "breast_cancer",
    "california",
    "digits",
    "heavy_tailed",
    "rna_like",
    "synthetic",
]

Array = NDArray[np.float64]

FOLDER_VARIABLE = "MEZZOTINT_DATA"
_SPLIT, _RULE, _FLIPS = 40, 41, 42  # streams: what the random bits of this module are for


@dataclass(frozen=True, eq=False, kw_only=True)
class DataSet:
    """Rows to train on and held-out rows to score on.

    Examples
    --------
    >>> synthetic(3, n_rows=10).X.shape
    (10, 3)
    """

    name: str
    X: Array
    """Shape (n, d)."""
    y: Array
    """Shape (n,); -1 or 1 for two classes, else of mean 0."""
    X_test: Array
    """Shape (m, d); m may be 0."""
    y_test: Array


def synthetic(n_features: int, *, n_rows: int = 10_000, seed: int = 1) -> DataSet:
    """Make the published regression set: normal features, uniform weights, noise of variance 1.

    The optimum has an expected loss (half the mean square) of (1 - d / n) / 2, the level that the paper's
    curves end at: 0.4995, 0.495 and 0.45 for 10, 100 and 1000 features.
    """
    problem = synthetic_regression(seed, n_rows=n_rows, n_features=n_features, noise=1.0)
    nothing = problem.features[:0]
    return DataSet(
        name=f"synthetic {n_features}",
        X=problem.features,
        y=problem.targets,
        X_test=nothing,
        y_test=problem.targets[:0],
    )


def heavy_tailed(kind: str, n_features: int = 100, *, n_rows: int = 10_000, seed: int = 2) -> DataSet:
    """Make a regression set whose columns are "lognormal", "exponential" or "laplace" (both tails)."""
    z = normals(seed, n_rows * n_features, stream=_RULE).reshape(n_rows, n_features)
    u = uniforms(seed, 0, n_rows * n_features, stream=_FLIPS).reshape(n_rows, n_features)
    tails = -np.log(u + 2.0**-33)
    X = {"lognormal": np.exp(z), "exponential": tails, "laplace": np.where(z < 0, -tails, tails)}[kind]
    weights = 2.0 * uniforms(seed, 0, n_features, stream=_SPLIT) - 1.0
    X = _standardised(X)
    y = X @ weights + normals(seed, n_rows, stream=_SPLIT + 3)
    return _split(kind, X, y - y.mean(), test=0.0)


def rna_like(*, n_rows: int = 10_000, seed: int = 3) -> DataSet:
    """Make a set of the shape of cod-rna: 8 columns of different spread, a third of the rows positive.

    Rows are normal around a centre of their class; a tenth of the labels are flipped, so that the hinge loss
    stays where the paper's curves end, near 0.3.
    """
    total = 2 * n_rows
    z = normals(seed, total * 8, stream=_RULE).reshape(total, 8)
    u = uniforms(seed, 0, 2 * total, stream=_FLIPS).reshape(2, total)
    y = np.where(u[0] < 1 / 3, 1.0, -1.0)
    direction = 2.0 * uniforms(seed, 0, 8, stream=_SPLIT) - 1.0
    X = z + 1.6 * y[:, None] * direction / np.linalg.norm(direction)
    y = np.where(u[1] < 0.06, -y, y)
    return _split("synthetic, 8 columns", _standardised(X), y, test=0.5)


def breast_cancer() -> DataSet:
    """scikit-learn's 569 tumours, 30 columns, malignant against benign."""
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    return _split("breast cancer", _standardised(data.data), np.where(data.target == 1, 1.0, -1.0), test=0.2)


def digits() -> DataSet:
    """scikit-learn's 1797 digits of 64 pixels, even against odd."""
    from sklearn.datasets import load_digits

    data = load_digits()
    return _split("digits, even or odd", _standardised(data.data), 1.0 - 2.0 * (data.target % 2), test=0.2)


def a9a() -> DataSet:
    """Read LIBSVM's census data: 32,561 rows, 123 columns of 0 and 1, left as they are."""
    from sklearn.datasets import load_svmlight_file

    X, y = load_svmlight_file(str(_file("a9a.libsvm")), n_features=123)
    return _split("a9a", X.toarray().astype(np.float64), np.where(y > 0, 1.0, -1.0), test=0.2)


def california(*, two_classes: bool = False) -> DataSet:
    """Read the census of California, the paper's cadata: 8 columns, the value of houses.

    The 207 rows of 20,640 without a number of bedrooms are left out. The target has mean 0 and variance 1, or
    is 1 above its median and -1 elsewhere.
    """
    path = _file("california_housing.csv")
    table = np.genfromtxt(path, delimiter=",", skip_header=1, usecols=range(9))
    table = table[np.isfinite(table).all(axis=1)]
    value = table[:, 8]
    if two_classes:
        y, name = np.where(value > np.median(value), 1.0, -1.0), "California, above the median"
    else:
        y, name = (value - value.mean()) / value.std(), "California housing"
    return _split(name, _standardised(table[:, :8]), y, test=0.2)


def first_rows(data: DataSet, count: int) -> DataSet:
    """Keep the first rows of the training and of the held-out part."""
    return replace(
        data, X=data.X[:count], y=data.y[:count], X_test=data.X_test[:count], y_test=data.y_test[:count]
    )


def _file(name: str) -> Path:
    """Path of a file of the user's data folder."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        raise FileError(
            f"{FOLDER_VARIABLE} is not set, so {name} cannot be found. Set it to the folder that holds it."
        )
    path = Path(folder, name)
    if not path.is_file():
        raise FileError(f"{path} does not exist. Put the file there, or set {FOLDER_VARIABLE} to its folder.")
    return path


def _standardised(X: Array) -> Array:
    """Columns of mean 0 and variance 1; a constant column becomes 0."""
    centred = X - X.mean(axis=0)
    spread = centred.std(axis=0)
    scaled: Array = centred / np.where(spread > 0, spread, 1.0)
    return scaled


def _split(name: str, X: Array, y: Array, *, test: float) -> DataSet:
    """Hold out a share of the rows, drawn by a fixed seed."""
    order = permutation(0, len(y), stream=_SPLIT)
    held_out, kept = np.split(order, [round(test * len(y))])
    return DataSet(name=name, X=X[kept], y=y[kept], X_test=X[held_out], y_test=y[held_out])
