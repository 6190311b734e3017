"""What a file of records says: verdicts by estimator and family, and the seeds that failed."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from benchmarks.differential.judge import VERDICTS

Record = dict[str, Any]

FAILURES = ("crash", "hang", "wrong", "bound_violated", "refused_wrong", "estimate_low", "objective_off")
_CONDITION = 1e12  # below it at most a share of the problems may be undecided
_MOST_SEEDS = 40


def summary(records: list[Record]) -> str:
    """Return the report of all records."""
    parts = [
        _counts("all", records, lambda record: record["stream"]),
        _counts("estimator", records, name_of),
        _counts("solver", records, lambda record: f"{record['params']['solver']} {record['params']['bits']}"),
        _counts("family", records, lambda record: record["family"]),
        _undecided(records),
        _seconds(records),
        *(_seeds(name, records) for name in FAILURES),
    ]
    return "\n\n".join(part for part in parts if part)


def name_of(record: Record) -> str:
    """Name an estimator with its loss."""
    loss = record["params"].get("loss")
    return f"{record['estimator']}({loss})" if loss else record["estimator"]


def faults(record: Record) -> list[str]:
    """All that is wrong with one fit; the verdict is the worst of it."""
    return record.get("faults") or [record["verdict"]]


def one_line(record: Record) -> str:
    """Name a problem and its verdict in a line."""
    known = [key for key in ("gap", "bound", "condition") if record.get(key) is not None]
    parts = [
        f"{record['stream']} {record['seed']} {','.join(faults(record))}:",
        f"{name_of(record)} {record['n']}x{record['d']} [{','.join(record['traits'])}]",
        record.get("status", ""),
        *(f"{key}={record[key]:.1e}" for key in known),
        *(f"{key}={value}" for key, value in record["params"].items()),
    ]
    return " ".join(part for part in parts if part)


def _counts(title: str, records: list[Record], key: Callable[[Record], str]) -> str:
    table: dict[str, Counter[str]] = {}
    for record in records:
        table.setdefault(key(record), Counter()).update([record["verdict"]])
    columns = [verdict for verdict in VERDICTS if any(row[verdict] for row in table.values())]
    rows = [
        [name, str(row.total()), *(str(row[verdict] or "") for verdict in columns)]
        for name, row in sorted(table.items())
    ]
    return _table([title, "problems", *columns], rows)


def _undecided(records: list[Record]) -> str:
    """Share of the problems that were left undecided though they are not hard."""
    easy = [
        r for r in records if r.get("condition") is not None and r["condition"] < _CONDITION and "status" in r
    ]
    easy = [r for r in easy if r["verdict"] != "not_counted"]
    undecided = [r for r in easy if "undecided" in faults(r)]
    share = len(undecided) / max(len(easy), 1)
    ways = Counter(f"{r['params']['solver']}: {r['status']}" for r in undecided)
    listed = ", ".join(f"{way} {count}" for way, count in ways.most_common())
    count = f"{len(undecided)} of {len(easy)}, {share:.2%} ({listed})"
    return f"undecided below a condition number of {_CONDITION:.0e}: {count}"


def _seconds(records: list[Record]) -> str:
    fits = sorted(record["seconds"] for record in records if "seconds" in record)
    references = sorted(record["reference_seconds"] for record in records if "reference_seconds" in record)
    return "\n".join(
        f"seconds of {name}: mean {sum(s) / len(s):.3f}, longest {s[-1]:.1f}"
        for name, s in (("a fit", fits), ("a reference", references))
        if s
    )


def _seeds(name: str, records: list[Record]) -> str:
    failing = [record for record in records if name in faults(record)]
    if not failing:
        return ""
    more = f"\n... and {len(failing) - _MOST_SEEDS} more" if len(failing) > _MOST_SEEDS else ""
    return f"{name}: {len(failing)}\n" + "\n".join(map(one_line, failing[:_MOST_SEEDS])) + more


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
