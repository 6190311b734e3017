"""The native backend: one fused pass over each parameter on the CPU, compiled per instruction set.

Its operations are those of the eager backend, one by one, so both give the same bits on any instruction set
and any number of threads (see docs/numerics.md).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mezzotint import kernels
from mezzotint.kernels import _native
from mezzotint.optim._operator import Arguments, register, run
from mezzotint.optim._plan import Kind, Plan, components_of, refusal_of
from mezzotint.optim.codecs import BlockCodes, RatioCodes
from mezzotint.optim.task import Task

__all__ = ["NativeBackend"]

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
        run(self.name, tasks)


def _step(groups: list[Arguments]) -> None:
    """Step the parameters of all groups together."""
    _native.optim_step([job for group in groups for job in _jobs(group)], torch.get_num_threads())


register(NativeBackend.name, _step)


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
            gradient,
            _slots(plan, stored),
        )
        for (stored, gradient, (first, seed, number)), hyper, step in zip(
            group.tasks(), _numbers(group), _counts(group), strict=True
        )
    ]


def _numbers(group: Arguments) -> np.ndarray:
    """Give the numbers of each parameter's step, a row for each."""
    if group.dynamic is not None:
        return group.dynamic.numpy(force=True)
    return np.tile(np.array(group.numbers, dtype=np.float32), (len(group.gradients), 1))


def _counts(group: Arguments) -> list[int]:
    """Give the count of steps of each parameter."""
    return [group.step] * len(group.gradients) if group.steps is None else group.steps.tolist()


def _slots(plan: Plan, stored: list[Tensor]) -> list[Any]:
    """Describe weight and moments and how they are stored."""
    parts = iter(stored)
    slots = []
    for kind in plan.kinds:
        main = next(parts)
        beside = next(parts) if components_of(kind) == 2 else None
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
