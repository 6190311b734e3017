"""SGD with weights and momentum in few bits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor

from mezzotint.errors import ParameterError
from mezzotint.optim.base import Group, LowPrecisionOptimizer, is_small, refuse_unavailable
from mezzotint.optim.hyper import check_interval, check_not_negative, number, rounded, unless_first
from mezzotint.optim.recipes import Recipe
from mezzotint.optim.rules import Hyper, Rule, SGDRule

__all__ = ["SGD"]


class SGD(LowPrecisionOptimizer):
    """SGD, with torch.optim.SGD's arguments, weights and momentum stored as a recipe says.

    Parameters
    ----------
    params : iterable
        Parameters or groups; a group may set its own ``recipe``.
    lr : float or Tensor, default 1e-3
        Learning rate; a tensor is read anew each step.
    momentum : float, default 0
        Factor of the momentum, in [0, 1).
    dampening : float, default 0
        1 - dampening is the factor of the gradient in the momentum from the second step on, in [0, 1].
    weight_decay : float, default 0
        Times the weight is added to the gradient.
    nesterov : bool, default False
        Look ahead; needs momentum and no dampening.
    recipe : str or Recipe, default "24bit"
        How weights and states are stored, see `mezzotint.optim.RECIPES`.
    seed : int, default 0
        Of stochastic rounding, 0 <= seed < 2**63.
    backend : {"auto", "eager", "native", "triton"}, default "auto"
        What runs a step.
    spare : callable, default `is_small`
        Which parameters stay in higher precision under recipes of 8 and 4 bits.
    maximize : bool, default False
        Climb instead of descend.
    foreach, fused : bool, optional
        Taken as None or False only: `backend` chooses the implementation.
    capturable : bool, default False
        Keep counts of steps on the device of the parameter, for CUDA graphs.
    differentiable : bool, default False
        Not available.

    Raises
    ------
    ParameterError
        If an argument is outside its range, or a parameter cannot be stored as its recipe says.

    Examples
    --------
    >>> import torch
    >>> w = torch.nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
    >>> opt = SGD([w], lr=0.25, momentum=0.5, recipe="24bit")
    >>> for _ in range(2):
    ...     w.grad = torch.ones_like(w)
    ...     opt.step()
    >>> w.tolist()
    [0.375, 0.375, 0.375]
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        recipe: str | Recipe = "24bit",
        seed: int = 0,
        backend: str = "auto",
        spare: Callable[[Tensor], bool] = is_small,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        refuse_unavailable(foreach=foreach, differentiable=differentiable, fused=fused)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "capturable": capturable,
        }
        super().__init__(params, defaults, recipe=recipe, seed=seed, backend=backend, spare=spare)

    def _rule(self, group: Group) -> Rule:
        return SGDRule(has_momentum=group["momentum"] != 0, nesterov=group["nesterov"])

    def _check_group(self, group: Group) -> None:
        for name in ("lr", "weight_decay"):
            check_not_negative(group[name], name)
        check_interval(group["momentum"], "momentum")
        if not 0.0 <= group["dampening"] <= 1.0:
            raise ParameterError(
                f"dampening came as {group['dampening']}; it must be at least 0 and at most 1"
            )
        if group["nesterov"] and (group["momentum"] == 0 or group["dampening"] != 0):
            raise ParameterError(
                "nesterov=True came without momentum or with dampening; set momentum > 0 and dampening=0"
            )

    def _hyper(self, group: Group, step: int | Tensor, recipe: Recipe) -> Hyper:
        lr, momentum = number(group["lr"], step), float(group["momentum"])
        ahead = momentum if group["nesterov"] else 1.0
        return Hyper(
            rate=rounded(lr),
            l2=rounded(number(group["weight_decay"], step)),
            keep1=rounded(momentum),
            add1=rounded(unless_first(step, 1.0, lambda: 1.0 - group["dampening"])),
            # The residual would have come back as momentum, momentum**2, ...; Nesterov's step begins one
            # power later.
            carry=rounded(lr * ahead * (momentum / (1.0 - momentum))),
        )
