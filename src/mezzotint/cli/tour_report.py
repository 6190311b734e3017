"""The tour's table, and what it says in words."""

from typing import TYPE_CHECKING

import rich.box
from rich.console import Console
from rich.table import Table

from mezzotint.cli.console import size_text

if TYPE_CHECKING:
    from mezzotint.cli.tour import Entry, Stage

_FLOOR = 1e-15  # gaps are not resolved below it


def print_report(stages: "list[Stage]") -> None:
    """Write the table, how it was measured, and a sentence on the largest data set."""
    out = Console(highlight=False)
    out.print(table(stages))
    out.print(measured_how(stages), style="dim")
    out.print(in_words(stages[-1]))


def table(stages: "list[Stage]") -> Table:
    """One line per data set and contestant."""
    title = "Logistic regression (C = 1) on float32 rows"
    found = Table(title=title, title_justify="left", box=rich.box.SIMPLE_HEAD, pad_edge=False)
    found.add_column("trained with")
    for name in ("seconds", "x ours", "memory", "gap", "coef. off", "accuracy"):
        found.add_column(name, justify="right", no_wrap=True, min_width=7)
    for stage in stages:
        n, d = stage.data.X.shape
        found.add_row(f"[bold]{stage.data.name}[/]: {n} x {d}, {stage.data.n_classes} classes")
        for entry in stage.entries:
            found.add_row(*_cells(entry, stage.entries[0]))
        found.add_section()
    return found


def _cells(entry: "Entry", ours: "Entry") -> list[str]:
    mark = "" if entry.fit.converged else " *"
    memory = "n/a" if entry.fit.memory is None else size_text(entry.fit.memory)
    return [
        f"  {entry.contestant.name}{mark}",
        f"{entry.fit.seconds:.3g}",
        f"{entry.fit.seconds / ours.fit.seconds:.1f}",
        memory,
        gap_text(entry.gap),
        gap_text(entry.coef_difference),
        f"{100 * entry.accuracy:.2f} %",
    ]


def gap_text(gap: float) -> str:
    """A gap with two digits; below the resolution of float64 only that."""
    return f"{gap:.1e}" if gap > _FLOOR else "< 1e-15"


def measured_how(stages: "list[Stage]") -> str:
    """Say what the columns mean."""
    widest = max(stage.verdicts.slack for stage in stages)
    starred = any(not entry.fit.converged for stage in stages for entry in stage.entries)
    lines = [
        "seconds    fastest fit, packing and conversions included; turns in fresh processes, all cores",
        "memory     resident memory beyond the loaded input at the peak of a fit",
        f"gap        (F - F*) / |F*|, judged in float64 NumPy; F* is known to {gap_text(widest)}",
        "coef. off  largest difference to the coefficients at the optimum, over the largest of them",
        "accuracy   on rows held out",
        "tight      lbfgs, tol=1e-8, float64      Cholesky  newton-cholesky, tol=1e-6, float64",
    ]
    return "\n".join([*lines, "*          stopped at its iteration limit"] if starred else lines)


def in_words(stage: "Stage") -> str:
    """What to see in the lines of a data set."""
    ours = stage.entries[0]
    peers = [entry for entry in stage.entries if entry.contestant.library == "scikit-learn"]
    first = (
        f"On {stage.data.name}, {ours.contestant.name} came within {_in_prose(ours.gap)} of the optimum in "
        f"{ours.fit.seconds:.2f} s"
    )
    texts = [
        f"{peer.contestant.name} took {peer.fit.seconds / ours.fit.seconds:.1f} times as long "
        f"({peer.fit.seconds:.2f} s) for {_in_prose(peer.gap)}"
        for peer in peers
    ]
    return f"{first}; {'; '.join(texts)}."


def _in_prose(gap: float) -> str:
    return gap_text(gap).replace("<", "less than")
