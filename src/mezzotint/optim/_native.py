"""The native backend: one fused pass over each parameter on the CPU, compiled per instruction set.

Its operations are those of the eager backend, one by one, so both give the same bits on any instruction set
and any number of threads (see docs/numerics.md). Inside a compiled step it is an operator of torch
(`mezzotint::native_step`), which the compiler takes as it is.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mezzotint import kernels
from mezzotint.kernels import _native
from mezzotint.optim._plan import Arguments, Kind, Plan, calls, components_of, refusal_of
from mezzotint.optim.codecs import BlockCodes, RatioCodes
from mezzotint.optim.task import Task

__all__ = ["NativeBackend", "native_step"]

_MASTERS = {0: "master_bfloat16", 16: "master_float16"}
_CODES: dict[str, type[BlockCodes | RatioCodes]] = {"block": BlockCodes, "ratio": RatioCodes}
_NO_LEVELS = (0.0, 0.0)


class NativeBackend:
    """Decode, step and encode in one pass, a block of 128 elements at a time."""

    name = "native"

    def refusal(self, task: Task) -> str | None:
        """Say what of a task the compiled kernels do not know."""
        if kernels.ops() is kernels.reference:
            return "mezzotint.kernels are set to 'reference'"
        tensors = [task.gradient, *(t for parts in (task.weight, *task.moments) for t in parts.values())]
        if any(tensor.device.type != "cpu" for tensor in tensors):
            return "it runs on the CPU only"
        return refusal_of(task)

    def run(self, tasks: list[Task]) -> None:
        """Step all parameters in one native call, on as many threads as torch uses."""
        if torch.compiler.is_compiling():
            for call in calls(tasks):
                native_step(*call)
        else:
            _step(calls(tasks))


@torch.library.custom_op("mezzotint::native_step", mutates_args=("stored",))
def native_step(
    stored: list[Tensor],
    gradients: list[Tensor],
    dynamic: Tensor | None,
    steps: Tensor | None,
    numbers: list[float],
    step: int,
    places: list[int],
    plan: str,
) -> None:
    """Step parameters that are stored alike.

    Parameters
    ----------
    stored, gradients, dynamic, steps, numbers, step, places, plan
        See `mezzotint.optim._plan.Arguments`; tensors lie on the CPU.
    """
    _step([Arguments(stored, gradients, dynamic, steps, numbers, step, places, plan)])


def _step(groups: list[Arguments]) -> None:
    """Step the parameters of all groups together; tensors with gaps are copied to and fro."""
    dense = [[tensor.detach().contiguous() for tensor in group.stored] for group in groups]
    jobs = [
        job
        for group, stored in zip(groups, dense, strict=True)
        for job in _jobs(group._replace(stored=stored))
    ]
    _native.optim_step(jobs, torch.get_num_threads())
    for group, stored in zip(groups, dense, strict=True):
        for tensor, used in zip(group.stored, stored, strict=True):
            _written(tensor, used)


def _jobs(group: Arguments) -> list[Any]:
    """Describe tasks to the kernels."""
    plan = Plan.of(group.plan)
    return [
        _native.OptimJob(
            plan.rule,
            hyper,
            plan.maximize,
            plan.carries,
            *stored[0].shape,
            seed,
            first,
            step,
            number,
            gradient.detach().contiguous(),
            _slots(plan, stored),
        )
        for (stored, gradient, (first, seed, number)), hyper, step in zip(
            group.tasks(), _numbers(group), _counts(group), strict=True
        )
    ]


def _numbers(group: Arguments) -> np.ndarray:
    """Give the numbers of each parameter's step, a row for each."""
    if group.dynamic is not None:
        return group.dynamic.contiguous().numpy(force=True)
    return np.tile(np.array(group.numbers, dtype=np.float32), (len(group.gradients), 1))


def _counts(group: Arguments) -> list[int]:
    """Give the count of steps of each parameter."""
    return [group.step] * len(group.gradients) if group.steps is None else group.steps.tolist()


def _slots(plan: Plan, stored: list[Tensor]) -> list[Any]:
    """Describe weight and moments and how they are stored."""
    parts = iter(stored)
    slots = []
    for kind in plan.kinds:
        beside_main = [next(parts) for _ in range(components_of(kind))]
        main, beside = [*beside_main, None][:2]
        slots.append(_native.OptimSlot(_storage(kind), kind[2], main, beside, *_levels(kind)))
    return slots


def _storage(kind: Kind) -> str:
    """Name a codec as the kernels do."""
    name, bits, _ = kind
    if name == "master":
        return _MASTERS[bits]
    return f"{'signed' if name == 'block' else name}{bits or ''}"


@lru_cache
def _levels(kind: Kind) -> tuple[float, float]:
    """Give limit and curve of signed codes."""
    name, bits, _ = kind
    if name not in _CODES:
        return _NO_LEVELS
    levels = _CODES[name](bits).levels
    return levels.limit, levels.curve


def _written(tensor: Tensor, used: Tensor) -> None:
    """Tell torch that a tensor has changed, and copy back where there was a copy."""
    if used.data_ptr() == tensor.data_ptr():
        torch.autograd.graph.increment_version(tensor)
    else:
        tensor.copy_(used)
