"""What commands write: results on stdout; errors, warnings and progress on stderr."""

import contextlib
from collections.abc import Iterator
from functools import cache
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

_UNITS = ("bytes", "KB", "MB", "GB", "TB")


@cache
def errors() -> Console:
    """Return the console on stderr."""
    return Console(stderr=True, highlight=False)


def print_error(message: str) -> None:
    """Write an error to stderr, unwrapped so that it can be searched for."""
    _print_labelled("error: ", "bold red", message)


def print_warning(message: str) -> None:
    """Write a warning to stderr."""
    _print_labelled("warning: ", "yellow", message)


def _print_labelled(label: str, style: str, message: str) -> None:
    errors().print(Text(label, style=style) + Text(message), soft_wrap=True)


def print_facts(facts: list[tuple[str, str]]) -> None:
    """Write pairs of a name and a text to stdout, aligned."""
    width = max(len(name) for name, _ in facts) + 2
    out = Console(highlight=False)
    for name, text in facts:
        out.print(Text(name.ljust(width), style="bold") + Text(text), soft_wrap=True)


def help_text(text: str) -> str:
    """Join the lines of each paragraph: the help page breaks them to fit the terminal."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def size_text(n_bytes: float) -> str:
    """Bytes for people: three digits and a decimal unit."""
    value, unit = float(n_bytes), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.3g} {_UNITS[unit]}"


class Work:
    """One line of progress: what is being done, how far it is, for how long.

    Parameters
    ----------
    progress : Progress
        Where it is drawn.
    task : TaskID
        The line in it.
    """

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def describe(self, text: str) -> None:
        """Say what is being done now."""
        self._progress.update(self._task, description=text)

    def advance_to(self, done: float, total: float) -> None:
        """Show how far it is."""
        self._progress.update(self._task, completed=done, total=total)


@contextlib.contextmanager
def working(text: str) -> Iterator[Work]:
    """Show progress on stderr until the block ends; on a terminal only, and gone afterwards."""
    columns: tuple[Any, ...] = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=errors(), transient=True, disable=not errors().is_terminal) as progress:
        yield Work(progress, progress.add_task(text, total=None))
