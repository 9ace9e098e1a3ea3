"""What `compile` may be told: PyTorch's options in their meaning here, and graphc's own.

`fullgraph` is always so. `mode` asks for trade-offs that are not made here: every plan is the one
that the cost model finds best. An option whose effect is not there is refused, never ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphc.errors import InvalidArgument

MODES = (None, "default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
NATIVE = (None, "graphc", "inductor")
PLAIN = ("eager", "aot_eager")
CHOICES: Mapping[str, tuple[Any, ...]] = {
    "fullgraph": (False, True),
    "dynamic": (None, True, False),
    "mode": MODES,
    "backend": (*NATIVE, *PLAIN),
    "disable": (False, True),
    "options": (None,),
    "on_limit": ("warn", "raise"),
    "grads": ("keep", "drop"),
    "check": (None, "nan", "finite"),
}
KEPT = ("dynamic", "on_limit", "grads", "check")  # what a compiled function itself looks at


def checked(given: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """Options for `Compiled`, and whether calls shall run plainly. Raises InvalidArgument."""
    for name, value in given.items():
        if name not in CHOICES:
            raise InvalidArgument(
                f"compile() has no option {name!r}", fix=f"the options are {', '.join(CHOICES)}"
            )
        if not any(value is c or (type(value) is type(c) and value == c) for c in CHOICES[name]):
            listed = ", ".join(repr(c) for c in CHOICES[name])
            raise InvalidArgument(f"compile({name}={value!r:.80})", fix=f"pass one of {listed}")
    plain = bool(given.get("disable")) or given.get("backend") in PLAIN
    return {name: given[name] for name in KEPT if name in given}, plain
