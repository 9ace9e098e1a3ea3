"""CIFAR-10 and CIFAR-100, from the archives' binary version: rows of labels and pixels.

A row is one label byte (CIFAR-100: coarse, then fine) and 3 x 32 x 32 bytes, channel by channel
(Krizhevsky 2009).
"""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import ClassVar

import numpy as np

from graphc.datasets.download import fetch
from graphc.datasets.images import Images, Transform, find
from graphc.errors import FileFormatError, InvalidArgument
from graphc.ir.types import Array

__all__ = ["CIFAR10", "CIFAR100"]

PIXELS = 3 * 32 * 32


class CIFAR10(Images):
    """Ten classes: 50,000 and 10,000 images of 32x32x3.

    Reads root/cifar-10-batches-bin/*.bin, or the archive cifar-10-binary.tar.gz in root. Raises
    InvalidArgument if neither is there, FileFormatError if damaged.
    """

    archive: ClassVar[str] = "cifar-10-binary.tar.gz"
    digest: ClassVar[str] = "c32a1d4ab5d03f1284b67883e8d87530"
    folder: ClassVar[str] = "cifar-10-batches-bin"
    files: ClassVar[dict[bool, list[str]]] = {
        True: [f"data_batch_{k}.bin" for k in range(1, 6)],
        False: ["test_batch.bin"],
    }
    label_bytes: ClassVar[int] = 1
    classes: ClassVar[list[str]] = [
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    ]

    def __init__(
        self,
        root: str | Path,
        train: bool = True,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
        download: bool = False,
    ) -> None:
        base = Path(root)
        self._extract(base, download)
        rows = np.concatenate([self._rows(base, name) for name in self.files[train]])
        labels = rows[:, self.label_bytes - 1].astype(np.int64)
        images = rows[:, self.label_bytes :].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        contiguous = np.ascontiguousarray(images)
        super().__init__(contiguous, labels, train, transform, target_transform)

    def _extract(self, base: Path, download: bool) -> None:
        """Unpack the archive where the files are not there yet."""
        wanted = [name for names in self.files.values() for name in names]
        if all((base / self.folder / name).is_file() for name in wanted):
            return
        archive = find([base], self.archive)
        if archive is None and download:
            archive = fetch(f"https://www.cs.toronto.edu/~kriz/{self.archive}", base, self.digest)
        if archive is None:
            raise InvalidArgument(
                f"Dataset not found: neither {base / self.folder} nor {base / self.archive}",
                fix="put the binary version there, or use download=True",
            )
        try:
            with tarfile.open(archive) as tar:
                tar.extractall(base, filter="data")
        except (tarfile.TarError, EOFError, OSError) as e:
            raise FileFormatError(f"{archive}: not a whole archive ({e})") from None

    def _rows(self, base: Path, name: str) -> Array:
        path = base / self.folder / name
        width = self.label_bytes + PIXELS
        if not path.is_file() or path.stat().st_size % width or not path.stat().st_size:
            raise FileFormatError(f"{path}: missing, or no whole number of rows of {width} bytes")
        rows = np.fromfile(path, np.uint8).reshape(-1, width)
        if rows[:, self.label_bytes - 1].max() >= self._count():
            raise FileFormatError(f"{path}: a label is not below {self._count()}")
        return rows

    def _count(self) -> int:
        return 10


class CIFAR100(CIFAR10):
    """A hundred fine classes, labelled by number; `classes` has their numbers as text."""

    archive = "cifar-100-binary.tar.gz"
    digest = "03b5dce01913d631647c71ecec9e9cb8"
    folder = "cifar-100-binary"
    files: ClassVar[dict[bool, list[str]]] = {True: ["train.bin"], False: ["test.bin"]}
    label_bytes = 2
    classes: ClassVar[list[str]] = [str(k) for k in range(100)]

    def _count(self) -> int:
        return 100
