"""The sums of one parameter: what a step was to do against what it did."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mezzotint.monitor.rows import SUMS

__all__ = ["Before", "compared", "second_moment_sums", "vector"]


@dataclass(frozen=True)
class Before:
    """What is kept of a parameter from before a step until after it.

    Attributes
    ----------
    visible : Tensor
        The weight that the model sees.
    full : Tensor or None
        The number that all components stand for; None where the visible weight is all.
    intended : Tensor or None
        The update in float32 that the rule makes of the stored state; None where it is not known.
    """

    visible: Tensor
    full: Tensor | None
    intended: Tensor | None


def compared(before: Before, visible: Tensor, full: Tensor | None) -> dict[str, Tensor]:
    """Compare a parameter with what it was.

    Parameters
    ----------
    before : Before
        From before the step.
    visible : Tensor
        The visible weight after it.
    full : Tensor or None
        All components together after it; None where the visible weight is all.

    Returns
    -------
    dict of str to Tensor
        0-d tensors of float64 under the names of `SUMS`.
    """
    intended = None if before.intended is None else before.intended.double()
    seen = _path(before.visible, visible, intended)
    kept = seen if before.full is None or full is None else _path(before.full, full, intended)
    sums = {
        "elements": torch.tensor(float(visible.numel()), dtype=torch.float64, device=visible.device),
        "nonfinite": (~visible.isfinite()).sum().double(),
        **{f"seen_{name}": value for name, value in seen.items()},
        **{f"full_{name}": value for name, value in kept.items()},
    }
    if intended is not None:
        sums["known"] = sums["elements"]
        sums["wanted"] = intended.count_nonzero().double()
        sums["intended_sq"] = intended.square().sum()
    return sums


def _path(before: Tensor, after: Tensor, intended: Tensor | None) -> dict[str, Tensor]:
    """Sum up how far a weight has moved, how far along the intended update, and how often not at all."""
    moved = after.double() - before.double()
    still = moved == 0
    sums = {"sq": moved.square().sum(), "still": still.sum().double()}
    if intended is not None:
        sums["dot"] = (moved * intended).sum()
        sums["lost"] = (still & (intended != 0)).sum().double()
    return sums


def second_moment_sums(stored: Tensor, shadow: Tensor) -> dict[str, Tensor]:
    """Compare stored second moments with their shadow; where one is not finite they are left out.

    Parameters
    ----------
    stored, shadow : Tensor, shape (n,)
        Of the same elements.

    Returns
    -------
    dict of str to Tensor
        0-d tensors of float64 under the names of `SUMS`.
    """
    stored = stored.double()
    usable = stored.isfinite() & shadow.isfinite()
    stored, shadow = stored[usable], shadow[usable]
    return {
        "v_count": usable.sum().double(),
        "v_stored": stored.sum(),
        "v_true": shadow.sum(),
        "v_abs": (stored - shadow).abs().sum(),
    }


def vector(sums: dict[str, Tensor], scale: float, device: torch.device) -> Tensor:
    """Line sums up, those over the elements looked at scaled to all elements.

    Parameters
    ----------
    sums : dict of str to Tensor
        Some of `SUMS`.
    scale : float
        Elements over elements looked at.
    device : torch.device
        Where the parameter lies.

    Returns
    -------
    Tensor of float64, shape (len(SUMS),)
        All of `SUMS` in order, 0 where there is none.
    """
    zero = torch.zeros((), dtype=torch.float64, device=device)
    values = torch.stack([sums.get(name, zero) for name in SUMS])
    factors = torch.tensor([1.0 if name.startswith("v_") else scale for name in SUMS], dtype=torch.float64)
    return values * factors.to(device)
