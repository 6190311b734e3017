"""The Triton backend: parameters that are stored alike take their step in one launch.

The launch is an operator of torch (`mezzotint::optimizer_step`), so that a compiled step can hold it.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from mezzotint.optim._triton_table import Entry, Storage, rows_of, storage_of, tiles_of
from mezzotint.optim.rules import Hyper
from mezzotint.optim.task import Task

__all__ = [
    "LAUNCH_OPTIONS",
    "TritonBackend",
    "constants",
    "in_pieces",
    "optimizer_step",
    "written_by_launches",
]

_NUMBERS = tuple(field.name for field in fields(Hyper))
_WORDS_PER_LAUNCH = 68
_TABLES_KEPT = 64
LAUNCH_OPTIONS = {"num_warps": 4, "enable_fp_fusion": False}
"""Of every launch. A fused product and sum rounds once where all other backends round twice."""


class TritonBackend:
    """Fused kernels on GPUs; on the CPU under Triton's interpreter, which is for tests."""

    name = "triton"

    def __init__(self) -> None:
        self._is_missing = importlib.util.find_spec("triton") is None
        self._interprets = os.environ.get("TRITON_INTERPRET") == "1"

    def refusal(self, task: Task) -> str | None:
        """Refuse parameters that are not on a GPU, and what no kernel knows."""
        device = "cpu" if self._interprets else "cuda"
        if self._is_missing:
            return "triton is not installed"
        if task.weight[""].device.type != device:
            return f"parameters lie on {task.weight[''].device.type}, kernels run on {device}"
        if task.bf16:
            return "bf16 arithmetic has no kernel"
        return None if storage_of(task) is not None else "no kernel knows this codec or type of gradient"

    def run(self, tasks: list[Task]) -> None:
        """Launch once for all tasks that are stored alike and take the same numbers."""
        alike: dict[tuple[str, str, tuple[float | int | None, ...]], list[Task]] = {}
        for task in tasks:
            storage = storage_of(task)
            assert storage is not None
            key = (storage.text, str(task.weight[""].device), tuple(_fixed(task)))
            alike.setdefault(key, []).append(task)
        for (text, _, _), own in alike.items():
            _call(text, own)


def _fixed(task: Task) -> list[float | int | None]:
    """Give the numbers of a step, its count last; None stands for one that is a tensor."""
    numbers = [*(getattr(task.hyper, name) for name in _NUMBERS), task.step]
    return [None if isinstance(number, Tensor) else number for number in numbers]


def _call(storage: str, tasks: list[Task]) -> None:
    """Flatten tasks into what an operator may take."""
    *numbers, step = _fixed(tasks[0])
    optimizer_step(
        stored=[tensor for task in tasks for tensor in _stored(task)],
        gradients=[task.gradient for task in tasks],
        dynamic=_stacked([getattr(task.hyper, name) for task in tasks for name in _NUMBERS]),
        steps=_stacked([task.step for task in tasks]),
        numbers=[0.0 if number is None else float(number) for number in numbers],
        are_dynamic=[number is None for number in (*numbers, step)],
        step=0 if step is None else int(step),
        places=[number for task in tasks for number in (task.first, task.seed, task.number)],
        storage=storage,
    )


def _stored(task: Task) -> list[Tensor]:
    """Give the components of weight and moments in the order of their codecs."""
    codecs = (task.recipe.weight, *task.recipe.codecs(len(task.moments)))
    parts_and_codecs = zip((task.weight, *task.moments), codecs, strict=True)
    return [parts[component.suffix] for parts, codec in parts_and_codecs for component in codec.components]


def _stacked(numbers: list[Any]) -> Tensor | None:
    """Put 0-d tensors one after the other; the places of numbers that are none hold anything."""
    tensors = [number for number in numbers if isinstance(number, Tensor)]
    if not tensors:
        return None
    device = next((tensor.device for tensor in tensors if tensor.device.type != "cpu"), tensors[0].device)
    return torch.stack(
        [(number if isinstance(number, Tensor) else tensors[0]).to(device) for number in numbers]
    )


@torch.library.custom_op("mezzotint::optimizer_step", mutates_args=("stored",))
def optimizer_step(
    stored: list[Tensor],
    gradients: list[Tensor],
    dynamic: Tensor | None,
    steps: Tensor | None,
    numbers: list[float],
    are_dynamic: list[bool],
    step: int,
    places: list[int],
    storage: str,
) -> None:
    """Step parameters that are stored alike; tensors with gaps are copied to and fro.

    Parameters
    ----------
    stored : list of Tensor
        Components of weight and moments, parameter after parameter; overwritten.
    gradients : list of Tensor
        One per parameter.
    dynamic, steps : Tensor or None
        Per parameter the numbers of the step and its count, where they are tensors.
    numbers : list of float
        The numbers that all share.
    are_dynamic : list of bool
        Which of the numbers and of the count are tensors.
    step : int
        The count that all share.
    places : list of int
        First element, seed and number of each parameter.
    storage : str
        `Storage.text`.
    """
    plan = Storage.of(storage)
    dense = [tensor.contiguous() for tensor in stored]
    gradients = [gradient.contiguous() for gradient in gradients]
    width = plan.n_tensors
    entries = [
        Entry(tuple(dense[k * width : (k + 1) * width]), gradient, *place, k)
        for k, (gradient, place) in enumerate(zip(gradients, _triples(places), strict=True))
    ]
    device = stored[0].device
    dynamic, steps = (None if x is None else x.to(device) for x in (dynamic, steps))
    mask = sum(1 << k for k, is_dynamic in enumerate(are_dynamic) if is_dynamic)
    for flags, own in _by_flags(entries, plan).items():
        _launch(own, plan, flags, (dynamic, steps, step, numbers, mask))
    for tensor, copy in zip(stored, dense, strict=True):
        if not tensor.is_contiguous():
            tensor.copy_(copy)


