"""Philox4x32-10 in vector lanes (Salmon et al., "Parallel random numbers", SC'11).

An element's bits depend on (seed, draw, index) alone: not on lanes, threads, layout or fusion. A
lane of i64 holds a 32-bit word with anything above it, which is what 32x32->64-bit multiplies read.
Four consecutive elements are the words of one counter, so `aligned_bits` does a quarter of the work
where a vector begins at a multiple of four.
"""

from __future__ import annotations

from graphc.codegen_cpu.emitter import Emitter, Vec, literal

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10
LOW_WORD = 0xFFFFFFFF


def _high(e: Emitter, t: Vec, x: str) -> str:
    return e.value(f"lshr {t} {x}, {literal(32, t)}")


def _product(e: Emitter, t: Vec, x: str, multiplier: int) -> str:
    low = e.value(f"and {t} {x}, {literal(LOW_WORD, t)}")
    return e.value(f"mul {t} {low}, {literal(multiplier, t)}")


def _mixed(e: Emitter, t: Vec, product: str, x: str, key: str) -> str:
    keyed = e.value(f"xor {t} {x}, {key}")
    return e.value(f"xor {t} {_high(e, t, product)}, {keyed}")


def _block(e: Emitter, t: Vec, block: str, draw: str, keys: list[tuple[str, str]]) -> list[str]:
    """The four words of counter (block, draw), in the low halves of i64 lanes."""
    c0, c1, c2, c3 = block, _high(e, t, block), draw, _high(e, t, draw)
    for k0, k1 in keys:
        p0 = _product(e, t, c0, MULTIPLIERS[0])
        p1 = _product(e, t, c2, MULTIPLIERS[1])
        c0, c1, c2, c3 = _mixed(e, t, p1, c1, k0), p1, _mixed(e, t, p0, c3, k1), p0
    return [c0, c1, c2, c3]


def _keys(e: Emitter, t: Vec, seed: str) -> list[tuple[str, str]]:
    """The round keys, in the type of the seed."""
    k0, k1 = seed, _high(e, t, seed)
    keys = [(k0, k1)]
    for _ in range(ROUNDS - 1):
        k0 = e.value(f"add {t} {k0}, {literal(KEY_STEPS[0], t)}")
        k1 = e.value(f"add {t} {k1}, {literal(KEY_STEPS[1], t)}")
        keys.append((k0, k1))
    return keys


def random_bits(e: Emitter, lanes: int, seed: str, draw: str, index: str) -> str:
    """Word index % 4 of Philox(key=seed, counter=(index // 4, draw)), as i32; any index."""
    wide, t = Vec("i64", lanes), Vec("i32", lanes)
    block = e.value(f"lshr {wide} {index}, {literal(2, wide)}")
    words = _block(e, wide, block, draw, _keys(e, wide, seed))
    which = e.value(f"and {wide} {index}, {literal(3, wide)}")
    chosen = words[0]
    for k, word in enumerate(words[1:], 1):
        here = e.value(f"icmp eq {wide} {which}, {literal(k, wide)}")
        chosen = e.value(f"select {t.of('i1')} {here}, {wide} {word}, {wide} {chosen}")
    return e.value(f"trunc {wide} {chosen} to {t}")


def aligned_bits(e: Emitter, lanes: int, seed: str, draw: str, first: str) -> str:
    """The bits of `lanes` elements from `first` on, a scalar multiple of four; lanes % 4 == 0."""
    one, blocks = Vec("i64"), lanes // 4
    t = Vec("i64", blocks)
    number = e.splat(e.value(f"lshr i64 {first}, 2"), t)
    if blocks > 1:
        steps = ", ".join(f"i64 {k}" for k in range(blocks))
        number = e.value(f"add {t} {number}, <{steps}>")
    keys = [(e.splat(a, t), e.splat(b, t)) for a, b in _keys(e, one, seed)]
    words = _block(e, t, number, e.splat(draw, t), keys)
    short = t.of("i32")
    words = [e.value(f"trunc {t} {word} to {short}") for word in words]
    if blocks == 1:
        return _gathered(e, words)
    low, high = (_joined(e, short, *words[k : k + 2]) for k in (0, 2))
    order = ", ".join(f"i32 {(k % 4) * blocks + k // 4}" for k in range(lanes))
    half = Vec("i32", 2 * blocks)
    return e.value(f"shufflevector {half} {low}, {half} {high}, <{lanes} x i32> <{order}>")


def _joined(e: Emitter, t: Vec, x: str, y: str) -> str:
    order = ", ".join(f"i32 {k}" for k in range(2 * t.lanes))
    return e.value(f"shufflevector {t} {x}, {t} {y}, <{2 * t.lanes} x i32> <{order}>")


def _gathered(e: Emitter, words: list[str]) -> str:
    t, result = Vec("i32", len(words)), "poison"
    for k, word in enumerate(words):
        result = e.value(f"insertelement {t} {result}, i32 {word}, i64 {k}")
    return result
