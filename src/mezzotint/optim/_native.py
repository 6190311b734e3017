"""The native backend: one fused pass over each parameter on the CPU, compiled per instruction set.

Its operations are those of the eager backend, one by one, so both give the same bits on any instruction set
and any number of threads (see docs/numerics.md).
"""

from __future__ import annotations

from dataclasses import astuple
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mezzotint import kernels
from mezzotint.kernels import _native
from mezzotint.optim.codecs import (
    Bfloat16,
    BlockCodes,
    Float16,
    Float32,
    LogCodes,
    Master,
    Pair,
    Parts,
    RatioCodes,
    Remainder,
    TensorCodec,
)
from mezzotint.optim.levels import SignedLevels
from mezzotint.optim.rules import AdamRule, Hyper, LionRule, Rule, SGDRule
from mezzotint.optim.task import Task

__all__ = ["NativeBackend"]

_PLAIN: dict[type, str] = {Float32: "float32", Float16: "float16", Bfloat16: "bfloat16", Pair: "pair"}
_WITH_BITS: dict[type, str] = {
    Remainder: "remainder",
    LogCodes: "log",
    BlockCodes: "signed",
    RatioCodes: "ratio",
}
_MASTERS = {torch.bfloat16: "master_bfloat16", torch.float16: "master_float16"}
_GRADIENTS = (torch.float32, torch.bfloat16, torch.float16)
_NO_LEVELS = (None, 0.0, 0.0, 0.0)


class NativeBackend:
    """Decode, step and encode in one pass, a block of 128 elements at a time."""

    name = "native"

    def refusal(self, task: Task) -> str | None:
        """Say what of a task the compiled kernels do not know."""
        if kernels.using() == "reference":
            return "mezzotint.kernels are set to 'reference'"
        if isinstance(task.step, Tensor):
            return "the count of steps is a tensor, as compiled and captured steps have it"
        if task.bf16:
            return "arithmetic is bf16"
        if _rule_name(task.rule) is None:
            return f"the rule {type(task.rule).__name__} is not known to it"
        return _refused_storage(task) or _refused_tensor(task)

    def run(self, tasks: list[Task]) -> None:
        """Step all parameters in one native call, on as many threads as torch uses."""
        jobs, copies = [], []
        for task in tasks:
            kept = tuple(_contiguous(parts) for parts in (task.weight, *task.moments))
            jobs.append(_job(task, kept))
            copies.append(kept)
        _native.optim_step(jobs, torch.get_num_threads())
        for task, kept in zip(tasks, copies, strict=True):
            for parts, used in zip((task.weight, *task.moments), kept, strict=True):
                _written(parts, used)


def _rule_name(rule: Rule) -> str | None:
    """Name a rule as the kernels do; None for one that they do not know."""
    if type(rule) is SGDRule:
        return ("nesterov" if rule.nesterov else "momentum") if rule.has_momentum else "sgd"
    return {AdamRule: "adam", LionRule: "lion"}.get(type(rule))


def _storage(codec: TensorCodec) -> str | None:
    """Name a codec as the kernels do; None for one that they do not know."""
    kind = type(codec)
    if isinstance(codec, Master):
        return _MASTERS.get(codec.visible) if kind is Master else None
    bits = getattr(codec, "bits", None)
    if kind in _WITH_BITS:
        return f"{_WITH_BITS[kind]}{bits}" if bits in ((8, 16) if kind is Remainder else (8, 4)) else None
    return _PLAIN.get(kind)


def _levels(codec: TensorCodec) -> tuple[Any, float, float, float]:
    """Give the table of signed codes, its limit, its curve and limit * (curve - 1)."""
    levels = getattr(codec, "levels", None)
    if not isinstance(levels, SignedLevels):
        return _NO_LEVELS
    return levels.table.numpy(), levels.limit, levels.curve, levels.limit * (levels.curve - 1)


def _codecs(task: Task) -> tuple[TensorCodec, ...]:
    """List the codecs of weight and moments."""
    return (task.recipe.weight, *task.recipe.codecs(len(task.moments)))


def _refused_storage(task: Task) -> str | None:
    """Name a codec that the kernels do not know, or that has nothing to be relative to."""
    for slot, codec in enumerate(_codecs(task)):
        if _storage(codec) is None:
            return f"the codec {codec} is not known to it"
        if codec.needs_reference and (slot, len(task.moments)) != (1, 2):
            return f"the codec {codec} needs a second moment"
    return None


def _refused_tensor(task: Task) -> str | None:
    """Name a device or a dtype that the kernels cannot read."""
    tensors = [task.gradient, *(t for parts in (task.weight, *task.moments) for t in parts.values())]
    if any(tensor.device.type != "cpu" for tensor in tensors):
        return "it runs on the CPU only"
    if task.gradient.dtype not in _GRADIENTS:
        return f"the gradient has dtype {task.gradient.dtype}"
    return None


def _contiguous(parts: Parts) -> Parts:
    """Give components whose rows follow each other in memory: the tensors themselves where theirs do."""
    return {suffix: tensor.detach().contiguous() for suffix, tensor in parts.items()}


def _job(task: Task, kept: tuple[Parts, ...]) -> Any:  # noqa: ANN401 - a class of the native module
    """Describe a task to the kernels."""
    place = task.place(0)
    return _native.OptimJob(
        _rule_name(task.rule),
        _hyper(task.hyper),
        task.maximize,
        task.recipe.carries and task.rule.can_carry,
        *task.weight[""].shape,
        place.seed,
        place.first,
        place.step,
        place.stream,
        task.gradient.detach().contiguous(),
        [_slot(codec, parts) for codec, parts in zip(_codecs(task), kept, strict=True)],
    )


def _hyper(hyper: Hyper) -> np.ndarray:
    """List the numbers of a step in the order of `Hyper`."""
    return np.array(astuple(hyper), dtype=np.float32)


def _slot(codec: TensorCodec, parts: Parts) -> Any:  # noqa: ANN401 - a class of the native module
    """Describe a tensor and how it is stored."""
    beside = next((parts[component.suffix] for component in codec.components[1:]), None)
    return _native.OptimSlot(_storage(codec), codec.rounding.value, parts[""], beside, *_levels(codec))


def _written(parts: Parts, used: Parts) -> None:
    """Tell torch which tensors have changed, and copy back where there was a copy."""
    for suffix, tensor in parts.items():
        if used[suffix].data_ptr() == tensor.data_ptr():
            torch.autograd.graph.increment_version(tensor)
        else:
            tensor.copy_(used[suffix])
