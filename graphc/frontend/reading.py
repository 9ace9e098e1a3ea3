"""What Python reads of a Tensor's elements: numbers, lists, NumPy's view of the memory, text."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.errors import (
    AutogradError,
    DataDependentBranch,
    InvalidType,
    ShapeMismatch,
    TracerLeak,
    is_own,
)
from graphc.frontend import printing
from graphc.frontend.devices import ACCELERATORS
from graphc.frontend.modes import modes
from graphc.frontend.origins import origin
from graphc.frontend.places import on_host
from graphc.ir.types import Array, Scalar

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor


class Readable:
    """What a Tensor gives of its elements; inside a trace, where nobody knows them, values of later
    calls or errors."""

    def host(self: Any, fix: str = DataDependentBranch.instead) -> Array:
        """The NumPy view, for Python to look at (of a GPU's elements, a copy); not inside a trace,
        where values are not known unless they are computed of constants alone."""
        if (trace := modes.trace) is not None:
            if (known := trace.known(self)) is not None:
                return known
            raise DataDependentBranch(
                f"Python reads {origin(self)}, known only at run time", fix=fix
            )
        if self.array is None:
            raise leaked(self)
        return on_host(self.array) if ACCELERATORS else self.array

    def numpy(self: Any, *, force: bool = False) -> Array:
        """An array over the memory, shared; its shape and type are the caller's."""
        if self.requires_grad and not force:
            raise AutogradError(
                "numpy() on a tensor that requires grad",
                why="the array would share its memory, and what is done to it leave no history",
                fix="use tensor.detach().numpy()",
            )
        self.storage.unpack()
        if not self.is_cpu and not force and modes.trace is None:
            return np.asarray(self.array)  # which says why there is none
        return self.host().view()  # type: ignore[no-any-return]  # of the mixed class

    def __array__(self: Any, dtype: Any = None, copy: bool | None = None) -> Array:
        a = self.numpy()
        return np.array(a, dtype, copy=copy) if copy is not None else np.asarray(a, dtype)

    def item(self: Any) -> Scalar:
        """The only element as a Python number; ShapeMismatch if there are others."""
        if modes.trace is not None and not is_own(sys._getframe(1).f_code.co_filename):
            return modes.trace.read(self, Readable.item)  # type: ignore[no-any-return]  # stands for it
        array = self.host()
        if array.size != 1:
            what = f"a tensor with {array.size} elements cannot be converted to a Python number"
            raise ShapeMismatch(what, fix="index or reduce it to one element")
        out = array.reshape(()).astype(np.float64) if self.dtype.is_half else array.reshape(())
        return out.item()  # type: ignore[no-any-return]  # int, float or bool by dtype

    def tolist(self: Any) -> Any:
        """The elements as nested lists of Python numbers; of a 0-d tensor the number."""
        if modes.trace is not None and not is_own(sys._getframe(1).f_code.co_filename):
            return modes.trace.read(self, Readable.tolist)
        array = self.host()
        return (array.astype(np.float64) if self.dtype.is_half else array).tolist()

    def __bool__(self: Any) -> bool:
        if (trace := modes.trace) is not None and trace.known(self) is None:
            answer = trace.truth(self, sys._getframe(1))
            return bool(self.host(DataDependentBranch.fix) if answer is None else answer)
        if self.numel() != 1:
            raise ShapeMismatch(
                f"the truth of {self.spec} is ambiguous",
                why=f"it has {self.numel()} elements, not one",
                fix="use .any() or .all(), or compare its .numel() with 0",
            )
        return bool(self.item())

    def __index__(self: Any) -> int:
        if self.dtype.is_floating_point:
            raise InvalidType("only integer tensors of one element can be converted to an index")
        return int(self.item())

    def __format__(self: Any, spec: str) -> str:
        return printing.shown(self, spec)

    def __repr__(self: Any) -> str:
        return printing.shown(self, None)


def leaked(x: Tensor) -> TracerLeak:
    return TracerLeak(f"{x.spec} stood for a value inside a compiled step that has ended")
