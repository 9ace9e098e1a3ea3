"""LBFGS: a quasi-Newton method that evaluates the loss several times a step.

Nocedal and Wright, Numerical Optimization, 2nd ed.: algorithm 7.4 (two loops) for the direction,
3.5 and 3.6 for the line search with the strong Wolfe conditions, cubic interpolation from 3.59.
How many evaluations a step takes depends on the loss, so it runs eagerly; the closure may be
compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import sqrt
from typing import Any, NamedTuple

from graphc.errors import InvalidArgument, InvalidType, Untraceable
from graphc.frontend import trace as tracing
from graphc.frontend.api.creation import zeros_like
from graphc.frontend.api.shapes import cat
from graphc.frontend.modes import enable_grad, no_grad
from graphc.frontend.tensor import Tensor
from graphc.optim.optimizer import Group, Optimizer, non_negative

Closure = Callable[[], Any]
FEW_CURVATURE = 1e-10  # a pair with less curvature than this would make the direction unstable


class Point(NamedTuple):
    """A place on the search line: its step, the loss, the gradient and its slope along the line."""

    t: float
    loss: float
    gradient: Tensor
    slope: float


class LBFGS(Optimizer):
    """Limited-memory BFGS with a fixed step or a line search; one parameter group.

    `step(closure)` needs a closure that clears gradients, computes the loss, runs backward and
    returns the loss; it returns the loss at the start of the step.

    State: `history_size` pairs of all parameters in a row. Raises InvalidArgument for several
    groups or a number outside its range, InvalidType where `step` gets no closure. Nocedal 1980.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        non_negative(lr=lr)
        if line_search_fn not in (None, "strong_wolfe"):
            raise InvalidArgument("only 'strong_wolfe' is supported")
        super().__init__(
            params,
            {
                "lr": lr,
                "max_iter": max_iter,
                "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
                "tolerance_grad": tolerance_grad,
                "tolerance_change": tolerance_change,
                "history_size": history_size,
                "line_search_fn": line_search_fn,
            },
        )
        if len(self.param_groups) != 1:
            raise InvalidArgument("LBFGS doesn't support per-parameter options (parameter groups)")
        self._params: list[Tensor] = self.param_groups[0]["params"]

    def step(self, closure: Closure | None = None) -> Any:
        """Up to max_iter iterations; see the class for the closure."""
        if tracing.active() is not None:
            raise Untraceable(
                "LBFGS.step inside a compiled step: how often it evaluates the loss depends on it",
                fix="compile the closure, and call step(closure) outside",
            )
        if closure is None:
            raise InvalidType("LBFGS.step needs the argument `closure`, which evaluates the loss")
        with no_grad():
            return self._run(self.param_groups[0], closure)

    def _run(self, group: Group, closure: Closure) -> Any:
        state = self.state[self._params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        first = self._evaluate(closure)
        state["func_evals"] += 1
        loss, g = float(first), self._gradient()
        evaluations = 1
        if float(g.abs().max()) <= group["tolerance_grad"]:
            return first
        for k in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            d = self._direction(state, g, group["history_size"])
            state["prev_flat_grad"], before = g, loss
            t = min(1.0, 1.0 / float(g.abs().sum())) if state["n_iter"] == 1 else 1.0
            t *= float(group["lr"])
            slope = float(g.dot(d))
            if slope > -group["tolerance_change"]:
                break
            start = Point(0.0, loss, g, slope)
            last = k == group["max_iter"]
            point, count = self._advance(group, closure, start, d, t, last)
            t, loss, g = point.t, point.loss, point.gradient
            state["d"], state["t"] = d, t
            evaluations += count
            state["func_evals"] += count
            if self._done(group, evaluations, g, d * t, loss - before):
                break
        return first

    def _advance(
        self, group: Group, closure: Closure, start: Point, d: Tensor, t: float, last: bool
    ) -> tuple[Point, int]:
        """Where the line search (or the fixed step) ends, moved to; and how many evaluations."""
        if group["line_search_fn"] is None:
            self._move(d, t)
            if last:
                return Point(t, start.loss, start.gradient, start.slope), 0
            loss = float(self._evaluate(closure))
            return Point(t, loss, self._gradient(), 0.0), 1
        origin = [p.clone() for p in self._params]

        def at(t: float) -> Point:
            self._move(d, t)
            loss = float(self._evaluate(closure))
            g = self._gradient()
            for p, old in zip(self._params, origin):
                p.copy_(old)
            return Point(t, loss, g, float(g.dot(d)))

        point, count = strong_wolfe(at, start, t, float(d.abs().max()))
        self._move(d, point.t)
        return point, count

    def _direction(self, state: dict[str, Any], g: Tensor, size: int) -> Tensor:
        """Minus the gradient through the inverse Hessian that the last steps suggest."""
        if "d" not in state:
            state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1.0)
            return -g
        y, s = g - state["prev_flat_grad"], state["d"] * state["t"]
        curvature = float(y.dot(s))
        if curvature > FEW_CURVATURE:
            for name, value in (("old_dirs", y), ("old_stps", s), ("ro", 1.0 / curvature)):
                state[name] = [*state[name], value][-size:]
            state["H_diag"] = curvature / float(y.dot(y))
        return two_loops(g, state["old_dirs"], state["old_stps"], state["ro"], state["H_diag"])

    @staticmethod
    def _done(group: Group, evaluations: int, g: Tensor, step: Tensor, change: float) -> bool:
        return bool(
            evaluations >= group["max_eval"]
            or float(g.abs().max()) <= group["tolerance_grad"]
            or float(step.abs().max()) <= group["tolerance_change"]
            or abs(change) < group["tolerance_change"]
        )

    # ---- the parameters as one vector ----------------------------------------------------------

    @staticmethod
    def _evaluate(closure: Closure) -> Any:
        with enable_grad():
            return closure()

    def _gradient(self) -> Tensor:
        """All gradients as one vector; zeros where there is none."""
        parts = [zeros_like(p) if p.grad is None else p.grad for p in self._params]
        return cat([part.detach().reshape(-1) for part in parts])

    def _move(self, d: Tensor, t: float) -> None:
        offset = 0
        for p in self._params:
            p.add_(d[offset : offset + p.numel()].reshape(p.shape), alpha=t)
            offset += p.numel()


