"""Named operations on raw arrays: a readable NumPy reference and compiled twins with the same signatures.

``ops()`` is the module in use; ``use("reference" | "portable" | "avx2" | "avx512")`` changes it, and
the environment variable ``MEZZOTINT_ISA`` caps it. All choices give the same bits (see docs/numerics.md).
"""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from mezzotint.errors import KernelUnavailableError
from mezzotint.kernels import _native, native, reference
from mezzotint.kernels.layout import MAX_COLUMNS, Layout, segment_bounds

__all__ = [
    "MAX_COLUMNS",
    "Layout",
    "available",
    "compiled",
    "ops",
    "processor_features",
    "segment_bounds",
    "use",
    "using",
]

_ops: Any = native


def available() -> list[str]:
    """Names that ``use`` accepts on this machine, slowest first."""
    return ["reference", *_native.supported()]


def compiled() -> list[str]:
    """Instruction sets this build contains, whether or not the processor runs them."""
    return list(_native.compiled())


def processor_features() -> list[str]:
    """Name the processor features that the automatic choice was made from."""
    return list(_native.processor_features())


def ops() -> Any:  # noqa: ANN401 - a module; both have the same functions (tests/parity)
    """Return the module whose functions are in use: ``reference`` or ``native``."""
    return _ops


def using() -> str:
    """Name of the implementation in use."""
    return "reference" if _ops is reference else str(_native.active())


@contextlib.contextmanager
def _restored(previous: str) -> Iterator[None]:
    try:
        yield
    finally:
        _select(previous)


def use(name: str) -> contextlib.AbstractContextManager[None]:
    """Run on the implementation `name` from now on; as a context manager, until the block ends.

    Parameters
    ----------
    name : str
        One of ``available()``.

    Raises
    ------
    KernelUnavailableError
        If this machine cannot run `name`.
    """
    previous = using()
    _select(name)
    return _restored(previous)


def _select(name: str) -> None:
    global _ops
    if name not in available():
        raise KernelUnavailableError(
            f"kernels {name!r} do not run on this machine; available: {', '.join(available())}"
        )
    if name != "reference":
        _native.use(name)
    _ops = reference if name == "reference" else native


def _apply_cap() -> None:
    """MEZZOTINT_ISA names the fastest instruction set allowed; unknown names are an error at import."""
    cap = os.environ.get("MEZZOTINT_ISA")
    if not cap:
        return
    order = ["reference", *compiled()]
    if cap not in order:
        raise KernelUnavailableError(
            f"MEZZOTINT_ISA={cap!r} is unknown; allowed: {', '.join(order)}. "
            "Unset it to let mezzotint choose."
        )
    allowed = order[: order.index(cap) + 1]
    _select([name for name in available() if name in allowed][-1])


_apply_cap()
