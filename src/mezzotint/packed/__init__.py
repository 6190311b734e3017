"""Samples as low-bit codes with a scale per column, in memory and on disk."""

from mezzotint.packed.decoded import DecodedSource
from mezzotint.packed.matrix import Origin, PackedMatrix
from mezzotint.packed.pack import pack
from mezzotint.packed.sources import ArraySource, Source, as_source
from mezzotint.packed.store import open, verify_store
from mezzotint.packed.store_pack import pack_file
from mezzotint.packed.store_planes import StoreSource

__all__ = [
    "ArraySource",
    "DecodedSource",
    "Origin",
    "PackedMatrix",
    "Source",
    "StoreSource",
    "as_source",
    "open",
    "pack",
    "pack_file",
    "verify_store",
]
