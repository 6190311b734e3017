"""`mezzotint doctor`: what runs on this machine, and why."""

import os
import platform
import sys
from importlib import metadata
from typing import Annotated

import typer

from mezzotint.cli import console

HELP = """Show what runs on this machine and why, and check the kernels.

Prints the instruction set in use, what limits the threads, and versions; then compares every instruction
set that runs here with the plain NumPy reference. Exits with 1 if one differs.

[bold]Environment[/]

MEZZOTINT_ISA caps the instruction set: reference, portable, avx2 or avx512.

OMP_NUM_THREADS caps the threads of calls that do not ask for a number.
"""
_LIBRARIES = (
    "numpy",
    "scipy",
    "scikit-learn",
    "joblib",
    "threadpoolctl",
    "safetensors",
    "matplotlib",
    "torch",
)


def doctor(
    check: Annotated[bool, typer.Option(help="Compare the kernels with the reference.")] = True,
) -> None:
    """Print and check."""
    console.print_facts([*_versions(), *_kernels(), *_threads()])
    if not check:
        return
    with console.working("checking kernels"):
        verdicts = self_check()
    console.print_facts([(f"check {name}", verdict or "equals the reference") for name, verdict in verdicts])
    if any(verdict for _, verdict in verdicts):
        console.print_error(
            "a kernel differs from the reference. Cap the instruction set with MEZZOTINT_ISA and report "
            "this output."
        )
        raise typer.Exit(1)


def self_check() -> list[tuple[str, str]]:
    """Compare packing and both packed products with the reference, for every instruction set here.

    Returns
    -------
    list of (str, str)
        Instruction set and what differs; an empty text if nothing does.
    """
    from mezzotint import kernels

    with kernels.use("reference"):
        expected = _products()
    verdicts = []
    for name in kernels.available()[1:]:
        with kernels.use(name):
            found = _products()
        wrong = [key for key in expected if not _equal(expected[key], found[key])]
        verdicts.append((name, f"differs in {', '.join(wrong)}" if wrong else ""))
    return verdicts


def _products() -> dict[str, object]:
    """Codes, margins and gradients of a small fixed matrix, in 8 and 4 bits."""
    import numpy as np

    from mezzotint import kernels, pack, random

    n, d = 211, 37
    X = (random.uniforms(0, 0, n * d).reshape(n, d) - 0.5).astype(np.float32)
    v = random.uniforms(1, 0, 2 * (d + 1)).reshape(2, d + 1) - 0.5
    c = (random.uniforms(2, 0, 2 * n).reshape(2, n) - 0.5).astype(np.float32)
    found: dict[str, object] = {}
    for bits in (8, 4):
        packed = pack(X, bits=bits)
        arguments = (packed.codes, packed.layout, packed.offset, packed.scale)
        margins = np.empty((2, n), np.float32)
        kernels.ops().packed_margins(*arguments, v, margins, n_threads=2)
        found[f"packing to {bits} bits"] = packed.codes
        found[f"{bits}-bit margins"] = margins
        found[f"{bits}-bit gradient"] = kernels.ops().packed_gradient(*arguments, c, n_threads=2)
    return found


def _equal(expected: object, found: object) -> bool:
    """Codes exactly; floats up to rounding, because NumPy sums in an order of its own."""
    import numpy as np

    expected, found = np.asarray(expected), np.asarray(found)
    if expected.dtype.kind == "u":
        return bool(np.array_equal(expected, found))
    return bool(np.allclose(found, expected, rtol=1e-6, atol=1e-6 * float(np.abs(expected).max())))


def _versions() -> list[tuple[str, str]]:
    from mezzotint import __version__

    found = []
    for name in _LIBRARIES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            found.append(f"{name} absent")
    return [
        (
            "mezzotint",
            f"{__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}",
        ),
        ("libraries", ", ".join(found)),
    ]


def _kernels() -> list[tuple[str, str]]:
    from mezzotint import kernels

    cap = os.environ.get("MEZZOTINT_ISA")
    runs = kernels.available()
    fastest = runs[-1]
    why = "the fastest that this processor runs"
    if cap:
        why = f"MEZZOTINT_ISA={cap} caps it"
    return [
        ("kernels", f"{kernels.using()}: {why}"),
        ("compiled in", ", ".join(kernels.compiled())),
        ("run here", f"{', '.join(runs)} (fastest: {fastest})"),
        ("processor", ", ".join(kernels.processor_features()) or "no feature that we look for"),
        ("MEZZOTINT_ISA", cap or "not set"),
    ]


def _threads() -> list[tuple[str, str]]:
    from mezzotint.kernels.threads import resolve_n_jobs

    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    threads = resolve_n_jobs(None)
    omp = os.environ.get("OMP_NUM_THREADS")
    why = "one per core that this process may use"
    if threads < cores:
        why = (
            f"OMP_NUM_THREADS={omp} is below the {cores} cores"
            if omp
            else "a limit of joblib or threadpoolctl"
        )
    machine = os.cpu_count()
    return [
        ("threads", f"{threads}: {why}"),
        ("cores", f"{cores} for this process, {machine} in the machine"),
    ]
