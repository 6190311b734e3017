"""The tables of the study, made from its result files; nothing here needs torch."""

import math
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from benchmarks.card import one_line
from benchmarks.harness import ROOT, Record
from benchmarks.training import instruments, store
from benchmarks.training.instruments import REFERENCE, Difference, Losses

NEAR_EXACT = ("fp32", "mixed", "exact32", "exact16", "collage-plus", f"{REFERENCE}, weights jittered")
LONGER = f"{REFERENCE}, rate +10 %"


@dataclass(frozen=True)
class Part:
    """What one result file says about training.

    Attributes
    ----------
    title : str
        Heading of its column in the overview.
    plan : str
        Name of the file.
    low_noise : bool
        Which of the two instruments it is.
    near_exact : str
        Name of the file whose near-exact storages say what the noise is; empty: its own.
    """

    title: str
    plan: str
    low_noise: bool
    near_exact: str = ""

    def runs(self) -> list[Record]:
        """Finished runs of the contestants."""
        return _trainings(self.plan)

    def verdicts(self) -> dict[str, tuple[Difference, str]]:
        """Difference to the reference and what it means, per contestant."""
        found = instruments.losses(self.runs())
        reference = found.get(REFERENCE, {})
        differences = {name: instruments.paired(mine, reference) for name, mine in found.items()}
        return {
            name: (d, self._verdict(d, differences))
            for name, d in differences.items()
            if name != REFERENCE and d.n + d.n_diverged
        }

    def noise(self) -> float:
        """Largest difference of a single run of a near-exact storage."""
        found = instruments.losses(_trainings(self.near_exact or self.plan))
        return instruments.spread((found[n] for n in NEAR_EXACT if n in found), found.get(REFERENCE, {}))

    def _verdict(self, difference: Difference, all_differences: dict[str, Difference]) -> str:
        if not self.low_noise:
            return instruments.scratch_verdict(difference)
        scale = all_differences.get(LONGER)
        return instruments.low_noise_verdict(difference, self.noise(), abs(scale.mean) if scale else 0.0)


PARTS = (
    Part("fine-tune 0.999", "fine-tune-0.999", low_noise=True),
    Part("fine-tune 0.95", "fine-tune-0.95", low_noise=True),
    Part("scratch 0.999", "scratch-0.999", low_noise=False),
    Part("scratch 0.95", "scratch-0.95", low_noise=False),
    Part("LSTM fine-tune", "fine-tune-lstm", low_noise=True),
    Part("LSTM scratch", "scratch-lstm", low_noise=False),
)
IDEAS = Part("ideas", "ablations", low_noise=True, near_exact="fine-tune-0.999")


def finished_runs(plan: str) -> list[Record]:
    """Runs of a plan that gave a result, each once."""
    return list(store.finished(store.read_records(store.RESULTS / f"{plan}.jsonl")).values())


def _trainings(plan: str) -> list[Record]:
    """Runs of contestants; a plan may also have made checkpoints."""
    return [run for run in finished_runs(plan) if "contestant" in run["arguments"]]


def bytes_of(runs: Iterable[Record]) -> dict[str, float]:
    """Measured bytes per parameter of every contestant."""
    return {r["arguments"]["contestant"]: r["measured"]["bytes_per_parameter"] for r in runs}


def low_noise_table(part: Part) -> str:
    """Differences of fine-tuning in units of 10^-4 nats."""
    runs, verdicts = part.runs(), part.verdicts()
    rows = [
        [*_cells(name, runs), f"{1e4 * d.mean:+.2f} ± {_number(1e4 * d.half_width)}", str(d.n), verdict]
        for name, (d, verdict) in _by_bytes(verdicts, runs)
    ]
    head = ["contestant", "bytes", "loss", "difference, 10⁻⁴", "runs", "verdict"]
    note = (
        f"Reference `{REFERENCE}`: {_mean(instruments.losses(runs)[REFERENCE])}. "
        f"Single runs of near-exact storages agree with it within {1e4 * part.noise():.2f}·10⁻⁴; "
        "slightly: no more than what a tenth more of learning rate does."
    )
    return f"{_table(head, rows)}\n\n{note}\n\n{_foot(part.plan)}"


