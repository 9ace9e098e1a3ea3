"""Attention as Triton text: softmax(q k^T * scale + mask) v without its weights in memory.

Forward, a program has a block of queries and goes along the keys: it keeps each row's largest score
so far, the sum of the exponentials below it and the values they weigh, and scales the last two
where a larger score comes. It stores the logarithm of each row's sum (`lse`), from which the
gradients compute the weights again, block by block: that of the queries along the keys as before,
those of keys and values, a block of keys a program, along the queries. Each sum is one program's,
in order, so no run differs from another, and how many rows a program has decides no bit.

    weight = exp(score - lse)    d score = weight * (d out . v - delta)    delta = sum(d out * out)

Exponentials are of base 2, whose factor is in the scale. The scale, which is positive, changes no
order: where scores are not added to, it is left for the exponent's one multiply-add. Weights that
are no normal numbers are zeros (`Source.flushes`): keeping them takes most of an exponential.
Products of halves and TF32 read whole tiles; those of exact float32 go along the depth in steps,
whose operands fit in a thread's registers.

Dropout draws Philox's word of the element's place among all weights, as it would where these are
in memory. A score is `fill`, mostly -inf, where a mask of bools says no, or where attention is
`causal` and the key stands behind the query; a row of -inf is zero if that is `safe`, else NaN. Of
such a row `lse` is +inf, so that its weights come out as zeros again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import e, log, log2
from typing import NamedTuple

from graphc.codegen_gpu.attention_parts import HIDDEN, LEAST, Attention, Operands, Tensor, Tile
from graphc.codegen_gpu.scalar import MEMORY, philox
from graphc.codegen_gpu.text import Writer
from graphc.codegen_gpu.tiles import power
from graphc.ir.types import bool_, f32

UNIT_BITS = 24  # of a random word that decide
STEP = 16  # of the depth of an exact product
LOG2_E, LN_2 = log2(e), log(2)
NUMBER = "tl.program_id(0)"
NOTHING = 'float("inf")'  # the lse of a row whose weights are zeros


class Side(NamedTuple):
    """Rows of an operand: their indices' name, which of them are (none: all), their length, and
    how many there are in all."""

    tensor: Tensor
    at: str
    mask: str
    width: int
    points: str


class AttentionTemplate:
    """One function being written."""

    def __init__(self, a: Attention, o: Operands, t: Tile, writer: Writer) -> None:
        self.permit, self.seen, self.inside = a.permit, "", ""
        self.a, self.o, self.t, self.writer = a, o, t, writer
        self.memory = MEMORY[a.dtype.name]
        self.precision = f'input_precision="{"ieee" if a.exact or not a.tf32 else "tf32"}"'
        self.step = ""  # what scores are still to be multiplied by
        if not a.exact and a.fill == HIDDEN and a.mask in (None, bool_):
            self.step = self.let(f"tl.cast({a.scale}, tl.float32) * {LOG2_E}")

    # ---- where a program is --------------------------------------------------------------------

    def place(self, points: str, causal_last: bool) -> str:
        """Which of the batch and which rows are this program's; the mask of its rows.

        Rows with most to do go first, as the last programs to start are the last to end.
        """
        t, w = self.t, self.writer
        number = self.let(NUMBER)
        blocks = self.let(f"tl.cdiv({points}, {t.rows})")
        self.batch = self.let(f"({number} // {blocks}).to(tl.int64)")
        block = f"{number} % {blocks}"
        if causal_last:
            block = f"{blocks} - 1 - {block}"
        w.do(f"first = ({block}) * {t.rows}")
        w.do(f"rows = {self.index(f'first + tl.arange(0, {t.rows})')}")
        return self.bound("rows", points, t.rows)

    def index(self, text: str) -> str:
        return f"({text}).to(tl.int64)" if self.a.wide else text

    @staticmethod
    def bound(index: str, points: str, block: int) -> str:
        """Which of a block's indices are points; empty: all."""
        whole = points.isdecimal() and int(points) % block == 0
        return "" if whole else f"({index} < {points})"

    def base(self, tensor: Tensor) -> str:
        """Where the tensor's part of this batch begins."""
        rest, terms = self.batch, []
        for extent, stride in zip(reversed(self.a.batch), reversed(tensor.batch), strict=True):
            if extent != "1" and stride != "0":
                terms.append(f"{rest} % {extent} * {stride}")
            rest = self.let(f"{rest} // {extent}")
        return self.let(" + ".join([tensor.name, *terms]))

    def let(self, text: str, level: int = 0) -> str:
        return self.writer.let(text, level)

    # ---- tiles of memory -----------------------------------------------------------------------

    def whole(self, s: Side) -> str:
        """All of the rows, with zeros up to a power of two."""
        lanes = max(LEAST, power(s.width))
        if s.at != "rows" and self.t.described and s.tensor.lines and lanes == s.width:
            return self.let(f"{self.descriptor(s)}.load([start, 0])", self.level(s.at))
        at = self.let(f"tl.arange(0, {lanes})")
        within = "" if lanes == s.width else f"({at} < {s.width})"
        return self.load(s, at, within, self.level(s.at))

    def descriptor(self, s: Side) -> str:
        """Of a matrix whose blocks begin at row `start`: what is behind its end is zero."""
        points = s.points if s.points.isdecimal() else f"tl.cast({s.points}, tl.int32)"
        return self.let(
            f"tl.make_tensor_descriptor({self.base(s.tensor)}, shape=[{points}, {s.width}], "
            f"strides=[{s.tensor.row}, 1], block_shape=[{self.t.columns}, {s.width}])"
        )

    def level(self, index: str) -> int:
        """Where what belongs to these rows is known."""
        return 0 if index == "rows" else self.writer.level

    def load(self, s: Side, lanes: str, within: str, level: int) -> str:
        masks = [f"{s.mask}[:, None]"] * bool(s.mask) + [f"{within}[None, :]"] * bool(within)
        masked = f", mask={' & '.join(masks)}, other=0.0" if masks else ""
        step = "" if s.tensor.lane == "1" else f" * {s.tensor.lane}"
        at = f"{s.at}[:, None] * {s.tensor.row} + {lanes}[None, :]{step}"
        return self.let(f"tl.load({self.base(s.tensor)} + ({at}){masked})", level)

    def numbers(self, tensor: Tensor, index: str, mask: str, other: str = "0.0") -> str:
        """One for each row, `other` where there is none."""
        masked = f", mask={mask}, other={other}" if mask else ""
        text = f"tl.load({self.base(tensor)} + {index} * {tensor.row}{masked})"
        return self.let(text, self.level(index))

    def store(self, tensor: Tensor, text: str, mask: str, width: int) -> None:
        lanes = max(LEAST, power(width))
        at = self.let(f"tl.arange(0, {lanes})")
        masks = [f"{mask}[:, None]"] * bool(mask)
        masks += [f"({at} < {width})[None, :]"] * (lanes != width)
        masks += [self.permit] * bool(self.permit)
        masked = f", mask={' & '.join(masks)}" if masks else ""
        step = "" if tensor.lane == "1" else f" * {tensor.lane}"
        place = f"{self.base(tensor)} + (rows[:, None] * {tensor.row} + {at}[None, :]{step})"
        self.writer.do(f"tl.store({place}, ({text}).to({self.memory}){masked})")

    def store_numbers(self, tensor: Tensor, text: str, mask: str) -> None:
        masks = [m for m in (mask, self.permit) if m]
        masked = f", mask={' & '.join(masks)}" if masks else ""
        self.writer.do(f"tl.store({self.base(tensor)} + rows * {tensor.row}, {text}{masked})")

    # ---- products ------------------------------------------------------------------------------

    def product(self, left: Side, right: Side) -> str:
        """left right^T: a sum over their rows' elements, which are of one length."""
        w = self.writer
        if not self.a.exact:
            texts = self.whole(left), self.whole(right)
            return w.assign(f"tl.dot({texts[0]}, tl.trans({texts[1]}), {self.precision})", w.level)
        shape = [self.t.rows if s.at == "rows" else self.t.columns for s in (left, right)]
        name = w.assign(f"tl.zeros({shape}, tl.float32)", w.level)
        with w.block(f"for step in range(0, {left.width}, {STEP}):"):
            lanes = self.let(f"step + tl.arange(0, {STEP})", w.level)
            within = f"({lanes} < {left.width})" if left.width % STEP else ""
            a, b = (self.load(s, lanes, within, w.level) for s in (left, right))
            w.do(f"{name} = tl.dot({a}, tl.trans({b}), {name}, {self.precision})")
        return name

    def add_product(self, total: str, weights: str, right: Side) -> None:
        """total += weights right, over the right's rows."""
        weights = weights if self.a.dtype is f32 else f"{weights}.to({self.memory})"
        text = f"tl.dot({weights}, {self.whole(right)}, {total}, {self.precision})"
        self.writer.do(f"{total} = {text}")

    def zeros(self, name: str, width: int) -> None:
        lanes = max(LEAST, power(width))
        self.writer.do(f"{name} = tl.zeros([{self.t.rows}, {lanes}], tl.float32)")

    # ---- scores --------------------------------------------------------------------------------

    def scores(self, rows: Side, columns: Side, seen: Sequence[str], turned: bool) -> str:
        """Of a block, to be shown by `hide`: to base 2, or where the exponent will be `scaled`,
        as they are.

        `turned`: the rows are keys, of which those beyond the end do not matter, and the columns
        queries.
        """
        a, w = self.a, self.writer
        self.inside = "" if turned or not columns.mask else f"{columns.mask}[None, :]"
        s = self.product(rows, columns)
        if not self.step:
            s = w.assign(f"{s} * ({a.scale} * {LOG2_E})", w.level)
        seen = [*seen]
        if (mask := self.o.mask) is not None and a.mask is not None:
            query, key = (columns, rows) if turned else (rows, columns)
            x = self.of_mask(mask, query, key, turned)
            if a.mask is bool_:
                seen.append(f"({x} != 0)")
            else:
                s = w.assign(f"{s} + {x}.to(tl.float32) * {LOG2_E}", w.level)
        self.seen = " & ".join(seen)
        return s

    def hide(self, s: str, added: str = "") -> str:
        """The last block's scores, filled where they are not seen, -inf where there is no key;
        `added` is what they are more than they were."""
        fill = HIDDEN if self.a.fill == HIDDEN else f"{self.a.fill} * {LOG2_E}"
        other = f"{fill} + {added}" if added else fill
        for condition, x in ((self.seen, other), (self.inside, HIDDEN)):
            if condition:
                s = self.writer.assign(f"tl.where({condition}, {s}, {x})", self.writer.level)
        return s

    def plus(self, s: str, added: str) -> str:
        """Scores to base 2, and more: one multiply-add where they are still to be scaled."""
        return f"tl.fma({s}, {self.step}, {added})" if self.step else f"{s} + {added}"

    def of_mask(self, mask: Tensor, query: Side, key: Side, turned: bool) -> str:
        q, k = self.turn(query.at, turned), self.turn(key.at, not turned)
        masks = [self.turn(query.mask, turned)] * bool(query.mask)
        masks += [self.turn(key.mask, not turned)] * bool(key.mask)
        masked = f", mask={' & '.join(masks)}, other=0" if masks else ""
        at = f"{q} * {mask.row} + {k} * {mask.lane}"
        return self.writer.assign(f"tl.load({self.base(mask)} + ({at}){masked})", self.writer.level)

    @staticmethod
    def turn(index: str, along: bool) -> str:
        """An index along the columns or, else, the rows."""
        return f"{index}[None, :]" if along else f"{index}[:, None]"

    def weights(self, s: str, lse: str) -> str:
        """exp(s - lse) of the last block's scores, where lse is shaped to go with s."""
        w = self.writer
        added = w.assign(f"{lse} * {-LOG2_E}", w.level)
        s = self.hide(w.assign(self.plus(s, added), w.level), added)
        return w.assign(f"tl.exp2({s})", w.level)

    def pulled(self, p: str, d: str, sums: str) -> str:
        """The cotangents of the scores of the last block; none of those that are filled."""
        a, w, text = self.a, self.writer, f"{p} * ({d} - {sums})"
        zero = not self.seen or (a.safe and a.fill == HIDDEN)  # without being told
        return w.assign(text if zero else f"tl.where({self.seen}, {text}, 0.0)", w.level)

    def kept(self, query: str, start: str, turned: bool) -> str:
        """What dropout multiplies the weights of a block by, whose keys begin at `start`."""
        a, w = self.a, self.writer
        assert a.dropout is not None
        count = self.t.rows if turned else self.t.columns
        lane = _Lane(w)
        place = lane.let(f"({self.batch} * {a.queries} + {query}.to(tl.int64))")
        fours = a.keys.isdecimal() and int(a.keys) % 4 == 0
        each = 4 if fours else 1
        keys = lane.let(f"({start} // {each} + tl.arange(0, {count // each})).to(tl.int64)")
        row = f"{place} * {int(a.keys) // 4}" if fours else f"{place} * {a.keys}"
        at = lane.let(f"({self.turn(f'({row})', turned)} + {self.turn(keys, not turned)})")
        if fours:
            c = philox(lane, a.dropout.seed, a.dropout.draw, at)
            pairs = [lane.let(f"tl.join({c[k]}, {c[k + 2]})") for k in (0, 1)]
            words = lane.let(f"tl.join({pairs[0]}, {pairs[1]})")
            words = lane.let(f"tl.permute({words}, (0, 2, 3, 1))") if turned else words
            words = lane.let(f"tl.reshape({words}, [{self.t.rows}, {self.t.columns}])")
        else:
            c = philox(lane, a.dropout.seed, a.dropout.draw, lane.let(f"({at} >> 2)"))
            word = lane.let(f"({at} & 3)")
            pairs = [f"tl.where({word} == {2 * k}, {c[2 * k]}, {c[2 * k + 1]})" for k in (0, 1)]
            words = lane.let(f"tl.where({word} < 2, {pairs[0]}, {pairs[1]})")
        bits = lane.let(f"({words} >> {32 - UNIT_BITS}).to(tl.int32)")
        return lane.let(f"tl.where({bits} >= {a.dropout.least}, {a.dropout.factor}, 0.0)")

    # ---- loops ---------------------------------------------------------------------------------

    def along_keys(self) -> Iterator[tuple[str, list[str], str]]:
        """Loops over blocks of keys: those that all rows see, then those that some may not.

        Inside each: the keys' index, conditions under which they are seen, and their mask.
        """
        a, t, w = self.a, self.t, self.writer
        full = str(int(a.keys) // t.columns * t.columns) if a.keys.isdecimal() else ""
        full, stop = full or self.let(f"{a.keys} // {t.columns} * {t.columns}"), a.keys
        if a.skips:
            stop = w.assign(f"min({a.keys}, first + {t.rows})", 0)
            full = w.assign(f"min({full}, (first + 1) // {t.columns} * {t.columns})", 0)
        for edge, begin, end in ((False, "0", full), (True, full, stop)):
            if begin == end:
                continue
            with w.block(f"for start in range({begin}, {end}, {t.columns}):"):
                text = self.index(f"start + tl.arange(0, {t.columns})")
                index = w.assign(text, w.level)
                inside = self.bound(index, a.keys, t.columns) if edge else ""
                late = a.causal and (edge or not a.skips)
                yield index, [f"({index}[None, :] <= rows[:, None])"] * late, inside

    def along_queries(self) -> Iterator[tuple[str, list[str], str]]:
        """The same of queries, in one loop: sums of two products that go from one loop to the next
        would have each product wait for the one before."""
        a, t, w = self.a, self.t, self.writer
        begin = w.assign(f"first // {t.columns} * {t.columns}", 0) if a.skips else "0"
        with w.block(f"for start in range({begin}, {a.queries}, {t.columns}):"):
            index = w.assign(self.index(f"start + tl.arange(0, {t.columns})"), w.level)
            seen = [f"(rows[:, None] <= {index}[None, :])"] if a.causal else []
            yield index, seen, self.bound(index, a.queries, t.columns)


class _Lane:
    """Where Philox's steps are written: in the innermost loop."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer

    def let(self, expression: str) -> str:
        return self.writer.let(expression, self.writer.level)


def forward(
    a: Attention, o: Operands, out: Tensor | None, lse: Tensor | None, t: Tile, w: Writer
) -> None:
    """The function's body; `lse` is stored where gradients will want it."""
    x = AttentionTemplate(a, o, t, w)
    mask = x.place(a.queries, a.skips)
    q = Side(o.q, "rows", mask, a.head, a.queries)
    x.zeros("acc", a.width)
    w.do(f"top = tl.full([{t.rows}], {HIDDEN}, tl.float32)")
    w.do(f"total = tl.zeros([{t.rows}], tl.float32)")
    times = f" * {x.step}" if x.step else ""
    for index, seen, inside in x.along_keys():
        s = x.hide(x.scores(q, Side(o.k, index, inside, a.head, a.keys), seen, False))
        w.do(f"higher = tl.maximum(top, tl.max({s}, 1))")
        w.do(f"added = tl.where(higher == {HIDDEN}, 0.0, -higher){times}")
        w.do(f"p = tl.exp2({x.plus(s, 'added[:, None]')})")
        w.do(f"less = tl.exp2({x.plus('top', 'added')})")
        w.do("total = total * less + tl.sum(p, 1)")
        if a.dropout is not None:
            w.do(f"p = p * {x.kept('rows', 'start', False)}")
        w.do("acc = acc * less[:, None]")
        x.add_product("acc", "p", Side(o.v, index, inside, a.width, a.keys))
        w.do("top = higher")
    nothing = a.safe or a.keys == "0" or not a.keys.isdecimal()  # may be seen; else NaN is right
    none = "total == 0" if a.safe else f"(total == 0) & ({a.keys} == 0)"
    w.do(f"acc = acc / {f'tl.where({none}, 1.0, total)' if nothing else 'total'}[:, None]")
    if out is not None:
        x.store(out, "acc", mask, a.width)
    if lse is not None:
        w.do(f"log = top{times} * {LN_2} + tl.log(total)")
        if a.safe:
            w.do(f"log = tl.where(total == 0, {NOTHING}, log)")
        x.store_numbers(lse, "log", mask)


def backward_queries(
    a: Attention, o: Operands, out: Tensor, delta: Tensor | None, t: Tile, w: Writer
) -> None:
    """The gradient of q; `delta` is stored where it is asked for."""
    assert o.grad is not None
    x = AttentionTemplate(a, o, t, w)
    mask = x.place(a.queries, a.skips)
    q, grad = (
        Side(o.q, "rows", mask, a.head, a.queries),
        Side(o.grad, "rows", mask, a.width, a.queries),
    )
    lse, sums = x.numbers(o.lse, "rows", mask, NOTHING), _delta(x, grad)
    x.zeros("acc", a.head)
    for index, seen, inside in x.along_keys():
        k = Side(o.k, index, inside, a.head, a.keys)
        p = x.weights(x.scores(q, k, seen, False), f"{lse}[:, None]")
        d = x.product(grad, Side(o.v, index, inside, a.width, a.keys))
        if a.dropout is not None:
            d = w.assign(f"{d} * {x.kept('rows', 'start', False)}", w.level)
        x.add_product("acc", x.pulled(p, d, f"{sums}[:, None]"), k)
    x.store(out, f"acc * {a.scale}", mask, a.head)
    if delta is not None:
        x.store_numbers(delta, sums, mask)


def backward_keys(
    a: Attention, o: Operands, keys: Tensor | None, values: Tensor | None, t: Tile, w: Writer
) -> None:
    """The gradients of k and v, or one of them. Tiles have keys as rows, queries as columns."""
    assert o.grad is not None
    x = AttentionTemplate(a, o, t, w)
    mask = x.place(a.keys, False)
    k, v = Side(o.k, "rows", mask, a.head, a.keys), Side(o.v, "rows", mask, a.width, a.keys)
    if keys is not None:
        x.zeros("of_keys", a.head)
    if values is not None:
        x.zeros("of_values", a.width)
    for index, seen, inside in x.along_queries():
        q = Side(o.q, index, inside, a.head, a.queries)
        grad = Side(o.grad, index, inside, a.width, a.queries)
        s = x.scores(k, q, seen, True)
        p = x.weights(s, f"{x.numbers(o.lse, index, inside, NOTHING)}[None, :]")
        kept = x.kept(index, "first", True) if a.dropout is not None else ""
        if values is not None:
            x.add_product("of_values", w.assign(f"{p} * {kept}", w.level) if kept else p, grad)
        if keys is not None:
            d = x.product(v, grad)
            d = w.assign(f"{d} * {kept}", w.level) if kept else d
            sums = _delta(x, grad)
            x.add_product("of_keys", x.pulled(p, d, f"{sums}[None, :]"), q)
    if keys is not None:
        x.store(keys, f"of_keys * {a.scale}", mask, a.head)
    if values is not None:
        x.store(values, "of_values", mask, a.width)


def _delta(x: AttentionTemplate, grad: Side) -> str:
    """sum(d out * out) of each row: from memory, or computed here."""
    o = x.o
    if o.delta is not None:
        return x.numbers(o.delta, grad.at, grad.mask)
    assert o.out is not None, "either is there"
    texts = x.whole(grad), x.whole(grad._replace(tensor=o.out))
    both = " * ".join(f"{text}.to(tl.float32)" for text in texts)
    return x.let(f"tl.sum({both}, 1)", x.level(grad.at))