def two_loops(g: Tensor, ys: list[Tensor], ss: list[Tensor], ro: list[float], h: float) -> Tensor:
    """The direction -H g from the pairs of gradient changes and steps, oldest first."""
    q, weights = -g, []
    for y, s, r in zip(reversed(ys), reversed(ss), reversed(ro)):
        weights.append(float(s.dot(q)) * r)
        q = q - y * weights[-1]
    q = q * h
    for y, s, r, weight in zip(ys, ss, ro, reversed(weights)):
        q = q + s * (weight - float(y.dot(q)) * r)
    return q


# ---- the line search ---------------------------------------------------------------------------

C1, C2 = 1e-4, 0.9  # sufficient decrease, and what of the slope may be left
LEAST_CHANGE = 1e-9  # of a point within the bracket
MAX_SEARCH = 25


def strong_wolfe(
    at: Callable[[float], Point], start: Point, t: float, longest: float
) -> tuple[Point, int]:
    """A point with enough decrease and little slope, and how many points were evaluated.

    `longest` is the largest element of the direction: the search ends when it moves by less than
    `LEAST_CHANGE`.
    """
    old, new, count = start, at(t), 1
    bracket: list[Point] = []
    while count < MAX_SEARCH:
        if _too_high(new, start) or (count > 1 and new.loss >= old.loss):
            bracket = [old, new]
            break
        if abs(new.slope) <= -C2 * start.slope:
            return new, count
        if new.slope >= 0:
            bracket = [old, new]
            break
        low, high = new.t + 0.01 * (new.t - old.t), new.t * 10
        old, new = new, at(interpolated(old, new, (low, high)))
        count += 1
    if not bracket:
        bracket = [start, new]
    return _zoom(at, start, bracket, longest, count)


def _too_high(p: Point, start: Point) -> bool:
    return p.loss > start.loss + C1 * p.t * start.slope


def _zoom(
    at: Callable[[float], Point], start: Point, bracket: list[Point], longest: float, count: int
) -> tuple[Point, int]:
    """Narrow a bracket down; its first point is always the lower one."""
    low, high = sorted(bracket, key=lambda p: p.loss)
    stuck = False
    while count < MAX_SEARCH and abs(high.t - low.t) * longest >= LEAST_CHANGE:
        t = interpolated(*bracket_of(low, high))
        least, most = sorted((low.t, high.t))
        margin = 0.1 * (most - least)
        if min(most - t, t - least) < margin:  # too near an end, for the second time: go inside
            if stuck or t >= most or t <= least:
                t = most - margin if abs(t - most) < abs(t - least) else least + margin
                stuck = False
            else:
                stuck = True
        else:
            stuck = False
        new, count = at(t), count + 1
        if _too_high(new, start) or new.loss >= low.loss:
            high = new
        else:
            if abs(new.slope) <= -C2 * start.slope:
                return new, count
            if new.slope * (high.t - low.t) >= 0:
                high = low
            low = new
    return low, count


def bracket_of(low: Point, high: Point) -> tuple[Point, Point]:
    """The two ends, the nearer one first."""
    return (low, high) if low.t <= high.t else (high, low)


def interpolated(a: Point, b: Point, bounds: tuple[float, float] | None = None) -> float:
    """The minimum of the cubic through two points with slopes, within bounds."""
    least, most = bounds or (min(a.t, b.t), max(a.t, b.t))
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return (least + most) / 2
    d2 = sqrt(square)
    if a.t <= b.t:
        t = b.t - (b.t - a.t) * ((b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2))
    else:
        t = a.t - (a.t - b.t) * ((a.slope + d2 - d1) / (a.slope - b.slope + 2 * d2))
    return min(max(t, least), most)
