"""How a tensor's elements lie in memory: strides, offsets, and what PyTorch calls contiguous."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from graphc.errors import ShapeMismatch
from graphc.frontend import layouts
from graphc.frontend.dims import axis_of
from graphc.frontend.modes import modes
from graphc.frontend.options import channels_last_rank, contiguous_format
from graphc.frontend.places import place_of
from graphc.frontend.views import row_major, strides_after, strides_along
from graphc.ir.ops import Op
from graphc.ir.types import Array, Shape, TensorSpec

if TYPE_CHECKING:
    from graphc.frontend.storage import Storage
    from graphc.frontend.tensor import Tensor
    from graphc.frontend.views import Chain


class Lying:
    """How a view lies that has no memory of its own: a step asks at each use of it. Strides are
    found when they are asked for, as what they ask of extents is a condition of the plan."""

    __slots__ = ("at", "found", "of", "spec", "start", "strides", "types")

    def __init__(
        self, x: Geometry, at: int, start: Shape | None, types: tuple[TensorSpec, ...]
    ) -> None:
        """`start`: strides after `at` of the views, if known; `types`: those before the others."""
        self.of, self.spec, self.strides = x.views, x.storage.spec, x.storage.strides
        self.at, self.start, self.types = at, start, types
        self.found: Shape | None = None

    def holds(self, x: Geometry) -> bool:
        """Whether this is of x as it is now."""
        storage = x.storage
        same = self.of is x.views and self.spec is storage.spec
        return same and self.strides is storage.strides

    def asked(self) -> Shape:
        """The strides."""
        if self.found is None:
            strides = self.start
            if strides is None:
                strides = self.strides or row_major(self.spec.shape)
            for (op, attrs), before in zip(self.of[self.at :], self.types):
                strides = strides_after(op, attrs, before.shape, strides) or ()
            self.found = strides
        return self.found


class Geometry:
    """What a Tensor tells of its memory; in a trace, of that which eager code would have."""

    storage: Storage
    array: Array | None
    views: Chain
    _spec: TensorSpec
    _lying: Lying | None = None  # of a view inside a trace

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return self._spec.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self._spec.size_bytes

    def element_size(self) -> int:
        """Bytes of an element."""
        return self._spec.dtype.itemsize

    def strides(self) -> Shape:
        """Strides in elements as memory lies now."""
        array, storage = self.array, self.storage
        if array is None:
            return _along(self)
        vague = storage.strides or (self.views and 1 in self._spec.shape)  # to NumPy
        if vague and storage.lies_as_shown():
            return strides_along(self.views, storage.spec, storage.strides)
        if array.flags.c_contiguous:
            return row_major(self._spec.shape)
        return tuple(s // array.itemsize for s in array.strides)

    def stride(self: Tensor, dim: int | None = None) -> Any:  # type: ignore[misc]  # the mixed class
        """Steps in elements from one index to the next, of all dimensions or of one."""
        self.storage.unpack()
        return self.strides() if dim is None else self.strides()[axis_of(self, dim)]

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """Whether the elements fill memory row by row, or in the order of a memory format."""
        self.storage.unpack()
        shape, rank = self._spec.shape, channels_last_rank(memory_format)
        if rank:
            order = layouts.CHANNELS_LAST[rank]
            return len(shape) == rank and layouts.lies_in(shape, self.strides(), order)
        if self.array is not None:
            return bool(self.array.flags.c_contiguous)
        return 0 in shape or layouts.lies_in(shape, self.strides(), range(len(shape)))

    def data_ptr(self) -> int:
        """The address of the first element; DataDependentBranch inside a step."""
        self.storage.unpack()
        if self.array is None or modes.trace is not None:
            self.host()  # type: ignore[attr-defined]  # of the mixed class; says why there is none
        return place_of(self.array).address(self.array)  # type: ignore[arg-type]  # seen just now

    def dim_order(self, *, ambiguity_check: Any = False) -> Shape:
        """The dimensions as they lie in memory, the outermost first; equal ones in their order."""
        strides = self.strides()
        return tuple(sorted(range(len(strides)), key=lambda k: -strides[k]))

    def storage_offset(self) -> int:
        """Elements in front of the first one, in the memory of which it is a view."""
        base, array = self.storage.array, self.array
        if base is None or array is None:
            return 0
        place = place_of(array)
        return (place.address(array) - place.address(base)) // array.itemsize


def _along(x: Geometry) -> Shape:
    """Strides of what has no memory of its own."""
    known = x._lying
    if known is None or not known.holds(x):
        return strides_along(x.views, x.storage.spec, x.storage.strides)
    return known.asked()


def note_view(out: Geometry, x: Geometry) -> None:
    """`out` is a view of x, one step further, inside a trace: no type is inferred again."""
    known = x._lying
    if not x.views:
        out._lying = Lying(out, 0, None, (x._spec,))
    elif known is not None and known.holds(x):
        if known.found is None:
            out._lying = Lying(out, known.at, known.start, (*known.types, x._spec))
        else:
            out._lying = Lying(out, len(x.views), known.found, (x._spec,))


def shown_strides(x: Geometry) -> Shape:
    """Strides as eager code sees them, wherever a program keeps the elements; () if row-major."""
    array, storage = x.array, x.storage
    if not storage.strides and (not x.views if array is None else array.flags.c_contiguous):
        return ()
    shape = x._spec.shape
    if array is None:
        return layouts.shown(shape, _along(x))
    if storage.strides or storage.holders is not None:
        return layouts.shown(shape, strides_along(x.views, storage.spec, storage.strides))
    return layouts.shown(shape, tuple(s // array.itemsize for s in array.strides))


def elementwise_strides(op: Op, args: Sequence[Any]) -> Shape:
    """Strides of `op(*args)`, which follow those of the operands if the op is elementwise."""
    if op.kind != "elementwise":
        return ()
    known = [a for a in args if isinstance(a, Geometry)]
    shape, first = known[0]._spec.shape, shown_strides(known[0])
    if not first:
        return ()
    rest = [shown_strides(a) or row_major(shape) for a in known[1:]]
    return layouts.of_elementwise(shape, (first, *rest), len(known) == len(args))


def strides_as(x: Geometry, memory_format: Any) -> Shape:
    """Strides of a copy of x in a memory format; () for row-major ones."""
    shape, rank = x._spec.shape, channels_last_rank(memory_format)
    if rank == 0:
        kept = memory_format is not contiguous_format
        return layouts.preserved(shape, shown_strides(x)) if kept else ()
    if len(shape) != rank:
        raise ShapeMismatch(f"{memory_format!r} is for tensors of rank {rank}, not {x._spec}")
    return layouts.strides_in(shape, layouts.CHANNELS_LAST[rank])
