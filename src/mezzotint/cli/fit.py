"""`mezzotint fit`: train a linear model on a file of rows and write a model file."""

import time
import warnings
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mezzotint.cli import console

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mezzotint.cli.inputs import Samples
    from mezzotint.cli.model_file import SavedModel
    from mezzotint.packed import Table

HELP = """Train a linear model on the rows of a file and write it to a file.

X is read in blocks: it may be larger than memory, only its packed copy (a quarter of float32 with --bits 8,
an eighth with --bits 4) has to fit. The answer is the optimum for the full-precision rows, whatever the
bits.

[bold]Files[/] are .npy, Parquet (a file or a folder), Arrow, CSV, libsvm or safetensors. Labels are a second
.npy file, or a column of X named with --target; a libsvm file has its own.

[bold]X may be a store[/] that `mezzotint pack` wrote. With --source, the file that was packed, the answer is
the optimum for its rows; without, that of the values that the codes stand for.

[bold]Classification or regression[/] is chosen from y unless --task says it: strings, bools and integers
of at most 100 values are classes, everything else is a regression target (2-D for several targets). The
choice is printed. --svm takes LinearSVC or LinearSVR instead of LogisticRegression or Ridge.

[bold]Examples[/]

mezzotint fit X.npy y.npy --out model

mezzotint fit X.npy y.npy --bits 4 --C 0.1 --n-jobs 2 --out model

mezzotint fit X.npy price.npy --task regression --alpha 10 --out model

mezzotint fit pages.parquet --columns embedding --target quality --out model

mezzotint fit rows.mzt y.npy --source X.npy --svm --C 0.1 --out model

[bold]Then[/]

mezzotint predict model new.npy --out predicted.npy
"""
_READS = {0: "sampling rows of X", 1: "packing and first read of X"}
_KINDS = {  # (classification, support vector machine)
    (True, False): "LogisticRegression",
    (True, True): "LinearSVC",
    (False, False): "Ridge",
    (False, True): "LinearSVR",
}
_TAKES = {
    "LogisticRegression": ("C",),
    "LinearSVC": ("C",),
    "Ridge": ("alpha",),
    "LinearSVR": ("C", "epsilon"),
}
_SOLUTIONS = {
    "exact": "the rows themselves",
    "unbiased": "the rows, by steps that are right on average",
    "quantised": "the values that the codes stand for",
}
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
    ZIPML = "zipml"


