"""Names that PyTorch does not list but libraries import, under the files where it keeps them.

A row of the table is such a file: what graphc has under another name, and answers to questions that
libraries ask of PyTorch's insides.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple, Optional, Self

import numpy as np

from graphc import _dynamo as dynamo
from graphc import fx
from graphc.errors import InvalidState, NotAvailable, Unsupported
from graphc.frontend import printing
from graphc.frontend.aliases import module_of
from graphc.frontend.api.creation import from_dlpack
from graphc.frontend.devices import device
from graphc.frontend.modes import modes
from graphc.frontend.options import as_dtype, layout, memory_format
from graphc.frontend.size import Size
from graphc.frontend.storage import Storage
from graphc.frontend.tensor import Tensor
from graphc.ir.types import DType
from graphc.nn import functional, lazy
from graphc.nn.hooks import RemovableHandle

__all__ = ["install"]

# ---- torch._C: what the core of PyTorch would answer -------------------------------------------


def _log_api_usage_once(event: str) -> None:
    """Nothing is logged."""


class SymInt:
    """For isinstance: a size in a step is an int, or an extent that does as one."""


class SymFloat:
    """For isinstance: a number in a step is a float."""


class SymBool:
    """For isinstance: a condition in a step is a bool, or refused."""


class FakeTensor(Tensor):
    """For isinstance: no tensor is one."""


def _none(*args: Any, **kwargs: Any) -> None:
    """None."""


def _disabled_torch_function_impl(
    function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
) -> Any:
    """The function's own result: as `__torch_function__`, a class that overrides nothing."""
    return function(*args, **(kwargs or {}))


def _parse_to(*args: Any, **kwargs: Any) -> tuple[Any, Any, bool, Any]:
    """What the arguments of `Module.to` ask for: device, dtype, non_blocking, memory format."""
    asked: dict[str, Any] = {"device": None, "dtype": None, "non_blocking": False}
    asked |= {"memory_format": None} | {k: v for k, v in kwargs.items() if k != "copy"}
    flags = []
    for x in args:
        if isinstance(x, Tensor):
            asked |= {"device": x.device, "dtype": x.dtype}
        elif isinstance(x, DType):
            asked["dtype"] = x
        elif isinstance(x, bool):
            flags.append(x)
        elif x is not None:
            asked["device"] = x
    if flags:
        asked["non_blocking"] = flags[0]
    where = asked["device"]
    if where is not None and not isinstance(where, device):
        where = device("cuda", where) if isinstance(where, int) else device(where)
    return where, as_dtype(asked["dtype"]), asked["non_blocking"], asked["memory_format"]


class DispatchKey:
    """Whatever is asked for: PyTorch's ways to an operator's kernel, which here is the only one."""

    AutocastCPU = AutocastCUDA = AutocastXPU = "autocast"


class DispatchKeySet:
    """For extensions to be imported with; nothing is dispatched by keys."""

    def __init__(self, *keys: Any) -> None:
        self.keys = keys

    def __or__(self, other: DispatchKeySet) -> DispatchKeySet:
        return DispatchKeySet(*self.keys, *other.keys)


CORE = {
    "DispatchKey": DispatchKey,
    "DispatchKeySet": DispatchKeySet,
    "Generator": None,  # set below: the class of the public namespace
    "DisableTorchFunctionSubclass": nullcontext,
    "_TensorMeta": type(Tensor),
    "_are_functorch_transforms_active": lambda: modes.mapped is not None,
    "_cuda_isInBadFork": lambda: False,
    "_disabled_torch_function_impl": _disabled_torch_function_impl,
    "_get_accelerator": lambda: device("cpu"),
    "_get_default_device": lambda: str(modes.device or "cpu"),
    "_get_privateuse1_backend_name": lambda: "privateuseone",
    "_get_tracing_state": _none,
    "_log_api_usage_once": _log_api_usage_once,
}

# ---- torch.utils.hooks -------------------------------------------------------------------------


def unserializable_hook(f: Any) -> Any:
    """A mark on a hook of a tensor that is not to be saved; here none is."""
    f.__torch_unserializable__ = True
    return f


