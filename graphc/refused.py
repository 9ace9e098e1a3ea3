"""Parts of PyTorch without a counterpart: the modules import, and each call says why not."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, NoReturn

from graphc.errors import Unsupported
from graphc.frontend.aliases import module_of

__all__ = ["MODULES"]


def _refusing(module: str, name: str, why: str, fix: str) -> Callable[..., NoReturn]:
    def function(*args: Any, **kwargs: Any) -> NoReturn:
        raise Unsupported(f"{module}.{name}", why=why, fix=fix)

    function.__name__ = function.__qualname__ = name
    function.__module__ = f"graphc.{module}"
    function.__doc__ = f"Refused: {why}."
    return function


# module: the names, why they are not there, what to do instead
ROWS = {
    "nested": (
        "nested_tensor as_nested_tensor nested_tensor_from_jagged to_padded_tensor narrow "
        "masked_select",
        "every tensor has one size in each dimension",
        "pad with nn.utils.rnn.pad_sequence and mask; a step compiles once for all lengths",
    ),
    "export": (
        "export draft_export load save unflatten dims Dim register_dataclass "
        "default_decompositions",
        "graphc compiles Python functions and writes no program files of them",
        "use graphc.compile to run fast, graphc.save(model.state_dict(), path) to keep",
    ),
    "onnx": (
        "export",
        "graphc compiles Python functions and writes no program files of them",
        "load the state_dict in PyTorch and export it there",
    ),
    "quantization": (
        "quantize quantize_dynamic quantize_qat prepare prepare_qat convert fuse_modules "
        "default_eval_fn get_default_qconfig get_default_qat_qconfig",
        "there are no quantized tensors",
        "use bfloat16: model.bfloat16(), or autocast",
    ),
    "package": (
        "PackageExporter PackageImporter is_from_package",
        "graphc packs no code beside the weights",
        "keep the code as Python files, and graphc.save(model.state_dict(), path)",
    ),
}


def _made(module: str) -> ModuleType:
    names, why, fix = ROWS[module]
    found = {name: _refusing(module, name, why, fix) for name in names.split()}
    return module_of(f"graphc.{module}", found)


MODULES = {module: _made(module) for module in ROWS}
MODULES["onnx"].is_in_onnx_export = lambda: False  # type: ignore[attr-defined]
vars(MODULES["onnx"])["is_in_onnx_export"].__doc__ = "False: nothing is exported."
