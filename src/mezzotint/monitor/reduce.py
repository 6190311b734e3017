"""Sums of shards, added over the ranks that hold them."""

from __future__ import annotations

import torch
from torch import Tensor

from mezzotint.monitor.rows import SUMS
from mezzotint.monitor.subject import Subject

__all__ = ["reduced"]


def reduced(subjects: list[Subject], vectors: list[Tensor]) -> list[dict[str, float]]:
    """Add the sums of DTensors over the dimensions of the mesh along which they are sharded.

    Replicas and plain tensors are not added: every rank has all of them. The ranks of a mesh must measure at
    the same steps.

    Parameters
    ----------
    subjects : list of Subject
        The parameters, in the same order on every rank.
    vectors : list of Tensor of float64, shape (len(SUMS),)
        Their sums here.

    Returns
    -------
    list of dict of str to float
        Their sums everywhere.
    """
    together: dict[tuple[object, ...], list[int]] = {}
    for index, subject in enumerate(subjects):
        together.setdefault(_sharding(subject), []).append(index)
    found: dict[int, list[float]] = {}
    for indices in together.values():
        table = torch.stack([vectors[index] for index in indices])
        for group in _process_groups(subjects[indices[0]]):
            torch.distributed.all_reduce(table, group=group)
        found.update(zip(indices, table.tolist(), strict=True))
    return [dict(zip(SUMS, found[index], strict=True)) for index in range(len(subjects))]


def _sharding(subject: Subject) -> tuple[object, ...]:
    """Give a key of where a parameter lies; equal ones are added in one call."""
    return (
        subject.sample.device,
        getattr(subject.param, "device_mesh", None),
        getattr(subject.param, "placements", None),
    )


def _process_groups(subject: Subject) -> list[torch.distributed.ProcessGroup]:
    """Give one group of ranks per dimension of the mesh along which a parameter is sharded."""
    mesh, placements = getattr(subject.param, "device_mesh", None), getattr(subject.param, "placements", ())
    return [mesh.get_group(dim) for dim, placement in enumerate(placements) if mesh and placement.is_shard()]