def fit(
    x: Annotated[Path, typer.Argument(metavar="X", help="File of samples, shape (n, d), or a store.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Model file to write (safetensors); replaced if it exists.")
    ],
    y: Annotated[
        Path | None, typer.Argument(metavar="y.npy", help="Labels (n,), or targets (n,) or (n, K).")
    ] = None,
    source: Annotated[
        Path | None, typer.Option(help="X is a store: the file that was packed, for the exact optimum.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="Column of X that holds the labels.")] = None,
    weight: Annotated[str | None, typer.Option(help="Column of X that holds sample weights.")] = None,
    columns: Annotated[
        str | None, typer.Option(help="Columns of X to use, with commas.", show_default="all others")
    ] = None,
    bits: Annotated[
        int | None,
        typer.Option(
            help="Bits of the packed copy: 8 (fast), 4 (least memory) or 32 (no packed copy); of a store in "
            "planes, the top bits to read.",
            show_default="8, a store's own",
        ),
    ] = None,
    task: Annotated[Task, typer.Option(help="What y is; auto looks at it.")] = Task.AUTO,
    svm: Annotated[
        bool, typer.Option("--svm", help="A support vector machine, with a squared loss.")
    ] = False,
    c: Annotated[
        float | None,
        typer.Option(
            "--C", help="Classification and --svm: inverse strength of the penalty.", show_default="1.0"
        ),
    ] = None,
    alpha: Annotated[
        float | None, typer.Option(help="Regression: strength of the penalty.", show_default="1.0")
    ] = None,
    epsilon: Annotated[
        float | None,
        typer.Option(help="Regression with --svm: errors that cost nothing.", show_default="0.0"),
    ] = None,
    solver: Annotated[
        Solver, typer.Option(help="Inner solver; auto is right unless you study them.")
    ] = Solver.AUTO,
    tol: Annotated[float, typer.Option(help="Relative gap of the objective to its optimum to reach.")] = 1e-8,
    max_iter: Annotated[
        int | None,
        typer.Option(help="Limit of outer iterations (reads of X).", show_default="100, 1000 of SVMs"),
    ] = None,
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
    named = {"target": target, "weight": weight, "columns": columns}
    samples = inputs.open_samples(x, source, bits, has_labels=y is not None, **named)
    labels = _labels(samples.table, y)
    is_classifier, reason = choose_task(labels, task)
    kind = _KINDS[is_classifier, svm]
    penalty = _penalty(kind, C=c, alpha=alpha, epsilon=epsilon)
    settings = {"solver": solver.value, "tol": tol, "n_jobs": n_jobs, "random_state": seed}
    given = {"max_iter": max_iter, "bits": bits if samples.packed is None else None}
    chosen = {name: value for name, value in given.items() if value is not None}
    estimator = _estimator(kind, {**penalty, **settings, **chosen, "fit_intercept": intercept})
    _train(estimator, samples, labels)
    from mezzotint.cli.model_file import save_model

    save_model(out, saved_model(estimator, labels))
    _print_summary(estimator, samples, reason, out, time.perf_counter() - started)


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
            "solution": estimator.solution_,
            "objective": _as_json(result.objective),
            "gap_estimate": _as_json(result.gap_estimate),
            "gap_bound": _as_json(result.gap_bound),
        },
    )


def _as_json(value: Any) -> Any:  # noqa: ANN401
    """JSON has no infinity: such numbers become text."""
    is_plain = value is None or isinstance(value, bool | int | str)
    return value if is_plain or abs(value) < float("inf") else str(value)


def _labels(table: "Table", y: Path | None) -> "NDArray[Any]":
    from mezzotint.packed.sources_npy import read_npy

    labels = table.y if y is None else read_npy(y)
    assert labels is not None  # see open_samples
    return _one_column(labels)


def _one_column(y: "NDArray[Any]") -> "NDArray[Any]":
    """Take a column vector for what it means."""
    return y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y


def _penalty(kind: str, **given: float | None) -> dict[str, float]:
    """Return the parameters of the loss and its penalty; BadParameter for those of another estimator."""
    for name, value in given.items():
        if value is not None and name not in _TAKES[kind]:
            options = " and ".join(f"--{taken}" for taken in _TAKES[kind])
            raise typer.BadParameter(
                f"--{name} is no option of {kind}, which takes {options}; see --task and --svm."
            )
    return {name: value for name, value in given.items() if value is not None}


def _estimator(kind: str, parameters: dict[str, Any]) -> Any:  # noqa: ANN401
    from mezzotint import linear

    return getattr(linear, kind)(**parameters)


def _train(estimator: Any, samples: "Samples", y: "NDArray[np.generic]") -> None:  # noqa: ANN401
    """Fit, showing the reads of X as they pass; a warning of the solver is one line on stderr."""
    from mezzotint.packed.sources import ReportingSource

    source, packed = samples.table.source, samples.packed
    with console.working("starting") as work, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")

        def report(number: int, rows: int) -> None:
            work.describe(_READS.get(number, f"read {number} of X"))
            work.advance_to(rows, source.shape[0])

        X: Any = ReportingSource(source, report)
        if packed is not None:
            X = packed if packed.source is None else replace(packed, source=X)
        estimator.fit(X, y, sample_weight=samples.table.sample_weight)
    for warning in caught:
        console.print_warning(str(warning.message))


def _print_summary(
    estimator: Any,  # noqa: ANN401
    samples: "Samples",
    reason: str,
    out: Path,
    seconds: float,
) -> None:
    result = estimator.result_
    bounds = f"estimate {result.gap_estimate:.1e}, bound {result.gap_bound:.1e}"
    reads = f"{result.exact_passes} reads of X, {result.packed_passes} of the packed copy"
    console.print_facts(
        [
            ("task", reason),
            ("estimator", type(estimator).__name__),
            ("data", _data_text(estimator, samples)),
            ("status", result.status.value),
            ("solution", f"{estimator.solution_}, of {_SOLUTIONS[estimator.solution_]}"),
            ("gap", f"{bounds}, in an objective of {result.objective:.6g}"),
            ("work", f"{reads}, {seconds:.2f} s"),
            ("model", f"{out} ({console.size_text(out.stat().st_size)})"),
        ]
    )


def _data_text(estimator: Any, samples: "Samples") -> str:  # noqa: ANN401
    if samples.packed is not None:
        return str(samples.packed)
    X, result = samples.table.source, estimator.result_
    n, d = X.shape
    packed = f", packed to {estimator.bits} bits" if result.packed_passes and estimator.bits < 32 else ""
    return f"{n} x {d} {X.dtype}, {console.size_text(n * d * X.dtype.itemsize)}{packed}"