def _triples(numbers: list[int]) -> Iterator[tuple[int, int, int]]:
    """Give three numbers at a time."""
    return zip(numbers[0::3], numbers[1::3], numbers[2::3], strict=True)


def _by_flags(entries: list[Entry], plan: Storage) -> dict[tuple[bool, bool], list[Entry]]:
    """Part the parameters by what their addresses and shapes allow."""
    found: dict[tuple[bool, bool], list[Entry]] = {}
    for entry in entries:
        found.setdefault((entry.is_aligned(plan), entry.shares_words(plan)), []).append(entry)
    return found


def _launch(
    entries: list[Entry],
    plan: Storage,
    flags: tuple[bool, bool],
    step_numbers: tuple[Tensor | None, Tensor | None, int, list[float], int],
) -> None:
    """Launch the kernel over all tiles."""
    from mezzotint.optim._triton_kernels import step_kernel

    dynamic, steps, step, numbers, mask = step_numbers
    device = entries[0].gradient.device
    n_tiles = sum(tiles_of(entry, plan) for entry in entries)
    with _on(device):
        if steps is not None:
            _load_writer(device)
        table = _table(rows_of(entries, plan), device)
        step_kernel[(n_tiles,)](
            table,
            table if dynamic is None else dynamic,
            table if steps is None else steps,
            len(entries),
            (len(entries) - 1).bit_length(),
            step,
            *numbers,
            **constants(plan, *flags, mask),
            **LAUNCH_OPTIONS,
        )


def constants(plan: Storage, is_aligned: bool, shares_words: bool, dynamic: int) -> dict[str, Any]:
    """Give what the kernel is compiled for.

    Parameters
    ----------
    plan : Storage
        How the parameters are stored.
    is_aligned, shares_words : bool
        What `Entry` says of all of them.
    dynamic : int
        Bit mask of the numbers that lie in memory.

    Returns
    -------
    dict
        The constant arguments of the kernel.
    """
    return {
        "WEIGHT": plan.weight,
        "FIRST": plan.first,
        "SECOND": plan.second,
        "GRADIENT": plan.gradient,
        "RULE": plan.rule,
        "MAXIMIZE": plan.maximize,
        "CARRIES": plan.carries,
        "DYNAMIC": dynamic,
        "ROWS": plan.rows,
        "SHARED_WORDS": shares_words,
        "ALIGNED": is_aligned,
    }


def _on(device: torch.device) -> AbstractContextManager[object]:
    """Launch on the device of the tensors."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def _table(words: tuple[int, ...], device: torch.device) -> Tensor:
    """Put a table on the device; what a graph captures must write its own, for it outlives ours."""
    if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
        return written_by_launches(words, device)
    return _copied(words, device)


@lru_cache
def _load_writer(device: torch.device) -> None:
    """Compile and load, on the first step that could be captured, the kernel that a capture will need."""
    if device.type == "cuda" and not torch.cuda.is_current_stream_capturing():
        written_by_launches((0,), device)


@lru_cache(maxsize=_TABLES_KEPT)
def _copied(words: tuple[int, ...], device: torch.device) -> Tensor:
    """Copy a table, once for as long as addresses stay the same."""
    return torch.tensor(words, dtype=torch.int64).to(device)


def written_by_launches(words: tuple[int, ...], device: torch.device) -> Tensor:
    """Write a table by kernels that hold its words as arguments.

    Parameters
    ----------
    words : tuple of int
        In [0, 2**63).
    device : torch.device
        Where the table shall lie.

    Returns
    -------
    Tensor of int64, shape (len(words),)
        The table.
    """
    from mezzotint.optim._triton_kernels import write_words

    n_launches = -(-len(words) // _WORDS_PER_LAUNCH)
    table = torch.empty(n_launches * _WORDS_PER_LAUNCH, dtype=torch.int64, device=device)
    for first in range(0, len(words), _WORDS_PER_LAUNCH):
        chunk = words[first : first + _WORDS_PER_LAUNCH]
        write_words[(1,)](
            table, first, in_pieces(chunk + (0,) * (_WORDS_PER_LAUNCH - len(chunk))), **LAUNCH_OPTIONS
        )
    return table[: len(words)]


def in_pieces(words: tuple[int, ...]) -> tuple[int, ...]:
    """Cut words into arguments for which Triton compiles one kernel only.

    It compiles anew for integers that are 1, a multiple of 16 or wider than 32 bits: pieces are odd, at least
    3, and short.

    Parameters
    ----------
    words : tuple of int
        In [0, 2**63).

    Returns
    -------
    tuple of int
        Three per word: 21 bits each, doubled, plus 3.
    """
    return tuple(2 * (word >> shift & 0x1FFFFF) + 3 for word in words for shift in (0, 21, 42))