def warn_if_has_hooks(tensor: Tensor) -> None:
    """Nothing: hooks of tensors are not saved."""


# ---- torch._tensor_str -------------------------------------------------------------------------


def _tensor_str(x: Tensor, indent: int) -> str:
    """The elements as they are printed, without a word around them."""
    return printing.elements(x, indent)


def _add_suffixes(text: str, suffixes: list[str], indent: int, force_newline: bool) -> str:
    """What is printed behind the elements, and the closing parenthesis."""
    if force_newline:
        return text + "".join(f",\n{' ' * indent}{s}" for s in suffixes) + ")"
    return printing.with_suffixes(text, suffixes, indent, printing.options().linewidth)


class _PrintOptions:
    """How tensors print now, by the names of `set_printoptions`."""

    def __getattr__(self, name: str) -> Any:
        return getattr(printing.options(), name)


@contextmanager
def printoptions(**changes: Any) -> Iterator[None]:
    """`set_printoptions` for what is printed inside."""
    before = printing.options()
    printing.set_printoptions(**changes)
    try:
        yield
    finally:
        printing.reset(before)


# ---- torch.autograd.forward_ad -----------------------------------------------------------------


class UnpackedDualTensor(NamedTuple):
    """A tensor and its tangent, which is always None."""

    primal: Tensor
    tangent: None


def unpack_dual(tensor: Tensor, *, level: int | None = None) -> UnpackedDualTensor:
    """No tensor carries a tangent: `func.jvp` differentiates functions."""
    return UnpackedDualTensor(tensor, None)


def make_dual(tensor: Tensor, tangent: Tensor, *, level: int | None = None) -> Any:
    """Refused: no tensor carries a tangent."""
    raise Unsupported("forward_ad.make_dual", fix="use graphc.func.jvp(f, primals, tangents)")


# ---- torch.overrides, torch.classes ------------------------------------------------------------


class _Classes:
    """torch.classes: those of C++ extensions, of which there are none."""

    def __getattr__(self, name: str) -> Self:
        if name.startswith("__"):
            raise AttributeError(name)
        raise NotAvailable(
            f"classes.{name}", why="graphc loads no C++ extensions", fix="use a class of Python"
        )

    def load_library(self, path: str) -> None:
        """Refused: graphc loads no C++ extensions."""
        raise OSError(f"graphc loads no C++ extensions: {path}")


# ---- torch.__config__, torch._utils, torch.utils -----------------------------------------------


def show() -> str:
    """What PyTorch says here of how it was built."""
    return f"graphc {sys.modules['graphc'].__version__}, NumPy {np.__version__}, USE_MKL=OFF"


def _get_device_index(where: Any, optional: bool = False, allow_cpu: bool = False) -> int:
    """The number of a device: of "cuda:1" it is 1."""
    if isinstance(where, int):
        return where
    found = device(where) if isinstance(where, str) else where
    if found is not None and found.index is not None:
        return int(found.index)
    if allow_cpu and found is not None and found.type == "cpu":
        return -1
    if optional:
        return 0
    raise InvalidState(f"a device with an index is expected, got {where!r:.100}")


class FlopCounterMode:
    """Counts nothing yet, and refuses to count: operations are known of compiled steps."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Of any options."""

    def get_flop_counts(self) -> dict[str, dict[Any, int]]:
        """Of no module: nothing has been counted."""
        return {}

    def get_total_flops(self) -> int:
        """0: nothing has been counted."""
        return 0

    def __enter__(self) -> Self:
        raise Unsupported(
            "utils.flop_counter.FlopCounterMode",
            why="operations are counted of compiled steps, not of each function that runs",
            fix="step.profile(*batch) of a graphc.compile'd step counts them",
        )

    def __exit__(self, *exc: object) -> None:
        """Never entered."""


def swap_tensors(t1: Tensor, t2: Tensor) -> None:
    """Refused: a tensor keeps its memory and its history."""
    raise Unsupported(
        "utils.swap_tensors", why="a tensor keeps its history", fix="swap t1.data and t2.data"
    )


