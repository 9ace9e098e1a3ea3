"""Handwritten digits of 8x8 pixels that come with scikit-learn: a real data set offline."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from graphc.datasets.images import Images, Transform
from graphc.errors import InvalidState

__all__ = ["Digits"]

TEST_SIZE = 360  # of 1,797
SEED = 0


class Digits(Images):
    """1,437 and 360 scans (UCI, Alpaydin and Kaynak 1998), split once for all.

    Pixels are 0..255 (the scans have 17 levels). Raises InvalidState without scikit-learn.
    """

    classes: ClassVar[list[str]] = [str(k) for k in range(10)]

    def __init__(
        self,
        train: bool = True,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
    ) -> None:
        try:
            from sklearn.datasets import load_digits
        except ImportError:
            raise InvalidState(
                "Digits are scikit-learn's, which is not installed", fix="pip install scikit-learn"
            ) from None
        raw = load_digits()
        order = np.random.default_rng(SEED).permutation(len(raw.images))
        chosen = order[TEST_SIZE:] if train else order[:TEST_SIZE]
        images = np.rint(raw.images[chosen] * (255 / 16)).astype(np.uint8)
        labels = raw.target[chosen].astype(np.int64)
        super().__init__(images, labels, train, transform, target_transform)
