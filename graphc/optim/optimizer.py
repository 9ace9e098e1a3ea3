"""Optimizer: parameter groups, slots and their state_dict, as in PyTorch, eager and compiled alike.

In a compiled step the slots are ordinary state tensors, made before they are traced; the numbers
of a group are read at each call. A guard on `_layout` tells the step when slots were replaced.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import wraps
from itertools import chain
from typing import Any

from graphc.errors import InvalidArgument, InvalidState, InvalidType
from graphc.frontend import trace as tracing
from graphc.frontend.api.elementwise import where
from graphc.frontend.modes import enable_grad, no_grad, set_grad_enabled
from graphc.frontend.tensor import Tensor
from graphc.frontend.told import Told
from graphc.ir.types import DType, f32, f64
from graphc.optim.followed import follow
from graphc.optim.group import Answer, ParameterGroup, Watched, guard_members, is_set_by_step
from graphc.optim.hooks import Hooked
from graphc.optim.rules import Rate
from graphc.optim.slots import Layout, SlotTable

ParamsT = Iterable[Any]  # what an optimizer is given


class _Required:
    """PyTorch's mark of an option without a default, which optimizers of others import."""

    def __repr__(self) -> str:
        return "<required parameter>"


required = _Required()
Group = dict[str, Any]
Slots = dict[str, Any]
Options = list[str]
MIXED_NAMES = "all optimizer params should be with/without names. Some param names are missing"