def scratch_table(part: Part) -> str:
    """Differences from scratch in percent of the reference's loss."""
    runs, verdicts = part.runs(), part.verdicts()
    rows = [
        [*_cells(name, runs), f"{d.relative:+.2%}", _interval(d), str(d.n), verdict]
        for name, (d, verdict) in _by_bytes(verdicts, runs)
    ]
    head = ["contestant", "bytes", "loss", "difference", "95 % interval", "seeds", "verdict"]
    note = f"Reference `{REFERENCE}`: {_mean(instruments.losses(runs)[REFERENCE])}."
    return f"{_table(head, rows)}\n\n{note}\n\n{_foot(part.plan)}"


def overview() -> str:
    """One line per contestant: bytes and the verdict of every instrument."""
    parts = [part for part in PARTS if part.runs()]
    columns = [part.verdicts() for part in parts]
    sizes = bytes_of(run for part in parts for run in part.runs())
    names = sorted({name for column in columns for name in column}, key=lambda n: (-sizes[n], n))
    rows = [
        [
            f"`{name}`",
            f"{sizes[name]:.2f}",
            *(column[name][1] if name in column else "" for column in columns),
        ]
        for name in names
    ]
    return _table(["contestant", "bytes", *(part.title for part in parts)], rows)


def drift_table() -> str:
    """Stored over true second moment in both phases for both decay rates, and the length of a step."""
    found: dict[str, dict[float, Record]] = {}
    for run in finished_runs("drift"):
        arguments = run["arguments"]
        found.setdefault(arguments["contestant"], {})[arguments["beta2"]] = run["measured"]
    cases = [(beta2, phase) for beta2 in (0.999, 0.95) for phase in ("steady", "after the drop")]
    rows = [
        [f"`{name}`", *(_ratio(mine[b][phase]) if b in mine else "" for b, phase in cases), _step(mine)]
        for name, mine in found.items()
    ]
    titles = [f"{beta2}, {phase}" for beta2, phase in cases]
    return f"{_table(['contestant', *titles, 'step'], rows)}\n\n{_foot('drift')}"


def _ratio(measured: Record) -> str:
    zeros = f", {measured['zeros']:.1%} zero" if measured["zeros"] else ""
    return f"{measured['mean']:.3f} ({measured['spread']:.2f}){zeros}"


def _step(measured: dict[float, Record]) -> str:
    return f"{measured[0.999]['after the drop']['step']:.2f}" if 0.999 in measured else ""


def _cells(name: str, runs: list[Record]) -> list[str]:
    return [f"`{name}`", f"{bytes_of(runs)[name]:.2f}", _mean(instruments.losses(runs)[name])]


def _by_bytes(
    verdicts: dict[str, tuple[Difference, str]], runs: list[Record]
) -> list[tuple[str, tuple[Difference, str]]]:
    sizes = bytes_of(runs)
    return sorted(verdicts.items(), key=lambda item: (-sizes[item[0]], item[0]))


def _mean(mine: Losses) -> str:
    finite = [loss for loss in mine.values() if loss is not None]
    return f"{statistics.fmean(finite):.4f}" if finite else "none"


def _interval(difference: Difference) -> str:
    low, high = difference.interval
    return f"{low:+.2%} to {high:+.2%}" if math.isfinite(difference.half_width) else ""


def _number(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "?"


def _table(head: list[str], rows: list[list[str]]) -> str:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, rule, *rows])


def _foot(plan: str) -> str:
    path = store.RESULTS / f"{plan}.jsonl"
    cards = [record for record in store.read_records(path) if record["kind"] == "card"]
    return f"<sub>From `{path.relative_to(ROOT)}`: {one_line(cards[-1])}.</sub>"


def _maker(part: Part) -> Callable[[], str]:
    make = low_noise_table if part.low_noise else scratch_table
    return lambda: make(part)


TABLES: dict[str, Callable[[], str]] = {
    "training-overview": overview,
    "training-drift": drift_table,
    **{f"training-{part.plan}": _maker(part) for part in (*PARTS, IDEAS)},
}
