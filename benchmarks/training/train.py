"""One training run: `train` is called in a process of its own and returns what it measured."""

import math
import os
import pathlib
import time
from dataclasses import dataclass
from typing import Any

import safetensors.torch
import torch
from torch import nn

from benchmarks.harness import ROOT
from benchmarks.training.contestants import (
    WEIGHT_DECAY,
    Stepper,
    bytes_per_parameter,
)
from benchmarks.training.data import Text, batches, default_path, read_text, windows
from benchmarks.training.instruments import REFERENCE
from benchmarks.training.models import LENGTH, loss_of, make_model
from benchmarks.training.ours import CONTESTANTS, IN_FLOAT32

CHECKPOINTS = ROOT / "build" / "training"
_CLIP = 1.0
_HELD_OUT_ROWS, _ROWS_AT_ONCE = 512, 64
_CHECKPOINT_SEEDS = 1_000  # apart from the seeds of the study


@dataclass(frozen=True)
class Schedule:
    """Learning rates and batches of one instrument.

    Attributes
    ----------
    n_steps, n_warm, n_rows : int
        Steps, steps of linear warm-up, windows in a batch.
    rate : float
        Highest learning rate.
    final : float
        Last rate over the highest; a cosine leads there. 1: constant.
    """

    n_steps: int
    n_warm: int
    n_rows: int
    rate: float
    final: float

    def rate_at(self, step: int) -> float:
        """Learning rate of step 0, 1, ..."""
        cosine = self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * step / self.n_steps))
        return self.rate * min((step + 1) / self.n_warm, cosine)


SCHEDULES = {
    ("transformer", "checkpoint"): Schedule(1_000, 100, 4, 2e-3, 0.02),
    ("transformer", "fine-tune"): Schedule(200, 20, 4, 1e-4, 1.0),
    ("transformer", "scratch"): Schedule(800, 80, 4, 2e-3, 0.02),
    ("lstm", "checkpoint"): Schedule(1_000, 100, 16, 4e-3, 0.02),
    ("lstm", "fine-tune"): Schedule(200, 20, 16, 1e-4, 1.0),
    ("lstm", "scratch"): Schedule(800, 80, 16, 4e-3, 0.02),
}


def train(
    family: str, instrument: str, contestant: str, beta2: float, seed: int, checkpoint: int | None = None
) -> dict[str, Any]:
    """Train one contestant and measure its loss on held-out text.

    The same seed gives the same batches and, from scratch, the same first weights to every contestant.
    """
    torch.set_num_threads(1)
    text = read_text(default_path())
    model = make_model(family, text.n_characters, seed)
    if checkpoint is not None:
        model.load_state_dict(safetensors.torch.load_file(checkpoint_path(family, checkpoint)))
    schedule = SCHEDULES[family, instrument]
    return _measured(model, contestant, text, schedule, beta2, seed)


def make_checkpoint(family: str, number: int) -> dict[str, Any]:
    """Train the reference from scratch and keep its visible weights for fine-tuning."""
    torch.set_num_threads(1)
    text, seed = read_text(default_path()), _CHECKPOINT_SEEDS + number
    model = make_model(family, text.n_characters, seed)
    measured = _measured(model, REFERENCE, text, SCHEDULES[family, "checkpoint"], 0.999, seed)
    path = checkpoint_path(family, number)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}")
    safetensors.torch.save_file(model.state_dict(), part)
    part.replace(path)
    return measured


def checkpoint_path(family: str, number: int) -> pathlib.Path:
    """Where a checkpoint is kept: never committed, made again when it is missing."""
    return CHECKPOINTS / f"{family}_{number}.safetensors"


def _measured(
    model: nn.Module, contestant: str, text: Text, schedule: Schedule, beta2: float, seed: int
) -> dict[str, Any]:
    torch.manual_seed(seed)  # for peers that draw random numbers
    weights = stored_weights(model, torch.float32 if contestant in IN_FLOAT32 else torch.bfloat16)
    stepper = CONTESTANTS[contestant](groups(weights), beta2, seed)
    n_done, seconds = descend(model, weights, stepper, text, schedule, seed)
    return {
        "loss": _finite(held_out_loss(model, text)),
        "n_steps": n_done,
        "n_parameters": sum(w.numel() for w in weights),
        "bytes_per_parameter": bytes_per_parameter(weights, stepper),
        "optimizer_seconds": seconds,
        "processor_seconds": time.process_time(),
    }


def stored_weights(model: nn.Module, dtype: torch.dtype = torch.bfloat16) -> list[nn.Parameter]:
    """Parameters with the model's weights rounded to bfloat16, which the model sees from now on."""
    stored = [nn.Parameter(weight.detach().bfloat16().to(dtype)) for weight in model.parameters()]
    show(model, stored)
    return stored


def groups(weights: list[nn.Parameter]) -> list[dict[str, Any]]:
    """Weight decay on matrices alone."""
    return [
        {"params": [w for w in weights if w.ndim > 1], "weight_decay": WEIGHT_DECAY},
        {"params": [w for w in weights if w.ndim < 2], "weight_decay": 0.0},
    ]


@torch.no_grad()
def show(model: nn.Module, stored: list[nn.Parameter]) -> None:
    """Let the model see the stored weights: it computes in float32 with the values of bfloat16."""
    for weight, source in zip(model.parameters(), stored, strict=True):
        weight.copy_(source)


def descend(
    model: nn.Module,
    weights: list[nn.Parameter],
    stepper: Stepper,
    text: Text,
    schedule: Schedule,
    seed: int,
) -> tuple[int, float]:
    """Run the steps; return their number, less if the loss left the finite numbers, and seconds in `step`."""
    seconds = 0.0
    stream = batches(text.train, schedule.n_rows, LENGTH, seed)
    for step, (x, y) in zip(range(schedule.n_steps), stream, strict=False):
        model.zero_grad()
        loss = loss_of(model, x, y)
        if not math.isfinite(float(loss.detach())):
            return step, seconds
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), _CLIP)
        for weight, shown in zip(weights, model.parameters(), strict=True):
            weight.grad = shown.grad.bfloat16().to(weight.dtype)  # type: ignore[union-attr]
        begin = time.process_time()
        stepper.step(schedule.rate_at(step))
        seconds += time.process_time() - begin
        show(model, weights)
    return schedule.n_steps, seconds


@torch.no_grad()
def held_out_loss(model: nn.Module, text: Text) -> float:
    """Mean loss over windows spread over the held-out text: the same ones for everybody."""
    x, y = windows(text.held_out, _HELD_OUT_ROWS, LENGTH)
    parts = zip(x.split(_ROWS_AT_ONCE), y.split(_ROWS_AT_ONCE), strict=True)
    losses = [float(loss_of(model, *part)) for part in parts]
    return sum(losses) / len(losses)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
