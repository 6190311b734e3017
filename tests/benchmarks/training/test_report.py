"""Tables of the study: caught the wrong order of rows and runs that diverged left out of the verdict."""

import pytest
from benchmarks.harness import ROOT

from benchmarks.training import report, store

CARD = {
    "kind": "card",
    "processor": "p",
    "cores": 1,
    "kernels": "k",
    "memory_gib": 1,
    "python": "3",
    "versions": {},
    "date": "2026-01-02T00:00:00",
}


def run(contestant, seed, loss, size):
    arguments = {"contestant": contestant, "seed": seed, "beta2": 0.999}
    measured = {"loss": loss, "bytes_per_parameter": size}
    return {
        "kind": "run",
        "function": "train",
        "arguments": arguments,
        "status": "done",
        "measured": measured,
    }


@pytest.fixture
def results(monkeypatch):
    folder = ROOT / "benchmarks" / "nowhere"
    records = [CARD]
    for seed in range(3):
        records += [
            run(report.REFERENCE, seed, 2.0, 14.0),
            run("mixed", seed, 2.0 + 1e-4 * (seed - 1), 14.0),
            run("small", seed, 2.0 + 1e-5 * seed, 3.0),
            run("bad", seed, 2.1 + 1e-4 * seed, 6.0),
            run("wild", seed, None, 4.0),
        ]
    monkeypatch.setattr(store, "RESULTS", folder)
    monkeypatch.setattr(store, "read_records", lambda path: records)


def rows(table):
    cells = [
        [c.strip() for c in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("| `")
    ]
    return {row[0].strip("`"): row for row in cells}


def test_tables_are_sorted_by_bytes_and_give_a_verdict_to_everybody(results):
    found = rows(report.scratch_table(report.Part("", "x", low_noise=False)))
    assert list(found) == ["mixed", "bad", "wild", "small"]
    assert found["small"][-1] == found["mixed"][-1] == "parity"
    assert found["bad"][-1] == "worse"
    assert found["bad"][3].startswith("+5.0")
    assert found["wild"][-1] == "diverges in 3 of 3"


def test_the_low_noise_table_judges_by_the_spread_of_near_exact_storages(results):
    found = rows(report.low_noise_table(report.Part("", "x", low_noise=True)))
    assert found["small"][3].startswith("+0.10 ±")
    assert found["small"][-1] == "within"
    assert found["bad"][-1] == "higher"


def test_the_overview_has_one_line_for_each_contestant(results):
    assert set(rows(report.overview())) == {"mixed", "bad", "wild", "small"}
