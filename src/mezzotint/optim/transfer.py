"""Carry training over: states from and to torch.optim, and weights of full precision."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mezzotint.errors import ParameterError
from mezzotint.optim._eager import full_weight, store_moments, store_weight, stored_moments
from mezzotint.optim.base import LowPrecisionOptimizer
from mezzotint.optim.sharding import distributed_like, local
from mezzotint.optim.states import STEP

__all__ = ["export_state", "fp32_state_dict", "import_state", "load_fp32_"]

_OURS = ("recipe", "arithmetic", "seed", "weight_decay_style")


@torch.no_grad()
def export_state(optimizer: LowPrecisionOptimizer) -> dict[str, Any]:
    """Give the state in the form of torch.optim: float32 moments under torch's names.

    Parameters
    ----------
    optimizer : LowPrecisionOptimizer
        Of this package.

    Returns
    -------
    dict
        A state dict that the torch.optim optimizer of the same name loads. The weights are not in it: see
        `fp32_state_dict`.

    Examples
    --------
    >>> from mezzotint.optim import AdamW
    >>> w = torch.nn.Parameter(torch.ones(2, 2, dtype=torch.bfloat16))
    >>> optimizer = AdamW([w], recipe="24bit")
    >>> w.grad = torch.ones_like(w)
    >>> optimizer.step()
    >>> export_state(optimizer)["state"][0]["exp_avg"].dtype
    torch.float32
    """
    given = optimizer.state_dict()
    groups = [{k: v for k, v in group.items() if k not in _OURS} for group in given["param_groups"]]
    params = [p for group in optimizer.param_groups for p in group["params"]]
    states = {number: _exported(optimizer, params[number]) for number in given["state"]}
    return {"state": states, "param_groups": groups}


@torch.no_grad()
def import_state(optimizer: LowPrecisionOptimizer, state_dict: dict[str, Any]) -> None:
    """Take over the state of a running torch.optim optimizer; weights and hyper-parameters stay as they are.

    Parameters
    ----------
    optimizer : LowPrecisionOptimizer
        Of this package, over the same parameters in the same order.
    state_dict : dict
        What ``state_dict()`` of the torch.optim optimizer, or `export_state`, has returned.

    Raises
    ------
    ParameterError
        If it holds another number of parameters, or a moment is missing, has another shape, or is one that
        this optimizer does not keep (such as AMSGrad's); nothing is changed then.
    """
    params = [p for group in optimizer.param_groups for p in group["params"]]
    saved = [number for group in state_dict["param_groups"] for number in group["params"]]
    if len(saved) != len(params):
        raise ParameterError(
            f"a state of {len(saved)} parameters came; this optimizer has {len(params)}: give both the same"
        )
    given = [(p, _present(state_dict["state"].get(number))) for p, number in zip(params, saved, strict=True)]
    known = [(p, state) for p, state in given if state]
    for p, state in known:
        _check(optimizer, p, state)
    for p, state in known:
        _import(optimizer, p, state)


@torch.no_grad()
def fp32_state_dict(model: nn.Module, optimizer: LowPrecisionOptimizer) -> dict[str, Tensor]:
    """Give the model's state with every weight in full: visible part and what is kept beside it, as float32.

    Parameters
    ----------
    model : Module
        The model that is trained.
    optimizer : LowPrecisionOptimizer
        Its optimizer.

    Returns
    -------
    dict of str to Tensor
        The names and shapes of ``model.state_dict()``; float parameters are float32, buffers as they are.
    """
    held = {p for group in optimizer.param_groups for p in group["params"]}
    full = dict(model.state_dict())
    for name, p in model.named_parameters(remove_duplicate=False):
        if name in full:
            full[name] = _full_weight(optimizer, p) if p in held else p.detach().to(torch.float32)
    return full


@torch.no_grad()
def load_fp32_(model: nn.Module, optimizer: LowPrecisionOptimizer, state_dict: dict[str, Tensor]) -> None:
    """Load weights of full precision: into the model, rounded, and into the optimizer, what rounding drops.

    Parameters
    ----------
    model : Module
        The model.
    optimizer : LowPrecisionOptimizer
        Its optimizer.
    state_dict : dict of str to Tensor
        What `fp32_state_dict` has returned, or any checkpoint of the model.

    Raises
    ------
    RuntimeError
        If names or shapes do not fit, as ``model.load_state_dict`` raises it.
    """
    model.load_state_dict(state_dict)
    held = {p for group in optimizer.param_groups for p in group["params"]}
    for name, p in model.named_parameters():
        if p in held:
            task = optimizer.task(p)
            full = local(state_dict[name]).to(local(p).device, torch.float32)
            store_weight(task, full.reshape(task.weight[""].shape), None)
            optimizer.finish([p], [task])


def _exported(optimizer: LowPrecisionOptimizer, p: Tensor) -> dict[str, Any]:
    """Decode the moments of one parameter."""
    task = optimizer.task(p, ahead=1)
    moments = dict(zip(task.rule.moments, stored_moments(task), strict=True))
    shaped = {name: _like(p, moment) for name, moment in moments.items()}
    return {STEP: optimizer.state[p][STEP].clone(), **shaped}


def _full_weight(optimizer: LowPrecisionOptimizer, p: Tensor) -> Tensor:
    """Decode one weight."""
    return _like(p, full_weight(optimizer.task(p)))


def _like(p: Tensor, matrix: Tensor) -> Tensor:
    """Shape a matrix of rows like its parameter, in memory of its own."""
    return distributed_like(p, matrix.reshape(local(p).shape).clone())


def _present(state: dict[str, Any] | None) -> dict[str, Any]:
    """Leave out what torch names before there is any; torch's SGD counts no steps, so one stands for many."""
    held = {key: value for key, value in (state or {}).items() if value is not None}
    return {STEP: 1.0, **held} if held else {}


def _check(optimizer: LowPrecisionOptimizer, p: Tensor, state: dict[str, Any]) -> None:
    """Refuse a state that lacks a moment, has one of another shape, or one too many."""
    moments = optimizer.task(p).rule.moments
    unknown = sorted(set(state) - {STEP, *moments})
    if unknown:
        raise ParameterError(
            f"a state with {', '.join(unknown)} came; this optimizer keeps {', '.join(moments) or 'none'}: "
            "pass the state of an optimizer with the same rule"
        )
    for name in moments:
        if name not in state or state[name].shape != p.shape:
            found = tuple(state[name].shape) if name in state else "nothing"
            raise ParameterError(
                f"state {name!r} came as {found}, the parameter has shape {tuple(p.shape)}; "
                "pass the state of an optimizer with the same rule over the same parameters"
            )


def _import(optimizer: LowPrecisionOptimizer, p: Tensor, state: dict[str, Any]) -> None:
    """Encode the moments of one parameter as its recipe says."""
    optimizer.state[p][STEP].fill_(float(state[STEP]))
    task = optimizer.task(p)
    shape = task.weight[""].shape
    moments = (local(state[name]).to(local(p).device, torch.float32) for name in task.rule.moments)
    store_moments(task, tuple(moment.reshape(shape) for moment in moments))
