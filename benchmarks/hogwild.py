"""Hogwild: threads that update one weight vector without locks, in float32 or float64.

Each thread runs scikit-learn's SGD, whose compiled loop releases the interpreter lock, on its own rows; their
``coef_`` is one array. There is no penalty and no intercept, so that this array is all the state there is.

B. Recht, C. Re, S. Wright, F. Niu, "Hogwild!: a lock-free approach to parallelizing stochastic gradient
descent", NIPS 2011.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import SGDRegressor


class Hogwild:
    """Least squares by lock-free SGD.

    Parameters
    ----------
    X : ndarray, shape (n, d)
        Rows; thread t takes the t-th part of them.
    y : ndarray, shape (n,)
    n_threads : int
    """

    def __init__(self, X: NDArray[Any], y: NDArray[Any], n_threads: int) -> None:
        self._parts = list(zip(np.array_split(X, n_threads), np.array_split(y, n_threads), strict=True))
        self.coef = np.zeros(X.shape[1], X.dtype)
        self._workers = [self._worker(seed) for seed in range(n_threads)]

    def _worker(self, seed: int) -> Any:
        worker = SGDRegressor(
            penalty=None, fit_intercept=False, learning_rate="constant", shuffle=True, random_state=seed
        )
        rows, targets = self._parts[seed]
        worker.set_params(eta0=1e-300).partial_fit(rows[:2], targets[:2])  # allocates what a fit needs
        return worker

    def epoch(self, rate: float) -> None:
        """One pass of all threads over their rows with a constant rate."""
        with ThreadPoolExecutor(len(self._workers)) as pool:
            list(pool.map(lambda t: self._pass(t, rate), range(len(self._workers))))

    def _pass(self, t: int, rate: float) -> None:
        worker = self._workers[t].set_params(eta0=rate)
        worker.coef_ = self.coef  # the array itself: updates of all threads go there
        worker.partial_fit(*self._parts[t])
        if worker.coef_ is not self.coef and not np.shares_memory(worker.coef_, self.coef):
            raise RuntimeError("scikit-learn copied the weights: the threads did not share them")
