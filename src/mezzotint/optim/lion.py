"""Lion with weights and states in few bits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor

from mezzotint.optim.base import Group, LowPrecisionOptimizer, is_small
from mezzotint.optim.hyper import check_interval, check_not_negative, number, rounded
from mezzotint.optim.recipes import Recipe
from mezzotint.optim.rules import Hyper, LionRule, Rule

__all__ = ["Lion"]


class Lion(LowPrecisionOptimizer):
    """Lion: the sign of an average of gradients is the step; weights and the average stored as a recipe says.

    Parameters
    ----------
    params : iterable
        Parameters or groups; a group may set its own ``recipe``.
    lr : float or Tensor, default 1e-4
        Learning rate; a third to a tenth of AdamW's.
    betas : tuple of float, default (0.9, 0.99)
        Factor of the average in the update, and in what is kept; in [0, 1).
    weight_decay : float, default 0
        Decoupled: lr * weight_decay of the weight is taken off each step.
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
    capturable : bool, default False
        Keep counts of steps on the device of the parameter, for CUDA graphs.

    Raises
    ------
    ParameterError
        If an argument is outside its range, or a parameter cannot be stored as its recipe says.

    References
    ----------
    Chen et al., "Symbolic discovery of optimization algorithms", NeurIPS 2023, program 1.

    Examples
    --------
    >>> import torch
    >>> w = torch.nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
    >>> opt = Lion([w], lr=0.25, recipe="24bit")
    >>> w.grad = torch.tensor([1.0, 0.0, -1.0], dtype=torch.bfloat16)
    >>> opt.step()
    >>> w.tolist()
    [0.75, 1.0, 1.25]
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        recipe: str | Recipe = "24bit",
        seed: int = 0,
        backend: str = "auto",
        spare: Callable[[Tensor], bool] = is_small,
        maximize: bool = False,
        capturable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "capturable": capturable,
        }
        super().__init__(params, defaults, recipe=recipe, seed=seed, backend=backend, spare=spare)

    def _rule(self, group: Group) -> Rule:
        return LionRule()

    def _check_group(self, group: Group) -> None:
        for name in ("lr", "weight_decay"):
            check_not_negative(group[name], name)
        for index in (0, 1):
            check_interval(group["betas"][index], f"betas[{index}]")

    def _hyper(self, group: Group, step: int | Tensor, recipe: Recipe) -> Hyper:
        beta1, beta2 = (float(beta) for beta in group["betas"])
        lr = number(group["lr"], step)
        return Hyper(
            rate=rounded(lr),
            decay=rounded(lr * number(group["weight_decay"], step)),
            keep1=rounded(beta1),
            add1=rounded(1.0 - beta1),
            keep2=rounded(beta2),
            add2=rounded(1.0 - beta2),
        )
