"""Launches that are started as one: the table that says what each of its programs works on."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from graphc.ir.cuda_abi import Image, Source
from graphc.ir.types import Array
from graphc.runtime.cuda.pack import FORMATS, Value


class Group(NamedTuple):
    """Launches `members`, in order; `single` is the source of one, `image` that of all at once."""

    members: tuple[int, ...]
    single: Source
    image: Image


class Member(NamedTuple):
    """What one is launched with: the values of its own parameters, and how many programs."""

    values: Sequence[Value]
    programs: int


def tables(single: Source, members: Sequence[Member]) -> tuple[Array, Array]:
    """A row of words for each member, the last its first program; and each program's member."""
    rows, first = [], 0
    kinds = [p.type for p in single.params if p.bound != "error"]
    for m in members:
        words = [_word(kind, value) for kind, value in zip(kinds, m.values, strict=True)]
        rows.append([*words, first])
        first += m.programs
    counts = [m.programs for m in members]
    owners = np.repeat(np.arange(len(members), dtype=np.int32), counts)
    return np.array(rows, np.int64), owners


def _word(kind: str, value: Value) -> int:
    """A value's bits as an integer of 64."""
    data = struct.pack(FORMATS[kind], value).ljust(8, b"\0")
    return int.from_bytes(data, "little", signed=True)
