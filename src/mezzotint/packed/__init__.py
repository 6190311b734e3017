"""Samples as low-bit codes with a scale per column, in memory."""

from mezzotint.packed.decoded import DecodedSource
from mezzotint.packed.matrix import PackedMatrix
from mezzotint.packed.pack import pack
from mezzotint.packed.sources import ArraySource, Source, as_source

__all__ = ["ArraySource", "DecodedSource", "PackedMatrix", "Source", "as_source", "pack"]
