"""Writes docs/coverage.md from the table of names: `python -m tests.coverage.page`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import graphc
import graphc.datasets
import graphc.transforms
import graphc.utils.tensorboard
from tests.coverage import public
from tests.coverage.names import MISSING, SECTIONS

PAGE = Path(__file__).parents[2] / "docs" / "coverage.md"
HEAD = """# Coverage

The public names of PyTorch 2.13, namespace by namespace, and how many of them graphc has, eager and
under `@graphc.compile` alike. A name counts where PyTorch lists it in `__all__` (or, without one,
defines it), so names of its own compiler, of other devices and of storage formats count as well.
What raises a coded error whenever it is called counts as missing. `tests/coverage` holds the lists
that this page is written from (`python -m tests.coverage.page`) and fails where they differ.

**Automatic mixed precision.** `autocast` casts by PyTorch's lists for the CPU and for CUDA, and
`GradScaler` skips a step by a select on the device, eager and compiled alike. Without a GPU
`autocast("cuda")` and `GradScaler()` warn and do nothing, as in a PyTorch without CUDA.
"""
WHY = (
    (r"(cudnn|miopen|mkldnn|fbgemm)_.*", "an operator of a library that graphc does not use"),
    (
        r"(q_|quant|quint|dequant|int_repr|fake_quant|fused_moving|choose_q|qscheme).*",
        "quantized tensors",
    ),
    (r"(sym_|Sym).*", "symbolic sizes of PyTorch's compiler"),
    (r".*(Type|Script|JIT|IODescriptor|parse_|import_ir|merge_type|unify_type).*", "TorchScript"),
    (r".*Storage.*|storage.*|untyped_storage", "memory is reached through tensors only"),
    (r".*_copy$", "an operator of PyTorch's compiler: the function without _copy, cloned"),
    (
        r".*(sparse|crow|ccol|csr|csc|bsr|bsc|col_indices|row_indices|coalesce|dense_dim).*",
        "sparse tensors are pairs of indices and values",
    ),
    (r".*(complex|conj|angle|imag|real|polar|stft|istft|fft).*", "complex numbers"),
    (r"[a-z].*_$", "the method of a tensor"),
)  # fmt: skip  why a whole family is not there


def has(root: Any, name: str) -> bool:
    """Whether a dotted name leads somewhere from `root`."""
    try:
        reduce(getattr, name.split("."), root)
    except AttributeError:
        return False
    return True


def counted(names: list[str], name: str) -> tuple[list[str], list[str]]:
    """The names of a namespace that graphc has, and those it has not."""
    prefix = "" if name == "torch" else f"{name}."
    there = [n for n in names if has(graphc, prefix + n) and not refused(prefix + n)]
    return there, [n for n in names if n not in there]


def refused(name: str) -> bool:
    """Whether the name is there only to say why the thing is not."""
    found = reduce(getattr, name.split("."), graphc)
    return (getattr(found, "__doc__", None) or "").startswith("Refused")


def reason(name: str) -> str:
    return next((why for pattern, why in WHY if re.fullmatch(pattern, name)), "")


def against_torch() -> Iterator[str]:
    """The table of namespaces, and what is missing from each."""
    found = {name: counted(names, name) for name, names in public.stored().items()}
    have, all_ = (sum(map(len, part)) for part in ([t for t, _ in found.values()],
                                                    public.stored().values()))  # fmt: skip
    yield f"{have} of {all_} public names.\n"
    yield "| namespace | there | of |\n|---|---|---|"
    rows = (f"| `{name}` | {len(t)} | {len(t) + len(a)} |" for name, (t, a) in found.items())
    yield "\n".join(rows) + "\n"
    yield "## Not there\n"
    for name, (there, absent) in found.items():
        if absent and there:
            yield f"`{name}`: " + _grouped(absent) + "\n"


def _grouped(absent: list[str]) -> str:
    """The names without a common reason, then each reason with its names."""
    groups: dict[str, list[str]] = {}
    for n in absent:
        groups.setdefault(reason(n), []).append(f"`{n}`")
    parts = [" ".join(groups.pop("", []))]
    parts += [f"({why}: {' '.join(names)})" for why, names in groups.items()]
    return " ".join(p for p in parts if p)


def lines() -> Iterator[str]:
    yield HEAD
    yield from against_torch()
    total = sum(len(names) for names in SECTIONS.values())
    have = sum(has(graphc, n) for names in SECTIONS.values() for n in names)
    yield "## Tested name by name\n"
    yield f"{have} of {total} names that scripts use most; each is called by a test.\n"
    for title, names in SECTIONS.items():
        there = [n for n in names if has(graphc, n)]
        yield f"### {title} ({len(there)} of {len(names)})\n"
        yield " ".join(f"`{n}`" for n in there) + "\n"
        absent = [n for n in names if n not in there]
        if absent:
            yield "| not there | why |\n|---|---|"
            yield "\n".join(f"| `{n}` | {MISSING.get(n, '')} |" for n in absent) + "\n"


def text() -> str:
    return "\n".join(lines())


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(text())
