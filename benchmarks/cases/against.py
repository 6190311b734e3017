"""Is any fit slower than it was at an earlier commit?

``MEZZOTINT_BENCH_AGAINST=COMMIT python -m benchmarks.harness against --repeats 9``: that commit is checked
out and built in build/against, then the two versions fit the same data in turns, each in a process of its
own that fits several times and tells the median. What counts are the pairs: the mean of their log ratios,
with the 95 % interval of Student's t. A row has failed if that interval lies wholly below -3 % (fits under
5 ms: -10 %).
"""

import math
import os
import pathlib
import statistics
import subprocess
import sys
import time
from typing import Any

from benchmarks.harness import ROOT, Record, Run, quick

COMMIT = "MEZZOTINT_BENCH_AGAINST"
_LARGE = {"n": 100_000, "d": 768, "fits": 2}
PROBLEMS: dict[str, Record] = {
    "logistic, 8 bits": {**_LARGE},
    "logistic, 4 bits, C=1e4": {**_LARGE, "strength": 1e-4, "bits": 4},
    "logistic, no intercept": {**_LARGE, "fit_intercept": False},
    "ridge": {**_LARGE, "loss": "squared"},
    "multinomial, 10 classes": {"n": 30_000, "d": 768, "fits": 1, "loss": "softmax"},
    "svc": {**_LARGE, "loss": "squared_hinge", "fit_intercept": False},
    "path, 12 values of C": {"n": 100_000, "d": 256, "fits": 1, "path": True},
    "small: 3000 x 1000": {"n": 3_000, "d": 1_000, "fits": 9},
    "small: 3000 x 1000, no intercept": {"n": 3_000, "d": 1_000, "fits": 9, "fit_intercept": False},
    "small: digits, 10 classes": {"fits": 21, "loss": "softmax"},
    "small: digits, even or odd": {"fits": 41, "loss": "logistic"},
    "small: 500 x 10, no intercept": {"n": 500, "d": 10, "fits": 101, "fit_intercept": False},
    "small: ridge, 1000 x 30": {"n": 1_000, "d": 30, "fits": 101, "loss": "squared"},
}
_ALLOWED, _ALLOWED_SHORT, _SHORT_S = -0.03, -0.10, 5e-3


def lack() -> str | None:
    """Say that there is nothing to compare with."""
    return None if os.environ.get(COMMIT) else f"{COMMIT} names no commit"


def runs() -> list[Run]:
    """Both versions of every problem, next to each other."""
    sides = (("old", _tree() / "src"), ("new", ROOT / "src"))
    return [
        Run(f"{name}: {side}", "fit", {"name": name, **options}, limit_s=600, package=str(package))
        for name, options in PROBLEMS.items()
        for side, package in sides
    ]


def _tree() -> pathlib.Path:
    return ROOT / "build" / "against" / os.environ.get(COMMIT, "nothing")


def prepare() -> None:
    """Check the commit out and build it."""
    tree, commit = _tree(), os.environ[COMMIT]
    if not tree.exists():
        _run("git", "worktree", "prune")
        _run("git", "worktree", "add", "--force", "--detach", str(tree), commit)
    build = str(tree / "build" / "native")
    _run(_tool("cmake"), "-S", str(tree), "-B", build, "-G", "Ninja", f"-DPython_EXECUTABLE={sys.executable}",
         f"-DCMAKE_MAKE_PROGRAM={_tool('ninja')}")  # fmt: skip
    _run(_tool("cmake"), "--build", build)
    _run(_tool("cmake"), "--install", build, "--prefix", str(tree / "src"))


def _tool(name: str) -> str:
    return str(pathlib.Path(sys.executable).parent / name)


def _run(*command: str) -> None:
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def fit(name: str, fits: int, path: bool = False, bits: int = 8, **options: Any) -> Record:
    """Median seconds of some fits after a first one, and who made them."""
    import mezzotint
    from benchmarks import ours

    problem = _problem(name, **options)
    model = ours.estimator(problem, bits=bits, n_jobs=2)

    def once() -> float:
        start = time.perf_counter()
        if path:
            model.path(problem.X, problem.y, Cs=[10.0**k for k in range(-6, 6)])
        else:
            model.fit(problem.X, problem.y)
        return time.perf_counter() - start

    once()
    seconds = [once() for _ in range(fits)]
    package = pathlib.Path(mezzotint.__file__).parent.relative_to(ROOT)
    return {"seconds": statistics.median(seconds), "package": str(package)}


def _problem(name: str, n: int = 0, d: int = 0, loss: str = "logistic", **options: Any) -> Any:
    from dataclasses import replace

    from benchmarks import problems
    from benchmarks.measure import cached_array

    if n == 0:
        return replace(problems.digits(loss=loss), name=name)
    if quick():
        n, d = min(n, 5_000), min(d, 64)
    X = cached_array(f"rows_{n}_{d}", lambda: problems.embeddings(n, d))
    labels = {
        "logistic": problems.binary_labels,
        "squared_hinge": problems.binary_labels,
        "squared": problems.real_targets,
        "softmax": lambda X: problems.class_labels(X, 10),
    }[loss]
    y = cached_array(f"{loss}_{n}_{d}", lambda: labels(X))
    return problems.LinearProblem(name=name, loss=loss, X=X, y=y, **options)


def pairs(result: list[Record]) -> list[tuple[str, float, float, list[float]]]:
    """Of each problem: its name, both medians in seconds, and the log ratios old / new of its pairs."""
    seconds: dict[str, dict[str, dict[int, float]]] = {}
    for record in result:
        if record["kind"] == "run" and record["status"] == "done":
            name, side = record["name"].rsplit(": ", 1)
            seconds.setdefault(name, {}).setdefault(side, {})[record["repeat"]] = record["measured"][
                "seconds"
            ]
    return [
        (
            name,
            statistics.median(sides["old"].values()),
            statistics.median(sides["new"].values()),
            [
                math.log(sides["old"][i] / sides["new"][i])
                for i in sorted(sides["old"].keys() & sides["new"].keys())
            ],
        )
        for name, sides in seconds.items()
    ]


def interval(ratios: list[float]) -> tuple[float, float, float]:
    """Mean speed gained, and its 95 % interval by Student's t."""
    from scipy import stats

    mean = statistics.fmean(ratios)
    half = float(stats.t.ppf(0.975, len(ratios) - 1)) * statistics.stdev(ratios) / math.sqrt(len(ratios))
    low, middle, high = (math.expm1(value) for value in (mean - half, mean, mean + half))
    return low, middle, high


def table(result: list[Record]) -> str:
    """Medians, and the speed gained in pairs with its interval."""
    rows = ["| fit | pairs | old | new | faster by | 95 % interval | |", "|---|---:|---:|---:|---:|---:|---|"]
    for name, old, new, ratios in pairs(result):
        low, middle, high = interval(ratios)
        failed = high < (_ALLOWED_SHORT if old < _SHORT_S else _ALLOWED)
        rows.append(
            f"| {name} | {len(ratios)} | {1e3 * old:.4g} ms | {1e3 * new:.4g} ms | {100 * middle:+.1f} % "
            f"| {100 * low:+.1f} to {100 * high:+.1f} % | {'slower' if failed else ''} |"
        )
    return "\n".join(rows)


TABLES = {"against": table}
