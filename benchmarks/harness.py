"""Runs the benchmark cases: `python -m benchmarks.harness [CASE ...] [--repeats N] [--quick]`.

Contestants take turns (A B A B ...), so that a disturbance of the machine meets all of them; each
measurement is a fresh process with a time limit and a pinned number of threads. A case writes one file,
``benchmarks/results/<date>_<case>.jsonl``: the machine card, every single measurement, and medians with
quartiles. Losing results are kept; a limit that was reached is a result too.
"""

import argparse
import importlib
import json
import os
import pathlib
import pkgutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import benchmarks.cases
from benchmarks.card import machine_card

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
QUICK_RESULTS = ROOT / "build" / "bench"  # of --quick: never committed, no table is made from them
_QUICK = "MEZZOTINT_BENCH_QUICK"
SCRATCH = "MEZZOTINT_BENCH_SCRATCH"  # names the folder in which the processes of a case share arrays
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)

Record = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """One contestant of a case.

    Attributes
    ----------
    name : str
        What the tables call it.
    function : str
        Top-level function of the case, called with `arguments`; returns measurements as JSON values.
    arguments : dict
        Its keyword arguments.
    n_threads : int
        Threads that libraries may use, pinned through the environment.
    limit_s : float or callable
        Time limit of the whole process; a callable gets the records so far (30 times ours, say).
    repeats : int, optional
        Instead of the number for the whole case, for contestants that take minutes.
    package : str, optional
        Folder to import mezzotint from, instead of this checkout: another version of it.
    """

    name: str
    function: str
    arguments: dict[str, Any] = field(default_factory=dict)
    n_threads: int = 2
    limit_s: float | Callable[[list[Record]], float] = 300.0
    repeats: int | None = None
    package: str | None = None


def quick() -> bool:
    """Whether sizes should be small: a try of the benchmark itself, not a measurement."""
    return os.environ.get(_QUICK) == "1"


def case_names() -> list[str]:
    """Names of all cases."""
    return sorted(module.name for module in pkgutil.iter_modules(benchmarks.cases.__path__))


def measure(module: str, runs: Iterable[Run], *, repeats: int) -> list[Record]:
    """Measure all runs of a case in turns; one record per measurement."""
    runs = list(runs)
    records: list[Record] = []
    with tempfile.TemporaryDirectory(prefix="mezzotint-bench-") as scratch:
        for repeat in range(max(run.repeats or repeats for run in runs)):
            for run in runs:
                if repeat < (run.repeats or repeats):
                    limit = run.limit_s(records) if callable(run.limit_s) else run.limit_s
                    outcome = in_fresh_process(module, run, limit, scratch)
                    records.append(
                        {"kind": "run", "name": run.name, "repeat": repeat, **_facts(run), **outcome}
                    )
                    _say(records[-1])
    return records


def summaries(records: list[Record]) -> list[Record]:
    """Median and quartiles of every number that was measured, per contestant."""
    found = []
    for name in dict.fromkeys(record["name"] for record in records):
        mine = [record for record in records if record["name"] == name]
        done = [record["measured"] for record in mine if record["status"] == "done"]
        numbers = [key for key in (done[0] if done else {}) if _is_number(done[0][key])]
        statuses = sorted({record["status"] for record in mine})
        found.append(
            {
                "kind": "summary",
                "name": name,
                "arguments": mine[0]["arguments"],
                "n_threads": mine[0]["n_threads"],
                "status": " / ".join(statuses),
                "measured": {key: quartiles([m[key] for m in done]) for key in numbers},
            }
        )
    return found


def quartiles(values: list[float]) -> dict[str, float]:
    """Median, first and third quartile, and how many values there were."""
    if len(values) == 1:
        return {"median": values[0], "q1": values[0], "q3": values[0], "n": 1}
    q1, median, q3 = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": median, "q1": q1, "q3": q3, "n": len(values)}


def write_result(topic: str, records: list[Record], folder: pathlib.Path = RESULTS) -> pathlib.Path:
    """Write JSON lines to ``<date>_<topic>.jsonl``, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{records[0]['date'][:10]}_{topic}.jsonl"
    part = path.with_suffix(".part")
    part.write_text("".join(json.dumps(record) + "\n" for record in records))
    part.replace(path)
    return path


def run_case(name: str, *, repeats: int, folder: pathlib.Path = RESULTS) -> pathlib.Path:
    """Run one case and write its result file."""
    module = importlib.import_module(f"benchmarks.cases.{name}")
    question = (module.__doc__ or name).strip().splitlines()[0]
    print(f"{name}: {question}")
    card = {"kind": "card", "topic": name, "question": question, **machine_card()}
    getattr(module, "prepare", lambda: None)()
    records = measure(module.__name__, module.runs(), repeats=repeats)
    return write_result(name, [card, *records, *summaries(records)], folder)


def lack(name: str) -> str | None:
    """Say what a case needs that is not here; cases that need nothing special have no such function."""
    module = importlib.import_module(f"benchmarks.cases.{name}")
    reason: str | None = getattr(module, "lack", lambda: None)()
    return reason


def in_fresh_process(module: str, run: Run, limit: float, scratch: str) -> Record:
    """Status and measurements of one run; no other running process may use the folder `scratch`."""
    answer = pathlib.Path(scratch) / "answer.json"
    answer.unlink(missing_ok=True)
    task = {"module": module, "function": run.function, "arguments": run.arguments, "answer": str(answer)}
    threads = dict.fromkeys(THREAD_VARIABLES, str(run.n_threads))
    # Without -S the path entry that `make setup` made would be found first.
    elsewhere = {"PYTHONPATH": f"{run.package}:{sysconfig.get_path('purelib')}"} if run.package else {}
    try:
        child = subprocess.run(
            [sys.executable, *(["-S"] if run.package else []), "-m", "benchmarks.child"],
            input=json.dumps(task),
            cwd=ROOT,
            env={**os.environ, **threads, **elsewhere, SCRATCH: scratch},
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"status": "not reached", "limit_s": limit, "measured": {}}
    if not answer.exists():
        return {"status": "failed", "error": child.stderr.strip()[-2000:], "measured": {}}
    return {"status": "done", "measured": json.loads(answer.read_text())}


def _facts(run: Run) -> Record:
    return {"name": run.name, "arguments": run.arguments, "n_threads": run.n_threads}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _say(record: Record) -> None:
    seconds = record["measured"].get("seconds")
    outcome = f"{seconds:.4g} s" if _is_number(seconds) else record.get("error", record["status"])
    print(f"  {record['repeat'] + 1}: {record['name']}: {outcome}", flush=True)


def main() -> None:
    """Run the cases named on the command line, or all of them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.harness", description=__doc__)
    parser.add_argument("case", nargs="*", help=f"one of: {', '.join(case_names())} (default: all)")
    parser.add_argument("--repeats", type=int, default=5, help="measurements per contestant (default: 5)")
    parser.add_argument("--quick", action="store_true", help="small sizes; results go to build/bench")
    options = parser.parse_args()
    unknown = sorted(set(options.case) - set(case_names()))
    if unknown:
        parser.error(f"no case {', '.join(unknown)}; there are: {', '.join(case_names())}")
    if options.quick:
        os.environ[_QUICK] = "1"
    folder = QUICK_RESULTS if options.quick else RESULTS
    for name in options.case or case_names():
        if reason := lack(name):
            print(f"{name}: {reason}")
        else:
            print(run_case(name, repeats=options.repeats, folder=folder).relative_to(ROOT))


if __name__ == "__main__":
    main()
