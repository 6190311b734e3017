"""The Triton backend: parameters that are stored alike take their step in one launch."""

from __future__ import annotations

import importlib.util
import os
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from mezzotint.optim._operator import Arguments, register, run
from mezzotint.optim._plan import Plan, refusal_of
from mezzotint.optim._triton_table import Entry, rows_of, tiles_of
from mezzotint.optim.task import Task

__all__ = [
    "LAUNCH_OPTIONS",
    "TritonBackend",
    "constants",
    "in_pieces",
    "written_by_launches",
]

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
        return refusal_of(task)

    def run(self, tasks: list[Task]) -> None:
        """Launch once for all tasks that are stored alike and take the same numbers."""
        run(self.name, tasks)


def _step(calls: list[Arguments]) -> None:
    """Launch for each call, and again for parameters that allow no wide loads or share no words."""
    for call in calls:
        plan = Plan.of(call.plan)
        entries = [
            Entry(tuple(parts), gradient, *place, index)
            for index, (parts, gradient, place) in enumerate(call.tasks())
        ]
        for flags, own in _by_flags(entries, plan).items():
            _launch(own, plan, flags, call)


register(TritonBackend.name, _step)


def _by_flags(entries: list[Entry], plan: Plan) -> dict[tuple[bool, bool], list[Entry]]:
    """Part the parameters by what their addresses and shapes allow."""
    found: dict[tuple[bool, bool], list[Entry]] = {}
    for entry in entries:
        found.setdefault((entry.is_aligned(plan), entry.shares_words(plan)), []).append(entry)
    return found


def _launch(
    entries: list[Entry],
    plan: Plan,
    flags: tuple[bool, bool],
    call: Arguments,
) -> None:
    """Launch the kernel over all tiles."""
    from mezzotint.optim._triton_kernels import step_kernel

    device = entries[0].gradient.device
    n_tiles = sum(tiles_of(entry, plan) for entry in entries)
    with _on(device):
        if call.steps is not None:
            _load_writer(device)
        table = _table(rows_of(entries, plan), device)
        step_kernel[(n_tiles,)](
            table,
            table if call.dynamic is None else call.dynamic,
            table if call.steps is None else call.steps,
            len(entries),
            (len(entries) - 1).bit_length(),
            call.step,
            *call.numbers,
            **constants(plan, *flags, call.steps is not None),
            **LAUNCH_OPTIONS,
        )


def constants(plan: Plan, is_aligned: bool, shares_words: bool, dynamic: bool) -> dict[str, Any]:
    """Give what the kernel is compiled for.

    Parameters
    ----------
    plan : Plan
        How the parameters are stored.
    is_aligned, shares_words : bool
        What `Entry` says of all of them.
    dynamic : bool
        Whether the numbers of the step and its count lie in memory.

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
