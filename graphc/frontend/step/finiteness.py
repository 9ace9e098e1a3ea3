"""The checks that `compile(check=...)` adds to a graph; `finite.py` explains what they find."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np

from graphc.errors import NotFinite
from graphc.ir import sugar as P
from graphc.ir.graph import Value
from graphc.ir.ops import OPS

Kind = Literal["nan", "finite"]


class Exactly(Exception):
    """Of such a step no kernel tests what it stores; its values have to be checked one by one."""


def watched(values: Iterable[Value], kind: Kind) -> list[Value]:
    """For each float a number that the step gives only if it holds nothing bad."""
    found = []
    for v in dict.fromkeys(values):
        if not v.spec.dtype.is_floating_point or v.is_input:
            continue
        good = P.apply("eq", v, v) if kind == "nan" else P.apply("lt", P.apply("abs", v), np.inf)
        attrs = {"what": "a value is not finite", "error": NotFinite.__name__}
        found.append(good.emit(OPS["check"], good, good, **attrs))
    return found
