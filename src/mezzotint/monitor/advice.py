"""What measurements mean, in sentences: one rule per function, thresholds at the top."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from mezzotint.monitor.rows import Row
from mezzotint.monitor.storage import Averaging, Facts

__all__ = ["Observation", "advise", "stalled_share"]

_LAST = 5  # measurements that advice looks at
_LOST_SHARE, _EDQ_RATIO = 0.2, 0.9  # lost updates matter where they pull the EDQ ratio below this
_V_OFF = 0.1  # of the ratio of second moments to 1
_SATURATED = 0.2  # of the codes
_NAMED = 3  # parameters named per sentence
_NAMES = {torch.bfloat16: "bfloat16", torch.float16: "float16", torch.float32: "float32"}


@dataclass(frozen=True)
class Observation:
    """What is known of a parameter besides its figures.

    Attributes
    ----------
    facts : Facts
        How it is stored.
    group : int
        Its group.
    averaging : Averaging or None
        How its second moment averages.
    """

    facts: Facts
    group: int
    averaging: Averaging | None


def stalled_share(beta2: float) -> float:
    """Compute the share of bfloat16 numbers that cannot decay: those with RN(beta2 v) = v.

    A second moment that is rounded to nearest after each step, with gradients that have become small, stays
    where it is for these.

    Parameters
    ----------
    beta2 : float
        Factor of the average, in [0, 1].

    Returns
    -------
    float
        Share of the 128 significands: 0 up to 0.996, 1 from 0.999 on.

    Examples
    --------
    >>> stalled_share(0.95), stalled_share(0.999)
    (0.0, 1.0)
    """
    v = 1 + torch.arange(128, dtype=torch.float32) / 128
    return float(((v * beta2).to(torch.bfloat16).float() == v).float().mean())


@dataclass(frozen=True)
class _Evidence:
    """The last measurements of one parameter, and what is known of it."""

    name: str
    rows: list[Row]
    known: Observation

    @property
    def last(self) -> Row:
        return self.rows[-1]

    def mean(self, figure: str) -> float:
        """Average a figure over the measurements in which it is defined; NaN if there are none."""
        values = [value for row in self.rows if not math.isnan(value := getattr(row, figure))]
        return sum(values) / len(values) if values else math.nan

    @property
    def edq_ratio(self) -> float:
        """EDQ ratio of the full weight, all measurements taken together."""
        known = [row for row in self.rows if row.intended_norm > 0]
        whole = sum(row.intended_norm**2 for row in known)
        return sum(row.edq_full * row.intended_norm for row in known) / whole if whole else math.nan


def advise(measurements: list[list[Row]], observations: dict[str, Observation], every: int) -> list[str]:
    """Apply all rules to the last measurements.

    Parameters
    ----------
    measurements : list of list of Row
        In order of steps.
    observations : dict of str to Observation
        By name of the parameter.
    every : int
        Steps between measurements.

    Returns
    -------
    list of str
        Sentences, the most urgent first.
    """
    if not measurements:
        return [f"Nothing was measured yet: a measurement is made every {every} steps."]
    rows: dict[str, list[Row]] = {}
    for row in (row for measurement in measurements[-_LAST:] for row in measurement):
        if row.kind == "parameter":
            rows.setdefault(row.name, []).append(row)
    evidence = [_Evidence(name, own, observations[name]) for name, own in rows.items()]
    found = [sentence for rule in _RULES for sentence in rule(evidence)]
    return found or [_all_is_well(measurements[-1][-1])]


def _not_finite(evidence: list[_Evidence]) -> list[str]:
    """Any weight that is infinite or NaN."""
    bad = [one for one in evidence if one.last.nonfinite > 0]
    if not bad:
        return []
    which = _worst(bad, lambda one: one.last.nonfinite)
    return [
        f"Weights are infinite or NaN in {which}: look for the step in which the loss became NaN; nothing "
        "below counts."
    ]


def _lost(evidence: list[_Evidence]) -> list[str]:
    """Updates that neither the visible weight nor anything beside it has kept, by storage and rate."""
    bad = [one for one in evidence if one.mean("lost_full") >= _LOST_SHARE and one.edq_ratio < _EDQ_RATIO]
    cases: dict[tuple[torch.dtype, str, float], list[_Evidence]] = {}
    for one in bad:
        cases.setdefault((one.known.facts.weight, one.known.facts.stored, one.last.lr), []).append(one)
    sentences = []
    for (dtype, stored, lr), own in cases.items():
        own.sort(key=lambda one: -one.mean("lost_full"))
        first = own[0]
        more = len(own) - 1
        others = f" (and of {more} more parameter{'s' if more > 1 else ''})" if more else ""
        sentences.append(
            f"{_percent(first.mean('lost_full'))} of the updates to {first.name}{others} are lost in "
            f"{_NAMES.get(dtype, str(dtype))} at lr {lr:.3g} under {stored}, "
            f"EDQ ratio {first.edq_ratio:.2f}: {_instead(dtype)}."
        )
    return sentences


def _instead(dtype: torch.dtype) -> str:
    if dtype is torch.bfloat16:
        return "use recipe 'collage-light' or '24bit' of mezzotint.optim"
    if dtype is torch.float16:
        return "use recipe 'mixed' of mezzotint.optim"
    return "the rate is too small for the size of these weights"


def _stalled(evidence: list[_Evidence]) -> list[str]:
    """Second moments in bfloat16 to nearest whose beta2 keeps them from decaying."""
    groups: dict[tuple[int, float], list[_Evidence]] = {}
    for one in evidence:
        averaging = one.known.averaging
        if averaging is not None and one.known.facts.nearest_v and stalled_share(averaging.keep) > 0:
            groups.setdefault((one.known.group, averaging.keep), []).append(one)
    return [
        f"The second moment is bfloat16 rounded to nearest in {_worst(own, _off)}: at beta2 = {keep:g} "
        f"{_percent(stalled_share(keep))} of its values cannot decay{_measured_v(own)}; "
        "use recipe 'collage-plus', '24bit' or '8bit' of mezzotint.optim, or beta2 <= 0.996."
        for (_, keep), own in groups.items()
    ]


def _measured_v(own: list[_Evidence]) -> str:
    worst = max(own, key=_off)
    ratio = worst.mean("v_ratio")
    return (
        "" if math.isnan(ratio) else f"; the worst so far, {worst.name}'s, is {ratio:.2f} times the true one"
    )


def _second_moment(evidence: list[_Evidence]) -> list[str]:
    """Second moments that are off although no stall explains it."""
    stalls = {one.name for one in evidence if _explained(one)}
    bad = [one for one in evidence if _off(one) > _V_OFF and one.name not in stalls]
    if not bad:
        return []
    worst = max(bad, key=_off)
    return [
        f"The second moment is off in {_worst(bad, _off)}: {worst.name}'s is {worst.mean('v_ratio'):.2f} "
        f"times what float64 would hold under {worst.known.facts.stored}; use recipe '24bit' or "
        "'collage-plus' for it, or measure more elements with sample= if its gradients are few and large."
    ]


def _explained(one: _Evidence) -> bool:
    averaging = one.known.averaging
    return averaging is not None and one.known.facts.nearest_v and stalled_share(averaging.keep) > 0


def _saturated(evidence: list[_Evidence]) -> list[str]:
    """Codes at the ends of their range."""
    sentences = []
    for figure, what in (
        ("second_saturated", "of the second moment's codes are at their smallest level"),
        ("first_saturated", "of the first moment's codes are at the ends of their range"),
    ):
        bad = [one for one in evidence if one.mean(figure) > _SATURATED]
        if bad:
            share = max(one.mean(figure) for one in bad)
            which = _worst(bad, lambda one, figure=figure: one.mean(figure))  # type: ignore[misc]
            sentences.append(
                f"Up to {_percent(share)} {what} in {which}: use recipe '24bit', unless these elements have "
                "no gradients."
            )
    return sentences


def _unknown(evidence: list[_Evidence]) -> list[str]:
    """Optimizers whose rule is not known."""
    unknown = sorted({one.known.facts.stored for one in evidence if not one.known.facts.rule_known})
    return [
        f"The rule of {stored} is not known here: what its steps did was measured, not what they were to do."
        for stored in unknown
    ]


_RULES: tuple[Callable[[list[_Evidence]], list[str]], ...] = (
    _not_finite,
    _lost,
    _stalled,
    _second_moment,
    _saturated,
    _unknown,
)


def _all_is_well(total: Row) -> str:
    """Say so with numbers."""
    if not total.intended_norm:
        return f"Nothing was to change at step {total.step}: all intended updates were zero."
    text = (
        f"Nothing is lost at step {total.step}: EDQ ratio {total.edq_full_ratio:.3f}, "
        f"{_percent(total.lost_full)} of the updates change nothing at once"
    )
    if not math.isnan(total.v_ratio):
        text += f", the second moment is {total.v_ratio:.3f} times the true one"
    return text + "."


def _off(one: _Evidence) -> float:
    """Give the distance of the second moment's ratio from 1; 0 where it is not known."""
    ratio = one.mean("v_ratio")
    return 0.0 if math.isnan(ratio) else abs(ratio - 1)


def _worst(evidence: list[_Evidence], key: Callable[[_Evidence], float]) -> str:
    """Name the worst parameters, and count the others."""
    ordered = sorted(evidence, key=key, reverse=True)
    names = ", ".join(one.name for one in ordered[:_NAMED])
    more = len(ordered) - _NAMED
    return f"{names} and {more} more" if more > 0 else names


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share == 0 or share >= 0.01 else f"{100 * share:.2g} %"
