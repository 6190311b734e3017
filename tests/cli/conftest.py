"""A small problem as files, and a runner of commands."""

import numpy as np
import pytest
from typer.testing import CliRunner

from mezzotint.cli import app


@pytest.fixture
def run(monkeypatch):
    """Run a command in this process; the arguments may be paths."""
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def files(tmp_path, rng):
    """A folder with X.npy (300 x 5), labels.npy, names.npy and target.npy."""
    X = rng.standard_normal((300, 5)).astype(np.float32)
    margin = X @ np.array([1, -2, 0.5, 0, 1], np.float32)
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "labels.npy", (margin + rng.logistic(size=300) > 0).astype(np.int64))
    np.save(tmp_path / "names.npy", np.array(["low", "middle", "high"])[np.digitize(margin, [-1, 1])])
    np.save(tmp_path / "target.npy", margin + 0.1 * rng.standard_normal(300))
    return tmp_path
