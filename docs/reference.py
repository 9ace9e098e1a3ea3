"""The reference, written from the docstrings when the site is built (a hook of MkDocs)."""

from __future__ import annotations

import importlib
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import graphc
from graphc import config as switches
from graphc import errors
from graphc.frontend.step import compiled
from graphc.frontend.step.inspect import inspection, profile

ROOT = Path(__file__).parents[1]
# page: what it is called, what stands above the names, and where these come from
NAMESPACES = {
    "graphc": "Tensors and functions of them, autograd, `compile`, and what steers them.",
    "graphc.nn": "Layers, losses and containers.",
    "graphc.nn.functional": "Layers and losses as functions.",
    "graphc.nn.init": "Ways to fill parameters.",
    "graphc.nn.utils": "Clipping of gradients, parameters as vectors, fused layers.",
    "graphc.nn.utils.rnn": "Sequences of different lengths.",
    "graphc.nn.utils.parametrize": "Parameters computed from others.",
    "graphc.optim": "Optimizers.",
    "graphc.optim.lr_scheduler": "Schedules of learning rates.",
    "graphc.optim.swa_utils": "Averages of weights.",
    "graphc.autograd": "Derivatives, and functions with derivatives of their own.",
    "graphc.autograd.functional": "Jacobians, Hessians and their products.",
    "graphc.func": "Functions of functions: their derivatives, and batches of them.",
    "graphc.linalg": "Linear algebra.",
    "graphc.special": "Special functions.",
    "graphc.fft": "Frequencies and shifts.",
    "graphc.distributions": "Distributions to draw from and to score by.",
    "graphc.random": "Seeds and the state of random numbers.",
    "graphc.utils.data": "Data sets, loaders and samplers.",
    "graphc.utils.checkpoint": "Computing again instead of keeping.",
    "graphc.datasets": "Data sets that are often used.",
    "graphc.transforms": "What is done to samples.",
    "graphc.amp": "Mixed precision.",
    "graphc.cuda": "GPUs.",
    "graphc.debug": "Looking into a step while it runs.",
    "graphc.sparse": "Sparse matrices.",
    "graphc.jit": "PyTorch's names, for scripts that use them.",
    "graphc.hub": "Models from a folder.",
    "graphc.testing": "Comparing tensors.",
}
STEP = (
    compiled.CompiledFunction,
    inspection.Explanation,
    inspection.Stats,
    inspection.Memory,
    inspection.KernelView,
    profile.Profile,
    profile.Row,
)
LITERAL = re.compile(r"(`[^`]*`)")
MARKUP = re.compile(r"([\\*_\[\]#])")
SIGNATURE = re.compile(r"'([\w.\[\], |]+)'")


def public(space: Any) -> Iterator[tuple[str, Any]]:
    """The functions and classes that a namespace has, by name."""
    for name, thing in sorted(vars(space).items()):
        ours = (getattr(thing, "__module__", None) or "").startswith("graphc")
        called = inspect.isroutine(thing) or inspect.isclass(thing)
        if ours and called and not name.startswith("_"):
            yield name, thing


def members(kind: type) -> Iterator[tuple[str, Any]]:
    """What objects of a class can be asked, inherited from classes of graphc as well."""
    for name in sorted(dir(kind)):
        thing = inspect.getattr_static(kind, name)
        thing = thing.fget if isinstance(thing, property) else thing
        thing = getattr(thing, "__func__", thing)
        if not name.startswith("_") and inspect.isroutine(thing) and thing.__doc__:
            yield name, thing


def prose(text: str) -> str:
    """A docstring as Markdown: what stands between backticks or is indented stays as it is."""
    found = []
    for line in inspect.cleandoc(text).splitlines():
        if line.startswith("    "):
            found.append(line)
            continue
        parts = LITERAL.split(line)
        parts[::2] = [MARKUP.sub(r"\\\1", p).replace("<", "&lt;") for p in parts[::2]]
        found.append("".join(parts))
    return "\n".join(found)


def signature(name: str, thing: Any) -> str:
    try:
        shown = str(inspect.signature(thing))
    except (TypeError, ValueError):
        return name
    shown = re.sub(r"<[^>]*>", "...", SIGNATURE.sub(r"\1", shown))
    if inspect.isclass(thing):
        shown = shown.removesuffix(" -> None")
    return f"{name}{shown.replace('(self, ', '(').replace('(self)', '()')}"


