"""The reference backend: readable torch operations on any device, one parameter after the other."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from mezzotint.optim.bits import rounding_words
from mezzotint.optim.codecs import Parts
from mezzotint.optim.collage import step_bf16
from mezzotint.optim.floats import widen
from mezzotint.optim.rules import Moments
from mezzotint.optim.task import Task

__all__ = ["EagerBackend", "full_weight", "store_moments", "store_weight", "stored_moments"]


class EagerBackend:
    """Decode, step in float32, encode: what native and Triton kernels are tested against."""

    name = "eager"

    def refusal(self, task: Task) -> str | None:
        """Run everything."""
        return None

    def run(self, tasks: list[Task]) -> None:
        """Step each parameter in turn."""
        for task in tasks:
            (step_bf16 if task.bf16 else step_float32)(replace(task, numbers=task.hyper))


def step_float32(task: Task) -> None:
    """Step one parameter in float32 arithmetic.

    The second moment is stored first: the first one may be coded relative to what was stored. What storing
    lost of the first moment is paid to the weight, which is stored last.

    Parameters
    ----------
    task : Task
        The parameter, its state and the numbers of the step; weight and moments are overwritten.
    """
    g = widen(task.gradient)
    w, moments = task.rule.step(
        full_weight(task), -g if task.maximize else g, stored_moments(task), task.hyper
    )
    stored, reference = store_moments(task, moments)
    if task.recipe.carries and task.rule.can_carry:
        w = w - task.rule.paid(moments[0] - stored[0], reference, task.hyper)
    store_weight(task, w, rounding_words(task.recipe.weight.rounding, task.place(0), w))


def full_weight(task: Task) -> Tensor:
    """Read the weight with all that is kept beside the visible part.

    Parameters
    ----------
    task : Task
        The parameter.

    Returns
    -------
    Tensor of float32, shape (rows, length)
        The weight.
    """
    return task.recipe.weight.decode(task.weight, task.length)


def stored_moments(task: Task) -> Moments:
    """Read the moments as the step before the task has stored them.

    Parameters
    ----------
    task : Task
        The parameter.

    Returns
    -------
    tuple of Tensor of float32, shape (rows, length)
        The first moment first.
    """
    codecs = task.recipe.codecs(len(task.moments))
    moments: Moments = ()
    for codec, parts in reversed(list(zip(codecs, task.moments, strict=True))):
        reference = task.rule.reference(moments[0], task.hyper.root_before) if codec.needs_reference else None
        moments = (codec.decode(parts, task.length, reference), *moments)
    return moments


def store_moments(task: Task, moments: Moments) -> tuple[Moments, Tensor | None]:
    """Store moments, the second one first.

    Parameters
    ----------
    task : Task
        The parameter; its moments are overwritten.
    moments : tuple of Tensor of float32, shape (rows, length)
        What to store.

    Returns
    -------
    stored : tuple of Tensor
        What can be read back.
    reference : Tensor or None
        The root of the stored second moment, if there is one.
    """
    stored: Moments = ()
    reference = None
    for slot, codec in reversed(list(enumerate(task.recipe.codecs(len(moments))))):
        x, parts = moments[slot], task.moments[slot]
        words = rounding_words(codec.rounding, task.place(slot + 1), x)
        _overwrite(parts, codec.encode(x, words, reference))
        stored = (codec.decode(parts, task.length, reference), *stored)
        if slot == 1:
            reference = task.rule.reference(stored[0], task.hyper.root)
    return stored, reference


def store_weight(task: Task, w: Tensor, words: Tensor | None) -> None:
    """Store the weight.

    Parameters
    ----------
    task : Task
        The parameter; its weight is overwritten.
    w : Tensor of float32, shape (rows, length)
        What to store.
    words : Tensor of int64 or None
        Random words; None rounds to nearest.
    """
    _overwrite(task.weight, task.recipe.weight.encode(w, words))


def _overwrite(parts: Parts, new: Parts) -> None:
    """Copy components in place: they are views of what the optimizer keeps."""
    for suffix, component in new.items():
        parts[suffix].copy_(component)
