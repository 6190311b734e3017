"""What optimizers keep of a parameter, read without touching it: mezzotint's own, and torch.optim's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from mezzotint.monitor.subject import Group, Subject
from mezzotint.optim._eager import full_weight, stored_moments
from mezzotint.optim.base import LowPrecisionOptimizer
from mezzotint.optim.bits import Rounding
from mezzotint.optim.codecs import BLOCK, Bfloat16, LogCodes, Parts, RatioCodes, refresh
from mezzotint.optim.rules import RuleName
from mezzotint.optim.sharding import local
from mezzotint.optim.task import Task

__all__ = ["Averaging", "Facts", "Storage", "storage_of"]

_VERBATIM = ("params", "param_names")
_SWITCHES = ("foreach", "fused", "capturable", "differentiable")
_OF_ADAM_FAMILY = (torch.optim.Adam, torch.optim.AdamW, torch.optim.NAdam, torch.optim.RAdam)
_ELEMENTWISE = (
    *_OF_ADAM_FAMILY,
    torch.optim.SGD,
    torch.optim.RMSprop,
    torch.optim.Adagrad,
    torch.optim.Adadelta,
    torch.optim.Adamax,
    torch.optim.ASGD,
    torch.optim.Rprop,
)


@dataclass(frozen=True)
class Facts:
    """How a parameter is stored, as far as advice asks.

    Attributes
    ----------
    weight : torch.dtype
        Of the visible weight.
    stored : str
        "recipe '24bit'", or "torch.optim.AdamW".
    rule_known : bool
        Whether intended updates can be computed.
    nearest_v : bool
        Whether the second moment is a bfloat16 rounded to nearest.
    """

    weight: torch.dtype
    stored: str
    rule_known: bool
    nearest_v: bool


@dataclass(frozen=True)
class Averaging:
    """How a second moment averages: v = keep v + (1 - keep) (g + l2 w)**2.

    Attributes
    ----------
    keep : float
        Factor of the average.
    l2 : float
        Coupled decay, added to the gradient.
    sign : float
        -1 where the objective is to grow.
    """

    keep: float
    l2: float
    sign: float


class Storage(Protocol):
    """What the monitor asks of an optimizer."""

    def intended(self, group: Group, subject: Subject, gradient: Tensor) -> Tensor | None:
        """Compute the update that a step is to make, in float64; None if the rule is not known."""

    def full(self, subject: Subject) -> Tensor | None:
        """Decode the weight from all its components; None where the visible weight is all."""

    def second(self, subject: Subject) -> Tensor | None:
        """Decode the second moment; None if there is none (yet)."""

    def saturation(self, subject: Subject) -> dict[str, Tensor]:
        """Count codes, and those at the ends of their range."""

    def averaging(self, group: Group) -> Averaging | None:
        """Say how second moments average; None if there are none."""

    def facts(self, subject: Subject) -> Facts:
        """Say how a parameter is stored."""


def storage_of(optimizer: torch.optim.Optimizer) -> Storage:
    """Give the reader of an optimizer.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Any optimizer.

    Returns
    -------
    Storage
        Its reader.
    """
    if isinstance(optimizer, LowPrecisionOptimizer):
        return _Ours(optimizer)
    return _Torch(optimizer)


class _Ours:
    """Reads the rows looked at as the reference backend does; the step is the rule's, in float64."""

    def __init__(self, optimizer: LowPrecisionOptimizer) -> None:
        self._optimizer = optimizer

    def intended(self, group: Group, subject: Subject, gradient: Tensor) -> Tensor | None:
        # A float64 holds w - update to 2**-53 of w: the difference is the update.
        task = self._task(subject, ahead=1)
        w = full_weight(task).double()
        moments = tuple(x.double() for x in stored_moments(task))
        after, _ = task.rule.step(w, -gradient if task.maximize else gradient, moments, task.hyper)
        return after - w

    def full(self, subject: Subject) -> Tensor | None:
        task = self._task(subject)
        return full_weight(task) if len(task.weight) > 1 else None

    def second(self, subject: Subject) -> Tensor | None:
        if not self._has_second(subject):
            return None
        task = self._task(subject)
        return task.recipe.second.decode(task.moments[1], task.length)

    def saturation(self, subject: Subject) -> dict[str, Tensor]:
        counts: dict[str, Tensor] = {}
        if self._has_second(subject):
            task = self._task(subject)
            for name, codec, parts in zip(
                ("first", "second"), task.recipe.codecs(2), task.moments, strict=True
            ):
                if isinstance(codec, RatioCodes | LogCodes):
                    counts.update(_ends(name, codec, parts, task.length))
        return counts

    def averaging(self, group: Group) -> Averaging | None:
        return _averaging(group) if self._optimizer._rule(group).name is RuleName.ADAM else None

    def facts(self, subject: Subject) -> Facts:
        recipe = self._optimizer.recipe_of(subject.param)
        nearest = isinstance(recipe.second, Bfloat16) and recipe.second.rounding is Rounding.NEAREST
        return Facts(subject.param.dtype, f"recipe {recipe.name!r}", True, nearest)

    def _has_second(self, subject: Subject) -> bool:
        return "exp_avg_sq" in self._optimizer.state.get(subject.param, {})

    def _task(self, subject: Subject, ahead: int = 0) -> Task:
        """Take rows of what is stored; copies of the weight take over changes, as the step will."""
        task = self._optimizer.task(subject.param, ahead=ahead)
        weight = {suffix: subject.take(part).clone() for suffix, part in task.weight.items()}
        refresh(task.recipe.weight, weight)
        moments = tuple({key: subject.take(part) for key, part in parts.items()} for parts in task.moments)
        return replace(task, weight=weight, moments=moments)


