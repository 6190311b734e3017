"""What the classifiers share: labels, penalties, fits, paths and predictions."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from mezzotint.linear._base import LinearModel, dense_coef
from mezzotint.linear.objective import Problem
from mezzotint.linear.path import Path, solve_path
from mezzotint.linear.result import Result
from mezzotint.linear.rounded import narrowed
from mezzotint.linear.solve import Settings, solve
from mezzotint.linear.validation import (
    check_labels,
    check_real,
    check_sample_weight,
    check_samples,
    class_weights,
)
from mezzotint.packed import PackedMatrix, Source


class LinearClassifier(ClassifierMixin, LinearModel):  # type: ignore[misc]
    """A linear model with one output for two classes and an output per class for more."""

    C: float
    class_weight: Mapping[Any, float] | str | None
    classes_: NDArray[Any]
    coef_: Any  # an ndarray, or a sparse matrix after `sparsify`
    n_iter_: NDArray[np.int32] | int
    _infinite_C: bool  # whether there is a solution without a penalty

    @property
    def _loss_names(self) -> tuple[str, str]:
        """Our loss of two classes, and of more."""
        raise NotImplementedError

    @property
    def _loss_factor(self) -> float:
        """How many of our losses C multiplies."""
        return 1.0

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: ANN401
        """Fit the model.

        Parameters
        ----------
        X : array-like or PackedMatrix, shape (n, d)
            Dense real numbers of any type; packed inside, never copied as floats. Of a
            PackedMatrix without its float source, what the codes stand for is fitted.
        y : array-like, shape (n,)
            Labels of any type, at least two different ones.
        sample_weight : array-like of shape (n,), float or None
            Weights >= 0, not all zero; None means 1.

        Returns
        -------
        self
            The estimator itself.

        Raises
        ------
        DataError
            If X, y or sample_weight cannot be used; the message says where and why.
        ParameterError
            If a parameter lies outside its allowed set.
        """
        settings, C = self._settings(), self._checked(self.C)
        source, given = self._open(X, y)
        before = getattr(self, "classes_", np.empty(0))
        problem, self.classes_ = self._problem(source, given, y, sample_weight, settings)
        problem = dataclasses.replace(problem, penalty=self._penalty(C, problem))
        start = self._start(problem) if np.array_equal(before, self.classes_) else None
        self._store(problem, solve(problem, settings, start))
        return self

    def path(self, X: Any, y: Any, Cs: ArrayLike, sample_weight: Any = None) -> Path:  # noqa: ANN401
        """Solve for every C of a list on one packed copy, each from its neighbour's solution.

        The estimator itself is not changed; its C does not matter.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        Cs : array-like of float, shape (m,)
            Values > 0, in any order.

        Returns
        -------
        Path
            Coefficients, intercepts and results in the order of `Cs`.

        Examples
        --------
        >>> import numpy as np
        >>> from mezzotint.linear import LogisticRegression
        >>> X = np.random.default_rng(0).standard_normal((300, 2))
        >>> path = LogisticRegression().path(X, X[:, 0] > 0, Cs=[0.01, 1.0])
        >>> path.coefs.shape, bool(path.coefs[1, 0, 0] > path.coefs[0, 0, 0])
        ((2, 1, 2), True)
        """
        settings = self._settings()
        values = [self._checked(C) for C in np.asarray(Cs, dtype=np.float64).ravel().tolist()]
        source, given = check_samples(X)
        problem, _ = self._problem(source, given, y, sample_weight, settings)
        return solve_path(problem, values, [self._penalty(C, problem) for C in values], settings)

    def decision_function(self, X: Any) -> NDArray[np.floating]:  # noqa: ANN401
        """Return margins: of the second class for two classes, of every class for more.

        Parameters
        ----------
        X : array-like or PackedMatrix, shape (n, d)
            Rows; of a PackedMatrix the float source is read, or what its codes stand for.

        Returns
        -------
        ndarray, shape (n,) or (n, K)
            ``X coef_^T + intercept_``, computed in float64; float32 if X and ``coef_`` are.
        """
        phi = self._margins(X)
        return phi[0] if len(phi) == 1 else np.ascontiguousarray(phi.T)

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: ANN401
        """Return the label with the largest margin of every row.

        Parameters
        ----------
        X : array-like or PackedMatrix, shape (n, d)
            Rows.

        Returns
        -------
        ndarray of shape (n,)
            Elements of ``classes_``.
        """
        phi = self._margins(X)
        index = (phi[0] > 0).astype(np.intp) if len(phi) == 1 else phi.argmax(axis=0)
        labels: NDArray[Any] = self.classes_[index]
        return labels

    def sparsify(self) -> Self:
        """Turn ``coef_`` into a sparse matrix, which is smaller where most coefficients are zero.

        Predictions stay the same; a fit makes it dense again.

        Returns
        -------
        self
            The fitted estimator.
        """
        check_is_fitted(self)
        self.coef_ = scipy.sparse.csr_matrix(self.coef_)
        return self

    def densify(self) -> Self:
        """Turn ``coef_`` back into an ndarray, if `sparsify` has made it sparse.

        Returns
        -------
        self
            The fitted estimator.
        """
        check_is_fitted(self)
        self.coef_ = dense_coef(self)
        return self

    def _checked(self, C: Any) -> float:  # noqa: ANN401 - scikit-learn's name
        return check_real("C", C, low=0, low_allowed=False, infinity_allowed=self._infinite_C)

    def _penalty(self, C: float, problem: Problem) -> float:
        """scikit-learn's C as the penalty of a mean loss."""
        return 1.0 / (self._loss_factor * C * problem.total_weight)

    def _problem(
        self,
        source: Source,
        given: PackedMatrix | None,
        y: Any,  # noqa: ANN401
        sample_weight: Any,  # noqa: ANN401
        settings: Settings,
    ) -> tuple[Problem, NDArray[Any]]:
        """Return the problem without its penalty, and the classes."""
        weights = check_sample_weight(sample_weight, source.shape[0])
        classes, index = check_labels(y, source.shape[0], weights)
        weights = class_weights(self.class_weight, classes, index, weights)
        several = len(classes) > 2
        problem = self._make_problem(
            source,
            given,
            settings,
            loss=self._loss_names[several],
            y=index[None].astype(np.float64),
            n_outputs=len(classes) if several else 1,
            weights=weights,
        )
        return problem, classes

    def _store(self, problem: Problem, result: Result) -> None:
        coef = narrowed(result.coef, problem.coef_dtype)
        self.coef_ = np.ascontiguousarray(coef[:, :-1])
        self.intercept_ = np.ascontiguousarray(coef[:, -1])
        self.n_iter_ = np.array([result.n_iter], dtype=np.int32)
        self._keep(result)
