"""Samples as low-bit codes with a scale per column, in memory and on disk."""

from mezzotint.packed.decoded import DecodedSource
from mezzotint.packed.from_codes import from_codes
from mezzotint.packed.known_codes import from_faiss_sq, from_sentence_transformers, from_usearch_i8
from mezzotint.packed.matrix import Origin, PackedMatrix
from mezzotint.packed.pack import pack
from mezzotint.packed.read import Table, read
from mezzotint.packed.shuffle import shuffled
from mezzotint.packed.sources import ArraySource, Source, as_source
from mezzotint.packed.store import open, open_source, verify_store
from mezzotint.packed.store_pack import pack_file
from mezzotint.packed.store_planes import StoreSource

__all__ = [
    "ArraySource",
    "DecodedSource",
    "Origin",
    "PackedMatrix",
    "Source",
    "StoreSource",
    "Table",
    "as_source",
    "from_codes",
    "from_faiss_sq",
    "from_sentence_transformers",
    "from_usearch_i8",
    "open",
    "open_source",
    "pack",
    "pack_file",
    "read",
    "shuffled",
    "verify_store",
]
