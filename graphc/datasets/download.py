"""Fetching a file once: digest checked, and never a part of it under the final name."""

from __future__ import annotations

import hashlib
import os
import urllib.request
from pathlib import Path

from tqdm import tqdm

from graphc.errors import FileFormatError

BLOCK_BYTES = 1 << 16


def fetch(url: str, folder: Path, md5: str) -> Path:
    """Download `url` into `folder`; a file that is there with the right digest is kept.

    Raises FileFormatError if the digest differs, OSError if the network does not answer.
    """
    path = folder / url.rsplit("/", 1)[1]
    if path.is_file() and digest(path) == md5:
        return path
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        _copy(url, partial)
        if (found := digest(partial)) != md5:
            raise FileFormatError(
                f"{url}: the file's MD5 digest is {found}, expected {md5}",
                why="the download was cut off, or the file at that address has changed",
                fix="try again, or put the file there by hand",
            )
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _copy(url: str, path: Path) -> None:
    with urllib.request.urlopen(url, timeout=60) as source, path.open("wb") as target:
        total = int(source.headers.get("Content-Length") or 0)
        with tqdm(total=total or None, unit="B", unit_scale=True, desc=path.name) as bar:
            while block := source.read(BLOCK_BYTES):
                target.write(block)
                bar.update(len(block))


def digest(path: Path) -> str:
    """The MD5 digest of a file, in hex: against damage, not against malice."""
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
