"""What is stored beside a parameter: names, dtypes and shapes, and the form that checkpoints hold.

Checkpoints hold every tensor as it is, but 16-bit integers as pairs of bytes. Neither gloo nor NCCL carries
such integers (pytorch/pytorch#42519), so a checkpoint that gathers whole tensors on one rank would end in an
error when training is over.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mezzotint.errors import ParameterError
from mezzotint.optim.codecs import Component
from mezzotint.optim.recipes import Recipe
from mezzotint.optim.rules import Rule
from mezzotint.optim.sharding import Extent, distributed_like, extent_of, local

__all__ = ["STEP", "WEIGHT", "State", "check_same_storage", "layout", "loaded", "portable", "zeros"]

State = dict[str, Any]
Layout = dict[str, Component]

STEP = "step"
WEIGHT = "weight"


def layout(rule: Rule, recipe: Recipe) -> Layout:
    """Name what is stored beside a parameter and its count of steps.

    Parameters
    ----------
    rule : Rule
        Names the moments.
    recipe : Recipe
        Says how they and the weight are stored.

    Returns
    -------
    dict of str to Component
        Moments first; the visible weight is not among them.

    Examples
    --------
    >>> from mezzotint.optim.recipes import RECIPES
    >>> from mezzotint.optim.rules import AdamRule
    >>> list(layout(AdamRule(), RECIPES["8bit"]))
    ['exp_avg', 'exp_avg_sq', 'exp_avg_sq_scale', 'weight_lo']
    """
    codecs = zip(rule.moments, recipe.codecs(len(rule.moments)), strict=True)
    moments = [(name, component) for name, codec in codecs for component in codec.components]
    weight = [(WEIGHT, component) for component in recipe.weight.components[1:]]
    return {name + component.suffix: component for name, component in [*moments, *weight]}


def zeros(param: Tensor, component: Component, extent: Extent) -> Tensor:
    """Make an empty component.

    Parameters
    ----------
    param : Tensor or DTensor
        The parameter.
    component : Component
        What is stored.
    extent : Extent
        The rows that lie here.

    Returns
    -------
    Tensor or DTensor
        Zeros, placed like the parameter.
    """
    shape = _local_shape(component, extent)
    return distributed_like(param, torch.zeros(shape, dtype=component.dtype, device=local(param).device))


def portable(param: Tensor, state: State) -> State:
    """Give a state as checkpoints hold it, without copies.

    Parameters
    ----------
    param : Tensor or DTensor
        The parameter.
    state : dict
        Its running state.

    Returns
    -------
    dict
        The same tensors; those of 16-bit integers as bytes, with a last dimension of 2 more.
    """
    return {key: _as_bytes(param, value) if _is_short(value) else value for key, value in state.items()}


def loaded(param: Tensor, saved: State, stored: Layout) -> State:
    """Copy a saved state to where its parameter lives, after checking it.

    Parameters
    ----------
    param : Tensor or DTensor
        The parameter.
    saved : dict
        What a checkpoint holds of it.
    stored : dict of str to Component
        What `layout` says.

    Returns
    -------
    dict
        The state, every dtype and bit as it was when it was saved.

    Raises
    ------
    ParameterError
        If a tensor is missing, or has another dtype or shape.
    """
    missing = [key for key in (STEP, *stored) if key not in saved]
    if missing:
        raise ParameterError(
            f"a state came without {', '.join(missing)}; the recipe stores {', '.join(stored)}: load a state "
            "of the same optimizer and recipe, or carry it over with export_state and import_state"
        )
    state = dict(saved)
    for key, component in stored.items():
        value = _from_bytes(param, saved[key]) if component.dtype is torch.int16 else saved[key]
        _check(key, value, component, extent_of(param))
        state[key] = value.detach().to(local(param).device, copy=True)
    state[STEP] = torch.as_tensor(saved[STEP], dtype=torch.float32).detach().clone()
    return state


def check_same_storage(group: State, saved: State) -> None:
    """Refuse to read states of one recipe as those of another.

    Parameters
    ----------
    group : dict
        A group of the optimizer.
    saved : dict
        The same group in a checkpoint.

    Raises
    ------
    ParameterError
        If states of `saved` are stored otherwise, or come from an optimizer that is not ours.
    """
    if "recipe" not in saved:
        raise ParameterError(
            "a state of another optimizer came; states of mezzotint's own are allowed: carry it over with "
            "import_state"
        )
    for key in ("recipe", "arithmetic", "weight_decay_style"):
        if key in saved and saved[key] != group.get(key):
            raise ParameterError(
                f"a state with {key} {saved[key]!r} came; this optimizer has {group.get(key)!r}: make it "
                f"with the same {key}, or carry the state over with export_state and import_state"
            )


def _local_shape(component: Component, extent: Extent) -> tuple[int, ...]:
    """Shape it like the parameter or, with fewer columns, as (rows, columns)."""
    if component.per != "element":
        return (extent.rows, component.columns(extent.length))
    return (extent.rows, *extent.shape[1:]) if extent.shape else ()


def _is_short(value: object) -> bool:
    """Say whether collectives refuse a value."""
    return isinstance(value, Tensor) and value.dtype is torch.int16


def _as_bytes(param: Tensor, value: Tensor) -> Tensor:
    """View 16-bit integers as bytes."""
    return distributed_like(param, local(value).unsqueeze(-1).view(torch.uint8))


def _from_bytes(param: Tensor, value: Tensor) -> Tensor:
    """Undo it; integers that came as such stay."""
    if value.dtype is not torch.uint8:
        return value
    return distributed_like(param, local(value).contiguous().view(torch.int16).squeeze(-1))


def _check(key: str, value: Tensor, component: Component, extent: Extent) -> None:
    """Refuse tensors that were stored otherwise."""
    shape = _local_shape(component, extent)
    if value.dtype is not component.dtype or local(value).shape != shape:
        raise ParameterError(
            f"state {key!r} came as {value.dtype} of shape {tuple(local(value).shape)}; the recipe stores "
            f"{component.dtype} of shape {shape}: load a state of the same model, sharding and recipe"
        )
