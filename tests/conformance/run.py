"""Starts scikit-learn's tests in a process of their own, with our estimators in place of its."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
_FAILED = 1  # pytest's exit status where tests failed, but all of them were run


class Run:
    """A pytest that is at work; `outcomes` waits for it."""

    def __init__(self, mode, modules):
        self.mode, self.modules = mode, modules
        self._folder = tempfile.TemporaryDirectory(prefix="mezzotint-conformance-")
        self._path = pathlib.Path(self._folder.name, "outcomes.jsonl")
        self._log = open(pathlib.Path(self._folder.name, "log"), "w+")  # noqa: SIM115 - closed by outcomes
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *_OPTIONS, *(f"sklearn.{module}" for module in modules)],
            cwd=ROOT,
            env={
                **os.environ,
                **_ONE_THREAD,
                "MEZZOTINT_CONFORMANCE_MODE": mode,
                "MEZZOTINT_CONFORMANCE_OUTCOMES": str(self._path),
            },
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def outcomes(self):
        """One record per test, as the plugin writes them."""
        status = self._process.wait()
        self._log.seek(0)
        with self._log as log, self._folder:
            if status not in (0, _FAILED):
                raise RuntimeError(f"pytest ended with status {status}:\n{log.read()[-4000:]}")
            return [json.loads(line) for line in self._path.read_text().splitlines()]


# Several runs share the cores, and threads of OpenMP and BLAS that wait for each other spin.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

# An ini file and a root of its own: neither our settings nor our fixtures reach scikit-learn's tests.
_OPTIONS = (
    *("-c", str(HERE / "sklearn.ini")),
    *("--rootdir", str(HERE)),
    *("-p", "tests.conformance.plugin"),
    "--pyargs",
)
