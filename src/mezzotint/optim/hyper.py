"""Host numbers of a step: checked once, computed in float64, rounded to float32 once.

Each helper takes floats or 0-d tensors. Inside a compiled or captured step the count of steps is a tensor,
and so are all numbers that depend on it; elsewhere they are floats.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mezzotint.errors import ParameterError

__all__ = [
    "Number",
    "bias_correction",
    "check_interval",
    "check_not_negative",
    "number",
    "root",
    "rounded",
    "unless_first",
]

Number = Any
"""A float, or a 0-d tensor of float64."""


def number(value: float | Tensor, step: int | Tensor) -> Number:
    """Give a hyper-parameter as a float, or as a float64 tensor where steps are tensors.

    Counts on the host need it on the host; a number from the host goes with counts anywhere.

    Parameters
    ----------
    value : float or Tensor
        A hyper-parameter; a tensor has one element.
    step : int or Tensor
        The count of steps, or those of several parameters.

    Returns
    -------
    float or Tensor
        The same number.
    """
    if not isinstance(value, Tensor):
        return float(value)
    if not isinstance(step, Tensor):
        return float(value.item())
    return value.to("cpu" if step.device.type == "cpu" else value.device, torch.float64)


def rounded(value: Number) -> Number:
    """Round to float32, as kernels take it.

    Parameters
    ----------
    value : float or Tensor
        A number in float64.

    Returns
    -------
    float or Tensor of float32
        The nearest float32.
    """
    return value.to(torch.float32) if isinstance(value, Tensor) else float(np.float32(value))


def root(value: Number) -> Number:
    """Take the square root.

    Parameters
    ----------
    value : float or Tensor
        A number, >= 0.

    Returns
    -------
    float or Tensor
        Its root in float64.
    """
    return value.sqrt() if isinstance(value, Tensor) else math.sqrt(value)


def bias_correction(beta: float, step: int | Tensor) -> Number:
    """Compute 1 - beta**step.

    Parameters
    ----------
    beta : float
        In [0, 1).
    step : int or Tensor
        Counted from 1.

    Returns
    -------
    float or Tensor of float64
        The correction.
    """
    if isinstance(step, Tensor):
        return 1.0 - torch.pow(torch.full_like(step, beta, dtype=torch.float64), step)
    return 1.0 - math.pow(beta, step)


def unless_first(step: int | Tensor, first: float, later: Callable[[], Number]) -> Number:
    """Give `first` in the first step and `later()` in all others.

    Parameters
    ----------
    step : int or Tensor
        Counted from 1.
    first : float
        The number of the first step.
    later : callable
        Computes the number of a later step; a tensor may be infinite where it is not used.

    Returns
    -------
    float or Tensor
        The number of this step.
    """
    if isinstance(step, Tensor):
        return torch.where(step == 1, torch.full_like(step, first, dtype=torch.float64), later())
    return first if step == 1 else later()


def check_interval(value: float, name: str) -> None:
    """Refuse factors of averages outside [0, 1).

    Parameters
    ----------
    value : float
        The factor.
    name : str
        What it is called.

    Raises
    ------
    ParameterError
        If it is outside, or not a number.
    """
    if not 0.0 <= float(value) < 1.0:
        raise ParameterError(f"{name} came as {float(value)}; it must be at least 0 and below 1")


def check_not_negative(value: float | Tensor, name: str) -> None:
    """Refuse negative rates and decays; tensors are not read here, for they may live on a device.

    Parameters
    ----------
    value : float or Tensor
        The number.
    name : str
        What it is called.

    Raises
    ------
    ParameterError
        If it is negative or not a number, or a tensor of several elements.
    """
    if isinstance(value, Tensor):
        if value.numel() != 1:
            raise ParameterError(f"{name} came as a tensor of shape {tuple(value.shape)}; pass one number")
    elif not value >= 0:
        raise ParameterError(f"{name} came as {value}; it must not be negative")
