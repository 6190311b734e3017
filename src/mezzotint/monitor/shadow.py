"""Second moments as they ought to be: float64 averages of a few elements of each parameter."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mezzotint.monitor.storage import Averaging, Storage
from mezzotint.monitor.subject import Subject
from mezzotint.optim.sharding import local

__all__ = ["Observed", "Shadow"]


@dataclass(frozen=True)
class Observed:
    """A parameter that is about to step.

    Attributes
    ----------
    subject : Subject
        The parameter.
    averaging : Averaging
        How its second moment averages.
    unscale : float
        What its gradient is multiplied by.
    """

    subject: Subject
    averaging: Averaging
    unscale: float


class Shadow:
    """The shadow of all parameters.

    It is updated every step, so its work is in few operations: per device one buffer holds all samples, and
    per parameter a step costs one gather.

    Parameters
    ----------
    storage : Storage
        Gives the second moments that a run begins with, if it does not begin at zero.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._batches: dict[torch.device, _Batch] = {}
        self._values: dict[Subject, Tensor] = {}

    def update(self, observed: list[Observed]) -> None:
        """Average the gradients of a step in.

        Parameters
        ----------
        observed : list of Observed
            Every parameter with a gradient.
        """
        by_device: dict[torch.device, list[Observed]] = {}
        for one in observed:
            by_device.setdefault(one.subject.places.device, []).append(one)
        for device, own in by_device.items():
            key = tuple((one.subject, one.averaging) for one in own)
            if device not in self._batches or self._batches[device].key != key:
                self._batches[device] = self._assembled(key)
            self._batches[device].average(own)

    def of(self, subject: Subject) -> Tensor | None:
        """Give the shadow of one parameter.

        Parameters
        ----------
        subject : Subject
            The parameter.

        Returns
        -------
        Tensor of float64, shape (n,), or None
            Of its sample; None before its first step.
        """
        return self._values.get(subject)

    def forget(self) -> None:
        """Begin anew from what is stored, after a state was loaded."""
        self._batches.clear()
        self._values.clear()

    def _assembled(self, key: tuple[tuple[Subject, Averaging], ...]) -> _Batch:
        """Lay the samples of parameters side by side; the shadow of each is a view from then on."""
        starts = [self._values.get(subject, self._begin(subject)) for subject, _ in key]
        values = torch.cat(starts) if starts else torch.zeros(0, dtype=torch.float64)
        sizes = [len(start) for start in starts]
        for (subject, _), view in zip(key, torch.split(values, sizes), strict=True):
            self._values[subject] = view
        return _Batch(key, values, sizes)

    def _begin(self, subject: Subject) -> Tensor:
        """Take over what is stored, for the run may have gone on for long."""
        stored = self._storage.second(subject)
        if stored is None:
            return torch.zeros(len(subject.sample), dtype=torch.float64, device=subject.sample.device)
        return stored.reshape(-1).index_select(0, subject.sample).double()


class _Batch:
    """Samples of several parameters of one device, side by side."""

    def __init__(self, key: tuple[tuple[Subject, Averaging], ...], values: Tensor, sizes: list[int]) -> None:
        self.key = key
        self._values = values
        self._decays = any(averaging.l2 for _, averaging in key)
        self._keep = _spread([averaging.keep for _, averaging in key], sizes, values.device)
        self._add = 1.0 - self._keep
        self._l2 = _spread([averaging.sign * averaging.l2 for _, averaging in key], sizes, values.device)

    def average(self, observed: list[Observed]) -> None:
        """Average the squares of gradients in, coupled decay added."""
        g = torch.cat(
            [_sampled(one.subject.param.grad, one.subject).double() * one.unscale for one in observed]
        )
        if self._decays:
            w = torch.cat([_sampled(one.subject.param.detach(), one.subject).double() for one in observed])
            g = g + self._l2 * w
        self._values.mul_(self._keep).addcmul_(self._add, g * g)


def _sampled(tensor: Tensor | None, subject: Subject) -> Tensor:
    """Gather the sample out of a parameter or its gradient."""
    assert tensor is not None
    return local(tensor).reshape(-1).index_select(0, subject.places)


def _spread(numbers: list[float], sizes: list[int], device: torch.device) -> Tensor:
    """Repeat each number for the elements it serves."""
    values = torch.tensor(numbers, dtype=torch.float64)
    return values.repeat_interleave(torch.tensor(sizes, dtype=torch.int64)).to(device)
