"""Would catch: a verdict that lets pass what it must not: unlisted failures, listed passes, wrong numbers.

Seen failing with each rule of `judge` and `_count` taken out in turn, and with brackets that are not escaped.
"""

import pytest
from tests.conformance.verdict import MODES, Entry, judge, table

MODULE = "svm.tests.test_svm"
ENTRY = Entry(f"{MODULE}::test_a[*]", "sparse", "sparse matrix", dict.fromkeys(MODES, 1))


def row(test="test_a[1]", outcome="failed", why="DataError: X is a sparse matrix", ours=1, theirs=0):
    return {"test": f"{MODULE}::{test}", "outcome": outcome, "why": why, "ours": ours, "theirs": theirs}


def problems(*rows, entries=(ENTRY,), mode="auto", modules=(MODULE,)):
    return judge(rows, mode, modules, list(entries)).problems


def test_what_is_as_listed_is_no_problem():
    passing, apart = row("test_b", "passed", ""), row("test_c", "passed", "", ours=0)
    verdict = judge([row(), passing, apart, row("test_d", "skipped")], "auto", [MODULE], [ENTRY])
    assert (verdict.problems, verdict.passed, verdict.apart, verdict.skipped) == ([], 1, 1, 1)
    assert verdict.listed == {"sparse": 1}


def test_a_failure_that_is_not_listed_is_a_problem():
    assert "fails: DataError" in problems(row(), row("test_b"))[0]


def test_a_failure_for_another_reason_is_a_problem():
    assert (
        "listed for another reason, 'sparse'" in problems(row(), row("test_a[2]", why="ZeroDivisionError"))[0]
    )


def test_a_listed_test_that_passes_is_a_problem():
    assert "passes, but is listed" in problems(row(), row("test_a[2]", "passed", ""))[0]


@pytest.mark.parametrize("rows", [[row("test_b", "passed", "")], [row(), row("test_a[2]")]])
def test_another_number_of_failures_is_a_problem(rows):
    assert "1 are listed" in problems(*rows)[0]


def test_a_test_that_two_patterns_match_is_a_problem():
    wide = Entry(f"{MODULE}::test_*", "l1", "l1", {"auto": 0, "8 bits": 0})
    assert problems(row(), entries=[ENTRY, wide]) == []
    assert "listed twice" in problems(row(), entries=[ENTRY, ENTRY])[0]


def test_a_fit_by_scikit_learns_own_estimator_is_a_problem():
    assert "fits by scikit-learn's own" in problems(row(), row("test_b", "passed", "", theirs=2))[0]


def test_a_module_without_tests_is_a_problem():
    assert problems(row(), modules=(MODULE, "svm.tests.test_bounds")) == [
        "svm.tests.test_bounds: no test was run"
    ]


def test_entries_of_other_modules_and_modes_are_left_alone():
    other = Entry("svm.tests.test_bounds::test_a", "sparse", "sparse", dict.fromkeys(MODES, 1))
    packed = Entry(f"{MODULE}::test_b", "sparse", "sparse", {"4 bits": 1})
    assert problems(row(), entries=[ENTRY, other, packed]) == []
    assert len(problems(row(), entries=[ENTRY, other, packed], mode="4 bits")) == 1


def test_brackets_of_a_pattern_are_brackets():
    assert ENTRY.covers(row("test_a[csr-1]"))
    assert not ENTRY.covers(row("test_a1"))


def test_every_reason_says_why_and_every_pattern_is_of_a_module():
    entries = table()
    assert all("::" in entry.pattern and entry.reason and entry.failure for entry in entries)
    listed = [(entry.pattern, mode) for entry in entries for mode in entry.counts]
    assert len(set(listed)) == len(listed)
    assert all(set(entry.counts) <= set(MODES) for entry in entries)
