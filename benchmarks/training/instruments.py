"""What the runs say: paired differences to the reference, their intervals, and verdicts in words.

The low-noise instrument (fine-tuning from a checkpoint at a constant rate) repeats to a few parts in 10^5, so
it sees how a storage errs, but only over few steps near a minimum. Training from scratch sees what happens in
a whole run, but a change in the last bit moves its loss by some tenths of a percent: only means over seeds
say something, and only down to the width of their interval.
"""

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from scipy import stats

REFERENCE = "torch fp32 master"
PARITY = 0.005  # of the reference's loss: a paired interval inside it is parity
_LEVEL = 0.95

Losses = dict[tuple[Any, ...], float | None]  # (checkpoint, seed): final loss, None where it diverged


@dataclass(frozen=True)
class Difference:
    """Losses less those of the reference in the same pairs.

    Attributes
    ----------
    mean : float
        Mean difference in nats; NaN without a pair.
    half_width : float
        Half of the 95 % t-interval of the mean; infinite for fewer than two pairs.
    base : float
        Mean loss of the reference in these pairs.
    n, n_diverged : int
        Pairs, and further ones in which the loss left the finite numbers.
    """

    mean: float
    half_width: float
    base: float
    n: int
    n_diverged: int = 0

    @property
    def relative(self) -> float:
        """Mean difference over the reference's loss."""
        return self.mean / self.base

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval, over the reference's loss."""
        return (self.mean - self.half_width) / self.base, (self.mean + self.half_width) / self.base


def losses(records: Iterable[Mapping[str, Any]], **wanted: object) -> dict[str, Losses]:
    """Final losses per contestant and pair, of the finished runs whose arguments are as wanted."""
    found: dict[str, Losses] = {}
    for record in records:
        arguments = record["arguments"]
        if all(arguments.get(name) == value for name, value in wanted.items()):
            pair = (arguments.get("checkpoint"), arguments["seed"])
            found.setdefault(arguments["contestant"], {})[pair] = record["measured"]["loss"]
    return found


def half_width(values: list[float]) -> float:
    """Half of the 95 % interval of the mean by Student's t, as values are few and their spread is unknown."""
    if len(values) < 2:
        return math.inf
    quantile = float(stats.t.ppf((1 + _LEVEL) / 2, len(values) - 1))
    return quantile * statistics.stdev(values) / math.sqrt(len(values))


def paired(mine: Losses, reference: Losses) -> Difference:
    """Compare over the pairs that both have run; a loss is never compared with one of another seed."""
    common = [pair for pair in mine if reference.get(pair) is not None]
    alive = [pair for pair in common if mine[pair] is not None]
    deltas = [mine[pair] - reference[pair] for pair in alive]  # type: ignore[operator]
    return Difference(
        mean=statistics.fmean(deltas) if deltas else math.nan,
        half_width=half_width(deltas),
        base=statistics.fmean(reference[pair] for pair in alive) if alive else math.nan,  # type: ignore[misc]
        n=len(deltas),
        n_diverged=len(common) - len(alive),
    )


def spread(near_exact: Iterable[Losses], reference: Losses) -> float:
    """Largest single paired difference of storages that lose next to nothing: they agree within it."""
    deltas = [
        mine[pair] - reference[pair]  # type: ignore[operator]
        for mine in near_exact
        for pair in mine
        if mine[pair] is not None and reference.get(pair) is not None
    ]
    return max(map(abs, deltas), default=math.nan)


def scratch_verdict(difference: Difference) -> str:
    """Say whether the interval is inside, outside or across the limits of parity."""
    if difference.n_diverged:
        return f"diverges in {difference.n_diverged} of {difference.n + difference.n_diverged}"
    low, high = difference.interval
    if low >= -PARITY and high <= PARITY:
        return "parity"
    if low > PARITY:
        return "worse"
    if high < -PARITY:
        return "better"
    return "open, higher" if low > 0 else "open, lower" if high < 0 else "open"


def low_noise_verdict(difference: Difference, noise: float, scale: float) -> str:
    """Say whether the mean is within the spread of near-exact storages.

    A difference beyond that which is no larger than `scale`, what a tenth more of learning rate does, is
    called slight: it is real and matters to nobody.
    """
    if difference.n_diverged:
        return f"diverges in {difference.n_diverged} of {difference.n + difference.n_diverged}"
    if abs(difference.mean) <= noise:
        return "within"
    size = "slightly " if abs(difference.mean) <= scale else ""
    return size + ("higher" if difference.mean > 0 else "lower")
