"""What does it cost that a store's blocks are verified when they are first read?

Logistic regression on embedding-like rows from a store with the float rows attached, all in the page cache,
two threads: open and fit with verify="never" and with "first", in the order A B B A in one process, so that
what the process or the machine does meets both. Every opening maps the files anew and verifies anew. The time
inside the verification is measured as well; it includes page faults that the first pass would have met
otherwise.
"""

import os
import pathlib
import time
from typing import Any

from benchmarks.harness import SCRATCH, Record, Run, quick


def runs() -> list[Run]:
    """A store of 8 bits and one of 4."""
    n, d = (20_000, 128) if quick() else (200_000, 768)
    return [Run(f"{bits} bits", "pairs", {"bits": bits, "n": n, "d": d}, limit_s=600) for bits in (8, 4)]


def pairs(bits: int, n: int, d: int) -> Record:
    """Seconds of a fit without and with verification, and those inside it."""
    from benchmarks import ours
    from benchmarks.measure import cached_array
    from benchmarks.problems import binary_labels, embeddings

    X = cached_array(f"rows_{n}_{d}", lambda: embeddings(n, d))
    y = binary_labels(X)
    store = _store(X, bits)
    inside = _watched()
    _fit(store, X, y, "never")
    seconds = {"never": 0.0, "first": 0.0}
    hashes = set()
    for verify in ("never", "first", "first", "never"):
        start = time.perf_counter()
        model = _fit(store, X, y, verify)
        seconds[verify] += (time.perf_counter() - start) / 2
        hashes.add(ours.coef_hash(model))
    return {
        "seconds": seconds["first"],
        "never_seconds": seconds["never"],
        "extra": seconds["first"] / seconds["never"] - 1,
        "inside_seconds": sum(inside) / 2,
        "inside_share": sum(inside) / 2 / seconds["never"],
        "code_bytes": n * d * bits // 8,
        "same_bits": len(hashes) == 1,
    }


def _store(X: Any, bits: int) -> pathlib.Path:
    import mezzotint as mz

    store = pathlib.Path(os.environ[SCRATCH]) / f"rows-{bits}.mzt"
    if not store.exists():
        mz.pack_file(X, store, bits=bits)
    return store


def _fit(store: pathlib.Path, X: Any, y: Any, verify: Any) -> Any:
    import mezzotint as mz
    from mezzotint.linear import LogisticRegression

    return LogisticRegression(n_jobs=2).fit(mz.open(store, source=X, verify=verify, n_jobs=2), y)


def _watched() -> list[float]:
    """Seconds of every verification from now on."""
    from mezzotint.packed.store_verify import StoredCodes

    verification, inside = StoredCodes._verify, []

    def timed(self: Any, numbers: Any) -> None:
        start = time.perf_counter()
        verification(self, numbers)
        inside.append(time.perf_counter() - start)

    StoredCodes._verify = timed  # type: ignore[method-assign]
    return inside


def table(result: list[Record]) -> str:
    """Both fits and the difference, per store."""
    rows = [
        "| store | codes | fit, never | fit, first | more, in pairs (quartiles) | inside | its share |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for record in result:
        if record["kind"] == "summary":
            m = record["measured"]
            extra = {key: f"{100 * value:+.1f} %" for key, value in m["extra"].items()}
            rows.append(
                f"| {record['name']} | {m['code_bytes']['median'] / 1e6:.0f} MB "
                f"| {m['never_seconds']['median']:.3f} s | {m['seconds']['median']:.3f} s "
                f"| {extra['median']} ({extra['q1']} to {extra['q3']}) "
                f"| {1e3 * m['inside_seconds']['median']:.1f} ms "
                f"| {100 * m['inside_share']['median']:.1f} % |"
            )
    return "\n".join(rows)


TABLES = {"store-verify": table}