class Optimizer(Hooked):
    """Base of all optimizers: a subclass gives `_update_group`.

    params: tensors of any shapes, (name, tensor) pairs, or dicts with "params" and options of a
    group. Raises InvalidArgument where there are none, InvalidType where they are a tensor.
    """

    def __init__(self, params: Iterable[Any], defaults: Group) -> None:
        if isinstance(params, Tensor):
            raise InvalidType(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, "
                "but got Tensor",
                fix="pass a list, or model.parameters()",
            )
        if defaults.get("fused") and (defaults.get("foreach") or defaults.get("differentiable")):
            raise InvalidState("`fused` goes with neither `foreach` nor `differentiable`")
        super().__init__()
        self.defaults = defaults
        self._layout = Layout()  # moves when a slot is made or replaced
        self.state: dict[Any, Any] = SlotTable(self._layout, nested=True)  # by parameter
        self.param_groups: list[Group] = Watched()
        self.found_inf: Tensor | None = None  # while a GradScaler steps: whether to change nothing
        self._opt_called = False  # whether it has stepped, for a schedule to warn
        groups = list(params)
        if not groups:
            raise InvalidArgument(
                "optimizer got an empty parameter list",
                why="the model has no parameters: layers in a plain list are not registered, and a"
                " generator gives its parameters once only",
                fix="keep layers in nn.ModuleList, and pass model.parameters() anew",
            )
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, param_group: Group) -> None:
        """Take further parameters, with options of their own where given."""
        if not isinstance(param_group, dict):
            raise InvalidType(f"param_group must be a dict, but got {type(param_group)}")
        given = param_group["params"]
        if isinstance(given, set | frozenset):
            raise InvalidType(
                "optimizer parameters need to be organized in ordered collections, but the "
                "ordering of tensors in sets will change between runs. Please use a list instead."
            )
        params = [given] if isinstance(given, Tensor) else list(given)
        params, named = _without_names(params)
        if self.param_groups and bool(named) != ("param_names" in self.param_groups[0]):
            raise InvalidArgument(MIXED_NAMES)
        for p in params:
            if not isinstance(p, Tensor):
                raise InvalidType(
                    "optimizer can only optimize Tensors, but one of the params is "
                    f"{type(p).__name__}"
                )
            if not (p.is_leaf or p.retains_grad or self.defaults.get("differentiable")):
                raise _not_a_leaf(p)
        taken = {id(p) for group in self.param_groups for p in group["params"]}
        if len({id(p) for p in params}) < len(params):
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters", stacklevel=3
            )
        if any(id(p) in taken for p in params):
            raise InvalidArgument("some parameters appear in more than one parameter group")
        group = {**param_group, "params": Watched(params), **named}
        rest = {k: v for k, v in self.defaults.items() if k not in group}
        self.param_groups.append(ParameterGroup(group | rest))

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop every parameter's gradient, or fill it with zeros."""
        guard_members(self)
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none:
                    p.grad = None
                elif p.grad is not None:
                    p.grad.detach().zero_()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient; the closure's loss if one is given.

        With `differentiable`, the update is recorded: the parameters must not be leaves then.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        guard_members(self)
        with set_grad_enabled(bool(self.defaults.get("differentiable"))), _phase():
            work = [self._chosen(group) for group in self.param_groups]
            for group, active, options in work:
                self._prepare(group, active, options)
            # After every slot is made: the number that a compiled step compares at each call.
            self._guard_slots()
            for group, active, options in work:
                with self._skipping(active):
                    self._update_group(group, active, options)
        return loss

    def _guard_slots(self) -> None:
        """A step is traced for these slots or, once others were loaded, for any like them."""
        trace = tracing.active()
        if trace is not None and self._layout.loaded:
            trace.followed.append(self.state)
        else:
            tracing.guard(Told(lambda: self._layout.moves, self, self._layout))

    def step_unless(self, found: Tensor, *args: Any, **kwargs: Any) -> Any:
        """`step`, but nothing changes where `found` is not 0, which the host does not ask."""
        owner = next(kind for kind in type(self).__mro__ if "step" in vars(kind))
        if owner is not Optimizer or self._followed():  # Python that may look at anything
            return None if found.item() else self.step(*args, **kwargs)
        self.found_inf = found
        try:
            return self.step(*args, **kwargs)
        finally:
            self.found_inf = None

    @contextmanager
    def _skipping(self, active: list[Tensor]) -> Iterator[None]:
        """Give parameters and slots their old values back where something was found."""
        if self.found_inf is None:
            yield
            return
        written = {id(t): t for p in active for t in (p, *self._slots_of(p))}.values()
        before = [(t, t.detach().clone()) for t in written]
        yield
        bad = self.found_inf != 0
        for t, old in before:
            t.copy_(where(bad, old, t))

    def _slots_of(self, p: Tensor) -> list[Tensor]:
        """The tensors, besides the parameter, that its update writes."""
        slots = self.state.get(p, {})
        return [x for x in slots.values() if isinstance(x, Tensor)]

    def _chosen(self, group: Group) -> tuple[Group, list[Tensor], Options]:
        """A group, its parameters that have a gradient, and the options that hold for it."""
        answer = Answer(lambda g: " ".join(self._options(g)), group)
        options = tracing.guard(answer.told())
        return group, [p for p in group["params"] if p.grad is not None], options.split()

    def _watched(self) -> AbstractContextManager[None]:
        if self._followed():
            follow(self)
        return nullcontext()

    def _followed(self) -> bool:
        """Whether its step is Python of a user's own."""
        return type(self)._update_group is Optimizer._update_group

    # ---- for subclasses ------------------------------------------------------------------------

    def _options(self, group: Group) -> Options:
        """What shapes the update of a group, by name; a compiled step is traced for these."""
        raise NotImplementedError

    def _prepare(self, group: Group, active: list[Tensor], options: Options) -> None:
        """Make the slots that are missing: concrete ones, although a trace may be active."""
        missing = [p for p in active if not self.state.get(p)]
        if missing:
            with tracing.paused():
                for p in missing:
                    self.state[p] = SlotTable(self._layout, self._new_slots(p, options))
                    self._name_slots(p)

    def _new_slots(self, p: Tensor, options: Options) -> Slots:
        """The slots of a parameter at its first step."""
        raise NotImplementedError

    def _update_group(self, group: Group, active: list[Tensor], options: Options) -> None:
        raise NotImplementedError

    def _name_slots(self, p: Tensor) -> None:
        """Name slots after their parameter, for dumps."""
        for key, slot in self.state[p].items():
            if isinstance(slot, Tensor) and p.storage.name:
                slot.storage.name = f"{p.storage.name}.{key}"

    # ---- state ---------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Slots by the parameter's number, and the groups with numbers for parameters."""
        self._told("saving")
        number = {id(p): k for k, p in enumerate(self._all())}
        groups = [
            {k: v for k, v in group.items() if k != "params"}
            | {"params": [number[id(p)] for p in group["params"]]}
            for group in self.param_groups
        ]
        state = {
            number[id(p)] if isinstance(p, Tensor) else p: _plain(slots)
            for p, slots in self.state.items()
            if slots or not isinstance(slots, dict)
        }
        out: dict[str, Any] = self._told("saved", {"state": state, "param_groups": groups})
        return out

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take slots and options. As in PyTorch, tensors of the parameter's type and device are
        taken themselves, no copies; who has the slots from before keeps what they were."""
        state_dict = self._told("loading", dict(state_dict))
        groups = state_dict["param_groups"]
        if len(groups) != len(self.param_groups):
            raise InvalidArgument("loaded state dict has a different number of parameter groups")
        if any(len(a["params"]) != len(b["params"]) for a, b in zip(groups, self.param_groups)):
            raise InvalidArgument(
                "loaded state dict contains a parameter group that doesn't match the size of "
                "optimizer's group"
            )
        numbers = chain.from_iterable(g["params"] for g in groups)
        param = dict(zip(numbers, self._all()))
        loaded = {param.get(k, k): slots for k, slots in state_dict["state"].items()}
        for mine, new in zip(self.param_groups, groups):
            mine.update({k: v for k, v in new.items() if k != "params"})
        with no_grad():
            self._load_slots(loaded)
        self._told("loaded")

    def _load_slots(self, loaded: Mapping[Any, Any]) -> None:
        self._layout.loaded = True
        for p in [p for p in self.state if p not in loaded]:
            del self.state[p]
        for p, slots in loaded.items():
            if not isinstance(p, Tensor):
                self.state[p] = slots
                continue
            mine = self.state[p]
            for key in [key for key in mine if key not in slots]:
                del mine[key]
            for key, value in slots.items():
                self._load_slot(p, mine, key, value)

    def _load_slot(self, p: Tensor, mine: Slots, key: str, value: Any) -> None:
        if isinstance(value, Tensor) and key != "step":
            floating = value.dtype.is_floating_point and p.dtype.is_floating_point
            value = value.to(p.device, p.dtype if floating else value.dtype)
        self._layout.moves += mine.get(key) is not value and not isinstance(value, Tensor)
        mine[key] = value

    def _all(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def __repr__(self) -> str:
        rows = [f"{type(self).__name__} ("]
        for k, group in enumerate(self.param_groups):
            rows += [*([""] if k else []), f"Parameter Group {k}"]
            rows += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
        return "\n".join([*rows, ")"])


def _plain(slots: Any) -> Any:
    """What a file holds: a dict, whose changes nobody counts."""
    return dict(slots) if isinstance(slots, SlotTable) else slots


def _without_names(params: list[Any]) -> tuple[list[Any], dict[str, list[str]]]:
    """Parameters given as (name, parameter), apart."""
    pairs = [isinstance(p, tuple) for p in params]
    if not any(pairs):
        return params, {}
    if not all(pairs):
        raise InvalidArgument(MIXED_NAMES)
    return [p for _, p in params], {"param_names": [name for name, _ in params]}


def rate(group: Group, name: str, getter: Callable[[], Any], like: DType) -> Rate:
    """A number of a group: as it is when eager, read at each call of a compiled step."""
    dtype = f64 if like is f64 else f32
    if tracing.active() is None or is_set_by_step(group):
        value: Rate = getter()
        return value.to(dtype) if isinstance(value, Tensor) else value
    if type(group) is ParameterGroup:
        getter = Told(getter, group, reads=[key for key in group if key != "params"])
    return tracing.host_scalar(getter, dtype, name, (id(group), name))


def chosen(**options: object) -> Options:
    """The names of the options that hold."""
    return [name for name, holds in options.items() if holds]


def gradient(p: Tensor, options: Options) -> Tensor:
    """What to descend along: the gradient, or against it to maximize."""
    g = p.grad
    assert g is not None, "only parameters with a gradient are updated"
    return -widened(g) if "maximize" in options else widened(g)


def widened(x: Tensor) -> Tensor:
    """Half types as float32, so that an update rounds once, when it is stored."""
    return x.to(f32) if x.dtype.is_half else x


def non_negative(**values: float) -> None:
    """Raise ValueError for a negative number, with PyTorch's text."""
    for name, value in values.items():
        if getattr(value, "shape", ()) not in ((), (1,)):
            raise InvalidArgument(f"Tensor {name} must be 1-element")
        if not value >= 0.0:
            label = {"eps": "epsilon value", "lr": "learning rate"}.get(name, f"{name} value")
            raise InvalidArgument(f"Invalid {label}: {value}")


