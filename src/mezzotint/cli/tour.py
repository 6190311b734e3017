"""`mezzotint tour`: low-bit training beside scikit-learn and beside full precision, in about two minutes."""

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mezzotint.cli import console

if TYPE_CHECKING:
    from mezzotint.cli.tour_data import TourData
    from mezzotint.cli.tour_judge import Verdicts
    from mezzotint.cli.tour_measure import Arena, Contestant, Fit

HELP = """Train real models in few bits beside full precision, and judge them all. About two minutes.

First half: logistic regression in 8 and 4 bits beside scikit-learn, on digits, MNIST-5k and a larger set of
generated embeddings. Prints one table (time, memory beyond the input, gap to the optimum, difference of the
coefficients, accuracy) and saves a picture of the gap against seconds.

Second half: a small GPT on real text with optimizers of 14 to 3 bytes per parameter. Prints validation loss,
bytes and how much of the updates arrived, and saves a picture of both. It needs torch.

Nothing is downloaded. It is a check, too: exit code 1 if a linear model misses the optimum by more than 1e-8,
or Collage-plus ends more than 0.5 % above the loss of float32 master weights.
"""
LIMIT = 1e-8  # largest relative gap that the tour accepts from mezzotint
_OURS = "mezzotint, 8 bits"
_TURNS = 2
_REPEATS = 5  # fits per turn, for a second at most
_ONCE = 4.0  # seconds; a fit that takes longer is not repeated


@dataclass(frozen=True, eq=False, kw_only=True)
class Entry:
    """One line of the table.

    Attributes
    ----------
    contestant : Contestant
        Who.
    fit : Fit
        The fastest of its fits, with the memory of the hungriest.
    gap, coef_difference, accuracy : float
        See `tour_judge`.
    """

    contestant: "Contestant"
    fit: "Fit"
    gap: float
    coef_difference: float
    accuracy: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Stage:
    """All lines about one data set."""

    data: "TourData"
    entries: list[Entry]
    verdicts: "Verdicts"

    def entry(self, name: str) -> Entry:
        """Return the line of a contestant."""
        return next(entry for entry in self.entries if entry.contestant.name == name)


class Half(StrEnum):
    """A half of the tour."""

    LINEAR = "linear"
    OPTIM = "optim"


def tour(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the pictures; made if it does not exist.")
    ] = Path("tour-output"),
    only: Annotated[
        Half | None, typer.Option("--only", help="One half: linear models, or optimizers.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", hidden=True, help="Small sizes, for tests.")] = False,
) -> None:
    """Train, print and draw."""
    out.mkdir(parents=True, exist_ok=True)
    warn_if_busy()
    problems = [] if only is Half.OPTIM else tour_linear(out, quick)
    if only is not Half.LINEAR:
        problems += _second_half(out, quick, required=only is Half.OPTIM)
    for problem in problems:
        console.print_error(f"{problem}.")
    if problems:
        raise typer.Exit(1)


def tour_linear(out: Path, quick: bool) -> list[str]:
    """Run the first half; return what should have held and does not."""
    from mezzotint.cli import tour_data, tour_picture, tour_report

    with console.working("making data") as work:
        size = (3_000, 32) if quick else (60_000, 512)
        sets = [tour_data.digits(), None if quick else tour_data.mnist(), tour_data.embeddings(*size)]
        stages = [run_stage(data, work) for data in sets if data is not None]
        curves = run_curves(sets[-1], stages[-1], work)  # type: ignore[arg-type]
    tour_report.print_report(stages)
    if curves:
        typer.echo(f"picture: {tour_picture.draw(curves, stages[-1].data.name, out)}")
    failed = [
        f"{entry.contestant.name} on {stage.data.name}: {entry.gap:.1e}"
        for stage in stages
        for entry in stage.entries
        if entry.contestant.library == "mezzotint" and not entry.gap <= LIMIT
    ]
    return [f"the gap to the optimum is above {LIMIT:.0e} for {'; '.join(failed)}"] if failed else []


def _second_half(out: Path, quick: bool, *, required: bool) -> list[str]:
    """Run the second half where torch is installed; without it the first half is a tour, too."""
    from mezzotint.cli import tour_optim

    if tour_optim.has_torch():
        return tour_optim.tour_optim(out, quick)
    advice = (
        "the second half of the tour trains a small GPT and needs torch, which is not installed: "
        'pip install "mezzotint[torch]", then mezzotint tour --only optim'
    )
    if required:
        return [advice]
    console.print_warning(advice)
    return []


def warn_if_busy() -> None:
    """Warn if other programs keep the cores busy: threaded peers then wait for each other most."""
    cores = os.cpu_count() or 1
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > 0.5 * cores:
        console.print_warning(
            f"other programs are running (load {load:.1f} on {cores} cores); times and ratios will be off, "
            "scikit-learn's most of all. Gaps, memory and accuracy do not suffer."
        )


