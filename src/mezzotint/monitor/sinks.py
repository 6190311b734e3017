"""Where measurements go: a CSV file, TensorBoard, or any function of (step, numbers)."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Callable
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

from mezzotint.errors import FileError, ParameterError
from mezzotint.monitor.rows import Row

__all__ = ["Sink", "flat", "read_csv", "sink_for"]

Sink = Callable[[int, list[Row]], None]

_HEADER = tuple(field.name for field in fields(Row))


def sink_for(target: Any, start: int) -> Sink:  # noqa: ANN401 - a path, a writer or a function
    """Make a sink of what a user names.

    Parameters
    ----------
    target : str, path, SummaryWriter or callable
        A path is a CSV file; an object with ``add_scalar`` is TensorBoard's; a function gets ``(step,
        dict)``.
    start : int
        Steps that the run has made: later rows of an existing file are dropped.

    Returns
    -------
    callable
        Takes the step and its rows.

    Raises
    ------
    ParameterError
        If it is none of these.
    FileError
        If the file exists and is not a monitor's.
    """
    if isinstance(target, str | os.PathLike):
        return _CSV(Path(target), start)
    if hasattr(target, "add_scalar"):
        return lambda step, rows: _scalars(target, step, rows)
    if callable(target):
        return lambda step, rows: target(step, flat(rows))
    raise ParameterError(
        f"write came as {type(target).__name__}; pass a path of a CSV file, a SummaryWriter, a function of "
        "(step, dict), or a list of these"
    )


def flat(rows: list[Row]) -> dict[str, float]:
    """Give the figures of a measurement as one dict, without those that are not defined.

    Parameters
    ----------
    rows : list of Row
        Of one step.

    Returns
    -------
    dict of str to float
        Keys such as "precision/total/edq_ratio" and "precision/parameter/wte.weight/lost".

    Examples
    --------
    >>> from mezzotint.monitor.rows import SUMS, make_row
    >>> flat([make_row(1, "total", "total", 0.5, dict.fromkeys(SUMS, 1.0))])["precision/total/edq"]
    1.0
    """
    numbers = {}
    for row in rows:
        path = "total" if row.kind == "total" else f"{row.kind}/{row.name}"
        for name in Row.numbers():
            value = getattr(row, name)
            if not math.isnan(value):
                numbers[f"precision/{path}/{name}"] = value
    return numbers


def read_csv(path: str | os.PathLike[str]) -> list[Row]:
    """Read the measurements that a monitor has written; a line cut off by a crash is left out.

    Parameters
    ----------
    path : str or path
        The file.

    Returns
    -------
    list of Row
        As `PrecisionMonitor.history` holds them.

    Raises
    ------
    FileError
        If it cannot be read or is not a monitor's file.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise FileError(f"{path} cannot be read ({error.strerror}); pass the path given as write=") from error
    # A whole line ends with a line feed, a torn one does not.
    lines = list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1])))
    if not lines or tuple(lines[0]) != _HEADER:
        raise FileError(f"{path} does not begin with a monitor's header; pass another path, or move it away")
    return [_row(line) for line in lines[1:]]


class _CSV:
    """A file that grows by whole measurements; one that exists is continued."""

    def __init__(self, path: Path, start: int) -> None:
        self._path = path
        kept = [row for row in read_csv(path) if row.step <= start] if _exists(path) else []
        part = path.with_name(path.name + ".part")
        part.write_text(_lines([_HEADER, *map(astuple, kept)]), encoding="utf-8")
        part.replace(path)

    def __call__(self, step: int, rows: list[Row]) -> None:
        """Append in one write, so that a reader sees a measurement whole or, after a crash, cut off."""
        with self._path.open("ab", buffering=0) as file:
            file.write(_lines(map(astuple, rows)).encode())


def _exists(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _lines(rows: Any) -> str:  # noqa: ANN401 - rows of anything that csv writes
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _row(line: list[str]) -> Row:
    read = {"str": str, "int": int, "float": float}
    return Row(*(read[str(field.type)](cell) for field, cell in zip(fields(Row), line, strict=True)))


def _scalars(writer: Any, step: int, rows: list[Row]) -> None:  # noqa: ANN401 - TensorBoard is not imported here
    for key, value in flat(rows).items():
        writer.add_scalar(key, value, step)
