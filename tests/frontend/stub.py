"""The stub of `frontend/methods.py`, which `python -m tests.frontend.stub` writes."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import indent
from typing import Any, get_overloads

from graphc.frontend import methods
from graphc.frontend.api.methods import augmented, names_of
from graphc.frontend.api.operators import FORMS
from graphc.frontend.registry import ROWS, Row

FILE = Path(methods.__file__).with_suffix(".pyi")
HEAD = '''"""Tensor's methods for type checkers; `python -m tests.frontend.stub` writes this."""

import builtins
'''
BUILTIN = ("bool", "float", "int", "type")  # which methods hide inside the class
SOURCES = {
    "Any": "typing",
    "Literal": "typing",
    "overload": "typing",
    "Callable": "collections.abc",
    "Dims": "graphc.frontend.dims",
    "DType": "graphc.ir.types",
    "Generator": "graphc.frontend.api.generator",
    "Hook": "graphc.passes.autodiff",
    "Operand": "graphc.frontend.operands",
    "Pieces": "graphc.frontend.api.arrangements",
    "RemovableHandle": "graphc.frontend.autograd",
    "Scalar": "graphc.ir.types",
    "Sequence": "collections.abc",
    "Shape": "graphc.ir.types",
    "Sugar": "graphc.ir.sugar",
    "Tensor": "graphc.frontend.tensor",
    "Tensors": "graphc.frontend.autograd",
    "Array": "graphc.ir.types",
    "UntypedStorage": "graphc.frontend.api.memory",
}
COMPARISONS = ("__eq__", "__ne__")  # what `object` has gives bools


def kind_of(annotation: Any) -> str:
    """An annotation as the stub writes it; Any where there is none."""
    if annotation is inspect.Parameter.empty:
        return "Any"
    text = str(annotation).replace("builtins.", "").replace("tensors.", "")
    text = text.replace("return_types.", "graphc.return_types.")
    return re.sub(rf"\b({'|'.join(BUILTIN)})\b", r"builtins.\1", text)


def parameter(p: inspect.Parameter) -> str:
    stars = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
    shown = f"{stars}{p.name}: {kind_of(p.annotation)}"
    if p.default is p.empty:
        return shown
    plain = p.default is None or isinstance(p.default, bool | int | float | str)
    return f"{shown} = {p.default if plain and not isinstance(p.default, str) else '...'}"


def definition(
    name: str, function: Callable[..., Any], most: int = 99, told: str | None = ""
) -> str:
    """`def name(self, ...) -> ...` of a function of the tensor, which comes first; of its other
    arguments at most so many, and with `told` as its docstring."""
    signature = inspect.signature(function)
    parts = ["self"]
    for p in list(signature.parameters.values())[1 : 1 + most]:
        bare = p.kind is p.KEYWORD_ONLY and not any(s.startswith("*") for s in parts)
        parts += ["*"] * bare + [parameter(p)]
    head = f"    def {name}({', '.join(parts)}) -> {kind_of(signature.return_annotation)}:"
    text = inspect.cleandoc(told or "")
    return f"{head}\n{indent(quoted(text), ' ' * 8)}" if text else f"{head} ..."


def quoted(text: str) -> str:
    return f'"""{text}\n"""' if "\n" in text else f'"""{text}"""'


def told_by_type(name: str, function: Callable[..., Any]) -> Iterator[str]:
    """A method; where the kind of its result depends on its arguments, one for each kind."""
    kinds = get_overloads(function)
    for kind in kinds:
        yield f"    @overload\n{definition(name, kind, told=function.__doc__)}"
    if not kinds:
        yield definition(name, function, told=function.__doc__)


def of_row(function: Callable[..., Any], row: Row) -> Iterator[str]:
    names = names_of(function, row)
    for name in names:
        yield from told_by_type(name, function)
    for name in row.attributes:
        yield f"    @property\n{definition(name, function, told=function.__doc__)}"
    for name in row.operators:
        most = 99 if name in FORMS else 1
        ignored = "  # type: ignore[override]" if name in COMPARISONS else ""
        yield definition(name, function, most) + ignored
    for name in names if row.inplace else ():
        yield definition(f"{name}_", function)
    for name in augmented(row):
        yield definition(name, function, 1)


def text() -> str:
    """Of the whole stub."""
    lines = [line for function, row in ROWS.items() for line in of_row(function, row)]
    body = "\n".join(lines) + "\n"
    named = [n for n in SOURCES if re.search(rf"\b{n}\b", body) or n == "Sugar"]
    imports = [f"from {SOURCES[n]} import {n}\n" for n in named]
    imports += ["import graphc.return_types\n"]
    return f"{HEAD}{''.join(imports)}\nclass Methods(Sugar):\n{body}"


def definitions(text: str) -> dict[str, str]:
    """What a stub says of each name of its class."""
    (kind,) = (node for node in ast.parse(text).body if isinstance(node, ast.ClassDef))
    named = (n.name if isinstance(n, ast.FunctionDef) else ast.unparse(n) for n in kind.body)
    found: dict[str, str] = {}
    for name, node in zip(named, kind.body, strict=True):  # overloads one after another
        found[name] = "\n".join([*filter(None, [found.get(name)]), ast.unparse(node)])
    return found


if __name__ == "__main__":
    FILE.write_text(text())
    for command in (["check", "-q", "--fix", "--select", "I"], ["format", "-q"]):
        subprocess.run([sys.executable, "-m", "ruff", *command, str(FILE)], check=True)
