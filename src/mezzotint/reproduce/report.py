"""What a reproduction hands back: numbers, statements about them, and what to draw."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

__all__ = ["Cell", "Finding", "Picture", "Report"]

Cell = str | int | float | None
Axis = Literal["linear", "log"]


class Finding(NamedTuple):
    """A statement of the paper and whether it holds here.

    Examples
    --------
    >>> Finding("optimal levels are never worse", True).holds
    True
    """

    statement: str
    """One sentence."""
    holds: bool
    """Whether the numbers of this run say so."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """Lines over one pair of axes.

    Examples
    --------
    >>> Picture(title="loss", x="epoch", y="loss", lines={"float": [(1, 0.5), (2, 0.4)]}).x_scale
    'linear'
    """

    title: str
    x: str
    """Name of the horizontal axis."""
    y: str
    """Name of the vertical axis."""
    lines: dict[str, list[tuple[float, float]]]
    """Points (x, y) of each line; lines called "group: variant" share the colour of their group."""
    x_scale: Axis = "linear"
    y_scale: Axis = "linear"


@dataclass(frozen=True, kw_only=True)
class Report:
    """One reproduction, computed.

    Examples
    --------
    >>> report = Report(title="t", claim="c", columns=("bits",), rows=[(3,)], settings={"seed": 0})
    >>> report.failed
    []
    """

    title: str
    claim: str
    """What the paper says, with its place."""
    columns: tuple[str, ...]
    rows: list[tuple[Cell, ...]]
    """One cell per column; None where the paper or this run has no number."""
    settings: dict[str, Any]
    """Sizes, seeds, steps: all that the numbers depend on, as JSON values."""
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What a reader must know: data left out, choices the paper does not state."""
    picture: Picture | None = None

    @property
    def failed(self) -> list[str]:
        """Statements that do not hold in this run."""
        return [finding.statement for finding in self.findings if not finding.holds]
