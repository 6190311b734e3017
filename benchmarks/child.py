"""One measurement in a fresh process: `python -m benchmarks.child`, the task on standard input.

Only the standard library is imported before the measured function runs, so imports can be measured too.
"""

import importlib
import json
import os
import pathlib
import sys
import time


def main() -> None:
    """Call the function named by the task and write what it returns as JSON to the file it names."""
    task = json.load(sys.stdin)
    start = time.perf_counter()
    module = importlib.import_module(task["module"])
    measured = getattr(module, task["function"])(**task["arguments"])
    measured.setdefault("process_seconds", time.perf_counter() - start)
    measured["threads_seen"] = _threads_seen()
    part = pathlib.Path(task["answer"] + ".part")
    part.write_text(json.dumps(measured))
    part.replace(task["answer"])


def _threads_seen() -> dict[str, int]:
    """Return the size of every thread pool in the process: the proof that pinning worked."""
    if "numpy" not in sys.modules:
        return {}
    from threadpoolctl import threadpool_info

    return {os.path.basename(pool["filepath"]): pool["num_threads"] for pool in threadpool_info()}


if __name__ == "__main__":
    main()
