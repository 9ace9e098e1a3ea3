"""decompose_attention: attention and its gradients over products, for targets without its kernel.

A target's profile says how deep heads may be for its kernel, and whether halves have one; other
element types than these and float32 have none. The weights are then a matrix in memory, as in the
formulas of `ir/meaning/attention.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from graphc.ir import sugar as P
from graphc.ir.extent import is_unknown
from graphc.ir.graph import Value
from graphc.ir.kernel_attention import OPERANDS
from graphc.ir.meaning.attention import UNIT_BITS
from graphc.ir.types import bool_, f32
from graphc.passes.profile import Profile

GIVEN = tuple(OPERANDS)[:-1]  # what a gradient has from its rule


def attention(v: Value, profile: Profile) -> Value:
    """v itself where the target has a kernel for it."""
    assert v.op is not None, "a rule is asked of its op"
    depths = (v.args[0].shape[-1], v.args[2].shape[-1])
    dtype = v.args[0].spec.dtype
    known = all(not is_unknown(n) and 0 < n <= profile.attention for n in depths)
    if profile.attention_apart and v.attrs["fill"] != -inf:
        known = False  # of a row of -1e9 alone, the one statistic of such kernels is not enough
    if known and (dtype is f32 or (dtype.is_half and profile.attention_halves)):
        return _with_means(v) if profile.attention_apart else v
    if not dtype.is_half:
        return RESULTS[v.op.name](_Parts.of(v), v)
    args = [P.cast(a, f32) if a.spec.dtype is dtype else a for a in v.args]
    wide = v.builder.emit(v.op, args, v.attrs)
    return P.cast(RESULTS[v.op.name](_Parts.of(wide), wide), v.spec.dtype)


def _with_means(v: Value) -> Value:
    """A gradient with sum(g * out) of each row as an operand: kernels that are apart would each
    compute it, that of keys and values for every block of them."""
    if v.op is None or len(v.args) != len(GIVEN):
        return v
    out, g = (P.cast(v.args[GIVEN.index(n)], f32) for n in ("out", "g"))
    mean = P.sum(g * out, (len(g.shape) - 1,))
    made: Value = v.builder.emit(v.op, (*v.args, mean), v.attrs)
    return made


@dataclass(frozen=True, slots=True)
class _Parts:
    p: Value  # the weights
    kept: Value | None  # what dropout multiplies them by
    lse: Value
    scale: float
    seen: Value | None  # where scores are not filled; None: everywhere

    @staticmethod
    def of(v: Value) -> _Parts:
        """The weights of a row of -inf are zeros where that is safe, else NaN."""
        attrs, seen = v.attrs, _seen(v)
        s, last = _scores(v, seen), len(v.args[0].shape) - 1
        top = P.apply("max", s, axes=(last,))
        top = P.where(P.apply("eq", top, -inf), 0.0, top)
        e = P.apply("exp", s - P.expand_over(top, (last,), s.shape))
        total = P.sum(e, (last,))
        lse = top + P.apply("log", total)
        if attrs["safe"]:
            nothing = P.apply("eq", total, 0.0)
            lse, total = P.where(nothing, inf, lse), P.where(nothing, 1.0, total)
        p = e / P.expand_over(total, (last,), s.shape)
        return _Parts(p, _kept(v, s), lse, attrs["scale"], seen)

    def dropped(self, x: Value) -> Value:
        return x if self.kept is None else x * self.kept


def _dot(x: Value, y: Value, of_x: int, of_y: int) -> Value:
    """Products of matrices, summed over these dimensions counted from the end."""
    rank = len(x.shape)
    batch = tuple((n, n) for n in range(rank - 2))
    out: Value = P.apply("dot", x, y, batch=batch, contract=((rank - of_x, rank - of_y),))
    return out


def _seen(v: Value) -> Value | None:
    mask, last = v.args[3], len(v.args[3].shape) - 1
    seen = mask if mask.spec.dtype is bool_ and not mask.const else None
    if v.attrs["causal"]:
        places = [
            v.builder.apply("iota", shape=mask.shape, axis=n, dtype="i64") for n in (last, last - 1)
        ]
        before = P.apply("le", *places)
        seen = before if seen is None else P.apply("and", seen, before)
    return seen


def _scores(v: Value, seen: Value | None) -> Value:
    q, k, _, mask = v.args[:4]
    s = _dot(q * v.attrs["scale"], k, 1, 1)
    if mask.spec.dtype is not bool_:
        s = s + mask
    return s if seen is None else P.where(seen, s, v.attrs["fill"])


def _kept(v: Value, s: Value) -> Value | None:
    drop, gain = v.attrs["drop"], v.attrs["gain"]
    if not drop:
        return None
    bits = P.apply("random_bits", v.args[4], v.args[5], shape=s.shape)
    bits = P.apply("and", P.apply("shr", bits, 32 - UNIT_BITS), (1 << UNIT_BITS) - 1)
    keeps = P.apply("le", P.full_like(bits, drop), bits)
    kept: Value = P.where(keeps, P.full_like(s, gain), 0.0)
    return kept


def _pulled(x: _Parts, v: Value) -> Value:
    """The cotangents of the scores."""
    values, out, g = v.args[2], v.args[6], v.args[8]
    back = x.dropped(_dot(g, values, 1, 1))
    last = len(out.shape) - 1
    mean = P.sum(g * out, (last,))
    back = x.p * (back - P.expand_over(mean, (last,), back.shape))
    return back if x.seen is None else P.where(x.seen, back, 0.0)


Rule = Callable[[_Parts, Value], Value]
RESULTS: dict[str, Rule] = {
    "attention": lambda x, v: _dot(x.dropped(x.p), v.args[2], 1, 2),
    "attention_lse": lambda x, _: x.lse,
    "attention_dq": lambda x, v: _dot(_pulled(x, v), v.args[1], 1, 2) * x.scale,
    "attention_dk": lambda x, v: _dot(_pulled(x, v), v.args[0], 2, 2) * x.scale,
    "attention_dv": lambda x, v: _dot(x.dropped(x.p), v.args[8], 2, 2),
}
