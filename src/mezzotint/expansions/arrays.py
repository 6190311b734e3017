"""What NumPy and torch do differently: names of formats, conversions, selection, warnings.

The algorithms beside this module are + - * on the arrays themselves, the same lines for both libraries.
Neither torch nor ml_dtypes is imported: whoever hands over a tensor, or a dtype, has loaded its library.
Both round after every operation (tests/expansions/test_arrays.py and test_torch.py look at each).
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, TypeVar

import numpy as np

from mezzotint.errors import FormatError

__all__ = ["Array", "arithmetic", "as_double", "cast", "finite_or_zero", "precision", "quiet", "widen"]

_PRECISION = {"float8_e5m2": 3, "float8_e4m3fn": 4, "bfloat16": 8, "float16": 11, "float32": 24}
_ALLOWED = ", ".join(_PRECISION)


class Array(Protocol):
    """A NumPy array or a torch tensor of floats."""

    @property
    def dtype(self) -> Any:  # noqa: ANN401 - each library has its own
        """Format of the elements."""

    def __add__(self, other: Any, /) -> Any: ...  # noqa: ANN401

    def __sub__(self, other: Any, /) -> Any: ...  # noqa: ANN401

    def __mul__(self, other: Any, /) -> Any: ...  # noqa: ANN401


A = TypeVar("A", bound=Array)


def precision(dtype: Any) -> int:  # noqa: ANN401 - of NumPy or torch
    """Count the significant bits p of a format, the hidden one included.

    Parameters
    ----------
    dtype : dtype of NumPy, ml_dtypes or torch
        One of the formats of this package.

    Returns
    -------
    int
        3 (float8_e5m2), 4 (float8_e4m3fn), 8 (bfloat16), 11 (float16) or 24 (float32).

    Raises
    ------
    FormatError
        For any other dtype: no float, or wide enough already.

    Examples
    --------
    >>> precision(np.float16)
    11
    """
    name = _name(dtype)
    if name not in _PRECISION:
        raise FormatError(f"numbers came as {name}; pairs are made of {_ALLOWED}: convert to one of these")
    return _PRECISION[name]


def arithmetic(*operands: Any) -> AbstractContextManager[Any]:  # noqa: ANN401 - arrays or pairs of them
    """Check that all operands are of one format; the context keeps NumPy from warning of inf - inf.

    Overflow is no secret without the warning: the high part of the result is infinite.

    Parameters
    ----------
    *operands : arrays, tensors, or pairs of them
        Everything that an operation combines.

    Returns
    -------
    context manager
        For the operation.

    Raises
    ------
    FormatError
        If an operand is no array, has another format than the first, or one without arithmetic.
    """
    arrays = [array for item in operands for array in (item if isinstance(item, tuple) else (item,))]
    first = arrays[0]
    for array in arrays:
        if getattr(array, "dtype", None) != getattr(first, "dtype", type(first)):
            found = [str(getattr(other, "dtype", type(other).__name__)) for other in arrays]
            raise FormatError(
                f"operands came as {', '.join(found)}; an operation rounds to one format: convert them to it"
            )
    is_float8 = precision(first.dtype) < 8
    if is_float8 and _is_torch(first.dtype):
        raise FormatError(
            f"tensors came as {first.dtype}, for which torch has no arithmetic; "
            "use NumPy arrays of ml_dtypes, or bfloat16 tensors"
        )
    return quiet(first.dtype)


def quiet(dtype: Any) -> AbstractContextManager[Any]:  # noqa: ANN401
    """Keep NumPy from warning of overflow and of inf - inf.

    Parameters
    ----------
    dtype : dtype of NumPy or torch
        Names the library; torch does not warn.

    Returns
    -------
    context manager
        For the operation.
    """
    return nullcontext() if _is_torch(dtype) else np.errstate(over="ignore", invalid="ignore")


def finite_or_zero(array: Any) -> Any:  # noqa: ANN401
    """Replace what is infinite or NaN by zero: an error that cannot be known is no reason to spread NaN.

    Parameters
    ----------
    array : ndarray or Tensor
        Rounding errors.

    Returns
    -------
    ndarray or Tensor
        A new array of the same dtype.

    Examples
    --------
    >>> finite_or_zero(np.array([np.nan, -np.inf, 2], np.float32)).tolist()
    [0.0, 0.0, 2.0]
    """
    if _is_torch(array.dtype):
        return array.nan_to_num(0.0, 0.0, 0.0)
    # [()] makes a scalar of an array without dimensions, as + and * of NumPy do.
    return np.where(np.isfinite(array), array, np.zeros((), array.dtype))[()]


def widen(array: Any) -> Any:  # noqa: ANN401
    """Convert to the format in which a product of two elements is exact: float32, or float64 for float32.

    Parameters
    ----------
    array : ndarray or Tensor
        Of one of the formats of this package.

    Returns
    -------
    ndarray or Tensor
        The same values.
    """
    if precision(array.dtype) == 24:
        return as_double(array)
    return array.float() if _is_torch(array.dtype) else np.asarray(array).astype(np.float32)[()]


def as_double(value: Any, dtype: Any = None) -> Any:  # noqa: ANN401
    """Convert to float64, in the library that the value, or else the dtype, belongs to.

    Parameters
    ----------
    value : float, ndarray or Tensor
        Numbers.
    dtype : dtype of NumPy or torch, optional
        Names the library for a value that has none.

    Returns
    -------
    ndarray or Tensor of float64
        The same values.

    Raises
    ------
    FormatError
        If a tensor is to become an array of NumPy: that may mean a copy between devices.
    """
    if not isinstance(value, float) and hasattr(value, "double"):
        if dtype is not None and not _is_torch(dtype):
            raise FormatError(f"a tensor came with {_name(dtype)} of NumPy; pass a dtype of torch")
        return value.double()
    if dtype is not None and _is_torch(dtype):
        # Whoever has a dtype of torch has loaded it; an import here would be one by every module above.
        torch = sys.modules["torch"]
        return torch.as_tensor(value, dtype=torch.float64)
    return np.asarray(value).astype(np.float64)[()]


def cast(array: Any, dtype: Any) -> Any:  # noqa: ANN401
    """Round to a format, to nearest.

    Parameters
    ----------
    array : ndarray or Tensor
        Numbers.
    dtype : dtype of the same library
        Where to.

    Returns
    -------
    ndarray or Tensor
        A new array.
    """
    return array.to(dtype) if hasattr(array, "to") else np.asarray(array).astype(dtype)[()]


def _is_torch(dtype: Any) -> bool:  # noqa: ANN401
    return str(dtype).startswith("torch.")


def _name(dtype: Any) -> str:  # noqa: ANN401
    """Return the name that NumPy, ml_dtypes and torch agree on."""
    if _is_torch(dtype):
        return str(dtype).removeprefix("torch.")
    try:
        return str(np.dtype(dtype))
    except TypeError:
        return repr(dtype)
