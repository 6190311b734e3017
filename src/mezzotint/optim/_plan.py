"""What a kernel is chosen by: how a task is stored, also as a text. Needs neither kernels nor a device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from mezzotint.optim.codecs import (
    Bfloat16,
    BlockCodes,
    Float16,
    Float32,
    LogCodes,
    Master,
    Pair,
    RatioCodes,
    Remainder,
    TensorCodec,
)
from mezzotint.optim.rules import AdamRule, LionRule, Rule, SGDRule
from mezzotint.optim.task import Task

__all__ = ["ABSENT", "Kind", "Plan", "codecs_of", "components_of", "kind_of", "plan_of", "refusal_of"]

Kind = tuple[str, int, str]
"""Name of a codec, its bits where it has several, and its rounding."""

ABSENT: Kind = ("none", 0, "nearest")
_FLOATS = {torch.float32: "float32", torch.float16: "float16", torch.bfloat16: "bfloat16"}
_NAMES: dict[type, str] = {
    Float32: "float32",
    Float16: "float16",
    Bfloat16: "bfloat16",
    Pair: "pair",
    Remainder: "remainder",
    Master: "master",
    LogCodes: "log",
    BlockCodes: "block",
    RatioCodes: "ratio",
}
_WIDTHS = {"remainder": (8, 16), "log": (4, 8), "block": (4, 8), "ratio": (4, 8)}
_OF_TWO = ("pair", "remainder", "master", "log", "block")


@dataclass(frozen=True)
class Plan:
    """Everything about a task that chooses a kernel.

    Attributes
    ----------
    rule : str
        "adam", "lion", "sgd" (without momentum), "momentum" or "nesterov".
    weight, first, second : Kind
        Codecs; `ABSENT` where a rule has no such moment.
    gradient : str
        Type of the gradient.
    maximize, carries : bool
        Whether to climb, and whether residuals of the first moment are paid to the weight.
    rows : bool
        Whether something is stored per pair or per block, so that rows must be told apart.
    """

    rule: str
    weight: Kind
    first: Kind
    second: Kind
    gradient: str
    maximize: bool
    carries: bool
    rows: bool

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The codecs of weight, first and second moment, as many as there are."""
        return tuple(kind for kind in (self.weight, self.first, self.second) if kind != ABSENT)

    @property
    def text(self) -> str:
        """All of it as a string."""
        kinds = [
            f"{name}:{bits}:{rounding}" for name, bits, rounding in (self.weight, self.first, self.second)
        ]
        flags = [str(int(flag)) for flag in (self.maximize, self.carries, self.rows)]
        return " ".join([self.rule, *kinds, self.gradient, *flags])

    @classmethod
    def of(cls, text: str) -> Plan:
        """Undo `text`."""
        rule, *kinds, gradient, maximize, carries, rows = text.split()
        weight, first, second = (_kind_of_text(kind) for kind in kinds)
        flags = (flag == "1" for flag in (maximize, carries, rows))
        return cls(rule, weight, first, second, gradient, *flags)

    @property
    def n_tensors(self) -> int:
        """How many stored tensors a parameter has."""
        return sum(components_of(kind) for kind in self.kinds)


def refusal_of(task: Task) -> str | None:
    """Say what of a task no kernel knows.

    Parameters
    ----------
    task : Task
        One step of one parameter.

    Returns
    -------
    str or None
        None if kernels know everything.
    """
    if task.bf16:
        return "arithmetic is bf16"
    if _rule_name(task.rule) is None:
        return f"the rule {type(task.rule).__name__} is not known to it"
    for slot, codec in enumerate(codecs_of(task)):
        if kind_of(codec) is None:
            return f"the codec {codec} is not known to it"
        if codec.needs_reference and (slot, len(task.moments)) != (1, 2):
            return f"the codec {codec} needs a second moment"
    if task.gradient.dtype not in _FLOATS:
        return f"the gradient has dtype {task.gradient.dtype}"
    return None


def plan_of(task: Task) -> Plan:
    """Say which kernel a task needs.

    Parameters
    ----------
    task : Task
        One that `refusal_of` does not refuse.

    Returns
    -------
    Plan
        Its plan.
    """
    codecs = codecs_of(task)
    kinds = [kind_of(codec) or ABSENT for codec in codecs]
    weight, first, second, *_ = [*kinds, ABSENT, ABSENT]
    return Plan(
        rule=_rule_name(task.rule) or "",
        weight=weight,
        first=first,
        second=second,
        gradient=_FLOATS[task.gradient.dtype],
        maximize=task.maximize,
        carries=task.recipe.carries and task.rule.can_carry,
        rows=any(part.per != "element" for codec in codecs for part in codec.components),
    )


def kind_of(codec: TensorCodec) -> Kind | None:
    """Name a codec for the kernels.

    Parameters
    ----------
    codec : TensorCodec
        Of a weight or a moment.

    Returns
    -------
    Kind or None
        Its kind; None if no kernel knows it.
    """
    name = _NAMES.get(type(codec))
    if name is None:
        return None
    bits: Any = getattr(codec, "bits", 0)
    if isinstance(codec, Master):
        bits = 16 if codec.visible is torch.float16 else 0
    return None if bits not in _WIDTHS.get(name, (0, 16)) else (name, bits, codec.rounding.value)


def codecs_of(task: Task) -> tuple[TensorCodec, ...]:
    """List the codecs of a task.

    Parameters
    ----------
    task : Task
        One step of one parameter.

    Returns
    -------
    tuple of TensorCodec
        Of weight and moments.
    """
    return (task.recipe.weight, *task.recipe.codecs(len(task.moments)))


def components_of(kind: Kind) -> int:
    """Count the tensors of a codec.

    Parameters
    ----------
    kind : Kind
        Which codec; not `ABSENT`.

    Returns
    -------
    int
        1 or 2.
    """
    return 2 if kind[0] in _OF_TWO else 1


def _rule_name(rule: Rule) -> str | None:
    """Name a rule as the kernels do; None for one that they do not know, though it be derived from one."""
    if type(rule) is SGDRule:
        return ("nesterov" if rule.nesterov else "momentum") if rule.has_momentum else "sgd"
    return {AdamRule: "adam", LionRule: "lion"}.get(type(rule))


def _kind_of_text(text: str) -> Kind:
    """Read what `Plan.text` wrote of a codec."""
    name, bits, rounding = text.split(":")
    return name, int(bits), rounding
