"""What one measurement says: sums that add up over elements and shards, and the figures made from them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields

__all__ = ["SUMS", "Row", "make_row", "merge", "normalised"]

SUMS = (
    "elements",
    "known",
    "wanted",
    "intended_sq",
    "seen_sq",
    "seen_dot",
    "seen_lost",
    "seen_still",
    "full_sq",
    "full_dot",
    "full_lost",
    "full_still",
    "first_codes",
    "first_ends",
    "second_codes",
    "second_ends",
    "nonfinite",
    "v_count",
    "v_stored",
    "v_true",
    "v_abs",
)
"""Names of the sums. ``seen_`` is the visible weight, ``full_`` all components; ``known`` counts the elements
whose intended update is known, ``wanted`` those of them that are to change."""

Sums = dict[str, float]


@dataclass(frozen=True, slots=True)
class Row:
    """The figures of one parameter, one group or all parameters at one step; NaN where there is none.

    With i the intended update, e the effective one (weight after minus weight before), EDQ is <e, i> / |i|
    and its ratio <e, i> / |i|**2: 1 where nothing is lost. The *visible* weight is what the model multiplies
    by; the *full* one adds whatever the optimizer keeps beside it (a low part, a remainder, a master copy).

    Attributes
    ----------
    step : int
        Number of the step, counted from 1.
    kind : str
        "parameter", "group" or "total".
    name : str
        Of the parameter or group; "total" for the total.
    lr : float
        Learning rate of the group; NaN for the total.
    elements : int
        How many elements the row stands for.
    intended_norm : float
        |i|.
    effective_norm, effective_full_norm : float
        |e| of the visible and of the full weight.
    edq, edq_full : float
        <e, i> / |i|.
    edq_ratio, edq_full_ratio : float
        <e, i> / |i|**2.
    lost, lost_full : float
        Share of the non-zero intended updates after which the visible (full) weight is what it was.
    imprecision, imprecision_full : float
        Collage's share: of *all* elements, those whose weight is what it was; zero updates count as lost.
    first_saturated : float
        Share of the first moment's codes, relative to the second, at an end of their range (clipped or next
        to it).
    second_saturated : float
        Share of the second moment's codes at the smallest level, to which what lies below is raised; blocks
        of zeros do not count.
    nonfinite : float
        Share of the elements whose visible weight is infinite or NaN.
    v_ratio : float
        Sum of the stored second moment over that of its float64 shadow, on the sample.
    v_error : float
        Sum of their absolute differences over the sum of the shadow.
    """

    step: int
    kind: str
    name: str
    lr: float
    elements: int
    intended_norm: float
    effective_norm: float
    effective_full_norm: float
    edq: float
    edq_ratio: float
    edq_full: float
    edq_full_ratio: float
    lost: float
    lost_full: float
    imprecision: float
    imprecision_full: float
    first_saturated: float
    second_saturated: float
    nonfinite: float
    v_ratio: float
    v_error: float

    @classmethod
    def numbers(cls) -> tuple[str, ...]:
        """Give the names of the figures, the fields that are neither names nor counts of steps.

        Returns
        -------
        tuple of str
            From "lr" to "v_error".
        """
        return tuple(field.name for field in fields(cls))[3:]


def merge(sums: Iterable[Sums]) -> Sums:
    """Add sums up.

    Parameters
    ----------
    sums : iterable of dict
        Of several parameters.

    Returns
    -------
    dict of str to float
        Theirs together.
    """
    together = dict.fromkeys(SUMS, 0.0)
    for one in sums:
        for name in SUMS:
            together[name] += one[name]
    return together


def normalised(sums: Sums) -> Sums:
    """Express second moments in units of their mean, so that parameters of any scale add up fairly.

    Parameters
    ----------
    sums : dict of str to float
        Of one parameter, all its shards together.

    Returns
    -------
    dict of str to float
        The same, the shadow's sum being the number of samples.
    """
    unit = _ratio(sums["v_true"], sums["v_count"])
    if not unit > 0:
        return {**sums, "v_count": 0.0, "v_stored": 0.0, "v_true": 0.0, "v_abs": 0.0}
    return {**sums, **{name: sums[name] / unit for name in ("v_stored", "v_true", "v_abs")}}


def make_row(step: int, kind: str, name: str, lr: float, sums: Sums) -> Row:
    """Turn sums into figures.

    Parameters
    ----------
    step : int
        Number of the step.
    kind, name : str
        As in `Row`.
    lr : float
        Learning rate.
    sums : dict of str to float
        What was added up.

    Returns
    -------
    Row
        The figures.
    """
    size = math.sqrt(sums["intended_sq"]) if sums["known"] else math.nan
    return Row(
        step=step,
        kind=kind,
        name=name,
        lr=lr,
        elements=round(sums["elements"]),
        intended_norm=size,
        effective_norm=math.sqrt(sums["seen_sq"]),
        effective_full_norm=math.sqrt(sums["full_sq"]),
        edq=_ratio(sums["seen_dot"], size),
        edq_ratio=_ratio(sums["seen_dot"], sums["intended_sq"]),
        edq_full=_ratio(sums["full_dot"], size),
        edq_full_ratio=_ratio(sums["full_dot"], sums["intended_sq"]),
        lost=_ratio(sums["seen_lost"], sums["wanted"]),
        lost_full=_ratio(sums["full_lost"], sums["wanted"]),
        imprecision=_ratio(sums["seen_still"], sums["elements"]),
        imprecision_full=_ratio(sums["full_still"], sums["elements"]),
        first_saturated=_ratio(sums["first_ends"], sums["first_codes"]),
        second_saturated=_ratio(sums["second_ends"], sums["second_codes"]),
        nonfinite=_ratio(sums["nonfinite"], sums["elements"]),
        v_ratio=_ratio(sums["v_stored"], sums["v_true"]),
        v_error=_ratio(sums["v_abs"], sums["v_true"]),
    )


def _ratio(part: float, whole: float) -> float:
    """Divide, nothing by nothing being NaN."""
    return part / whole if whole else math.nan
