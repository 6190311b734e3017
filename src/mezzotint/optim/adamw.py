"""AdamW and Adam with weights and states in few bits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor

from mezzotint.errors import ParameterError
from mezzotint.optim.base import Group, LowPrecisionOptimizer, is_small, refuse_unavailable
from mezzotint.optim.hyper import (
    bias_correction,
    check_interval,
    check_not_negative,
    number,
    root,
    rounded,
    unless_first,
)
from mezzotint.optim.recipes import Recipe
from mezzotint.optim.rules import AdamRule, Hyper, Rule

__all__ = ["Adam", "AdamW"]


_STYLES = ("compact", "torch", "HF")


class Adam(LowPrecisionOptimizer):
    """Adam, with torch.optim.Adam's arguments, weights and states stored as a recipe says.

    Parameters
    ----------
    params : iterable
        Parameters or groups; a group may set its own ``recipe``.
    lr : float or Tensor, default 1e-3
        Learning rate; a tensor is read anew each step.
    betas : tuple of float, default (0.9, 0.999)
        Factors of the averages of gradient and squared gradient, in [0, 1).
    eps : float, default 1e-8
        Added to the root of the second moment, >= 0.
    weight_decay : float, default 0
        Times the weight is added to the gradient (or, decoupled, taken from the weight).
    amsgrad : bool, default False
        Not available: it needs a third state.
    recipe : str or Recipe, default "24bit"
        How weights and states are stored, see `mezzotint.optim.RECIPES`.
    arithmetic : {"fp32", "bf16"}, default "fp32"
        In what a step is computed; "bf16" rounds every operation, as Collage is published.
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
    decoupled_weight_decay : bool, default False
        Let decay act on the weight, as AdamW does.
    weight_decay_style : {"compact", "torch", "HF"}, default "compact"
        Where decoupled decay acts in bf16 arithmetic: inside the one update that is kept, or as a product
        rounded to bfloat16 before ("torch") or after it ("HF"), lost where lr * weight_decay < 2**-9.

    Raises
    ------
    ParameterError
        If an argument is outside its range, or a parameter cannot be stored as its recipe says.

    References
    ----------
    Kingma, Ba, "Adam: a method for stochastic optimization", ICLR 2015.

    Examples
    --------
    >>> import torch
    >>> w = torch.nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
    >>> opt = Adam([w], lr=0.5, recipe="collage-light")
    >>> w.grad = torch.ones_like(w)
    >>> opt.step()
    >>> w.tolist()
    [0.5, 0.5, 0.5]
    """

    _DECOUPLED = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        recipe: str | Recipe = "24bit",
        arithmetic: str = "fp32",
        seed: int = 0,
        backend: str = "auto",
        spare: Callable[[Tensor], bool] = is_small,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool | None = None,
        weight_decay_style: str = "compact",
    ) -> None:
        refuse_unavailable(amsgrad=amsgrad, foreach=foreach, differentiable=differentiable, fused=fused)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "capturable": capturable,
            "weight_decay_style": weight_decay_style,
            "decoupled_weight_decay": self._DECOUPLED
            if decoupled_weight_decay is None
            else decoupled_weight_decay,
        }
        super().__init__(
            params, defaults, recipe=recipe, arithmetic=arithmetic, seed=seed, backend=backend, spare=spare
        )

    def _rule(self, group: Group) -> Rule:
        return AdamRule()

    def _check_group(self, group: Group) -> None:
        for name in ("lr", "eps", "weight_decay"):
            check_not_negative(group[name], name)
        for index in (0, 1):
            check_interval(group["betas"][index], f"betas[{index}]")
        style = group["weight_decay_style"]
        if style not in _STYLES:
            raise ParameterError(f"weight_decay_style came as {style!r}; allowed are {', '.join(_STYLES)}")
        if style != "compact" and group["arithmetic"] != "bf16":
            raise ParameterError(f"weight_decay_style {style!r} came with arithmetic 'fp32'; use 'compact'")

    def _hyper(self, group: Group, step: int | Tensor, recipe: Recipe) -> Hyper:
        beta1, beta2 = (float(beta) for beta in group["betas"])
        lr, decay = number(group["lr"], step), number(group["weight_decay"], step)
        rate = lr / bias_correction(beta1, step)
        decoupled, longer = group["decoupled_weight_decay"], recipe.lengthening
        return Hyper(
            rate=rounded(rate),
            decay=rounded(lr * decay if decoupled else 0.0),
            l2=rounded(0.0 if decoupled else decay),
            keep1=rounded(beta1),
            add1=rounded(1.0 - beta1),
            keep2=rounded(beta2),
            add2=rounded(1.0 - beta2),
            root=rounded(longer / root(bias_correction(beta2, step))),
            root_before=rounded(
                unless_first(step, 1.0, lambda: longer / root(bias_correction(beta2, step - 1)))
            ),
            eps=rounded(group["eps"]),
            carry=rounded(rate * (beta1 / (1.0 - beta1))),
        )


class AdamW(Adam):
    """AdamW, with torch.optim.AdamW's arguments, weights and states stored as a recipe says.

    Decay is part of the update that the weight's correction keeps: it acts however small ``lr *
    weight_decay`` is.

    Parameters
    ----------
    params : iterable
        Parameters or groups; a group may set its own ``recipe``.
    lr : float or Tensor, default 1e-3
        Learning rate; a tensor is read anew each step.
    betas : tuple of float, default (0.9, 0.999)
        Factors of the averages of gradient and squared gradient, in [0, 1).
    eps : float, default 1e-8
        Added to the root of the second moment, >= 0.
    weight_decay : float, default 1e-2
        Decoupled: lr * weight_decay of the weight is taken off each step.
    amsgrad : bool, default False
        Not available: it needs a third state.
    **options
        The keyword arguments of `Adam`.

    Raises
    ------
    ParameterError
        If an argument is outside its range, or a parameter cannot be stored as its recipe says.

    References
    ----------
    Loshchilov, Hutter, "Decoupled weight decay regularization", ICLR 2019, algorithm 2.

    Examples
    --------
    >>> import torch
    >>> model = torch.nn.Linear(256, 256, dtype=torch.bfloat16)
    >>> opt = AdamW(model.parameters(), lr=3e-4, recipe="8bit")
    >>> opt.recipe_of(model.weight).name, opt.recipe_of(model.bias).name
    ('8bit', 'exact32')
    """

    _DECOUPLED = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        **options: Any,  # noqa: ANN401 - the keyword arguments of Adam
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, **options)
