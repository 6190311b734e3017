"""Are small problems, where packing cannot pay, ever slower than the best peer by more than 2 ms?

Whole fits on both sides, repeated, at several tolerances. With an intercept (so without liblinear and
snapml) and without.
"""

from benchmarks.harness import Record, Run, quick

PROBLEMS = {
    "digits, 10 classes": {"kind": "digits", "loss": "softmax"},
    "digits, even or odd": {"kind": "digits", "loss": "logistic"},
    "digits, even or odd, no intercept": {"kind": "digits", "loss": "logistic", "fit_intercept": False},
    "3000 x 1000": {"kind": "embeddings", "n": 3_000, "d": 1_000},
    "3000 x 1000, no intercept": {"kind": "embeddings", "n": 3_000, "d": 1_000, "fit_intercept": False},
    "500 x 10, no intercept": {"kind": "embeddings", "n": 500, "d": 10, "fit_intercept": False},
    "ridge, 1000 x 30": {"kind": "embeddings", "n": 1_000, "d": 30, "loss": "squared"},
}


def runs() -> list[Run]:
    """One race per problem."""
    names = list(PROBLEMS)[:: 3 if quick() else 1]
    return [Run(name, "compare", {"name": name, **PROBLEMS[name]}, limit_s=600, repeats=1) for name in names]


def compare(name: str, kind: str, loss: str = "logistic", fit_intercept: bool = True, **shape: int) -> Record:
    """Race on one of the problems."""
    from dataclasses import replace

    from benchmarks.problems import digits, embedding_problem
    from benchmarks.race import race

    problem = digits(loss=loss) if kind == "digits" else embedding_problem(loss=loss, **shape)
    return race(replace(problem, name=name, fit_intercept=fit_intercept), budget_s=45, whole_fits=True)


def table(result: list[Record]) -> str:
    """Seconds to each accuracy."""
    from benchmarks.race import table

    return table(result)


TABLES = {"speed-small": table}
