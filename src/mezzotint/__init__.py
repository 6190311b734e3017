"""mezzotint: train models in few bits and reach the answer of full precision.

``import mezzotint`` loads NumPy only; everything else loads on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mezzotint.errors import (
    DataError,
    DataTypeError,
    FileError,
    FormatError,
    KernelUnavailableError,
    MezzotintError,
    ParameterError,
    StoreError,
)

if TYPE_CHECKING:
    from mezzotint.packed import (
        PackedMatrix,
        Table,
        from_codes,
        from_faiss_sq,
        from_sentence_transformers,
        from_usearch_i8,
        open,
        pack,
        pack_file,
        read,
    )

__version__ = "0.1.0"

__all__ = [
    "DataError",
    "DataTypeError",
    "FileError",
    "FormatError",
    "KernelUnavailableError",
    "MezzotintError",
    "PackedMatrix",
    "ParameterError",
    "StoreError",
    "Table",
    "from_codes",
    "from_faiss_sq",
    "from_sentence_transformers",
    "from_usearch_i8",
    "open",
    "pack",
    "pack_file",
    "read",
]

_PACKED = (
    "PackedMatrix",
    "Table",
    "from_codes",
    "from_faiss_sq",
    "from_sentence_transformers",
    "from_usearch_i8",
    "open",
    "pack",
    "pack_file",
    "read",
)
_LAZY = dict.fromkeys(_PACKED, "mezzotint.packed")
_SUBMODULES = ("expansions", "formats", "kernels", "linear", "monitor", "optim", "packed", "random")


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    if name in _LAZY:
        value = getattr(import_module(_LAZY[name]), name)
    elif name in _SUBMODULES:
        value = import_module(f"mezzotint.{name}")
    else:
        raise AttributeError(f"module 'mezzotint' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, *_SUBMODULES, "__version__"])
