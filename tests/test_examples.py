"""Would catch: an example that no longer runs, or is too long to be read."""

import os
import pathlib
import runpy
import subprocess
import sys
import warnings

import pytest

# Examples beside other people's frameworks, by what they need; `make ecosystem` installs and runs them.
ECOSYSTEM = {
    "optim_accelerate.py": "accelerate",
    "optim_lightning.py": "lightning",
    "optim_trainer.py": "transformers",
}
EXAMPLES = sorted((pathlib.Path(__file__).resolve().parents[1] / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_example_runs_and_says_something(path, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        if path.name in ECOSYSTEM:
            # What these frameworks deprecate in each other is not ours to repair.
            warnings.simplefilter("default")
            needed = ECOSYSTEM[path.name]
            pytest.importorskip(needed, reason=f"{needed} is not installed; `make ecosystem` installs it")
        runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out.count("\n") >= 3


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_example_is_short_and_says_what_it_shows(path):
    text = path.read_text()
    assert text.startswith('"""')
    assert len(text.splitlines()) < 60


def test_a_sharded_run_goes_on_on_another_number_of_ranks(tmp_path):
    """By torchrun, as its first lines say."""
    example = next(path for path in EXAMPLES if path.name == "optim_fsdp2.py")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    said = []
    for n_ranks in (2, 1):
        command = [*torchrun, f"--nproc-per-node={n_ranks}", str(example), str(tmp_path)]
        run = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        said.append(dict(line.split(":") for line in run.stdout.splitlines()))
    assert [int(each["ranks"]) for each in said] == [2, 1]
    assert [int(each["steps taken"]) for each in said] == [20, 40]
    assert float(said[1]["loss of the last"]) < float(said[0]["loss of the last"])
