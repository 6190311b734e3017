"""Does a step on states in few bits take less time than torch's fused step in float32?

The rival is what a training with float32 master weights does: `torch.optim.AdamW(fused=True)` on weights
and states in float32, then a copy of the weights to bfloat16 for the model. It gets its gradients in float32,
as it needs them; the conversion is not charged. Ours gets bfloat16 gradients. Both take turns, and with them
a plain loop that changes numbers where they are, which is what a step does to memory; ratios and shares are
medians over the turns. Bytes are those that must be read and written once.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.disturbance import warning_of_runs
from benchmarks.harness import Record, Run, quick

N_THREADS = 2
_SHAPE, _N_TENSORS = (2048, 4096), 12  # 100.7 million elements
_REPEATS, _WARM = 15, 2
_TORCH_BYTES = 4 * (4 + 3) + 6  # gradient, three states read and written; the copy


def runs() -> list[Run]:
    """One process per recipe."""
    from mezzotint.optim import RECIPES

    n_tensors, repeats = (1, 3) if quick() else (_N_TENSORS, _REPEATS)
    arguments = {"n_tensors": n_tensors, "repeats": repeats}
    return [
        Run(name, "measure", {"recipe": name, **arguments}, n_threads=N_THREADS, limit_s=600, repeats=1)
        for name in RECIPES
    ]


def measure(recipe: str, n_tensors: int, repeats: int) -> Record:
    """Let torch, a plain update of memory and a recipe take turns."""
    from benchmarks.bandwidth import plain_update
    from benchmarks.disturbance import Disturbance

    count = n_tensors * _SHAPE[0] * _SHAPE[1]
    theirs, (ours, n_bytes) = _torch_step(n_tensors), _our_step(recipe, n_tensors)
    start, disturbance = time.perf_counter(), Disturbance()
    turns = []
    for _ in range(_WARM + repeats):
        turns.append((_seconds(theirs), _seconds(ours), plain_update(N_THREADS)))
    others = disturbance.other_cores
    torch_s, our_s, update = np.array(turns[_WARM:]).T
    return {
        "seconds": float(np.median(our_s)),
        "torch_seconds": float(np.median(torch_s)),
        "faster": float(np.median(torch_s / our_s)),
        "bytes_per_parameter": n_bytes / count,
        "share": float(np.median(n_bytes / our_s / update)),
        "torch_share": float(np.median(_TORCH_BYTES * count / torch_s / update)),
        "plain_update_gb_s": float(np.median(update)) / 1e9,
        "parameters": count,
        "other_cores": others,
        "whole_seconds": time.perf_counter() - start,
        "turns": turns,
    }


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _parameters(n_tensors: int, dtype: Any) -> list[Any]:
    """Weights and gradients of ordinary size."""
    import torch

    generator = torch.Generator().manual_seed(0)
    made = []
    for _ in range(n_tensors):
        p = torch.nn.Parameter((0.02 * torch.randn(_SHAPE, generator=generator)).to(dtype))
        p.grad = (1e-3 * torch.randn(_SHAPE, generator=generator)).to(dtype)
        made.append(p)
    return made


def _torch_step(n_tensors: int) -> Callable[[], None]:
    """Give torch's fused step with float32 masters and the copy that the model sees."""
    import torch

    masters = _parameters(n_tensors, torch.float32)
    model = [p.detach().to(torch.bfloat16) for p in masters]
    optimizer = torch.optim.AdamW(masters, fused=True)

    def step() -> None:
        optimizer.step()
        for seen, master in zip(model, masters, strict=True):
            seen.copy_(master.detach())

    return step


def _our_step(recipe: str, n_tensors: int) -> tuple[Callable[[], None], float]:
    """Give our step and the bytes that it must move."""
    import torch

    from mezzotint.optim import AdamW

    dtype = torch.float32 if recipe == "fp32" else torch.bfloat16
    params = _parameters(n_tensors, dtype)
    optimizer = AdamW(params, recipe=recipe, backend="native")
    optimizer.step()
    sizes = optimizer.state_bytes()
    unread = sizes["weight"] if "weight_master" in sizes else 0  # the visible copy is only written
    return optimizer.step, float(sum(p.grad.nbytes for p in params) + 2 * sizes["total"] - unread)


def table(result: list[Record]) -> str:
    """Milliseconds, ratio to torch, bytes and shares of a plain update."""
    lines = [
        "| recipe | bytes moved per parameter | ms | torch ms | faster | of a plain update | torch's |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for record in result:
        found = record.get("measured", {})
        if record["kind"] == "run" and "faster" in found:
            lines.append(
                f"| `{record['name']}` | {found['bytes_per_parameter']:.2f} | {1e3 * found['seconds']:.1f} "
                f"| {1e3 * found['torch_seconds']:.1f} | {found['faster']:.2f} x "
                f"| {100 * found['share']:.0f} % | {100 * found['torch_share']:.0f} % |"
            )
    return "\n".join(lines) + warning_of_runs(result)


TABLES = {"optim_cpu": table}
