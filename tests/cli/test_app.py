"""Would catch: a slow or silent --help, wrong exit codes, tracebacks shown to users."""

import subprocess
import sys

import pytest

from mezzotint import __version__, cli
from mezzotint.errors import DataError


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "mezzotint", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={"COLUMNS": "100", "PATH": "", "PYTHONPATH": ":".join(sys.path)},
    )


def test_help_names_every_command_and_loads_neither_sklearn_nor_matplotlib():
    program = (
        "import sys\nfrom mezzotint import cli\n"
        "try: cli.app(['--help'])\nexcept SystemExit as end: assert end.code == 0\n"
        "heavy = {'sklearn', 'scipy', 'matplotlib', 'pandas', 'safetensors'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert all(
        name in done.stdout for name in ("tour", "fit", "predict", "pack", "info", "doctor", "Exit codes")
    )


def test_the_program_fits_and_fails_with_the_right_codes(files):
    model = files / "model"
    assert command("fit", files / "X.npy", files / "labels.npy", "--out", model).returncode == 0
    missing = command("predict", model, files / "absent.npy", "--out", files / "p.npy")
    assert missing.returncode == 1
    assert missing.stderr.startswith("error: ")
    assert "Traceback" not in missing.stderr
    assert command("fit", files / "X.npy").returncode == 2


@pytest.mark.parametrize("name", ["tour", "fit", "predict", "pack", "info", "doctor"])
def test_help_of_a_command_teaches(run, name):
    text = run(name, "--help").stdout
    assert "--help" in text
    assert len(text) > 500


def test_version(run):
    assert run("--version").stdout == f"mezzotint {__version__}\n"


def test_an_unknown_command_is_wrong_usage(run):
    assert run("tuor").exit_code == 2


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (DataError("bad rows"), "error: bad rows"),
        (OSError(28, "No space left on device"), "No space left on device. Check the path"),
        (MemoryError("9 GB"), "out of memory: 9 GB. Use fewer bits"),
    ],
)
def test_foreseen_errors_are_one_line_and_exit_code_1(run, monkeypatch, error, text):
    def fail():
        raise error

    monkeypatch.setattr(cli.doctor, "_versions", fail)
    result = run("doctor")
    assert result.exit_code == 1
    assert text in result.stderr
    assert "Traceback" not in result.stderr
