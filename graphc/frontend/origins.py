"""What messages say of a traced tensor: its name, type and the line that made it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast

from graphc.errors import user_frame
from graphc.frontend.modes import modes
from graphc.ir.sugar import Sugar

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor


def origin(x: Tensor) -> str:
    """A traced tensor as messages name it: `loss`: f32[] from train.py:6 (mean)."""
    trace, frame = modes.trace, user_frame(2)
    if trace is None:
        return str(x.spec)
    value = trace.value(x)
    held: dict[str, Any] = {**frame.f_globals, **frame.f_locals} if frame is not None else {}
    items: list[tuple[str, Any]] = list(held.items())
    names: dict[Any, str] = {
        trace.current.get(cast(Any, t).storage): n for n, t in items if isinstance(t, Sugar)
    }
    names |= {t: n for n, t in held.items() if t is x}

    def told(v: Any, name: str | None) -> str:
        at = v.where
        label = name or (v.name if v.is_input else "")
        made = f" ({v.op.name})" if v.op is not None else ""
        place = f" from {os.path.basename(at.file)}:{at.line}{made}" if at.file else ""
        scope = f" <{at.scope}>" if at.scope else ""
        return f"{f'`{label}`: ' if label else ''}{v.spec}{place}{scope}"

    text = told(value, names.get(x) or names.get(value))
    inner = [told(a, names[a]) for a in value.args if a in names]
    return f"{text}, of {' and '.join(inner)}" if inner and "`" not in text else text
