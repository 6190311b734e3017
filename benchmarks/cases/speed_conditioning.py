"""How fast are badly scaled columns and steep spectra, to a stated accuracy, beside the peers?

Binary logistic regression without an intercept, as in speed_logistic.
"""

from benchmarks.harness import Record, Run, quick

PROBLEMS = {
    "columns x 10^U(-2, 2), C=1": {"n": 200_000, "d": 256, "kind": "columns", "strength": 1.0},
    "spectrum k^-1.2, C=1e4": {"n": 200_000, "d": 512, "decay": 1.2, "scale": 8.0, "strength": 1e-4},
    "spectrum k^-1.5, nearly separable, C=1e4": {
        "n": 100_000, "d": 512, "decay": 1.5, "scale": 20.0, "strength": 1e-4,
    },
}  # fmt: skip


def runs() -> list[Run]:
    """One race per problem."""
    small = {"n": 5_000, "d": 64} if quick() else {}
    return [
        Run(name, "compare", {"name": name, **arguments, **small}, limit_s=600, repeats=1)
        for name, arguments in PROBLEMS.items()
    ]


def compare(n: int, d: int, kind: str = "spectrum", **options: object) -> Record:
    """Race on one of the problems."""
    from benchmarks.problems import badly_scaled_problem, embedding_problem
    from benchmarks.race import race

    make = badly_scaled_problem if kind == "columns" else embedding_problem
    return race(make(n, d, fit_intercept=False, **options), budget_s=240)


def table(result: list[Record]) -> str:
    """Seconds to each accuracy."""
    from benchmarks.race import table

    return table(result)


TABLES = {"speed-conditioning": table}
