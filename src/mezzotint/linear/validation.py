"""Checks of what users pass to the estimators: parameters, sample weights, labels and targets.

Every message says what came in, what is allowed and what to do.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import DataConversionWarning
from sklearn.utils.multiclass import check_classification_targets

from mezzotint.errors import DataError, ParameterError
from mezzotint.linear.caller import warn_caller
from mezzotint.packed import DecodedSource, PackedMatrix, Source, as_source

_DEFAULT_SEED = 0
_COUNTED_SPAN = 4096  # of integer labels


def check_real(
    name: str,
    value: Any,  # noqa: ANN401
    *,
    low: float,
    low_allowed: bool,
    infinity_allowed: bool = False,
) -> float:
    """Return a real parameter as a float, or raise ParameterError."""
    is_real = isinstance(value, Real) and not isinstance(value, bool)
    number = float(value) if is_real else math.nan
    above = number >= low if low_allowed else number > low
    if above and (infinity_allowed or number != math.inf):
        return number
    raise ParameterError(
        f"{name}={value!r} is not possible; give a {'' if infinity_allowed else 'finite '}number "
        f"{'>=' if low_allowed else '>'} {low:g}."
    )


def check_count(name: str, value: Any, *, low: int) -> int:  # noqa: ANN401
    """Return an integer parameter, or raise ParameterError."""
    if isinstance(value, int | np.integer) and not isinstance(value, bool) and value >= low:
        return int(value)
    raise ParameterError(f"{name}={value!r} is not possible; give an integer >= {low}.")


def check_choice(name: str, value: Any, allowed: tuple[str, ...]) -> str:  # noqa: ANN401
    """Return a parameter that names one of a few choices, or raise ParameterError."""
    if isinstance(value, str) and value in allowed:
        return value
    raise ParameterError(f"{name}={value!r} is unknown; allowed: {', '.join(map(repr, allowed))}.")


def check_flag(name: str, value: Any) -> bool:  # noqa: ANN401
    """Return a switch, or raise ParameterError."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise ParameterError(f"{name}={value!r} is not possible; give True or False.")


def check_verbose(value: Any) -> bool:  # noqa: ANN401
    """Return whether to report progress: scikit-learn's verbose is a switch or a level."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    return check_count("verbose", value, low=0) > 0


def check_seed(random_state: Any) -> int:  # noqa: ANN401
    """Turn scikit-learn's random_state into a seed.

    None is a fixed seed (results are a function of the input alone), an integer is itself, and a
    generator is asked for one number.
    """
    if random_state is None:
        return _DEFAULT_SEED
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31))
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**31))
    is_integer = isinstance(random_state, int | np.integer) and not isinstance(random_state, bool)
    if is_integer and 0 <= random_state < 2**63:
        return int(random_state)
    raise ParameterError(
        f"random_state={random_state!r} is not possible; give None, an integer >= 0, or a NumPy generator."
    )


def check_samples(X: Any) -> tuple[Source, PackedMatrix | None]:  # noqa: ANN401
    """Return the float rows of any array-like or PackedMatrix, and the packed copy if that is what came in.

    Codes without their float source are decoded: the values they stand for are then the data, and the codes
    have no rounding noise.

    Raises
    ------
    DataError
        For what `as_source` refuses.
    """
    if not isinstance(X, PackedMatrix):
        return as_source(X), None
    if X.source is not None:
        return X.source, X
    decoded = DecodedSource(X)
    return decoded, replace(X, source=decoded, noise=np.zeros_like(X.noise))


def named_columns(X: Any, source: Source) -> Any:  # noqa: ANN401
    """Return what scikit-learn takes the columns' number and names from: a data frame, else the source."""
    is_frame = hasattr(X, "columns") and type(X).__module__.partition(".")[0] != "pyarrow"
    return X if is_frame else source


