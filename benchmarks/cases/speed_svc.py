"""How fast is a linear support vector machine with the squared hinge, to a stated accuracy, beside its peers?

No intercept: liblinear and snapml penalise theirs, so only without one do all solve the same problem.
"""

from benchmarks.harness import Record, Run, quick

PROBLEMS = {
    "C=1": {"strength": 1.0},
    "C=100": {"strength": 1e-2},
    "10 classes, C=1": {"strength": 1.0, "classes": 10},
}


def runs() -> list[Run]:
    """One race per problem."""
    n, d = (5_000, 64) if quick() else (200_000, 768)
    return [
        Run(name, "compare", {"name": name, "n": n, "d": d, **options}, limit_s=600, repeats=1)
        for name, options in PROBLEMS.items()
    ]


def compare(name: str, n: int, d: int, strength: float, classes: int | None = None) -> Record:
    """Race on unit-norm rows with a spectrum k^-0.7 (singular values)."""
    from benchmarks.problems import embedding_problem
    from benchmarks.race import race

    shared = {"fit_intercept": False, "strength": strength, "name": f"squared hinge, {name}"}
    return race(embedding_problem(n, d, "squared_hinge", classes=classes, **shared), budget_s=240)


def table(result: list[Record]) -> str:
    """Seconds to each accuracy."""
    from benchmarks.race import table

    return table(result)


TABLES = {"speed-svc": table}
