"""Runs a function of this folder in several processes that talk over gloo, on this machine.

Processes meet in a file, so no port has to be free. What each of them returns comes back through a file.
"""

import os
import pathlib
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

needs_gloo = pytest.mark.skipif(
    not (dist.is_available() and dist.is_gloo_available()),
    reason="this build of torch has no gloo, so processes cannot talk to each other",
)


def on_ranks(n_ranks: int, job: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Call job(*arguments) on each of `n_ranks` processes and give what they return, by rank."""
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(_run, args=(n_ranks, folder, job, arguments), nprocs=n_ranks)
        answers = [pathlib.Path(folder, f"{rank}.pt") for rank in range(n_ranks)]
        return [torch.load(answer, weights_only=True) for answer in answers]


def _run(rank: int, n_ranks: int, folder: str, job: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=n_ranks)
    torch.save(job(*arguments), pathlib.Path(folder, f"{rank}.pt"))
    dist.barrier()
    dist.destroy_process_group()
    # Threads of gloo outlive the group; one that lets go of a tensor while the interpreter is taken down
    # aborts the process (https://github.com/pytorch/pytorch/issues/190489). So it is not taken down.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
