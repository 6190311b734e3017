"""The tour's second half: a small GPT on real text, stored by four recipes beside each other."""

import importlib.util
import multiprocessing
import os
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mezzotint.cli import console
from mezzotint.cli.tour_plan import Plan, Run

if TYPE_CHECKING:
    from mezzotint.cli.tour_text import Text

REFERENCE, PLAIN, COMPENSATED = "mixed", "bf16", "collage-plus"
SMALLEST = "8bit-min"  # the fewest bytes at parity in every measurement of docs/recipes-study.md
TOLERANCE = 0.005  # of the reference's loss: what the study of recipes calls parity
EDQ_TOLERANCE = 0.01
_TINY = Plan(width=16, layers=1, heads=2, length=16, steps=20, rows=4, looks=2, windows=8)


def tour_optim(out: Path, quick: bool) -> list[str]:
    """Train, print and draw; return what should have held and does not."""
    from mezzotint.cli import tour_optim_report, tour_text

    text, plan = tour_text.real_text(), _TINY if quick else Plan()
    runs = train_all(text, plan)
    tour_optim_report.print_report(runs, text.name, plan)
    picture = tour_optim_report.draw(runs, out)
    if picture:
        typer.echo(f"picture: {picture}")
    return [] if quick else judged(runs)


def has_torch() -> bool:
    """Say whether the second half can run."""
    return importlib.util.find_spec("torch") is not None


def train_all(text: "Text", plan: Plan) -> dict[str, Run]:
    """Train with every recipe, each on one thread of a process of its own, as many at once as cores."""
    recipes = (REFERENCE, PLAIN, COMPENSATED, SMALLEST)
    runs: dict[str, Run] = {}
    with console.working("training a small GPT") as work, _processes(len(recipes)) as pool:
        for done in as_completed([pool.submit(train_one, recipe, plan, text) for recipe in recipes]):
            runs[done.result().recipe] = done.result()
            work.advance_to(len(runs), len(recipes))
    return {recipe: runs[recipe] for recipe in recipes}


def train_one(recipe: str, plan: Plan, text: "Text") -> Run:
    """Train in this process; torch is loaded here only."""
    from mezzotint.cli.tour_gpt import train

    return train(recipe, plan, text)


def judged(runs: dict[str, Run]) -> list[str]:
    """Say what does not hold: the published method must train as full precision does, and lose no update."""
    run = runs[COMPENSATED]
    found = []
    if not off(run, runs) <= TOLERANCE:
        found.append(
            f"the loss of {COMPENSATED} is {100 * off(run, runs):.2f} % above that of {REFERENCE}, "
            f"more than {100 * TOLERANCE} %"
        )
    if not abs(run.edq_ratio - 1) <= EDQ_TOLERANCE:
        found.append(f"the EDQ ratio of {COMPENSATED} is {run.edq_ratio:.3f}, not 1 within {EDQ_TOLERANCE}")
    return found


def off(run: Run, runs: dict[str, Run]) -> float:
    """How far a loss is above the reference's, relative to that."""
    return run.loss / runs[REFERENCE].loss - 1


def _processes(most: int) -> Executor:
    """Make processes that have loaded nothing: threads of this one must not be copied."""
    return ProcessPoolExecutor(
        min(most, os.cpu_count() or 1), mp_context=multiprocessing.get_context("spawn")
    )
