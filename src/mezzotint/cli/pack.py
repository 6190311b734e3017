"""`mezzotint pack`: write rows as a store of low-bit codes."""

import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mezzotint.cli import console

HELP = """Pack the rows of IN into a store: a folder of low-bit codes that `mezzotint.open` maps into memory.

IN is a .npy, Parquet, Arrow, CSV, libsvm or safetensors file. It is read block by block, so it may be
larger than memory. If the work is interrupted, a store that was there before is untouched, and the same
command continues where it stopped.

[bold]How many bits[/]: 8 trains fastest, 4 needs least room. 16 keeps bit planes: the store can be opened
at 1, 2, 4, 8 or 16 bits and reads that share of its bytes; at 16 it stands in for the rows themselves.
--planes does the same within 8 or 4 bits.

[bold]Examples[/]

mezzotint pack X.npy --bits 8 --out rows.mzt

mezzotint pack pages.parquet --columns embedding --bits 16 --out rows.mzt

[bold]Then[/]

mezzotint info rows.mzt --verify
"""


class Rounding(StrEnum):
    """Which neighbouring code a value gets."""

    NEAREST = "nearest"
    STOCHASTIC = "stochastic"


class Levels(StrEnum):
    """Where the levels of a draw lie."""

    UNIFORM = "uniform"
    OPTIMAL = "optimal"


def pack(
    x: Annotated[Path, typer.Argument(metavar="IN", help="File of samples, shape (n, d).")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder to write; a store that is there is replaced.")
    ],
    columns: Annotated[
        str | None, typer.Option(help="Columns of IN to pack, with commas.", show_default="all")
    ] = None,
    bits: Annotated[
        int, typer.Option(help="Bits per value: 8, 4, or 16 (in planes). Of one of two draws: 1, 2, 3, 4, 7.")
    ] = 8,
    draws: Annotated[
        int, typer.Option(help="Draws per value; 2 for unbiased training from the store alone.", min=1, max=2)
    ] = 1,
    levels: Annotated[
        Levels,
        typer.Option(help="Optimal rounds with the least variance; for 4 bits, or two draws of at most 4."),
    ] = Levels.UNIFORM,
    planes: Annotated[
        bool | None,
        typer.Option(
            "--planes/--tiles", help="Bit planes, or codes as kernels read them.", show_default="by bits"
        ),
    ] = None,
    rounding: Annotated[
        Rounding | None,
        typer.Option(help="Stochastic is unbiased; tiles only.", show_default="by draws, levels"),
    ] = None,
    shard_megabytes: Annotated[int, typer.Option(help="Largest size of a file, about.", min=1)] = 1000,
    n_jobs: Annotated[
        int | None, typer.Option(help="Threads; the store does not depend on it.", show_default="all cores")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the row sample and of stochastic rounding.")] = 0,
) -> None:
    """Pack and write."""
    from mezzotint.cli import inputs
    from mezzotint.cli.info import store_facts
    from mezzotint.packed import pack_file

    started = time.perf_counter()
    X = inputs.read_table(x, columns=columns).source
    with console.working("packing") as work:
        pack_file(
            X,
            out,
            bits=bits,
            n_draws=draws,
            levels=levels.value,
            planes=planes,
            rounding=None if rounding is None else rounding.value,
            shard_bytes=shard_megabytes * 10**6,
            random_state=seed,
            n_jobs=n_jobs,
            progress=work.advance_to,
        )
    seconds = time.perf_counter() - started
    console.print_facts([("packed", str(x)), *store_facts(out), ("work", f"{seconds:.2f} s")])
