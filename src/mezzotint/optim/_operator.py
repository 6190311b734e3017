"""Tasks for kernels: flattened, and under a compiler handed over by an operator of torch.

Operators take tensors, numbers and text, no objects, so tasks that are stored alike become lists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mezzotint.optim._plan import codecs_of, plan_of
from mezzotint.optim.rules import Hyper
from mezzotint.optim.task import Formula, Task

__all__ = ["Arguments", "Kernels", "optimizer_step", "register", "run"]

_NUMBERS = tuple(field.name for field in fields(Hyper))


class Arguments(NamedTuple):
    """Tasks that are stored alike and share their numbers, as an operator takes them.

    Attributes
    ----------
    stored : list of Tensor
        Components of weight and moments, parameter after parameter; overwritten.
    gradients : list of Tensor
        One per parameter.
    dynamic : Tensor of float32, shape (parameters, numbers), or None
        The numbers of each parameter's step in the order of `Hyper`, where its count is a tensor.
    steps : Tensor of int64, shape (parameters,), or None
        The counts, where they are tensors.
    numbers : list of float
        The numbers that all share, where the count is none.
    step : int
        The count that all share.
    places : list of int
        First element, seed and number of each parameter.
    plan : str
        `Plan.text`.
    """

    stored: list[Tensor]
    gradients: list[Tensor]
    dynamic: Tensor | None
    steps: Tensor | None
    numbers: list[float]
    step: int
    places: list[int]
    plan: str

    def tasks(self) -> Iterator[tuple[list[Tensor], Tensor, tuple[int, int, int]]]:
        """Give components, gradient and place of each parameter."""
        width = len(self.stored) // len(self.gradients)
        for k, gradient in enumerate(self.gradients):
            first, seed, number = self.places[3 * k : 3 * k + 3]
            yield self.stored[k * width : (k + 1) * width], gradient, (first, seed, number)


Kernels = Callable[[list[Arguments]], None]
"""Step all parameters of a list; stored tensors and gradients are contiguous."""

_KERNELS: dict[str, Kernels] = {}


def register(backend: str, kernels: Kernels) -> None:
    """Make kernels known to the operator.

    Parameters
    ----------
    backend : str
        Its name.
    kernels : Kernels
        What steps parameters.
    """
    _KERNELS[backend] = kernels


def run(backend: str, tasks: list[Task]) -> None:
    """Step parameters by registered kernels: at once, or as operators of the graph that is being compiled.

    Parameters
    ----------
    backend : str
        Whose kernels.
    tasks : list of Task
        One per parameter; none that a kernel refuses.
    """
    calls = _calls(tasks)
    if not torch.compiler.is_compiling():
        _step(backend, calls)
        return
    for call in calls:
        optimizer_step(*call, backend)


@torch.library.custom_op("mezzotint::optimizer_step", mutates_args=("stored",))
def optimizer_step(
    stored: list[Tensor],
    gradients: list[Tensor],
    dynamic: Tensor | None,
    steps: Tensor | None,
    numbers: list[float],
    step: int,
    places: list[int],
    plan: str,
    backend: str,
) -> None:
    """Step parameters that are stored alike and lie on one device.

    Parameters
    ----------
    stored, gradients, dynamic, steps, numbers, step, places, plan
        See `Arguments`.
    backend : str
        Whose kernels.
    """
    _step(backend, [Arguments(stored, gradients, dynamic, steps, numbers, step, places, plan)])


def _step(backend: str, calls: list[Arguments]) -> None:
    """Let kernels work on tensors without gaps: those with gaps are copied to and fro."""
    dense = [
        call._replace(
            stored=[tensor.detach().contiguous() for tensor in call.stored],
            gradients=[gradient.detach().contiguous() for gradient in call.gradients],
            dynamic=None if call.dynamic is None else call.dynamic.contiguous(),
        )
        for call in calls
    ]
    _KERNELS[backend](dense)
    for call, used in zip(calls, dense, strict=True):
        for tensor, copy in zip(call.stored, used.stored, strict=True):
            _written(tensor, copy)


def _written(tensor: Tensor, used: Tensor) -> None:
    """Tell torch that a tensor has changed, and copy back where there was a copy."""
    if used.data_ptr() == tensor.data_ptr():
        torch.autograd.graph.increment_version(tensor)
    else:
        tensor.copy_(used)


def _calls(tasks: list[Task]) -> list[Arguments]:
    """Flatten tasks: one call per plan, device and set of shared numbers."""
    alike: dict[tuple[str, str, int | tuple[float, ...]], list[Task]] = {}
    for task in tasks:
        shared = (
            task.numbers.family if isinstance(task.numbers, Formula) else (*_listed(task.numbers), task.step)
        )
        alike.setdefault((plan_of(task).text, str(task.weight[""].device), shared), []).append(task)
    return [_flat(text, own) for (text, _, _), own in alike.items()]


def _listed(numbers: Hyper) -> list[Any]:
    """Give the numbers of a step in the order of `Hyper`."""
    return [getattr(numbers, name) for name in _NUMBERS]


def _flat(plan: str, tasks: list[Task]) -> Arguments:
    """Put tasks that share a plan and their numbers, or the formula of them, one after the other."""
    dynamic, steps = _together(tasks)
    shared, step = tasks[0].numbers, tasks[0].step
    return Arguments(
        stored=[tensor for task in tasks for tensor in _stored(task)],
        gradients=[task.gradient for task in tasks],
        dynamic=dynamic,
        steps=steps,
        numbers=[float(x) for x in _listed(shared)] if isinstance(shared, Hyper) else [0.0] * len(_NUMBERS),
        step=step if isinstance(step, int) else 0,
        places=[number for task in tasks for number in (task.first, task.seed, task.number)],
        plan=plan,
    )


def _together(tasks: list[Task]) -> tuple[Tensor, Tensor] | tuple[None, None]:
    """Compute the numbers of many steps at once, a row for each, where counts are tensors."""
    formula = tasks[0].numbers
    if isinstance(formula, Hyper):
        return None, None
    counts = [task.step for task in tasks if isinstance(task.step, Tensor)]
    steps = torch.stack(counts).to(tasks[0].weight[""].device)
    none = torch.zeros_like(steps, dtype=torch.float32)
    return torch.stack([none + number for number in _listed(formula.compute(steps))], dim=1), steps


def _stored(task: Task) -> list[Tensor]:
    """Give the components of weight and moments in the order of their codecs."""
    parts_and_codecs = zip((task.weight, *task.moments), codecs_of(task), strict=True)
    return [parts[component.suffix] for parts, codec in parts_and_codecs for component in codec.components]
