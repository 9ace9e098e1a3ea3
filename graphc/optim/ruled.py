"""Ruled: optimizers that are one rule, from a parameter, its gradient and its slots to a step.

Rates are doubles: Python numbers, or in a compiled step 0-d float64 tensors read at each call, so a
schedule recompiles nothing. What depends on the step count alone is computed once for each counter.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Mapping
from functools import partial
from typing import Any, ClassVar, NamedTuple

from graphc.frontend import trace as tracing
from graphc.frontend.api.creation import full, zeros_like
from graphc.frontend.replaced import Call, replaced
from graphc.frontend.tensor import Tensor
from graphc.frontend.update import update
from graphc.ir.types import f32, f64
from graphc.optim.counted import Counted
from graphc.optim.group import number_of
from graphc.optim.optimizer import Group, Options, Slots, chosen, gradient, rate, updating, widened
from graphc.optim.rules import Rate
from graphc.optim.together import together

Rates = Mapping[str, Rate]
PAIRS = {
    "betas": ("beta1", "beta2"),
    "etas": ("eta_minus", "eta_plus"),
    "step_sizes": ("least", "most"),
    "eps": ("eps1", "eps2"),
}  # group entries that hold two rates


class Change(NamedTuple):
    """What a rule gives: what to subtract from the parameter, and the slots that are new."""

    step: Tensor
    slots: Mapping[str, Tensor]


class Ruled(Counted):
    """Base of optimizers with a rule; a subclass gives `_rule`, its slots and its options."""

    zero_slots: ClassVar[tuple[str, ...]] = ()  # of the parameter's shape, zero at first
    elementwise: ClassVar[bool] = False  # whether the rule looks at each element alone
    decoupled: ClassVar[bool] = False  # whether weight decay shrinks the parameter itself

    @abstractmethod
    def _rule(
        self, p: Tensor, g: Tensor, s: Mapping[str, Tensor], r: Rates, options: Options
    ) -> Change:
        """One step; `r` holds the group's numbers and what `_per_step` adds."""

    def _per_step(self, t: Tensor, r: Rates) -> Rates:
        """What follows from the step count `t` (0-d float64, 1 at the first step)."""
        return {}

    def _flags(self, group: Group) -> dict[str, object]:
        """What else shapes the update of a group, by name."""
        return {}

    def _options(self, group: Group) -> Options:
        return chosen(
            weight_decay=group.get("weight_decay", 0) != 0,
            maximize=group["maximize"],
            **self._flags(group),
        )

    def _new_slots(self, p: Tensor, options: Options) -> Slots:
        return {"step": self._new_counter(), **{name: zeros_like(p) for name in self.zero_slots}}

    # ---- the step ------------------------------------------------------------------------------

    def _update_group(self, group: Group, active: list[Tensor], options: Options) -> None:
        self._count(active)
        numbers = _numbers(group)
        if self._at_once(group, active, numbers, options):
            return
        rates: dict[int, Rates] = {}
        each = [(p, self.state[p]) for p in active]
        for p, slots in together(active, self.state) if self.elementwise else each:
            counter = slots["step"]
            if id(counter) not in rates:
                more = self._per_step(counter.to(f64), numbers)
                rates[id(counter)] = {**numbers, **more}
            with updating(p):
                self._update(p, slots, rates[id(counter)], options)

    def _at_once(
        self, group: Group, active: list[Tensor], numbers: Rates, options: Options
    ) -> bool:
        """The step of all parameters by one program, if they have one counter."""
        if not (self.elementwise and active) or tracing.active() is not None:
            return False
        each = [self.state[p] for p in active]
        counters = {id(slots["step"]): slots["step"] for slots in each}
        names = [name for name in each[0] if name != "step"]
        if len(counters) != 1 or "maximize" in options or any(len(s) != len(each[0]) for s in each):
            return False
        (counter,) = counters.values()
        rates = {**numbers, **self._per_step(counter.to(f64), numbers)}
        if any(isinstance(r, Tensor) and r.dtype is not f64 for r in rates.values()):
            return False  # a condition
        key = (type(self), tuple(names), tuple(rates), tuple(options))
        if key not in _rules:
            blank = object.__new__(type(self))  # holds no parameters
            _rules[key] = partial(_replacing, blank, names, [*rates], options)
        calls = [Call(p, p.grad, tuple(s[name] for name in names)) for p, s in zip(active, each)]
        known = tuple(float(r) if isinstance(r, Tensor) else r for r in rates.values())
        return replaced(self, (id(group), *options), _rules[key], calls, known, wide=True)

    def _update(self, p: Tensor, slots: Slots, r: Rates, options: Options) -> None:
        old = {name: widened(x) for name, x in slots.items() if name != "step"}
        new = self._new(widened(p), gradient(p, options), old, r, options)
        p.copy_(new.step)
        for name, value in new.slots.items():
            slots[name].copy_(value)

    def _new(
        self, x: Tensor, g: Tensor, old: Mapping[str, Tensor], r: Rates, options: Options
    ) -> Change:
        """The new parameter in place of the step."""
        apart = self.decoupled or "decoupled" in options
        if "weight_decay" in options and not apart:
            g = g + x * r["weight_decay"]
        new = self._changed(x, g, old, r, options)
        if "weight_decay" in options and apart:
            x = x * (1.0 - r["lr"] * r["weight_decay"])
        return Change(x - new.step, new.slots)

    def _changed(
        self, p: Tensor, g: Tensor, s: Mapping[str, Tensor], r: Rates, options: Options
    ) -> Change:
        """By the rule, in eager mode as a list of calls where it looks at elements alone."""
        if not self.elementwise:
            return self._rule(p, g, s, r, options)
        key = (type(self), tuple(s), tuple(r), tuple(options))
        if key not in _lists:
            blank = object.__new__(type(self))  # holds no parameters
            _lists[key] = _Listed(partial(blank._rule, options=options), tuple(s), tuple(r))
        return _lists[key](p, g, s, r)