def check_sample_weight(sample_weight: Any, n_rows: int) -> NDArray[np.float64] | None:  # noqa: ANN401
    """Return sample weights as float64 of shape (n,), None for None; a number stands for n equal weights."""
    if sample_weight is None:
        return None
    if isinstance(sample_weight, Real):
        sample_weight = np.full(n_rows, float(sample_weight))
    weights = _as_float64("sample_weight", sample_weight)
    if weights.shape != (n_rows,):
        raise DataError(
            f"sample_weight has shape {weights.shape} but X has {n_rows} rows; "
            f"give one weight per row, shape ({n_rows},). Sample weights must be 1D array or scalar."
        )
    _require_finite("sample_weight", weights)
    if weights.min() < 0:
        row = int(np.argmax(weights < 0))
        raise DataError(
            f"sample_weight is negative: {weights[row]} in row {row}. "
            "Weights must be >= 0; 0 leaves a row out."
        )
    if not weights.any():
        raise DataError("sample_weight is zero for every row; at least one row must have a positive weight.")
    return weights


def check_labels(
    y: Any,  # noqa: ANN401
    n_rows: int,
    weights: NDArray[np.float64] | None,
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return (classes, class index of every row).

    Classes are those of the rows with a positive weight, so that a row subset given by 0/1 weights is
    the same problem as the rows alone; other rows get an index that does not matter.

    Raises
    ------
    DataError
        If y is not one label per row, or fewer than two classes are left.
    """
    labels = _one_column(y)
    _require_length("y", len(labels), n_rows)
    _check_label_type(labels)
    classes = _distinct(labels if weights is None else labels[weights > 0])
    if len(classes) < 2:
        where = "" if weights is None else " among the rows of positive sample_weight"
        raise DataError(
            f"y has only one class{where}: {classes.tolist()}. "
            "A classifier needs samples of at least 2 classes; check the selection of rows."
        )
    if len(classes) == 2:
        return classes, (labels == classes[1]).astype(np.int64)
    return classes, np.minimum(np.searchsorted(classes, labels), len(classes) - 1).astype(np.int64)


def check_targets(y: Any, n_rows: int) -> tuple[NDArray[np.float64], bool]:  # noqa: ANN401
    """Return (targets of shape (K, n), whether y was one-dimensional)."""
    _refuse_missing(y)
    targets = _as_float64("y", y)
    if targets.ndim not in (1, 2) or targets.shape[1:] == (0,):
        raise DataError(
            f"y has shape {targets.shape}; y should be a 1d array or 2d array: give ({n_rows},) for one "
            f"target or ({n_rows}, n_targets)."
        )
    _require_length("y", len(targets), n_rows)
    _require_finite("y", targets)
    flat = targets.ndim == 1
    return np.ascontiguousarray(targets[None] if flat else targets.T), flat


def check_target(y: Any, n_rows: int) -> NDArray[np.float64]:  # noqa: ANN401
    """Return one target, shape (1, n); a column is taken for what it means, with a warning."""
    return check_targets(_one_column(y), n_rows)[0]


def class_weights(
    class_weight: Any,  # noqa: ANN401
    classes: NDArray[Any],
    index: NDArray[np.int64],
    weights: NDArray[np.float64] | None,
) -> NDArray[np.float64] | None:
    """Fold class weights into sample weights.

    Parameters
    ----------
    class_weight : mapping of label to weight, "balanced" or None
        "balanced" is ``S / (K * S_k)`` with the sum S_k of the sample weights of class k. Labels that a
        mapping leaves out have weight 1. A class of weight 0 keeps its output, as in scikit-learn, and
        its rows are rows of weight 0.
    classes, index : ndarray
        As from `check_labels`.
    weights : ndarray of float64, shape (n,), or None
        Sample weights.

    Returns
    -------
    ndarray of float64, shape (n,), or None
        ``weights * class_weight[label]``; None if all are one.

    Raises
    ------
    ParameterError
        If a weight is no number >= 0, or its label is not in y.
    DataError
        If fewer than two classes have a positive weight.
    """
    if class_weight is None:
        return weights
    if isinstance(class_weight, str) and class_weight == "balanced":
        counts = np.bincount(index, weights=weights, minlength=len(classes)).astype(np.float64)
        per_class = counts.sum() / (len(classes) * counts)
    elif isinstance(class_weight, Mapping):
        per_class = _from_mapping(class_weight, classes)
    else:
        raise ParameterError(
            f"class_weight={class_weight!r} is not possible; allowed: None, 'balanced', or a mapping of "
            "label to weight."
        )
    if np.count_nonzero(per_class) < 2:
        raise DataError(
            f"class_weight={class_weight!r} leaves fewer than 2 classes of positive weight; the classes are "
            f"{classes.tolist()}. A classifier needs two: give another one a weight above 0."
        )
    rows: NDArray[np.float64] = per_class[index]
    return rows if weights is None else rows * weights


def _from_mapping(class_weight: Mapping[Any, Any], classes: NDArray[Any]) -> NDArray[np.float64]:
    labels = classes.tolist()
    unknown = [label for label in class_weight if label not in labels]
    missing = [label for label in labels if label not in class_weight]
    if unknown and missing:  # labels that only rows of weight zero have may be named, if all others are
        raise ParameterError(
            f"class_weight names the labels {unknown}, which no row of positive weight has, and leaves out "
            f"{missing}; the classes are {labels}. Give the weights of these."
        )
    return np.array(
        [
            check_real(f"class_weight[{label!r}]", class_weight.get(label, 1.0), low=0, low_allowed=True)
            for label in labels
        ]
    )


def _check_label_type(labels: NDArray[Any]) -> None:
    """Refuse numbers that are no labels; integers and strings always are, and looking costs time."""
    if labels.dtype.kind == "f":
        _require_finite("y", labels)
    if labels.dtype.kind not in "biuUS":
        check_classification_targets(labels)


def _distinct(labels: NDArray[Any]) -> NDArray[Any]:
    """Sorted distinct labels; counting is much faster than sorting or hashing where it is possible."""
    if labels.dtype.kind in "iu" and labels.dtype != np.uint64:
        low, high = int(labels.min()), int(labels.max())
        if high - low < _COUNTED_SPAN:
            present = np.flatnonzero(np.bincount(labels.astype(np.int64) - low))
            return (present + low).astype(labels.dtype)
    distinct: NDArray[Any] = np.unique(labels)
    return distinct


def _one_column(y: Any) -> NDArray[Any]:  # noqa: ANN401
    _refuse_missing(y)
    labels = np.asarray(y)
    if labels.ndim == 2 and labels.shape[1] == 1:
        warn_caller(
            "A column-vector y was passed when a 1d array was expected. Please change the shape of y to "
            "(n_samples,), for example using ravel().",
            DataConversionWarning,
        )
        return labels[:, 0]
    if labels.ndim != 1:
        raise DataError(f"y has shape {labels.shape}; y should be a 1d array with one entry per row of X.")
    return labels


def _refuse_missing(y: Any) -> None:  # noqa: ANN401
    if y is None:
        raise DataError("y is None, but fitting requires y to be passed; y should be a 1d array.")
    if hasattr(y, "toarray"):
        raise DataError(f"y is a sparse matrix ({type(y).__name__}); pass a dense one: y.toarray().")


def _as_float64(name: str, values: Any) -> NDArray[np.float64]:  # noqa: ANN401
    array = np.asarray(values)
    if array.dtype.kind == "c":
        raise DataError(f"Complex data not supported: {name} has dtype {array.dtype}. Pass real numbers.")
    try:
        return np.ascontiguousarray(array, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} cannot be read as numbers: {error}. Pass real numbers.") from error


def _require_length(name: str, length: int, n_rows: int) -> None:
    if length != n_rows:
        raise DataError(
            f"Found input variables with inconsistent numbers of samples: X has {n_rows} rows, {name} has "
            f"{length}. Give one entry of {name} per row of X."
        )


def _require_finite(name: str, values: NDArray[np.floating]) -> None:
    if np.isfinite(values).all():
        return
    where = np.argwhere(~np.isfinite(values))[0].tolist()
    bad = values[tuple(where)]
    kind = "NaN" if np.isnan(bad) else "infinity"
    raise DataError(
        f"Input {name} contains {kind}: the first bad value is {bad} at row {where[0]}. "
        "Only finite numbers are allowed; drop such rows."
    )
