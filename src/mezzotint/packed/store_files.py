"""The files of a store: safetensors, framed here because they are written in place and read unseen.

A safetensors file is eight bytes with the length of a JSON header, the header (padded with blanks), and
the tensors one behind the other. Nothing of it is believed before it is compared with the size of the file.
"""

import json
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import StoreError
from mezzotint.kernels import MAX_COLUMNS
from mezzotint.packed.planes import PLANE_WIDTHS
from mezzotint.packed.store_format import (
    FORMAT_VERSION,
    HEADER_NAME,
    PAGE,
    Columns,
    Shard,
    StoreInfo,
    Table,
    load_json,
    parse,
    parse_crc,
    shard_name,
    shown,
)

HEADER_KIND, SHARD_KIND = "mezzotint-store", "mezzotint-store-shard"
_HEADER_LIMIT = 2**20  # of JSON
_FILE_LIMIT = _HEADER_LIMIT + 8 * (2 + len(PLANE_WIDTHS)) * MAX_COLUMNS  # of the header's file


class Frame(NamedTuple):
    """What is known of an open safetensors file before its tensors are read."""

    metadata: dict[str, str]
    table: Table
    data_start: int
    size: int


class OpenShard(NamedTuple):
    """An open file of a shard whose header has been checked."""

    path: Path
    descriptor: int
    data_start: int  # of its first plane
    checksums: NDArray[np.uint32]  # (blocks, planes)


def frame_bytes(kind: str, description: str, crc32: int, table: Table, aligned: int) -> bytes:
    """Return the start of a file: padded so that its tensor number `aligned` begins at a whole page."""
    metadata = {
        "format": kind,
        "format_version": FORMAT_VERSION,
        "description": description,
        "crc32": f"{crc32:08x}",
    }
    text = json.dumps({"__metadata__": metadata, **table}, separators=(",", ":")).encode()
    before: int = list(table.values())[aligned]["data_offsets"][0]
    padding = -(8 + len(text) + before) % PAGE
    return (len(text) + padding).to_bytes(8, "little") + text + b" " * padding


def header_file(info: StoreInfo, columns: Columns) -> bytes:
    """Return the whole file of the header."""
    data = b"".join(
        np.asarray(a, dtype="<f8").tobytes() for a in (columns.offset, columns.scale, columns.noise)
    )
    description = info.describe()
    crc32 = zlib.crc32(data, zlib.crc32(description.encode()))
    return frame_bytes(HEADER_KIND, description, crc32, info.header_table(), aligned=0) + data


def shard_frame(info: StoreInfo, shard: int, checksums: NDArray[np.uint32]) -> tuple[bytes, int]:
    """Return (everything before the first plane of a shard, the checksum of that)."""
    data = checksums.astype("<u4").tobytes()
    description = info.describe(shard)
    crc32 = zlib.crc32(data, zlib.crc32(description.encode()))
    return frame_bytes(SHARD_KIND, description, crc32, info.shard_table(shard), aligned=1) + data, crc32


@contextmanager
def explaining(path: Path) -> Iterator[None]:
    """Turn what goes wrong while reading `path` into a StoreError that names it and says what to do."""
    try:
        yield
    except FileNotFoundError as error:
        raise StoreError(f"{path} does not exist{_unfinished(path)}.") from error
    except StoreError as error:
        advice = "" if str(error).startswith(str(path)) else ". Copy it again, or pack the data again."
        text = str(error) if not advice else f"{path} cannot be used: {error}{advice}"
        raise StoreError(text) from error
    except OSError as error:
        raise StoreError(
            f"{path} cannot be read: {error.strerror}. Check the path and its permissions."
        ) from error


def _unfinished(path: Path) -> str:
    store = path.parent
    for ending in (".partial", ".old"):
        left = store.with_name(store.name + ending)
        if left.is_dir():
            return f", but {left} does: packing was interrupted. Pack the same data again to finish it"
    return "; write a store with PackedMatrix.save or mezzotint.pack_file"


def read_frame(descriptor: int, kind: str) -> Frame:
    """Read and check the start of a file."""
    size = os.fstat(descriptor).st_size
    length = int.from_bytes(os.pread(descriptor, 8, 0), "little")
    if size < 8 or not 2 <= length <= min(_HEADER_LIMIT, size - 8):
        raise StoreError(
            f"its header would be {length} bytes long in a file of {size}; it is cut short or no store"
        )
    content = load_json(os.pread(descriptor, length, 8))
    metadata = content.get("__metadata__") if isinstance(content, dict) else None
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise StoreError(f"it is not a safetensors file with a description, but begins with {shown(content)}")
    if metadata.get("format") != kind:
        raise StoreError(f"it holds {shown(metadata.get('format'))}, not {kind!r}")
    if metadata.get("format_version") != FORMAT_VERSION:
        raise StoreError(
            f"it has format version {shown(metadata.get('format_version'))}; this mezzotint reads "
            f"version {FORMAT_VERSION!r}; update mezzotint"
        )
    del content["__metadata__"]
    return Frame(metadata, content, 8 + length, size)


