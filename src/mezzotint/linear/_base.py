"""What the estimators share: checked settings, warm starts, margins, warnings."""

import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted, validate_data

from mezzotint.kernels.threads import resolve_n_jobs
from mezzotint.linear.caller import warn_caller
from mezzotint.linear.objective import Coef, Problem, margins
from mezzotint.linear.result import Result, Status
from mezzotint.linear.rounded import coefficient_type
from mezzotint.linear.solve import BITS, Settings, checked_levels, packed_copy, progress_line, solver_of
from mezzotint.linear.validation import (
    check_count,
    check_flag,
    check_real,
    check_samples,
    check_seed,
    check_verbose,
    named_columns,
)
from mezzotint.linear.zipml import check_unweighted, n_draws_for
from mezzotint.packed import PackedMatrix, Source
from mezzotint.packed.pack import check_bits


class LinearModel(BaseEstimator):  # type: ignore[misc]
    """Base of the estimators; their `fit` sets ``coef_``, ``intercept_``, ``n_iter_`` and ``result_``."""

    def _settings(self) -> Settings:
        """Check all parameters but those of the loss."""
        check_bits(self.bits, BITS)
        check_flag("warm_start", self.warm_start)
        solver, zipml = solver_of(self.solver)
        return Settings(
            bits=int(self.bits),
            levels=checked_levels(self.levels, self.bits),
            solver=solver,
            zipml=zipml,
            tol=check_real("tol", self.tol, low=0, low_allowed=False),
            max_iter=check_count("max_iter", self.max_iter, low=1),
            seed=check_seed(self.random_state),
            n_threads=resolve_n_jobs(self.n_jobs),
            report=progress_line if check_verbose(self.verbose) else None,
        )

    def _open(self, X: Any, y: Any) -> tuple[Source, PackedMatrix | None]:  # noqa: ANN401
        """Check X as far as that costs nothing and remember its columns."""
        source, given = check_samples(X)
        validate_data(self, named_columns(X, source), y, skip_check_array=True)
        return source, given

    def _make_problem(
        self,
        source: Source,
        given: PackedMatrix | None,
        settings: Settings,
        **parts: Any,  # noqa: ANN401
    ) -> Problem:
        """Return the problem without its penalty; `parts` are loss, labels, outputs and weights."""
        if settings.solver == "zipml":  # before X is packed, which may take long
            n_draws = n_draws_for(parts["loss"]) if given is None else given.n_draws
            check_unweighted(n_draws, parts["loss"], parts["weights"])
        return Problem(
            source=source,
            packed=packed_copy(source, given, settings, parts["loss"]),
            penalty=0.0,
            fit_intercept=check_flag("fit_intercept", self.fit_intercept),
            n_threads=settings.n_threads,
            coef_dtype=coefficient_type(source, parts["loss"]),
            **parts,
        )

    def _start(self, problem: Problem) -> Coef | None:
        """Coefficients of the last fit, if they are wanted and fit the problem."""
        if not self.warm_start or not hasattr(self, "coef_"):
            return None
        weights = np.atleast_2d(dense_coef(self))
        intercept = np.broadcast_to(self.intercept_ if problem.fit_intercept else 0.0, len(weights))
        start: Coef = np.column_stack([weights, intercept]).astype(np.float64)
        return start if start.shape == (problem.n_outputs, problem.n_columns + 1) else None

    def _keep(self, result: Result) -> None:
        """Store what every estimator stores, and warn if the optimum was not reached."""
        self.result_ = result
        self.solution_ = result.solution
        fine = result.status in (Status.CONVERGED, Status.FINISHED)
        if not fine and (result.status is not Status.FLOOR or result.is_far(self.tol)):
            warn_caller(f"{type(self).__name__} {result}", ConvergenceWarning)

    def _margins(self, X: Any) -> NDArray[np.floating]:  # noqa: ANN401
        """Return ``X coef^T + intercept``, shape (K, n): computed in float64, float32 if X and coef_ are."""
        check_is_fitted(self)
        source, _ = check_samples(X)
        validate_data(self, named_columns(X, source), reset=False, skip_check_array=True)
        weights = np.atleast_2d(dense_coef(self))
        coef = np.column_stack([weights, np.broadcast_to(self.intercept_, len(weights))])
        phi = margins(source, np.ascontiguousarray(coef, dtype=np.float64), resolve_n_jobs(self.n_jobs))
        return phi.astype(np.promote_types(coef.dtype, source.dtype), copy=False)

    def _plain(self, plain: Any, *names: str) -> Any:  # noqa: ANN401
        """Copy fitted attributes to scikit-learn's estimator."""
        check_is_fitted(self)
        for name in ("coef_", "intercept_", "n_iter_", "n_features_in_", "feature_names_in_", *names):
            if hasattr(self, name):
                setattr(plain, name, copy.copy(getattr(self, name)))
        return plain


def dense_coef(model: Any) -> NDArray[np.floating]:  # noqa: ANN401
    """Return ``coef_`` as an ndarray, whether `sparsify` was called or not."""
    coef: NDArray[np.floating] = model.coef_.toarray() if issparse(model.coef_) else model.coef_
    return coef
