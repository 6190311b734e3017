"""A reproduction on paper: its table on stdout, its numbers as JSON, its picture."""

import json
import math
from pathlib import Path
from typing import Any

import rich.box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mezzotint import __version__
from mezzotint.cli.inputs import replacing
from mezzotint.reproduce.report import Cell, Picture, Report

_COLORS = ("#b3261e", "#1f5fa8", "#2e7d32", "#e08e0b", "#6a3d9a", "#7a7a7a", "#00838f", "#ad1457", "#5d4037")
_DASHES = ("-", "--", ":")


def print_report(report: Report) -> None:
    """Write the claim, the table, the statements and the notes to stdout."""
    out = Console(highlight=False)
    out.print(Text(report.claim))
    out.print(table(report))
    for finding in report.findings:
        out.print(Text(f"{'holds' if finding.holds else 'FAILS'}  {finding.statement}"))
    for note in report.notes:
        out.print(Text(note, style="dim"))


def table(report: Report) -> Table:
    """One line per row; texts to the left, numbers to the right."""
    found = Table(title=report.title, title_justify="left", box=rich.box.SIMPLE_HEAD, pad_edge=False)
    for index, name in enumerate(report.columns):
        texts = all(isinstance(row[index], str) for row in report.rows)
        found.add_column(name, justify="left" if texts else "right")
    for row in report.rows:
        found.add_row(*map(cell_text, row))
    return found


def cell_text(cell: Cell) -> str:
    """Four digits of a number; a dash where there is none."""
    if cell is None:
        return "-"
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)


def write(report: Report, name: str, folder: Path) -> list[tuple[str, Path]]:
    """Write the numbers and the picture, each whole or not at all; say what was written.

    Parameters
    ----------
    report : Report
        What to write.
    name : str
        Of the files.
    folder : Path
        An existing folder.

    Returns
    -------
    list of (str, Path)
        What each file is; the picture is missing if matplotlib is.
    """
    numbers = folder / f"{name}.json"
    with replacing(numbers) as part:
        part.write_text(json.dumps(as_json(report, name), indent=1, allow_nan=False) + "\n")
    written = [("numbers", numbers)]
    if report.picture is not None and draw(report.picture, folder / f"{name}.png"):
        written.append(("picture", folder / f"{name}.png"))
    return written


def as_json(report: Report, name: str) -> dict[str, Any]:
    """Return the report as JSON values; a number that is not finite becomes null."""
    return {
        "name": name,
        "mezzotint": __version__,
        "title": report.title,
        "claim": report.claim,
        "settings": report.settings,
        "rows": [dict(zip(report.columns, map(_finite, row), strict=True)) for row in report.rows],
        "findings": [finding._asdict() for finding in report.findings],
        "notes": report.notes,
        "lines": _lines(report.picture),
    }


def _lines(picture: Picture | None) -> dict[str, list[list[Cell]]]:
    if picture is None:
        return {}
    return {name: [[_finite(x), _finite(y)] for x, y in points] for name, points in picture.lines.items()}


def _finite(cell: Cell) -> Cell:
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell


def line_styles(names: list[str]) -> dict[str, tuple[str, str]]:
    """Colour and dash of every line: "group: variant" has the colour of its group and a dash of its own."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name.partition(": ")[0], []).append(name)
    return {
        name: (_COLORS[number % len(_COLORS)], _DASHES[place % len(_DASHES)])
        for number, members in enumerate(groups.values())
        for place, name in enumerate(members)
    }


def draw(picture: Picture, path: Path) -> bool:
    """Save a picture; False if matplotlib is not installed."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError:
        return False
    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for name, (color, dash) in line_styles(list(picture.lines)).items():
        x, y = zip(*picture.lines[name], strict=True)
        marker = "o" if len(x) <= 20 else None
        axes.plot(x, y, dash, color=color, marker=marker, markersize=4, linewidth=1.4, label=name)
    axes.set(
        xscale=picture.x_scale,
        yscale=picture.y_scale,
        xlabel=picture.x,
        ylabel=picture.y,
        title=picture.title,
    )
    if picture.x_scale == "linear":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))  # bits and epochs
    axes.grid(alpha=0.25, which="major")
    axes.legend(frameon=False)
    with replacing(path) as part:
        figure.savefig(part, dpi=150)
    return True