def check_table(frame: Frame, expected: Table) -> None:
    """Raise StoreError unless the tensors are those that the description asks for, and fill the file."""
    if frame.table != expected:
        absent: dict[str, Any] = dict.fromkeys([*frame.table, *expected], ())  # which no JSON is
        found, wanted = absent | frame.table, absent | expected
        other = next(name for name in absent if found[name] != wanted[name])
        raise StoreError(
            f"its tensors are not those that its description asks for: {shown(other)} is "
            f"{shown(found[other] or 'absent')}, not {shown(wanted[other] or 'absent')}"
        )
    end = max(entry["data_offsets"][1] for entry in expected.values())
    if frame.data_start + end != frame.size:
        raise StoreError(f"it has {frame.size} bytes, and its header asks for {frame.data_start + end}")


def read_header(store: Path) -> tuple[StoreInfo, Columns]:
    """Read and verify the header of a store; no code is read."""
    path = store / HEADER_NAME
    with explaining(path), path.open("rb") as file:
        frame = read_frame(file.fileno(), HEADER_KIND)
        if frame.size > _FILE_LIMIT:
            raise StoreError(f"it has {frame.size} bytes; a header has at most {_FILE_LIMIT}")
        description = frame.metadata.get("description", "")
        data = os.pread(file.fileno(), frame.size - frame.data_start, frame.data_start)
        crc32 = zlib.crc32(data, zlib.crc32(description.encode("utf-8", "replace")))
        noted = parse_crc(frame.metadata.get("crc32"))
        if noted != crc32:
            raise StoreError(f"its checksum does not fit its content: {crc32:08x}, noted is {noted:08x}")
        info = parse(description)
        check_table(frame, info.header_table())
        return info, _checked_columns(info, np.frombuffer(data, dtype="<f8").astype(np.float64))


def _checked_columns(info: StoreInfo, numbers: NDArray[np.float64]) -> Columns:
    d = info.shape[1]
    columns = Columns(offset=numbers[:d], scale=numbers[d : 2 * d], noise=numbers[2 * d :].reshape(-1, d))
    check_columns(info, columns)
    return columns


def check_columns(info: StoreInfo, columns: Columns) -> None:
    """Raise StoreError unless all scales can be worked with."""
    with np.errstate(over="ignore", invalid="ignore"):
        largest = columns.offset + columns.scale * info.last_value
    limit = float(np.finfo(info.dtype).max) * (1 + 2.0**-26)  # what is under it rounds to a finite number
    extremes = np.abs([columns.offset, largest])
    bad = ~np.isfinite(columns.scale) | (columns.scale < 0) | ~(extremes <= limit).all(axis=0)
    bad |= ~((columns.noise >= 0) & np.isfinite(columns.noise)).all(axis=0)
    if bad.any():
        j = int(bad.argmax())
        raise StoreError(
            "its offsets, scales or noises are not finite, or scales or noises are negative: "
            f"column {j} has offset {columns.offset[j]:.3g}, scale {columns.scale[j]:.3g}, "
            f"noise {columns.noise[:, j].max():.3g}"
        )


def _open_shard(store: Path, info: StoreInfo, index: int) -> OpenShard:
    """Open the file of a shard and check its header and size."""
    path = store / shard_name(index)
    with explaining(path):
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))
        advise(descriptor, "POSIX_FADV_RANDOM")  # reading ahead would go on into codes that nobody wants
        try:
            return _checked_shard(path, descriptor, info, index)
        except BaseException:
            os.close(descriptor)
            raise


def advise(descriptor: int, advice: str, begin: int = 0, length: int = 0) -> None:
    """Tell the system how a file will be read, where it listens."""
    if hasattr(os, "posix_fadvise") and (length or not begin):
        os.posix_fadvise(descriptor, begin, length, getattr(os, advice))


def open_shards(store: Path, info: StoreInfo, wanted: range | None = None) -> list[OpenShard]:
    """Open the files of a store, or some, and check them, or raise StoreError; the caller closes them."""
    shards: list[OpenShard] = []
    try:
        for index in range(len(info.shards)) if wanted is None else wanted:
            shards.append(_open_shard(store, info, index))
    except BaseException:
        close_shards(shards)
        raise
    return shards


def close_shards(shards: list[OpenShard]) -> None:
    """Close what `open_shards` opened."""
    for shard in shards:
        os.close(shard.descriptor)


def _checked_shard(path: Path, descriptor: int, info: StoreInfo, index: int) -> OpenShard:
    frame = read_frame(descriptor, SHARD_KIND)
    table = info.shard_table(index)
    check_table(frame, table)
    description = frame.metadata.get("description", "")
    length = table["checksums"]["data_offsets"][1]
    data = os.pread(descriptor, length, frame.data_start)
    crc32 = zlib.crc32(data, zlib.crc32(description.encode("utf-8", "replace")))
    shard: Shard = info.shards[index]
    noted = parse_crc(frame.metadata.get("crc32"))
    if not crc32 == shard.crc32 == noted:
        raise StoreError(
            f"its checksum does not fit: {crc32:08x}, noted are {noted:08x} in it and {shard.crc32:08x} in "
            "the header of the store; it is damaged, or a shard of another store"
        )
    if load_json(description) != load_json(info.describe(index)):
        raise StoreError(f"it describes another shard than the header of the store: {shown(description)}")
    checksums = np.frombuffer(data, dtype="<u4").reshape(-1, len(info.planes))
    return OpenShard(path, descriptor, frame.data_start + length, checksums)
