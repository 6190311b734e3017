"""Ridge and ordinary least squares with scikit-learn's face."""

import dataclasses
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import MultiOutputMixin, RegressorMixin

from mezzotint.linear._base import LinearModel
from mezzotint.linear.objective import Problem
from mezzotint.linear.path import Path, solve_path
from mezzotint.linear.result import Result
from mezzotint.linear.rounded import narrowed
from mezzotint.linear.solve import Settings, solve
from mezzotint.linear.validation import (
    check_real,
    check_sample_weight,
    check_samples,
    check_targets,
)
from mezzotint.linear.zipml import ZipML
from mezzotint.packed import PackedMatrix, Source


class _LeastSquares(MultiOutputMixin, RegressorMixin, LinearModel):  # type: ignore[misc]
    """What Ridge and LinearRegression share."""

    def predict(self, X: Any) -> NDArray[np.floating]:  # noqa: ANN401
        """Return the fitted values of some rows.

        Parameters
        ----------
        X : array-like or PackedMatrix, shape (n, d)
            Rows; of a PackedMatrix the float source is read, or what its codes stand for.

        Returns
        -------
        ndarray, shape (n,) or (n, n_targets)
            ``X coef_^T + intercept_``, computed in float64; float32 if X and ``coef_`` are.
        """
        phi = self._margins(X)
        return phi[0] if self.coef_.ndim == 1 else np.ascontiguousarray(phi.T)

    def _fit(self, X: Any, y: Any, sample_weight: Any, alpha: float, *, one_column_is_flat: bool) -> None:  # noqa: ANN401
        settings = self._settings()
        source, given = self._open(X, y)
        problem, flat = self._problem(source, given, y, sample_weight, settings)
        problem = dataclasses.replace(problem, penalty=alpha / problem.total_weight)
        result = solve(problem, settings, self._start(problem))
        flat_coef = flat or (one_column_is_flat and problem.n_outputs == 1)
        self._store(problem, result, flat_coef=flat_coef, scalar_intercept=flat)

    def _problem(
        self,
        source: Source,
        given: PackedMatrix | None,
        y: Any,  # noqa: ANN401
        sample_weight: Any,  # noqa: ANN401
        settings: Settings,
    ) -> tuple[Problem, bool]:
        """Return the problem without its penalty, and whether y was one-dimensional."""
        weights = check_sample_weight(sample_weight, source.shape[0])
        targets, flat = check_targets(y, source.shape[0])
        parts = {"loss": "squared", "y": targets, "n_outputs": len(targets), "weights": weights}
        return self._make_problem(source, given, settings, **parts), flat

    def _store(self, problem: Problem, result: Result, *, flat_coef: bool, scalar_intercept: bool) -> None:
        coef = narrowed(result.coef, problem.coef_dtype)
        weights, intercept = np.ascontiguousarray(coef[:, :-1]), np.ascontiguousarray(coef[:, -1])
        self.coef_ = weights[0] if flat_coef else weights
        self.intercept_ = intercept[0] if scalar_intercept else intercept
        if not self.fit_intercept:
            self.intercept_ = 0.0
        self.n_iter_ = np.full(len(weights), result.n_iter, dtype=np.int32)
        self._keep(result)


