"""`mezzotint predict`: apply a model file to the rows of a file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mezzotint.cli import console

if TYPE_CHECKING:
    from mezzotint.cli.model_file import SavedModel
    from mezzotint.packed import Source

HELP = """Apply a model that `mezzotint fit` wrote to the rows of a file.

X is of any kind that `mezzotint fit` takes and read a block at a time. Writes labels (classification) or
numbers (regression) to a .npy file; with --probabilities one column per class, in the order that is printed.

[bold]Examples[/]

mezzotint predict model X.npy --out y.npy

mezzotint predict model X.npy --probabilities --out p.npy

mezzotint predict model pages.parquet --columns embedding --out y.npy
"""
_BLOCK_BYTES = 2**25  # of X converted at a time


def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="File written by `mezzotint fit`.")],
    x: Annotated[Path, typer.Argument(metavar="X", help="File of samples, shape (n, d).")],
    out: Annotated[Path, typer.Option("--out", "-o", help=".npy file to write; replaced if it exists.")],
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Class probabilities instead of labels.")
    ] = False,
    columns: Annotated[
        str | None, typer.Option(help="Columns of X to use, with commas.", show_default="all")
    ] = None,
) -> None:
    """Predict and write."""
    from mezzotint.cli import inputs
    from mezzotint.cli.model_file import load_model

    inputs.check_writable(out)
    saved = load_model(model)
    X = inputs.read_table(x, columns=columns).source
    _check_columns(saved, X.shape[1])
    if probabilities and saved.estimator != "LogisticRegression":
        raise typer.BadParameter(
            f"--probabilities needs a LogisticRegression; {model} is a {saved.estimator}. Leave it out."
        )
    restored = restore(saved)
    write_predictions(restored.predict_proba if probabilities else restored.predict, X, out)
    facts = [("model", f"{saved.estimator}, {saved.coef.shape[1]} columns")]
    if saved.classes is not None:
        facts.append(("classes", ", ".join(map(str, saved.classes.tolist()))))
    console.print_facts([*facts, ("written", f"{out}: {X.shape[0]} rows")])


def restore(saved: "SavedModel") -> Any:  # noqa: ANN401 - one of our estimators
    """Return a fitted estimator that predicts what the saved one did."""
    from mezzotint import linear

    estimator = getattr(linear, saved.estimator)()
    estimator.n_features_in_ = saved.coef.shape[1]
    flat = saved.flat and saved.classes is None
    estimator.coef_ = saved.coef[0] if flat else saved.coef
    estimator.intercept_ = float(saved.intercept[0]) if flat else saved.intercept
    if saved.classes is not None:
        estimator.classes_ = saved.classes
    return estimator


def write_predictions(predict: Any, X: "Source", out: Path) -> None:  # noqa: ANN401 - a bound method
    """Apply `predict` block by block and write one .npy file, whole or not at all."""
    import numpy as np

    from mezzotint.cli.inputs import replacing

    step = max(1, _BLOCK_BYTES // (8 * X.shape[1]))
    with console.working("predicting") as work, replacing(out) as part:
        n_rows = X.shape[0]
        first = np.asarray(predict(X.block(0, min(step, n_rows))))
        shape = (n_rows, *first.shape[1:])
        written = np.lib.format.open_memmap(part, mode="w+", dtype=first.dtype, shape=shape)
        written[:step] = first
        for start in range(step, n_rows, step):
            work.advance_to(start, n_rows)
            written[start : start + step] = predict(X.block(start, min(start + step, n_rows)))
        written.flush()


def _check_columns(saved: "SavedModel", n_columns: int) -> None:
    from mezzotint.errors import DataError

    expected = saved.coef.shape[1]
    if n_columns != expected:
        raise DataError(
            f"X has {n_columns} columns, but the model was fitted on {expected}; "
            "give the same columns in the same order."
        )
