"""Stores: packed samples on disk, opened without reading them, at any of their precisions."""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mezzotint.errors import DataError, ParameterError
from mezzotint.kernels import Layout
from mezzotint.kernels.threads import resolve_n_jobs
from mezzotint.packed.matrix import HeldCodes, Origin, PackedMatrix
from mezzotint.packed.planes import READABLE_BITS, widths_of
from mezzotint.packed.sources import Source, as_source
from mezzotint.packed.store_files import OpenShard, advise, close_shards, open_shards, read_header
from mezzotint.packed.store_format import TILES, Columns, StoreInfo
from mezzotint.packed.store_map import Part, map_parts
from mezzotint.packed.store_planes import BlockReader, StoreSource, at_bits, tile_codes
from mezzotint.packed.store_verify import StoredCodes, Verify, check_verify

_LARGEST_CODES = 8  # bits of codes in memory: what lies below them is the source's


def open(
    path: str | Path,
    bits: int | None = None,
    *,
    shards: range | None = None,
    source: Any = None,  # noqa: ANN401 - any array-like
    verify: Verify = "first",
    n_jobs: int | None = None,
) -> PackedMatrix:
    """Open a store of packed samples.

    Codes in tiles are mapped: nothing is read, nothing is copied. Of planes, those that hold the top
    `bits` bits are read and put together in memory. Whoever reads a block first, a solver, `unpack` or
    `codes`, gets a StoreError if it does not fit its checksum. The store must not change while it is open:
    what was verified is not looked at again, and where a file has become shorter the operating system
    answers with a signal that ends the process.

    Parameters
    ----------
    path : str or Path
        Folder of the store.
    bits : {1, 2, 4, 8, 16} or None
        Read only the top bits (stores of planes): as 8-bit codes, or 4-bit codes for 4, 2 and 1. None
        reads all. Of a store of 16 bits that is 8-bit codes with the 16-bit values as their source.
    shards : range or None
        Open only these files of codes, which hold rows `origin.rows` of the store: a machine may have no
        others. None opens all; `origin.n_shards` says how many there are.
    source : array-like, Source or None
        The float rows that were packed (of `shards`, if those are given), for exact solutions.
    verify : {"first", "all", "never"}
        When blocks are compared with their checksums: each before it is read for the first time, all before
        this returns, or not at all. The headers are always verified.
    n_jobs : int or None
        Threads that verify blocks and put planes together; None means all cores within joblib's limit.

    Returns
    -------
    PackedMatrix
        Its `origin` says what was read. Without a source, a model trained on it is that of the quantised
        values.

    Raises
    ------
    StoreError
        If there is no store at `path`, or it is damaged, unfinished or of another version.
    ParameterError
        If the store cannot be read at `bits`, does not have these `shards`, or `verify` is something else.
    DataError
        If `source` has another shape than what is opened.

    See Also
    --------
    mezzotint.pack_file : writes a store from rows that need not fit into memory.

    Examples
    --------
    >>> import numpy as np, mezzotint as mz, tempfile
    >>> X = np.linspace(-1, 1, 2000, dtype=np.float32).reshape(500, 4)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     mz.pack_file(X, folder + "/rows.mzt", bits=16)
    ...     coarse, fine = mz.open(folder + "/rows.mzt", bits=4), mz.open(folder + "/rows.mzt")
    >>> coarse.bits, coarse.origin.bytes_read, fine.bits, fine.source.shape
    (4, 8000, 8, (500, 4))
    """
    check_verify(verify)
    files, columns = _select(path, shards)
    chosen = _checked_bits(files.info, bits)
    rows = None if source is None else _checked_source(source, files.info)
    if files.info.layout == TILES:
        return _mapped(files, columns, rows, verify, n_jobs)
    if verify == "all":
        _verify(files)
    trusted = verify != "first"
    if rows is None and chosen > _LARGEST_CODES:
        rows = _decoded(files, columns, chosen, trusted=trusted)
    reader = _reader(files, min(chosen, _LARGEST_CODES), trusted=trusted)
    return _assembled(files, reader, columns, rows, resolve_n_jobs(n_jobs))


def open_source(path: str | Path, bits: int | None = None, *, shards: range | None = None) -> StoreSource:
    """Open a store of planes as rows that are decoded block by block, without codes in memory.

    Together with a store of tiles everything stays on disk: ``open(tiles, source=open_source(planes))``.

    Parameters
    ----------
    path : str or Path
        Folder of a store of planes.
    bits : {1, 2, 4, 8, 16} or None
        Top bits to decode; None means all.
    shards : range or None
        Only these files, as in `open`.

    Returns
    -------
    StoreSource

    Raises
    ------
    StoreError
        If there is no store at `path`, or it is damaged, unfinished or of another version.
    ParameterError
        If the store holds tiles, or not that many bits, or not these shards.

    Examples
    --------
    >>> import numpy as np, mezzotint as mz, tempfile
    >>> X = np.linspace(-1, 1, 2000, dtype=np.float32).reshape(500, 4)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     mz.pack_file(X, folder + "/rows.mzt", bits=16)
    ...     rows = mz.packed.open_source(folder + "/rows.mzt")
    >>> bool(abs(rows.block(10, 20) - X[10:20]).max() < 1e-4)
    True
    """
    files, columns = _select(path, shards)
    if files.info.layout == TILES:
        raise ParameterError(
            f"{path} holds codes in {TILES}; only planes are decoded as a source. Open it with `open`, or "
            "pack with planes=True."
        )
    return _decoded(files, columns, _checked_bits(files.info, bits), trusted=False)


