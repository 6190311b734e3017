"""Measurements know whether they were alone on the machine."""

import subprocess
import sys
import time

from benchmarks import disturbance


def spin(seconds: float) -> None:
    stop = time.perf_counter() + seconds
    while time.perf_counter() < stop:
        pass


def test_our_own_work_and_our_children_are_no_disturbance(monkeypatch):
    monkeypatch.setattr(disturbance, "_busy_s", lambda: disturbance._own_s() + 5.0)
    count = disturbance.Disturbance()
    spin(0.2)
    subprocess.run([sys.executable, "-c", "sum(range(3_000_000))"], check=True)
    assert count.other_cores < 0.01


def test_others_are_counted_in_cores(monkeypatch):
    others = iter([10.0, 11.0])
    monkeypatch.setattr(disturbance, "_busy_s", lambda: disturbance._own_s() + next(others))
    monkeypatch.setattr(disturbance.time, "perf_counter", iter([0.0, 2.0]).__next__)
    assert abs(disturbance.Disturbance().other_cores - 0.5) < 0.05


def test_a_table_says_when_it_was_disturbed_or_when_nobody_knows():
    assert disturbance.warning([0.0, 0.05]) == ""
    assert "0.9 cores" in disturbance.warning([0.0, 0.9])
    assert "Not recorded" in disturbance.warning([0.0, None])
