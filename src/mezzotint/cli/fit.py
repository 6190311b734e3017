"""`mezzotint fit`: train a linear model on a file of rows and write a model file."""

import time
import warnings
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mezzotint.cli import console

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mezzotint.cli.model_file import SavedModel
    from mezzotint.packed import Source, Table

HELP = """Train a linear model on the rows of a file and write it to a file.

X is read in blocks: it may be larger than memory, only its packed copy (a quarter of float32 with --bits 8,
an eighth with --bits 4) has to fit. The answer is the optimum for the full-precision rows, whatever the
bits.

[bold]Files[/] are .npy, Parquet (a file or a folder), Arrow, CSV, libsvm or safetensors. Labels are a second
.npy file, or a column of X named with --target; a libsvm file has its own.

[bold]Classification or regression[/] is chosen from y unless --task says it: strings, bools and integers
of at most 100 values are classes, everything else is a regression target (2-D for several targets). The
choice is printed.

[bold]Examples[/]

mezzotint fit X.npy y.npy --out model

mezzotint fit X.npy y.npy --bits 4 --C 0.1 --n-jobs 2 --out model

mezzotint fit X.npy price.npy --task regression --alpha 10 --out model

mezzotint fit pages.parquet --columns embedding --target quality --out model

[bold]Then[/]

mezzotint predict model new.npy --out predicted.npy
"""
LABELLED = (".svm", ".libsvm", ".svmlight")  # files that hold labels without a name
_READS = {0: "sampling rows of X", 1: "packing and first read of X"}
MAX_CLASSES = 100  # integers with more distinct values are taken for a regression target


class Task(StrEnum):
    """What y is."""

    AUTO = "auto"
    CLASSIFICATION = "classification"
    REGRESSION = "regression"


class Solver(StrEnum):
    """Which inner solver runs."""

    AUTO = "auto"
    NEWTON = "newton"
    HALP = "halp"


