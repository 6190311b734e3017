"""Logistic regression, binary and multinomial, with scikit-learn's face."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.special
from numpy.typing import NDArray

from mezzotint.linear._classifier import LinearClassifier
from mezzotint.linear.zipml import ZipML


class LogisticRegression(LinearClassifier):
    """Logistic regression on a low-bit copy of the data, to the optimum of the data themselves.

    Minimises scikit-learn's objective, ``C sum_i s_i l_i(W, b) + |W|^2 / 2``, with the logistic loss for
    two classes and the multinomial cross-entropy for more; the intercept b is not penalised.

    Parameters
    ----------
    C : float, default 1.0
        Inverse strength of the penalty, > 0; infinity for none.
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
        whose tol bounds the largest entry of the gradient.
    max_iter : int, default 100
        Outer iterations (reads of X that move the coefficients); a fit takes about 5.
    fit_intercept : bool, default True
        Whether to fit an intercept.
    class_weight : mapping, "balanced" or None, default None
        Weights of the classes, >= 0, multiplied with the sample weights. "balanced" gives every class
        the same total.
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
        Threads. None: all cores within the limits of joblib and threadpoolctl (scikit-learn: one).
        The coefficients are the same bits for any number.
    verbose : bool or int, default 0
        Write a line to stderr for every read of X.

    Attributes
    ----------
    coef_ : ndarray, shape (1, d) or (K, d)
        Coefficients; one row for two classes. float64, or float32 if X was and `tol` allows.
    intercept_ : ndarray, shape (1,) or (K,)
        Intercepts, of the same type.
    classes_ : ndarray of shape (K,)
        Labels found in the rows of positive sample weight, sorted.
    n_iter_ : ndarray of int32, shape (1,)
        Outer iterations.
    n_features_in_ : int
        Columns seen in fit.
    feature_names_in_ : ndarray of str
        Names of the columns; there only if X had them.
    solution_ : {"exact", "unbiased", "quantised"}
        "exact": the optimum of the problem on the float data. "unbiased": SGD along unbiased estimates of
        its gradient. "quantised": the problem on the values that the codes stand for.
    result_ : Result
        How the fit ended, in words, with its certificate and trace.

    Notes
    -----
    Row subsets (cross-validation, bootstrap) need no slicing: rows of ``sample_weight`` 0 might as well
    not be there, and one packed copy serves all subsets.

    Examples
    --------
    >>> import numpy as np
    >>> from mezzotint.linear import LogisticRegression
    >>> X = np.random.default_rng(0).standard_normal((500, 3))
    >>> y = np.where(X[:, 0] > X[:, 1], "above", "below")
    >>> clf = LogisticRegression(C=10.0).fit(X, y)
    >>> clf.predict([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0]]).tolist()
    ['above', 'below']
    >>> clf.result_.status.name, clf.solution_
    ('CONVERGED', 'exact')
    """

    _infinite_C = True

    @property
    def _loss_names(self) -> tuple[str, str]:
        return "logistic", "softmax"

    def __init__(
        self,
        C: float = 1.0,
        *,
        bits: int = 8,
        levels: str = "uniform",
        tol: float = 1e-8,
        max_iter: int = 100,
        fit_intercept: bool = True,
        class_weight: Mapping[Any, float] | str | None = None,
        solver: str | ZipML = "auto",
        warm_start: bool = False,
        random_state: Any = None,  # noqa: ANN401
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.C = C
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

    def predict_proba(self, X: Any) -> NDArray[np.floating]:  # noqa: ANN401
        """Return the probability of every class.

        Parameters
        ----------
        X : array-like or PackedMatrix, shape (n, d)
            Rows.

        Returns
        -------
        ndarray, shape (n, K)
            Rows sum to one; columns in the order of ``classes_``.
        """
        phi = self._margins(X)
        if len(phi) == 1:
            return np.column_stack([scipy.special.expit(-phi[0]), scipy.special.expit(phi[0])])
        probabilities: NDArray[np.floating] = scipy.special.softmax(phi.T, axis=1)
        return probabilities

    def predict_log_proba(self, X: Any) -> NDArray[np.floating]:  # noqa: ANN401
        """Return the logarithm of the probability of every class, exact for tiny ones too.

        Parameters
        ----------
        X : array-like or PackedMatrix, shape (n, d)
            Rows.

        Returns
        -------
        ndarray, shape (n, K)
            Columns in the order of ``classes_``.
        """
        phi = self._margins(X)
        if len(phi) == 1:
            return np.column_stack([scipy.special.log_expit(-phi[0]), scipy.special.log_expit(phi[0])])
        logarithms: NDArray[np.floating] = scipy.special.log_softmax(phi.T, axis=1)
        return logarithms

    def to_sklearn(self) -> Any:  # noqa: ANN401
        """Return scikit-learn's LogisticRegression with the same coefficients, for use without mezzotint.

        Returns
        -------
        sklearn.linear_model.LogisticRegression
            Fitted; it has this estimator's C, fit_intercept, class_weight and max_iter.
        """
        from sklearn import linear_model

        plain = linear_model.LogisticRegression(
            C=self.C,
            fit_intercept=self.fit_intercept,
            class_weight=self.class_weight,
            max_iter=self.max_iter,
            random_state=self.random_state,
        )
        return self._plain(plain, "classes_")
