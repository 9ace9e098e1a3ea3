"""Compiled kernels on disk: one file an entry, private to the user, checked before use.

An entry is `MAGIC | version | key | length | BLAKE2b(payload) | payload`. Writers make a temporary
file and rename it, so a reader sees a whole entry or none, and the last of several writers wins
with the same bytes. Whatever does not check is deleted and counts as a miss: the caller compiles
and writes it anew. A checksum is no signature, so the folder must be the user's own, no symlink,
and writable by nobody else; where it is not, or cannot be written, graphc warns once and keeps
kernels in memory only.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import struct
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from graphc import config
from graphc.errors import CacheError

MAGIC = b"graphc\x00\x01"
FORMAT_VERSION = 1
HEADER = struct.Struct("<8sI32sQ32s")
SUFFIX = ".kernel"


class Info(NamedTuple):
    """What `graphc cache info` prints."""

    path: str
    entries: int
    size_bytes: int


def default_dir() -> Path:
    """GRAPHC_CACHE_DIR, else the user's cache folder."""
    if chosen := config.cache_dir():
        return Path(chosen)
    from platformdirs import user_cache_dir  # 5 ms to import, and unused where the variable is set

    return Path(user_cache_dir("graphc", appauthor=False)) / "kernels"


def hashed(key: str) -> bytes:
    return hashlib.blake2b(key.encode(), digest_size=32).digest()


def digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=32).digest()


def encode(key: bytes, data: bytes) -> bytes:
    return HEADER.pack(MAGIC, FORMAT_VERSION, key, len(data), digest(data)) + data


def decode(key: bytes, entry: bytes) -> bytes | None:
    """The payload, or None unless every field of the header holds."""
    if len(entry) < HEADER.size:
        return None
    magic, version, named, length, checksum = HEADER.unpack_from(entry)
    data = entry[HEADER.size :]
    if (magic, version, named, length) != (MAGIC, FORMAT_VERSION, key, len(data)):
        return None
    return data if digest(data) == checksum else None


def check_private(path: Path) -> None:
    """Raise CacheError unless `path` is a folder that only this user can write."""
    found = os.lstat(path)
    if stat.S_ISLNK(found.st_mode) or not stat.S_ISDIR(found.st_mode):
        raise CacheError(f"the kernel cache {path} is not a plain folder")
    if hasattr(os, "getuid"):
        if found.st_uid != os.getuid():
            raise CacheError(f"the kernel cache {path} belongs to another user")
        if found.st_mode & 0o022:
            raise CacheError(f"the kernel cache {path} can be written by others")


class DiskCache:
    """A mapping of text keys to bytes that never fails: at worst it holds nothing."""

    def __init__(self, path: Path | str | None = None) -> None:
        self._given = Path(path) if path is not None else None
        self._opened: Path | None = None
        self._broken = False

    def get(self, key: str) -> bytes | None:
        """The stored bytes, or None. A damaged entry is removed."""
        folder, named = self._folder(), hashed(key)
        if folder is None:
            return None
        file = folder / (named.hex() + SUFFIX)
        try:
            entry = _read(file)
        except FileNotFoundError:
            return None
        except OSError:
            entry = b""  # a folder, a symlink or unreadable: not ours
        data = decode(named, entry)
        if data is None:
            _remove(file)
        return data

    def put(self, key: str, data: bytes) -> None:
        """Store; on failure warn once and go on without."""
        folder, named = self._folder(), hashed(key)
        if folder is None:
            return
        try:
            _write(folder, folder / (named.hex() + SUFFIX), encode(named, data))
        except OSError as e:
            self._give_up(f"cannot write the kernel cache {folder}: {e.strerror or e}")

    def info(self) -> Info:
        files = self._files()
        sizes = [f.lstat().st_size for f in files]
        return Info(str(self._given or default_dir()), len(files), sum(sizes))

    def clear(self) -> int:
        """Remove every entry; returns how many."""
        files = self._files()
        for file in files:
            _remove(file)
        return len(files)

    def _files(self) -> list[Path]:
        folder = self._folder()
        return [] if folder is None else sorted(folder.glob("*" + SUFFIX))

    def _folder(self) -> Path | None:
        """The folder, made and checked at the first use; None where there is none to be had."""
        if self._opened is None and not self._broken:
            try:
                path = self._given or default_dir()
                path.parent.mkdir(parents=True, exist_ok=True)
                with suppress(FileExistsError):
                    os.mkdir(path, 0o700)
                check_private(path)
                self._opened = path
            except (OSError, RuntimeError) as e:  # RuntimeError: no home; CacheError is one
                self._give_up(e.what if isinstance(e, CacheError) else f"no kernel cache: {e}")
        return self._opened

    def _give_up(self, reason: str) -> None:
        if not self._broken:
            self._broken, self._opened = True, None
            text = f"{reason}; kernels are kept in memory only"
            warnings.warn(text, RuntimeWarning, stacklevel=2)


def _read(file: Path) -> bytes:
    """The file's bytes, refusing to follow a symlink."""
    handle = os.open(file, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
    with open(handle, "rb", buffering=0) as f:
        return f.read()


def _write(folder: Path, file: Path, entry: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=".new")  # mode 0600
    try:
        with open(handle, "wb", buffering=0) as f:
            if f.write(entry) != len(entry):
                raise OSError("disk full")
        os.replace(temporary, file)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _remove(file: Path) -> None:
    with suppress(OSError):
        if file.is_dir() and not file.is_symlink():
            shutil.rmtree(file)
        else:
            file.unlink()
