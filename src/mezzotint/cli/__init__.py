"""The command line: `tour`, `fit`, `predict`, `pack`, `info`, `doctor` and `reproduce`, one module each.

Commands import what they need when they run, so that `mezzotint --help` loads neither scikit-learn nor
matplotlib. Exit codes: 0 success, 1 failure (the message says what to do), 2 wrong usage, 130 interrupted.
"""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mezzotint.cli import console, doctor, fit, info, pack, predict, reproduce, tour
from mezzotint.errors import MezzotintError

__all__ = ["app", "main"]

_HELP = """Train linear models on 8- or 4-bit data and get the answer of full precision.

[bold]Start here:[/]  mezzotint tour      trains real models in few bits beside full precision, in two minutes

[bold]Your data:[/]   mezzotint fit X.npy y.npy --out model      then      mezzotint predict model X.npy
"""


class _Group(TyperGroup):
    """Commands whose foreseen errors end in one line on stderr and exit code 1, without a traceback."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - typer's own type is private
        try:
            return super().invoke(ctx)
        except MezzotintError as error:
            message = str(error)
        except OSError as error:
            message = f"{error}. Check the path, its permissions and the free space."
        except MemoryError as error:
            message = f"out of memory: {error}. Use fewer bits (--bits 4) or fewer rows."
        console.print_error(message)
        raise typer.Exit(1)


app = typer.Typer(
    name="mezzotint",
    cls=_Group,
    help=_HELP,
    epilog="Exit codes: 0 success, 1 failure, 2 wrong usage, 130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("tour", help=console.help_text(tour.HELP))(tour.tour)
app.command("fit", help=console.help_text(fit.HELP))(fit.fit)
app.command("predict", help=console.help_text(predict.HELP))(predict.predict)
app.command("pack", help=console.help_text(pack.HELP))(pack.pack)
app.command("info", help=console.help_text(info.HELP))(info.info)
app.command("doctor", help=console.help_text(doctor.HELP))(doctor.doctor)
app.command("reproduce", help=console.help_text(reproduce.HELP))(reproduce.reproduce)


def _print_version(wanted: bool) -> None:
    if wanted:
        from mezzotint import __version__

        typer.echo(f"mezzotint {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options before a command's name."""


def main() -> None:
    """Run the command line."""
    app(prog_name="mezzotint")
