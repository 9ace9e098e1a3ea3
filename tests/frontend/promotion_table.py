"""Which dtype an operation on two operands has: all cells of PyTorch's promotion, as plain data.

A cell is operation x dtype x (tensor with dimensions, 0-d tensor, Python number) on each side. The
table in `promotion.json` was made by PyTorch; `python -m tests.frontend.promotion_table` makes it
again and `test_promotion.py` holds graphc to it, and it to the torch that is installed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("promotion.json")
DTYPES = (
    *("bool", "uint8", "int8", "int16", "int32", "int64"),
    *("float16", "bfloat16", "float32", "float64"),
)
NUMBERS: dict[str, Any] = {"True": True, "3": 3, "1.5": 1.5}
OPERATIONS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "result_type": lambda T, x, y: T.result_type(x, y),
    "add": lambda T, x, y: (x + y).dtype,
    "sub": lambda T, x, y: (x - y).dtype,
    "mul": lambda T, x, y: (x * y).dtype,
    "div": lambda T, x, y: (x / y).dtype,
    "floordiv": lambda T, x, y: (x // y).dtype,
    "remainder": lambda T, x, y: (x % y).dtype,
    "pow": lambda T, x, y: (x**y).dtype,
    "lt": lambda T, x, y: (x < y).dtype,
    "eq": lambda T, x, y: (x == y).dtype,
    "and": lambda T, x, y: (x & y).dtype,
    "lshift": lambda T, x, y: (x << y).dtype,
    "where": lambda T, x, y: T.where(T.tensor([True, False]), x, y).dtype,
}
CODES = "0123456789"  # places in DTYPES; - for what is refused


def operands() -> list[str]:
    """n: a tensor with a dimension, s: a 0-d tensor, then the dtype; or a number."""
    tensors = [kind + dtype for kind, dtype in product("ns", DTYPES)]
    return [*tensors, *NUMBERS]


def made(T: Any, operand: str) -> Any:
    if operand in NUMBERS:
        return NUMBERS[operand]
    shape = (2,) if operand[0] == "n" else ()
    return T.ones(shape, dtype=getattr(T, operand[1:]))


def cells(T: Any, operation: str) -> Iterator[str]:
    """One code for each pair of operands of which one is a tensor, in order."""
    f = OPERATIONS[operation]
    for a, b in product(operands(), repeat=2):
        if a in NUMBERS and b in NUMBERS:
            continue
        try:
            dtype = f(T, made(T, a), made(T, b))
        except (RuntimeError, TypeError):
            yield "-"
            continue
        yield CODES[DTYPES.index(str(dtype).split(".")[-1])]


def table(T: Any) -> dict[str, list[str]]:
    """For each operation one text a first operand: the codes over the second operands."""
    out = {}
    for operation in OPERATIONS:
        codes = cells(T, operation)
        rows = []
        for a in operands():
            seconds = [b for b in operands() if not (a in NUMBERS and b in NUMBERS)]
            rows.append("".join(next(codes) for _ in seconds))
        out[operation] = rows
    return out


if __name__ == "__main__":
    import torch

    FILE.write_text(json.dumps(table(torch), indent=1) + "\n")
