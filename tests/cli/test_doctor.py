"""Would catch: a doctor that hides what runs and why, or passes a broken kernel."""

import numpy as np

from mezzotint import kernels
from mezzotint.cli import doctor


def test_doctor_tells_what_runs_and_why(run):
    result = run("doctor")
    assert result.exit_code == 0, result.output
    assert f"{kernels.using()}: " in result.stdout
    for text in ("MEZZOTINT_ISA", "threads", "numpy", "scikit-learn", *kernels.compiled()):
        assert text in result.stdout
    assert result.stdout.count("equals the reference") == len(kernels.available()) - 1


def test_environment_limits_are_named(run, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("MEZZOTINT_ISA", "avx2")
    monkeypatch.setattr(doctor.os, "sched_getaffinity", lambda pid: {0, 1, 2}, raising=False)
    text = run("doctor", "--no-check").stdout
    assert "MEZZOTINT_ISA=avx2 caps it" in text
    assert "1: OMP_NUM_THREADS=1 is below the 3 cores" in text
    assert "equals the reference" not in text


def test_a_kernel_that_differs_is_a_failure(run, monkeypatch):
    products = doctor._products

    def broken():
        found = products()
        if kernels.using() == "portable":
            found["8-bit margins"] = found["8-bit margins"] + np.float32(0.01)
        return found

    monkeypatch.setattr(doctor, "_products", broken)
    result = run("doctor")
    assert result.exit_code == 1
    assert "differs in 8-bit margins" in result.stdout
    assert "MEZZOTINT_ISA" in result.stderr
