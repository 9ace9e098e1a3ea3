"""launches: what is known of a program's launches before any address is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphc.ir.cuda_abi import Image
from graphc.ir.program import Launch
from graphc.runtime.cuda.pack import Value

ALIGN = 256  # bytes: the device's allocations and blocks of its memory begin at multiples


def parts_of(images: Sequence[Image | None]) -> list[range | int]:
    """The launches in order: ranges that are native, and between them numbers of routines."""
    parts: list[range | int] = []
    begin = 0
    for i, image in enumerate(images):
        if image is None:
            if begin < i:
                parts.append(range(begin, i))
            parts.append(i)
            begin = i + 1
    return [*parts, range(begin, len(images))]


def aligned(size_bytes: int) -> int:
    return -(-size_bytes // ALIGN) * ALIGN


def scratches(image: Image, programs: int) -> tuple[int, int, int]:
    """Bytes that a launch of so many programs uses: by its text, and of both kinds by Triton."""
    each = image.source.scratch_bytes, image.global_scratch[0], image.profile_scratch[0]
    first, second, third = (aligned(n * programs) for n in each)
    return first, second, third


def counters(image: Image, programs: int) -> int:
    """How many a launch counts with."""
    return programs if any(p.bound == "counters" for p in image.source.params) else 0


def numbers_of(launch: Launch) -> list[Value]:
    """The scalar arguments, rounded to their types: what is too large is an infinity."""
    found: list[Value] = []
    for value, arg in zip(launch.scalars, launch.kernel.scalars, strict=True):
        if arg.dtype.is_floating_point:
            with np.errstate(over="ignore"):
                found.append(float(np.asarray(value, np.float64).astype(arg.dtype.numpy)))
        else:
            found.append(int(value))
    return found
