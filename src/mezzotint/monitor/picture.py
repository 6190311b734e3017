"""The picture of a run: EDQ, lost updates and second moments over steps."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mezzotint.errors import DataError
from mezzotint.monitor.rows import Row
from mezzotint.monitor.sinks import read_csv

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot"]

Run = Iterable[Row] | str | os.PathLike[str]

_PANELS = (
    ("EDQ ratio, full weight", "edq_full_ratio", 1.0),
    ("updates lost by the full weight", "lost_full", 0.0),
    ("second moment / true one", "v_ratio", 1.0),
)


def plot(runs: Run | Mapping[str, Run], name: str = "total") -> Figure:
    """Draw what was lost over the steps of one run or several.

    Parameters
    ----------
    runs : list of Row, str, path, or dict of these
        `PrecisionMonitor.history` or the path of its CSV file; a dict compares runs by label.
    name : str, default "total"
        Which parameter or group to draw.

    Returns
    -------
    matplotlib.figure.Figure
        Three panels; a dotted line marks where nothing is lost. ``savefig`` writes it.

    Raises
    ------
    DataError
        If a run has no row of this name.

    Examples
    --------
    >>> from mezzotint.monitor.rows import SUMS, make_row
    >>> history = [make_row(step, "total", "total", 0.1, dict.fromkeys(SUMS, 1.0)) for step in (100, 200)]
    >>> len(plot(history).axes)
    3
    """
    from matplotlib.figure import Figure

    labelled: Mapping[str, Run] = runs if isinstance(runs, Mapping) else {name: runs}
    figure = Figure(figsize=(10.5, 3.3), layout="constrained")
    panels = figure.subplots(1, len(_PANELS))
    for label, run in labelled.items():
        _draw(panels, label, _rows_of(run, name))
    for ax, (title, _, ideal) in zip(panels, _PANELS, strict=True):
        ax.axhline(ideal, color="black", linestyle=":", linewidth=1)
        ax.set(title=title, xlabel="step")
        ax.grid(alpha=0.3)
    panels[0].legend(frameon=False)
    return figure


def _rows_of(run: Run, name: str) -> list[Row]:
    rows = read_csv(run) if isinstance(run, str | os.PathLike) else list(run)
    found = [row for row in rows if row.name == name]
    if not found:
        raise DataError(
            f"no measurement of {name!r} came; there are {', '.join(dict.fromkeys(row.name for row in rows))}"
        )
    return found


def _draw(panels: Any, label: str, rows: list[Row]) -> None:  # noqa: ANN401 - matplotlib's
    steps = [row.step for row in rows]
    for ax, (_, figure, _) in zip(panels, _PANELS, strict=True):
        ax.plot(steps, [getattr(row, figure) for row in rows], label=label)
