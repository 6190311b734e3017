"""Which rows of a parameter lie here: plain tensors, and DTensors, replicated or sharded by rows.

Everything an optimizer stores is a matrix of rows, so a shard of rows is stored exactly as those rows of the
whole: FSDP2 and resharding need no communication. Another sharding would cut rows and is refused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeGuard

import torch
from torch import Tensor

from mezzotint.errors import ParameterError

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

__all__ = ["Extent", "distributed_like", "extent_of", "local"]


@dataclass(frozen=True)
class Extent:
    """The part of a parameter that lies here, as a matrix of rows.

    Attributes
    ----------
    shape : tuple of int
        Shape of the whole parameter.
    first_row : int
        Where the local rows begin along dimension 0.
    rows : int
        How many there are; 1 for a 0-d parameter.
    length : int
        Elements of a row.
    """

    shape: tuple[int, ...]
    first_row: int
    rows: int
    length: int

    @property
    def first_element(self) -> int:
        """Index of the first local element in the whole parameter."""
        return self.first_row * self.length


def local(tensor: Tensor) -> Tensor:
    """Give the part of a tensor that lies here, without a copy.

    Parameters
    ----------
    tensor : Tensor or DTensor
        Any tensor.

    Returns
    -------
    Tensor
        The local shard, or the tensor itself.
    """
    return tensor.to_local() if _is_distributed(tensor) else tensor


def extent_of(param: Tensor) -> Extent:
    """Say which rows of a parameter lie here.

    Parameters
    ----------
    param : Tensor or DTensor
        A parameter.

    Returns
    -------
    Extent
        Its local rows.

    Raises
    ------
    ParameterError
        If it is sharded otherwise than along dimension 0.

    Examples
    --------
    >>> extent_of(torch.zeros(3, 4, 5))
    Extent(shape=(3, 4, 5), first_row=0, rows=3, length=20)
    """
    shape = tuple(param.shape)
    length = math.prod(shape[1:])
    if not _is_distributed(param):
        return Extent(shape, 0, shape[0] if shape else 1, length)
    _refuse_other_shardings(param)
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    local_shape, offset = compute_local_shape_and_global_offset(
        param.shape, param.device_mesh, param.placements
    )
    if not shape:
        return Extent(shape, 0, 1, length)
    return Extent(shape, offset[0] if local_shape[0] else 0, local_shape[0], length)


def distributed_like(param: Tensor, state: Tensor) -> Tensor:
    """Make a state DTensor with the placements of its parameter; plain parameters have plain states.

    Parameters
    ----------
    param : Tensor or DTensor
        The parameter.
    state : Tensor
        Its local state, one row per local row.

    Returns
    -------
    Tensor or DTensor
        A view of `state` that knows its place in the whole.
    """
    if not _is_distributed(param):
        return state
    from torch.distributed.tensor import DTensor

    shape = torch.Size((*param.shape[:1], *state.shape[1:])) if param.dim() else state.shape
    stride = torch.empty(shape, device="meta").stride()
    return DTensor.from_local(
        state, param.device_mesh, param.placements, run_check=False, shape=shape, stride=stride
    )


def _is_distributed(tensor: Tensor) -> TypeGuard[DTensor]:
    """Ask by the method that only DTensors have: their module is slow to import."""
    return hasattr(tensor, "to_local")


def _refuse_other_shardings(param: DTensor) -> None:
    """Allow replicas and contiguous shards of dimension 0 only."""
    from torch.distributed.tensor import Replicate, Shard

    for placement in param.placements:
        if not (isinstance(placement, Replicate) or (type(placement) is Shard and placement.dim == 0)):
            raise ParameterError(
                f"a parameter came with placement {placement!r}; states are stored by rows, so Shard(0) and "
                "Replicate are allowed: shard along dimension 0"
            )
