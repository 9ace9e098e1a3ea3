"""PyTorch's public names, as stored in public.txt: `python -m tests.coverage.public` writes it.

Of each namespace: what its `__all__` lists, else what it defines itself. Machines without PyTorch
count against the stored list; where it is installed, a test compares the two.
"""

from __future__ import annotations

import importlib
import inspect
import warnings
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("public.txt")
NAMESPACES = """
    torch Tensor nn nn.Module nn.functional nn.init nn.utils nn.utils.rnn nn.utils.parametrize
    nn.utils.parametrizations nn.attention nn.parallel optim optim.lr_scheduler optim.swa_utils
    autograd autograd.functional autograd.graph linalg special fft signal.windows distributions
    sparse random utils.data utils.checkpoint amp accelerator backends cuda hub jit fx compiler
    distributed testing serialization library func nested masked futures profiler export onnx
    quantization package monitor overrides multiprocessing cpu mps xpu mtia
""".split()  # noqa: SIM905  a table reads better as text


def space(root: Any, name: str) -> Any:
    """A namespace below a package: a module or a class."""
    if name == "torch":
        return root
    found = root
    for part in name.split("."):
        inner = getattr(found, part, None)
        if inner is None:
            inner = importlib.import_module(f"{found.__name__}.{part}")
        found = inner
    return found


def names(root: Any, name: str) -> list[str]:
    """The public names of one namespace of PyTorch."""
    found = space(root, name)
    listed = getattr(found, "__all__", None)
    if listed is not None and not inspect.isclass(found):
        return sorted({n for n in listed if not n.startswith("_")})
    if inspect.isclass(found):
        return sorted(n for n in dir(found) if not n.startswith("_"))
    own = (n for n, v in vars(found).items() if not n.startswith("_") and _is_own(v))
    return sorted(own)


def _is_own(value: Any) -> bool:
    """Not what a module has only imported from elsewhere, nor a module: those have rows."""
    if inspect.ismodule(value):
        return False
    return (getattr(value, "__module__", None) or "torch").startswith("torch")


def stored() -> dict[str, list[str]]:
    rows = (line.partition(": ") for line in FILE.read_text().splitlines())
    return {name: rest.split() for name, _, rest in rows}


def of(root: Any) -> dict[str, list[str]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that PyTorch is about to drop
        return {name: names(root, name) for name in NAMESPACES}


if __name__ == "__main__":
    import torch

    FILE.write_text("".join(f"{k}: {' '.join(v)}\n" for k, v in of(torch).items()))
