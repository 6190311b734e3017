"""What is run for each part of the study; a plan is a list of tasks, the most telling first."""

from collections.abc import Callable, Iterable
from typing import Any

from benchmarks.training.contestants import PEERS, SCALES
from benchmarks.training.instruments import REFERENCE
from benchmarks.training.ours import ABLATIONS, ABOUT_SECOND_MOMENTS, OURS

Task = dict[str, Any]

BETAS = (0.999, 0.95)
N_CHECKPOINTS, N_FINE_TUNE_SEEDS = 3, 2
N_SEEDS, N_SEEDS_OF_OTHERS = 10, 2
SMALLEST = ("4bit", "8bit-min", "4bit-min")  # the candidates that get as many seeds as the reference


def _task(function: str, module: str = "train", **arguments: Any) -> Task:
    return {"module": f"benchmarks.training.{module}", "function": function, "arguments": arguments}


def checkpoints(family: str) -> list[Task]:
    """Models to fine-tune."""
    return [_task("make_checkpoint", family=family, number=k) for k in range(N_CHECKPOINTS)]


def fine_tune(
    family: str, beta2: float, contestants: Iterable[str], n_seeds: int = N_FINE_TUNE_SEEDS
) -> list[Task]:
    """Every contestant from every checkpoint with every seed."""
    names = list(contestants)
    pairs = [(k, seed) for seed in range(n_seeds) for k in range(N_CHECKPOINTS)]
    return [
        _task(
            "train",
            family=family,
            instrument="fine-tune",
            beta2=beta2,
            seed=seed,
            checkpoint=k,
            contestant=name,
        )
        for k, seed in pairs
        for name in names
    ]


def scratch(family: str, beta2: float, contestants: Iterable[str]) -> list[Task]:
    """Every contestant from scratch; the reference and the smallest candidates go first, with many seeds."""
    names = list(contestants)
    judged = [name for name in (REFERENCE, *SMALLEST) if name in names]
    many = [(seed, name) for seed in range(N_SEEDS) for name in judged]
    few = [(seed, name) for seed in range(N_SEEDS_OF_OTHERS) for name in names if name not in judged]
    return [
        _task("train", family=family, instrument="scratch", beta2=beta2, seed=seed, contestant=name)
        for seed, name in many + few
    ]


def drift() -> list[Task]:
    """Second moments of everybody at both decay rates."""
    names = [REFERENCE, *OURS, *ABOUT_SECOND_MOMENTS, *PEERS]
    return [_task("drift", "drift", contestant=name, beta2=beta2) for beta2 in BETAS for name in names]


OUR_SIDE = [*SCALES, *OURS]
FROM_SCRATCH = [REFERENCE, *OURS, *PEERS]


def _fine_tune_all(family: str, beta2: float) -> list[Task]:
    """Peers last: some of them take four times as long."""
    sides = (OUR_SIDE, list(PEERS))
    return [task for side in sides for task in fine_tune(family, beta2, side)]


PLANS: dict[str, Callable[[], list[Task]]] = {
    "drift": drift,
    "fine-tune-0.999": lambda: _fine_tune_all("transformer", 0.999),
    "scratch-0.999": lambda: scratch("transformer", 0.999, FROM_SCRATCH),
    "ablations": lambda: fine_tune("transformer", 0.999, [*SCALES, *ABLATIONS], n_seeds=1),
    "scratch-0.95": lambda: scratch("transformer", 0.95, FROM_SCRATCH),
    "fine-tune-0.95": lambda: _fine_tune_all("transformer", 0.95),
    "fine-tune-lstm": lambda: _fine_tune_all("lstm", 0.999),
    "scratch-lstm": lambda: scratch("lstm", 0.999, FROM_SCRATCH),
}
