"""MNIST and FashionMNIST, from files in the IDX format.

IDX: two zero bytes, a byte for the element type (8: unsigned byte), one for the rank, each extent
as a big-endian 32-bit integer, then the elements (LeCun, Cortes and Burges 1998).
"""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import ClassVar

import numpy as np

from graphc.datasets.download import fetch
from graphc.datasets.images import Images, Transform, find
from graphc.errors import FileFormatError, InvalidArgument
from graphc.ir.types import Array

__all__ = ["MNIST", "FashionMNIST"]

UNSIGNED_BYTE = 8


def read_idx(path: Path) -> Array:
    """The array in an IDX file of bytes, gzipped or not; raises FileFormatError if damaged."""
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (gzip.BadGzipFile, EOFError) as e:
        raise FileFormatError(f"{path}: not a whole gzip file ({e})") from None
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] != UNSIGNED_BYTE:
        raise FileFormatError(f"{path}: no IDX file of bytes (it begins with {data[:4]!r})")
    rank = data[3]
    if len(data) < 4 + 4 * rank:
        raise FileFormatError(f"{path}: cut off within its header")
    shape = struct.unpack(f">{rank}I", data[4 : 4 + 4 * rank])
    body = np.frombuffer(data, np.uint8, offset=4 + 4 * rank)
    if body.size != int(np.prod(shape, dtype=np.int64)):
        raise FileFormatError(f"{path}: {body.size} elements, but its header says {shape}")
    return body.reshape(shape).copy()


class MNIST(Images):
    """Handwritten digits: 60,000 and 10,000 images of 28x28 (LeCun et al. 1998).

    The four files `train-images-idx3-ubyte` etc., gzipped or not, are looked for in root/NAME/raw
    and in root itself. Raises InvalidArgument if they are not there, FileFormatError if damaged.
    """

    mirror: ClassVar[str] = "https://ossci-datasets.s3.amazonaws.com/mnist"
    digests: ClassVar[dict[str, str]] = {
        "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
    }
    classes: ClassVar[list[str]] = [
        *("0 - zero", "1 - one", "2 - two", "3 - three", "4 - four"),
        *("5 - five", "6 - six", "7 - seven", "8 - eight", "9 - nine"),
    ]

    def __init__(
        self,
        root: str | Path,
        train: bool = True,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
        download: bool = False,
    ) -> None:
        raw = Path(root) / type(self).__name__ / "raw"
        prefix = "train" if train else "t10k"
        names = [f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"]
        images, labels = (read_idx(self._file(raw, name, download)) for name in names)
        if images.ndim != 3 or labels.shape != images.shape[:1]:
            raise FileFormatError(f"{raw}: images {images.shape} and labels {labels.shape}")
        super().__init__(images, labels.astype(np.int64), train, transform, target_transform)

    def _file(self, raw: Path, name: str, download: bool) -> Path:
        path = find([raw, raw.parent.parent], name)
        if path is None and download:
            path = fetch(f"{self.mirror}/{name}.gz", raw, self.digests[name])
        if path is None:
            raise InvalidArgument(
                f"Dataset not found: no {name} or {name}.gz in {raw} or {raw.parent.parent}",
                fix="put the files there, or use download=True",
            )
        return path


class FashionMNIST(MNIST):
    """Articles of clothing in MNIST's format (Xiao, Rasul and Vollgraf 2017)."""

    mirror = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
    digests: ClassVar[dict[str, str]] = {
        "train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
    }
    classes: ClassVar[list[str]] = [
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ]
