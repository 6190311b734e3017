"""`mezzotint info`: what a store holds, and whether it is undamaged."""

import json
from pathlib import Path
from typing import Annotated

import typer

from mezzotint.cli import console

HELP = """Show what a store of packed rows holds: shape, bits, layout, files, how it was made.

The headers and their checksums are always verified; they are small. With --verify every block of codes is
read and compared with its checksum, and the exit code is 1 if one differs.

[bold]Examples[/]

mezzotint info rows.mzt

mezzotint info rows.mzt --verify

[bold]A store is written by[/]

mezzotint pack X.npy --out rows.mzt
"""


def info(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Folder of a store.")],
    verify: Annotated[bool, typer.Option("--verify", help="Read all codes and check them.")] = False,
) -> None:
    """Show and check."""
    from mezzotint.packed import verify_store

    facts = store_facts(path)
    if verify:
        with console.working("reading all codes"):
            checked = verify_store(path)
        facts.append(("verified", f"{console.size_text(checked)} of codes, no damage"))
    console.print_facts(facts)


def store_facts(path: Path) -> list[tuple[str, str]]:
    """Return what the header of a store says, as pairs of a name and a text."""
    from mezzotint.packed.planes import READABLE_BITS, widths_of
    from mezzotint.packed.store_files import close_shards, open_shards, read_header
    from mezzotint.packed.store_format import PLANES

    held, _ = read_header(path)
    close_shards(open_shards(path, held))
    n, d = held.shape
    layout = "tiles, mapped when opened"
    if held.layout == PLANES:
        bits = READABLE_BITS[: len(widths_of(held.bits))]
        layout = f"planes, can be opened at {', '.join(map(str, bits))} bits"
    draws = f": the sum of 2 draws of {held.level_bits}" if held.n_draws == 2 else ""
    levels = "" if held.levels is None else ", optimal levels"
    made = json.dumps(held.provenance, sort_keys=True)[1:-1]  # escapes what would steer a terminal
    smaller = 4 * n * d / held.n_bytes
    return [
        ("store", str(path)),
        ("rows", f"{n} x {d}, decoded to {held.dtype}"),
        ("codes", f"{held.bits} bits per value{draws}{levels}"),
        ("layout", layout),
        ("size", f"{console.size_text(held.n_bytes)}, {smaller:.1f}x smaller than float32"),
        ("files", f"{len(held.shards)}"),
        ("made by", made),
    ]