def _get_activation_fn(activation: str) -> Callable[[Tensor], Tensor]:
    """Of a transformer's layer: relu or gelu by name."""
    if activation not in ("relu", "gelu"):
        raise InvalidState(f"activation should be relu/gelu, not {activation}")
    found: Callable[[Tensor], Tensor] = getattr(functional, activation)
    return found


ROWS: dict[str, dict[str, Any]] = {
    "_C": CORE,
    "_C._nn": {"_parse_to": _parse_to},
    "_C._functorch": {"is_legacy_batchedtensor": lambda x: False},
    "__config__": {"show": show, "parallel_info": show},
    "_custom_ops": {},
    "_dynamo.eval_frame": {
        "OptimizedModule": dynamo.OptimizedModule,
        "is_dynamo_supported": lambda: True,
    },
    "_dynamo.utils": {"is_compile_supported": lambda device_type: True},
    "_subclasses": {},
    "_subclasses.fake_tensor": {"FakeTensor": FakeTensor, "is_fake": lambda x: False},
    "_tensor": {"Tensor": Tensor},
    "_tensor_str": {
        "PRINT_OPTS": _PrintOptions(),
        "_add_suffixes": _add_suffixes,
        "_tensor_str": _tensor_str,
        "printoptions": printoptions,
    },
    "_utils": {"_get_device_index": _get_device_index, "_element_size": lambda d: d.itemsize},
    "autograd.forward_ad": {
        "UnpackedDualTensor": UnpackedDualTensor,
        "make_dual": make_dual,
        "unpack_dual": unpack_dual,
    },
    "fx.experimental": {},
    "fx.experimental.proxy_tensor": {"get_proxy_mode": _none},
    "fx.graph": {"Graph": fx.Graph},
    "fx.graph_module": {"GraphModule": fx.GraphModule},
    "fx.node": {"Node": fx.Node, "Target": Any},
    "fx.proxy": {"Proxy": fx.Proxy},
    "jit.annotations": {"BroadcastingList1": list, "BroadcastingList2": list,
                        "BroadcastingList3": list, "Dict": dict, "List": list,
                        "Optional": Optional, "Tuple": tuple},
    "nn.modules.transformer": {"_get_activation_fn": _get_activation_fn},
    "nn.parameter": {
        "UninitializedBuffer": lazy.UninitializedBuffer,
        "UninitializedParameter": lazy.UninitializedParameter,
        "UninitializedTensorMixin": lazy._Uninitialized,
        "is_lazy": lazy.is_lazy,
    },
    "storage": {"TypedStorage": Storage, "UntypedStorage": Storage},
    "types": {
        "Device": Any,
        "Number": int | float | bool,
        "Storage": Storage,
        "Tensor": Tensor,
        "_bool": bool,
        "_device": device,
        "_dtype": DType,
        "_float": float,
        "_int": int,
        "_layout": layout,
        "_memory_format": memory_format,
        "_size": Size | list[int] | tuple[int, ...],
    },
    "utils.dlpack": {"from_dlpack": from_dlpack, "to_dlpack": lambda x: x.numpy().__dlpack__()},
    "utils.flop_counter": {"FlopCounterMode": FlopCounterMode},
    "utils.hooks": {
        "RemovableHandle": RemovableHandle,
        "unserializable_hook": unserializable_hook,
        "warn_if_has_hooks": warn_if_has_hooks,
    },
}  # fmt: skip


def install() -> None:
    """Make the modules, each as an attribute of its holder, or add to those that there are."""
    graphc = sys.modules["graphc"]
    CORE["Generator"] = graphc.Generator
    for path, names in ROWS.items():
        if f"graphc.{path}" in sys.modules:
            vars(sys.modules[f"graphc.{path}"]).update(names)
            continue
        made = module_of(f"graphc.{path}", names)
        holder, _, leaf = f"graphc.{path}".rpartition(".")
        setattr(importlib.import_module(holder), leaf, made)
    vars(graphc).update(SymInt=SymInt, SymFloat=SymFloat, SymBool=SymBool)
    vars(graphc)["torch"] = graphc  # as annotations of some libraries have it: torch.torch.Tensor
    vars(graphc)["classes"] = _Classes()
    vars(sys.modules["graphc.utils"])["swap_tensors"] = swap_tensors
