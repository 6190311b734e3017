"""Compares outcomes of scikit-learn's tests with the table of what our estimators do not do.

The table lies in `listed/`: reasons, each with the words that a failure must hold, and patterns of tests
(`*` is anything) with how many fail for it. A wrong number, a listed test that passes and a failure that is
not listed are problems, and so is a fit by an estimator of scikit-learn's in place of one of ours.
"""

import functools
import pathlib
import re
import tomllib
from collections import Counter
from dataclasses import dataclass, field

LISTED = pathlib.Path(__file__).resolve().parent / "listed"
MODES = ("auto", "8 bits", "4 bits")


@dataclass(frozen=True)
class Entry:
    """A pattern of tests that fail for one reason, and how many do in each mode."""

    pattern: str
    reason: str
    failure: str
    counts: dict[str, int]

    @functools.cached_property
    def _expression(self):
        return re.compile(".*".join(re.escape(part) for part in self.pattern.split("*")))

    def covers(self, row):
        return self._expression.fullmatch(row["test"]) is not None

    def explains(self, row):
        return re.search(self.failure, row["why"]) is not None


@dataclass
class Verdict:
    """What one run came to.

    `passed` counts tests that fitted one of our estimators, `apart` those that passed without; `listed`
    counts failures by reason, `patterns` by pattern.
    """

    passed: int = 0
    apart: int = 0
    skipped: int = 0
    fits: int = 0
    listed: Counter = field(default_factory=Counter)
    patterns: Counter = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


def table(folder=LISTED):
    """All entries of the files in `folder`."""
    entries = []
    for path in sorted(folder.glob("*.toml")):
        for name, reason in tomllib.loads(path.read_text()).items():
            for pattern, count in reason["tests"].items():
                counts = count if isinstance(count, dict) else dict.fromkeys(MODES, count)
                entries.append(Entry(pattern, name, reason["failure"], counts))
    return entries


def judge(rows, mode, modules, entries):
    """Return the verdict on the rows of one run of some modules."""
    verdict = Verdict(fits=sum(row["ours"] for row in rows))
    mine = [e for e in entries if e.counts.get(mode) and e.pattern.partition("::")[0] in modules]
    for row in rows:
        _count(verdict, row, [entry for entry in mine if entry.covers(row)])
    for entry in mine:
        if (number := verdict.patterns[entry.pattern]) != entry.counts[mode]:
            verdict.problems.append(f"{entry.pattern}: {entry.counts[mode]} are listed, {number} failed")
    silent = set(modules) - {row["test"].partition("::")[0] for row in rows}
    verdict.problems += [f"{module}: no test was run" for module in sorted(silent)]
    return verdict


def _count(verdict, row, covering):
    """Add one test to the verdict; `covering` are the entries whose pattern it matches."""
    if row["theirs"]:
        verdict.problems.append(f"{row['test']}: {row['theirs']} fits by scikit-learn's own estimator")
    if len(covering) > 1:
        verdict.problems.append(f"{row['test']}: listed twice, {[entry.pattern for entry in covering]}")
    if row["outcome"] == "failed":
        _count_failure(verdict, row, covering)
    elif row["outcome"] == "skipped":
        verdict.skipped += 1
    elif covering:
        verdict.problems.append(f"{row['test']}: passes, but is listed under {covering[0].reason!r}")
    elif row["ours"]:
        verdict.passed += 1
    else:
        verdict.apart += 1


def _count_failure(verdict, row, covering):
    entry = next((entry for entry in covering if entry.explains(row)), None)
    if entry is None:
        listed = f" (listed for another reason, {covering[0].reason!r})" if covering else ""
        verdict.problems.append(f"{row['test']}: fails{listed}: {row['why'][:300]}")
        return
    verdict.listed[entry.reason] += 1
    verdict.patterns[entry.pattern] += 1