class Ridge(_LeastSquares):
    """Ridge regression on a low-bit copy of the data, to the optimum of the data themselves.

    Minimises scikit-learn's objective, ``sum_i s_i |y_i - W x_i - b|^2 + alpha |W|^2``; the intercept b is
    not penalised.

    Parameters
    ----------
    alpha : float, default 1.0
        Strength of the penalty, >= 0; the same for all targets.
    bits : {8, 4, 32}, default 8
        Bits per value of the packed copy that inner iterations read: 8 is fastest, 4 needs half the
        memory; 32 packs nothing: "newton" iterates on X itself, "halp" on X where it is C-contiguous
        float32 (a memory map, too), else on a float32 copy, 4 bytes per value. The solution is the same.
        If X is a PackedMatrix, its own bits count.
    levels : {"uniform", "optimal"}, default "uniform"
        Where the levels of a copy in 4 bits lie: evenly, or where stochastic rounding to them has the
        least variance, see `mezzotint.pack`. For columns with heavy tails.
    tol : float, default 1e-8
        Relative gap ``(F - F*) / F`` of the objective to stop at; scikit-learn's tol has no such meaning.
    max_iter : int, default 100
        Outer iterations (reads of X that move the coefficients); a fit takes about 3.
    fit_intercept : bool, default True
        Whether to fit an intercept.
    solver : {"auto", "newton", "halp", "zipml"} or ZipML, default "auto"
        "newton": conjugate gradients on the packed copy. "halp": the minibatch method of the HALP
        paper. "auto": "newton", without a packed copy where the problem is too small for one. "zipml"
        (or a `ZipML` with settings): minibatch SGD on double-sampled codes alone, `max_iter` passes; then
        `solution_` is "unbiased".
    warm_start : bool, default False
        Start from the coefficients of the last fit if the shapes agree.
    random_state : int, generator or None, default None
        Seed of the row sample and of stochastic rounding; None is a fixed seed, so that fits repeat.
    n_jobs : int or None, default None
        Threads. None: all cores within the limits of joblib and threadpoolctl.
        The coefficients are the same bits for any number.
    verbose : bool or int, default 0
        Write a line to stderr for every read of X.

    Attributes
    ----------
    coef_ : ndarray, shape (d,) or (n_targets, d)
        Coefficients; float64, or float32 if X was and `tol` allows.
    intercept_ : number or ndarray, shape (n_targets,)
        Intercepts, of the same type; 0.0 if none was fitted.
    n_iter_ : ndarray of int32, shape (n_targets,)
        Outer iterations; all targets are solved together.
    n_features_in_ : int
        Columns seen in fit.
    feature_names_in_ : ndarray of str
        Names of the columns; there only if X had them.
    solution_ : {"exact", "unbiased", "quantised"}
        "exact": the optimum of the problem on the float data. "unbiased": SGD along unbiased estimates of
        its gradient. "quantised": the problem on the values that the codes stand for.
    result_ : Result
        How the fit ended, in words, with its certificate and trace. Its objective is half of
        scikit-learn's, divided by the sum of the sample weights.

    Notes
    -----
    Row subsets (cross-validation, bootstrap) need no slicing: rows of ``sample_weight`` 0 might as well
    not be there, and one packed copy serves all subsets.

    Examples
    --------
    >>> import numpy as np
    >>> from mezzotint.linear import Ridge
    >>> X = np.random.default_rng(0).standard_normal((500, 3))
    >>> model = Ridge(alpha=1e-3).fit(X, X @ [1.0, -2.0, 3.0] + 5.0)
    >>> model.coef_.round(3).tolist(), round(float(model.intercept_), 3)
    ([1.0, -2.0, 3.0], 5.0)
    """

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        bits: int = 8,
        levels: str = "uniform",
        tol: float = 1e-8,
        max_iter: int = 100,
        fit_intercept: bool = True,
        solver: str | ZipML = "auto",
        warm_start: bool = False,
        random_state: Any = None,  # noqa: ANN401
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.alpha = alpha
        self.bits = bits
        self.levels = levels
        self.tol = tol
        self.max_iter = max_iter
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.warm_start = warm_start
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: ANN401
        """Fit the model.

        Parameters
        ----------
        X : array-like or PackedMatrix, shape (n, d)
            Dense real numbers of any type; packed inside, never copied as floats. Of a
            PackedMatrix without its float source, what the codes stand for is fitted.
        y : array-like, shape (n,) or (n, n_targets)
            Targets; one column counts as one-dimensional, as in scikit-learn's Ridge.
        sample_weight : array-like of shape (n,), float or None
            Weights >= 0, not all zero; None means 1.

        Returns
        -------
        Ridge
            The estimator itself.

        Raises
        ------
        DataError
            If X, y or sample_weight cannot be used; the message says where and why.
        ParameterError
            If a parameter lies outside its allowed set.
        """
        self._fit(X, y, sample_weight, _check_alpha(self.alpha), one_column_is_flat=True)
        return self

    def path(self, X: Any, y: Any, alphas: ArrayLike, sample_weight: Any = None) -> Path:  # noqa: ANN401
        """Solve for every alpha of a list on one packed copy, each from its neighbour's solution.

        The estimator itself is not changed; its alpha does not matter.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        alphas : array-like of float, shape (m,)
            Values >= 0, in any order.

        Returns
        -------
        Path
            Coefficients, intercepts and results in the order of `alphas`.

        Examples
        --------
        >>> import numpy as np
        >>> from mezzotint.linear import Ridge
        >>> X = np.random.default_rng(0).standard_normal((300, 2))
        >>> path = Ridge().path(X, X[:, 0], alphas=[100.0, 1.0])
        >>> path.coefs.shape, bool(path.coefs[1, 0, 0] > path.coefs[0, 0, 0])
        ((2, 1, 2), True)
        """
        settings = self._settings()
        values = [_check_alpha(alpha) for alpha in np.asarray(alphas, dtype=np.float64).ravel().tolist()]
        source, given = check_samples(X)
        problem, _ = self._problem(source, given, y, sample_weight, settings)
        return solve_path(problem, values, [alpha / problem.total_weight for alpha in values], settings)

    def to_sklearn(self) -> Any:  # noqa: ANN401
        """Return scikit-learn's Ridge with the same coefficients, for use without mezzotint.

        Returns
        -------
        sklearn.linear_model.Ridge
            Fitted; it has this estimator's alpha, fit_intercept and max_iter.
        """
        from sklearn import linear_model

        plain = linear_model.Ridge(
            self.alpha,
            fit_intercept=self.fit_intercept,
            max_iter=self.max_iter,
            random_state=self.random_state,
        )
        return self._plain(plain)