# ---- who takes part


def contestants(n_classes: int) -> list["Contestant"]:
    """Everybody in the table; scikit-learn as it comes, and set to get as close to the optimum as we do."""
    found = [_ours(_OURS, bits=8), _ours("mezzotint, 4 bits", bits=4)]
    if n_classes == 2:
        found.append(_ours("mezzotint, 8 bits, HALP", bits=8, solver="halp"))
    found += [
        _peer("scikit-learn, default"),
        _peer("scikit-learn, tight", as_float64=True, tol=1e-8, max_iter=10_000),
    ]
    if n_classes == 2:
        found.append(_peer("scikit-learn, Cholesky", as_float64=True, tol=1e-6, solver="newton-cholesky"))
    return found


def curve_contestants() -> dict[str, list["Contestant"]]:
    """Who appears in the picture: one traced fit, or for scikit-learn fits with rising iteration limits."""
    return {
        "Newton, 8 bits": [_ours("Newton, 8 bits", tol=1e-12, bits=8)],
        "HALP, 8 bits": [_ours("HALP, 8 bits", tol=1e-12, bits=8, solver="halp")],
        "HALP, 4 bits": [_ours("HALP, 4 bits", tol=1e-12, bits=4, solver="halp")],
        "SVRG, float32": [_ours("SVRG, float32", tol=1e-12, bits=32, solver="halp")],
        "scikit-learn (lbfgs)": [
            _peer("lbfgs", as_float64=True, tol=1e-9, max_iter=limit) for limit in (5, 15, 45, 135, 405)
        ],
    }


def _ours(name: str, **parameters: Any) -> "Contestant":  # noqa: ANN401
    from mezzotint.cli.tour_measure import Contestant

    return Contestant(name=name, library="mezzotint", parameters=parameters)


def _peer(name: str, *, as_float64: bool = False, **parameters: Any) -> "Contestant":  # noqa: ANN401
    from mezzotint.cli.tour_measure import Contestant

    return Contestant(name=name, library="scikit-learn", parameters=parameters, as_float64=as_float64)


# ---- running


def run_stage(data: "TourData", work: console.Work) -> Stage:
    """Measure everybody on one data set, in turns, and judge the solutions."""
    from mezzotint.cli import tour_judge

    people = contestants(data.n_classes)
    fits: dict[str, list[Fit]] = {person.name: [] for person in people}
    with _arena(data) as arena:
        for turn in range(_TURNS):
            for person in people:
                done = fits[person.name]
                if not done or done[0].seconds < _ONCE:
                    work.describe(f"{data.name}: {person.name}, turn {turn + 1}")
                    done.append(arena.run(person, repeats=_REPEATS))
    best = [_fastest(fits[person.name]) for person in people]
    verdicts = tour_judge.judge(data.X, data.y, 1 / len(data.y), [fit.coef for fit in best])
    scores = [tour_judge.accuracy(data.X_test, data.y_test, fit.coef) for fit in best]
    rows = zip(people, best, verdicts.gaps, verdicts.coef_differences, scores, strict=True)
    entries = [
        Entry(contestant=person, fit=fit, gap=gap, coef_difference=difference, accuracy=score)
        for person, fit, gap, difference, score in rows
    ]
    return Stage(data=data, entries=entries, verdicts=verdicts)


def run_curves(data: "TourData", stage: Stage, work: console.Work) -> dict[str, list[tuple[float, float]]]:
    """Return (seconds, relative gap) along the way of everybody in the picture."""
    from mezzotint.cli import tour_judge

    curves = {}
    with _arena(data) as arena:
        for name, people in curve_contestants().items():
            work.describe(f"{data.name}: curve of {name}")
            fits: list[Fit] = []
            for person in people:
                if not fits or fits[-1].seconds < 2 * _ONCE:  # a busy machine must not make this endless
                    fits.append(arena.run(person, repeats=_REPEATS))
            penalty = 1 / len(data.y)
            points = fits[0].trace or [
                (fit.seconds, tour_judge.objective(data.X, data.y, penalty, fit.coef)) for fit in fits
            ]
            curves[name] = [(seconds, stage.verdicts.gap(value)) for seconds, value in points]
    return curves


def _arena(data: "TourData") -> "Arena":
    from mezzotint.cli.tour_measure import Arena

    return Arena(data.X, data.y)


def _fastest(fits: list["Fit"]) -> "Fit":
    import dataclasses

    memory = max((fit.memory for fit in fits if fit.memory is not None), default=None)
    return dataclasses.replace(min(fits, key=lambda fit: fit.seconds), memory=memory)
