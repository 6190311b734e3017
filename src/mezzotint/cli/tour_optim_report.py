"""The second half's table, its picture, and what they say in words."""

from pathlib import Path

import rich.box
from rich.console import Console
from rich.table import Table

from mezzotint.cli.tour_optim import COMPENSATED, PLAIN, REFERENCE, SMALLEST, TOLERANCE, off
from mezzotint.cli.tour_plan import Plan, Run

_STORED = {
    REFERENCE: "float32 copies",
    PLAIN: "bf16 alone",
    COMPENSATED: "bf16 in pairs",
    SMALLEST: "8-bit codes",
}
_COLORS = {REFERENCE: "#c8c8c8", PLAIN: "#e08e0b", COMPENSATED: "#1f5fa8", SMALLEST: "#b3261e"}
_HOW = """\
bytes      weight and state per parameter, as stored; the gradient not counted
loss       validation, nats per character; same start and same batches for all
EDQ ratio  how far weights went along their updates; 1 is all the way
lost       share of the updates that changed nothing of what is stored"""


def print_report(runs: dict[str, Run], text_name: str, plan: Plan) -> None:
    """Write the table, what its columns mean, and the verdict."""
    out = Console(highlight=False)
    out.print(table(runs, text_name, plan))
    out.print(_HOW, style="dim")
    out.print(in_words(runs))


def table(runs: dict[str, Run], text_name: str, plan: Plan) -> Table:
    """One line per recipe."""
    title = f"GPT of {runs[REFERENCE].n_parameters:,} parameters on {text_name}: AdamW, {plan.steps} steps"
    found = Table(title=title, title_justify="left", box=rich.box.SIMPLE_HEAD, pad_edge=False)
    found.add_column("recipe", no_wrap=True)
    found.add_column("stored as")
    for name in ("bytes", "loss", f"to {REFERENCE}", "EDQ ratio", "lost"):
        found.add_column(name, justify="right", no_wrap=True)
    for run in runs.values():
        found.add_row(
            run.recipe,
            _STORED[run.recipe],
            f"{run.bytes_per_parameter:.2f}",
            f"{run.loss:.4f}",
            "" if run.recipe == REFERENCE else f"{_percent(off(run, runs))} %",
            f"{run.edq_ratio:.3f}",
            f"{100 * run.lost:.0f} %",
        )
    return found


def in_words(runs: dict[str, Run]) -> str:
    """The verdict: what kept up with full precision, in how many bytes, and what did not."""
    reference, plain = runs[REFERENCE], runs[PLAIN]
    parts = [
        f"{REFERENCE} keeps {reference.bytes_per_parameter:.0f} bytes per parameter and ends at a loss of "
        f"{reference.loss:.3f}."
    ]
    for recipe in (COMPENSATED, SMALLEST):
        run = runs[recipe]
        parts.append(f"{recipe} keeps {run.bytes_per_parameter:.2f} and ends {_distance(run, runs)}.")
    parts.append(
        f"{PLAIN} without compensation ends {_distance(plain, runs)}: {100 * plain.lost:.0f} % of its "
        f"updates changed nothing, and its weights went {plain.edq_ratio:.2f} of the way they were sent."
    )
    parts.append(f"One run each; differences below {100 * TOLERANCE} % count as none.")
    if off(runs[SMALLEST], runs) < -TOLERANCE:
        parts.append("That one run ends lower is chance, not better training.")
    return " ".join(parts)


def _percent(share: float) -> str:
    """Signed, two digits; never minus zero."""
    return f"{round(100 * share, 2) + 0.0:+.2f}"


def _distance(run: Run, runs: dict[str, Run]) -> str:
    difference = off(run, runs)
    if abs(difference) <= TOLERANCE:
        return f"at the same loss, {_percent(difference)} %"
    return f"{100 * abs(difference):.2f} % {'above' if difference > 0 else 'below'} it"


def draw(runs: dict[str, Run], folder: Path) -> Path | None:
    """Save validation loss and EDQ ratio against steps; None if matplotlib is not installed."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return None
    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    losses, ratios = figure.subplots(1, 2)
    for run in runs.values():
        label = f"{run.recipe}, {run.bytes_per_parameter:.2f} bytes"
        width = 5 if run.recipe == REFERENCE else 1.5  # what coincides with the reference leaves it visible
        later = run.curve[len(run.curve) // 3 :]  # the first fall would hide the differences
        for axes, points in ((losses, later), (ratios, run.edq)):
            axes.plot(*zip(*points, strict=True), color=_COLORS[run.recipe], linewidth=width, label=label)
    losses.set(xlabel="step", ylabel="validation loss, nats per character", title="What it costs")
    ratios.set(xlabel="step", ylabel="EDQ ratio", title="How much of the updates arrives in the weights")
    for axes in (losses, ratios):
        axes.grid(alpha=0.25)
    losses.legend(frameon=False)
    path = folder / "loss-and-updates.png"
    figure.savefig(path, dpi=150)
    return path