def check_betas(betas: tuple[float, float]) -> None:
    """Raise ValueError for a decay that is not in [0, 1), with PyTorch's text."""
    for k, beta in enumerate(betas):
        if not 0.0 <= beta < 1.0:
            raise InvalidArgument(f"Invalid beta parameter at index {k}: {beta}")


@contextmanager
def _phase() -> Iterator[None]:
    """Mark what is traced inside as the optimizer's."""
    trace = tracing.active()
    if trace is None:
        yield
        return
    before, trace.builder.phase = trace.builder.phase, "opt"
    try:
        yield
    finally:
        trace.builder.phase = before


@contextmanager
def updating(p: Tensor) -> Iterator[None]:
    """Give what is traced inside the name of the parameter."""
    trace = tracing.active()
    if trace is None or not p.storage.name:
        yield
        return
    trace.builder.scope.append(p.storage.name)
    try:
        yield
    finally:
        trace.builder.scope.pop()


def _not_a_leaf(p: Tensor) -> InvalidArgument:
    maker = p.grad_fn.label if p.grad_fn is not None else "another operation"
    return InvalidArgument(
        f"can't optimize a non-leaf Tensor: {p.spec} is what {maker} gives",
        why="its gradient goes on to what it was computed from, and none stays with it",
        fix="pass the leaf it comes from, or x.detach().requires_grad_()",
    )


# What optimizers written for PyTorch import from this file of its own.


def _use_grad_for_differentiable(step: Callable[..., Any]) -> Callable[..., Any]:
    """`step` without gradients, unless its optimizer was made differentiable."""

    @wraps(step)
    def stepped(self: Any, *args: Any, **kwargs: Any) -> Any:
        with set_grad_enabled(bool(self.defaults.get("differentiable"))):
            return step(self, *args, **kwargs)

    return stepped


def _default_to_fused_or_foreach(
    params: Any, differentiable: bool, use_fused: bool = False
) -> tuple[bool, bool]:
    """Neither: a step is one program, whichever way it is written."""
    return False, False


def _get_capturable_supported_devices(supports_xla: bool = True) -> list[str]:
    """Where an optimizer may keep its count of steps as a tensor."""
    return ["cpu", "cuda"]


def _get_value(x: Any) -> Any:
    """A number of a tensor, but not in a compiled step, where it stays one."""
    return x if tracing.active() is not None or not isinstance(x, Tensor) else x.item()
