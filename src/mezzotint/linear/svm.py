"""Linear support vector machines, with scikit-learn's face."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin

from mezzotint.errors import ParameterError
from mezzotint.linear._base import LinearModel
from mezzotint.linear._classifier import LinearClassifier
from mezzotint.linear.multipliers import LOSSES
from mezzotint.linear.objective import Problem
from mezzotint.linear.result import Result
from mezzotint.linear.solve import Settings, solve
from mezzotint.linear.validation import check_choice, check_real, check_sample_weight, check_target
from mezzotint.linear.zipml import ZipML
from mezzotint.packed import PackedMatrix, Source

_LOSS_FACTORS = {  # the engine's losses are halves of squares
    "squared_hinge": 2.0,
    "hinge": 1.0,
    "squared_epsilon_insensitive": 2.0,
    "epsilon_insensitive": 1.0,
}


class LinearSVC(LinearClassifier):
    """Linear support vector classification on a low-bit copy of the data, to the optimum of the data.

    Minimises ``C sum_i s_i max(0, 1 - y_i (w.x_i + b))^2 + |w|^2 / 2`` for two classes with y = -1 and 1,
    and for more classes the same for every class against the rest. With ``loss="hinge"`` the losses are not
    squared.

    Parameters
    ----------
    C : float, default 1.0
        Inverse strength of the penalty, > 0.
    loss : {"squared_hinge", "hinge"}, default "squared_hinge"
        The hinge has no curvature that coarse data could estimate: it is fitted on the float rows alone, by
        the method of multipliers, and `bits` do not matter.
    bits : {8, 4, 32}, default 8
        Bits per value of the packed copy that inner iterations read: 8 is fastest, 4 needs half the
        memory; 32 packs nothing: "newton" iterates on X itself, "halp" on X where it is C-contiguous
        float32 (a memory map, too), else on a float32 copy, 4 bytes per value. The solution is the same.
        If X is a PackedMatrix, its own bits count.
    levels : {"uniform", "optimal"}, default "uniform"
        Where the levels of a copy in 4 bits lie: evenly, or where stochastic rounding to them has the
        least variance, see `mezzotint.pack`. For columns with heavy tails.
    tol : float, default 1e-8
        Relative gap ``(F - F*) / |F|`` of the objective to stop at. This differs from scikit-learn,
        whose tol bounds what liblinear watches.
    max_iter : int, default 1000
        Outer iterations (reads of X that move the coefficients); a fit takes about 5, up to a hundred where
        hardly any rows are left in the margin.
    fit_intercept : bool, default True
        Whether to fit an intercept. It is not penalised, unlike liblinear's: there is no
        `intercept_scaling`, and without an intercept both have the same optimum.
    class_weight : mapping, "balanced" or None, default None
        Weights of the classes, >= 0, multiplied with the sample weights, in every one of the problems of
        one class against the rest. "balanced" gives every class the same total.
    solver : {"auto", "newton", "halp", "zipml"} or ZipML, default "auto"
        "newton": Newton's method with conjugate gradients on the packed copy. "halp": the minibatch
        method of the HALP paper (bits=32: SVRG in float32). "auto": "newton", without a packed copy
        where the problem is too small for one. "zipml" (or a `ZipML` with settings): minibatch SGD on the
        codes alone, `max_iter` passes; then `solution_` is "quantised".
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
    coef_ : ndarray of float64, shape (1, d) or (K, d)
        Coefficients; one row for two classes.
    intercept_ : ndarray of float64, shape (1,) or (K,)
        Intercepts.
    classes_ : ndarray of shape (K,)
        Labels found in the rows of positive sample weight, sorted.
    n_iter_ : int
        Outer iterations; all classes are solved together.
    n_features_in_ : int
        Columns seen in fit.
    feature_names_in_ : ndarray of str
        Names of the columns; there only if X had them.
    solution_ : {"exact", "unbiased", "quantised"}
        "exact": the optimum of the problem on the float data. "unbiased": SGD along unbiased estimates of
        its gradient. "quantised": the problem on the values that the codes stand for.
    result_ : Result
        How the fit ended, in words, with its certificate and trace. Its objective is the one above divided
        by 2 C (hinge: C) and the sum of the weights, summed over the classes.

    Examples
    --------
    >>> import numpy as np
    >>> from mezzotint.linear import LinearSVC
    >>> X = np.random.default_rng(0).standard_normal((500, 3))
    >>> y = np.where(X[:, 0] > X[:, 1], "above", "below")
    >>> clf = LinearSVC(C=10.0).fit(X, y)
    >>> clf.predict([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0]]).tolist()
    ['above', 'below']
    >>> clf.result_.status.name, clf.solution_
    ('CONVERGED', 'exact')
    """

    _infinite_C = False

    def __init__(
        self,
        C: float = 1.0,
        *,
        loss: str = "squared_hinge",
        bits: int = 8,
        levels: str = "uniform",
        tol: float = 1e-8,
        max_iter: int = 1000,
        fit_intercept: bool = True,
        class_weight: Mapping[Any, float] | str | None = None,
        solver: str | ZipML = "auto",
        warm_start: bool = False,
        random_state: Any = None,  # noqa: ANN401
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.C = C
        self.loss = loss
        self.bits = bits
        self.levels = levels
        self.tol = tol
        self.max_iter = max_iter
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.solver = solver
        self.warm_start = warm_start
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def to_sklearn(self) -> Any:  # noqa: ANN401
        """Return scikit-learn's LinearSVC with the same coefficients, for use without mezzotint.

        Returns
        -------
        sklearn.svm.LinearSVC
            Fitted; it has this estimator's C, fit_intercept and class_weight.
        """
        from sklearn import svm

        shared = {"C": self.C, "loss": self.loss, "fit_intercept": self.fit_intercept}
        return self._plain(svm.LinearSVC(class_weight=self.class_weight, **shared), "classes_")

    @property
    def _loss_names(self) -> tuple[str, str]:
        return self.loss, self.loss

    @property
    def _loss_factor(self) -> float:
        return _LOSS_FACTORS[self.loss]

    def _settings(self) -> Settings:
        return _checked_loss(self.loss, ("squared_hinge", "hinge"), super()._settings())

    def _store(self, problem: Problem, result: Result) -> None:
        super()._store(problem, result)
        self.n_iter_ = result.n_iter


class LinearSVR(RegressorMixin, LinearModel):  # type: ignore[misc]
    """Linear support vector regression on a low-bit copy of the data, to the optimum of the data.

    Minimises ``C sum_i s_i max(0, |y_i - w.x_i - b| - epsilon)^2 + |w|^2 / 2``; with
    ``loss="epsilon_insensitive"`` the losses are not squared.

    Parameters
    ----------
    epsilon : float, default 0.0
        Errors up to it cost nothing, >= 0. At 0 this is `Ridge` with alpha = 1 / (2 C), or with the loss that
        is not squared, regression to medians.
    C : float, default 1.0
        Inverse strength of the penalty, > 0.
    loss : {"squared_epsilon_insensitive", "epsilon_insensitive"}, default "squared_epsilon_insensitive"
        scikit-learn's default is the other one. It is fitted on the float rows alone, as the hinge is by
        `LinearSVC`.
    bits : {8, 4, 32}, default 8
        Bits per value of the packed copy that inner iterations read: 8 is fastest, 4 needs half the
        memory; 32 packs nothing: "newton" iterates on X itself, "halp" on X where it is C-contiguous
        float32 (a memory map, too), else on a float32 copy, 4 bytes per value. The solution is the same.
        If X is a PackedMatrix, its own bits count.
    levels : {"uniform", "optimal"}, default "uniform"
        Where the levels of a copy in 4 bits lie: evenly, or where stochastic rounding to them has the
        least variance, see `mezzotint.pack`. For columns with heavy tails.
    tol : float, default 1e-8
        Relative gap ``(F - F*) / max(|F|, 1e-12 F(0))`` of the objective to stop at.
    max_iter : int, default 1000
        Outer iterations (reads of X that move the coefficients).
    fit_intercept : bool, default True
        Whether to fit an intercept. It is not penalised, unlike liblinear's.
    solver : {"auto", "newton", "halp", "zipml"} or ZipML, default "auto"
        As in `LinearSVC`.
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
    coef_ : ndarray of float64, shape (d,)
        Coefficients.
    intercept_ : ndarray of float64, shape (1,)
        The intercept.
    n_iter_ : int
        Outer iterations.
    n_features_in_ : int
        Columns seen in fit.
    feature_names_in_ : ndarray of str
        Names of the columns; there only if X had them.
    solution_ : {"exact", "unbiased", "quantised"}
        "exact": the optimum of the problem on the float data. "unbiased": SGD along unbiased estimates of
        its gradient. "quantised": the problem on the values that the codes stand for.
    result_ : Result
        How the fit ended, in words, with its certificate and trace. Its objective is the one above divided
        by 2 C (of the loss that is not squared: C) and the sum of the weights.

    Examples
    --------
    >>> import numpy as np
    >>> from mezzotint.linear import LinearSVR
    >>> X = np.random.default_rng(0).standard_normal((500, 2))
    >>> model = LinearSVR(epsilon=0.1, C=1e4).fit(X, X @ [1.0, -2.0] + 5.0)
    >>> bool(np.abs(model.predict(X) - X @ [1.0, -2.0] - 5.0).max() < 0.11)
    True
    """

    def __init__(
        self,
        *,
        epsilon: float = 0.0,
        C: float = 1.0,
        loss: str = "squared_epsilon_insensitive",
        bits: int = 8,
        levels: str = "uniform",
        tol: float = 1e-8,
        max_iter: int = 1000,
        fit_intercept: bool = True,
        solver: str | ZipML = "auto",
        warm_start: bool = False,
        random_state: Any = None,  # noqa: ANN401
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.epsilon = epsilon
        self.C = C
        self.loss = loss
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
        y : array-like, shape (n,)
            Targets.
        sample_weight : array-like of shape (n,), float or None
            Weights >= 0, not all zero; None means 1.

        Returns
        -------
        LinearSVR
            The estimator itself.

        Raises
        ------
        DataError
            If X, y or sample_weight cannot be used; the message says where and why.
        ParameterError
            If a parameter lies outside its allowed set.
        """
        settings, C = self._settings(), check_real("C", self.C, low=0, low_allowed=False)
        epsilon = check_real("epsilon", self.epsilon, low=0, low_allowed=True)
        source, given = self._open(X, y)
        problem = self._problem(source, given, y, sample_weight, epsilon, settings)
        factor = _LOSS_FACTORS[self.loss]
        problem = dataclasses.replace(problem, penalty=1.0 / (factor * C * problem.total_weight))
        result = solve(problem, settings, self._start(problem))
        self.coef_ = np.ascontiguousarray(result.coef[0, :-1])
        self.intercept_ = np.ascontiguousarray(result.coef[:, -1])
        self.n_iter_ = result.n_iter
        self._keep(result)
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:  # noqa: ANN401
        """Return the fitted values of some rows.

        Parameters
        ----------
        X : array-like or PackedMatrix, shape (n, d)
            Rows; of a PackedMatrix the float source is read, or what its codes stand for.

        Returns
        -------
        ndarray of float64, shape (n,)
            ``X coef_ + intercept_``.
        """
        fitted: NDArray[np.float64] = self._margins(X)[0]
        return fitted

    def to_sklearn(self) -> Any:  # noqa: ANN401
        """Return scikit-learn's LinearSVR with the same coefficients, for use without mezzotint.

        Returns
        -------
        sklearn.svm.LinearSVR
            Fitted; it has this estimator's epsilon, C, loss and fit_intercept.
        """
        from sklearn import svm

        shared = {"epsilon": self.epsilon, "C": self.C, "loss": self.loss}
        return self._plain(svm.LinearSVR(fit_intercept=self.fit_intercept, **shared))

    def _settings(self) -> Settings:
        return _checked_loss(
            self.loss, ("squared_epsilon_insensitive", "epsilon_insensitive"), super()._settings()
        )

    def _problem(
        self,
        source: Source,
        given: PackedMatrix | None,
        y: Any,  # noqa: ANN401
        sample_weight: Any,  # noqa: ANN401
        epsilon: float,
        settings: Settings,
    ) -> Problem:
        """Return the problem without its penalty."""
        weights = check_sample_weight(sample_weight, source.shape[0])
        target = check_target(y, source.shape[0])
        ends = np.concatenate([target - epsilon, target + epsilon])
        parts = {"loss": self.loss, "y": ends, "n_outputs": 1, "weights": weights}
        return self._make_problem(source, given, settings, **parts)


def _checked_loss(loss: Any, allowed: tuple[str, ...], settings: Settings) -> Settings:  # noqa: ANN401
    """Return the settings if they go with the loss."""
    check_choice("loss", loss, allowed)
    if loss in LOSSES and settings.solver not in ("auto", "newton"):
        raise ParameterError(
            f"solver={settings.solver!r} with loss={loss!r}, which has a kink; allowed: 'auto', 'newton'. Or "
            f"take loss={allowed[0]!r}."
        )
    return settings
