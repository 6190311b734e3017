"""A parameter under measurement: which of its elements are looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mezzotint.optim.sharding import local
from mezzotint.random import sample_rows

__all__ = ["Group", "Subject", "matrix", "subject_of"]

Group = dict[str, Any]

_SEED = 0


@dataclass(frozen=True, eq=False)
class Subject:
    """A parameter and the elements of it that are looked at: whole rows, for blocks of codes lie in rows.

    Attributes
    ----------
    name : str
        What reports call it.
    param : Tensor
        The parameter.
    rows : Tensor of int64 or None
        The rows that are looked at; None for all.
    scale : float
        Local elements over those looked at.
    sample : Tensor of int64
        Elements whose second moment is shadowed, as positions in the rows looked at.
    places : Tensor of int64
        The same elements as positions in the local parameter.
    """

    name: str
    param: Tensor
    rows: Tensor | None
    scale: float
    sample: Tensor
    places: Tensor

    def take(self, tensor: Tensor) -> Tensor:
        """Give the rows of a tensor that are looked at; a view if those are all.

        Parameters
        ----------
        tensor : Tensor
            The parameter, its gradient or a state with as many rows.

        Returns
        -------
        Tensor, shape (rows, columns)
            Local rows.
        """
        whole = matrix(tensor)
        return whole if self.rows is None else whole.index_select(0, self.rows)


def subject_of(name: str, param: Tensor, elements: int | None, sample: int) -> Subject:
    """Choose the elements of a parameter to look at: the same ones in every run.

    Parameters
    ----------
    name : str
        What to call it.
    param : Tensor
        The parameter.
    elements : int or None
        About how many elements to look at; None for all.
    sample : int
        How many second moments to shadow.

    Returns
    -------
    Subject
        The choice.
    """
    whole = matrix(param.detach())
    n_rows, length = whole.shape
    chosen = n_rows if elements is None else min(n_rows, max(1, elements // max(length, 1)))
    rows = None
    if chosen < n_rows:
        rows = _drawn(n_rows, chosen, stream=0)
    n_seen = chosen * length
    positions = _drawn(n_seen, min(sample, n_seen), stream=1)
    places = positions if rows is None else rows[positions // length] * length + positions % length
    device = whole.device
    return Subject(
        name=name,
        param=param,
        rows=None if rows is None else rows.to(device),
        scale=whole.numel() / n_seen if n_seen else 1.0,
        sample=positions.to(device),
        places=places.to(device),
    )


def _drawn(population: int, size: int, stream: int) -> Tensor:
    """Draw different numbers below `population`, in order."""
    if size == 0:
        return torch.zeros(0, dtype=torch.int64)
    return torch.from_numpy(sample_rows(_SEED, population, size, stream=stream)).sort().values


def matrix(tensor: Tensor) -> Tensor:
    """View the local part of a tensor as rows along dimension 0.

    Parameters
    ----------
    tensor : Tensor or DTensor
        Any tensor.

    Returns
    -------
    Tensor, shape (rows, columns)
        One row for a number; a copy where the memory is not contiguous.
    """
    here = local(tensor)
    n_rows = here.shape[0] if here.dim() else 1
    return here.reshape(n_rows, here.numel() // max(n_rows, 1))
