"""A result file that grows by one whole line per finished run, so that a study can be stopped and go on."""

import fcntl
import json
import os
import pathlib

from benchmarks.harness import RESULTS as ALL_RESULTS
from benchmarks.harness import Record

RESULTS = ALL_RESULTS / "training"


def key(task: Record) -> str:
    """Return what makes two runs the same one: the function and its arguments."""
    return json.dumps([task["function"], task["arguments"]], sort_keys=True)


def read_records(path: pathlib.Path) -> list[Record]:
    """All whole lines of a result file; none if there is no file yet.

    A line without an end is what a killed process left behind: it is no result.
    """
    if not path.exists():
        return []
    whole = path.read_bytes().rpartition(b"\n")[0]
    return [json.loads(line) for line in whole.splitlines()]


def append_record(path: pathlib.Path, record: Record) -> None:
    """Add one line, whole or not at all for every later reader, behind the last whole line.

    Processes that append at the same time wait for each other.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        file.write(json.dumps(record).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def finished(records: list[Record]) -> dict[str, Record]:
    """The runs that gave a result, by their keys; failed ones are tried again."""
    return {key(r): r for r in records if r["kind"] == "run" and r["status"] == "done"}


def missing(tasks: list[Record], records: list[Record]) -> list[Record]:
    """The tasks without a result, in their order, each once."""
    done = finished(records)
    return list({key(task): task for task in tasks if key(task) not in done}.values())