class LinearRegression(_LeastSquares):
    """Ordinary least squares on a low-bit copy of the data, to the optimum of the data themselves.

    Minimises ``sum_i s_i |y_i - W x_i - b|^2``. Where the columns are dependent (more columns than rows,
    constant or repeated columns), the solution of least ``|W|`` is returned, as in scikit-learn.

    Parameters
    ----------
    bits : {8, 4, 32}, default 8
        Bits per value of the packed copy that inner iterations read: 8 is fastest, 4 needs half the
        memory; 32 packs nothing: "newton" iterates on X itself, "halp" on X where it is C-contiguous
        float32 (a memory map, too), else on a float32 copy, 4 bytes per value. The solution is the same.
        If X is a PackedMatrix, its own bits count.
    levels : {"uniform", "optimal"}, default "uniform"
        Where the levels of a copy in 4 bits lie: evenly, or where stochastic rounding to them has the
        least variance, see `mezzotint.pack`. For columns with heavy tails.
    tol : float, default 1e-8
        Relative gap ``(F - F*) / F`` of the objective to stop at; scikit-learn's tol has no such meaning.
    max_iter : int, default 100
        Outer iterations (reads of X that move the coefficients); a fit takes about 3.
    fit_intercept : bool, default True
        Whether to fit an intercept.
    solver : {"auto", "newton", "halp", "zipml"} or ZipML, default "auto"
        "newton": conjugate gradients on the packed copy. "halp": the minibatch method of the HALP
        paper. "auto": "newton", without a packed copy where the problem is too small for one. "zipml"
        (or a `ZipML` with settings): minibatch SGD on double-sampled codes alone, `max_iter` passes; then
        `solution_` is "unbiased".
        Dependent columns are solved by a decomposition of X or of its Gram matrix whatever is set.
    warm_start : bool, default False
        Start from the coefficients of the last fit if the shapes agree.
    random_state : int, generator or None, default None
        Seed of the row sample and of stochastic rounding; None is a fixed seed, so that fits repeat.
    n_jobs : int or None, default None
        Threads. None: all cores within the limits of joblib and threadpoolctl.
        The coefficients are the same bits for any number.
    verbose : bool or int, default 0
        Write a line to stderr for every read of X.

    Attributes
    ----------
    coef_ : ndarray, shape (d,) or (n_targets, d)
        Coefficients; float64, or float32 if X was and `tol` allows.
    intercept_ : number or ndarray, shape (n_targets,)
        Intercepts, of the same type; 0.0 if none was fitted.
    n_iter_ : ndarray of int32, shape (n_targets,)
        Outer iterations; all targets are solved together.
    n_features_in_ : int
        Columns seen in fit.
    feature_names_in_ : ndarray of str
        Names of the columns; there only if X had them.
    solution_ : {"exact", "unbiased", "quantised"}
        "exact": the optimum of the problem on the float data. "unbiased": SGD along unbiased estimates of
        its gradient. "quantised": the problem on the values that the codes stand for.
    result_ : Result
        How the fit ended, in words, with its certificate and trace. Its objective is half the mean
        squared error.

    Examples
    --------
    >>> import numpy as np
    >>> from mezzotint.linear import LinearRegression
    >>> X = np.random.default_rng(0).standard_normal((500, 2))
    >>> model = LinearRegression().fit(X, X @ [1.0, -2.0] + 5.0)
    >>> model.coef_.round(6).tolist(), round(float(model.intercept_), 6)
    ([1.0, -2.0], 5.0)
    """

    def __init__(
        self,
        *,
        bits: int = 8,
        levels: str = "uniform",
        tol: float = 1e-8,
        max_iter: int = 100,
        fit_intercept: bool = True,
        solver: str | ZipML = "auto",
        warm_start: bool = False,
        random_state: Any = None,  # noqa: ANN401
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.bits = bits
        self.levels = levels
        self.tol = tol
        self.max_iter = max_iter
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.warm_start = warm_start
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: ANN401
        """Fit the model.

        Parameters
        ----------
        X : array-like or PackedMatrix, shape (n, d)
            Dense real numbers of any type; packed inside, never copied as floats. Of a
            PackedMatrix without its float source, what the codes stand for is fitted.
        y : array-like, shape (n,) or (n, n_targets)
            Targets.
        sample_weight : array-like of shape (n,), float or None
            Weights >= 0, not all zero; None means 1.

        Returns
        -------
        LinearRegression
            The estimator itself.

        Raises
        ------
        DataError
            If X, y or sample_weight cannot be used; the message says where and why.
        ParameterError
            If a parameter lies outside its allowed set.
        """
        self._fit(X, y, sample_weight, 0.0, one_column_is_flat=False)
        return self

    def to_sklearn(self) -> Any:  # noqa: ANN401
        """Return scikit-learn's LinearRegression with the same coefficients, for use without mezzotint.

        Returns
        -------
        sklearn.linear_model.LinearRegression
            Fitted; it has this estimator's fit_intercept.
        """
        from sklearn import linear_model

        return self._plain(linear_model.LinearRegression(fit_intercept=self.fit_intercept))


def _check_alpha(alpha: Any) -> float:  # noqa: ANN401
    return check_real("alpha", alpha, low=0, low_allowed=True)