def verify_store(path: str | Path) -> int:
    """Read a store whole and check every block.

    Parameters
    ----------
    path : str or Path
        Folder of the store.

    Returns
    -------
    int
        Bytes of codes that were checked.

    Raises
    ------
    StoreError
        If anything is damaged; the message names the file and the rows.

    Examples
    --------
    >>> import numpy as np, mezzotint as mz, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     mz.pack(np.eye(16)).save(folder + "/rows.mzt")
    ...     mz.packed.verify_store(folder + "/rows.mzt")
    256
    """
    return _verify(_select(path, None)[0])


class _Files(NamedTuple):
    """Some or all shards of a store."""

    path: Path
    whole: StoreInfo
    shards: range

    @property
    def info(self) -> StoreInfo:
        """What they hold."""
        return self.whole.part(self.shards)

    def open(self) -> list[OpenShard]:
        """Open and check the files; the caller closes them."""
        return open_shards(self.path, self.whole, self.shards)

    def origin(self, bits: int, bytes_read: int) -> Origin:
        """What a matrix of these rows says of them."""
        first, last = self.whole.shards[self.shards.start], self.whole.shards[self.shards.stop - 1]
        return Origin(
            path=self.path,
            stored_bits=self.whole.bits,
            bits=bits,
            bytes_read=bytes_read,
            rows=(first.start, last.stop),
            n_shards=len(self.whole.shards),
        )


def _select(path: str | Path, shards: range | None) -> tuple[_Files, Columns]:
    store = Path(path)
    info, columns = read_header(store)
    every = range(len(info.shards))
    if shards is None:
        return _Files(store, info, every), columns
    if not isinstance(shards, range) or not shards or shards != every[shards.start : shards.stop]:
        raise ParameterError(
            f"shards={shards!r} of a store with {len(every)}; give neighbouring ones, a range within {every}."
        )
    return _Files(store, info, shards), columns


def _verify(files: _Files) -> int:
    """Check every block; the bytes read for that."""
    reader = BlockReader(files.info, files.open(), len(files.whole.planes))
    for block in reader.info.blocks():
        reader.pieces(block)
    return reader.bytes_read


def _checked_bits(info: StoreInfo, bits: int | None) -> int:
    if bits is None:
        return info.bits
    allowed = (info.bits,) if info.layout == TILES else _readable(info.bits)
    if isinstance(bits, bool) or bits not in allowed:
        hint = " Stores written with planes=True can be read at fewer bits." if info.layout == TILES else ""
        names = ", ".join(map(str, allowed))
        raise ParameterError(
            f"bits={bits!r} of a store of {info.bits} bits in {info.layout}; allowed: {names}.{hint}"
        )
    return bits


def _readable(bits: int) -> tuple[int, ...]:
    return READABLE_BITS[: len(widths_of(bits))]


def _checked_source(source: Any, info: StoreInfo) -> Source:  # noqa: ANN401
    rows = as_source(source)
    if rows.shape != info.shape:
        raise DataError(
            f"source has shape {rows.shape}, the rows that are opened {info.shape}; pass what was packed."
        )
    return rows


def _reader(files: _Files, bits: int, *, trusted: bool) -> BlockReader:
    return BlockReader(files.info, files.open(), len(widths_of(bits)), trusted=trusted)


def _decoded(files: _Files, columns: Columns, bits: int, *, trusted: bool) -> StoreSource:
    return StoreSource(_reader(files, bits, trusted=trusted), at_bits(files.whole, columns, bits))


def _mapped(
    files: _Files, columns: Columns, source: Source | None, verify: Verify, n_jobs: int | None
) -> PackedMatrix:
    info, shards = files.info, files.open()
    try:
        parts = [
            Part(shard.descriptor, shard.data_start, (info.padded(stop) - start) * info.planes[0])
            for shard, (start, stop, _) in zip(shards, info.shards, strict=True)
        ]
        for shard in shards:
            advise(shard.descriptor, "POSIX_FADV_NORMAL")  # kernels read from front to back
        codes = map_parts(parts)
    finally:
        close_shards(shards)
    held = HeldCodes(codes) if verify == "never" else StoredCodes(codes, info, shards, n_jobs)
    if verify == "all":
        held.read(0, info.shape[0])
    columns = replace(columns, noise=columns.noise[0])
    return _matrix(held, info.tiles, columns, source, info.dtype, files.origin(info.bits, 0))


def _assembled(
    files: _Files, reader: BlockReader, columns: Columns, source: Source | None, n_threads: int
) -> PackedMatrix:
    (n, d), bits = reader.info.shape, reader.bits
    layout = Layout(n_rows=n, n_columns=d, bits=max(bits, 4))
    held = HeldCodes(tile_codes(reader, layout, n_threads))
    origin = files.origin(bits, reader.bytes_read)
    return _matrix(held, layout, at_bits(files.whole, columns, bits), source, files.whole.dtype, origin)


def _matrix(
    held: HeldCodes,
    layout: Layout,
    columns: Columns,
    source: Source | None,
    dtype: str,
    origin: Origin,
) -> PackedMatrix:
    return PackedMatrix(
        held=held,
        layout=layout,
        offset=columns.offset,
        scale=columns.scale,
        noise=columns.noise,
        source=source,
        dtype=np.dtype(dtype),
        origin=origin,
    )
