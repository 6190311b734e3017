"""The unit of work that backends share: one parameter, one step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from mezzotint.optim.bits import Place
from mezzotint.optim.codecs import Parts
from mezzotint.optim.recipes import Recipe
from mezzotint.optim.rules import Hyper, Rule

__all__ = ["Backend", "Formula", "Task"]


@dataclass(frozen=True)
class Formula:
    """The numbers of a step as a function of its count, where that is a tensor.

    Attributes
    ----------
    compute : callable
        Takes counts of any shape, gives `Hyper` of floats, 0-d tensors and tensors of that shape.
    family : int
        Parameters that share it share the formula: a backend may compute their numbers together.
    """

    compute: Callable[[Tensor], Hyper]
    family: int


@dataclass(frozen=True)
class Task:
    """One step of one parameter; all tensors are local matrices (rows, columns) and views of what is kept.

    Attributes
    ----------
    rule : Rule
        What to compute.
    recipe : Recipe
        How it is stored; already fitted to the dtype of the weight.
    numbers : Hyper or Formula
        The numbers of this step; a formula if and only if `step` is a tensor.
    weight : Parts
        Components of the weight, the visible one under "".
    moments : tuple of Parts
        Components of each moment.
    gradient : Tensor
        bfloat16, float16 or float32.
    maximize : bool
        Whether to climb.
    seed : int
        Of the random words.
    step : int or Tensor
        Counted from 1.
    number : int
        Of the parameter in its optimizer.
    first : int
        Index of the first local element in the whole parameter.
    bf16 : bool
        Whether every operation is rounded to bfloat16 (Collage's published arithmetic).
    decay_style : str
        Where decay acts in that arithmetic: see `mezzotint.optim.Adam`.
    """

    rule: Rule
    recipe: Recipe
    numbers: Hyper | Formula
    weight: Parts
    moments: tuple[Parts, ...]
    gradient: Tensor
    maximize: bool
    seed: int
    step: int | Tensor
    number: int
    first: int
    bf16: bool = False
    decay_style: str = "compact"

    @property
    def hyper(self) -> Hyper:
        """The numbers of this step."""
        if isinstance(self.numbers, Hyper):
            return self.numbers
        assert isinstance(self.step, Tensor)
        return self.numbers.compute(self.step)

    @property
    def length(self) -> int:
        """Elements of a row."""
        return self.weight[""].shape[1]

    def place(self, slot: int) -> Place:
        """Say what the random words of a tensor depend on.

        Parameters
        ----------
        slot : int
            0 for the weight, 1 and 2 for the moments.

        Returns
        -------
        Place
            Seed, step, stream, slot and first element.
        """
        return Place(self.seed, self.step, self.number, slot, self.first)


class Backend(Protocol):
    """Something that runs tasks."""

    @property
    def name(self) -> str:
        """What it is called in reports."""

    def refusal(self, task: Task) -> str | None:
        """Say why a task cannot run here, or None."""

    def run(self, tasks: list[Task]) -> None:
        """Run tasks, in place."""
