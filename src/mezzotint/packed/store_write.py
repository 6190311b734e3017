"""Writing a store whole or not at all: into a folder beside it, block by block, renamed at the end.

Every finished block is noted with its checksums in a journal, so that an interrupted writer's work can be
taken up again. The journal and the blocks need no order on the disk: what is taken up is verified.
"""

import contextlib
import json
import os
import re
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import DataError, StoreError
from mezzotint.packed.store_files import (
    SHARD_KIND,
    check_columns,
    frame_bytes,
    header_file,
    shard_frame,
)
from mezzotint.packed.store_format import (
    HEADER_NAME,
    Block,
    Columns,
    Shard,
    StoreInfo,
    checksum,
    shard_name,
)
from mezzotint.packed.store_map import Part, map_parts, read_into
from mezzotint.packed.store_place import JOURNAL, check_ours, check_target, empty, put_in_place, sync_folder

if sys.platform != "win32":
    import fcntl


_ENTRY = re.compile(r"(\d{1,9}) (\d{1,9})((?: [0-9a-f]{8})+)")  # of the journal: shard, block, checksums

Pieces = Sequence[NDArray[np.uint8]]


class StoreWriter:
    """Writes the blocks of a planned store; use it in a ``with`` block and `commit` at the end.

    Parameters
    ----------
    path : Path
        Where the store will be. A store that is there now stays untouched until `commit`.
    info : StoreInfo
        What will be written; checksums of shards are not known yet.
    columns : Columns
        Offsets, scales and noises.
    resume : bool
        Keep the blocks that an interrupted writer with the same `info`, `columns` and `path` finished.

    Raises
    ------
    StoreError
        If `path` holds anything but a store, another process writes there, or the disk is full.
    """

    def __init__(self, path: Path, info: StoreInfo, columns: Columns, *, resume: bool) -> None:
        check_columns(info, columns)
        self.path, self.info, self._columns = path, info, columns
        self._partial = path.with_name(f"{path.name}.partial")
        check_target(path)
        self._descriptors: list[int] = []
        self._blocks = {(b.shard, b.number): b for b in info.blocks()}
        self._checksums = [
            np.zeros((info.n_blocks(s), len(info.planes)), dtype=np.uint32) for s in range(len(info.shards))
        ]
        self._start_of_planes = [self._plane_start(s) for s in range(len(info.shards))]
        with _explaining(self._partial):
            self._journal = self._lock()
            try:
                self._done = self._take_up() if resume else set()
                if not self._done:
                    self._start_over()
            except BaseException:
                self._close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, DataError):  # the rows cannot be packed: nothing to continue
            empty(self._partial)
            self._partial.rmdir()
        self._close()

    def missing_blocks(self) -> Iterator[Block]:
        """Yield the blocks that are still to be written."""
        for key, block in self._blocks.items():
            if key not in self._done:
                yield block

    def map_codes(self) -> NDArray[np.uint8]:
        """Map the codes of all shards as one array to write into (tiles only)."""
        lengths = [self._sizes(s)[0] for s in range(len(self.info.shards))]
        parts = zip(self._descriptors, self._start_of_planes, lengths, strict=True)
        return map_parts([Part(*part) for part in parts], writable=True)

    def write(self, block: Block, pieces: Pieces) -> None:
        """Write the bytes of a block, one array per plane, and note it."""
        with _explaining(self._partial):
            for at, piece in zip(self._places(block), pieces, strict=True):
                _write_all(self._descriptors[block.shard], piece.reshape(-1).data, at)
        self.note(block, pieces)

    def note(self, block: Block, pieces: Pieces) -> None:
        """Note a block whose bytes are in place."""
        crcs = [checksum(piece) for piece in pieces]
        self._checksums[block.shard][block.number] = crcs
        line = " ".join([str(block.shard), str(block.number), *(f"{crc:08x}" for crc in crcs)])
        with _explaining(self._partial):
            _write_all(self._journal, memoryview(_sealed(line)))
        self._done.add((block.shard, block.number))

    def commit(self) -> None:
        """Finish the headers and put the store in its place."""
        missing = next(self.missing_blocks(), None)
        if missing is not None:
            raise StoreError(
                f"rows {missing.start} to {missing.stop} of {self.path} were not written; write them first."
            )
        with _explaining(self._partial):
            shards = [self._finish(s) for s in range(len(self.info.shards))]
            content = header_file(replace(self.info, shards=tuple(shards)), self._columns)
            _write_file(self._partial / HEADER_NAME, content)
            sync_folder(self._partial)
            put_in_place(self._partial, self.path)
            (self.path / JOURNAL).unlink()

    def _finish(self, shard: int) -> Shard:
        start, stop, _ = self.info.shards[shard]
        frame, crc32 = shard_frame(self.info, shard, self._checksums[shard])
        descriptor = self._descriptors[shard]
        _write_all(descriptor, memoryview(frame), 0)
        os.fsync(descriptor)
        return Shard(start, stop, crc32)

    def _lock(self) -> int:
        """Open the journal for this process alone."""
        self._partial.mkdir(exist_ok=True)
        check_ours(self._partial)
        path = self._partial / JOURNAL
        journal = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            if sys.platform != "win32":
                fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(os.stat(path), os.fstat(journal)):  # renamed since it was opened
                raise BlockingIOError
        except OSError as error:
            os.close(journal)
            raise StoreError(f"{self.path} is being written by another process; wait for it.") from error
        return journal

    def _plan_line(self) -> bytes:
        """Return what two writers must have in common to continue each other's work."""
        numbers = (self._columns.offset, self._columns.scale, self._columns.noise)
        crc32 = zlib.crc32(b"".join(a.tobytes() for a in numbers))
        return _sealed(json.dumps([self.info.describe(), crc32]))

    def _start_over(self) -> None:
        os.ftruncate(self._journal, 0)
        self._close_shards()
        empty(self._partial, keep=JOURNAL)
        for shard in range(len(self.info.shards)):
            self._open_shard(shard, os.O_CREAT | os.O_EXCL)
            size = self._start_of_planes[shard] + sum(self._sizes(shard))
            _reserve(self._descriptors[shard], size)
        _write_all(self._journal, memoryview(self._plan_line()))

    def _take_up(self) -> set[tuple[int, int]]:
        """Open what an interrupted writer left; the blocks of it that are noted and verified."""
        size = os.fstat(self._journal).st_size
        lines = os.pread(self._journal, size, 0).splitlines(keepends=True)
        if not lines or lines[0] != self._plan_line():
            return set()
        for shard in range(len(self.info.shards)):
            if not (self._partial / shard_name(shard)).is_file():
                return set()
            self._open_shard(shard)
            if os.fstat(self._descriptors[-1]).st_size != self._start_of_planes[shard] + sum(
                self._sizes(shard)
            ):
                return set()
        kept = (self._verified(line) for line in lines[1:])
        return {key for key in kept if key is not None}

    def _verified(self, line: bytes) -> tuple[int, int] | None:
        """Return the block of a journal line if the file holds the bytes it was noted with."""
        entry = _ENTRY.fullmatch(_unsealed(line))
        block = self._blocks.get((int(entry[1]), int(entry[2]))) if entry else None
        if entry is None or block is None:
            return None
        numbers = [int(crc, 16) for crc in entry[3].split()]
        if numbers != [checksum(piece) for piece in self._read(block)]:
            return None
        self._checksums[block.shard][block.number] = numbers
        return block.shard, block.number

    def _read(self, block: Block) -> Iterator[NDArray[np.uint8]]:
        rows = self.info.padded(block.stop) - block.start
        for at, row_bytes in zip(self._places(block), self.info.planes, strict=True):
            piece = np.empty(rows * row_bytes, dtype=np.uint8)
            read_into(self._descriptors[block.shard], at, piece)
            yield piece

    def _places(self, block: Block) -> Iterator[int]:
        """Where each plane's piece of a block lies in the shard's file."""
        at = self._start_of_planes[block.shard]
        rows_before = block.start - self.info.shards[block.shard].start
        for size, row_bytes in zip(self._sizes(block.shard), self.info.planes, strict=True):
            yield at + rows_before * row_bytes
            at += size

    def _sizes(self, shard: int) -> list[int]:
        start, stop, _ = self.info.shards[shard]
        rows = self.info.padded(stop) - start
        return [rows * row_bytes for row_bytes in self.info.planes]

    def _plane_start(self, shard: int) -> int:
        table = self.info.shard_table(shard)
        frame = frame_bytes(SHARD_KIND, self.info.describe(shard), 0, table, aligned=1)
        end: int = table["checksums"]["data_offsets"][1]
        return len(frame) + end

    def _open_shard(self, shard: int, flags: int = 0) -> None:
        path = self._partial / shard_name(shard)
        self._descriptors.append(os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | flags, 0o666))

    def _close_shards(self) -> None:
        while self._descriptors:
            os.close(self._descriptors.pop())

    def _close(self) -> None:
        self._close_shards()
        os.close(self._journal)


@contextlib.contextmanager
def _explaining(path: Path) -> Iterator[None]:
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written: {error.strerror}. Check the permissions and the free space."
        ) from error


def _sealed(text: str) -> bytes:
    return f"{text} {zlib.crc32(text.encode()):08x}\n".encode()


def _unsealed(line: bytes) -> str:
    """Text of a journal line; empty if it was cut short."""
    text, _, _ = line.decode("utf-8", "replace").rpartition(" ")
    return text if line == _sealed(text) else ""


def _write_all(descriptor: int, data: memoryview, at: int | None = None) -> None:
    done = 0
    while done < len(data):
        rest = data[done:]
        done += os.write(descriptor, rest) if at is None else os.pwrite(descriptor, rest, at + done)


def _write_file(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _reserve(descriptor: int, size: int) -> None:
    """Take the space now: a mapping of a full disk would end in a signal."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.ftruncate(descriptor, size)
