"""The folder of a store: what may be replaced, and how a finished folder takes its place."""

import ctypes
import os
import re
import sys
from pathlib import Path
from typing import Any

from mezzotint.errors import StoreError
from mezzotint.packed.store_format import HEADER_NAME

JOURNAL = "journal"
_OURS = re.compile(rf"{re.escape(HEADER_NAME)}|shard-\d{{5,}}\.safetensors|{JOURNAL}")
_EXCHANGE, _HERE = 2, -100  # RENAME_EXCHANGE and AT_FDCWD of Linux


def check_target(path: Path) -> None:
    """Raise StoreError unless a store may be written to `path`: nothing there, or a store to replace."""
    if not path.name or path.name.startswith(".."):
        raise StoreError(f"{path} cannot be written: name a folder for the store.")
    if not path.parent.is_dir():
        raise StoreError(f"{path} cannot be written: the folder {path.parent} does not exist; make it first.")
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise StoreError(f"{path} is a file or a link; a store is a folder. Choose another name.")
    if path.is_dir():
        check_ours(path)


def check_ours(folder: Path) -> None:
    """Raise StoreError if a folder that would be emptied holds anything that is not a store's."""
    foreign = [entry.name for entry in folder.iterdir() if not _OURS.fullmatch(entry.name)]
    if foreign:
        raise StoreError(
            f"{folder} holds {foreign[0]!r}, which is no part of a store; only a store is replaced. "
            "Choose another name."
        )


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def empty(folder: Path, *, keep: str = "") -> None:
    """Delete the files of a store, but not `keep`."""
    check_ours(folder)
    for entry in folder.iterdir():
        if entry.name != keep:
            entry.unlink()


def put_in_place(partial: Path, path: Path) -> None:
    """Rename, in one step where the system can exchange two names."""
    old = path.with_name(f"{path.name}.old")
    if path.is_dir() and old.is_dir():  # left by an interrupted writer
        _remove(old)
    if path.is_dir() and _exchange(partial, path):
        old = partial
    elif path.is_dir():
        path.rename(old)
    if old != partial:
        partial.rename(path)
    sync_folder(path.parent)
    if old.is_dir():
        _remove(old)


def _remove(store: Path) -> None:
    empty(store)
    store.rmdir()


def _exchange(one: Path, other: Path) -> bool:
    if sys.platform != "linux":
        return False
    rename: Any = getattr(ctypes.CDLL(None), "renameat2", None)
    names = os.fsencode(one), os.fsencode(other)
    return rename is not None and rename(_HERE, names[0], _HERE, names[1], _EXCHANGE) == 0
