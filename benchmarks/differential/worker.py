"""Judges one problem after the other: reads tasks from stdin, writes what it is at to stdout, as JSON lines.

A process of its own, so that an endless loop or an abort of one problem costs no other one.
"""

import faulthandler
import importlib
import json
import os
import signal
import sys
from typing import Any

from benchmarks.differential import judge
from benchmarks.differential.problems import make_problem

_FIT = "benchmarks.differential.judge:fit"


def main() -> None:
    """Serve until stdin ends."""
    faulthandler.register(signal.SIGUSR1, file=sys.stderr)  # the runner asks a hanging fit where it is
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever else is printed is no message
    for line in sys.stdin:
        task = json.loads(line)
        print(json.dumps({"event": "start"}), file=out)
        problem = make_problem(task["stream"], task["seed"])
        fitted = _function(task.get("fit", _FIT))(problem)
        print(json.dumps({"event": "fitted"}), file=out)
        record = {**facts(problem), **judge.judge(problem, fitted)}
        print(json.dumps({"event": "record", "record": record}, default=float), file=out)


def facts(problem: Any) -> dict[str, Any]:
    """What a record says about the problem itself."""
    return {
        "stream": problem.stream,
        "seed": problem.seed,
        "estimator": problem.estimator,
        "family": problem.traits[0] if problem.traits else "plain",
        "traits": list(problem.traits),
        "n": len(problem.X),
        "d": problem.X.shape[1],
        "params": {
            key: str(value) if key == "class_weight" else value for key, value in problem.params.items()
        },
    }


def _function(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


if __name__ == "__main__":
    main()
