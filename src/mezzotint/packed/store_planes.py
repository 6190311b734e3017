"""Reading a store of planes: only those that are asked for, every block verified when it is first read."""

import os
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mezzotint.kernels import Layout, ops
from mezzotint.packed.planes import READABLE_BITS, Codes, join, widths_of
from mezzotint.packed.sources import FloatArray
from mezzotint.packed.store_files import OpenShard, advise
from mezzotint.packed.store_format import Block, Columns, StoreInfo, checksum
from mezzotint.packed.store_map import read_into
from mezzotint.packed.store_verify import damaged

Pieces = list[NDArray[np.uint8]]


class BlockReader:
    """Reads the first planes of a store's blocks; a block is read whole the first time, and verified.

    Parameters
    ----------
    info : StoreInfo
        What the files hold together.
    shards : list of OpenShard
        The files; closed when the reader is gone.
    n_planes : int
        How many planes to read.
    trusted : bool
        Blocks are not verified: they have been, or nobody wants it.

    Attributes
    ----------
    bytes_read : int
        Bytes of codes read so far.
    """

    def __init__(
        self, info: StoreInfo, shards: list[OpenShard], n_planes: int, *, trusted: bool = False
    ) -> None:
        self.info = info
        self.bytes_read = 0
        self._shards = shards
        self._row_bytes = info.planes[:n_planes]
        self._verified = [np.full(len(shard.checksums), trusted) for shard in shards]
        for shard in shards:
            weakref.finalize(self, os.close, shard.descriptor)

    @property
    def bits(self) -> int:
        """Top bits of a code that are read, of a store of planes."""
        return READABLE_BITS[len(self._row_bytes) - 1]

    def pieces(self, block: Block, start: int = 0, stop: int | None = None) -> Pieces:
        """Bytes of rows [start, stop) of a block, counted from its first, one array per plane.

        StoreError if the block is damaged.
        """
        if self._verified[block.shard][block.number]:
            return self._read(block, start, self._n_rows(block) if stop is None else stop)
        pieces = self._read(block, 0, self._n_rows(block))
        self._verify(block, pieces)
        return [piece[start:stop] for piece in pieces]

    def codes(self, block: Block, start: int = 0, stop: int | None = None) -> Codes:
        """Top bits of rows [start, stop) of a block of planes."""
        return join(self.pieces(block, start, stop), self.info.shape[1])

    def _n_rows(self, block: Block) -> int:
        return self.info.padded(block.stop) - block.start

    def _read(self, block: Block, start: int, stop: int) -> Pieces:
        shard = self._shards[block.shard]
        shard_start, shard_stop, _ = self.info.shards[block.shard]
        at, first = shard.data_start, block.start + start - shard_start
        plane_rows = self.info.padded(shard_stop) - shard_start
        pieces = []
        for row_bytes in self._row_bytes:
            piece = np.empty((stop - start, row_bytes), dtype=np.uint8)
            begin = at + first * row_bytes
            at += plane_rows * row_bytes
            read_into(shard.descriptor, begin, piece.reshape(-1))
            if stop - start == self._n_rows(block):  # reading in order: the system may fetch the next block
                end = begin + piece.size
                advise(shard.descriptor, "POSIX_FADV_WILLNEED", end, min(piece.size, at - end))
            self.bytes_read += piece.size
            pieces.append(piece)
        return pieces

    def _verify(self, block: Block, pieces: Pieces) -> None:
        shard = self._shards[block.shard]
        for piece, expected in zip(pieces, shard.checksums[block.number], strict=False):
            actual = checksum(piece)
            if actual != expected:
                raise damaged(shard, block, int(expected), actual)
        self._verified[block.shard][block.number] = True


class StoreSource:
    """Float rows decoded from a store of planes, as a Source: for exact passes when the floats are gone.

    Parameters
    ----------
    reader : BlockReader
        At the bits that the rows are decoded from.
    columns : Columns
        Offset and scale at these bits.
    """

    is_decoded = True

    def __init__(self, reader: BlockReader, columns: Columns) -> None:
        self._reader, self._columns = reader, columns

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self._reader.info.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the blocks: that of the rows which were packed."""
        return np.dtype(self._reader.info.dtype)

    @property
    def whole(self) -> None:
        """None: rows are decoded block by block."""
        return

    @property
    def bytes_read(self) -> int:
        """Bytes of planes read so far."""
        return self._reader.bytes_read

    def block(self, start: int, stop: int) -> FloatArray:
        """Decode rows [start, stop)."""
        out = np.empty((stop - start, self.shape[1]), dtype=self.dtype)
        done = start
        while done < stop:
            block = self._reader.info.block_at(done)
            end = min(stop, block.stop)
            codes = self._reader.codes(block, done - block.start, end - block.start)
            out[done - start : end - start] = self._decode(codes)
            done = end
        return out

    def rows(self, index: NDArray[np.int64]) -> FloatArray:
        """Decode the rows of an increasing index."""
        out = np.empty((len(index), self.shape[1]), dtype=self.dtype)
        done = 0
        while done < len(index):
            block = self._reader.info.block_at(int(index[done]))
            end = int(np.searchsorted(index, block.stop))
            wanted = index[done:end] - block.start
            codes = self._reader.codes(block, int(wanted[0]), int(wanted[-1]) + 1)
            out[done:end] = self._decode(codes[wanted - wanted[0]])
            done = end
        return out

    def _decode(self, codes: Codes) -> NDArray[np.float64]:
        return self._columns.offset + self._columns.scale * codes


def at_bits(info: StoreInfo, columns: Columns, bits: int) -> Columns:
    """Return the map of a code's top bits: they stand for the centre of the codes that begin with them."""
    per_code = 2.0 ** (info.bits - bits)
    return Columns(
        offset=columns.offset + columns.scale * ((per_code - 1) / 2),
        scale=columns.scale * per_code,
        noise=columns.noise[len(widths_of(bits)) - 1],
    )


def tile_codes(reader: BlockReader, layout: Layout, n_threads: int) -> NDArray[np.uint8]:
    """Read all planes of a reader into the kernels' layout, block by block."""
    codes = layout.empty_codes()
    zero, one = np.zeros(layout.n_columns), np.ones(layout.n_columns)
    for block in reader.info.blocks():
        rows = reader.codes(block).astype(np.float32)  # small integers: rounding them is exact
        ops().pack_rows(rows, layout, zero, one, codes, block.start, n_threads=n_threads)
    return codes
