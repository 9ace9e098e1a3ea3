"""What a function is to people, said once, beside it: a method, an in-place form, `out=`.

    @public(method=True, inplace=True, out=True)
    def add(input, other): ...

    sum_of = add

makes `Tensor.add`, `Tensor.add_` and, in each namespace that has the function, `add(..., out=)`.
Its names are its own and those under which modules list it in `__all__`, so what holds of `add`
holds of `sum_of`. The functions themselves stay as they are, for the package to call;
`api/methods.py` binds what is marked to `methods.Methods`, from which Tensor is derived, and
`api/public.py` makes the namespaces.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class Row(NamedTuple):
    """What is said of one function."""

    method: bool | tuple[str, ...] = False  # True: of its own names
    inplace: bool | Literal["view"] = False  # "view": the tensor itself becomes the view
    out: bool | str = False  # a string: in that namespace alone
    tensors: int = 0  # how many leading arguments must be tensors, where numbers could be taken
    operators: tuple[str, ...] = ()  # Python's, of the tensor and another operand
    attributes: tuple[str, ...] = ()  # read without a call


ROWS: dict[Callable[..., Any], Row] = {}


def public(
    *,
    method: bool | str | Sequence[str] = False,
    inplace: bool | Literal["view"] = False,
    out: bool | str = False,
    tensors: int = 0,
    operators: Sequence[str] = (),
    attributes: Sequence[str] = (),
) -> Callable[[F], F]:
    """Mark a function, as `Row` says; a method with names of its own: these."""
    names = (method,) if isinstance(method, str) else method
    row = Row(
        names if isinstance(names, bool) else tuple(names),
        inplace,
        out,
        tensors,
        tuple(operators),
        tuple(attributes),
    )

    def mark(function: F) -> F:
        ROWS[function] = row
        return function

    return mark


pointwise = public(method=True, inplace=True, out=True)
