"""`mezzotint reproduce`: compute a claim of the papers again, with a table, numbers and a picture."""

from pathlib import Path
from typing import Annotated

import typer

from mezzotint.cli import console

HELP = """Compute a claim of the papers again and print its table. Without a name, list what there is.

Writes NAME.json (all numbers, sizes, seeds, settings) and, if matplotlib is installed, NAME.png. Exit code 1
if a statement of the paper does not hold.

Data sets that are not generated and do not come with scikit-learn are read from the folder named by the
variable MEZZOTINT_DATA; without it they are left out, and the output says so.

[bold]Example[/]

mezzotint reproduce zipml-levels --out figures
"""


def reproduce(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Which one.")] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the files; made if it does not exist.")
    ] = Path("reproduce-output"),
    quick: Annotated[bool, typer.Option("--quick", help="Small sizes: seconds, other numbers.")] = False,
) -> None:
    """Compute, print, write."""
    from mezzotint import reproduce as reproductions
    from mezzotint.cli import reproduce_report

    if name is None:
        console.print_facts(list(reproductions.REPRODUCTIONS.items()))
        return
    if name in reproductions.REPRODUCTIONS:
        out.mkdir(parents=True, exist_ok=True)  # a folder that cannot be made is better known before the work
    with console.working(name) as work:
        report = reproductions.reproduce(
            name, quick=quick, tell=lambda text: work.describe(f"{name}: {text}")
        )
    reproduce_report.print_report(report)
    for label, path in reproduce_report.write(report, name, out):
        typer.echo(f"{label}: {path}")
    if report.failed:
        console.print_error(f"this run does not show: {'; '.join(report.failed)}.")
        raise typer.Exit(1)
