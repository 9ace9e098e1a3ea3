"""polynomial: integer polynomials as tables from products of atoms to factors.

An atom has a name and a least value; what else it is does not matter here. The empty product is the
constant, and no factor is zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, cast


class Atom(Protocol):
    """An unknown whole number."""

    @property
    def name(self) -> str: ...
    @property
    def least(self) -> int: ...


Product = tuple[Atom, ...]
Terms = Mapping[Product, int]


def clean(terms: Mapping[Product, int]) -> dict[Product, int]:
    return {p: f for p, f in terms.items() if f}


def add(a: Terms, b: Terms, sign: int = 1) -> dict[Product, int]:
    """a + sign * b"""
    out = dict(a)
    for product, factor in b.items():
        out[product] = out.get(product, 0) + sign * factor
    return clean(out)


def multiply(a: Terms, b: Terms) -> dict[Product, int]:
    out: dict[Product, int] = {}
    for p, f in a.items():
        for q, g in b.items():
            product = tuple(sorted((*p, *q), key=lambda atom: atom.name)) if p and q else p or q
            out[product] = out.get(product, 0) + f * g
    return clean(out)


def divide(a: Terms, below: Product, scale: int) -> tuple[dict[Product, int], dict[Product, int]]:
    """Quotient and rest of a by the single term scale * below; a constant rest is the least."""
    out: dict[Product, int] = {}
    rest: dict[Product, int] = {}
    for product, factor in a.items():
        left = without(product, below)
        if left is None or (factor % scale and left):
            rest[product] = factor
            continue
        out[left] = out.get(left, 0) + factor // scale
        if factor % scale:
            rest[product] = factor % scale
    return clean(out), rest


def without(product: Product, below: Product) -> Product | None:
    """product / below, or None."""
    left = list(product)
    for atom in below:
        if atom not in left:
            return None
        left.remove(atom)
    return tuple(left)


def at(terms: Terms, atom: Atom, value: int) -> Terms:
    """The polynomial with a value in place of an atom; inside other atoms it stays."""
    out: Terms = {}
    for product, factor in terms.items():
        rest = tuple(a for a in product if a is not atom)
        out = add(out, {rest: factor * value ** (len(product) - len(rest))})
    return out


def least(terms: Terms) -> int | None:
    """The least value for any values of the atoms; None where that is not seen.

    Over what each atom has beyond its own least value, a polynomial without negative factors is
    never less than its constant.
    """
    total = 0
    for product, factor in terms.items():
        if factor < 0 and product:
            break
        for atom in product:
            factor *= atom.least
        total += factor
    else:
        return total
    beyond: dict[Product, int] = {}
    for product, factor in terms.items():
        parts: list[tuple[Product, int]] = [((), factor)]
        for atom in product:
            low = atom.least
            parts = [*(((*p, atom), f) for p, f in parts), *((p, f * low) for p, f in parts if low)]
        for part, f in parts:
            beyond[part] = beyond.get(part, 0) + f
    constant = beyond.pop((), 0)
    return _least_above(terms) if any(f < 0 for f in beyond.values()) else constant


def _least_above(terms: Terms) -> int | None:
    """The same by what a quotient is at most, floor(t / n) <= t / n: for n times the terms."""
    for product, factor in terms.items():
        for k, atom in enumerate(product):
            if factor < 0 and (bottom := getattr(atom, "bottom", 0)):
                others = {p: f * bottom for p, f in terms.items() if p != product}
                above = multiply(
                    {(*product[:k], *product[k + 1 :]): factor}, cast(Any, atom).top.terms
                )
                low = least(add(others, above))
                return None if low is None else -(-low // bottom)
    return None


def show(terms: Terms) -> str:
    """`B*49+1`"""
    rows = sorted(terms.items(), key=lambda t: [a.name for a in t[0]], reverse=True)
    return "".join(_term(p, f) for p, f in rows).removeprefix("+") or "0"


def _term(product: Product, factor: int) -> str:
    words = [atom.name for atom in product]
    if not words or abs(factor) != 1:
        words.append(str(abs(factor)))
    return ("-" if factor < 0 else "+") + "*".join(words)
