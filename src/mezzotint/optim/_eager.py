"""The reference backend: readable torch operations on any device, one parameter after the other."""

from __future__ import annotations

from torch import Tensor

from mezzotint.optim.bits import rounding_words
from mezzotint.optim.codecs import Parts, TensorCodec
from mezzotint.optim.collage import step_bf16
from mezzotint.optim.floats import widen
from mezzotint.optim.task import Task

__all__ = ["EagerBackend"]


class EagerBackend:
    """Decode, step in float32, encode: what native and Triton kernels are tested against."""

    name = "eager"

    def refusal(self, task: Task) -> str | None:
        """Run everything."""
        return None

    def run(self, tasks: list[Task]) -> None:
        """Step each parameter in turn."""
        for task in tasks:
            (step_bf16 if task.bf16 else step_float32)(task)


def step_float32(task: Task) -> None:
    """Step one parameter in float32 arithmetic.

    The second moment is stored first: the first one may be coded relative to what was stored. What storing
    lost of the first moment is paid to the weight, which is stored last.

    Parameters
    ----------
    task : Task
        The parameter, its state and the numbers of the step; weight and moments are overwritten.
    """
    weight_codec, codecs = task.recipe.weight, task.recipe.codecs(len(task.moments))
    w = weight_codec.decode(task.weight, task.length)
    w, moments = task.rule.step(w, _gradient(task), _decoded(task, codecs), task.hyper)
    reference = None
    for slot in reversed(range(len(moments))):
        stored = _store(task, codecs[slot], task.moments[slot], moments[slot], slot + 1, reference)
        if slot == 1:
            reference = task.rule.reference(stored, task.hyper.root)
        elif task.recipe.carries and task.rule.can_carry:
            w = w - task.rule.paid(moments[0] - stored, reference, task.hyper)
    _store(task, weight_codec, task.weight, w, 0, None)


def _gradient(task: Task) -> Tensor:
    """Widen the gradient, and turn it round where the objective is to grow."""
    g = widen(task.gradient)
    return -g if task.maximize else g


def _decoded(task: Task, codecs: tuple[TensorCodec, ...]) -> tuple[Tensor, ...]:
    """Read the moments as the step before has stored them, the second one first."""
    if len(codecs) < 2:
        return tuple(
            codec.decode(parts, task.length) for codec, parts in zip(codecs, task.moments, strict=True)
        )
    second = codecs[1].decode(task.moments[1], task.length)
    reference = None
    if codecs[0].needs_reference:
        reference = task.rule.reference(second, task.hyper.root_before)
    return codecs[0].decode(task.moments[0], task.length, reference), second


def _store(
    task: Task, codec: TensorCodec, parts: Parts, x: Tensor, slot: int, reference: Tensor | None
) -> Tensor:
    """Encode into the components and give what can be read back from them."""
    words = rounding_words(codec.rounding, task.place(slot), x)
    for suffix, component in codec.encode(x, words, reference).items():
        parts[suffix].copy_(component)
    return codec.decode(parts, task.length, reference)
