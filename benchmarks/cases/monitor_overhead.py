"""How much of the time of a training run does a PrecisionMonitor take?

A transformer of 10 million parameters in bfloat16, 512 tokens a step, 100 steps with a measurement at the
last of them, one thread. The share is the time inside the monitor's hooks over the time of everything else
in the same process, so that it can be told at 1 % although runs differ by more.
"""

import time
from typing import Any

from benchmarks.harness import Record, Run, quick

_WIDTH, _LAYERS, _HEADS, _WORDS, _LENGTH, _BATCH = 320, 6, 5, 4096, 256, 2
_STEPS = 100


def runs() -> list[Run]:
    """A loop with torch's AdamW, and one with a recipe of ours."""
    cases = {
        "torch.optim.AdamW": {"recipe": None},
        "mezzotint AdamW, 24bit": {"recipe": "24bit"},
    }
    return [Run(name, "train", arguments, n_threads=1, limit_s=1800) for name, arguments in cases.items()]


def train(recipe: str | None) -> Record:
    """Seconds per step, and those of them that the hooks took."""
    import torch

    from mezzotint.monitor import PrecisionMonitor
    from mezzotint.optim import AdamW

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = _model()
    make: Any = torch.optim.AdamW if recipe is None else AdamW
    optimizer = make(model.parameters(), lr=3e-4, **({} if recipe is None else {"recipe": recipe}))
    tokens = torch.randint(0, _WORDS, (_BATCH, _LENGTH + 1))
    _step(model, optimizer, tokens)
    n_steps = 10 if quick() else _STEPS
    monitor = PrecisionMonitor(optimizer, every=n_steps, model=model)
    start = time.perf_counter()
    for _ in range(n_steps):
        _step(model, optimizer, tokens)
    seconds = time.perf_counter() - start
    return {
        "seconds": seconds / n_steps,
        "hook_seconds": monitor.seconds / n_steps,
        "share": monitor.seconds / (seconds - monitor.seconds),
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def _model() -> Any:
    """Make a transformer with causal attention, token and place embeddings, and its own head."""
    from torch import nn

    layer = nn.TransformerEncoderLayer(
        _WIDTH, _HEADS, 4 * _WIDTH, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    parts = {
        "words": nn.Embedding(_WORDS, _WIDTH),
        "places": nn.Embedding(_LENGTH, _WIDTH),
        "body": nn.TransformerEncoder(layer, _LAYERS, enable_nested_tensor=False),
        "head": nn.Linear(_WIDTH, _WORDS, bias=False),
    }
    return nn.ModuleDict(parts).bfloat16()


def _step(model: Any, optimizer: Any, tokens: Any) -> None:
    import torch
    from torch import nn

    given, wanted = tokens[:, :-1], tokens[:, 1:]
    x = model["words"](given) + model["places"].weight
    mask = nn.Transformer.generate_square_subsequent_mask(_LENGTH, dtype=torch.bfloat16)
    logits = model["head"](model["body"](x, mask=mask, is_causal=True))
    nn.functional.cross_entropy(logits.float().view(-1, _WORDS), wanted.reshape(-1)).backward()
    optimizer.step()
    optimizer.zero_grad()


def table(result: list[Record]) -> str:
    """Seconds per step and the share of the hooks."""
    rows = ["| loop | a step | in the hooks | share (quartiles) |", "|---|---:|---:|---:|"]
    for record in result:
        if record["kind"] == "summary":
            measured = record["measured"]
            share = {key: f"{100 * value:.2f} %" for key, value in measured["share"].items()}
            rows.append(
                f"| {record['name']} | {measured['seconds']['median']:.3f} s "
                f"| {1e3 * measured['hook_seconds']['median']:.2f} ms "
                f"| {share['median']} ({share['q1']} to {share['q3']}) |"
            )
    return "\n".join(rows)


TABLES = {"monitor-overhead": table}
