"""Runs it: `python -m benchmarks.differential [small|large] --out FILE [--first N] [--count N] [--jobs N]`.

A seed that the file has a line of is not repeated. `--report` prints what the file says, `--seed N` judges
one problem and prints its record.
"""

import argparse
import json
import pathlib

from benchmarks.differential import report, runner
from benchmarks.differential.problems import STREAMS
from benchmarks.differential.runner import Record
from benchmarks.training.store import read_records

_QUIET = ("ok", "refused_ok")


def main() -> None:
    """Run, report, or judge one problem."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.differential", description=__doc__)
    parser.add_argument("stream", nargs="?", default="small", choices=STREAMS)
    parser.add_argument("--out", type=pathlib.Path, help="file that grows by a line per problem")
    parser.add_argument("--first", type=int, default=0, help="first seed (default: 0)")
    parser.add_argument("--count", type=int, default=1000, help="number of seeds (default: 1000)")
    parser.add_argument("--seconds", type=float, help="stop to begin new problems after that time")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time (default: 1)")
    parser.add_argument(
        "--hang", type=float, default=runner.HANG_S, help="seconds after which a fit hangs (60)"
    )
    parser.add_argument("--report", action="store_true", help="print what the file says, run nothing")
    parser.add_argument("--seed", type=int, help="judge this one problem and print its record")
    options = parser.parse_args()
    if options.seed is not None:
        with runner.Worker() as worker:
            print(json.dumps(worker.judge(options.stream, options.seed), indent=1))
        return
    if options.out is None:
        parser.error("--out is needed")
    if not options.report:
        seeds = range(options.first, options.first + options.count)
        budget = {"n_jobs": options.jobs, "seconds": options.seconds, "hang_s": options.hang}
        runner.run(options.stream, seeds, options.out, say=_say, **budget)
    print(report.summary(read_records(options.out)))


def _say(record: Record) -> None:
    if record["verdict"] not in _QUIET:
        print(report.one_line(record), flush=True)


if __name__ == "__main__":
    main()
