"""What the image data sets share: images and labels in memory, transforms on the way out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from graphc.frontend.api.creation import from_numpy
from graphc.frontend.tensor import Tensor
from graphc.ir.types import Array
from graphc.utils.data.dataset import Dataset

Transform = Callable[[Any], Any]


class Images(Dataset[tuple[Any, Any]]):
    """Images [N,H,W] or [N,H,W,C] (uint8) and labels [N] (int64).

    An item is (image, label): the image as a NumPy array, or what `transform` makes of it.
    """

    classes: ClassVar[list[str]]

    def __init__(
        self,
        images: Array,
        labels: Array,
        train: bool,
        transform: Transform | None,
        target_transform: Transform | None,
    ) -> None:
        self.images = images
        self.train = train
        self.transform = transform
        self.target_transform = target_transform
        self.targets: Tensor = from_numpy(labels)

    @property
    def data(self) -> Tensor:
        """All images as one uint8 tensor."""
        return from_numpy(self.images)

    @property
    def class_to_idx(self) -> dict[str, int]:
        """The label of each class."""
        return {name: k for k, name in enumerate(self.classes)}

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        image: Any = self.images[index]
        label: Any = int(self.targets[index])
        if self.transform is not None:
            image = self.transform(image)
        if self.target_transform is not None:
            label = self.target_transform(label)
        return image, label

    def __repr__(self) -> str:
        split = "Train" if self.train else "Test"
        rows = (f"Number of datapoints: {len(self)}", f"Split: {split}")
        return "\n    ".join((f"Dataset {type(self).__name__}", *rows))


def find(folders: list[Path], name: str) -> Path | None:
    """The first of the folders' files of that name, gzipped or not."""
    for folder in folders:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return path
    return None