def fit(
    x: Annotated[Path, typer.Argument(metavar="X", help="File of samples, shape (n, d).")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Model file to write (safetensors); replaced if it exists.")
    ],
    y: Annotated[
        Path | None, typer.Argument(metavar="y.npy", help="Labels (n,), or targets (n,) or (n, K).")
    ] = None,
    target: Annotated[str | None, typer.Option(help="Column of X that holds the labels.")] = None,
    weight: Annotated[str | None, typer.Option(help="Column of X that holds sample weights.")] = None,
    columns: Annotated[
        str | None, typer.Option(help="Columns of X to use, with commas.", show_default="all others")
    ] = None,
    bits: Annotated[
        int, typer.Option(help="Bits of the packed copy: 8 (fast), 4 (least memory) or 32 (no packed copy).")
    ] = 8,
    task: Annotated[Task, typer.Option(help="What y is; auto looks at it.")] = Task.AUTO,
    c: Annotated[
        float | None,
        typer.Option("--C", help="Classification: inverse strength of the penalty.", show_default="1.0"),
    ] = None,
    alpha: Annotated[
        float | None, typer.Option(help="Regression: strength of the penalty.", show_default="1.0")
    ] = None,
    solver: Annotated[
        Solver, typer.Option(help="Inner solver; auto is right unless you study them.")
    ] = Solver.AUTO,
    tol: Annotated[float, typer.Option(help="Relative gap of the objective to its optimum to reach.")] = 1e-8,
    max_iter: Annotated[int, typer.Option(help="Limit of outer iterations (reads of X).")] = 100,
    intercept: Annotated[bool, typer.Option(help="Fit an unpenalised intercept.")] = True,
    n_jobs: Annotated[
        int | None, typer.Option(help="Threads; the result does not depend on it.", show_default="all cores")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed; same seed, same data, same bits of the model.")] = 0,
) -> None:
    """Train and write."""
    from mezzotint.cli import inputs

    started = time.perf_counter()
    inputs.check_writable(out)
    _require_one_label(x, y, target)
    table = inputs.read_table(x, target, weight, columns)
    labels = _labels(table, y)
    is_classifier, reason = choose_task(labels, task)
    _refuse_foreign_penalty(is_classifier, c, alpha)
    penalty = {"C": 1.0 if c is None else c} if is_classifier else {"alpha": 1.0 if alpha is None else alpha}
    settings = {"bits": bits, "solver": solver.value, "tol": tol, "max_iter": max_iter}
    threads = {"n_jobs": n_jobs, "random_state": seed, "fit_intercept": intercept}
    estimator = _estimator(is_classifier, {**penalty, **settings, **threads})
    _train(estimator, table, labels)
    from mezzotint.cli.model_file import save_model

    save_model(out, saved_model(estimator, labels))
    _print_summary(estimator, table.source, reason, out, time.perf_counter() - started)


def choose_task(y: "NDArray[Any]", task: Task) -> tuple[bool, str]:
    """Return (whether to classify, the reason in words)."""
    import numpy as np

    if task is not Task.AUTO:
        return task is Task.CLASSIFICATION, f"{task.value}, as --task says"
    kind = {"U": "strings", "S": "strings", "b": "bools", "i": "integers", "u": "integers"}.get(y.dtype.kind)
    if kind is None or y.ndim != 1:
        return False, f"regression: y holds {y.dtype} of shape {y.shape}; --task classification to override"
    n_values = len(np.unique(y))
    classify = kind != "integers" or n_values <= MAX_CLASSES
    chosen, other = ("classification", "regression") if classify else ("regression", "classification")
    return classify, f"{chosen}: y holds {kind} of {n_values} values; --task {other} to override"


def saved_model(estimator: Any, y: "NDArray[Any]") -> "SavedModel":  # noqa: ANN401 - any of our estimators
    """Return what a model file keeps of a fitted estimator."""
    import numpy as np

    from mezzotint.cli.model_file import SavedModel

    coef = np.atleast_2d(np.asarray(estimator.coef_, dtype=np.float64))
    result = estimator.result_
    return SavedModel(
        estimator=type(estimator).__name__,
        coef=np.ascontiguousarray(coef),
        intercept=np.ascontiguousarray(np.broadcast_to(estimator.intercept_, len(coef)), dtype=np.float64),
        classes=getattr(estimator, "classes_", None),
        flat=y.ndim == 1,
        about={
            "parameters": {name: _as_json(value) for name, value in estimator.get_params().items()},
            "status": result.status.value,
            "objective": _as_json(result.objective),
            "gap_estimate": _as_json(result.gap_estimate),
            "gap_bound": _as_json(result.gap_bound),
        },
    )


def _as_json(value: Any) -> Any:  # noqa: ANN401
    """JSON has no infinity: such numbers become text."""
    is_plain = value is None or isinstance(value, bool | int | str)
    return value if is_plain or abs(value) < float("inf") else str(value)


def _require_one_label(x: Path, y: Path | None, target: str | None) -> None:
    if y is not None and target is not None:
        raise typer.BadParameter(f"labels came twice: {y} and --target {target}; leave one out.")
    if y is None and target is None and x.suffix.lower() not in LABELLED:
        raise typer.BadParameter("no labels: give y.npy, or --target with the name of a column of X.")


def _labels(table: "Table", y: Path | None) -> "NDArray[Any]":
    from mezzotint.packed.sources_npy import read_npy

    labels = table.y if y is None else read_npy(y)
    assert labels is not None  # _require_one_label
    return _one_column(labels)


def _one_column(y: "NDArray[Any]") -> "NDArray[Any]":
    """Take a column vector for what it means."""
    return y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y


def _refuse_foreign_penalty(is_classifier: bool, c: float | None, alpha: float | None) -> None:
    if is_classifier and alpha is not None:
        raise typer.BadParameter("--alpha is for regression; classification takes --C (or pass --task).")
    if not is_classifier and c is not None:
        raise typer.BadParameter("--C is for classification; regression takes --alpha (or pass --task).")


def _estimator(is_classifier: bool, parameters: dict[str, Any]) -> Any:  # noqa: ANN401
    from mezzotint.linear import LogisticRegression, Ridge

    return (LogisticRegression if is_classifier else Ridge)(**parameters)


def _train(estimator: Any, table: "Table", y: "NDArray[np.generic]") -> None:  # noqa: ANN401
    """Fit, showing the reads of X as they pass; a warning of the solver is one line on stderr."""
    from mezzotint.packed.sources import ReportingSource

    with console.working("starting") as work, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")

        def report(number: int, rows: int) -> None:
            work.describe(_READS.get(number, f"read {number} of X"))
            work.advance_to(rows, table.source.shape[0])

        estimator.fit(ReportingSource(table.source, report), y, sample_weight=table.sample_weight)
    for warning in caught:
        console.print_warning(str(warning.message))


def _print_summary(estimator: Any, X: "Source", reason: str, out: Path, seconds: float) -> None:  # noqa: ANN401
    result = estimator.result_
    n, d = X.shape
    packed = f", packed to {estimator.bits} bits" if result.packed_passes and estimator.bits < 32 else ""
    bounds = f"estimate {result.gap_estimate:.1e}, bound {result.gap_bound:.1e}"
    reads = f"{result.exact_passes} reads of X, {result.packed_passes} of the packed copy"
    console.print_facts(
        [
            ("task", reason),
            ("data", f"{n} x {d} {X.dtype}, {console.size_text(n * d * X.dtype.itemsize)}{packed}"),
            ("status", result.status.value),
            ("gap", f"{bounds}, in an objective of {result.objective:.6g}"),
            ("work", f"{reads}, {seconds:.2f} s"),
            ("model", f"{out} ({console.size_text(out.stat().st_size)})"),
        ]
    )
