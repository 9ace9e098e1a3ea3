"""einsum: sums of products by labels of dimensions, two operands at a time, from left to right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from graphc.errors import ShapeMismatch
from graphc.frontend.api import diagonals
from graphc.frontend.api import reductions as R
from graphc.frontend.api.linear import contract
from graphc.frontend.promotion import result_type
from graphc.ir import sugar as P
from graphc.ir.sizes import broadcast, same

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = ["einsum"]

Label = str | int  # a letter, or a number for a dimension that "..." stands for
Labels = tuple[Label, ...]
DOTS = "..."


def einsum(equation: Any, *operands: Any) -> Tensor:
    """Sum of products: `einsum("bij,...jk->b...ik", x, y)` or `einsum(x, [0, 1], y, [1], [0])`.

    A letter twice in one term is a diagonal; "..." stands for dimensions that broadcast; without an
    arrow the result has "..." and the letters that occur once, in order. Sizes of 1 broadcast.
    """
    if not isinstance(equation, str):
        return einsum(*_from_sublists([equation, *operands]))
    listed = len(operands) == 1 and isinstance(operands[0], list | tuple)
    tensors: list[Tensor] = list(operands[0] if listed else operands)
    left, arrow, right = equation.replace(" ", "").partition("->")
    words = left.split(",")
    if len(words) != len(tensors):
        raise ShapeMismatch(f"einsum {equation!r}: {len(tensors)} operands for {len(words)} terms")
    terms = [_labels(w, x, equation) for w, x in zip(words, tensors, strict=True)]
    result = _result(right, terms, equation) if arrow else _implied(terms)
    return _evaluate(tensors, terms, result, equation)


def _from_sublists(items: list[Any]) -> list[Any]:
    """The equation of the form with a list of numbers behind each operand."""
    last = items.pop() if len(items) % 2 else None
    words = [_word(sub) for sub in items[1::2]]
    arrow = "" if last is None else f"->{_word(last)}"
    return [",".join(words) + arrow, *items[::2]]


def _word(numbers: Sequence[Any]) -> str:
    if any(n is not Ellipsis and not 0 <= n < 52 for n in numbers):
        raise ShapeMismatch(f"einsum: subscripts must be in [0, 52), got {list(numbers)}")
    return "".join(DOTS if n is Ellipsis else _letter(n) for n in numbers)


def _letter(n: int) -> str:
    return chr(ord("A") + n) if n < 26 else chr(ord("a") + n - 26)


def _letters(word: str, equation: str) -> tuple[str, bool, str]:
    """A term around its ellipsis."""
    before, dots, after = word.partition(DOTS)
    if not all(c.isascii() and c.isalpha() for c in before + after):
        raise ShapeMismatch(f"einsum {equation!r}: {word!r} is no term of letters and one '...'")
    return before, bool(dots), after


def _labels(word: str, x: Tensor, equation: str) -> Labels:
    """A label for each dimension; those of "..." are numbered from the right: -1, -2, ..."""
    before, dots, after = _letters(word, equation)
    free = len(x.spec.shape) - len(before) - len(after)
    if free < 0 or (free and not dots):
        raise ShapeMismatch(
            f"einsum {equation!r}: {word!r} does not name the dimensions of {x.spec}"
        )
    return (*before, *range(-free, 0), *after)


def _dots(terms: Sequence[Labels]) -> Labels:
    """What "..." stands for in the result."""
    return tuple(sorted({c for t in terms for c in t if isinstance(c, int)}))


def _result(word: str, terms: Sequence[Labels], equation: str) -> Labels:
    before, dots, after = _letters(word, equation)
    known = {c for t in terms for c in t}
    if len({*before, *after}) < len(before + after) or not {*before, *after} <= known:
        raise ShapeMismatch(f"einsum {equation!r}: the result's labels are not once in the terms")
    return (*before, *(_dots(terms) if dots else ()), *after)


def _implied(terms: Sequence[Labels]) -> Labels:
    counts = Counter(c for t in terms for c in t)
    return (*_dots(terms), *sorted(c for c, n in counts.items() if isinstance(c, str) and n == 1))


def _evaluate(
    tensors: Sequence[Tensor], terms: Sequence[Labels], result: Labels, equation: str
) -> Tensor:
    pairs = [_diagonals(x, t, equation) for x, t in zip(tensors, terms, strict=True)]
    sizes: dict[Label, int] = {}
    for x, t in pairs:
        for c, n in zip(t, x.spec.shape, strict=True):
            common = broadcast(sizes.setdefault(c, n), n)
            if common is None:
                raise ShapeMismatch(f"einsum {equation!r}: {c!r} is {sizes[c]} and {n}")
            sizes[c] = common
    pairs = [_without_units(x, t, sizes) for x, t in pairs]
    out, have = pairs[0]
    for k, (y, term) in enumerate(pairs[1:], 1):
        later = set(result).union(*(t for _, t in pairs[k + 1 :]))
        out, have = _pair(out, have, y, term, later)
    gone = tuple(k for k, c in enumerate(have) if c not in result)
    kept = [c for c in have if c in result]
    out = R.sum(out, gone) if gone else out
    out = P.transpose(out, tuple(kept.index(c) for c in result))
    return out.clone() if out is tensors[0] else out


def _diagonals(x: Tensor, term: Labels, equation: str) -> tuple[Tensor, Labels]:
    """Each label once."""
    labels = list(term)
    for c in term:
        while labels.count(c) > 1:
            first = labels.index(c)
            second = labels.index(c, first + 1)
            if x.spec.shape[first] != x.spec.shape[second]:
                raise ShapeMismatch(f"einsum {equation!r}: {c!r} has two sizes in {x.spec}")
            x = diagonals.diagonal(x, 0, first, second)
            labels = [d for k, d in enumerate(labels) if k not in (first, second)] + [c]
    return x, tuple(labels)


def _without_units(x: Tensor, term: Labels, sizes: dict[Label, int]) -> tuple[Tensor, Labels]:
    """Dimensions of size 1 that are wider elsewhere broadcast: they are as well not there."""
    kept = [k for k, c in enumerate(term) if same(x.spec.shape[k], sizes[c])]
    return P.reshape(x, tuple(x.spec.shape[k] for k in kept)), tuple(term[k] for k in kept)


def _pair(x: Tensor, a: Labels, y: Tensor, b: Labels, later: set[Label]) -> tuple[Tensor, Labels]:
    """One product: labels of both that are needed later are batch, the others contract."""
    only_x = tuple(k for k, c in enumerate(a) if c not in b and c not in later)
    only_y = tuple(k for k, c in enumerate(b) if c not in a and c not in later)
    x, a = P.sum(x, only_x), tuple(c for c in a if c in b or c in later)
    y, b = P.sum(y, only_y), tuple(c for c in b if c in a or c in later)
    both = [c for c in a if c in b]
    batch = tuple((a.index(c), b.index(c)) for c in both if c in later)
    summed = tuple((a.index(c), b.index(c)) for c in both if c not in later)
    kept = [c for c in both if c in later]
    free = [c for c in (*a, *b) if c not in both]
    if not summed:  # a product of elements, which promotes
        dtype = result_type(x, y)
        x, y = P.cast(x, dtype), P.cast(y, dtype)
    return contract(x, y, batch, summed), (*kept, *free)
