"""Samples as low-bit codes with a scale per column, in memory."""

from mezzotint.packed.from_codes import from_codes
from mezzotint.packed.known_codes import from_faiss_sq, from_sentence_transformers, from_usearch_i8
from mezzotint.packed.matrix import PackedMatrix
from mezzotint.packed.pack import pack
from mezzotint.packed.read import Table, read
from mezzotint.packed.shuffle import shuffled
from mezzotint.packed.sources import ArraySource, Source, as_source

__all__ = [
    "ArraySource",
    "PackedMatrix",
    "Source",
    "Table",
    "as_source",
    "from_codes",
    "from_faiss_sq",
    "from_sentence_transformers",
    "from_usearch_i8",
    "pack",
    "read",
    "shuffled",
]
