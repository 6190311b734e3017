"""How fast is ridge regression on embedding-like rows, to a stated accuracy, beside its peers?

No intercept, as snapml penalises its own.
"""

from benchmarks.harness import Record, Run, quick

PROBLEMS = {
    "ridge, alpha=1": {"strength": 1.0},
    "ridge, spectrum k^-1.2, alpha=1e-4": {"strength": 1e-4, "decay": 1.2},
}


def runs() -> list[Run]:
    """One race per problem."""
    n, d = (5_000, 64) if quick() else (200_000, 768)
    return [
        Run(name, "compare", {"name": name, "n": n, "d": d, **options}, limit_s=600, repeats=1)
        for name, options in PROBLEMS.items()
    ]


def compare(n: int, d: int, **options: object) -> Record:
    """Race on one of the problems."""
    from benchmarks.problems import embedding_problem
    from benchmarks.race import race

    return race(embedding_problem(n, d, "squared", fit_intercept=False, **options), budget_s=240)


def table(result: list[Record]) -> str:
    """Seconds to each accuracy."""
    from benchmarks.race import table

    return table(result)


TABLES = {"speed-ridge": table}
