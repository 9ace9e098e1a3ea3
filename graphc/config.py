"""Every switch graphc has: this table is their documentation, and nothing else reads os.environ.

Values are read from the environment at each call, so that a test or a notebook may change them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Switch:
    """One row: `name` in code, `variable` in the environment, `default` as text, what it does."""

    name: str
    variable: str
    kind: str  # "flag", "int", "text" or "path"
    default: str
    doc: str


SWITCHES = {
    s.name: s
    for s in (
        Switch("dump", "GRAPHC_DUMP", "path", "", "folder for every stage of every step, as text"),
        Switch(
            "verify",
            "GRAPHC_VERIFY",
            "text",
            "0",
            'after each stage verify, and interpret; "graphs": verify only',
        ),
        Switch("check_bounds", "GRAPHC_CHECK_BOUNDS", "flag", "0", "check each access of kernels"),
        Switch("cache_dir", "GRAPHC_CACHE_DIR", "path", "", "folder of compiled kernels"),
        Switch(
            "cuda",
            "GRAPHC_CUDA",
            "text",
            "",
            'GPU: the machine\'s; "fake": one played by the CPU, checked; "off": none',
        ),
        Switch(
            "profile", "GRAPHC_PROFILE", "flag", "0", "at exit, print where compiled steps spent"
        ),
        Switch("disable", "GRAPHC_DISABLE", "flag", "0", "run compiled functions plainly, eagerly"),
        Switch("traceback", "GRAPHC_TRACEBACK", "text", "", 'frames of errors: yours; "full": all'),
        Switch("no_color", "NO_COLOR", "text", "", "if set, no colours on terminals"),
        Switch("world_size", "WORLD_SIZE", "int", "1", "processes that a launcher started"),
        Switch("local_rank", "LOCAL_RANK", "int", "-1", "which of them on its machine this is"),
        Switch(
            "plan_mib",
            "GRAPHC_PLAN_MIB",
            "int",
            "256",
            "MiB that a compiled step's plans may keep, of all sizes that it has seen",
        ),
        Switch("num_threads", "GRAPHC_NUM_THREADS", "int", "0", "most threads a step uses; 0: all"),
    )
}

FALSE_WORDS = frozenset({"", "0", "false", "no", "off"})


def text(name: str) -> str:
    """The switch as text; its default where the variable is unset."""
    switch = SWITCHES[name]
    return os.environ.get(switch.variable, switch.default).strip()


@contextmanager
def using(name: str, value: str) -> Iterator[None]:
    """Inside, the switch is `value`."""
    variable = SWITCHES[name].variable
    before, os.environ[variable] = os.environ.get(variable), value
    try:
        yield
    finally:
        del os.environ[variable]
        if before is not None:
            os.environ[variable] = before


def flag(name: str) -> bool:
    return text(name).lower() not in FALSE_WORDS


def number(name: str) -> int:
    """The switch as a whole number; its default where the text is none."""
    try:
        return int(text(name))
    except ValueError:
        return int(SWITCHES[name].default)


def dump_dir() -> str:
    return text("dump")


def verify() -> bool:
    """Whether stages are compared with one another."""
    return flag("verify") and text("verify") != "graphs"


def verify_graphs() -> bool:
    """Whether the graph is verified after each stage."""
    return flag("verify")


def check_bounds() -> bool:
    return flag("check_bounds")


def cache_dir() -> str:
    return text("cache_dir")


def cuda() -> str:
    return text("cuda").lower()


def profile() -> bool:
    return flag("profile")


def disabled() -> bool:
    return flag("disable")


def num_threads() -> int:
    """The wanted number of threads, or 0 for as many as the machine gives."""
    return max(0, number("num_threads"))


def plan_bytes() -> int:
    """What the plans of one compiled step may keep."""
    return max(0, number("plan_mib")) << 20


def describe() -> str:
    """The table as text, for `python -m graphc doctor`."""
    rows = (
        f"{s.variable:<20} {s.kind:<5} default {s.default or '-':<4} {s.doc}"
        for s in SWITCHES.values()
    )
    return "\n".join(rows)
