"""Runs the study: `python -m benchmarks.training [PLAN ...] [--data FOLDER] [--jobs N]`.

Every run is a process of its own with one thread and adds one line to the result file of its plan. A run that
is in the file is not repeated, so the same line goes on with what was interrupted. Afterwards
`python -m benchmarks.tables` renews the tables of the pages.
"""

import argparse
import concurrent.futures
import os
import pathlib
import tempfile

from benchmarks.card import machine_card
from benchmarks.harness import Record, Run, in_fresh_process
from benchmarks.training import plans, store
from benchmarks.training.train import checkpoint_path

_LIMIT_S = 3_600.0  # of one run; a machine that others use may take long


def run_plan(name: str, *, n_jobs: int, folder: pathlib.Path = store.RESULTS) -> None:
    """Do what is missing in the result file of a plan."""
    path = folder / f"{name}.jsonl"
    tasks = store.missing(plans.PLANS[name](), store.read_records(path))
    if not tasks:
        return
    _in_parallel(_missing_checkpoints(tasks), n_jobs, path)
    store.append_record(path, {"kind": "card", "topic": name, **machine_card()})
    _in_parallel(tasks, n_jobs, path)


def outcome(task: plans.Task) -> Record:
    """Run one task in a process of its own."""
    run = Run(task["function"], task["function"], task["arguments"], n_threads=1)
    with tempfile.TemporaryDirectory(prefix="mezzotint-training-") as scratch:
        return {"kind": "run", **task, **in_fresh_process(task["module"], run, _LIMIT_S, scratch)}


def _in_parallel(tasks: list[plans.Task], n_jobs: int, path: pathlib.Path) -> None:
    """Run tasks and write each line as soon as it is known; an interrupt loses only what is running."""

    def run_and_keep(task: plans.Task) -> None:
        record = outcome(task)
        store.append_record(path, record)
        print(f"{path.stem}: {_line(record)}", flush=True)

    pool = concurrent.futures.ThreadPoolExecutor(n_jobs)
    try:
        list(pool.map(run_and_keep, tasks))
    finally:
        pool.shutdown(cancel_futures=True)


def _missing_checkpoints(tasks: list[plans.Task]) -> list[plans.Task]:
    families = sorted({t["arguments"]["family"] for t in tasks if "checkpoint" in t["arguments"]})
    made = [task for family in families for task in plans.checkpoints(family)]
    return [task for task in made if not checkpoint_path(**task["arguments"]).exists()]


def _line(record: Record) -> str:
    measured, arguments = record["measured"], record["arguments"]
    last = (record.get("error") or record["status"]).splitlines()[-1]
    return f"{' '.join(map(str, arguments.values()))}: {measured.get('loss', last)}"


def main() -> None:
    """Run the plans named on the command line, or all of them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.add_argument("plan", nargs="*", help=f"of: {', '.join(plans.PLANS)} (default: all)")
    parser.add_argument("--data", help="folder that holds tinyshakespeare.txt (default: $MEZZOTINT_DATA)")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time (default: 2)")
    options = parser.parse_args()
    unknown = sorted(set(options.plan) - set(plans.PLANS))
    if unknown:
        parser.error(f"no plan {', '.join(unknown)}; there are: {', '.join(plans.PLANS)}")
    if options.data:
        os.environ["MEZZOTINT_DATA"] = str(pathlib.Path(options.data).resolve())
    for name in options.plan or plans.PLANS:
        run_plan(name, n_jobs=options.jobs)


if __name__ == "__main__":
    main()
