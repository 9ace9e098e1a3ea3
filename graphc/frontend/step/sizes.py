"""Which sizes of a call's arguments are extents of its plan, and which are literal.

The first dimension of an argument is an extent from the first trace on; arguments that agree share
it. Any other dimension becomes one when a second value of it is seen. A dimension whose value the
step needs is literal, with the reason: for good, unless it was 1, which broadcasts, or shared, as a
batch that happens to be as large as a weight is.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os.path import basename
from typing import NamedTuple

from graphc.frontend.geometry import shown_strides
from graphc.frontend.layouts import order_of
from graphc.frontend.step.python.guards import Change
from graphc.frontend.tensor import Tensor
from graphc.ir.extent import extent_of
from graphc.ir.sizes import Evaluation
from graphc.ir.symbols import Extents, Fixed, Role, Symbol
from graphc.ir.types import DType, Shape, TensorSpec


class Place(NamedTuple):
    """A dimension of the `leaf`-th tensor of a call."""

    leaf: int
    dim: int


NAMES: Mapping[Role, str] = {"batch": "B", "sequence": "L", "space": "S", "other": "N"}


@dataclass(slots=True)
class Openness:
    """What is known of the dimensions of calls of one form.

    `dynamic`: None as the module says, True if all are extents at once, False if each plan serves
    one size of each. A batch of 1 is never a number: its axis has to stay in the kernels. Without
    it they sum in another order (a vector's product along its rows), and a row would have other
    bits than it has in a larger batch.
    """

    dynamic: bool | None = None
    opened: set[Place] = field(default_factory=set)  # of which a second value was seen
    literal: dict[Place, Fixed] = field(default_factory=dict)  # which the step needs as numbers
    chance: dict[Place, int] = field(default_factory=dict)  # of those, values that may be chance
    shared: set[Role] = field(default_factory=set)  # whose extents are one where they agree

    def copy(self) -> Openness:
        return replace(
            self, literal={**self.literal}, chance={**self.chance}, shared={*self.shared}
        )

    def take(self, other: Openness) -> None:
        """Know of what is needed as `other` does."""
        self.literal, self.chance, self.shared = other.literal, other.chance, other.shared

    def is_open(self, place: Place, x: Tensor) -> bool:
        shape, strides = x.spec.shape, shown_strides(x)
        n = shape[place.dim]
        if n == 0 or (place in self.literal and self.chance.get(place, n) == n):
            return False
        if strides and (place.dim or order_of(shape, strides)[0]):
            return False  # strides stand in the signature: no other one may depend on this size
        if self.dynamic is None and place in self.opened:
            return True
        if place.dim == 0 and n == 1:
            return True
        # What requires grad may be a weight, whose kernels are better for known sizes.
        return (self.dynamic or (self.dynamic is None and place.dim == 0)) and not x.requires_grad

    def note(self, pattern: Pattern, needed: Fixed) -> None:
        """What `needed` names is literal from now on; or the two are one, as the sides of a square
        are, a matrix from all to all of a batch."""
        roles = {s.role for s in needed.symbols}
        square = len(roles) == 2 and len({s.hint for s in needed.symbols}) == 1
        if needed.alone and square and not roles <= self.shared:
            self.shared |= roles
            return
        for symbol in needed.symbols:
            places = pattern.places[symbol]
            doubtful = needed.alone or symbol.hint == 1 or len(places) > 1
            for place in places:
                self.literal[place] = needed
                self.chance.pop(place, None)
                if doubtful:
                    self.chance[place] = symbol.hint


class Pattern:
    """The shapes of a call's tensors, with extents in place of what is open."""

    def __init__(
        self,
        leaves: Sequence[Tensor],
        openness: Openness,
        fixed: Iterable[int],
        names: Sequence[str] = (),
    ) -> None:
        self.extents = Extents()
        self.numbers: dict[tuple[str, int, int], Fixed] = {}  # by argument, dimension and size
        self.serves_one = openness.dynamic is False  # size of each extent, the one seen
        self.places: dict[Symbol, list[Place]] = {}
        made: dict[tuple[Role, int], Symbol] = {}
        keep = set(fixed)
        self.specs: list[TensorSpec] = []
        for k, x in enumerate(leaves):
            shape = list(x.spec.shape)
            for dim, n in enumerate(shape):
                place = Place(k, dim)
                if k in keep:
                    continue
                if not openness.is_open(place, x):
                    if place in openness.literal:
                        self.numbers[names[k] if names else str(k), dim, n] = openness.literal[
                            place
                        ]
                    continue
                role = _role(dim, len(shape))
                key = (min(openness.shared) if role in openness.shared else role), n
                if key not in made:
                    made[key] = self.extents.symbol(self._name(role), role, n)
                symbol = made[key]
                shape[dim] = extent_of(symbol)
                self.places.setdefault(symbol, []).append(place)
            self.specs.append(TensorSpec(x.spec.dtype, tuple(shape)))

    def _name(self, role: Role) -> str:
        count = sum(s.role == role for s in self.places)
        return NAMES[role] + (str(count + 1) if count else "")

    def sizes(self, leaves: Sequence[Tensor]) -> Evaluation | None:
        """The sizes under which these tensors have these shapes and all conditions hold."""
        found: dict[Symbol, int] = {}
        for symbol, places in self.places.items():
            here = {leaves[p.leaf].spec.shape[p.dim] for p in places}
            if len(here) > 1:
                return None
            (found[symbol],) = here
        if any(n < s.least or (self.serves_one and n != s.hint) for s, n in found.items()):
            return None
        sizes = Evaluation(found)
        same = all(s.at(sizes).shape == x.spec.shape for s, x in zip(self.specs, leaves))
        return sizes if same and self.extents.met(sizes.of) else None

    def misfit(
        self,
        shapes: Sequence[Shape],
        leaves: Sequence[Tensor],
        names: Sequence[str],
        openness: Openness,
    ) -> list[Change]:
        """Why a plan that was traced for `shapes` does not serve these tensors."""
        rows = []
        for place in sorted(other_sizes(shapes, leaves) & openness.literal.keys()):
            needed = openness.literal[place]
            file, line, _ = needed.where
            old, new = str(shapes[place.leaf]), str(leaves[place.leaf].spec.shape)
            what = f"argument `{names[place.leaf]}`: {needed.why}"
            rows.append(Change(what, old, new, file, line))
        found = {s: leaves[p[0].leaf].spec.shape[p[0].dim] for s, p in self.places.items()}
        for c in self.extents.conditions.values():
            if not c.met(found.__getitem__):
                rows.append(Change(f"condition {c}", "true", "false", *c.where[:2]))
        return rows

    def report(self) -> list[str]:
        """The extents, and the conditions of the plan, as `explain` shows them."""
        told = "and no other, as dynamic=False says" if self.serves_one else "when traced"
        rows = [f"{s.name}: {s.role}, {s.hint} {told}" for s in self.places]
        for (name, dim, n), needed in self.numbers.items():
            file, line, _ = needed.where
            why = needed.why + (f" ({basename(file)}:{line})" if file else "")
            rows.append(f"dimension {dim} of `{name}` is {n}: {why}")
        for c in self.extents.conditions.values():
            file, line, _ = c.where
            rows.append(f"only where {c}" + (f" ({basename(file)}:{line})" if file else ""))
        return rows


def _role(dim: int, rank: int) -> Role:
    if dim == 0:
        return "batch"
    if rank >= 4 and dim >= 2:
        return "space"
    return "sequence" if dim == 1 else "other"


def form(key: Hashable) -> Hashable:
    """A signature with the ranks of tensors in place of their shapes."""
    if not isinstance(key, tuple):
        return key
    if len(key) > 2 and isinstance(key[0], DType):
        return key[0], len(key[1]), *key[2:]
    return tuple(map(form, key))


def other_sizes(before: Sequence[Shape], now: Sequence[Tensor]) -> set[Place]:
    """The dimensions in which calls of one form differ."""
    return {
        Place(k, dim)
        for k, (shape, x) in enumerate(zip(before, now, strict=True))
        for dim, (m, n) in enumerate(zip(shape, x.spec.shape, strict=True))
        if m != n
    }