class _Listed:
    """A rule as a function of tuples, and the names of what it gives."""

    def __init__(self, rule: Any, slots: tuple[str, ...], rates: tuple[str, ...]) -> None:
        names: list[str] = []

        def flat(p: Tensor, g: Tensor, s: tuple[Any, ...], r: tuple[Any, ...]) -> Any:
            made = rule(p, g, dict(zip(slots, s)), dict(zip(rates, r)))
            names[:] = made.slots
            return (made.step, *made.slots.values())

        self._names, self._flat = names, update(flat, wide=True)

    def __call__(self, p: Tensor, g: Tensor, s: Mapping[str, Tensor], r: Rates) -> Change:
        step, *slots = self._flat(p, g, tuple(s.values()), tuple(r.values()))
        return Change(step, dict(zip(self._names, slots)))


def _replacing(
    blank: Ruled, names: list[str], rates: list[str], options: Options,
    p: Tensor, g: Tensor, slots: tuple[Tensor, ...], r: tuple[Any, ...],
) -> tuple[Tensor, tuple[Tensor, ...]]:  # fmt: skip
    """The rule as one of tuples, that gives a parameter and slots."""
    old = dict(zip(names, slots))
    new = blank._new(p, g, old, dict(zip(rates, r)), options)
    return new.step, tuple(new.slots.get(name, old[name]) for name in names)


_lists: dict[Hashable, _Listed] = {}
_rules: dict[Hashable, Any] = {}


def _numbers(group: Group) -> dict[str, Rate]:
    """A group's numbers by name, those that stand in pairs apart."""
    found: dict[str, Rate] = {}
    for key, value in group.items():
        if isinstance(value, tuple | list) and key in PAIRS:
            for k, name in enumerate(PAIRS[key]):
                if value[k] is not None:
                    found[name] = rate(group, name, partial(_pick, group, key, k), f64)
        elif isinstance(value, float | int | Tensor) and not isinstance(value, bool):
            found[key] = rate(group, key, partial(_number, group, key), f64)
    return found


def _number(group: Group, key: str) -> Any:
    return number_of(group[key])


def _pick(group: Group, key: str, k: int) -> Any:
    return number_of(group[key][k])


def scalar_slot(value: Any) -> Tensor:
    """A slot of one number, float32 as PyTorch keeps it."""
    return full((), float(value), dtype=f32)
