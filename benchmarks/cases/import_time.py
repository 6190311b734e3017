"""How long does `import mezzotint` take beside NumPy alone and beside the whole linear half?

Each import runs in an interpreter that has loaded nothing else; after the first turn its files are in the
page cache.
"""

import subprocess
import sys

from benchmarks.harness import Record, Run

STATEMENTS = {
    "numpy": "import numpy",
    "mezzotint": "import mezzotint",
    "mezzotint.linear": "import mezzotint.linear",
    "sklearn.linear_model": "import sklearn.linear_model",
}


def runs() -> list[Run]:
    """One contestant per import statement."""
    return [Run(name, "import_seconds", {"statement": text}) for name, text in STATEMENTS.items()]


def import_seconds(statement: str) -> Record:
    """Time one import inside a new interpreter, the start of the interpreter excluded."""
    program = f"import time; start = time.perf_counter(); {statement}; print(time.perf_counter() - start)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return {"seconds": float(run.stdout)}


def table(result: list[Record]) -> str:
    """Milliseconds per import."""
    rows = ["| import | median | quartiles |", "|---|---:|---:|"]
    for record in result:
        if record["kind"] == "summary":
            took = {key: f"{1e3 * value:.0f}" for key, value in record["measured"]["seconds"].items()}
            rows.append(f"| `{record['name']}` | {took['median']} ms | {took['q1']} to {took['q3']} ms |")
    return "\n".join(rows)


TABLES = {"import-time": table}