def entry(name: str, thing: Any, level: str = "##") -> str:
    shown = signature(name.rpartition(".")[2], thing)
    told = prose(thing.__doc__ or "")
    return f"{level} {name.replace('_', chr(92) + '_')}\n\n```python\n{shown}\n```\n\n{told}\n"


def of_class(kind: type, name: str) -> str:
    rows = [entry(name, kind), *(entry(f"{name}.{n}", x, "###") for n, x in members(kind))]
    return "\n".join(rows)


def of_module(space: ModuleType, about: str) -> str:
    head = f"# {space.__name__}\n\n{about}\n"
    rows = [entry(name, thing) for name, thing in public(space)]
    return "\n".join([head, *rows])


def of_switches() -> str:
    rows = [f"| `{s.variable}` | {s.kind} | {s.doc} |" for s in switches.SWITCHES.values()]
    head = "# Switches\n\nEnvironment variables, read at each call.\n\n| variable | kind | does |\n"
    return "\n".join([f"{head}|---|---|---|", *rows, ""])


def of_errors() -> str:
    rows = [entry(n, x) for n, x in public(errors) if inspect.isclass(x) and hasattr(x, "code")]
    head = "# graphc.errors\n\nEach has a page in short: [Errors](../errors.md).\n"
    return "\n".join([head, *rows])


def pages() -> dict[str, tuple[str, str]]:
    """By path: the title of each page, and its text."""
    found = {}
    for name, about in NAMESPACES.items():
        space = graphc if name == "graphc" else importlib.import_module(name)
        found[f"reference/{name}.md"] = name, of_module(space, about)
    for name, kind in (("Tensor", graphc.Tensor), ("nn.Module", graphc.nn.Module)):
        found[f"reference/{name}.md"] = name, f"# {name}\n\n{of_class(kind, name)}"
    about = "# What a compiled step answers\n\nWhat `@graphc.compile` gives, and what that gives."
    step = "\n\n".join([about, *(of_class(kind, kind.__name__) for kind in STEP)])
    found["reference/step.md"] = "A compiled step", step
    found["reference/errors.md"] = "graphc.errors", of_errors()
    found["reference/switches.md"] = "Switches", of_switches()
    return found


# ---- MkDocs ------------------------------------------------------------------------------------

_pages: dict[str, tuple[str, str]] = {}


def on_config(config: Any) -> Any:
    _pages.update(pages())
    for row in config.nav:
        if "Reference" in row:
            row["Reference"] = [{title: path} for path, (title, _) in _pages.items()]
    return config


def on_files(files: Any, config: Any) -> Any:
    from mkdocs.structure.files import File  # type: ignore[import-not-found]  # of the extra `docs`

    made = {path: text for path, (_, text) in _pages.items()}
    made["architecture.md"] = (ROOT / "ARCHITECTURE.md").read_text().replace("](docs/", "](")
    for path, text in made.items():
        files.append(File.generated(config, path, content=text))
    return files


# Search runs in a worker, which browsers do not start from a file. The theme loads what helps from
# another host; instead the worker's text stands in a script of the site's own.
SHIM = '<script src="https://unpkg.com/iframe-worker/shim"></script>'
WORKER = "assets/worker.js"
START = """\
window.Worker = class extends window.Worker {
  constructor(url, options) {
    const isFile = new URL(url, location.href).protocol === 'file:';
    super(isFile ? URL.createObjectURL(new Blob([text])) : url, options);
  }
};
"""


def on_post_page(output: str, page: Any, config: Any) -> str:
    path = "../" * page.url.count("/") + WORKER
    return output.replace(SHIM, f'<script src="{path}"></script>')


def on_post_template(output: str, template_name: str, config: Any) -> str:
    return output.replace(SHIM, "")


def on_post_build(config: Any) -> None:
    site = Path(config.site_dir)
    (worker,) = (site / "assets" / "javascripts" / "workers").glob("search*.min.js")
    text = json.dumps(worker.read_text())
    (site / WORKER).write_text(f"(() => {{\nconst text = {text};\n{START}}})();\n")
