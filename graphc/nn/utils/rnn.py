"""Sequences of different lengths: padded to one tensor, or packed step by step without padding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from graphc.errors import InvalidArgument, ShapeMismatch
from graphc.frontend import trace as tracing
from graphc.frontend.api.creation import tensor
from graphc.frontend.api.shapes import cat
from graphc.frontend.tensor import Tensor
from graphc.ir.types import f16, f32, f64, i32, i64

__all__ = [
    "PackedSequence",
    "invert_permutation",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpack_sequence",
    "unpad_sequence",
]

Lengths = Tensor | Sequence[int]


class PackedSequence(NamedTuple):
    """All steps one after the other, of each the sequences that reach it, longest first.

    data [sum of lengths, ...]; batch_sizes [T] (i64): how many sequences reach each step; the
    indices say how the sequences were sorted, None where they came sorted.
    """

    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None = None
    unsorted_indices: Tensor | None = None

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        data = self.data.to(*args, **kwargs)
        return self if data is self.data else self._replace(data=data)

    def float(self) -> PackedSequence:
        return self.to(f32)

    def double(self) -> PackedSequence:
        return self.to(f64)

    def half(self) -> PackedSequence:
        return self.to(f16)

    def int(self) -> PackedSequence:
        return self.to(i32)

    def long(self) -> PackedSequence:
        return self.to(i64)

    def cpu(self) -> PackedSequence:
        return self.to("cpu")

    def cuda(self, *args: Any, **kwargs: Any) -> PackedSequence:
        return self.to("cuda", *args, **kwargs)

    def pin_memory(self) -> PackedSequence:
        return self._replace(data=self.data.pin_memory())

    @property
    def is_cuda(self) -> bool:
        return False

    def is_pinned(self) -> bool:
        return False


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """Where each place has gone. [B], which stays."""
    return None if permutation is None else permutation.argsort()


def pack_padded_sequence(
    input: Tensor, lengths: Lengths, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """x [T,B,...] (batch_first: [B,T,...]) without what stands past each sequence's length."""
    counts = _counts(lengths)
    x = input.transpose(0, 1) if batch_first else input
    if len(counts) != x.shape[1]:
        raise ShapeMismatch(
            f"Expected `len(lengths)` to be equal to batch_size, but got {len(counts)} "
            f"(batch_size={x.shape[1]})"
        )
    if min(counts, default=0) <= 0:
        raise ShapeMismatch("Length of all samples has to be greater than 0")
    if max(counts) > x.shape[0]:
        raise ShapeMismatch(f"Expected lengths of at most {x.shape[0]} steps, got {max(counts)}")
    order = sorted(range(len(counts)), key=lambda k: -counts[k])
    if enforce_sorted and any(a < b for a, b in pairwise(counts)):
        raise ShapeMismatch(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You "
            "can pass `enforce_sorted=False` to pack_padded_sequence to sidestep this requirement"
        )
    sizes = [sum(n > t for n in counts) for t in range(max(counts))]
    places = [t * len(counts) + order[k] for t, size in enumerate(sizes) for k in range(size)]
    flat = x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])
    packed = flat.index_select(0, tensor(places, device=flat.device))
    if enforce_sorted:
        return PackedSequence(packed, _kept(sizes))
    back = sorted(range(len(order)), key=lambda k: order[k])
    return PackedSequence(packed, _kept(sizes), _kept(order), _kept(back))


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:
    """[T,B,...] (batch_first: [B,T,...]) padded, in the order the sequences had; lengths [B]."""
    sizes = _numbers(sequence.batch_sizes)
    steps = len(sizes) if total_length is None else total_length
    if steps < len(sizes):
        raise InvalidArgument(
            f"Expected total_length to be at least the length of the longest sequence in input, "
            f"but got total_length={steps} and max sequence length being {len(sizes)}"
        )
    batch = sizes[0]
    back = sequence.unsorted_indices
    order = list(range(batch)) if back is None else _numbers(back)
    lengths = [sum(n > k for n in sizes) for k in order]
    starts = [sum(sizes[:t]) for t in range(len(sizes))]
    data = sequence.data
    blank = data.new_full((1, *data.shape[1:]), padding_value)
    none = data.shape[0]
    places = [
        starts[t] + k if t < len(sizes) and k < sizes[t] else none
        for t in range(steps)
        for k in order
    ]
    padded = cat([data, blank], 0).index_select(0, tensor(places, device=data.device))
    out = padded.reshape(steps, batch, *data.shape[1:])
    return (out.transpose(0, 1) if batch_first else out), _kept(lengths)


def pad_sequence(
    sequences: Iterable[Tensor],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Tensors [L_k, ...] as one [T,B,...] (batch_first: [B,T,...])."""
    if padding_side not in ("left", "right"):
        raise InvalidArgument("padding_side must be 'left' or 'right'")
    given = list(sequences)
    if not given:
        raise ShapeMismatch("received an empty list of sequences")
    steps = max(s.shape[0] for s in given)
    rows = []
    for s in given:
        blank = s.new_full((steps - s.shape[0], *s.shape[1:]), padding_value)
        rows.append(cat([s, blank] if padding_side == "right" else [blank, s], 0).unsqueeze(0))
    out = cat(rows, 0)
    return out if batch_first else out.transpose(0, 1)


def unpad_sequence(
    padded_sequences: Tensor, lengths: Lengths, batch_first: bool = False
) -> list[Tensor]:
    """The sequences that pad_sequence put together. [T, B, ...] -> B of [T_i, ...]."""
    x = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    return [x[k][:n] for k, n in enumerate(_counts(lengths))]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Tensors [L_k, ...] packed."""
    counts = [s.shape[0] for s in sequences]
    return pack_padded_sequence(pad_sequence(sequences), counts, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences that pack_sequence put together. -> B of [T_i, ...]."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)


def _counts(lengths: Lengths) -> list[int]:
    return _numbers(lengths) if isinstance(lengths, Tensor) else [int(n) for n in lengths]


def _kept(numbers: list[int]) -> Tensor:
    """What says how sequences lie is known while a step is traced, so that it can be read there."""
    with tracing.paused():
        return tensor(numbers)


def _numbers(x: Tensor) -> list[int]:
    if x.is_traced:
        return [int(n) for n in x.tolist()]  # an error: the lengths of a step's own tensors vary
    with tracing.paused():
        return [int(n) for n in x.tolist()]
