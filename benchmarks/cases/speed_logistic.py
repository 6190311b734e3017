"""How fast is binary logistic regression on embedding-like rows, to a stated accuracy, beside its peers?

No intercept: liblinear and snapml penalise theirs, so only without one do all solve the same problem.
"""

from benchmarks.harness import Record, Run, quick

STRENGTHS = {"C=1": 1.0, "C=1e4": 1e-4}


def runs() -> list[Run]:
    """One race per strength of the penalty."""
    n, d = (5_000, 64) if quick() else (200_000, 768)
    return [
        Run(name, "compare", {"n": n, "d": d, "strength": strength}, limit_s=600, repeats=1)
        for name, strength in STRENGTHS.items()
    ]


def compare(n: int, d: int, strength: float) -> Record:
    """Race on unit-norm rows with a spectrum k^-0.7 (singular values)."""
    from benchmarks.problems import embedding_problem
    from benchmarks.race import race

    problem = embedding_problem(
        n, d, fit_intercept=False, strength=strength, name=f"embeddings, C={1 / strength:g}"
    )
    return race(problem, budget_s=240)


def table(result: list[Record]) -> str:
    """Seconds to each accuracy."""
    from benchmarks.race import table

    return table(result)


TABLES = {"speed-logistic": table}
