"""The scaling of losses: gradients that are infinite or NaN skip a step, without asking the host.

What is found, the scale, and how many steps it has been good for are tensors on the device. A step
is skipped by a select: parameters and slots are given their old values back where something was
found, which in a compiled step is one more operand of the update.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from graphc.errors import InvalidArgument, InvalidState, InvalidType
from graphc.frontend import trace as tracing
from graphc.frontend.api.creation import full, zeros
from graphc.frontend.api.elementwise import where
from graphc.frontend.api.logic import isfinite
from graphc.frontend.autocast import working
from graphc.frontend.modes import no_grad
from graphc.frontend.tensor import Tensor
from graphc.ir.types import f16, f32, f64, i32

READY, UNSCALED, STEPPED = "ready", "unscaled", "stepped"


class _Seen:
    """How far an optimizer is in its step, and whether its gradients are finite."""

    def __init__(self, where: Any) -> None:
        self.stage = READY
        self.found = zeros((), dtype=f32, device=where)  # 1 where one is infinite or NaN

    def move(self, stage: str) -> None:
        """In a trace, at each call of what is traced."""
        if (trace := tracing.active()) is not None:
            key: Hashable = ("stage", id(self))
            if trace.first(key, partial(setattr, self, "stage", self.stage)):
                tracing.guard(partial(getattr, self, "stage"))
            trace.after_commit.append(partial(setattr, self, "stage", stage))
        self.stage = stage


class GradScaler:
    """PyTorch's: `scale(loss).backward()`, `step(optimizer)`, `update()`.

    The scale grows by `growth_factor` after `growth_interval` steps in a row without a gradient
    that is infinite or NaN, and is multiplied by `backoff_factor` at each step with one.
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 65536.0,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        self._device, self._enabled = device, working("GradScaler", device, enabled)
        if not self._enabled:
            return
        if growth_factor <= 1.0:
            raise InvalidArgument("The growth factor must be > 1.0.")
        if backoff_factor >= 1.0:
            raise InvalidArgument("The backoff factor must be < 1.0.")
        self._growth_factor, self._backoff_factor = growth_factor, backoff_factor
        self._growth_interval = growth_interval
        with tracing.paused():
            self._scale = full((), float(init_scale), dtype=f32, device=device)
            self._growth_tracker = zeros((), dtype=i32, device=device)
        self._seen: WeakKeyDictionary[Any, _Seen] = WeakKeyDictionary()  # by optimizer

    # ---- a step --------------------------------------------------------------------------------

    def scale(self, outputs: Any) -> Any:
        """A tensor, or those in a list or tuple, times the scale."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            return outputs * self._scale
        if isinstance(outputs, list | tuple):
            scaled = [self.scale(x) for x in outputs]
            return type(outputs)(*scaled) if hasattr(outputs, "_fields") else type(outputs)(scaled)
        raise InvalidType("outputs must be a Tensor or an iterable of Tensors")

    def unscale_(self, optimizer: Any) -> None:
        """Divide its gradients by the scale, and see whether all are finite."""
        if not self._enabled:
            return
        seen = self._seen_of(optimizer)
        if seen.stage == UNSCALED:
            raise InvalidState(
                "unscale_() has already been called on this optimizer since the last update()."
            )
        if seen.stage == STEPPED:
            raise InvalidState("unscale_() is being called after step().")
        with no_grad():
            inverse = self._scale.to(f64).reciprocal().to(f32)
            found = self._unscaled(optimizer, inverse)
            seen.found.copy_(found.to(f32))
        seen.move(UNSCALED)

    def _unscaled(self, optimizer: Any, inverse: Tensor) -> Tensor:
        """Whether a gradient is infinite or NaN; each is divided."""
        found: Tensor | None = None
        for group in optimizer.param_groups:
            for p in group["params"]:
                if (g := p.grad) is None:
                    continue
                if g.dtype is f16:
                    raise InvalidArgument("Attempting to unscale FP16 gradients.")
                bad = isfinite(g).all().logical_not()
                found = bad if found is None else found.logical_or(bad)
                g.mul_(inverse)
                if (trace := tracing.active()) is not None:
                    trace.judged.add(g.storage)
        if found is None:
            raise AssertionError("No inf checks were recorded for this optimizer.")
        return found

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """`optimizer.step(*args, **kwargs)`, which changes nothing where a gradient was infinite
        or NaN."""
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise InvalidState("Closure use is not currently supported if GradScaler is enabled.")
        seen = self._seen_of(optimizer)
        if seen.stage == STEPPED:
            raise InvalidState("step() has already been called since the last update().")
        if seen.stage == READY:
            self.unscale_(optimizer)
        seen.move(STEPPED)
        unless = getattr(optimizer, "step_unless", None)
        if unless is not None:
            return unless(seen.found, *args, **kwargs)
        return None if seen.found.item() else optimizer.step(*args, **kwargs)

    def update(self, new_scale: Any = None) -> None:
        """The scale of the next step: `new_scale`, or as its rule says."""
        if not self._enabled:
            return
        recorded = [seen for seen in self._seen.values() if seen.stage != READY]
        with no_grad():
            if isinstance(new_scale, Tensor):
                self._scale.copy_(new_scale)
            elif new_scale is not None:
                self._scale.fill_(float(new_scale))
            elif not recorded:
                raise AssertionError("No inf checks were recorded prior to update.")
            else:
                self._follow_rule(recorded)
        for seen in recorded:
            seen.move(READY)

    def _follow_rule(self, recorded: list[_Seen]) -> None:
        growth, backoff, interval = tracing.guard(self._numbers)
        found = recorded[0].found
        for seen in recorded[1:]:
            found = found + seen.found
        bad = found != 0
        good = self._growth_tracker + 1
        grown = self._scale * growth
        grows = good == interval
        larger = where(isfinite(grown) & grows, grown, self._scale)
        self._scale.copy_(where(bad, self._scale * backoff, larger))
        self._growth_tracker.copy_(where(bad | grows, good * 0, good))

    def _seen_of(self, optimizer: Any) -> _Seen:
        if optimizer not in self._seen:
            with tracing.paused():
                self._seen[optimizer] = _Seen(self._device)
        return self._seen[optimizer]

    # ---- its numbers ---------------------------------------------------------------------------

    def _numbers(self) -> tuple[float, float, int]:
        return self._growth_factor, self._backoff_factor, self._growth_interval

    def get_scale(self) -> float:
        """The scale, which the host waits for; 1.0 if disabled."""
        return float(self._scale.item()) if self._enabled else 1.0

    def get_growth_factor(self) -> float:
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        self._growth_interval = new_interval

    def is_enabled(self) -> bool:
        return self._enabled

    def state_dict(self) -> dict[str, Any]:
        """Its numbers; empty if disabled."""
        if not self._enabled:
            return {}
        return {
            "scale": self.get_scale(),
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": int(self._growth_tracker.item()),
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over a scaler's numbers; a disabled one ignores them, as it may have been saved on
        another device."""
        if not isinstance(state_dict, Mapping):
            raise InvalidState(f"GradScaler: a state dict is a dict, not {state_dict!r:.100}")
        if not self._enabled:
            return
        if not state_dict:
            raise InvalidState(
                "The source state dict is empty, possibly because it was saved from a disabled "
                "instance of GradScaler."
            )
        self._scale.fill_(float(state_dict["scale"]))
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._growth_tracker.fill_(int(state_dict["_growth_tracker"]))
