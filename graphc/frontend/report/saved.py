"""Text as a file of UTF-8, whatever stands in it."""

from __future__ import annotations

from pathlib import Path


def encoded(text: str) -> bytes:
    """Half a surrogate pair, as in a name of a file or a key, is an escape that JSON reads back."""
    return text.encode("utf-8", "backslashreplace")


def save(path: Path, text: str) -> None:
    path.write_bytes(encoded(text))