class _Torch:
    """Reads plain tensors; the step is made by a twin of the optimizer on float64 copies."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer
        self._known = type(optimizer) in _ELEMENTWISE

    def intended(self, group: Group, subject: Subject, gradient: Tensor) -> Tensor | None:
        if not self._known:
            return None
        before = subject.take(subject.param.detach()).double()
        twin_param = torch.nn.Parameter(before.clone())
        twin_param.grad = gradient
        options = {key: _plain(value) for key, value in group.items() if key not in _VERBATIM}
        options.update({key: False for key in _SWITCHES if key in group})
        make: Callable[..., torch.optim.Optimizer] = type(self._optimizer)
        twin = make([{**options, "params": [twin_param]}])
        state = self._optimizer.state.get(subject.param, {})
        if state:
            twin.state[twin_param] = {key: _copied(key, value, subject) for key, value in state.items()}
        twin.step()
        return twin_param.detach() - before

    def full(self, subject: Subject) -> Tensor | None:
        return None

    def second(self, subject: Subject) -> Tensor | None:
        state = self._optimizer.state.get(subject.param, {})
        return subject.take(state["exp_avg_sq"]) if "exp_avg_sq" in state else None

    def saturation(self, subject: Subject) -> dict[str, Tensor]:
        return {}

    def averaging(self, group: Group) -> Averaging | None:
        return _averaging(group) if type(self._optimizer) in _OF_ADAM_FAMILY else None

    def facts(self, subject: Subject) -> Facts:
        kind = type(self._optimizer)
        name = f"torch.optim.{kind.__name__}" if kind.__module__.startswith("torch.optim") else kind.__name__
        dtype = subject.param.dtype
        nearest = kind in _OF_ADAM_FAMILY and dtype is torch.bfloat16
        return Facts(dtype, name, self._known, nearest)


def _averaging(group: Group) -> Averaging:
    """Read the group of an Adam, ours or torch's: they use the same names."""
    coupled = not group.get("decoupled_weight_decay", False)
    return Averaging(
        keep=float(group["betas"][1]),
        l2=float(group["weight_decay"]) if coupled else 0.0,
        sign=-1.0 if group.get("maximize", False) else 1.0,
    )


def _ends(name: str, codec: RatioCodes | LogCodes, parts: Parts, length: int) -> dict[str, Tensor]:
    """Count the codes of a moment, and those at the ends of their range."""
    code = codec.unpacked(parts[""], length)
    if isinstance(codec, RatioCodes):
        ends, of = (code == 0) | (code == codec.levels.top), torch.ones_like(code, dtype=torch.bool)
    else:
        of = (parts["_scale"] > 0).repeat_interleave(BLOCK, dim=1)[:, :length]
        ends = (code == 0) & of
    return {f"{name}_codes": of.sum().double(), f"{name}_ends": ends.sum().double()}


def _plain(value: Any) -> Any:  # noqa: ANN401 - any hyper-parameter
    """Give a hyper-parameter as a float where it is a tensor."""
    return float(value.item()) if isinstance(value, Tensor) else value


def _copied(key: str, value: Any, subject: Subject) -> Any:  # noqa: ANN401 - any state
    """Copy a state for the twin: its rows in float64, numbers as they are."""
    if not isinstance(value, Tensor):
        return value
    if key != "step" and value.shape == subject.param.shape:
        return subject.take(value).double().clone()
    return local(value).detach().cpu().clone()
