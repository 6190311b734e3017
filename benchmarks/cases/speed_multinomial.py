"""How fast is multinomial logistic regression with 10 classes, to a stated accuracy, beside its peers?

With an intercept. snapml and liblinear have no multinomial loss.
"""

from benchmarks.harness import Record, Run, quick


def runs() -> list[Run]:
    """One race."""
    n, d = (3_000, 32) if quick() else (200_000, 768)
    return [Run("10 classes, C=1", "compare", {"n": n, "d": d}, limit_s=600, repeats=1)]


def compare(n: int, d: int) -> Record:
    """Race on unit-norm rows with 10 classes."""
    from benchmarks.problems import embedding_problem
    from benchmarks.race import race

    return race(embedding_problem(n, d, "softmax", classes=10, name="10 classes, C=1"), budget_s=330)


def table(result: list[Record]) -> str:
    """Seconds to each accuracy."""
    from benchmarks.race import table

    return table(result)


TABLES = {"speed-multinomial": table}
